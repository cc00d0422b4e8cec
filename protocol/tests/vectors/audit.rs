//! A small bundle, and what is wrong with those that somebody changed.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::{
        BundleWriter, Exporter, Journal, audit,
        merkle::{
            Tree, leaf_hash,
            proof::{Tiers, check_consistency, check_inclusion, consistency, inclusion},
        },
        note::{Checkpoint, Note},
    },
    directory::header::NodeRecordHeader,
    document::{Envelope, Kind, encode},
    ids::{DocumentId, FederationId, TreeRoot},
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, header, member, node, public, root},
    hexadecimal, witnesses,
};

/// Roots of the first leaves, a whole bundle, and changed ones.
pub(super) fn vectors() -> Value {
    let cast = Cast::new();
    let key_set = cast.verified(&cast.key_set("KE", &cast.founding), &[&root("KE")]);
    let key = node("KE", 0);
    let record = NodeRecordHeader(header("KE", key_set.id(), 0, key_set.id(), &[7; 64]));
    let record = cast.verified(&record, &[&key]);
    let founding = (Kind::Charter, cast.founding.id(), cast.founding.envelope().as_ref());
    let set = (Kind::KeySet, key_set.id(), key_set.envelope().as_ref());
    let record = (Kind::NodeRecord, record.id(), record.envelope().as_ref());
    let exporter = Exporter {
        federation: cast.federation,
        member: key_set.payload().member.clone(),
        node: public(&key),
    };
    let whole = written(cast.federation, &[founding, set, record], &exporter, &key);
    let audited = audit(whole.as_bytes(), cast.federation).unwrap();
    let again = |text: &str| resigned(text, &exporter, &key);
    let line = |number: usize| whole.split_inclusive('\n').nth(number).unwrap().to_owned();
    let other = FederationId::from_bytes([9; 32]);
    let (journal, _) = Journal::begin(at(60), None, 0).unwrap();
    let stands = |code: &str| {
        let key = node(code, 0);
        journal.checkpoint((cast.federation, member(code), public(&key)), &key, at(3_600))
    };
    let journalled = |code: &str| {
        let documents = [founding, set, record];
        let (mut writer, mut text) = begun(cast.federation, &documents);
        text.push_str(&writer.journal(&stands(code)));
        text + &writer.finish(&exporter, &key, at(3_600))
    };
    let with_journal = journalled("KE");
    let kept = audit(with_journal.as_bytes(), cast.federation).unwrap().journal.unwrap();
    let stranger = node("KE", 9);
    let elsewhere = Exporter { node: public(&stranger), ..exporter.clone() };
    let forged = whole.replace(&line(3), &flipped(&line(3)));
    let bad = [
        ("another file", "AU-01", "a letter\n".to_owned()),
        ("a later version", "AU-01", whole.replacen("bundle 1", "bundle 2", 1)),
        ("cut off before the checkpoint", "AU-02", whole.split_once("\n\n").unwrap().0.to_owned()),
        ("two signatures", "AU-02", whole.clone() + whole.lines().last().unwrap() + "\n"),
        (
            "another federation",
            "AU-03",
            written(other, &[], &Exporter { federation: other, ..exporter.clone() }, &key),
        ),
        ("the last document left out", "AU-04", whole.replace(&line(4), "")),
        ("one letter of a line changed", "AU-04", whole.replacen("key-set", "key-sat", 1)),
        ("no kind's name, signed anew", "AU-05", again(&whole.replacen("key-set", "key-sat", 1))),
        ("one document twice, signed anew", "AU-06", again(&whole.replace(&line(3), &(line(3) + &line(3))))),
        (
            "two documents swapped, signed anew",
            "AU-06",
            again(&whole.replace(&(line(3) + &line(4)), &(line(4) + &line(3)))),
        ),
        ("a bad signature in a document, signed anew", "AU-07", again(&forged)),
        (
            "a header without its key set",
            "AU-08",
            written(cast.federation, &[founding, record], &exporter, &key),
        ),
        ("the checkpoint signed by another key", "AU-09", resigned(&whole, &exporter, &stranger)),
        ("the journal of another node", "AU-10", journalled("FR")),
        ("an exporter that no key set lists", "AU-09", resigned(&whole, &elsewhere, &stranger)),
    ];
    let bad: Vec<Value> = bad
        .into_iter()
        .map(|(name, rule, bundle)| {
            let refused = audit(bundle.as_bytes(), cast.federation).unwrap_err();
            assert!(refused.faults.iter().any(|fault| fault.rule() == rule), "{name}: {refused}");
            json!({ "name": name, "rule": rule, "bundle": bundle })
        })
        .collect();
    let (cosigning, judged) = witnesses::vectors();
    json!({
        "cosigning": cosigning,
        "witness": judged,
        "tree": tree(),
        "federation": cast.federation,
        "bundle": { "text": whole, "lines": audited.size, "root": audited.root, "made": audited.made },
        "with_journal": { "text": with_journal, "entries": kept.size, "root": kept.root },
        "bad": bad,
    })
}

