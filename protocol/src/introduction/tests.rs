//! Both sides of the introduction joined in memory by their bytes: who is let in, what is learned, what is
//! refused and how.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod settlements;

use std::collections::VecDeque;

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::{codec_tests::read_frame, *};
use crate::{
    document::{Verified, encode},
    ids::{CharterId, FederationId, Incarnation},
    limits::INTRODUCTION_BYTES_MAX,
    membership::{
        Acceptance,
        charter::{Charter, MemberStatus, root_hash},
        key_set::NodeState,
    },
    testing::{self, FOUNDED, Federation, Unit, node_key, root_key},
};

const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

#[test]
fn two_nodes_that_know_only_the_charter_meet() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let knows_itself = |unit: &Unit| {
        let mut trust = federation.founding_trust();
        trust.accept_key_set(Arc::clone(&unit.key_set)).unwrap();
        presence(trust, unit)
    };
    let outcome = meet(&knows_itself(br), &knows_itself(sg));
    assert!(outcome.both_admit());
    assert_eq!(outcome.listener_admits().member, br.code);
    assert_eq!(outcome.listener_admits().node, node_key(&br.nodes[0]));
    assert_eq!(outcome.listener_admits().wire, 1);
    assert_eq!(outcome.dialler_admits().member, sg.code);
    // hello, hello, done.
    assert_eq!(outcome.frames, ["hello", "hello", "done"]);
    assert_eq!(learned_key_sets(&outcome.listener), [br.key_set.id()]);
}

#[test]
fn a_newcomer_in_version_2_is_let_in_by_a_holder_of_version_1_and_lets_it_in() {
    let federation = Federation::new(1, &CODES, 1);
    let (second, newcomer) = with_newcomer(&federation, "JO");
    let mut young = federation.founding_trust();
    young.accept_charter(Arc::clone(&second)).unwrap();
    young.accept_key_set(Arc::clone(&newcomer.key_set)).unwrap();
    let young = presence(young, &newcomer);
    let old = presence(federation.trust(), federation.unit("KE"));

    let outcome = meet(&young, &old);
    assert!(outcome.both_admit());
    assert_eq!(outcome.frames, ["hello", "need", "versions", "hello", "done"]);
    assert_eq!(outcome.listener_admits().member, newcomer.code);
    assert_eq!(learned_charters(&outcome.listener), [second.id()]);

    let outcome = meet(&old, &young);
    assert!(outcome.both_admit());
    assert_eq!(outcome.frames, ["hello", "hello", "need", "versions", "done"]);
    assert_eq!(outcome.dialler_admits().member, newcomer.code);
    assert_eq!(learned_charters(&outcome.dialler), [second.id()]);
}

#[test]
fn both_sides_may_lack_versions() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, fr, sg] = ["BR", "FR", "SG"].map(|code| federation.unit(code));
    let signers = [&br.root, &fr.root];
    let left = federation.successor(&[&federation.founding], |c| c.threshold = 2, &signers);
    let right = federation.successor(
        &[&federation.founding],
        |c| c.members[3].group = crate::membership::charter::WorkingGroup::Africa,
        &signers,
    );
    let with = |version: &Arc<Verified<Charter>>, unit| {
        let mut trust = federation.trust();
        assert_eq!(trust.accept_charter(Arc::clone(version)), Ok(Acceptance::New));
        presence(trust, unit)
    };
    let outcome = meet(&with(&left, br), &with(&right, sg));
    assert!(outcome.both_admit());
    assert_eq!(outcome.frames, ["hello", "need", "versions", "hello", "need", "versions", "done"]);
}

#[test]
fn a_node_back_after_every_peer_has_new_keys_is_let_in() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let replaced = federation.node(&br.code, 7);
    let renewed = federation.next_key_set(
        &[&br.key_set],
        |set| set.nodes = vec![testing::entry(0, &replaced)],
        &br.root,
    );
    let mut current = federation.trust();
    current.accept_key_set(renewed).unwrap();
    let mut current = presence(current, br);
    Arc::make_mut(&mut current).node = node_key(&replaced);
    let outcome = meet(&presence(federation.trust(), sg), &current);
    assert!(outcome.both_admit());
    assert_eq!(outcome.dialler_admits().node, node_key(&replaced));
}

