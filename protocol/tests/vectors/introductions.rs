//! Whole introductions: every frame of both sides, as its bytes on the TLS stream.

use std::sync::Arc;

use refpoint_protocol::{
    directory::header::NodeRecordHeader,
    document::{Verified, encode},
    ids::CharterId,
    introduction::{
        Introduction, Presence, Refusal, Step, encode_frame,
        frame::{Done, Hello, IntroductionFrame, Need, Versions},
    },
    membership::{
        Trust,
        charter::Charter,
        key_set::{KeySet, NodeState},
    },
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, entry, header, listing, member, node, node_record, public, root},
    hexadecimal, settlements,
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
    let settled = settlements::second(cast);
    let certificate = settlements::certificate(cast, first, &settled, &["BR", "FR", "SG"]);
    let mut knows_settled = knows(&[first, &settled], &[&ke]);
    knows_settled.accept_settlement(certificate).map(drop).unwrap();
    let stranger = Presence { node: public(&node("KE", 9)), ..presence("KE", knows(&[first], &[])) };
    let full = Presence { full: true, ..presence("FR", knows(&[first], &[&fr])) };
    let future = Presence { wire: vec![2], ..presence("KE", knows(&[first], &[&ke])) };
    let elsewhere = Trust::new(refpoint_protocol::ids::FederationId::from_bytes([0xEE; 32]));
    let with_record = with_record(cast, presence("KE", knows(&[first], &[&ke])), &ke);
    vec![
        transcript(
            "both know only version 1 and themselves",
            &["IN-09", "IN-13"],
            with_record,
            presence("FR", knows(&[first], &[&fr])),
            "admitted",
        ),
        transcript(
            "the dialler is new in version 2, the listener holds version 1",
            &["IN-09", "IN-12"],
            presence("X-LO", knows(&[first, &second], &[&lo])),
            presence("FR", knows(&[first], &[&fr])),
            "admitted",
        ),
        transcript(
            "the listener holds version 2, the dialler version 1",
            &["IN-09", "IN-12"],
            presence("KE", knows(&[first], &[&ke])),
            presence("FR", knows(&[first, &second], &[&fr])),
            "admitted",
        ),
        transcript(
            "the dialler knows that heads settled version 2, the listener does not",
            &["IN-12"],
            presence("KE", knows_settled),
            presence("FR", knows(&[first, &settled], &[&fr])),
            "admitted",
        ),
        transcript(
            "the dialler's key was retired: refused with proof",
            &["IN-10"],
            presence("KE", knows(&[first], &[&ke])),
            presence("FR", knows(&[first], &[&fr, &ke, &retired])),
            "refused key-ended",
        ),
        transcript(
            "no wire version in common",
            &["IN-11"],
            future,
            presence("FR", knows(&[first], &[&fr])),
            "refused wire-version",
        ),
        transcript(
            "the listener is full",
            &["IN-11"],
            presence("KE", knows(&[first], &[&ke])),
            full,
            "refused full",
        ),
        transcript(
            "a stranger",
            &["IN-07"],
            stranger,
            presence("FR", knows(&[first], &[&fr])),
            "closed without a word",
        ),
        transcript(
            "another federation",
            &["IN-07"],
            presence("KE", elsewhere),
            presence("FR", knows(&[first], &[&fr])),
            "closed without a word",
        ),
    ]
}

/// What a dialler sends first, after its good beginning or in its place, and the rule that it breaks.
pub(super) fn bad_frames(cast: &Cast) -> Vec<Value> {
    let set = first_key_set(cast, "KE", &cast.founding);
    let mut trust = Trust::new(cast.federation);
    trust.accept_charter(Arc::clone(&cast.founding)).map(drop).unwrap();
    let listener = || presence("FR", trust.clone());
    let mut knows_itself = trust.clone();
    knows_itself.accept_key_set(Arc::clone(&set)).map(drop).unwrap();
    let (_, hello) = Introduction::dial(Arc::new(presence("KE", knows_itself)), listener().node, at(0));
    let IntroductionFrame::Hello(hello) = hello else { panic!("it begins with another frame") };
    let with = |change: &dyn Fn(&mut Hello)| {
        let mut changed = hello.as_ref().clone();
        change(&mut changed);
        IntroductionFrame::Hello(Box::new(changed))
    };
    let beyond = |hello: &mut Hello| hello.tips = vec![CharterId::from_bytes([0xAA; 32])];
    let need = |tips: Vec<CharterId>| IntroductionFrame::Need(Need { tips, settled: None });
    let slice = |data: Vec<u8>| IntroductionFrame::Versions(Versions { data, more: false });
    let two = || vec![CharterId::from_bytes([2; 32]), CharterId::from_bytes([1; 32])];
    [
        ("IN-05", "`done` before `hello`", vec![IntroductionFrame::Done(Done {})]),
        ("IN-05", "`hello` twice", vec![with(&|_| ()), with(&|_| ())]),
        ("IN-06", "tips out of order", vec![with(&|hello| hello.tips = two())]),
        ("IN-06", "no wire version", vec![with(&|hello| hello.wire.clear())]),
        ("IN-06", "a body without its record", vec![with(&|hello| hello.body = Some(vec![0; 16].into()))]),
        ("IN-06", "the tips of `need` out of order", vec![with(&|_| ()), need(two())]),
        ("IN-08", "a slice without bytes", vec![with(&beyond), slice(Vec::new())]),
        ("IN-08", "slices that are no array of envelopes", vec![with(&beyond), slice(vec![0xA0])]),
        ("IN-14", "a key set that another root signed", vec![with(&|hello| {
            let signed = cast.signed(set.payload(), &[&root("FR")]);
            hello.key_sets = vec![signed];
        })]),
    ]
    .iter()
    .map(|(rule, name, frames)| {
        let dialler = public(&node("KE", 0));
        let mut listens = Introduction::listen(Arc::new(listener()), dialler, at(1));
        let steps: Vec<Step> = frames.iter().map(|frame| listens.handle(frame.clone())).collect();
        let broken = match steps.last() {
            Some(Step::Violation(error)) => error.to_string(),
            _ => panic!("{name}: no violation"),
        };
        assert!(broken.starts_with(rule), "{name}: {broken}");
        json!({
            "name": name,
            "rule": rule,
            "dialler": dialler,
            "listener": listener().node,
            "written": frames.iter().map(|frame| hexadecimal(&encode_frame(frame).unwrap())).collect::<Vec<_>>(),
        })
    })
    .collect()
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
fn transcript(name: &str, rules: &[&str], dialler: Presence, listener: Presence, outcome: &str) -> Value {
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
    json!({ "name": name, "rules": rules, "dialler": keys.0, "listener": keys.1, "frames": frames, "outcome": outcome })
}

fn name_of<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value).unwrap() {
        Value::String(text) => text,
        other => panic!("no text: {other}"),
    }
}
