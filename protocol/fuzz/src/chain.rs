//! Headers of one chain in two orders give one position, and bytes taken for bodies are within the rules.

use refpoint_protocol::{
    directory::{
        chain::Chain,
        header::{ChainKind, Header, SignedHeader},
        node_record::NodeRecord,
        reference_point::ReferencePoint,
    },
    ids::{ContentHash, DocumentId, HeaderId, KeySetId, MemberCode, NodeKey, Sequence},
    time::Timestamp,
};

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(record) = NodeRecord::from_bytes(bytes) {
        assert!(record.check_form().is_ok());
    }
    if let Ok(point) = ReferencePoint::from_bytes(bytes) {
        assert!(point.check_form().is_ok());
    }
    // Each three bytes are a header: where it stands, which of four names it has, and which before.
    let headers: Vec<SignedHeader> = bytes.chunks_exact(3).take(64).map(header).collect();
    let (mut forward, mut backward) = (Chain::default(), Chain::default());
    headers.iter().for_each(|header| drop(forward.accept(header)));
    headers.iter().rev().chain(&headers).for_each(|header| drop(backward.accept(header)));
    let key = |header: &SignedHeader| header.chain();
    if let Some(key) = headers.first().map(key) {
        assert_eq!(forward.position(key), backward.position(key));
    }
    assert_eq!(forward.newest().map(|info| info.id), backward.newest().map(|info| info.id));
    if let (Some(fork), Some(newest)) = (forward.fork(), forward.newest()) {
        assert!(newest.sequence < fork.sequence, "something above the fork is shown");
    }
}

fn header(bytes: &[u8]) -> SignedHeader {
    let byte = |at: usize| bytes.get(at).copied().unwrap_or_default();
    let sequence = byte(0) % 16;
    let (own, before) = (byte(1) % 4, byte(2) % 4);
    let key_set = KeySetId::from_bytes([0xFF; 32]);
    let predecessor = match sequence.checked_sub(1) {
        Some(below) => DocumentId::from_bytes(name(below, before, 0)),
        None => key_set.into(),
    };
    // One id is one content: what it names before is part of its name, as with real hashes. Those that name the first
    // of four can be named themselves, so that chains grow.
    let id = name(sequence, own, if sequence == 0 { 0 } else { before });
    let header = Header {
        member: MemberCode::new("KE").expect("a code"),
        node: NodeKey::from_bytes([1; 32]),
        key_set,
        sequence: Sequence(sequence.into()),
        predecessor,
        issued: Timestamp::from_millis(id.iter().map(|byte| u64::from(*byte)).sum()),
        fresh_until: Timestamp::MAX,
        body: ContentHash::from_bytes(id),
        length: 16,
    };
    SignedHeader { id: HeaderId::from_bytes(id), kind: ChainKind::NodeRecord, header }
}

fn name(sequence: u8, own: u8, before: u8) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..3].copy_from_slice(&[sequence, own, before]);
    bytes
}
