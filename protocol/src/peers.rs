//! Rates, faults and penalties: what one key or one peer may cost everybody else.
//!
//! Too much is ignored and never penalised; only what is wrong in every state counts as a fault. Every
//! map is bounded, and a bound reached costs the least recent, never the caller.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    directory::header::ChainKey,
    evidence::AnyDocument,
    ids::{MemberCode, NodeKey},
    limits::{
        FAULT_INTERVAL, FAULT_PEERS_MAX, FAULT_RULES_MAX, FAULTS_PER_INTERVAL_MAX, INTAKE_BYTES_MAX,
        INTAKE_BYTES_PER_MINUTE, MEMBERS_MAX, PUSH_BURST, PUSH_EXCESS_MAX, PUSH_FORKS_MAX, PUSH_INTERVAL,
        PUSH_KEYS_MAX, REPAIR_BYTES_MAX,
    },
    membership::Trust,
    time::Timestamp,
};

/// How many pushed documents of each signing key are taken.
#[derive(Clone, Debug, Default)]
pub struct PushLimits {
    keys: BTreeMap<PushKey, Bucket>,
    forks: BTreeMap<ChainKey, Timestamp>,
}

/// Whose allowance a pushed document uses. Root keys and node keys are apart, so that a thief of the one
/// cannot silence the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PushKey {
    /// A member's root key, for key sets.
    Root([u8; 32]),
    /// A node key, for chain headers.
    Node([u8; 32]),
    /// A node key, for heads: they come regularly, and must not use up what its entry needs.
    Head([u8; 32]),
    /// The node that brings it. For settlements: nobody signs one, and anybody can put the same heads together anew. For
    /// charter versions beside a settled one: stewards' keys of long ago can sign them for ever.
    Bearer(NodeKey),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Pushes left.
    left: u32,
    /// Since when the next one is earned.
    since: Timestamp,
    /// Pushes refused since one was earned last.
    over: u32,
}

/// How many bytes of evidence the nodes of each member may bring by repair. A member's nodes have one account:
/// it can make as many node keys as it likes.
#[derive(Clone, Debug, Default)]
pub struct Intake {
    members: BTreeMap<MemberCode, Account>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    /// Bytes used up and not earned back, at `since`: at most [`INTAKE_BYTES_MAX`] and what one repair overdraws.
    used: u64,
    since: Timestamp,
}

/// What peers did that is wrong in every state.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    peers: BTreeMap<NodeKey, PeerFaults>,
}

/// One peer's faults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerFaults {
    rules: BTreeMap<&'static str, RuleFaults>,
    last: Timestamp,
    /// Since when faults are counted towards the cut, and how many.
    interval: (Timestamp, u64),
}

/// How often one rule was broken, and when that was told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RuleFaults {
    count: u64,
    untold: u64,
    told: Option<Timestamp>,
}

/// What follows from a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consequence {
    /// How many faults of this peer and rule are to be told now, this one included: one line a minute.
    pub told: Option<u64>,
    /// Whether the peer is to be cut off: no honest node breaks so many in a minute.
    pub cut: bool,
}

impl PushLimits {
    /// Whether a document that a node pushed is within its allowance, which it uses up. Charter versions that may be
    /// applied always are: stewards signed them together.
    pub fn allow(
        &mut self,
        document: &AnyDocument,
        from: Option<NodeKey>,
        trust: &Trust,
        now: Timestamp,
    ) -> bool {
        PushKey::of(document, from, trust).is_none_or(|key| self.allow_key(key, now))
    }

    /// Whether one more push of that key is within its allowance: one a minute after a burst of five.
    pub fn allow_key(&mut self, key: PushKey, now: Timestamp) -> bool {
        if self.keys.len() >= PUSH_KEYS_MAX && !self.keys.contains_key(&key) {
            // Whoever has been silent longest has its full burst again soonest.
            let silent = self.keys.iter().min_by_key(|(_, bucket)| bucket.since).map(|(key, _)| *key);
            silent.and_then(|key| self.keys.remove(&key));
        }
        let bucket = self.keys.entry(key).or_insert(Bucket { left: PUSH_BURST, since: now, over: 0 });
        bucket.refill(now);
        match bucket.left.checked_sub(1) {
            Some(left) => {
                if bucket.left == PUSH_BURST {
                    bucket.since = now;
                }
                bucket.left = left;
                true
            }
            None => {
                bucket.over = bucket.over.saturating_add(1);
                false
            }
        }
    }

