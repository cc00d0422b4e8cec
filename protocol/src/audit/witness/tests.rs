//! A node that asks and nodes that are asked, honest and not.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod heard;
mod restored;

use std::{cell::RefCell, collections::BTreeMap, time::Duration};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;

use super::*;
use crate::{
    audit::{
        journal::Journal,
        merkle::{
            leaf_hash,
            proof::{self, ProofError, Tiers},
        },
        note::Note,
    },
    document::{Verified, encode, sign},
    heads::{Head, JournalPosition, verify_head},
    ids::{CharterId, ContentHash, Sequence, TreeRoot},
    limits::{
        CHECKPOINT_BYTES_MAX, WITNESS_BURST, WITNESS_EARNED, WITNESS_ENDED_MAX, WITNESS_FRAME_BYTES_MAX,
        WITNESS_INTERVAL, WITNESS_RETRY,
    },
    machine::{Event, NumberedEvent},
    storage::Table,
    testing::{FOUNDED, node_key},
    time::Timestamp,
};

const FEDERATION: FederationId = FederationId::from_bytes([1; 32]);
const START: Timestamp = FOUNDED;

fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

fn later(seconds: u64) -> Timestamp {
    START.after(Duration::from_secs(seconds))
}

/// A node with a journal.
#[derive(Clone)]
struct Node {
    member: MemberCode,
    key: SigningKey,
    journal: Journal,
    leaves: Vec<TreeRoot>,
    events: u64,
}

impl Node {
    fn new(code: &str, seed: u8, began: Timestamp, follows: Option<JournalPosition>) -> Self {
        let (journal, changes) = Journal::begin(began, follows, 0).unwrap();
        let key = SigningKey::from_bytes(&[seed; 32]);
        let mut node = Self { member: member(code), key, journal, leaves: Vec::new(), events: 0 };
        node.keep(changes);
        node
    }

    fn keep(&mut self, changes: Vec<crate::storage::Change>) {
        let leaves = changes.into_iter().filter(|change| change.table == Table::Journal);
        self.leaves.extend(leaves.map(|change| TreeRoot::from_bytes(leaf_hash(&change.value.unwrap()))));
    }

    /// Journals so many events; `story` tells one past from another.
    fn lives(&mut self, count: u64, story: u64) {
        for _ in 0..count {
            self.events += 1;
            let event = Event::ClockJudged { right: true, offset_millis: i64::try_from(story).unwrap() };
            let event = NumberedEvent { number: self.events, at: START, event };
            let changes = self.journal.follow([event]).unwrap();
            self.keep(changes);
        }
    }

    fn node(&self) -> NodeKey {
        node_key(&self.key)
    }

    fn checkpoint(&self, at: Timestamp) -> Note {
        self.journal.checkpoint((FEDERATION, self.member.clone(), self.node()), &self.key, at)
    }

    /// A head that says where the journal stands.
    fn head(&self, at: Timestamp) -> Verified<Head> {
        let head = Head {
            member: self.member.clone(),
            node: self.node(),
            run: at,
            number: Sequence(0),
            previous: None,
            time: at,
            charter: vec![CharterId::from_bytes([1; 32])],
            digest: ContentHash::from_bytes([2; 32]),
            journal: Some(self.journal.stands()),
        };
        verify_head(sign(&head, Some(FEDERATION), &[&self.key]).unwrap(), FEDERATION).unwrap()
    }

    fn request(&self, old: u64, at: Timestamp) -> CosignRequest {
        let proof = proof::consistency(self, old, self.journal.stands().size).unwrap();
        CosignRequest { old, checkpoint: self.checkpoint(at).to_string(), proof }
    }
}

impl Tiers for Node {
    type Error = ();

    fn read(&self, tier: u32, from: u64, count: u64) -> Result<Vec<TreeRoot>, ()> {
        assert_eq!(tier, 0, "these journals are short");
        let (from, count) = (usize::try_from(from).unwrap(), usize::try_from(count).unwrap());
        self.leaves.get(from..from + count).map(<[_]>::to_vec).ok_or(())
    }
}

/// A witness with its rows.
struct Desk {
    witness: Witness,
    key: SigningKey,
    rows: RefCell<BTreeMap<NodeKey, WitnessedRow>>,
    heard: RefCell<HeardJournals>,
}

impl Desk {
    fn new(code: &str, seed: u8) -> Self {
        let witness = Witness { federation: FEDERATION, member: member(code) };
        Self {
            witness,
            key: SigningKey::from_bytes(&[seed; 32]),
            rows: RefCell::default(),
            heard: RefCell::default(),
        }
    }