#[test]
fn a_revoked_key_that_presents_its_old_key_set_is_refused_with_proof() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let compromised = federation.next_key_set(
        &[&sg.key_set],
        |set| {
            set.nodes[0].state = NodeState::Compromised;
            set.nodes[0].since = Some(FOUNDED);
        },
        &sg.root,
    );
    let mut current = federation.trust();
    current.accept_key_set(Arc::clone(&compromised)).unwrap();
    let current = presence(current, br);
    let thief = presence(federation.trust(), sg);

    let outcome = meet(&thief, &current);
    let Step::Refuse { answer: Some(IntroductionFrame::Refused(refused)), .. } = &outcome.listener_step
    else {
        panic!("{:?}", outcome.listener_step)
    };
    assert_eq!(refused.code, RefusalCode::KeyEnded);
    assert_eq!(refused.proof, [compromised.envelope().as_ref().clone()]);
    assert_eq!(outcome.dialler_step, Step::Refused { code: RefusalCode::KeyEnded });
    // The proof is learned: an honest owner of the key sees why.
    assert_eq!(learned_key_sets(&outcome.dialler), [compromised.id()]);

    // The dialler checks the listener alike.
    let outcome = meet(&current, &thief);
    assert_eq!(outcome.listener_step, Step::Refused { code: RefusalCode::KeyEnded });
    assert!(matches!(outcome.dialler_step, Step::Refuse { why: Refusal::Told(RefusalCode::KeyEnded), .. }));
}

#[test]
fn a_suspended_member_is_refused_with_the_versions_that_it_lacks() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, fr, sg] = ["BR", "FR", "SG"].map(|code| federation.unit(code));
    let suspends = |charter: &mut Charter| charter.members[3].status = MemberStatus::Suspended;
    let second = federation.successor(&[&federation.founding], suspends, &[&br.root, &fr.root]);
    let mut trust = federation.trust();
    trust.accept_charter(Arc::clone(&second)).unwrap();
    let outcome = meet(&presence(federation.trust(), sg), &presence(trust, br));
    assert_eq!(outcome.dialler_step, Step::Refused { code: RefusalCode::MemberInactive });
    assert_eq!(learned_charters(&outcome.dialler), [second.id()]);
}

#[test]
fn a_key_under_a_replaced_root_is_refused_with_proof() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, fr, sg] = ["BR", "FR", "SG"].map(|code| federation.unit(code));
    let new_root = federation.root(&sg.code, 5);
    let second = federation.successor(
        &[&federation.founding],
        |charter| {
            charter.members[3].root = root_key(&new_root);
            charter.members[3].next = root_hash(&root_key(&federation.root(&sg.code, 6)));
            charter.members[3].incarnation = Incarnation(1);
        },
        &[&br.root, &fr.root, &new_root],
    );
    let mut trust = federation.trust();
    assert_eq!(trust.accept_charter(Arc::clone(&second)), Ok(Acceptance::New));
    let outcome = meet(&presence(federation.trust(), sg), &presence(trust, br));
    assert_eq!(outcome.dialler_step, Step::Refused { code: RefusalCode::KeyEnded });
    assert_eq!(learned_charters(&outcome.dialler), [second.id()]);
}

#[test]
fn strangers_other_federations_and_copies_of_oneself_are_told_nothing() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let here = presence(federation.trust(), br);
    let silent = |why| Step::Refuse { answer: None, why };

    let mut stranger = presence(federation.trust(), sg);
    Arc::make_mut(&mut stranger).node = node_key(&testing::key(9, "stranger", 0));
    let outcome = meet(&stranger, &here);
    assert_eq!(outcome.listener_step, silent(Refusal::Stranger));
    assert_eq!(outcome.frames, ["hello"]);

    let other = Federation::new(2, &CODES, 1);
    let outcome = meet(&presence(other.trust(), other.unit("SG")), &here);
    assert_eq!(outcome.listener_step, silent(Refusal::OtherFederation));
    assert!(outcome.listener.learned().is_empty());

    let outcome = meet(&here, &here);
    assert_eq!(outcome.listener_step, silent(Refusal::Oneself));
}

