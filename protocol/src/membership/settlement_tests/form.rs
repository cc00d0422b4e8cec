//! What a certificate is made of, whatever it says.

use super::*;
use crate::document::{Signature, Unverified, decode, sign};
use crate::evidence::verify_brought;

#[test]
fn each_rule_of_form_refuses_what_breaks_it() {
    let world = World::new();
    let good = world.settles(&world.second);
    let payload: Settlement = crate::document::decode(&good.envelope().payload, usize::MAX).unwrap();
    let rule = |change: &dyn Fn(&mut Settlement)| {
        let mut payload = payload.clone();
        change(&mut payload);
        let envelope = Envelope { payload: encode(&payload).unwrap(), ..Envelope::clone(good.envelope()) };
        verify_settlement(envelope, world.federation.id).map_err(|error: VerifyError| error.rule()).map(drop)
    };
    assert_eq!(rule(&|_| {}), Ok(()));
    assert_eq!(rule(&|it| it.base = it.charter), Err("SE-01"));
    assert_eq!(rule(&|it| it.voices.clear()), Err("SE-01"));
    assert_eq!(rule(&|it| it.voices[0].key_sets.clear()), Err("SE-01"));
    assert_eq!(rule(&|it| it.voices.swap(0, 1)), Err("SE-01"));
    assert_eq!(rule(&|it| it.voices[1] = it.voices[0].clone()), Err("SE-01"));
    assert_eq!(rule(&|it| it.voices[0].head.signatures[0].sig[0] ^= 1), Err("SE-02"));
    let two = world.federation.head("BR", 0, &[&world.second, &world.thieves]);
    assert_eq!(rule(&|it| it.voices[0].head = Envelope::clone(two.envelope())), Err("SE-02"));
    assert_eq!(rule(&|it| it.voices[0].key_sets[0].signatures[0].sig[0] ^= 1), Err("SE-03"));
    assert_eq!(rule(&|it| it.voices[0].key_sets = it.voices[1].key_sets.clone()), Err("SE-03"));
    let twice = |it: &mut Settlement| it.voices[0].key_sets.extend(payload.voices[0].key_sets.clone());
    assert_eq!(rule(&twice), Err("SE-03"));
    let signed = Envelope {
        signatures: good.voices()[0].head.envelope().signatures.clone(),
        ..Envelope::clone(good.envelope())
    };
    assert_eq!(verify_settlement(signed, world.federation.id).unwrap_err().rule(), "DO-07");
}

/// Nobody signs a certificate: what is in it beside what it says would make as many documents of one as anybody likes.
#[test]
fn nothing_can_be_added_to_a_certificate() {
    #[derive(serde::Serialize)]
    struct Padded<T, V> {
        charter: CharterId,
        base: CharterId,
        voices: Vec<V>,
        #[serde(skip_serializing_if = "Option::is_none")]
        padding: Option<T>,
    }
    #[derive(serde::Serialize)]
    struct PaddedVoice<E> {
        head: E,
        key_sets: Vec<Envelope>,
        #[serde(skip_serializing_if = "Option::is_none")]
        padding: Option<u64>,
    }
    #[derive(Clone, serde::Serialize)]
    struct PaddedEnvelope {
        kind: String,
        version: u64,
        #[serde(with = "serde_bytes")]
        payload: Vec<u8>,
        signatures: Vec<Signature>,
        #[serde(skip_serializing_if = "Option::is_none")]
        padding: Option<u64>,
    }
    let world = World::new();
    let good = world.settles(&world.second);
    let payload: Settlement = decode(&good.envelope().payload, usize::MAX).unwrap();
    let padded = |outer: Option<u64>, voice: Option<u64>, envelope: Option<u64>| {
        let voices = payload.voices.iter().map(|it| {
            let Envelope { kind, version, payload, signatures } = it.head.clone();
            let head = PaddedEnvelope { kind, version, payload, signatures, padding: envelope };
            PaddedVoice { head, key_sets: it.key_sets.clone(), padding: voice }
        });
        let Settlement { charter, base, .. } = payload;
        let payload = Padded { charter, base, voices: voices.collect(), padding: outer };
        let envelope = Envelope { payload: encode(&payload).unwrap(), ..Envelope::clone(good.envelope()) };
        verify_settlement(envelope, world.federation.id).map_err(|error| error.rule()).map(|it| it.id())
    };
    assert_eq!(padded(None, None, None), Ok(good.id()));
    assert_eq!(padded(Some(7), None, None), Err("SE-01"));
    assert_eq!(padded(None, Some(7), None), Err("SE-01"));
    assert_eq!(padded(None, None, Some(7)), Err("SE-01"));
    let with = |change: &dyn Fn(&mut Settlement)| {
        let mut payload = payload.clone();
        change(&mut payload);
        let envelope = Envelope { payload: encode(&payload).unwrap(), ..Envelope::clone(good.envelope()) };
        verify_settlement(envelope, world.federation.id).map_err(|error| error.rule()).map(drop)
    };
    let ballast = Signature { key: vec![1; 32], alg: 7, sig: vec![2; 64] };
    assert_eq!(with(&|it| it.voices[0].head.signatures.push(ballast.clone())), Err("SE-02"));
    assert_eq!(with(&|it| it.voices[0].key_sets[0].signatures.push(ballast.clone())), Err("SE-03"));
}