    fn row(&self, node: NodeKey) -> WitnessedRow {
        self.rows.borrow().get(&node).cloned().unwrap_or_default()
    }

    fn judge(&self, now: Timestamp, asker: &Node, request: &CosignRequest) -> Result<Judged, WitnessFault> {
        let (row, heard) = (self.row(asker.node()), self.heard.borrow());
        let heard = heard.of(now, &asker.node());
        let judged = self.witness.judge(now, (&asker.member, asker.node()), request, &row, heard);
        if let Ok(Judged::Cosign { row, .. } | Judged::Refuted { row, .. }) = &judged {
            self.rows.borrow_mut().insert(asker.node(), row.as_ref().clone());
        }
        judged
    }

    fn answer(&self, now: Timestamp, asker: &Node, request: &CosignRequest) -> CosignAnswer {
        match self.judge(now, asker, request).unwrap() {
            Judged::Cosign { row, .. } => {
                let name = WitnessName {
                    federation: FEDERATION,
                    member: self.witness.member.clone(),
                    node: node_key(&self.key),
                };
                let note = Note::parse(request.checkpoint.as_bytes()).unwrap();
                let line = note.cosign(&name.to_string(), &self.key, now.as_millis() / 1_000);
                let (time, signature) = line.timed().unwrap();
                let before = row.ended.last().cloned();
                CosignAnswer::Cosigned(Cosignature { time, signature: *signature, before })
            }
            Judged::Answer(answer) | Judged::Refuted { answer, .. } => answer,
        }
    }

    fn candidate(&self) -> Candidate {
        Candidate { node: node_key(&self.key), member: self.witness.member.clone() }
    }
}

fn is_cosigned(judged: &Result<Judged, WitnessFault>) -> bool {
    matches!(judged, Ok(Judged::Cosign { .. }))
}

#[test]
fn a_journal_that_grows_is_cosigned_and_the_same_size_again() {
    let desk = Desk::new("FR", 9);
    let mut node = Node::new("KE", 7, START, None);
    let mut old = 0;
    for (hour, grows) in [3, 0, 17, 1, 0, 40].into_iter().enumerate() {
        node.lives(grows, 0);
        let at = later(hour as u64 * 3_600);
        assert!(is_cosigned(&desk.judge(at, &node, &node.request(old, at))), "hour {hour}");
        old = node.journal.stands().size;
        assert_eq!(desk.row(node.node()).last().unwrap().size, old);
    }
}

#[test]
fn what_is_no_request_in_any_state_is_a_fault() {
    let desk = Desk::new("FR", 9);
    let mut node = Node::new("KE", 7, START, None);
    node.lives(4, 0);
    let good = node.request(0, START);
    let fault = |request: &CosignRequest| desk.judge(START, &node, request).unwrap_err();
    let with = |change: &dyn Fn(&mut CosignRequest)| {
        let mut request = good.clone();
        change(&mut request);
        fault(&request)
    };
    let hash = TreeRoot::from_bytes([3; 32]);
    assert_eq!(with(&|it| it.proof = vec![hash; 65]).rule(), "WI-01");
    assert_eq!(with(&|it| it.checkpoint = "x".repeat(CHECKPOINT_BYTES_MAX + 1)).rule(), "WI-01");
    assert_eq!(with(&|it| it.old = 99).rule(), "WI-01");
    let length = ProofError::Length { got: 1, expected: 0 };
    assert_eq!(with(&|it| it.proof = vec![hash]), WitnessFault::Proof(length));
    assert_eq!(with(&|it| it.checkpoint = "no note".to_owned()).rule(), "WI-02");
    // Signed by another key, another node's, another member's, another federation's.
    let stranger = SigningKey::from_bytes(&[8; 32]);
    let other = |identity, key: &SigningKey| node.journal.checkpoint(identity, key, START).to_string();
    for checkpoint in [
        other((FEDERATION, member("KE"), node.node()), &stranger),
        other((FEDERATION, member("KE"), node_key(&stranger)), &stranger),
        other((FEDERATION, member("BR"), node.node()), &node.key),
        other((FederationId::from_bytes([2; 32]), member("KE"), node.node()), &node.key),
    ] {
        assert_eq!(with(&|it| it.checkpoint.clone_from(&checkpoint)).rule(), "WI-02", "{checkpoint}");
    }
    assert_eq!(desk.row(node.node()), WitnessedRow::default(), "nothing is remembered");
}