#[test]
fn a_key_set_that_its_root_did_not_sign_is_a_violation() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let thief = testing::key(9, "thief", 0);
    let forged =
        federation.first_key_set(&federation.founding, &sg.code, &thief, std::slice::from_ref(&thief));
    let (_, frame) = Introduction::dial(presence(federation.trust(), sg), node_key(&br.nodes[0]), FOUNDED);
    let IntroductionFrame::Hello(mut hello) = frame else { panic!("no hello") };
    hello.key_sets = vec![forged.envelope().as_ref().clone()];
    let mut listener = Introduction::listen(presence(federation.trust(), br), node_key(&thief), FOUNDED);
    let step = listener.handle(IntroductionFrame::Hello(hello));
    let Step::Violation(IntroductionError::Trust(error)) = step else { panic!("{step:?}") };
    assert_eq!(error.rule(), "KS-09");
}

#[test]
fn no_wire_version_in_common_and_a_full_node_are_told() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| presence(federation.trust(), federation.unit(code)));
    let mut newer = Arc::clone(&br);
    Arc::make_mut(&mut newer).wire = vec![2, 3];
    let outcome = meet(&sg, &newer);
    assert_eq!(outcome.dialler_step, Step::Refused { code: RefusalCode::WireVersion });
    let mut full = Arc::clone(&br);
    Arc::make_mut(&mut full).full = true;
    assert_eq!(meet(&sg, &full).dialler_step, Step::Refused { code: RefusalCode::Full });
    // A full node still dials.
    assert!(meet(&full, &sg).both_admit());
}

#[test]
fn the_record_is_learned_on_admission_alone() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| federation.unit(code));
    let with_record = |trust, unit: &Unit| {
        let mut presence = presence(trust, unit);
        let header = unit.key_set.envelope().as_ref().clone();
        Arc::make_mut(&mut presence).record = Some((header, vec![7; 100]));
        presence
    };
    let records = |side: &Introduction| {
        side.learned().iter().filter(|learned| matches!(learned, LearnedDocument::Record { .. })).count()
    };
    let outcome = meet(&with_record(federation.trust(), br), &with_record(federation.trust(), sg));
    assert!(outcome.both_admit());
    assert_eq!((records(&outcome.dialler), records(&outcome.listener)), (1, 1));
    let mut stranger = with_record(federation.trust(), br);
    Arc::make_mut(&mut stranger).node = node_key(&testing::key(9, "stranger", 0));
    let outcome = meet(&stranger, &with_record(federation.trust(), sg));
    assert_eq!(records(&outcome.listener), 0);
}

#[test]
fn a_gap_longer_than_one_introduction_closes_over_several_dials() {
    // 196 members, whose versions are about 35 KB each: more of them than one direction takes.
    let codes = ('A'..='N').flat_map(|a| ('A'..='N').map(move |b| format!("{a}{b}"))).collect::<Vec<_>>();
    let codes = codes.iter().map(String::as_str).collect::<Vec<_>>();
    let federation = Federation::new(3, &codes, 1);
    let [aa, ab] = ["AA", "AB"].map(|code| federation.unit(code));
    let mut tip = Arc::clone(&federation.founding);
    let mut ahead = federation.founding_trust();
    for _ in 0..40 {
        tip = federation.successor(&[&tip], |_| {}, &[&aa.root, &ab.root]);
        ahead.accept_charter(Arc::clone(&tip)).unwrap();
    }
    let (last, newcomer) = newcomer_after(&federation, &tip, "ZZ");
    ahead.accept_charter(Arc::clone(&last)).unwrap();
    ahead.accept_key_set(Arc::clone(&newcomer.key_set)).unwrap();
    let ahead = presence(ahead, &newcomer);
    let mut behind = presence(federation.trust(), aa);

    let outcome = meet(&ahead, &behind);
    assert_eq!(outcome.dialler_step, Step::Refused { code: RefusalCode::Incomplete });
    assert!(outcome.bytes <= INTRODUCTION_BYTES_MAX, "{}", outcome.bytes);
    let learned = outcome.listener.learned();
    assert!(learned.len() > 10 && learned.len() < 41, "{}", learned.len());
    for document in learned {
        let LearnedDocument::Charter(version) = document else { panic!("only charters") };
        let trust = &mut Arc::make_mut(&mut behind).trust;
        assert_eq!(trust.accept_charter(Arc::clone(version)), Ok(Acceptance::New));
    }
    assert!(meet(&ahead, &behind).both_admit());
}

