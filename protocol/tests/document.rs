//! Envelopes and signatures, whatever they carry: what the document layer lets through and what it stops.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    document::{
        CanonicalError, DecodeError, Envelope, EnvelopeError, FormError, Kind, Payload, Signature,
        SignatureBounds, Unverified, VerifyError, check_canonical, decode, encode, sign,
    },
    ids::FederationId,
    limits::{KIND_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNATURE_BYTES_MAX, SIGNATURES_MAX},
};
use serde::{Deserialize, Serialize};

/// A payload of this test's own, so that no rule of a real document stands in the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    text: String,
    count: u64,
}

impl Payload for Note {
    const KIND: Kind = Kind::Receipt;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = 1_024;
    const SIGNATURES: SignatureBounds = SignatureBounds { count: 3, bytes: 7_000 };

    fn check_form(&self) -> Result<(), FormError> {
        Ok(())
    }
}

#[test]
fn a_signed_payload_is_verified_with_its_signers() {
    let verified = Unverified::<Note>::open(signed(&[&key(1), &key(2)])).unwrap();
    assert_eq!(*verified.claimed(), note());
    let verified = verified.verify(federation(7)).unwrap();
    assert_eq!(*verified.payload(), note());
    assert_eq!(verified.signers().len(), 2);
    assert_eq!(verified.signer(), None);
}

#[test]
fn a_key_signs_an_envelope_once() {
    let doubled = Unverified::<Note>::open(signed(&[&key(1), &key(2), &key(1)])).unwrap_err();
    assert_eq!((doubled.clone(), doubled.rule()), (VerifyError::Doubled(2), "DO-08"));
    let mut other_algorithm = signed(&[&key(1)]);
    other_algorithm.signatures.push(Signature { alg: 9, ..other_algorithm.signatures[0].clone() });
    assert!(Unverified::<Note>::open(other_algorithm).is_ok(), "a second algorithm may use the same bytes");
}

#[test]
fn another_set_of_signers_is_the_same_document() {
    let open = |envelope| Unverified::<Note>::open(envelope).unwrap().verify(federation(7)).unwrap();
    assert_eq!(open(signed(&[&key(1)])).id(), open(signed(&[&key(2), &key(3)])).id());
}

#[test]
fn envelope_bounds_hold_at_the_edge_and_not_past_it() {
    let signature = |bytes| Signature { key: vec![0; bytes], alg: 99, sig: vec![0; bytes] };
    let envelope = |kind: usize, payload: usize, signatures: usize| Envelope {
        kind: "k".repeat(kind),
        version: 1,
        payload: vec![0; payload],
        signatures: vec![signature(1); signatures],
    };
    assert_eq!(envelope(KIND_BYTES_MAX, PAYLOAD_BYTES_MAX, SIGNATURES_MAX).check_bounds(), Ok(()));
    assert_eq!(envelope(0, 1, 1).check_bounds(), Err(EnvelopeError::KindName));
    assert_eq!(envelope(KIND_BYTES_MAX + 1, 1, 1).check_bounds(), Err(EnvelopeError::KindName));
    assert_eq!(
        envelope(1, PAYLOAD_BYTES_MAX + 1, 1).check_bounds(),
        Err(EnvelopeError::PayloadTooLong(PAYLOAD_BYTES_MAX + 1))
    );
    assert_eq!(
        envelope(1, 1, SIGNATURES_MAX + 1).check_bounds(),
        Err(EnvelopeError::TooManySignatures(SIGNATURES_MAX + 1))
    );
    let mut long = envelope(1, 1, 0);
    long.signatures = vec![signature(SIGNATURE_BYTES_MAX)];
    assert_eq!(long.check_bounds(), Ok(()));
    long.signatures = vec![signature(SIGNATURE_BYTES_MAX + 1)];
    assert_eq!(long.check_bounds(), Err(EnvelopeError::SignatureTooLong));
}

#[test]
fn an_envelope_beyond_its_bytes_is_refused_before_it_is_read() {
    let bytes = vec![0xFF; Envelope::BYTES_MAX + 1];
    let too_long = DecodeError::TooLong { max: Envelope::BYTES_MAX, got: bytes.len() };
    assert_eq!(Envelope::from_bytes(&bytes), Err(EnvelopeError::Decode(too_long)));
}

#[test]
fn one_bad_signature_spoils_its_envelope() {
    let good = signed(&[&key(1), &key(2)]);
    let mut spoiled = good.clone();
    spoiled.signatures[1].sig[5] ^= 1;
    assert_eq!(verify(spoiled), Err(VerifyError::BadSignature(1)));
    let mut short = good.clone();
    short.signatures[0].sig.pop();
    assert_eq!(verify(short), Err(VerifyError::BadSignature(0)));
    let mut stranger = good.clone();
    stranger.signatures[0].key = key(9).verifying_key().to_bytes().to_vec();
    assert_eq!(verify(stranger), Err(VerifyError::BadSignature(0)));
    assert_eq!(verify(good), Ok(()), "the document itself is untouched");
}

