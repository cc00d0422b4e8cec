//! Tests of a node's own chains: what is signed when, and when nothing is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use super::*;
use crate::{
    evidence::{AnyDocument, Bearer},
    limits::{RESUME_WAIT, SEALING_KEY_LEAD, SEALING_KEY_VALIDITY, SEALING_SEED_GRACE},
    testing::{
        FOUNDED, Federation, Unit,
        chains::{ChainWriter, IntoAny, body, node_record, reference_point, sealing_key},
        verified,
    },
};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// A node of Kenya with its evidence, playing the runtime.
struct Node {
    federation: Federation,
    evidence: Evidence,
    clock: ClockWitnesses,
    chains: OwnChains,
    destroyed: Vec<SealingKeyId>,
    generated: u8,
}

impl Node {
    fn new(history: History) -> Self {
        Self::among(&["BR", "FR", "KE", "SG"], history)
    }

    fn among(members: &[&str], history: History) -> Self {
        let federation = Federation::new(3, members, 1);
        let mut evidence = Evidence::new(federation.id);
        let unit = federation.unit("KE").clone();
        drop(evidence.accept_all(Bearer::Local, [federation.founding.any(), unit.key_set.any()]));
        let mut chains =
            OwnChains::new(unit.code, key_of(&federation), profile(), Vec::new(), history, FOUNDED);
        if history == History::First {
            one_witness(&mut chains);
        }
        let clock = ClockWitnesses::default();
        Self { federation, evidence, clock, chains, destroyed: Vec::new(), generated: 0 }
    }

    fn unit(&self) -> Unit {
        self.federation.unit("KE").clone()
    }

    /// Others bring a record that this node's key signed a day before the founding.
    fn is_told_an_earlier_record(&mut self) {
        let mut writer = ChainWriter::new(&self.federation, &self.unit(), 0, RECORD);
        let before = FOUNDED.before(DAY);
        writer.issued = before;
        let header = writer.write(&body(&node_record(1)));
        let id = header.id().into();
        drop(self.evidence.accept(Bearer::Peer(NodeKey::from_bytes([9; 32])), header));
        assert_eq!(self.handle(FOUNDED, OwnInput::HeaderAccepted { id, issued: before }), []);
    }

    /// Hands an input in, does what is ordered until nothing is, and returns what was signed.
    fn handle(&mut self, now: Timestamp, input: OwnInput) -> Vec<(ChainKind, Sequence, bool)> {
        let mut signed = Vec::new();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let around =
                Surroundings { evidence: &self.evidence, clock: &self.clock, salts: [[1; 16], [2; 16]] };
            for effect in self.chains.handle(now, input, around).unwrap() {
                match effect {
                    OwnEffect::GenerateSealingKey { from, until } => {
                        self.generated += 1;
                        let key = sealing_key(self.generated, from);
                        assert_eq!(key.until, until);
                        inputs.push(OwnInput::SealingKeyGenerated(key));
                    }
                    OwnEffect::DestroySeed { id } => self.destroyed.push(id),
                    OwnEffect::Sign { id, kind, header, body } => {
                        signed.push((kind, header.sequence, body.is_some()));
                        let issued = header.issued;
                        self.sign(kind, header, id);
                        body.iter().for_each(|body| drop(self.evidence.accept_body(body)));
                        inputs.push(OwnInput::HeaderAccepted { id, issued });
                    }
                }
            }
        }
        signed
    }

    fn sign(&mut self, kind: ChainKind, header: Header, id: HeaderId) {
        let unit = self.unit();
        let keys = [&unit.nodes[0]];
        let document = match kind {
            ChainKind::NodeRecord => {
                AnyDocument::NodeRecord(verified(&NodeRecordHeader(header), self.federation.id, &keys))
            }
            ChainKind::ReferencePoint => AnyDocument::ReferencePoint(verified(
                &ReferencePointHeader(header),
                self.federation.id,
                &keys,
            )),
        };
        assert_eq!(document.id(), DocumentId::from(id));
        assert_eq!(self.evidence.accept(Bearer::Local, document).accepted.len(), 1);
    }

    fn standing(&self, now: Timestamp) -> Standing {
        self.chains.standing(now, self.around())
    }

    fn wakeup(&self, now: Timestamp) -> Option<(Timestamp, WakeReason)> {
        self.chains.next_wakeup(now, self.around())
    }

    fn around(&self) -> Surroundings<'_> {
        Surroundings { evidence: &self.evidence, clock: &self.clock, salts: [[1; 16], [2; 16]] }
    }
}

