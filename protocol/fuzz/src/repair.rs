//! Bytes taken for a repair request, answered by a node with a founding, and for a response, handed to a session.

use refpoint_protocol::{
    document::{Envelope, Payload, decode, encode},
    evidence::{
        Bearer, Evidence,
        repair::{RepairRequest, RepairResponse},
        repair_session::RepairSession,
        responder::{Answer, answer},
        verify_any,
    },
    ids::{FederationId, NodeKey},
    limits::{POSITIONS_MAX, REPAIR_BYTES_MAX, REPAIR_IDS_MAX},
    membership::charter::Charter,
    time::Timestamp,
};

const FOUNDING: &[u8] = include_bytes!("../corpus/envelope/founding");

pub(crate) fn run(bytes: &[u8]) {
    let now = Timestamp::from_millis(1_800_000_000_000);
    if let Ok(request) = decode::<RepairRequest>(bytes, REPAIR_BYTES_MAX) {
        match answer(&evidence(), request, now).expect("our positions encode") {
            Answer::Ready(response) => {
                assert!(encode(&response).expect("an answer encodes").len() <= REPAIR_BYTES_MAX);
                if let RepairResponse::Positions(page) = response {
                    assert!(page.positions.len() <= POSITIONS_MAX && page.positions.is_sorted());
                }
            }
            Answer::Load { documents, bodies } => {
                assert!(documents.len() <= REPAIR_IDS_MAX && bodies.len() <= REPAIR_IDS_MAX);
            }
            Answer::TakeIn(_) => {}
        }
    }
    if let Ok(response) = decode::<RepairResponse>(bytes, REPAIR_BYTES_MAX) {
        let evidence = evidence();
        let digest = evidence.digest(now).expect("our positions encode");
        let peer = NodeKey::from_bytes([2; 32]);
        let (mut session, _) = RepairSession::start(peer, evidence.federation(), digest);
        let _step = session.handle(response, &evidence);
    }
}

fn evidence() -> Evidence {
    let envelope = Envelope::from_bytes(FOUNDING).expect("the seed is an envelope");
    assert_eq!(envelope.kind, Charter::KIND.name());
    let federation = FederationId::from_bytes(*envelope.id(None).as_bytes());
    let founding = verify_any(envelope, federation).expect("the seed verifies");
    let mut evidence = Evidence::new(federation);
    let outcome = evidence.accept(Bearer::Local, founding);
    assert_eq!(outcome.accepted.len(), 1);
    evidence
}
