//! The request to dial back and its answer.

use serde::Serialize;
use serde_json::{Value, json};

use super::item;

/// A request, and an answer with each word that it can say.
pub(super) fn vectors() -> Value {
    let seen: Vec<Seen> = [
        ("node.ke.example:4001", "reached"),
        ("gate.ke.example:4001", "other-node"),
        ("node.ke.example:4002", "refused"),
        ("198.51.100.7:4001", "timed-out"),
    ]
    .map(|(address, outcome)| Seen { address, outcome })
    .into();
    let others: Vec<Seen> = [("nowhere.ke.example:4001", "unreachable"), ("10.0.0.7:4001", "not-dialled")]
        .map(|(address, outcome)| Seen { address, outcome })
        .into();
    let answer = |seen, busy| Answer { seen, busy };
    json!([
        item("a request", "dial-back-request", &Request {}),
        item("four addresses", "dial-back-answer", &answer(seen, false)),
        item("nothing was met, or dialled", "dial-back-answer", &answer(others, false)),
        item("too much was asked", "dial-back-answer", &answer(Vec::new(), true)),
    ])
}

#[derive(Serialize)]
struct Request {}

#[derive(Serialize)]
struct Answer {
    seen: Vec<Seen>,
    busy: bool,
}

#[derive(Serialize)]
struct Seen {
    address: &'static str,
    outcome: &'static str,
}