#[test]
fn a_member_is_no_witness_of_its_own_and_a_journal_of_tomorrow_has_none() {
    let node = Node::new("KE", 7, START, None);
    let own = Desk::new("KE", 9);
    let refused = |why| Ok(Judged::Answer(CosignAnswer::Refused(why)));
    assert_eq!(own.judge(START, &node, &node.request(0, START)), refused(CosignRefusal::OwnMember));
    let early = Timestamp::from_millis(START.as_millis() - 86_400_000);
    let other = Desk::new("FR", 9);
    assert_eq!(other.judge(early, &node, &node.request(0, START)), refused(CosignRefusal::Clock));
}

#[test]
fn a_fork_a_rewind_and_another_past_are_refused_with_what_is_held_and_remembered_once() {
    let desk = Desk::new("FR", 9);
    let mut honest = Node::new("KE", 7, START, None);
    honest.lives(5, 0);
    let kept = honest.request(0, later(1));
    assert!(is_cosigned(&desk.judge(later(1), &honest, &kept)));
    let rewritten = |count| {
        let mut node = Node::new("KE", 7, START, None);
        node.lives(count, 1);
        node
    };
    for (index, (count, old, doubt)) in
        [(5, 6, Doubt::Forked), (2, 0, Doubt::Rewound), (9, 6, Doubt::Inconsistent)].into_iter().enumerate()
    {
        let node = rewritten(count);
        let request = node.request(old.min(node.journal.stands().size), later(2));
        let Ok(Judged::Refuted { doubt: found, answer, row }) = desk.judge(later(2), &node, &request) else {
            panic!("{doubt}")
        };
        assert_eq!((found, &answer), (doubt, &CosignAnswer::Held(kept.checkpoint.clone())));
        let proof = &row.refuted[index];
        assert_eq!((&proof.held, &proof.refused), (&kept.checkpoint, &request.checkpoint));
        // The same again is answered and makes no second row, event or sync.
        assert_eq!(desk.judge(later(3), &node, &request), Ok(Judged::Answer(answer)));
    }
    // The honest past goes on all the same.
    honest.lives(1, 0);
    assert!(is_cosigned(&desk.judge(later(4), &honest, &honest.request(6, later(4)))));
}

#[test]
fn new_journals_that_are_contradicted_too_push_out_no_proof() {
    let desk = Desk::new("FR", 9);
    let doubts = || desk.row(Node::new("KE", 7, START, None).node()).refuted;
    let mut first = None;
    for journal in 0..5 {
        let begun = |count, story| {
            let mut node = Node::new("KE", 7, later(100 * journal), None);
            node.lives(count, story);
            node
        };
        let at = |seconds| later(100 * journal + seconds);
        assert!(is_cosigned(&desk.judge(at(1), &begun(5, 0), &begun(5, 0).request(0, at(1)))));
        for (count, old) in [(5, 6), (2, 0), (9, 6)] {
            let other = begun(count, 1);
            let answer = desk.answer(at(2), &other, &other.request(old, at(2)));
            assert!(matches!(answer, CosignAnswer::Held(_)));
        }
        first = first.or_else(|| doubts().first().cloned());
        assert_eq!(doubts().first(), first.as_ref(), "of journal {journal}");
    }
    assert_eq!(doubts().len(), serving::REFUTED_MAX);
}

#[test]
fn a_replay_and_another_old_size_are_answered_with_what_is_held_and_are_nobodys_fault() {
    let desk = Desk::new("FR", 9);
    let mut node = Node::new("KE", 7, START, None);
    node.lives(2, 0);
    let first = node.request(0, later(1));
    assert!(is_cosigned(&desk.judge(later(1), &node, &first)));
    node.lives(4, 0);
    // It does not remember the answer.
    let forgot = node.request(0, later(2));
    let held = |request: &CosignRequest| CosignAnswer::Held(request.checkpoint.clone());
    assert_eq!(desk.judge(later(2), &node, &forgot), Ok(Judged::Answer(held(&first))));
    let second = node.request(3, later(2));
    assert!(is_cosigned(&desk.judge(later(2), &node, &second)));
    assert_eq!(desk.judge(later(3), &node, &first), Ok(Judged::Answer(held(&second))), "a replay");
    assert!(is_cosigned(&desk.judge(later(3), &node, &CosignRequest { old: 7, proof: vec![], ..second })));
    // Of another witness it asks as if that had cosigned.
    let other = Desk::new("BR", 9);
    let nothing = Judged::Answer(CosignAnswer::Refused(CosignRefusal::NothingHeld));
    assert_eq!(other.judge(later(3), &node, &node.request(3, later(3))), Ok(nothing));
}