#[test]
fn frames_out_of_order_are_violations() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| presence(federation.trust(), federation.unit(code)));
    let hello =
        |of: &Arc<Presence>, to: &Arc<Presence>| Introduction::dial(Arc::clone(of), to.node, FOUNDED).1;
    let need = || IntroductionFrame::Need(Need { tips: Vec::new(), settled: None });
    let done = || IntroductionFrame::Done(Done {});
    let slice = || IntroductionFrame::Versions(Versions { data: vec![0x80], more: false });
    let is_order = |step: &Step| matches!(step, Step::Violation(IntroductionError::Order { .. }));
    for wrong in [need(), done(), slice(), told_frame()] {
        let mut listener = Introduction::listen(Arc::clone(&br), sg.node, FOUNDED);
        assert!(is_order(&listener.handle(wrong)));
        // Nothing comes after an end.
        assert!(is_order(&listener.handle(hello(&sg, &br))));
    }
    for wrong in [done(), slice()] {
        let (mut dialler, _) = Introduction::dial(Arc::clone(&br), sg.node, FOUNDED);
        assert!(is_order(&dialler.handle(wrong)));
    }
    for wrong in [hello(&sg, &br), slice()] {
        let mut listener = Introduction::listen(Arc::clone(&br), sg.node, FOUNDED);
        assert!(matches!(listener.handle(hello(&sg, &br)), Step::Send(_)));
        assert!(is_order(&listener.handle(wrong)));
    }
    // One `need` each, no more.
    let mut listener = Introduction::listen(Arc::clone(&br), sg.node, FOUNDED);
    assert!(matches!(listener.handle(hello(&sg, &br)), Step::Send(_)));
    assert!(matches!(listener.handle(need()), Step::Send(_)));
    assert!(is_order(&listener.handle(need())));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_frames_in_random_order_never_panic_or_admit(
        picks in proptest::collection::vec((0_usize..7, any::<u8>()), 0..12),
        dials in any::<bool>(),
    ) {
        let federation = Federation::new(1, &CODES, 1);
        let here = presence(federation.trust(), federation.unit("BR"));
        let stranger = node_key(&testing::key(9, "stranger", 0));
        let (second, _) = with_newcomer(&federation, "JO");
        let mut side = if dials {
            Introduction::dial(Arc::clone(&here), stranger, FOUNDED).0
        } else {
            Introduction::listen(Arc::clone(&here), stranger, FOUNDED)
        };
        for (pick, salt) in picks {
            let step = side.handle(random_frame(pick, salt, &federation, &second));
            prop_assert!(!matches!(step, Step::Admit(..)));
        }
    }
}

/// What two sides, joined in memory by their bytes, came to.
struct Outcome {
    dialler: Introduction,
    listener: Introduction,
    dialler_step: Step,
    listener_step: Step,
    frames: Vec<&'static str>,
    /// Of the busier direction.
    bytes: usize,
}

impl Outcome {
    fn both_admit(&self) -> bool {
        matches!((&self.dialler_step, &self.listener_step), (Step::Admit(..), Step::Admit(..)))
    }

    fn dialler_admits(&self) -> &Admitted {
        let Step::Admit(_, admitted) = &self.dialler_step else { panic!("{:?}", self.dialler_step) };
        admitted
    }

    fn listener_admits(&self) -> &Admitted {
        let Step::Admit(_, admitted) = &self.listener_step else { panic!("{:?}", self.listener_step) };
        admitted
    }
}

fn meet(dialler: &Arc<Presence>, listener: &Arc<Presence>) -> Outcome {
    let (dialling, hello) = Introduction::dial(Arc::clone(dialler), listener.node, FOUNDED);
    let listening = Introduction::listen(Arc::clone(listener), dialler.node, FOUNDED);
    let mut sides = [dialling, listening];
    let mut steps = [(); 2].map(|()| Step::Send(Vec::new()));
    let mut readers = [(); 2].map(|()| FrameReader::new());
    let mut bytes = [0; 2];
    let mut names = Vec::new();
    // Frames on their way, with the side that reads them.
    let mut way = VecDeque::from([(1, hello)]);
    while let Some((to, frame)) = way.pop_front() {
        // Consecutive slices count as one here.
        if names.last() != Some(&name(&frame)) || name(&frame) != "versions" {
            names.push(name(&frame));
        }
        let wire = encode_frame(&frame).unwrap();
        bytes[to] += wire.len();
        let frame = read_frame(&mut readers[to], &mut wire.as_slice(), 4_096).unwrap();
        let step = sides[to].handle(frame);
        let answers = match &step {
            Step::Send(frames) | Step::Admit(frames, _) => frames.clone(),
            Step::Refuse { answer, .. } => answer.iter().cloned().collect(),
            Step::Refused { .. } | Step::Violation(_) => Vec::new(),
        };
        way.extend(answers.into_iter().map(|frame| (1 - to, frame)));
        steps[to] = step;
    }
    let [dialler, listener] = sides;
    let [dialler_step, listener_step] = steps;
    let bytes = bytes.into_iter().max().unwrap();
    Outcome { dialler, listener, dialler_step, listener_step, frames: names, bytes }
}

