//! Bodies, a chain with a fork and what is shown of it, positions and roots.

use std::sync::Arc;

use refpoint_protocol::{
    directory::{
        header::{ChainKind, Header, NodeRecordHeader, ReferencePointHeader},
        node_record::{BodyError, NodeRecord},
        reference_point::ReferencePoint,
    },
    document::{Kind, encode},
    evidence::{AnyDocument, Bearer, Evidence, root_of, version_of},
    ids::DocumentId,
    limits::BODY_BYTES_MAX,
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, chain, header, member, named, node, node_record, reference_point, root},
    hexadecimal, item,
};

/// Bodies, documents, and what is shown of them.
pub(super) fn vectors() -> Value {
    let cast = Cast::new();
    let documents = documents(&cast);
    let shown: Vec<Value> =
        STATES.iter().map(|(name, rules, held)| state(&cast, &documents, name, rules, held)).collect();
    json!({
        "about": "Documents by name, and what a node shows that holds some of them and every body, in whatever order \
                  they came, two days after the founding. A root is SHA-256 of `positions`. A bad body is unreadable for the rule that it \
                  names; the header that names it stays.",
        "federation": cast.federation,
        "bodies": [
            item("a node record", "node-record", &node_record()),
            item("a reference point", "reference-point", &reference_point()),
            item("another reference point", "reference-point", &other_point()),
        ],
        "bad_bodies": bad_bodies(),
        "documents": documents.iter().map(|(name, document)| named(name, document.id(), document.envelope())).collect::<Vec<_>>(),
        "states": shown,
    })
}