    /// Whether so much of a document's signing key was refused lately that only a flood explains it.
    #[must_use]
    pub fn is_flooding(&self, document: &AnyDocument, trust: &Trust) -> bool {
        let key = PushKey::of(document, None, trust);
        key.and_then(|key| self.keys.get(&key)).is_some_and(|bucket| bucket.over > PUSH_EXCESS_MAX)
    }

    /// Whether a fork's proof may be pushed: one a chain and minute.
    pub fn allow_fork(&mut self, chain: ChainKey, now: Timestamp) -> bool {
        self.forks.retain(|_, last| now.since(*last) < PUSH_INTERVAL);
        if self.forks.contains_key(&chain) || self.forks.len() >= PUSH_FORKS_MAX {
            return false;
        }
        self.forks.insert(chain, now);
        true
    }
}

impl Intake {
    /// When a member's nodes may bring a whole frame: `now`, unless they brought too much.
    #[must_use]
    pub fn ready_at(&self, member: &MemberCode, now: Timestamp) -> Timestamp {
        let used = self.members.get(member).map_or(0, |account| account.used_at(now));
        let excess = (used + REPAIR_BYTES_MAX as u64).saturating_sub(INTAKE_BYTES_MAX);
        now.after(Duration::from_millis(excess.saturating_mul(60_000).div_ceil(INTAKE_BYTES_PER_MINUTE)))
    }

    /// Counts what a member's node brought, known or new.
    pub fn count(&mut self, member: &MemberCode, bytes: usize, now: Timestamp) {
        if self.members.len() >= INTAKE_MEMBERS_MAX && !self.members.contains_key(member) {
            // Whoever used least has its whole allowance again soonest.
            let least = self.members.iter().min_by_key(|(_, account)| account.used_at(now));
            let least = least.map(|(member, _)| member.clone());
            least.and_then(|member| self.members.remove(&member));
        }
        let account = self.members.entry(member.clone()).or_insert(Account { used: 0, since: now });
        *account = Account { used: account.used_at(now).saturating_add(bytes as u64), since: now };
    }
}

impl Account {
    fn used_at(&self, now: Timestamp) -> u64 {
        let millis = u64::try_from(now.since(self.since).as_millis()).unwrap_or(u64::MAX);
        self.used.saturating_sub(millis.saturating_mul(INTAKE_BYTES_PER_MINUTE) / 60_000)
    }
}

impl PushKey {
    /// Whose allowance a document uses that a node brings, `None` for charter versions that may be applied.
    #[must_use]
    pub fn of(document: &AnyDocument, from: Option<NodeKey>, trust: &Trust) -> Option<Self> {
        match document {
            AnyDocument::Charter(charter) => {
                from.filter(|_| trust.is_beside_settled(charter.payload())).map(Self::Bearer)
            }
            AnyDocument::Settlement(_) => from.map(Self::Bearer),
            AnyDocument::KeySet(document) => {
                let set = document.payload();
                let charter = trust.charter(&set.charter);
                let entry = charter.and_then(|charter| charter.payload().member(&set.member));
                // After a rotation it is the revealed root's: the one before must not silence it.
                let opening = set.named_opening().and_then(|opening| trust.key_set(&opening));
                let opening =
                    set.opening().or_else(|| opening.and_then(|opening| opening.payload().opening()));
                let root = opening.map(|opening| opening.root).or_else(|| entry.map(|entry| entry.root));
                let root = root.map(|root| *root.as_bytes());
                let signed = root.filter(|root| document.signers().contains(root));
                // What its root did not sign uses up another's allowance: that of whoever did.
                signed.or_else(|| document.signers().first().copied()).map(Self::Root)
            }
            AnyDocument::NodeRecord(document) => Some(Self::Node(*document.payload().0.node.as_bytes())),
            AnyDocument::ReferencePoint(document) => Some(Self::Node(*document.payload().0.node.as_bytes())),
        }
    }
}