/// Leaves of one byte each, with the roots of the first one, two and so on.
fn tree() -> Value {
    let mut tree = Tree::default();
    let of_none = tree.root();
    let roots: Vec<Value> = (0_u8..9)
        .map(|number| {
            tree.push(&[number]);
            let hash = hexadecimal(&leaf_hash(&[number]));
            json!({ "leaf": hexadecimal(&[number]), "hash": hash, "root_so_far": tree.root() })
        })
        .collect();
    json!({ "root_of_none": of_none, "leaves": roots, "proofs": proofs() })
}

/// The first leaves' hashes alone.
struct FewLeaves;

impl Tiers for FewLeaves {
    type Error = std::num::TryFromIntError;

    fn read(&self, tier: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, Self::Error> {
        assert_eq!(tier, 0, "there are few");
        let leaf = |number| u8::try_from(number).map(|leaf| TreeRoot::from_bytes(leaf_hash(&[leaf])));
        (from..from + count).map(leaf).collect()
    }
}

/// Proofs among the leaves above.
fn proofs() -> Value {
    let root = |size: u8| {
        let mut tree = Tree::default();
        (0..size).for_each(|number| tree.push(&[number]));
        (u64::from(size), tree.root())
    };
    let of_leaf = |leaf: u8, size: u8| {
        let proof = inclusion(&FewLeaves, leaf.into(), size.into()).unwrap();
        check_inclusion(&leaf_hash(&[leaf]), leaf.into(), root(size), &proof).unwrap();
        json!({ "leaf": leaf, "size": size, "proof": proof })
    };
    let of_list = |old: u8, size: u8| {
        let proof = consistency(&FewLeaves, old.into(), size.into()).unwrap();
        check_consistency(root(old), root(size), &proof).unwrap();
        json!({ "old": old, "size": size, "proof": proof })
    };
    json!({
        "inclusion": [of_leaf(0, 1), of_leaf(0, 8), of_leaf(3, 5), of_leaf(4, 5), of_leaf(6, 9), of_leaf(8, 9)],
        "consistency": [of_list(0, 5), of_list(1, 2), of_list(3, 7), of_list(4, 7), of_list(6, 8), of_list(8, 9)],
    })
}

fn written(
    federation: FederationId,
    documents: &[(Kind, DocumentId, &Envelope)],
    exporter: &Exporter,
    key: &SigningKey,
) -> String {
    let (writer, text) = begun(federation, documents);
    text + &writer.finish(exporter, key, at(3_600))
}

/// A bundle to which only its end is missing.
fn begun(federation: FederationId, documents: &[(Kind, DocumentId, &Envelope)]) -> (BundleWriter, String) {
    let (mut writer, mut text) = BundleWriter::begin(federation);
    for (kind, id, envelope) in documents {
        text.push_str(&writer.document(*kind, *id, &encode(envelope).unwrap()).unwrap());
    }
    (writer, text)
}

/// The lines with a checkpoint that fits them.
fn resigned(text: &str, exporter: &Exporter, key: &SigningKey) -> String {
    let (lines, _) = text.split_once("\n\n").unwrap();
    let mut tree = Tree::default();
    lines.split('\n').for_each(|line| tree.push(line.as_bytes()));
    let origin = exporter.to_string();
    let extensions = vec![format!("time {}", at(3_600).as_millis())];
    let checkpoint = Checkpoint { origin: origin.clone(), size: tree.size(), root: tree.root(), extensions };
    format!("{lines}\n\n{}", Note::sign(checkpoint.text(), &origin, key))
}

/// A document's line with a bit of its last signature flipped: the one before its end and its padding.
fn flipped(line: &str) -> String {
    let mut bytes = line.as_bytes().to_vec();
    let place = bytes.len() - 8;
    bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}