type Documents = Vec<(&'static str, AnyDocument)>;

const BASE: [&str; 2] = ["charter", "key set"];

/// A state's name, the rules that it shows, and what is held beside the base.
type State = (&'static str, &'static [&'static str], &'static [&'static str]);

const STATES: [State; 7] = [
    ("nothing is published", &["EV-05"], &[]),
    ("a record and an entry", &["EV-05", "HD-13"], &["record 0", "point 0"]),
    ("a gap hides nothing", &["HD-11"], &["record 0", "point 0", "point 2"]),
    ("renewed without a change: the same body", &["EV-05"], &["record 0", "point 0", "point 1"]),
    (
        "a fork at sequence 1, by two headers there",
        &["HD-09"],
        &["record 0", "point 0", "point 1", "point 1 b"],
    ),
    ("a fork at sequence 1, by a predecessor", &["HD-09"], &["record 0", "point 0", "point 1 b", "point 2"]),
    (
        "the same fork, whatever proves it; above it nothing counts",
        &["HD-09", "HD-10", "EV-01"],
        &["record 0", "point 0", "point 1", "point 1 b", "point 2", "point 3"],
    ),
];

fn documents(cast: &Cast) -> Documents {
    let set = cast.verified(&cast.key_set("KE", &cast.founding), &[&root("KE")]);
    let bodies = [encode(&reference_point()).unwrap(), encode(&other_point()).unwrap()];
    let record = header("KE", set.id(), 0, set.id(), &encode(&node_record()).unwrap());
    let point = |header: Header| {
        AnyDocument::ReferencePoint(cast.verified(&ReferencePointHeader(header), &[&node("KE", 0)]))
    };
    let next = |sequence, before: DocumentId, body: usize| {
        point(header("KE", set.id(), sequence, before, &bodies[body]))
    };
    let first = next(0, set.id(), 0);
    let second = next(1, first.id(), 0);
    let other = next(1, first.id(), 1);
    let third = next(2, second.id(), 1);
    let fourth = next(3, third.id(), 1);
    vec![
        ("charter", AnyDocument::Charter(Arc::clone(&cast.founding))),
        ("record 0", AnyDocument::NodeRecord(cast.verified(&NodeRecordHeader(record), &[&node("KE", 0)]))),
        ("key set", AnyDocument::KeySet(set)),
        ("point 0", first),
        ("point 1", second),
        ("point 1 b", other),
        ("point 2", third),
        ("point 3", fourth),
    ]
}

fn other_point() -> ReferencePoint {
    ReferencePoint { salt: [0xB6; 16], agency: None, sample: false, on_duty: None, ..reference_point() }
}

fn state(cast: &Cast, documents: &Documents, name: &str, rules: &[&str], held: &[&str]) -> Value {
    let held: Vec<&str> = BASE.iter().chain(held).copied().collect();
    let mut evidence = Evidence::new(cast.federation);
    let taken = held.iter().map(|name| documents.iter().find(|(other, _)| other == name).unwrap().1.clone());
    let outcome = evidence.accept_all(Bearer::Local, taken);
    assert!(outcome.rejected.is_empty() && outcome.missing.is_empty(), "{name}");
    for body in [encode(&node_record()), encode(&reference_point()), encode(&other_point())] {
        let _unwanted = evidence.accept_body(&body.unwrap());
    }
    let now = at(2 * 86_400);
    let view = evidence.directory().member(&member("KE"), now);
    let key_set = documents.iter().find(|(name, _)| *name == "key set").unwrap().1.id();
    let fork = evidence
        .chains()
        .chain(&chain("KE", key_set, ChainKind::ReferencePoint))
        .and_then(|chain| chain.fork());
    let roots: Vec<Value> = Kind::EVIDENCE
        .into_iter()
        .map(|kind| {
            let positions = evidence.positions(kind);
            json!({
                "kind": kind.name(),
                "version": version_of(kind),
                "positions": { "cddl": "all-positions", "bytes": hexadecimal(&encode(&positions).unwrap()) },
                "root": root_of(&positions).unwrap(),
            })
        })
        .collect();
    json!({
        "name": name,
        "rules": rules,
        "held": held,
        "now": now,
        "reference_point": view.as_ref().and_then(|view| view.reference_point.as_ref()).map(|point| json!({
            "source": point.source,
            "header": point.header,
            "unit": point.entry.as_ref().map(|entry| &entry.names[0].text),
        })),
        "nodes": view.map(|view| view.nodes.iter().map(|node| json!({
            "node": node.node,
            "rank": node.rank,
            "header": node.header,
            "addresses": node.record.as_ref().map(|record| &record.addresses),
        })).collect::<Vec<_>>()),
        "fork": fork.map(|fork| fork.sequence),
        "roots": roots,
    })
}

fn bad_bodies() -> Vec<Value> {
    let record = |rule: &str, name: &str, change: &dyn Fn(&mut NodeRecord)| {
        let mut record = node_record();
        change(&mut record);
        let bytes = encode(&record).unwrap();
        assert_eq!(rule_of(NodeRecord::from_bytes(&bytes).map(drop)), rule, "{name}");
        json!({ "name": name, "rule": rule, "kind": "node-record", "body": hexadecimal(&bytes) })
    };
    let point = |rule: &str, name: &str, change: &dyn Fn(&mut ReferencePoint)| {
        let mut point = reference_point();
        change(&mut point);
        let bytes = encode(&point).unwrap();
        assert_eq!(rule_of(ReferencePoint::from_bytes(&bytes).map(drop)), rule, "{name}");
        json!({ "name": name, "rule": rule, "kind": "reference-point", "body": hexadecimal(&bytes) })
    };
    vec![
        record("NR-01", "nine addresses", &|r| r.addresses = vec!["a.example:1".into(); 9]),
        record("NR-02", "an address without a port", &|r| r.addresses = vec!["a.example".into()]),
        record("NR-03", "the newest sealing key first", &|r| r.sealing_keys.reverse()),
        record("NR-04", "another KEM", &|r| r.sealing_keys[0].kem = 0x20),
        record("NR-04", "a sealing key of zeros", &|r| r.sealing_keys[0].key.fill(0)),
        record("NR-05", "wire versions out of order", &|r| r.wire = vec![2, 1]),
        record("NR-06", "a program without a name", &|r| r.software.clear()),
        point("RP-01", "no name", &|p| p.names.clear()),
        point("RP-01", "a name that begins with U+FEFF", &|p| p.names[0].text = "\u{FEFF}Unit".into()),
        point("RP-02", "a number with a control character", &|p| p.channels[0].value = "1\u{7}".into()),
        point("RP-03", "a language with an underscore", &|p| p.languages = vec!["en_GB".into()]),
        point("RP-04", "thirteen competences", &|p| p.competences = vec![p.competences[0].clone(); 13]),
        point("RP-05", "a duty officer without a role", &|p| p.on_duty.as_mut().unwrap().role.clear()),
        point("RP-06", "a time zone with a space", &|p| p.time_zone = "Africa Nairobi".into()),
        point("DO-01", "longer than a body may be", &|p| p.names[0].text = "a".repeat(BODY_BYTES_MAX)),
    ]
}

fn rule_of(read: Result<(), BodyError>) -> &'static str {
    match read {
        Ok(()) => "",
        Err(BodyError::Decode(_)) => "DO-01",
        Err(BodyError::Form(error)) => error.rule,
    }
}