impl Bucket {
    fn refill(&mut self, now: Timestamp) {
        while self.left < PUSH_BURST && now.since(self.since) >= PUSH_INTERVAL {
            self.left += 1;
            self.over = 0;
            self.since = self.since.after(PUSH_INTERVAL);
        }
        if self.left == PUSH_BURST {
            self.since = now;
        }
    }
}

impl Faults {
    /// Counts a broken rule against the peer that brought it, and says what follows.
    pub fn count(&mut self, peer: NodeKey, rule: &'static str, now: Timestamp) -> Consequence {
        if self.peers.len() >= FAULT_PEERS_MAX && !self.peers.contains_key(&peer) {
            let oldest = self.peers.iter().min_by_key(|(_, faults)| faults.last).map(|(peer, _)| *peer);
            oldest.and_then(|peer| self.peers.remove(&peer));
        }
        let faults = self.peers.entry(peer).or_default();
        faults.last = now;
        if now.since(faults.interval.0) >= FAULT_INTERVAL {
            faults.interval = (now, 0);
        }
        faults.interval.1 = faults.interval.1.saturating_add(1);
        let cut = faults.interval.1 >= FAULTS_PER_INTERVAL_MAX;
        if faults.rules.len() >= FAULT_RULES_MAX && !faults.rules.contains_key(rule) {
            return Consequence { told: None, cut };
        }
        let of_rule = faults.rules.entry(rule).or_default();
        of_rule.count = of_rule.count.saturating_add(1);
        of_rule.untold = of_rule.untold.saturating_add(1);
        let is_due = of_rule.told.is_none_or(|told| now.since(told) >= FAULT_INTERVAL);
        let told = is_due.then(|| std::mem::take(&mut of_rule.untold));
        if is_due {
            of_rule.told = Some(now);
        }
        Consequence { told, cut }
    }

    /// Begins to count anew towards the cut: the peer was cut off.
    pub fn cut(&mut self, peer: &NodeKey) {
        if let Some(faults) = self.peers.get_mut(peer) {
            faults.interval.1 = 0;
        }
    }

    /// What a peer did, `None` if nothing.
    #[must_use]
    pub fn of(&self, peer: &NodeKey) -> Option<&PeerFaults> {
        self.peers.get(peer)
    }
}

impl PeerFaults {
    /// How often each rule was broken, by its id in VALIDATION.md.
    pub fn by_rule(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.rules.iter().map(|(rule, faults)| (*rule, faults.count))
    }

    /// How often any rule was broken.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.rules.values().fold(0, |sum, faults| sum.saturating_add(faults.count))
    }

    /// When the last fault was seen.
    #[must_use]
    pub const fn last(&self) -> Timestamp {
        self.last
    }
}

