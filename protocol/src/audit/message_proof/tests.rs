//! Proofs as honest exporters write them, as others change them, and as lying exporters sign them.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod word;

use std::time::Duration;

use serde_bytes::ByteBuf;

use super::*;
use crate::{
    audit::{
        BundleWriter, Journal, JournalCheckpoint,
        merkle::{leaf_hash, proof, proof::Tiers},
        witness::WitnessName,
    },
    document::{Kind, encode, sign},
    machine::{Event, NumberedEvent},
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::Draft,
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        event::{Marks, RelayEvent, StatementLabel, Step},
        receipt::{Receipt, ReceiptWord},
        sealing::{Sealable, compose},
    },
    storage::Table,
    testing::{FOUNDED, Federation, node_key},
};

fn at(seconds: u64) -> Timestamp {
    FOUNDED.after(Duration::from_secs(seconds))
}

/// KE asked FR, which took it and acknowledged it; BR and SG witness KE's journal.
struct World {
    federation: Federation,
    message: std::sync::Arc<Sealable>,
    said: std::sync::Arc<Sealable>,
    journal: Journal,
    leaves: Vec<Vec<u8>>,
    checkpoints: Vec<Note>,
}

impl Tiers for World {
    type Error = ();

    fn read(&self, _: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, ()> {
        let (from, count) = (usize::try_from(from).unwrap(), usize::try_from(count).unwrap());
        let leaves = self.leaves.get(from..from + count).ok_or(())?;
        Ok(leaves.iter().map(|leaf| TreeRoot::from_bytes(leaf_hash(leaf))).collect())
    }
}

fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

fn composed(
    federation: &Federation,
    from: &str,
    to: &str,
    statement: Option<Statement>,
    text: &str,
) -> std::sync::Arc<Sealable> {
    let text = Some(Redacted(text.to_owned()));
    let body = Body {
        tlp: Tlp::Amber,
        text,
        reference: None,
        attachments: vec![],
        statement,
        drill: false,
        form: None,
    };
    let draft = Draft { recipients: vec![member(to)], precedence: Precedence::Flash, lifetime: None, body };
    let key = &federation.unit(from).nodes[0];
    compose(&draft, &member(from), federation.id, key, at(10), &[text_seed(&draft); 56]).unwrap().content
}

/// Another nonce for each draft.
fn text_seed(draft: &Draft) -> u8 {
    u8::try_from(draft.body.text.as_ref().unwrap().reveal().len()).unwrap()
}

fn acknowledged(message: MessageId) -> Statement {
    let role = Redacted("duty officer".to_owned());
    Statement { answers: message, word: Word::Acknowledged, role, will: Some(true), form: None, by: None }
}

fn world() -> World {
    let federation = Federation::new(5, &["BR", "FR", "KE", "SG"], 1);
    let message = composed(&federation, "KE", "FR", None, "preserve the logs");
    let said = composed(&federation, "FR", "KE", Some(acknowledged(message.id())), "we do");
    let mut world = World::new(federation, message, said);
    let (id, fr) = (world.message.id(), node_key(&world.federation.unit("FR").nodes[0]));
    let clock = |offset_millis| Event::ClockJudged { right: true, offset_millis };
    let queued = RelayEvent::MessageQueued {
        message: id,
        command: None,
        recipients: vec![member("FR")],
        precedence: Precedence::Flash,
        tlp: Tlp::Amber,
        statement: None,
        drill: false,
    };
    let step = Step { message: id, command: None, member: member("FR"), node: fr, drill: false };
    let receipt = world.receipt("FR", |_| {}).id(Some(world.federation.id));
    let statement = StatementLabel { answers: id, word: Word::Acknowledged };
    let arrived = RelayEvent::StatementArrived {
        id: world.said.id(),
        statement,
        member: member("FR"),
        known: true,
        marks: Marks::default(),
        drill: false,
    };
    world.lives(&[clock(1), clock(2)]);
    world.witnessed(100);
    world.lives(&[
        Event::Relay(queued),
        Event::Relay(RelayEvent::MessageDelivered { step, late: false, receipt: Some(receipt) }),
        clock(3),
    ]);
    world.witnessed(200);
    world.lives(&[Event::Relay(arrived), clock(4)]);
    world.witnessed(300);
    world
}

impl World {
    /// With an empty journal.
    fn new(
        federation: Federation,
        message: std::sync::Arc<Sealable>,
        said: std::sync::Arc<Sealable>,
    ) -> Self {
        let (journal, changes) = Journal::begin(at(1), None, 0).unwrap();
        let mut world =
            Self { federation, message, said, journal, leaves: Vec::new(), checkpoints: Vec::new() };
        world.keep(changes);
        world
    }