/// What a first start waits for.
fn one_witness(chains: &mut OwnChains) {
    chains.gate.connect(member("BR"));
    chains.gate.witness(member("BR"));
}

fn key_of(federation: &Federation) -> NodeKey {
    crate::testing::node_key(&federation.unit("KE").nodes[0])
}

fn profile() -> NodeProfile {
    let NodeRecord { addresses, reads, wire, software, .. } = node_record(1);
    NodeProfile { addresses, reads, wire, software }
}

fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

const RECORD: ChainKind = ChainKind::NodeRecord;
const POINT: ChainKind = ChainKind::ReferencePoint;

#[test]
fn a_first_start_publishes_a_record_with_a_sealing_key_at_once() {
    let mut node = Node::new(History::First);
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), [(RECORD, Sequence(0), true)]);
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
    assert_eq!(node.standing(FOUNDED), Standing::Signing);
    let listing = node.evidence.listings().iter().find(|it| it.node == key_of(&node.federation)).unwrap();
    assert_eq!(node.evidence.directory().sealing_key(listing, FOUNDED).unwrap().key[0], 1);
}

#[test]
fn a_first_start_asks_one_member_since_its_folder_may_be_new_and_its_key_old() {
    let mut node = Node::new(History::First);
    let chains = OwnChains::new(
        member("KE"),
        key_of(&node.federation),
        profile(),
        Vec::new(),
        History::First,
        FOUNDED,
    );
    node.chains = chains;
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
    assert_eq!(node.handle(FOUNDED, OwnInput::Connected(member("BR"))), []);
    // The repair brings what the key signed before the folder was lost: now three members are to be asked.
    node.is_told_an_earlier_record();
    for code in ["BR", "FR"] {
        assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member(code))), []);
    }
    let signed = node.handle(FOUNDED, OwnInput::RepairCompleted(member("SG")));
    assert_eq!(signed, [(RECORD, Sequence(1), true)]);
}

#[test]
fn what_cannot_be_done_now_wakes_nobody() {
    let late = FOUNDED.after(DAY + MINUTE);
    let mut forked = Node::new(History::First);
    forked.handle(FOUNDED, OwnInput::Woke);
    let twin = ChainWriter::new(&forked.federation, &forked.unit(), 0, RECORD).write(&body(&node_record(9)));
    assert_eq!(forked.evidence.accept(Bearer::Local, twin).forks.len(), 1);
    let wakeup = forked.wakeup(late);
    assert!(wakeup.is_some_and(|(at, _)| at > late), "{wakeup:?}");
    let mut wrong = Node::new(History::First);
    wrong.handle(FOUNDED, OwnInput::Woke);
    for code in ["BR", "FR", "SG"] {
        wrong.clock.hear(member(code), late.after(MINUTE * 11), late);
    }
    assert_eq!(wrong.wakeup(late), None);
}

#[test]
fn a_renewal_is_a_header_alone_and_daily() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    node.handle(FOUNDED, OwnInput::Publish(Box::new(reference_point(7))));
    assert_eq!(node.wakeup(FOUNDED), Some((FOUNDED.after(DAY), WakeReason::Renewal)));
    assert_eq!(node.handle(FOUNDED.after(DAY - MINUTE), OwnInput::Woke), []);
    let renewed = node.handle(FOUNDED.after(DAY), OwnInput::Woke);
    assert_eq!(renewed, [(RECORD, Sequence(1), false), (POINT, Sequence(1), false)]);
}