#[test]
fn a_new_journal_is_told_of_once_and_an_ended_one_is_cosigned_no_more() {
    let desk = Desk::new("FR", 9);
    let mut old = Node::new("KE", 7, START, None);
    old.lives(5, 0);
    let last = old.request(0, later(1));
    assert!(is_cosigned(&desk.judge(later(1), &old, &last)));
    let new = Node::new("KE", 7, later(9), Some(old.journal.stands()));
    let first = new.request(0, later(10));
    let Ok(Judged::Cosign { row, succeeds }) = desk.judge(later(10), &new, &first) else { panic!() };
    assert_eq!((succeeds, row.ended), (true, vec![last.checkpoint]));
    let Ok(Judged::Cosign { succeeds, .. }) = desk.judge(later(11), &new, &new.request(1, later(11))) else {
        panic!()
    };
    assert!(!succeeds);
    old.lives(1, 0);
    let answer = desk.judge(later(12), &old, &old.request(6, later(12)));
    assert!(matches!(answer, Ok(Judged::Answer(CosignAnswer::Held(_)))), "{answer:?}");
    // However often it begins anew: what is kept stays small.
    for number in 20..60 {
        let next = Node::new("KE", 7, later(number), None);
        assert!(is_cosigned(&desk.judge(later(number), &next, &next.request(0, later(number)))));
    }
    let row = desk.row(old.node());
    assert_eq!(row.ended.len(), WITNESS_ENDED_MAX);
    assert!(encode(&row).unwrap().len() < 4_096);
}

#[test]
fn a_flood_is_looked_at_as_often_as_a_round_needs() {
    let mut limits = RequestLimits::default();
    let [greedy, modest] = [1, 2].map(|byte| NodeKey::from_bytes([byte; 32]));
    let taken = (0..1_000).filter(|_| limits.allow(greedy, START)).count();
    assert_eq!(taken, WITNESS_BURST as usize);
    assert!(limits.allow(modest, START));
    assert!(
        limits.allow(greedy, START.after(WITNESS_EARNED))
            && !limits.allow(greedy, START.after(WITNESS_EARNED))
    );
}

/// Runs a round to its end.
fn round(asking: &mut Asking, now: Timestamp, node: &Node, desks: &[&Desk]) -> (RoundOver, usize) {
    let connected = desks.iter().map(|desk| desk.candidate()).collect();
    let checkpoint = Box::new(node.checkpoint(now));
    let mut effects = asking.handle(now, AskInput::Begin { checkpoint, connected }, node);
    let mut asked = 0;
    loop {
        match effects.remove(0) {
            AskEffect::Over(over) => return (*over, asked),
            AskEffect::Ask { to, request } => {
                asked += 1;
                assert!(encode(&request).unwrap().len() <= WITNESS_FRAME_BYTES_MAX);
                let desk = desks.iter().find(|desk| desk.candidate().node == to).unwrap();
                let answer = Some(desk.answer(now, node, &request));
                effects.extend(asking.handle(now, AskInput::Answered { from: to, answer }, node));
            }
        }
    }
}

#[test]
fn a_round_is_cosigned_by_three_members_and_says_so_under_the_checkpoint() {
    let desks: Vec<_> = [("FR", 21), ("FR", 22), ("BR", 23), ("SG", 24), ("IN", 25), ("KE", 26)]
        .map(|(code, seed)| Desk::new(code, seed))
        .into();
    let desks: Vec<_> = desks.iter().collect();
    let mut node = Node::new("KE", 7, START, None);
    node.lives(3, 0);
    let mut asking = Asking::new(node.member.clone(), node.node(), START);
    assert_eq!(asking.due(), Some(later(60)));
    let (over, asked) = round(&mut asking, later(60), &node, &desks);
    assert_eq!((over.cosigned.len(), asked, over.refused.len()), (3, 3, 0));
    assert_eq!(asking.due(), Some(later(60).after(WITNESS_INTERVAL)));
    let members: std::collections::BTreeSet<_> = over.cosigned.iter().map(|it| it.member.clone()).collect();
    assert!(members.len() == 3 && !members.contains(&member("KE")), "{members:?}");
    for Candidate { node: witness, member } in &over.cosigned {
        let name = WitnessName { federation: FEDERATION, member: member.clone(), node: *witness }.to_string();
        assert_eq!(name.parse::<WitnessName>().unwrap().to_string(), name);
        assert_eq!(
            over.checkpoint.cosigned_by(&name, witness.as_bytes()),
            Some(later(60).as_millis() / 1_000)
        );
    }
    // An hour later the same three, from where they were; after a restart each says where that was.
    node.lives(9, 0);
    let (again, asked) = round(&mut asking, later(3_700), &node, &desks);
    assert_eq!((again.cosigned.clone(), asked), (over.cosigned, 3));
    node.lives(2, 0);
    let mut restarted = Asking::new(node.member.clone(), node.node(), later(7_000));
    let (third, asked) = round(&mut restarted, later(7_100), &node, &desks);
    assert_eq!((third.cosigned, asked), (again.cosigned, 6));
}