    fn keep(&mut self, changes: Vec<crate::storage::Change>) {
        let leaves = changes.into_iter().filter(|change| change.table == Table::Journal);
        self.leaves.extend(leaves.filter_map(|change| change.value));
    }

    fn lives(&mut self, events: &[Event]) {
        for event in events {
            let number = self.journal.last_event() + 1;
            let event = NumberedEvent { number, at: at(20 + number), event: event.clone() };
            let changes = self.journal.follow([event]).unwrap();
            self.keep(changes);
        }
    }

    fn exporter(&self) -> Exporter {
        let ke = self.federation.unit("KE");
        Exporter { federation: self.federation.id, member: ke.code.clone(), node: node_key(&ke.nodes[0]) }
    }

    fn key(&self) -> &SigningKey {
        &self.federation.unit("KE").nodes[0]
    }

    fn cosign(&self, note: &mut Note, code: &str, seconds: u64) {
        let unit = self.federation.unit(code);
        let node = node_key(&unit.nodes[0]);
        let name = WitnessName { federation: self.federation.id, member: unit.code.clone(), node };
        let line = note.cosign(&name.to_string(), &unit.nodes[0], at(seconds).as_millis() / 1_000);
        note.signatures.push(line);
    }

    fn witnessed(&mut self, seconds: u64) {
        let Exporter { federation, member, node } = self.exporter();
        let mut note = self.journal.checkpoint((federation, member, node), self.key(), at(seconds));
        self.cosign(&mut note, "BR", seconds + 1);
        self.cosign(&mut note, "SG", seconds + 2);
        self.checkpoints.push(note);
    }

    fn receipt(&self, signer: &str, change: impl Fn(&mut Receipt)) -> Envelope {
        let fr = node_key(&self.federation.unit("FR").nodes[0]);
        let mut receipt = Receipt {
            message: self.message.id(),
            member: member("FR"),
            node: fr,
            word: ReceiptWord::Delivered,
            at: at(11),
            reason: None,
            sealing_key: None,
        };
        change(&mut receipt);
        sign(&receipt, Some(self.federation.id), &[&self.federation.unit(signer).nodes[0]]).unwrap()
    }

    fn included(&self, number: u64, checkpoint: usize) -> Included {
        let read = JournalCheckpoint::of(&self.checkpoints[checkpoint]).unwrap();
        let proof = proof::inclusion(self, number, read.size).unwrap();
        let leaf = self.leaves[usize::try_from(number).unwrap()].clone();
        Included { began: read.origin.began, number, size: read.size, leaf, proof }
    }

    fn honest(&self) -> MessageProof {
        let sizes: Vec<_> =
            self.checkpoints.iter().map(|note| JournalCheckpoint::of(note).unwrap().size).collect();
        let continues = sizes.windows(2).map(|pair| Continues {
            began: at(1),
            old: pair[0],
            size: pair[1],
            proof: proof::consistency(self, pair[0], pair[1]).unwrap(),
        });
        MessageProof {
            message: self.message.id(),
            header: Some(self.message.envelope().clone()),
            receipts: vec![self.receipt("FR", |_| {})],
            statements: vec![self.said.signed_statement().unwrap().unwrap()],
            checkpoints: self.checkpoints.clone(),
            continues: continues.collect(),
            entries: vec![self.included(3, 1), self.included(4, 1), self.included(6, 2)],
        }
    }