#[test]
fn a_change_is_published_at_once_and_the_same_again_is_not() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let publish = |number| OwnInput::Publish(Box::new(reference_point(number)));
    assert_eq!(node.handle(FOUNDED, publish(7)), [(POINT, Sequence(0), true)]);
    assert_eq!(node.handle(FOUNDED, publish(7)), []);
    assert_eq!(node.handle(FOUNDED, publish(8)), [(POINT, Sequence(1), true)]);
    let moved = NodeProfile { addresses: vec!["moved.example:1".into()], ..profile() };
    assert_eq!(node.handle(FOUNDED, OwnInput::Configure(moved)), [(RECORD, Sequence(1), true)]);
}

/// So that nobody can guess at a content that was erased: a body begins with bytes drawn for it alone.
#[test]
fn each_content_begins_with_the_salt_drawn_for_it() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let draft = ReferencePoint { salt: [9; 16], ..reference_point(7) };
    node.handle(FOUNDED, OwnInput::Publish(Box::new(draft)));
    let listing = node.evidence.listings().iter().find(|it| it.node == key_of(&node.federation)).unwrap();
    assert_eq!(node.evidence.directory().record(listing).unwrap().salt, [1; 16]);
    let shown = node.evidence.directory().member(&member("KE"), FOUNDED).unwrap();
    assert_eq!(shown.reference_point.unwrap().entry.unwrap().salt, [2; 16]);
}

#[test]
fn what_breaks_a_rule_is_not_published_and_changes_nothing() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let bad = ReferencePoint { names: Vec::new(), ..reference_point(7) };
    let around = Surroundings { evidence: &node.evidence, clock: &node.clock, salts: [[1; 16], [2; 16]] };
    let refused = node.chains.handle(FOUNDED, OwnInput::Publish(Box::new(bad)), around);
    assert!(matches!(refused, Err(OwnChainError::Form(_))), "{refused:?}");
    let bad = NodeProfile { addresses: vec!["no port".into()], ..profile() };
    let refused = node.chains.handle(FOUNDED, OwnInput::Configure(bad), around);
    assert!(matches!(refused, Err(OwnChainError::Form(_))), "{refused:?}");
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
}

#[test]
fn a_node_that_signed_before_waits_for_three_members() {
    let mut node = Node::new(History::SignedBefore);
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
    for code in ["BR", "FR"] {
        assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member(code))), []);
    }
    assert!(
        matches!(node.standing(FOUNDED), Standing::Waiting { ref witnesses, .. } if witnesses.len() == 2)
    );
    let signed = node.handle(FOUNDED, OwnInput::RepairCompleted(member("SG")));
    assert_eq!(signed, [(RECORD, Sequence(0), true)]);
}

#[test]
fn where_the_charter_has_fewer_others_all_of_them_suffice() {
    let mut node = Node::among(&["FR", "KE", "SG"], History::SignedBefore);
    let waiting = |node: &Node| match node.standing(FOUNDED) {
        Standing::Waiting { witnesses, needed, .. } => (witnesses.len(), needed),
        other => panic!("{other:?}"),
    };
    assert_eq!(waiting(&node), (0, 2));
    assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member("FR"))), []);
    assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member("FR"))), []);
    // Another node of the own member is no other member.
    assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member("KE"))), []);
    assert_eq!(waiting(&node), (1, 2));
    let signed = node.handle(FOUNDED, OwnInput::RepairCompleted(member("SG")));
    assert_eq!(signed, [(RECORD, Sequence(0), true)]);
}

#[test]
fn where_the_charter_has_fewer_others_all_their_clocks_judge() {
    let mut node = Node::among(&["FR", "KE", "SG"], History::First);
    node.clock.hear(member("FR"), FOUNDED.after(MINUTE * 11), FOUNDED);
    assert_ne!(node.standing(FOUNDED), Standing::ClockWrong { offset_ms: 660_000 });
    node.clock.hear(member("SG"), FOUNDED.after(MINUTE * 12), FOUNDED);
    assert_eq!(node.standing(FOUNDED), Standing::ClockWrong { offset_ms: 660_000 });
}

