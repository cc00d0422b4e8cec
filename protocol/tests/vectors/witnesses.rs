//! Requests to cosign a journal, what a witness answers, and what it refuses in which state.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::{
        Journal,
        merkle::{
            leaf_hash,
            proof::{Tiers, consistency},
        },
        note::Note,
        witness::{
            CosignAnswer, CosignRefusal, CosignRequest, Cosignature, HeardJournal, Judged, Witness,
            WitnessName, WitnessedRow,
        },
    },
    document::encode,
    heads::{Head, verify_head},
    ids::{FederationId, NodeKey, TreeRoot},
    machine::{Event, NumberedEvent},
    storage::Table,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, member, node, public},
    heads::head,
    hexadecimal, item,
};

/// A journal of a few entries.
struct Kept {
    journal: Journal,
    leaves: Vec<TreeRoot>,
}

impl Kept {
    fn of(began: Timestamp, offsets: &[i64]) -> Self {
        let (mut journal, mut changes) = Journal::begin(began, None, 0).unwrap();
        let events = offsets.iter().zip(1..).map(|(offset, number)| {
            let event = Event::ClockJudged { right: true, offset_millis: *offset };
            NumberedEvent { number, at: began, event }
        });
        changes.extend(journal.follow(events).unwrap());
        let leaves = changes.into_iter().filter(|change| change.table == Table::Journal);
        let leaves = leaves.map(|change| TreeRoot::from_bytes(leaf_hash(&change.value.unwrap()))).collect();
        Self { journal, leaves }
    }

    fn request(
        &self,
        federation: FederationId,
        code: &str,
        key: &SigningKey,
        old: u64,
        made: Timestamp,
    ) -> CosignRequest {
        let note = self.journal.checkpoint((federation, member(code), public(key)), key, made);
        let proof = consistency(self, old, self.journal.stands().size).unwrap();
        CosignRequest { old, checkpoint: note.to_string(), proof }
    }
}

impl Tiers for Kept {
    type Error = ();