    fn bundle(&self) -> (String, TreeRoot) {
        let federation = &self.federation;
        let (mut writer, mut text) = BundleWriter::begin(federation.id);
        let founding = &federation.founding;
        let mut add = |kind, id, envelope: &Envelope| {
            text.push_str(&writer.document(kind, id, &encode(envelope).unwrap()).unwrap());
        };
        add(Kind::Charter, founding.id(), founding.envelope());
        let mut sets: Vec<_> = federation.units.iter().map(|unit| &unit.key_set).collect();
        sets.sort_by_key(|set| set.id());
        sets.iter().for_each(|set| add(Kind::KeySet, set.id(), set.envelope()));
        let root = writer.root();
        (text + &writer.finish(&self.exporter(), self.key(), at(400)), root)
    }

    fn written(&self, proof: MessageProof) -> String {
        let (bundle, root) = self.bundle();
        proof.write(&self.exporter(), self.key(), at(400), (&bundle, root))
    }

    /// The rules that a proof breaks which its own exporter signed.
    fn rules(&self, change: impl Fn(&mut MessageProof)) -> Vec<&'static str> {
        let mut proof = self.honest();
        change(&mut proof);
        let refused = check_message_proof(self.written(proof).as_bytes(), self.federation.id).unwrap_err();
        refused.0.iter().map(ProofFault::rule).collect()
    }
}

#[test]
fn a_proof_says_who_signed_what_and_between_which_witnessed_times() {
    let world = world();
    let text = world.written(world.honest());
    assert!(is_message_proof(text.as_bytes()) && !text.contains("preserve the logs"));
    let proven = check_message_proof(text.as_bytes(), world.federation.id).unwrap();
    let header = proven.header.unwrap();
    assert_eq!((header.header.sender.as_str(), header.header.recipients), ("KE", vec![member("FR")]));
    assert_eq!(
        proven.delivered.iter().map(|it| (it.member.as_str(), it.at)).collect::<Vec<_>>(),
        [("FR", at(11))]
    );
    let [said] = proven.said.as_slice() else { panic!() };
    assert_eq!(
        (said.member.as_str(), said.statement.word, said.id),
        ("FR", Word::Acknowledged, world.said.id())
    );
    let times = |state: &Option<Witnessed>| -> Vec<Timestamp> {
        state.as_ref().map(|state| state.by.iter().map(|(_, at)| *at).collect()).unwrap_or_default()
    };
    let seen: Vec<_> =
        proven.journalled.iter().map(|it| (it.number, times(&it.before), times(&it.after))).collect();
    let grounds: Vec<_> = proven.journalled.iter().map(|it| it.grounds).collect();
    assert_eq!(grounds, [Grounds::Header, Grounds::Receipt, Grounds::Statement]);
    assert!(proven.journalled.iter().all(Journalled::is_proven));
    let [first, second, third] = [100, 200, 300].map(|seconds| vec![at(seconds + 1), at(seconds + 2)]);
    assert_eq!(seen, [(3, first.clone(), second.clone()), (4, first, second.clone()), (6, second, third)]);
    // Without what is not kept any more it proves less, and holds.
    let mut less = world.honest();
    (less.header, less.checkpoints[2].signatures) = (None, world.checkpoints[2].signatures[..1].to_vec());
    less.receipts.clear();
    let proven = check_message_proof(world.written(less).as_bytes(), world.federation.id).unwrap();
    assert!(proven.header.is_none() && proven.delivered.is_empty());
    assert_eq!(proven.journalled[2].after, None, "nobody cosigned it since");
    let grounds: Vec<_> = proven.journalled.iter().map(|it| it.grounds).collect();
    assert_eq!(
        grounds,
        [Grounds::Word, Grounds::Word, Grounds::Statement],
        "what is not shown backs nothing"
    );
    assert!(!proven.journalled[2].is_proven(), "of what nobody cosigned the time is the exporter's word");
}