#[test]
fn whoever_does_not_cosign_is_replaced_and_too_few_are_asked_again_soon() {
    let mut node = Node::new("KE", 7, START, None);
    node.lives(3, 0);
    let mut asking = Asking::new(node.member.clone(), node.node(), START);
    let desks: Vec<_> =
        ["FR", "BR", "SG", "IN"].iter().zip(30..).map(|(code, seed)| Desk::new(code, seed)).collect();
    let connected = desks.iter().map(Desk::candidate).collect();
    let checkpoint = Box::new(node.checkpoint(START));
    let mut effects = asking.handle(START, AskInput::Begin { checkpoint, connected }, &node);
    // One is silent, one lies, two would cosign: one for another checkpoint.
    let (mut asked, mut over) = (Vec::new(), None);
    while let Some(effect) = effects.pop() {
        match effect {
            AskEffect::Over(it) => over = Some(it),
            AskEffect::Ask { to, request } => {
                asked.push(to);
                let desk = desks.iter().find(|desk| desk.candidate().node == to).unwrap();
                let answer = match asked.len() {
                    1 => None,
                    2 => Some(CosignAnswer::Held("a letter".to_owned())),
                    3 => {
                        let mut other = Node::new("KE", 7, START, None);
                        other.lives(3, 1);
                        Some(Desk::new(desk.witness.member.as_str(), 33).answer(
                            START,
                            &other,
                            &other.request(0, START),
                        ))
                    }
                    _ => Some(desk.answer(START, &node, &request)),
                };
                effects.extend(asking.handle(START, AskInput::Answered { from: to, answer }, &node));
            }
        }
    }
    let over = over.unwrap();
    let why: Vec<_> = over.refused.iter().map(|(_, why)| *why).collect();
    assert_eq!(why, [Unproven::Silent, Unproven::Wrong, Unproven::Wrong]);
    assert_eq!((over.cosigned.len(), over.checkpoint.signatures.len()), (1, 2));
    assert_eq!(asking.due(), Some(START.after(WITNESS_RETRY)));
    let late = AskInput::Answered { from: desks[0].candidate().node, answer: None };
    assert!(asking.handle(START, late, &node).is_empty(), "nobody waits for it any more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a node asks in whatever order: what one witness cosigned of one journal is one past.
    #[test]
    fn what_a_witness_cosigned_of_a_journal_never_contradicts_itself(
        steps in prop::collection::vec((0_u64..2, 0_u64..12, 0_u64..14, any::<bool>()), 1..24),
    ) {
        let desk = Desk::new("FR", 9);
        let mut cosigned: Vec<(u64, TreeRoot)> = Vec::new();
        for (number, (story, count, old, honest)) in steps.into_iter().enumerate() {
            let mut node = Node::new("KE", 7, START, None);
            node.lives(count, story);
            let size = node.journal.stands().size;
            let held = desk.row(node.node()).last().map_or(0, |held| held.size);
            let old = if honest { held } else { old }.min(size);
            let at = later(number as u64);
            let request = node.request(old, at);
            if is_cosigned(&desk.judge(at, &node, &request)) {
                let stands = node.journal.stands();
                let before = node.leaves.clone();
                for (size, root) in &cosigned {
                    prop_assert!(*size <= stands.size);
                    prop_assert_eq!(proof::root(&node, *size), Ok(*root));
                }
                prop_assert_eq!(before.len() as u64, stands.size);
                cosigned.push((stands.size, stands.root));
            }
        }
    }
}
