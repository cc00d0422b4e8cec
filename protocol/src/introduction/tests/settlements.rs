//! Certificates of settled versions, which come before anybody decides whom to let in.

use super::*;
use crate::{
    document::decode,
    limits::SETTLEMENT_BYTES_MAX,
    membership::{
        charter::WorkingGroup,
        settlement::{Certificate, Settlement, Span, Voice},
    },
};

/// Version 2, its certificate, and what stands beside it: a version that suspends SG.
fn settled(federation: &Federation) -> (Arc<Verified<Charter>>, Arc<Certificate>, Arc<Verified<Charter>>) {
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
    let second = federation.successor(&[&federation.founding], |c| c.threshold = 2, &signers);
    let beside = federation.successor(
        &[&federation.founding],
        |c| c.members[3].status = MemberStatus::Suspended,
        &signers,
    );
    let mut trust = federation.trust();
    trust.accept_charter(Arc::clone(&second)).unwrap();
    let heads = ["BR", "FR", "SG"].map(|code| federation.head(code, 0, &[&second]));
    let certificate = trust.settle(&heads).unwrap().unwrap();
    (second, Arc::new(certificate), beside)
}

#[test]
fn a_certificate_comes_with_the_versions_before_anybody_is_let_in() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, certificate, beside) = settled(&federation);
    let [ke, sg] = ["KE", "SG"].map(|code| federation.unit(code));
    let mut knows = federation.trust();
    knows.accept_charter(Arc::clone(&second)).unwrap();
    let without = presence(knows.clone(), sg);
    knows.accept_settlement(Arc::clone(&certificate)).unwrap();
    let knows = presence(knows, sg);
    // KE holds both versions, by which SG is suspended, or the one beside alone.
    for held in [vec![&second, &beside], vec![&beside]] {
        let mut misled = federation.trust();
        for version in held {
            misled.accept_charter(Arc::clone(version)).unwrap();
        }
        let misled = presence(misled, ke);
        let refused = meet(&without, &misled);
        assert_eq!(refused.dialler_step, Step::Refused { code: RefusalCode::MemberInactive });
        for (dialler, listener) in [(&knows, &misled), (&misled, &knows)] {
            let outcome = meet(dialler, listener);
            assert!(outcome.both_admit(), "{:?} {:?}", outcome.dialler_step, outcome.listener_step);
            let learner = if Arc::ptr_eq(dialler, &misled) { &outcome.dialler } else { &outcome.listener };
            let learned = learner.learned().iter().filter_map(|learned| match learned {
                LearnedDocument::Settlement(certificate) => Some(certificate.id()),
                _ => None,
            });
            assert_eq!(learned.collect::<Vec<_>>(), [certificate.id()]);
        }
    }
}

#[test]
fn who_knows_as_much_is_asked_for_no_certificate() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, certificate, _) = settled(&federation);
    let mut knows = federation.trust();
    knows.accept_charter(second).unwrap();
    knows.accept_settlement(certificate).unwrap();
    let [ke, sg] = ["KE", "SG"].map(|code| presence(knows.clone(), federation.unit(code)));
    assert_eq!(meet(&ke, &sg).frames, ["hello", "hello", "done"]);
}

#[test]
fn a_certificate_that_is_false_is_a_violation() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, certificate, _) = settled(&federation);
    let mut trust = federation.trust();
    trust.accept_charter(second).unwrap();
    let mut envelope = Envelope::clone(certificate.envelope());
    let mut payload: Settlement = decode(&envelope.payload, SETTLEMENT_BYTES_MAX).unwrap();
    payload.voices[0].head.signatures[0].sig[0] ^= 1;
    envelope.payload = encode(&payload).unwrap();
    let error = Overlay::new(trust.clone()).take(envelope).unwrap_err();
    assert!(error.to_string().starts_with("IN-14"), "{error}");
    // What is held already, or waits for versions, is not looked at.
    trust.accept_settlement(Arc::clone(&certificate)).unwrap();
    for trust in [trust, federation.founding_trust()] {
        let mut overlay = Overlay::new(trust);
        overlay.take(Envelope::clone(certificate.envelope())).unwrap();
        assert!(overlay.learned.is_empty());
    }
}