#[test]
fn every_line_flipped_dropped_moved_or_doubled_is_found() {
    let world = world();
    let whole = world.written(world.honest());
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let good = |text: &str| check_message_proof(text.as_bytes(), world.federation.id).is_ok();
    assert!(good(&whole) && lines.len() > 25);
    for at in 0..lines.len() {
        let with = |put: &[&str]| [&lines[..at], put, &lines[at + 1..]].concat().concat();
        assert!(!good(&with(&[])), "line {at} left out");
        assert!(!good(&with(&[lines[at], lines[at]])), "line {at} twice");
        let place = lines[at].len() / 2;
        let mut flipped = lines[at].as_bytes().to_vec();
        flipped[place] ^= 1;
        if let Ok(flipped) = std::str::from_utf8(&flipped) {
            assert!(!good(&with(&[flipped])), "line {at} changed");
        }
        if at + 1 < lines.len() && lines[at] != lines[at + 1] {
            let swapped = [&lines[..at], &[lines[at + 1], lines[at]], &lines[at + 2..]].concat().concat();
            assert!(!good(&swapped), "lines {at} and the next swapped");
        }
    }
    for end in (0..whole.len()).step_by(97) {
        assert!(!good(&whole[..end]), "cut after {end}");
    }
}

#[test]
fn other_files_versions_federations_and_signers_are_told_apart() {
    let world = world();
    let whole = world.written(world.honest());
    let rule = |text: &str, federation| {
        check_message_proof(text.as_bytes(), federation).unwrap_err().0.first().map(ProofFault::rule)
    };
    let own = world.federation.id;
    assert_eq!(rule("a letter\n", own), Some("MP-01"));
    let newer = whole.replacen("proof 1", "proof 2", 1);
    assert_eq!(check_message_proof(newer.as_bytes(), own).unwrap_err().0, [ProofFault::Newer("2".into())]);
    assert_eq!(rule(&whole, FederationId::from_bytes([9; 32])), Some("MP-02"));
    // Signed anew by another member's node, which has nothing to do with the bundle in it.
    let (bundle, root) = world.bundle();
    let fr = world.federation.unit("FR");
    let other = Exporter { federation: own, member: fr.code.clone(), node: node_key(&fr.nodes[0]) };
    let text = world.honest().write(&other, &fr.nodes[0], at(400), (&bundle, root));
    assert_eq!(rule(&text, own), Some("MP-02"));
    let text = world.honest().write(
        &world.exporter(),
        world.key(),
        at(400),
        (&bundle, TreeRoot::from_bytes([1; 32])),
    );
    assert_eq!(rule(&text, own), Some("MP-02"), "another bundle");
    let lacking = bundle.replacen("key-set", "key-sat", 1);
    let text = world.honest().write(&world.exporter(), world.key(), at(400), (&lacking, root));
    assert_eq!(rule(&text, own), Some("MP-03"));
}

