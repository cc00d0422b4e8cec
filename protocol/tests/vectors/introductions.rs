//! Whole introductions: every frame of both sides, as its bytes on the TLS stream.

use std::sync::Arc;

use refpoint_protocol::{
    directory::header::NodeRecordHeader,
    document::{Verified, encode},
    introduction::{Introduction, Presence, Refusal, Step, encode_frame, frame::IntroductionFrame},
    membership::{
        Trust,
        charter::Charter,
        key_set::{KeySet, NodeState},
    },
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, entry, header, listing, member, node, node_record, public, root},
    hexadecimal,
};

/// Every transcript.
pub(super) fn vectors(cast: &Cast) -> Vec<Value> {
    let second = cast.successor(&[&cast.founding], &[&root("BR"), &root("FR"), &root("X-LO")], |charter| {
        charter.members.push(listing("X-LO"));
    });
    let (ke, fr) = (first_key_set(cast, "KE", &cast.founding), first_key_set(cast, "FR", &cast.founding));
    let lo = first_key_set(cast, "X-LO", &second);
    let retired = cast.next_key_set(&[&ke], |set| {
        set.nodes[0].state = NodeState::Retired;
        set.nodes[0].since = Some(at(3_600));
        set.nodes.push(entry(0, &node("KE", 1)));
    });
    let knows = |versions: &[&Arc<Verified<Charter>>], sets: &[&Arc<Verified<KeySet>>]| {
        let mut trust = Trust::new(cast.federation);
        for version in versions {
            trust.accept_charter(Arc::clone(version)).map(drop).unwrap();
        }
        for set in sets {
            trust.accept_key_set(Arc::clone(set)).map(drop).unwrap();
        }
        trust
    };
    let first = &cast.founding;
    let stranger = Presence { node: public(&node("KE", 9)), ..presence("KE", knows(&[first], &[])) };
    let full = Presence { full: true, ..presence("FR", knows(&[first], &[&fr])) };
    let future = Presence { wire: vec![2], ..presence("KE", knows(&[first], &[&ke])) };
    let elsewhere = Trust::new(refpoint_protocol::ids::FederationId::from_bytes([0xEE; 32]));
    let with_record = with_record(cast, presence("KE", knows(&[first], &[&ke])), &ke);
    vec![
        transcript(
            "both know only version 1 and themselves",
            with_record,
            presence("FR", knows(&[first], &[&fr])),
            "admitted",
        ),
        transcript(
            "the dialler is new in version 2, the listener holds version 1",
            presence("X-LO", knows(&[first, &second], &[&lo])),
            presence("FR", knows(&[first], &[&fr])),
            "admitted",
        ),
        transcript(
            "the listener holds version 2, the dialler version 1",
            presence("KE", knows(&[first], &[&ke])),
            presence("FR", knows(&[first, &second], &[&fr])),
            "admitted",
        ),
        transcript(
            "the dialler's key was retired: refused with proof",
            presence("KE", knows(&[first], &[&ke])),
            presence("FR", knows(&[first], &[&fr, &ke, &retired])),
            "refused key-ended",
        ),
        transcript(
            "no wire version in common",
            future,
            presence("FR", knows(&[first], &[&fr])),
            "refused wire-version",
        ),
        transcript("the listener is full", presence("KE", knows(&[first], &[&ke])), full, "refused full"),
        transcript("a stranger", stranger, presence("FR", knows(&[first], &[&fr])), "closed without a word"),
        transcript(
            "another federation",
            presence("KE", elsewhere),
            presence("FR", knows(&[first], &[&fr])),
            "closed without a word",
        ),
    ]
}

fn first_key_set(cast: &Cast, code: &str, charter: &Verified<Charter>) -> Arc<Verified<KeySet>> {
    cast.verified(&cast.key_set(code, charter), &[&root(code)])
}

fn presence(code: &str, trust: Trust) -> Presence {
    Presence {
        trust,
        node: public(&node(code, 0)),
        member: member(code),
        wire: vec![1],
        record: None,
        full: false,
    }
}

fn with_record(cast: &Cast, presence: Presence, set: &Verified<KeySet>) -> Presence {
    let body = encode(&node_record()).unwrap();
    let header = NodeRecordHeader(header("KE", set.id(), 0, set.id(), &body));
    Presence { record: Some((cast.signed(&header, &[&node("KE", 0)]), body)), ..presence }
}

/// Runs both sides against each other, the dialler at the founding and the listener a second later.
fn transcript(name: &str, dialler: Presence, listener: Presence, outcome: &str) -> Value {
    let keys = (dialler.node, listener.node);
    let (mut dials, hello) = Introduction::dial(Arc::new(dialler), keys.1, at(0));
    let mut listens = Introduction::listen(Arc::new(listener), keys.0, at(1));
    let mut frames = Vec::new();
    let mut way = vec![(true, hello)];
    let mut ended = None;
    while !way.is_empty() {
        let (from_dialler, frame) = way.remove(0);
        let bytes = hexadecimal(&encode_frame(&frame).unwrap());
        let body = hexadecimal(&encode(&frame).unwrap());
        frames.push(json!({
            "from": if from_dialler { "dialler" } else { "listener" },
            "written": bytes,
            "frame": { "cddl": "introduction-frame", "bytes": body },
        }));
        let step = if from_dialler { listens.handle(frame) } else { dials.handle(frame) };
        let answers: Vec<IntroductionFrame> = match step {
            Step::Send(frames) => frames,
            Step::Admit(frames, _) => {
                ended.get_or_insert_with(|| "admitted".to_owned());
                frames
            }
            Step::Refuse { answer, why } => {
                ended = Some(match why {
                    Refusal::Told(code) => format!("refused {}", name_of(&code)),
                    Refusal::OtherFederation | Refusal::Stranger | Refusal::Oneself => {
                        "closed without a word".into()
                    }
                });
                answer.into_iter().collect()
            }
            Step::Refused { .. } => Vec::new(),
            Step::Violation(error) => panic!("{name}: {error}"),
        };
        way.extend(answers.into_iter().map(|frame| (!from_dialler, frame)));
    }
    assert_eq!(ended.as_deref(), Some(outcome), "{name}");
    json!({ "name": name, "dialler": keys.0, "listener": keys.1, "frames": frames, "outcome": outcome })
}

fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value).unwrap() {
        Value::String(text) => text,
        other => panic!("no text: {other}"),
    }
}