#[test]
fn signatures_of_unknown_algorithms_do_not_count() {
    let mut envelope = signed(&[&key(1)]);
    envelope.signatures.push(Signature { key: vec![1; 2_000], alg: 2, sig: vec![2; 4_000] });
    assert_eq!(verify(envelope.clone()), Ok(()), "an algorithm newer than this code is carried along");
    envelope.signatures.remove(0);
    assert_eq!(verify(envelope), Err(VerifyError::Unsigned));
    assert_eq!(verify(signed(&[])), Err(VerifyError::Unsigned));
}

#[test]
fn an_envelope_carries_no_more_signatures_than_its_kind_has_a_use_for() {
    let mut envelope = signed(&[&key(1)]);
    let rest = Note::SIGNATURES.bytes - envelope.signatures_bytes();
    let ballast = |bytes| Signature { key: Vec::new(), alg: 2, sig: vec![2; bytes] };
    envelope.signatures.push(ballast(rest));
    assert_eq!(verify(envelope.clone()), Ok(()), "at the edge");
    envelope.signatures.push(ballast(1));
    let refused = |envelope: &Envelope| verify(envelope.clone()).map_err(|error| error.rule());
    assert_eq!(refused(&envelope), Err("DO-07"), "a byte too many");
    envelope.signatures = vec![envelope.signatures[0].clone(); Note::SIGNATURES.count + 1];
    assert_eq!(refused(&envelope), Err("DO-07"), "a signature too many");
}

#[test]
fn a_signature_counts_in_its_own_domain_only() {
    let open = |envelope: Envelope| Unverified::<Note>::open(envelope).unwrap();
    let bad = Err(VerifyError::BadSignature(0));
    assert_eq!(open(signed(&[&key(1)])).verify(federation(8)).map(drop), bad, "another federation");
    let unbound = sign(&note(), None, &[&key(1)]).unwrap();
    assert_eq!(open(unbound).verify(federation(7)).map(drop), bad, "signed before there was a federation");
    let mut renamed = signed(&[&key(1)]);
    renamed.kind = Kind::Message.name().into();
    let expected = VerifyError::Kind { expected: Kind::Receipt, got: "message".into() };
    assert_eq!(Unverified::<Note>::open(renamed).map(drop), Err(expected));
}

#[test]
fn newer_kinds_and_versions_are_not_faults() {
    let mut kind = signed(&[&key(1)]);
    kind.kind = "weather-report".into();
    let mut version = signed(&[&key(1)]);
    version.version = 2;
    for envelope in [kind, version] {
        let error = VerifyError::Newer { kind: envelope.kind.clone(), version: envelope.version };
        assert_eq!(Unverified::<Note>::open(envelope).map(drop), Err(error));
    }
}

#[test]
fn every_flipped_bit_of_an_envelope_is_refused() {
    let envelope = signed(&[&key(1)]);
    let bytes = encode(&envelope).unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let verified = Envelope::from_bytes(&flipped)
                .map_err(|_| ())
                .and_then(|envelope| Unverified::<Note>::open(envelope).map_err(|_| ()))
                .and_then(|unverified| unverified.verify(federation(7)).map_err(|_| ()));
            assert!(verified.is_err(), "byte {at}, bit {bit}: accepted as {:?}", verified.map(|v| v.id()));
        }
    }
}

#[test]
fn every_cut_of_an_envelope_is_refused() {
    let bytes = encode(&signed(&[&key(1)])).unwrap();
    for length in 0..bytes.len() {
        assert!(Envelope::from_bytes(&bytes[..length]).is_err(), "cut after {length} bytes");
    }
    let longer = [bytes.as_slice(), &[0]].concat();
    let trailing = DecodeError::NotCanonical(CanonicalError::Trailing(bytes.len()));
    assert_eq!(Envelope::from_bytes(&longer), Err(EnvelopeError::Decode(trailing)));
}

#[test]
fn the_canonical_form_holds_inside_unknown_fields() {
    // {"text": "a", "count": 1, "later": X}, sorted by length and then bytes.
    let with = |value: &[u8]| {
        let mut bytes = b"\xA3\x64text\x61a\x65count\x01\x65later".to_vec();
        bytes.extend_from_slice(value);
        bytes
    };
    assert_eq!(decode::<Note>(&with(&[0x01]), 100), Ok(Note { text: "a".into(), count: 1 }));
    let bad: [&[u8]; 6] =
        [&[0xF6], &[0xF9, 0, 0], &[0x18, 0x01], &[0xC0, 0x01], &[0x9F, 0xFF], &[0x61, 0xFF]];
    for value in bad {
        assert!(check_canonical(&with(value)).is_err(), "{value:02x?}");
        assert!(
            matches!(decode::<Note>(&with(value), 100), Err(DecodeError::NotCanonical(_))),
            "{value:02x?}"
        );
    }
}

fn note() -> Note {
    Note { text: "the unit answers day and night".into(), count: 24 }
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn federation(byte: u8) -> FederationId {
    FederationId::from_bytes([byte; 32])
}

fn signed(keys: &[&SigningKey]) -> Envelope {
    sign(&note(), Some(federation(7)), keys).unwrap()
}

fn verify(envelope: Envelope) -> Result<(), VerifyError> {
    Unverified::<Note>::open(envelope)?.verify(federation(7)).map(drop)
}