#[test]
fn an_exporter_that_lies_is_found_by_what_others_did_not_sign() {
    let world = world();
    let other = composed(&world.federation, "KE", "FR", None, "something else");
    assert_eq!(world.rules(|it| it.header = Some(other.envelope().clone())), ["MP-04"]);
    for receipt in [
        world.receipt("FR", |it| it.message = other.id()),
        world.receipt("FR", |it| it.word = ReceiptWord::Custody),
        world.receipt("KE", |_| {}),
        // BR's node signs for itself that it has it: it is no recipient.
        world.receipt("BR", |it| {
            it.member = member("BR");
            it.node = node_key(&world.federation.unit("BR").nodes[0]);
        }),
        // KE's own node, called FR's.
        world.receipt("KE", |it| it.node = node_key(world.key())),
    ] {
        assert_eq!(world.rules(|it| it.receipts = vec![receipt.clone()]), ["MP-04"]);
    }
    let forged =
        composed(&world.federation, "KE", "FR", Some(acknowledged(world.message.id())), "forged by KE");
    let elsewhere = composed(&world.federation, "FR", "KE", Some(acknowledged(other.id())), "of another");
    let stranger =
        composed(&world.federation, "SG", "KE", Some(acknowledged(world.message.id())), "no party");
    let signed = |content: &Sealable| content.signed_statement().unwrap().unwrap();
    // What KE says itself is shown as its own word.
    let mut own = world.honest();
    own.statements = vec![signed(&forged)];
    let proven = check_message_proof(world.written(own).as_bytes(), world.federation.id).unwrap();
    assert_eq!(proven.said[0].member, member("KE"));
    let real = signed(&world.said);
    let relabelled = SignedStatement { body: signed(&elsewhere).body, ..real.clone() };
    let rekeyed = SignedStatement { key: [9; 32], ..real.clone() };
    let longer = SignedStatement { body: ByteBuf::from([real.body.as_slice(), &[0]].concat()), ..real };
    for statement in [signed(&elsewhere), signed(&stranger), relabelled, rekeyed, longer] {
        assert_eq!(world.rules(|it| it.statements = vec![statement.clone()]), ["MP-05"]);
    }
}

#[test]
fn a_journal_that_lies_is_found() {
    let world = world();
    let rules = |change: &dyn Fn(&mut MessageProof)| world.rules(change);
    assert_eq!(rules(&|it| it.continues.truncate(1)), ["MP-06"], "nothing connects the last");
    assert_eq!(rules(&|it| it.continues[0].proof[0] = TreeRoot::from_bytes([1; 32])), ["MP-06", "MP-06"]);
    assert_eq!(rules(&|it| it.continues[0].old = 2), ["MP-06", "MP-06"], "no such checkpoint");
    // Another past of the same length, signed by the node itself and cosigned by nobody.
    let (other, _) = Journal::begin(at(1), Some(world.journal.stands()), 0).unwrap();
    let Exporter { federation, member: own, node } = world.exporter();
    let note = other.checkpoint((federation, own.clone(), node), world.key(), at(50));
    assert_eq!(rules(&|it| it.checkpoints.insert(0, note.clone())), ["MP-06"]);
    let fr = &world.federation.unit("FR").nodes[0];
    let strange = world.journal.checkpoint((federation, own, node), fr, at(300));
    assert_eq!(rules(&|it| it.checkpoints.push(strange.clone())), ["MP-06"], "signed by another");
    // Entries that are not there, not of this message, or not of the message at all.
    assert_eq!(rules(&|it| it.entries[0].leaf.push(0)), ["MP-07"]);
    assert_eq!(rules(&|it| it.entries[0].number = 2), ["MP-07"]);
    // FR signed twice that it has it: the journal names the one that came.
    let again = world.receipt("FR", |it| it.at = at(12));
    assert_eq!(rules(&|it| it.receipts = vec![again.clone()]), ["MP-07"]);
    assert_eq!(rules(&|it| it.entries = vec![world.included(1, 0)]), ["MP-07"]);
    assert_eq!(rules(&|it| it.entries[0].size = 5), ["MP-07"]);
    // Cosignatures of the exporter's own member, of nobody's key, and under another's name.
    assert_eq!(rules(&|it| world.cosign(&mut it.checkpoints[0], "KE", 5)), ["MP-08"]);
    assert_eq!(rules(&|it| it.checkpoints[0].signatures[1].signature[20] ^= 1), ["MP-08"]);
    assert_eq!(rules(&|it| it.checkpoints[0].signatures[1].name = "a/witness".to_owned()), ["MP-08"]);
    // One witness at two times is one.
    assert_eq!(rules(&|it| world.cosign(&mut it.checkpoints[0], "BR", 5)), ["MP-08"]);
    let swap = |it: &mut MessageProof| {
        let name = it.checkpoints[0].signatures[2].name.clone();
        it.checkpoints[0].signatures[1].name = name;
    };
    assert_eq!(rules(&swap), ["MP-08"]);
}
