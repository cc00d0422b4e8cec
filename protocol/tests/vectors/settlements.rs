//! Settlements: good ones, and bad ones with the rule that refuses each.

use std::sync::Arc;

use refpoint_protocol::{
    document::{Envelope, Signature, Verified, encode, sign},
    ids::CharterId,
    membership::{
        charter::Charter,
        settlement::{Certificate, Settlement, SignedVoice, verify_settlement},
    },
};

use super::{
    cast::{Cast, listing, node, root},
    heads::head_of,
};

type Version = Arc<Verified<Charter>>;

/// Version 2, which admits X-LO.
pub(super) fn second(cast: &Cast) -> Version {
    cast.successor(&[&cast.founding], &[&root("BR"), &root("KE"), &root("X-LO")], |charter| {
        charter.members.push(listing("X-LO"));
    })
}

/// A member's head that names one tip, with its first key set.
fn voice(cast: &Cast, code: &str, listed: &Version, tip: &Version) -> SignedVoice {
    let head = head_of(cast, code, tip);
    SignedVoice {
        head: cast.signed(&head, &[&node(code, 0)]),
        key_sets: vec![cast.signed(&cast.key_set(code, listed), &[&root(code)])],
    }
}

/// Heads of founders that settle a version.
pub(super) fn payload(cast: &Cast, base: &Version, version: &Version, codes: &[&str]) -> Settlement {
    let voices = codes.iter().map(|code| voice(cast, code, &cast.founding, version)).collect();
    Settlement { charter: version.id().into(), base: base.id().into(), voices }
}

pub(super) fn envelope(cast: &Cast, payload: &Settlement) -> Envelope {
    sign(payload, Some(cast.federation), &[]).unwrap()
}

/// Version 2, settled by three of four members.
pub(super) fn good(cast: &Cast) -> Envelope {
    envelope(cast, &payload(cast, &cast.founding, &second(cast), &["BR", "FR", "SG"]))
}

pub(super) fn certificate(
    cast: &Cast,
    base: &Version,
    version: &Version,
    codes: &[&str],
) -> Arc<Certificate> {
    let envelope = envelope(cast, &payload(cast, base, version, codes));
    Arc::new(verify_settlement(envelope, cast.federation).unwrap())
}

/// Bad ones, for a node that holds versions 1 and 2: the rule, what is wrong, the envelope's bytes.
pub(super) fn bad(cast: &Cast) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let (first, second) = (&cast.founding, second(cast));
    let good = payload(cast, first, &second, &["BR", "FR", "SG"]);
    let bytes = |payload: &Settlement| encode(&envelope(cast, payload)).unwrap();
    let with = |rule, name, change: &dyn Fn(&mut Settlement)| {
        let mut payload = good.clone();
        change(&mut payload);
        (rule, name, bytes(&payload))
    };
    let two_tips = {
        let mut head = head_of(cast, "BR", &second);
        head.charter.push(CharterId::from_bytes([0xFF; 32]));
        cast.signed(&head, &[&node("BR", 0)])
    };
    let padded = {
        let mut envelope = envelope(cast, &good);
        // One more entry of the map, which sorts after the others.
        envelope.payload[0] += 1;
        envelope.payload.extend(b"\x68padding1\x01");
        encode(&envelope).unwrap()
    };
    let ballast = Signature { key: vec![1; 32], alg: 7, sig: vec![2; 64] };
    let mut signed = envelope(cast, &good);
    signed.signatures.clone_from(&good.voices[0].head.signatures);
    vec![
        ("DO-07", "a settlement with a signature", encode(&signed).unwrap()),
        with("SE-01", "members counted by the version itself", &|s| s.base = s.charter),
        with("SE-01", "nobody's head", &|s| s.voices.clear()),
        with("SE-01", "members out of order", &|s| s.voices.reverse()),
        with("SE-01", "a member twice", &|s| s.voices[1] = s.voices[0].clone()),
        with("SE-01", "a head without key sets", &|s| s.voices[0].key_sets.clear()),
        ("SE-01", "a field that no settlement has", padded),
        with("SE-02", "a head with a second signature", &|s| {
            s.voices[0].head.signatures.push(ballast.clone());
        }),
        with("SE-03", "a key set with a second signature", &|s| {
            s.voices[0].key_sets[0].signatures.push(ballast.clone());
        }),
        with("SE-02", "a head whose signature does not verify", &|s| {
            s.voices[0].head.signatures[0].sig[5] ^= 1;
        }),
        with("SE-02", "a head that names two tips", &|s| s.voices[0].head.clone_from(&two_tips)),
        with("SE-03", "a key set whose signature does not verify", &|s| {
            s.voices[0].key_sets[0].signatures[0].sig[5] ^= 1;
        }),
        with("SE-03", "a key set of another member", &|s| {
            let other = s.voices[1].key_sets.clone();
            s.voices[0].key_sets = other;
        }),
        with("SE-03", "a key set before it that is no rotation", &|s| {
            let set = s.voices[0].key_sets[0].clone();
            s.voices[0].key_sets.push(set);
        }),
        with("SE-04", "version 1, which follows no other", &|s| {
            (s.charter, s.base) = (s.base, s.charter);
        }),
        with("SE-05", "a member that the base does not list", &|s| {
            s.voices.push(voice(cast, "X-LO", &second, &second));
        }),
        with("SE-06", "a head that names version 1", &|s| {
            s.voices[0] = voice(cast, "BR", first, first);
        }),
        with("SE-07", "two of four members", &|s| s.voices.truncate(2)),
    ]
}
