//! Founding files: what is accepted, gathered and refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use refpoint_protocol::{
    document::{Signature, sign},
    ids::{ContentHash, Incarnation},
    membership::charter::{MemberKind, MemberStatus, WorkingGroup},
    time::Timestamp,
};

use super::*;
use crate::keyfile::{NodeSecret, RootSecret};

/// A founding of three, signed by all, and its bytes.
fn founded() -> (Ceremony, Vec<u8>) {
    let secrets = [1, 2, 3].map(|byte| RootSecret::from_seed(&[byte; 32]));
    let codes = ["BR", "FR", "SG"].map(|code| code.parse::<MemberCode>().unwrap());
    let mut requests = Vec::new();
    let mut members = Vec::new();
    for (code, root) in codes.iter().zip(&secrets) {
        let node = NodeSecret::from_seed(&[root.key().as_bytes()[0]; 32]);
        let next = ContentHash::from_bytes(*root.key().as_bytes());
        let (kind, group, alg) = (MemberKind::of(code), WorkingGroup::Eurasia, Signature::ED25519);
        let request = JoiningRequest {
            member: code.clone(),
            kind,
            group,
            alg,
            root: root.key(),
            next,
            node: node.key(),
            addresses: vec!["node.example:4001".to_owned()],
            created: Timestamp::from_millis(1_800_000_000_000),
        };
        requests.push(sign(&request, None, &[root.signing_key(), node.signing_key()]).unwrap());
        members.push(MemberEntry {
            code: code.clone(),
            kind,
            incarnation: Incarnation(0),
            alg,
            root: root.key(),
            next,
            status: MemberStatus::Active,
            group,
        });
    }
    let charter = Charter {
        version: CharterVersion(1),
        nonce: Some(ContentHash::from_bytes([9; 32])),
        refounds: None,
        parents: Vec::new(),
        threshold: 2,
        stewards: codes.to_vec(),
        members,
    };
    let draft = Ceremony::draft(&charter, requests.clone()).unwrap();
    let roots: Vec<_> = secrets.iter().map(RootSecret::signing_key).collect();
    let whole = draft.with_signatures_of(sign(&charter, None, &roots).unwrap()).unwrap();
    let bytes = encode(&Content::founding(whole.envelope.clone(), requests)).unwrap();
    (whole, bytes)
}

fn parse(bytes: &[u8]) -> Result<Ceremony, Fault> {
    Ceremony::check(decode(bytes, CEREMONY_BYTES_MAX)?)
}

#[test]
fn no_flipped_byte_says_anything_else() {
    let (whole, bytes) = founded();
    assert_eq!(parse(&bytes).unwrap().signed().len(), 3);
    for index in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1;
        // A signature of another algorithm is carried along and does not count; everything else is refused.
        if let Ok(accepted) = parse(&flipped) {
            assert_eq!(accepted.id(), whole.id(), "byte {index}");
            assert!(accepted.signed().len() < 3, "byte {index}");
        }
    }
}

#[test]
fn signatures_are_gathered_from_copies_in_any_order() {
    let (whole, _) = founded();
    let alone = |index: usize| {
        let mut envelope = whole.envelope.clone();
        envelope.signatures = vec![envelope.signatures[index].clone()];
        whole.with_signatures_of(envelope).unwrap()
    };
    let gathered = |order: [usize; 4]| {
        let mut copies = order.into_iter().map(alone);
        let mut first = copies.next().unwrap();
        copies.for_each(|copy| first.merge(copy).unwrap());
        first.to_text(Label::Federation, &[]).unwrap()
    };
    assert_eq!(gathered([0, 1, 2, 0]), gathered([2, 2, 1, 0]));
}

#[test]
fn a_charter_follows_its_requests_and_its_signers_are_listed() {
    let (whole, _) = founded();
    let requests: Vec<Envelope> = whole.requests.values().map(|it| it.envelope().as_ref().clone()).collect();
    let check = |charter: Envelope, requests: Vec<Envelope>| {
        Ceremony::check(Content::founding(charter, requests)).map(|accepted| accepted.id())
    };
    let code = |text: &str| text.parse::<MemberCode>().unwrap();
    let envelope = || whole.envelope.clone();
    assert_eq!(check(envelope(), requests[1..].to_vec()), Err(Fault::Unmatched(code("BR"))));
    let doubled = [&requests[..], &requests[..1]].concat();
    assert_eq!(check(envelope(), doubled), Err(Fault::Twice(code("BR"))));
    let mut other = whole.charter.clone();
    other.members[1].next = ContentHash::from_bytes([7; 32]);
    let unsigned = sign(&other, None, &[]).unwrap();
    assert_eq!(check(unsigned, requests.clone()), Err(Fault::Differs(code("FR"))));
    let stranger = RootSecret::from_seed(&[8; 32]);
    let signed = sign(&whole.charter, None, &[stranger.signing_key()]).unwrap();
    assert_eq!(check(signed, requests), Err(Fault::Stranger));
}
