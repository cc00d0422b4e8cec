//! A relay machine at a desk: four nodes of four members, a directory, a disk and a pool, driven by a target's bytes.
//!
//! It carries out what the machine orders, at once and in order, and looks at what must hold whatever comes in:
//! nothing is said that is not stored, nothing in custody is dropped without a reason, and a start reads back all.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, LazyLock},
    time::Duration,
};

use refpoint_protocol::{
    crypto::{OpenedSeed, SealingSeed},
    directory::node_record::SealingKeyEntry,
    document::{Verified, encode, sign},
    ids::{CharterVersion, FederationId, MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::{PARCEL_BYTES_MAX, RELAY_FRAME_BYTES_MAX},
    relay::{
        Relay, RelayConfig,
        book::{Book, MemberStatus, SignerStanding},
        event::RelayEvent,
        exchange::{ContentSource, Job, Outgoing, RelayEffect, RelayInput},
        frame::RelayFrame,
        receipt::{Receipt, ReceiptWord, RefusalReason},
        rows::{
            CustodyKey, decode_custody_parcel, decode_outbox_content, decode_statement_content, statement_key,
        },
        sealing::{SealError, compose, label, open, seal},
    },
    storage::{Change, Table},
    testing,
    time::Timestamp,
};

/// The federation in which everything is signed.
pub(crate) const FEDERATION: FederationId = FederationId::from_bytes([0xFE; 32]);

/// When a run begins.
pub(crate) const START: Timestamp = Timestamp::from_millis(1_760_000_000_000);

/// The members, one node each; the first one's sits at the desk.
pub(crate) const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

/// One member with its node.
pub(crate) struct Seat {
    pub(crate) member: MemberCode,
    pub(crate) signing: Key,
    pub(crate) key: NodeKey,
    pub(crate) seed: OpenedSeed,
    pub(crate) sealing: SealingKeyEntry,
}

type Key = ed25519_dalek::SigningKey;

/// Who there is.
pub(crate) static SEATS: LazyLock<[Seat; 4]> = LazyLock::new(|| {
    CODES.map(|code| {
        let signing = testing::key(1, code, 0);
        let key = testing::node_key(&signing);
        let seed = SealingSeed::from_bytes(*key.as_bytes()).expand();
        let sealing = seed.entry(START, Timestamp::MAX);
        Seat { member: MemberCode::new(code).expect("a code"), signing, key, seed, sealing }
    })
});

/// A target's bytes, read as choices; zeros follow their end.
pub(crate) struct Choices<'a>(pub(crate) &'a [u8]);

impl Choices<'_> {
    pub(crate) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::from(self.byte()) % bound
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        *of.get(self.below(of.len())).expect("it is below the length")
    }

    /// Another node than the one at the desk.
    pub(crate) fn peer(&mut self) -> &'static Seat {
        let at = 1 + self.below(SEATS.len() - 1);
        SEATS.get(at).expect("it is below the length")
    }

    pub(crate) fn seat(&mut self) -> &'static Seat {
        let at = self.below(SEATS.len());
        SEATS.get(at).expect("it is below the length")
    }
}