/// Whoever passes a head or a key set on can wrap it anew: what that adds is left out.
#[test]
fn a_certificate_is_made_of_the_signatures_that_count_alone() {
    let world = World::new();
    let stranger = world.federation.root(&"ZA".parse().unwrap(), 9);
    let with_ballast = |envelope: &Envelope, second: Signature| {
        let mut envelope = envelope.clone();
        envelope.signatures.push(second);
        envelope
    };
    let unknown = Signature { key: vec![1; 32], alg: 7, sig: vec![2; 64] };
    let ke = world.federation.unit("KE");
    let strange = sign(ke.key_set.payload(), Some(world.federation.id), &[&stranger]).unwrap();
    let wrapped = with_ballast(ke.key_set.envelope(), strange.signatures[0].clone());
    let wrapped = Unverified::<KeySet>::open(wrapped).unwrap().verify(world.federation.id).unwrap();
    assert_eq!(wrapped.signers().len(), 2);
    let mut trust = world.federation.founding_trust();
    for unit in world.federation.units.iter().filter(|unit| unit.code != ke.code) {
        trust.accept_key_set(Arc::clone(&unit.key_set)).unwrap();
    }
    trust.accept_key_set(Arc::new(wrapped)).unwrap();
    trust.accept_charter(Arc::clone(&world.second)).unwrap();
    let heads = world.heads(&CODES[..5], &world.second);
    let heads = heads.iter().map(|head| {
        let wrapped = with_ballast(head.envelope(), unknown.clone());
        Arc::new(crate::heads::verify_head(wrapped, world.federation.id).unwrap())
    });
    let certificate = trust.settle(&heads.collect::<Vec<_>>()).unwrap().unwrap();
    assert_eq!(certificate.id(), world.settles(&world.second).id());
    let again = verify_settlement(Envelope::clone(certificate.envelope()), world.federation.id).unwrap();
    assert_eq!(trust.accept_settlement(Arc::new(again)), Ok(Acceptance::New));
}

#[test]
fn what_is_settled_already_is_not_verified_again() {
    let world = World::new();
    let mut trust = world.trust(&[&world.second, &world.third]);
    let brought = |trust: &Trust, certificate: &Certificate| {
        let mut payload: Settlement = decode(&certificate.envelope().payload, usize::MAX).unwrap();
        payload.voices.iter_mut().for_each(|voice| voice.head.signatures[0].sig[0] ^= 1);
        let spoilt =
            Envelope { payload: encode(&payload).unwrap(), ..Envelope::clone(certificate.envelope()) };
        verify_brought(spoilt, trust).map(|result| result.map_err(|error| error.rule()).map(|it| it.id()))
    };
    let (second, third) = (world.settles(&world.second), world.settles(&world.third));
    let few = world.certificate(
        &world.federation.founding,
        &world.second,
        world.voices(&CODES[..4], &world.second),
    );
    assert_eq!(brought(&trust, &second), Some(Err("SE-02")));
    assert_eq!(brought(&trust, &few), Some(Err("SE-07")), "the signatures are not looked at");
    let good = verify_brought(Envelope::clone(second.envelope()), &trust);
    assert_eq!(good.unwrap().unwrap(), AnyDocument::Settlement(Arc::clone(&second)));
    trust.accept_settlement(third).unwrap();
    assert_eq!(brought(&trust, &second), None, "a later one says as much");
    let waiting = world.federation.founding_trust();
    assert_eq!(
        brought(&waiting, &second),
        Some(Err("SE-02")),
        "what waits for versions is verified before it waits"
    );
}