/// A caller whom nobody knows may bring what he likes: what no quorum of members can have said is refused before any
/// signature is looked at, and costs no more than reading it.
#[test]
fn what_a_certificate_claims_is_judged_before_its_signatures() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, certificate, beside) = settled(&federation);
    let mut trust = federation.trust();
    for version in [&second, &beside] {
        trust.accept_charter(Arc::clone(version)).unwrap();
    }
    let refused = |change: &dyn Fn(&mut Settlement)| {
        let mut envelope = Envelope::clone(certificate.envelope());
        let mut payload: Settlement = decode(&envelope.payload, SETTLEMENT_BYTES_MAX).unwrap();
        change(&mut payload);
        for voice in &mut payload.voices {
            let key_sets = voice.key_sets.iter_mut();
            key_sets.chain([&mut voice.head]).for_each(|carried| carried.signatures[0].sig[0] ^= 1);
        }
        envelope.payload = encode(&payload).unwrap();
        match Overlay::new(trust.clone()).take(envelope).unwrap_err() {
            IntroductionError::Trust(error) => error.rule(),
            IntroductionError::Document(error) => error.rule(),
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(&|_| {}), "SE-02", "nothing else is wrong with it");
    assert_eq!(refused(&|it| it.base = beside.id().into()), "SE-04");
    assert_eq!(refused(&|it| it.voices.truncate(2)), "SE-07");
    let stranger = Federation::new(2, &CODES, 1);
    let unit = stranger.unit("BR");
    assert_eq!(
        refused(&|it| {
            it.voices[0].head = Envelope::clone(stranger.head("BR", 0, &[&second]).envelope());
            it.voices[0].key_sets = vec![Envelope::clone(unit.key_set.envelope())];
        }),
        "SE-05"
    );
    let other = federation.head("BR", 0, &[&beside]);
    assert_eq!(refused(&|it| it.voices[0].head = Envelope::clone(other.envelope())), "SE-06");
}

/// Heads that settled a version may name one that a later settlement shut out: without that the certificate cannot be
/// judged, and with it those that count by what it settles.
#[test]
fn a_certificate_comes_with_the_versions_that_its_heads_name() {
    let federation = Federation::new(1, &CODES, 1);
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
    let second = federation.successor(
        &[&federation.founding],
        |charter| charter.members[3].status = MemberStatus::Suspended,
        &signers,
    );
    let [shut_out, third] = [WorkingGroup::Mena, WorkingGroup::Africa]
        .map(|group| federation.successor(&[&second], |charter| charter.members[0].group = group, &signers));
    let certificate =
        |base: &Arc<Verified<Charter>>, charter: &Arc<Verified<Charter>>, tip: &Arc<Verified<Charter>>| {
            let voice = |code: &&str| Voice {
                head: federation.head(code, 0, &[tip]),
                key_sets: vec![Arc::clone(&federation.unit(code).key_set)],
            };
            let span = Span { charter: charter.id().into(), base: base.id().into() };
            let voices = CODES[..3].iter().map(voice).collect();
            Arc::new(Certificate::assemble(span, voices, federation.id).unwrap())
        };
    let first = certificate(&federation.founding, &second, &shut_out);
    let later = certificate(&second, &third, &third);
    let mut knows = federation.trust();
    for version in [&second, &shut_out, &third] {
        knows.accept_charter(Arc::clone(version)).unwrap();
    }
    for certificate in [&first, &later] {
        assert_eq!(knows.accept_settlement(Arc::clone(certificate)), Ok(Acceptance::New));
    }
    assert!(knows.membership().ignored().contains(&shut_out.id().into()));
    let knows = presence(knows, federation.unit("FR"));
    let young = presence(federation.trust(), federation.unit("KE"));
    for (dialler, listener) in [(&knows, &young), (&young, &knows)] {
        let outcome = meet(dialler, listener);
        assert!(outcome.both_admit(), "{:?} {:?}", outcome.dialler_step, outcome.listener_step);
        let learner = if Arc::ptr_eq(dialler, &young) { &outcome.dialler } else { &outcome.listener };
        let learned = learner.learned().iter().filter_map(|learned| match learned {
            LearnedDocument::Settlement(certificate) => Some(certificate.id()),
            _ => None,
        });
        assert_eq!(learned.collect::<Vec<_>>(), [first.id(), later.id()]);
    }
}

#[test]
fn a_caller_brings_no_version_beside_a_settled_one() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, certificate, beside) = settled(&federation);
    let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
    let after = federation.successor(&[&second], |c| c.members[0].group = WorkingGroup::Mena, &signers);
    let mut trust = federation.trust();
    trust.accept_charter(second).unwrap();
    let learned = |trust: &Trust| {
        let mut overlay = Overlay::new(trust.clone());
        for version in [&beside, &after] {
            overlay.take_version(Envelope::clone(version.envelope())).unwrap();
        }
        overlay.learned.len()
    };
    assert_eq!(learned(&trust), 2, "nothing is settled yet");
    trust.accept_settlement(certificate).unwrap();
    assert_eq!(learned(&trust), 1);
}