/// Members whose intake is counted: those of a charter, and as many that left it.
const INTAKE_MEMBERS_MAX: usize = 2 * MEMBERS_MAX;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::{
        directory::header::ChainKind,
        ids::{Incarnation, KeySetId, NodeKey},
        membership::charter::Charter,
        testing::{Federation, chains::IntoAny as _},
    };
    use std::sync::Arc;

    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    #[test]
    fn a_key_has_a_burst_and_then_one_push_a_minute() {
        let mut limits = PushLimits::default();
        let key = PushKey::Node([1; 32]);
        let taken = (0..10).filter(|_| limits.allow_key(key, NOW)).count();
        assert_eq!(taken, PUSH_BURST as usize);
        assert!(!limits.allow_key(key, NOW.after(PUSH_INTERVAL / 2)));
        assert!(limits.allow_key(key, NOW.after(PUSH_INTERVAL)));
        assert!(!limits.allow_key(key, NOW.after(PUSH_INTERVAL)));
        let taken = (0..10).filter(|_| limits.allow_key(key, NOW.after(PUSH_INTERVAL * 60))).count();
        assert_eq!(taken, PUSH_BURST as usize);
    }

    #[test]
    fn what_stands_beside_a_settled_version_uses_its_bearers_allowance_and_so_do_settlements() {
        let federation = Federation::new(1, &["BR", "FR", "KE", "SG"], 1);
        let signers = [&federation.unit("BR").root, &federation.unit("FR").root];
        let version = |parent, incarnation| {
            let change = |charter: &mut Charter| charter.members[3].incarnation = Incarnation(incarnation);
            federation.successor(&[parent], change, &signers)
        };
        let second = version(&federation.founding, 0);
        let mut trust = federation.trust();
        trust.accept_charter(Arc::clone(&second)).unwrap();
        let mut limits = PushLimits::default();
        let from = Some(NodeKey::from_bytes([1; 32]));
        let mut taken = |trust: &Trust, documents: &[AnyDocument]| {
            documents.iter().filter(|document| limits.allow(document, from, trust, NOW)).count()
        };
        let beside = (1..=10).map(|number| version(&federation.founding, number).any()).collect::<Vec<_>>();
        let after = (1..=10).map(|number| version(&second, number).any()).collect::<Vec<_>>();
        assert_eq!(taken(&trust, &beside), 10, "nothing is settled yet");
        let heads = ["BR", "FR", "KE", "SG"].map(|code| federation.head(code, 0, &[&second]));
        let certificate = Arc::new(trust.settle(&heads).unwrap().unwrap());
        trust.accept_settlement(Arc::clone(&certificate)).unwrap();
        assert_eq!(taken(&trust, &after), 10);
        assert_eq!(taken(&trust, &beside), PUSH_BURST as usize);
        assert_eq!(taken(&trust, &[AnyDocument::Settlement(Arc::clone(&certificate))]), 0);
        let mut limits = PushLimits::default();
        let settlement = AnyDocument::Settlement(certificate);
        let taken = (0..10).filter(|_| limits.allow(&settlement, from, &trust, NOW)).count();
        assert_eq!(taken, PUSH_BURST as usize);
    }

    #[test]
    fn a_root_key_and_a_node_key_do_not_silence_each_other() {
        let mut limits = PushLimits::default();
        while limits.allow_key(PushKey::Node([1; 32]), NOW) {}
        assert!(limits.allow_key(PushKey::Root([1; 32]), NOW));
        assert!(limits.allow_key(PushKey::Node([2; 32]), NOW));
    }

    #[test]
    fn one_fork_proof_a_chain_and_minute() {
        let mut limits = PushLimits::default();
        let chain = |kind| ChainKey {
            node: NodeKey::from_bytes([1; 32]),
            key_set: KeySetId::from_bytes([2; 32]),
            kind,
        };
        assert!(limits.allow_fork(chain(ChainKind::NodeRecord), NOW));
        assert!(!limits.allow_fork(chain(ChainKind::NodeRecord), NOW));
        assert!(limits.allow_fork(chain(ChainKind::ReferencePoint), NOW));
        assert!(limits.allow_fork(chain(ChainKind::NodeRecord), NOW.after(PUSH_INTERVAL)));
    }

    #[test]
    fn maps_of_keys_and_peers_stay_within_their_bounds() {
        let mut limits = PushLimits::default();
        let mut faults = Faults::default();
        for index in 0..(PUSH_KEYS_MAX + 10) as u64 {
            let mut key = [0; 32];
            key[..8].copy_from_slice(&index.to_be_bytes());
            let now = Timestamp::from_millis(NOW.as_millis() + index);
            limits.allow_key(PushKey::Node(key), now);
            faults.count(NodeKey::from_bytes(key), "HD-01", now);
        }
        assert_eq!(limits.keys.len(), PUSH_KEYS_MAX);
        assert_eq!(faults.peers.len(), FAULT_PEERS_MAX);
        assert!(faults.of(&NodeKey::from_bytes([0; 32])).is_none(), "the oldest makes room");
    }

    #[test]
    fn a_flood_of_faults_is_one_line_a_rule_and_minute_and_ends_in_a_cut() {
        let mut faults = Faults::default();
        let peer = NodeKey::from_bytes([7; 32]);
        let mut flood = |now| (0..30_000).map(|_| faults.count(peer, "DO-04", now)).collect::<Vec<_>>();
        let first = flood(NOW);
        let told = |all: &[Consequence]| all.iter().filter_map(|it| it.told).collect::<Vec<_>>();
        assert_eq!(told(&first), [1]);
        let before_the_cut = first.iter().take_while(|it| !it.cut).count() as u64;
        assert_eq!(before_the_cut, FAULTS_PER_INTERVAL_MAX - 1);
        assert_eq!(told(&flood(NOW.after(FAULT_INTERVAL))), [30_000], "the rest is told with the next");
        assert_eq!(faults.count(peer, "HD-05", NOW.after(FAULT_INTERVAL)).told, Some(1));
        faults.cut(&peer);
        assert!(!faults.count(peer, "DO-04", NOW.after(FAULT_INTERVAL)).cut, "a new connection begins anew");
    }

    #[test]
    fn a_fault_now_and_then_cuts_nobody_off() {
        let mut faults = Faults::default();
        let peer = NodeKey::from_bytes([7; 32]);
        for minute in 0..1_000 {
            let now = NOW.after(FAULT_INTERVAL * minute);
            assert!((0..20).all(|_| !faults.count(peer, "HD-05", now).cut));
        }
    }

    #[test]
    fn faults_are_counted_by_rule() {
        let mut faults = Faults::default();
        let peer = NodeKey::from_bytes([7; 32]);
        faults.count(peer, "HD-05", NOW);
        faults.count(peer, "HD-05", NOW);
        faults.count(peer, "DO-03", NOW);
        assert_eq!(faults.of(&peer).unwrap().total(), 3);
        let by_rule: Vec<_> = faults.of(&peer).unwrap().by_rule().collect();
        assert_eq!(by_rule, vec![("DO-03", 1), ("HD-05", 2)]);
    }

    #[test]
    fn a_member_brings_a_burst_and_then_what_it_earns() {
        let (mut intake, start) = (Intake::default(), Timestamp::from_millis(1_000));
        let (br, ke) = ("BR".parse().unwrap(), "KE".parse().unwrap());
        let mut frames = 0;
        while intake.ready_at(&br, start) == start {
            intake.count(&br, REPAIR_BYTES_MAX, start);
            frames += 1;
        }
        assert_eq!(frames, INTAKE_BYTES_MAX / REPAIR_BYTES_MAX as u64);
        assert_eq!(intake.ready_at(&ke, start), start, "another's account is its own");
        let frame = Duration::from_secs(60) * (REPAIR_BYTES_MAX as u64 / INTAKE_BYTES_PER_MINUTE) as u32;
        assert_eq!(intake.ready_at(&br, start), start.after(frame));
        assert_eq!(intake.ready_at(&br, start.after(frame)), start.after(frame));
        let (week, day) = (start.after(Duration::from_secs(7 * 86_400)), Duration::from_secs(86_400));
        intake.count(&br, REPAIR_BYTES_MAX, week);
        assert_eq!(intake.ready_at(&br, week), week, "earned back in full, and no more");
        intake.count(&br, usize::try_from(INTAKE_BYTES_MAX).unwrap(), week);
        assert!(intake.ready_at(&br, week) < week.after(day));
    }

    #[test]
    fn the_accounts_are_bounded_and_the_heaviest_stays() {
        let (mut intake, now) = (Intake::default(), Timestamp::from_millis(1_000));
        let flood = "BR".parse().unwrap();
        intake.count(&flood, usize::try_from(INTAKE_BYTES_MAX).unwrap(), now);
        for number in 0..INTAKE_MEMBERS_MAX + 10 {
            intake.count(&format!("X-N{number}").parse().unwrap(), 1, now);
        }
        assert_eq!(intake.members.len(), INTAKE_MEMBERS_MAX);
        assert!(intake.ready_at(&flood, now) > now);
    }
}