#[test]
fn without_a_charter_three_are_asked() {
    let federation = Federation::new(3, &["FR", "KE", "SG"], 1);
    let evidence = Evidence::new(federation.id);
    assert_eq!(evidence.membership().witnesses_asked(&member("KE")), 3);
}

#[test]
fn after_ten_minutes_all_connected_members_suffice_and_none_do_not() {
    let late = FOUNDED.after(RESUME_WAIT);
    let mut node = Node::new(History::SignedBefore);
    assert_eq!(node.wakeup(FOUNDED), Some((late, WakeReason::ResumeWait)));
    assert_eq!(node.handle(late, OwnInput::Woke), []);
    node.handle(FOUNDED, OwnInput::Connected(member("BR")));
    node.handle(FOUNDED, OwnInput::Connected(member("FR")));
    node.handle(FOUNDED, OwnInput::RepairCompleted(member("BR")));
    assert_eq!(node.handle(late, OwnInput::Woke), [], "FR is connected and has not repaired");
    assert_eq!(node.handle(late.before(MINUTE), OwnInput::Disconnected(member("FR"))), []);
    assert_eq!(node.handle(late, OwnInput::Woke), [(RECORD, Sequence(0), true)]);
}

#[test]
fn with_nobody_there_a_person_orders_it_to_resume() {
    let mut node = Node::new(History::SignedBefore);
    assert_eq!(node.handle(FOUNDED.after(DAY), OwnInput::Woke), []);
    assert_eq!(node.handle(FOUNDED.after(DAY), OwnInput::Resume), [(RECORD, Sequence(0), true)]);
}

#[test]
fn what_others_bring_back_is_continued() {
    let mut node = Node::new(History::SignedBefore);
    node.is_told_an_earlier_record();
    assert_eq!(node.handle(FOUNDED, OwnInput::Resume), [(RECORD, Sequence(1), true)]);
}

#[test]
fn a_header_of_a_twin_stops_it_until_a_person_acts() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let mut twin = ChainWriter::new(&node.federation, &node.unit(), 0, POINT);
    twin.issued = FOUNDED.after(MINUTE);
    let header = twin.write(&body(&reference_point(1)));
    let (id, issued) = (HeaderId::from(header.id()), twin.issued.before(MINUTE));
    drop(node.evidence.accept(Bearer::Peer(NodeKey::from_bytes([9; 32])), header));
    node.handle(FOUNDED, OwnInput::HeaderAccepted { id, issued });
    let stopped = Standing::Stopped(StopReason::Twin { header: id, issued });
    assert_eq!(node.standing(FOUNDED.after(DAY)), stopped);
    assert_eq!(node.handle(FOUNDED.after(DAY), OwnInput::Woke), []);
    assert_eq!(node.handle(FOUNDED.after(DAY + MINUTE), OwnInput::Resume).len(), 2);
}

#[test]
fn a_twin_that_was_met_stops_it_before_the_two_contradict_each_other() {
    for history in [History::First, History::SignedBefore] {
        let mut node = Node::new(history);
        node.handle(FOUNDED, OwnInput::Woke);
        assert_eq!(node.handle(FOUNDED, OwnInput::TwinMet), []);
        assert_eq!(node.standing(FOUNDED), Standing::Stopped(StopReason::TwinMet));
        for code in ["BR", "FR", "SG"] {
            assert_eq!(node.handle(FOUNDED, OwnInput::RepairCompleted(member(code))), []);
        }
        assert_eq!(node.handle(FOUNDED.after(DAY), OwnInput::Woke), []);
        assert_eq!(node.handle(FOUNDED, OwnInput::Publish(Box::new(reference_point(7)))), []);
    }
}

#[test]
fn a_forked_chain_is_not_continued() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let twin = ChainWriter::new(&node.federation, &node.unit(), 0, RECORD).write(&body(&node_record(9)));
    assert_eq!(node.evidence.accept(Bearer::Local, twin).forks.len(), 1);
    assert_eq!(node.handle(FOUNDED.after(DAY), OwnInput::Woke), []);
    let forked = StopReason::Forked { kind: RECORD, sequence: Sequence(0) };
    assert_eq!(node.standing(FOUNDED), Standing::Stopped(forked));
}