pub(super) fn presence(trust: Trust, unit: &Unit) -> Arc<Presence> {
    Arc::new(Presence {
        trust,
        node: node_key(&unit.nodes[0]),
        member: unit.code.clone(),
        wire: vec![1],
        record: None,
        full: false,
    })
}

fn with_newcomer(federation: &Federation, code: &str) -> (Arc<Verified<Charter>>, Unit) {
    newcomer_after(federation, &federation.founding, code)
}

/// A version that lists a new member, and the member with its key set under it.
fn newcomer_after(
    federation: &Federation,
    parent: &Arc<Verified<Charter>>,
    code: &str,
) -> (Arc<Verified<Charter>>, Unit) {
    let code: MemberCode = code.parse().unwrap();
    let mut unit = federation.new_unit(&code, 1);
    let roots: [&SigningKey; 3] = [&federation.units[0].root, &federation.units[1].root, &unit.root];
    let admits = |charter: &mut Charter| {
        charter.members.push(federation.first_entry(&code));
        charter.members.sort_by(|a, b| a.code.cmp(&b.code));
    };
    let version = federation.successor(&[parent], admits, &roots);
    unit.key_set = federation.first_key_set(&version, &code, &unit.root, &unit.nodes);
    (version, unit)
}

fn learned_charters(side: &Introduction) -> Vec<crate::ids::DocumentId> {
    let charters = side.learned().iter().filter_map(|learned| match learned {
        LearnedDocument::Charter(version) => Some(version.id()),
        _ => None,
    });
    charters.collect()
}

fn learned_key_sets(side: &Introduction) -> Vec<crate::ids::DocumentId> {
    let sets = side.learned().iter().filter_map(|learned| match learned {
        LearnedDocument::KeySet(set) => Some(set.id()),
        _ => None,
    });
    sets.collect()
}

fn told_frame() -> IntroductionFrame {
    IntroductionFrame::Refused(Refused { code: RefusalCode::Full, proof: Vec::new() })
}

fn random_frame(
    pick: usize,
    salt: u8,
    federation: &Federation,
    second: &Arc<Verified<Charter>>,
) -> IntroductionFrame {
    let tip = |byte| CharterId::from_bytes([byte; 32]);
    let sg = federation.unit("SG");
    match pick {
        0 => {
            let (_, hello) =
                Introduction::dial(presence(federation.trust(), sg), node_key(&sg.nodes[0]), FOUNDED);
            let IntroductionFrame::Hello(mut hello) = hello else { panic!("no hello") };
            match salt % 6 {
                0 => hello.federation = FederationId::from_bytes([salt; 32]),
                1 => hello.tips.push(tip(salt)),
                2 => hello.tips = vec![second.id().into()],
                3 => hello.wire = Vec::new(),
                4 => hello.key_sets[0].signatures[0].sig[usize::from(salt) % 64] ^= 1,
                _ => {}
            }
            IntroductionFrame::Hello(hello)
        }
        1 => IntroductionFrame::Need(Need { tips: vec![tip(salt)], settled: Some(tip(salt)) }),
        2 => IntroductionFrame::Versions(Versions { data: vec![salt; 5], more: salt.is_multiple_of(2) }),
        3 => {
            let mut data = encode(&vec![second.envelope().as_ref()]).unwrap();
            let at = usize::from(salt) * 7 % data.len();
            if !salt.is_multiple_of(3) {
                data[at] ^= 1;
            }
            IntroductionFrame::Versions(Versions { data, more: false })
        }
        4 => IntroductionFrame::Done(Done {}),
        5 => IntroductionFrame::Refused(Refused {
            code: RefusalCode::KeyEnded,
            proof: vec![second.envelope().as_ref().clone(), sg.key_set.envelope().as_ref().clone()],
        }),
        _ => told_frame(),
    }
}