/// The node at the desk.
pub(crate) struct Desk {
    pub(crate) now: Timestamp,
    pub(crate) disk: BTreeMap<(Table, Vec<u8>), Vec<u8>>,
    pub(crate) disk_is_full: bool,
    pub(crate) directory: Directory,
    pub(crate) events: Vec<RelayEvent>,
    /// Frames that it sent since they were looked at last.
    pub(crate) sent: Vec<(NodeKey, Outgoing)>,
    /// What a recipient's node has signed a lasting answer about, and was handed in.
    pub(crate) answered: BTreeSet<(MessageId, NodeKey)>,
    relay: Relay,
    drawn: u8,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let mut desk = Self {
            now: START,
            disk: BTreeMap::new(),
            disk_is_full: false,
            directory: Directory::default(),
            events: Vec::new(),
            sent: Vec::new(),
            answered: BTreeSet::new(),
            relay: Relay::new(config()),
            drawn: 0,
        };
        desk.restart();
        desk
    }

    /// Hands something to the machine and carries out what it orders, with all that follows at once.
    pub(crate) fn input(&mut self, input: RelayInput) {
        let mut inputs = VecDeque::from([input]);
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "it does not come to rest");
            let Some(input) = inputs.pop_front() else { return };
            let effects = self.relay.handle(self.now, input, &self.directory);
            self.carry_out(effects, &mut inputs);
        }
    }

    /// Lets time pass; what is due comes when it is over.
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        for round in 0.. {
            assert!(round < ROUNDS_MAX, "it wants to be woken without end");
            let due = self.relay.next_wakeup().is_some_and(|(at, _)| at <= self.now);
            if !due {
                return;
            }
            self.input(RelayInput::Woke);
        }
    }

    /// Dies, and starts from its disk.
    pub(crate) fn restart(&mut self) {
        let rows: Vec<_> = self.disk.iter().map(|((at, key), row)| (*at, key.clone(), row.clone())).collect();
        let restored = Relay::restore(config(), self.now, &self.directory, rows);
        assert!(restored.damaged.is_empty(), "what it stored it does not read back: {:?}", restored.damaged);
        self.relay = restored.relay;
        let mut inputs = VecDeque::new();
        self.carry_out(restored.effects, &mut inputs);
        inputs.into_iter().for_each(|input| self.input(input));
    }

    pub(crate) fn stored(&self, table: Table) -> impl Iterator<Item = &Vec<u8>> {
        self.disk.keys().filter(move |(at, _)| *at == table).map(|(_, key)| key)
    }

    fn carry_out(&mut self, effects: Vec<RelayEffect>, inputs: &mut VecDeque<RelayInput>) {
        for effect in effects {
            match effect {
                RelayEffect::Persist { ticket: Some(ticket), .. } if self.disk_is_full => {
                    inputs.push_back(RelayInput::StorageRefused { ticket });
                    // As the contract has it: nothing is said of a batch whose write was refused.
                    return;
                }
                RelayEffect::Persist { changes, .. } => changes.into_iter().for_each(|it| self.store(it)),
                RelayEffect::Send { to, frame, .. } => self.send(to, frame),
                RelayEffect::Work(job) => inputs.push_back(self.work(job)),
                RelayEffect::Emit(event) => self.events.push(event),
                RelayEffect::FetchKeySet { .. } | RelayEffect::Fault { .. } => {}
            }
        }
    }

    fn store(&mut self, Change { table, key, value }: Change) {
        let place = (table, key);
        match value {
            Some(value) => drop(self.disk.insert(place, value)),
            None => {
                if let (Table::CustodyParcels, Some(row)) = (table, self.disk.remove(&place)) {
                    let label = decode_custody_parcel(&row).expect("what it stored decodes").label;
                    let answered = self.answered.contains(&(label.message, label.node));
                    assert!(answered || self.now >= label.expires, "custody dropped without a reason");
                }
            }
        }
    }

    fn send(&mut self, to: NodeKey, frame: Outgoing) {
        if let Outgoing::Receipt(Receipt { message, node, word, .. }) = &frame {
            let says =
                |table, key| assert!(self.disk.contains_key(&(table, key)), "said before it is stored");
            match word {
                ReceiptWord::Delivered => says(Table::MessageIds, message.as_bytes().to_vec()),
                ReceiptWord::Custody => {
                    let key = CustodyKey { hander: to, message: *message, node: *node };
                    says(Table::CustodyParcels, key.to_bytes().to_vec());
                }
                ReceiptWord::Reseal | ReceiptWord::Refused => {}
            }
        }
        let own = own();
        let bytes = |frame: &RelayFrame| encode(frame).expect("what it sends encodes").len();
        let kept = frame.clone();
        let frame = frame.into_frame(|receipt| sign(receipt, Some(FEDERATION), &[&own.signing]));
        let frame = frame.expect("its receipts are in form");
        let parcel = matches!(frame, RelayFrame::Parcel(_));
        let bound = if parcel { PARCEL_BYTES_MAX } else { RELAY_FRAME_BYTES_MAX };
        assert!(bytes(&frame) <= bound, "a frame beyond its bound");
        self.sent.push((to, kept));
    }

    fn work(&mut self, job: Job) -> RelayInput {
        self.drawn = self.drawn.wrapping_add(1);
        let own = own();
        match job {
            Job::Compose { ticket, draft, created } => {
                let random = [self.drawn; 56];
                let result = compose(&draft, &own.member, FEDERATION, &own.signing, created, &random);
                RelayInput::Composed { ticket, result }
            }
            Job::Seal { ticket, content, label, key } => {
                let content = match content {
                    ContentSource::AtHand(content) => Some(content),
                    ContentSource::Stored(message) => {
                        let place = (Table::OutboxContent, message.as_bytes().to_vec());
                        let row = self.disk.get(&place);
                        row.map(|row| Arc::new(decode_outbox_content(row).expect("what it stored decodes")))
                    }
                };
                let content = content.ok_or(SealError::NoContent);
                let seal = |content: Arc<_>| seal(&content, label, &key, &[self.drawn; 64]).map(Box::new);
                RelayInput::Sealed { ticket, result: content.and_then(seal) }
            }
            Job::SealStatement { ticket, answers, statement, member, node, key, .. } => {
                let row = self.disk.get(&(Table::Statements, statement_key(answers, statement)));
                let content = row.and_then(|row| {
                    decode_statement_content(row, FEDERATION).expect("what it stored decodes")
                });
                let seal = |content| {
                    seal(&content, label(&content, member, node), &key, &[self.drawn; 64]).map(Box::new)
                };
                RelayInput::Sealed { ticket, result: content.ok_or(SealError::NoContent).and_then(seal) }
            }
            Job::Open { ticket, parcel } => {
                let seed = (own.seed.id() == parcel.sealing_key).then_some(&own.seed);
                let result = open(&parcel, seed, FEDERATION, &own.member, &own.key).map(Box::new);
                RelayInput::Opened { ticket, result }
            }
            Job::Load { ticket, key, .. } => {
                let row = self.disk.get(&(Table::CustodyParcels, key.to_bytes().to_vec()));
                let parcel =
                    row.map(|row| Box::new(decode_custody_parcel(row).expect("what it stored decodes")));
                RelayInput::Loaded { ticket, parcel }
            }
        }
    }
}

