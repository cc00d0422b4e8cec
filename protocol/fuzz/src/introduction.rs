//! Frames in any order, handed to either side of an introduction: whoever has a key that no document certifies is never
//! let in, and nothing follows an end.

use std::sync::Arc;

use refpoint_protocol::{
    document::{Envelope, Unverified},
    ids::{FederationId, MemberCode, NodeKey},
    introduction::{FrameReader, Introduction, IntroductionError, Presence, Step},
    membership::{Trust, charter::Charter},
    time::Timestamp,
};

const FOUNDING: &[u8] = include_bytes!("../corpus/envelope/founding");

pub(crate) fn run(bytes: &[u8]) {
    let Some((&first, mut bytes)) = bytes.split_first() else { return };
    let now = Timestamp::from_millis(1_800_000_000_000);
    // The key of nobody: the seeds' key sets certify others.
    let remote = NodeKey::from_bytes([9; 32]);
    let presence = Arc::new(presence());
    let mut introduction = match first & 1 {
        0 => Introduction::dial(presence, remote, now).0,
        _ => Introduction::listen(presence, remote, now),
    };
    let mut reader = FrameReader::new();
    let mut ended = false;
    while !bytes.is_empty() {
        let (piece, rest) = bytes.split_at(reader.wants().min(bytes.len()));
        bytes = rest;
        let Ok(frame) = reader.push(piece) else { return };
        let Some(frame) = frame else { continue };
        match introduction.handle(frame) {
            Step::Send(_) => assert!(!ended, "something follows the end"),
            Step::Admit(..) => panic!("a stranger was let in"),
            Step::Violation(IntroductionError::Encode(error)) => panic!("our own fault: {error}"),
            Step::Refuse { .. } | Step::Refused { .. } => {
                assert!(!ended, "a second end");
                ended = true;
            }
            Step::Violation(_) => ended = true,
        }
    }
}

fn presence() -> Presence {
    let envelope = Envelope::from_bytes(FOUNDING).expect("the seed is an envelope");
    let federation = FederationId::from_bytes(*envelope.id(None).as_bytes());
    let founding = Unverified::<Charter>::open(envelope).and_then(|open| open.verify(federation));
    let mut trust = Trust::new(federation);
    trust.accept_charter(Arc::new(founding.expect("the seed verifies"))).expect("it is the founding");
    let member = MemberCode::new("FR").expect("a code");
    Presence { trust, node: NodeKey::from_bytes([1; 32]), member, wire: vec![1], record: None, full: false }
}