#[test]
fn a_new_key_set_starts_both_chains_anew_with_what_was_published() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    node.handle(FOUNDED, OwnInput::Publish(Box::new(reference_point(7))));
    let unit = node.unit();
    let next = node.federation.next_key_set(&[&unit.key_set], |_| {}, &unit.root);
    drop(node.evidence.accept(Bearer::Local, next.any()));
    let signed = node.handle(FOUNDED.after(MINUTE), OwnInput::Woke);
    assert_eq!(signed, [(RECORD, Sequence(0), false), (POINT, Sequence(0), false)]);
    let shown = node.evidence.directory().member(&unit.code, FOUNDED).unwrap();
    let point = shown.reference_point.unwrap();
    assert_eq!(point.header.key_set, Some(next.id().into()));
    assert_eq!(point.entry.unwrap().names, reference_point(7).names);
}

#[test]
fn a_key_that_no_key_set_lists_signs_nothing() {
    let mut node = Node::new(History::First);
    let unit = node.unit();
    let next = node.federation.next_key_set(
        &[&unit.key_set],
        |set| set.nodes[0].key = NodeKey::from_bytes([8; 32]),
        &unit.root,
    );
    drop(node.evidence.accept(Bearer::Local, next.any()));
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
    assert_eq!(node.standing(FOUNDED), Standing::NotListed);
}

#[test]
fn a_wrong_clock_signs_nothing_and_says_so() {
    let mut node = Node::new(History::First);
    for code in ["BR", "FR", "SG"] {
        node.clock.hear(member(code), FOUNDED.after(MINUTE * 11), FOUNDED);
    }
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke), []);
    assert_eq!(node.generated, 0);
    assert_eq!(node.standing(FOUNDED), Standing::ClockWrong { offset_ms: 660_000 });
}

#[test]
fn a_successor_of_the_sealing_key_is_published_a_week_ahead_and_old_seeds_die() {
    let mut node = Node::new(History::First);
    node.handle(FOUNDED, OwnInput::Woke);
    let end = FOUNDED.after(SEALING_KEY_VALIDITY);
    let lead = end.before(SEALING_KEY_LEAD);
    node.handle(lead.before(MINUTE), OwnInput::Woke);
    assert_eq!(node.generated, 1);
    assert_eq!(node.wakeup(lead.before(MINUTE)), Some((lead, WakeReason::SealingKey)));
    let signed = node.handle(lead, OwnInput::Woke);
    assert_eq!((node.generated, signed.len(), signed[0].2), (2, 1, true));
    let listing = node.evidence.listings().iter().find(|it| it.node == key_of(&node.federation)).unwrap();
    let record = node.evidence.directory().record(listing).unwrap();
    assert_eq!(record.sealing_keys.iter().map(|key| key.from).collect::<Vec<_>>(), [FOUNDED, end]);
    // Past its end the old key is published no longer, and its seed is kept a while.
    assert_eq!(node.handle(end, OwnInput::Woke), [(RECORD, Sequence(3), true)]);
    let death = end.after(SEALING_SEED_GRACE);
    node.handle(death.before(MINUTE), OwnInput::Woke);
    assert_eq!(node.destroyed, []);
    node.handle(death, OwnInput::Woke);
    assert_eq!(node.destroyed, [sealing_key(1, FOUNDED).id()]);
    assert_eq!(node.chains.sealing_keys().len(), 1);
}

#[test]
fn after_a_long_absence_a_new_sealing_key_begins_at_once() {
    let old = sealing_key(9, FOUNDED.before(DAY * 90));
    let mut node = Node::new(History::First);
    node.chains = OwnChains::new(
        member("KE"),
        key_of(&node.federation),
        profile(),
        vec![old.clone()],
        History::First,
        FOUNDED,
    );
    one_witness(&mut node.chains);
    assert_eq!(node.handle(FOUNDED, OwnInput::Woke).len(), 2, "first the old key, then the new one");
    assert_eq!(node.chains.sealing_keys()[0].from, FOUNDED);
    assert_eq!(node.destroyed, [old.id()]);
}