/// A receipt as a choice makes it: any word by any signer about any node.
pub(crate) fn receipt(message: MessageId, choices: &mut Choices<'_>) -> (Verified<Receipt>, &'static Seat) {
    let (about, signer) = (choices.seat(), choices.seat());
    let member = if choices.byte() == 1 { &signer.member } else { &about.member };
    let word = choices.pick(&[
        ReceiptWord::Delivered,
        ReceiptWord::Custody,
        ReceiptWord::Refused,
        ReceiptWord::Reseal,
    ]);
    let reason = choices.pick(&[
        RefusalReason::NoRoom,
        RefusalReason::Invalid,
        RefusalReason::Expired,
        RefusalReason::Lost,
        RefusalReason::Quota,
        RefusalReason::Suspended,
    ]);
    let key = choices.pick(&[None, Some(SealingKeyId::from_bytes([3; 32]))]);
    let receipt = Receipt {
        message,
        member: member.clone(),
        node: about.key,
        word,
        at: START,
        reason: (word == ReceiptWord::Refused).then_some(reason),
        sealing_key: key.filter(|_| word == ReceiptWord::Reseal),
    };
    let verified = testing::verified(&receipt, FEDERATION, &[&signer.signing]);
    (Verified::clone(&verified), signer)
}

/// The seat of the node at the desk.
pub(crate) fn own() -> &'static Seat {
    SEATS.first().expect("there are four")
}

fn config() -> RelayConfig {
    let own = own();
    RelayConfig { member: own.member.clone(), node: own.key, seed: [5; 32] }
}

/// What the machine may ask of the directory.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) suspended: Option<MemberCode>,
    /// A node whose key has ended.
    pub(crate) retired: Option<NodeKey>,
    pub(crate) clock_is_wrong: bool,
}

impl Book for Directory {
    fn member_status(&self, member: &MemberCode) -> MemberStatus {
        let known = SEATS.iter().any(|seat| seat.member == *member);
        match &self.suspended {
            Some(suspended) if suspended == member => MemberStatus::Suspended(CharterVersion(2)),
            _ if known => MemberStatus::Active,
            _ => MemberStatus::Unknown,
        }
    }

    fn active_nodes(&self, member: &MemberCode) -> Vec<NodeKey> {
        let of = SEATS.iter().filter(|seat| seat.member == *member && self.retired != Some(seat.key));
        of.map(|seat| seat.key).collect()
    }

    fn lists(&self, member: &MemberCode, node: &NodeKey) -> bool {
        SEATS.iter().any(|seat| seat.member == *member && seat.key == *node)
    }

    fn sealing_key(&self, member: &MemberCode, node: &NodeKey, _: Timestamp) -> Option<SealingKeyEntry> {
        let seat = SEATS.iter().find(|seat| seat.member == *member && seat.key == *node);
        seat.map(|seat| seat.sealing.clone())
    }

    fn signer_standing(&self, member: &MemberCode, signer: &NodeKey) -> SignerStanding {
        match self.lists(member, signer) {
            true if self.retired == Some(*signer) => SignerStanding::Retired(START),
            true => SignerStanding::Active,
            false => SignerStanding::Unknown,
        }
    }

    fn applies_expiry(&self) -> bool {
        !self.clock_is_wrong
    }
}

/// What one input may lead to, at most.
const ROUNDS_MAX: usize = 100_000;