    fn read(&self, _: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, ()> {
        let (from, count) = (usize::try_from(from).unwrap(), usize::try_from(count).unwrap());
        self.leaves.get(from..from + count).map(<[_]>::to_vec).ok_or(())
    }
}

/// What travels, and a witness's judgements: of each request what it held before, and what it answers.
pub(super) fn vectors() -> (Vec<Value>, Value) {
    let cast = Cast::new();
    let federation = cast.federation;
    let (key, witness_key) = (node("KE", 0), node("FR", 0));
    let witness = Witness { federation, member: member("FR") };
    let asker: (_, NodeKey) = (member("KE"), public(&key));
    let first = Kept::of(at(60), &[1, 2, 3]).request(federation, "KE", &key, 0, at(3_600));
    let grown = Kept::of(at(60), &[1, 2, 3, 4, 5, 6]);
    let second = grown.request(federation, "KE", &key, 4, at(7_200));
    let judge_at = |now, held: &WitnessedRow, request: &CosignRequest| {
        witness.judge(now, (&asker.0, asker.1), request, held, None)
    };
    let judge = |held: &WitnessedRow, request: &CosignRequest| judge_at(at(9_000), held, request);
    let Ok(Judged::Cosign { row: held, .. }) = judge_at(at(3_600), &WitnessedRow::default(), &first) else {
        panic!()
    };
    let cosigned = |request: &CosignRequest, before: Option<&CosignRequest>| {
        let name = WitnessName { federation, member: member("FR"), node: public(&witness_key) }.to_string();
        let mut note = Note::parse(request.checkpoint.as_bytes()).unwrap();
        let line = note.cosign(&name, &witness_key, 1_800_000_000);
        let (time, signature) = line.timed().unwrap();
        let answer = CosignAnswer::Cosigned(Cosignature {
            time,
            signature: *signature,
            before: before.map(|ended| ended.checkpoint.clone()),
        });
        note.signatures.push(line);
        (answer, note.to_string())
    };
    let (answer, note) = cosigned(&second, None);
    let new = Kept::of(at(8_000), &[1]).request(federation, "KE", &key, 0, at(8_100));
    let (succeeding, _) = cosigned(&new, Some(&second));
    let mut items = vec![
        item("a first request to cosign", "cosign-request", &first),
        item("a request that continues it", "cosign-request", &second),
        item("a cosignature", "cosign-answer", &answer),
        item("a cosignature of a journal that follows another", "cosign-answer", &succeeding),
        item("what is held", "cosign-answer", &CosignAnswer::Held(first.checkpoint.clone())),
        item(
            "what was heard",
            "cosign-answer",
            &CosignAnswer::Heard(Box::new(heard(&cast).head().envelope().as_ref().clone())),
        ),
    ];
    items.extend(
        [
            CosignRefusal::Busy,
            CosignRefusal::NotActive,
            CosignRefusal::OwnMember,
            CosignRefusal::NothingHeld,
            CosignRefusal::Clock,
            CosignRefusal::NotHeard,
        ]
        .map(|why| item(&format!("refused: {why}"), "cosign-answer", &CosignAnswer::Refused(why))),
    );
    let rewritten =
        |offsets: &[i64], old| Kept::of(at(60), offsets).request(federation, "KE", &key, old, at(7_200));
    let mut longer = second.clone();
    longer.proof.push(TreeRoot::from_bytes([1; 32]));
    let stranger = grown.request(federation, "KE", &node("KE", 9), 4, at(7_200));
    let ended = Kept::of(at(30), &[1]).request(federation, "KE", &key, 0, at(7_200));
    let judged = [
        ("continues what is held", None, second.clone(), "cosigned"),
        ("a hash too many", Some("WI-01"), longer, "fault"),
        ("signed by another key, which it names", Some("WI-02"), stranger, "fault"),
        ("a journal that a later one ended", Some("WI-04"), ended, "held"),
        (
            "from a size that was not cosigned",
            Some("WI-05"),
            grown.request(federation, "KE", &key, 3, at(7_200)),
            "held",
        ),
        ("forked", Some("WI-06"), rewritten(&[1, 2, 4], 4), "held"),
        ("rewound", Some("WI-06"), rewritten(&[1, 2], 3), "held"),
        ("inconsistent", Some("WI-06"), rewritten(&[1, 2, 4, 5], 4), "held"),
    ];
    let judged: Vec<Value> = judged
        .into_iter()
        .map(|(name, rule, request, expected)| {
            let got = match judge(&held, &request) {
                Ok(Judged::Cosign { .. }) => "cosigned",
                Ok(Judged::Answer(CosignAnswer::Held(_)) | Judged::Refuted { .. }) => "held",
                Ok(Judged::Answer(_)) => "refused",
                Err(fault) => {
                    assert_eq!(Some(fault.rule()), rule, "{name}");
                    "fault"
                }
            };
            assert_eq!(got, expected, "{name}");
            let mut value = json!({ "name": name, "request": request, "answer": got });
            if let Some(rule) = rule {
                value["rule"] = json!(rule);
            }
            value
        })
        .collect();
    let unknown = never_cosigned(&cast, &witness);
    let judged = json!({
        "held": first.checkpoint, "asked": judged, "cosigned_note": note, "never_cosigned": unknown,
    });
    (items, judged)
}

/// What Kenya's node said in a head of its journal, which then had four entries.
fn heard(cast: &Cast) -> HeardJournal {
    let journal = Some(Kept::of(at(60), &[1, 2, 3]).journal.stands());
    let envelope = cast.signed(&Head { journal, ..head(cast, 1) }, &[&node("KE", 0)]);
    HeardJournal::of(&verify_head(envelope, cast.federation).unwrap()).unwrap()
}

/// Judgements about a journal that the witness never cosigned: with a head of its node, and without.
fn never_cosigned(cast: &Cast, witness: &Witness) -> Value {
    let (key, told) = (node("KE", 0), heard(cast));
    let request = |began, offsets: &[i64], old| {
        Kept::of(at(began), offsets).request(cast.federation, "KE", &key, old, at(8_990))
    };
    let grown: &[i64] = &[1, 2, 3, 4, 5, 6];
    let judged = [
        ("continues what was heard", None, Some(&told), request(60, grown, 4), "cosigned"),
        ("from nothing, though a head was heard", Some("WI-10"), Some(&told), request(60, grown, 0), "heard"),
        ("another past than the head's", Some("WI-10"), Some(&told), request(60, &[1, 2, 4, 5], 4), "heard"),
        ("as many entries, another root", Some("WI-10"), Some(&told), request(60, &[1, 2, 4], 0), "heard"),
        ("a journal that the head's ended", Some("WI-10"), Some(&told), request(30, grown, 0), "heard"),
        ("a journal that began since", None, Some(&told), request(8_000, &[1], 0), "cosigned"),
        ("an old one, and nothing was heard", Some("WI-10"), None, request(60, grown, 0), "refused"),
        ("a young one, and nothing was heard", None, None, request(8_000, &[1], 0), "cosigned"),
    ];
    let judged = judged.map(|(name, rule, heard, request, expected)| {
        let asker = (&member("KE"), public(&key));
        let got = match witness.judge(at(9_000), asker, &request, &WitnessedRow::default(), heard) {
            Ok(Judged::Cosign { .. }) => "cosigned",
            Ok(Judged::Answer(CosignAnswer::Heard(_)) | Judged::Refuted { .. }) => "heard",
            Ok(Judged::Answer(_)) => "refused",
            Err(_) => "fault",
        };
        assert_eq!(got, expected, "{name}");
        let mut value = json!({ "name": name, "request": request, "answer": got, "heard": heard.is_some() });
        if let Some(rule) = rule {
            value["rule"] = json!(rule);
        }
        value
    });
    let head = hexadecimal(&encode(told.head().envelope().as_ref()).unwrap());
    json!({ "at": at(9_000), "head": head, "asked": judged })
}
