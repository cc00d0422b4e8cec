//! One chain as evidence: which header stands at which sequence, and the lowest known fork.
//!
//! The state is a function of the set of headers that came, in whatever order. At each sequence a set
//! of ids is *said*: the id of a header there, and the id that a header one further names as its
//! predecessor. The fork is the lowest sequence at which two ids are said. Below it every header that
//! came is held; at it, two headers that prove it; above it nothing. Gaps are allowed and hide nothing.
//! Envelopes and bodies lie in storage; here is, for each header, what a view needs of it.

use std::collections::BTreeMap;

use super::header::{ChainKey, SignedHeader};
use crate::{
    evidence::repair::Position,
    ids::{ContentHash, HeaderId, Sequence},
    limits::BODIES_PER_CHAIN_MAX,
    time::Timestamp,
};

/// The headers of one chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    links: BTreeMap<Sequence, Link>,
    /// Links whose header is held.
    held: u64,
    bodies: Vec<BodyRef>,
    fork: Option<Fork>,
}

/// What a view needs of a header that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderInfo {
    /// The header's document id.
    pub id: HeaderId,
    /// Its place in the chain.
    pub sequence: Sequence,
    /// When its node says that it signed it.
    pub issued: Timestamp,
    /// Until when it should count as fresh.
    pub fresh_until: Timestamp,
    /// The body that it names.
    pub body: BodyRef,
}

/// The body that a header names: bytes are it only if both match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BodyRef {
    /// SHA-256 of the bytes.
    pub hash: ContentHash,
    /// How many they are.
    pub length: u64,
}

/// The lowest known fork of a chain, with two headers that prove it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fork {
    /// The sequence at which two ids are said.
    pub sequence: Sequence,
    /// Two headers at that sequence or one further that say different ids.
    pub proof: [ForkHeader; 2],
}

/// One half of a fork's proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ForkHeader {
    /// The header.
    pub id: HeaderId,
    /// The id that it says to stand at the fork's sequence: its own, or its predecessor's.
    pub says: HeaderId,
}

/// What became of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChainAcceptance {
    /// Held now.
    New,
    /// Held already.
    Known,
    /// At or above the lowest known fork, of which proof is held: not kept.
    AboveFork,
    /// It proves a fork, or a lower one than was known. `dropped` are no longer held by the chain.
    Forked {
        /// The fork.
        fork: Fork,
        /// Headers above the fork that were held; none of the proof is among them.
        dropped: Vec<HeaderId>,
    },
}

/// The id said at one sequence, and the rest if the header itself is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Link {
    id: HeaderId,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Held {
    issued: Timestamp,
    fresh_until: Timestamp,
    /// Index into the chain's bodies.
    body: u16,
}

impl Chain {
    /// Takes a header in. Whether it belongs to this chain, and its form, were checked before.
    pub fn accept(&mut self, signed: &SignedHeader) -> ChainAcceptance {
        let (id, header) = (signed.id, &signed.header);
        let sequence = header.sequence;
        if self.holds(sequence, id) {
            return ChainAcceptance::Known;
        }
        let below =
            sequence.0.checked_sub(1).map(|below| (Sequence(below), HeaderId::from(header.predecessor)));
        // The lower of the two things that it says first: the fork is the lowest.
        for (place, says) in below.into_iter().chain([(sequence, id)]) {
            if self.is_below_fork(place)
                && let Some(link) = self.links.get(&place)
                && link.id != says
                && let Some(witness) = self.witness(place)
            {
                return self.fork_at(place, [witness, ForkHeader { id, says }], below);
            }
        }
        if self.is_below_fork(sequence) {
            let body = self.body_index(sequence, BodyRef { hash: header.body, length: header.length });
            let held = Some(Held { issued: header.issued, fresh_until: header.fresh_until, body });
            self.links.insert(sequence, Link { id, held });
            self.held += 1;
            self.imply(below);
            return ChainAcceptance::New;
        }
        self.improve_proof(sequence, id, below)
    }

    /// Whether a header is held, as part of the chain or of its fork's proof.
    #[must_use]
    pub fn holds(&self, sequence: Sequence, id: HeaderId) -> bool {
        let link = self.links.get(&sequence).is_some_and(|link| link.id == id && link.held.is_some());
        link || self.fork.is_some_and(|fork| fork.proof.iter().any(|half| half.id == id))
    }

    /// The newest header below the lowest known fork.
    #[must_use]
    pub fn newest(&self) -> Option<HeaderInfo> {
        self.newest_first().next()
    }

    /// Held headers below the lowest known fork, from the newest down.
    pub fn newest_first(&self) -> impl Iterator<Item = HeaderInfo> {
        self.links.iter().rev().filter_map(|(sequence, link)| self.info(*sequence, link))
    }

    /// Held headers from `from` to `to`, both included, oldest first.
    pub fn between(&self, from: Sequence, to: Sequence) -> impl Iterator<Item = HeaderInfo> {
        let range = if from <= to { Some(self.links.range(from..=to)) } else { None };
        range.into_iter().flatten().filter_map(|(sequence, link)| self.info(*sequence, link))
    }

    /// The header of that id, if it is held below the lowest known fork.
    #[must_use]
    pub fn find(&self, id: HeaderId) -> Option<HeaderInfo> {
        self.links.iter().rev().find(|(_, link)| link.id == id).and_then(|(at, link)| self.info(*at, link))
    }

    /// The lowest known fork.
    #[must_use]
    pub const fn fork(&self) -> Option<Fork> {
        self.fork
    }

    /// Ranges of sequences, both ends included, whose headers exist and are not held; at most `max`.
    #[must_use]
    pub fn gaps(&self, max: usize) -> Vec<(Sequence, Sequence)> {
        let end = self.fork.map(|fork| fork.sequence).or_else(|| self.newest().map(|newest| newest.sequence));
        let Some(end) = end else { return Vec::new() };
        let held = self.links.iter().filter(|(_, link)| link.held.is_some()).map(|(sequence, _)| sequence.0);
        let mut gaps = Vec::new();
        let mut next = 0;
        for sequence in held.chain([end.0]) {
            if gaps.len() == max {
                break;
            }
            if sequence > next {
                gaps.push((Sequence(next), Sequence(sequence - 1)));
            }
            next = sequence.saturating_add(1);
        }
        gaps
    }

    /// Whether headers below the newest, or below the fork, are missing.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        let end = self.fork.map(|fork| fork.sequence.0);
        let end = end.or_else(|| self.newest().map(|newest| newest.sequence.0 + 1));
        end.is_some_and(|end| self.held < end)
    }

    /// Where the chain stands: the same on every node with the same headers, whichever proof it holds.
    #[must_use]
    pub fn position(&self, key: ChainKey) -> Option<Position> {
        match self.fork {
            Some(fork) => Some(Position::Forked(key, fork.sequence)),
            None => self.newest().map(|newest| Position::Newest(key, newest.sequence, newest.id)),
        }
    }

    /// The bodies to keep: the newest header's and those of older ones, each once, within the policy.
    #[must_use]
    pub fn recent_bodies(&self) -> Vec<BodyRef> {
        let mut recent: Vec<BodyRef> = Vec::new();
        for info in self.newest_first() {
            if recent.len() == BODIES_PER_CHAIN_MAX {
                break;
            }
            if !recent.contains(&info.body) {
                recent.push(info.body);
            }
        }
        recent
    }

    fn is_below_fork(&self, sequence: Sequence) -> bool {
        self.fork.is_none_or(|fork| sequence < fork.sequence)
    }

    fn info(&self, sequence: Sequence, link: &Link) -> Option<HeaderInfo> {
        let Held { issued, fresh_until, body } = link.held?;
        let body = *self.bodies.get(usize::from(body))?;
        Some(HeaderInfo { id: link.id, sequence, issued, fresh_until, body })
    }

    /// A held header that says the id known at `place`: the one there, or the one after that names it.
    fn witness(&self, place: Sequence) -> Option<ForkHeader> {
        let link = self.links.get(&place)?;
        if link.held.is_some() {
            return Some(ForkHeader { id: link.id, says: link.id });
        }
        let after = place.next()?;
        let held = self.links.get(&after).filter(|link| link.held.is_some()).map(|link| link.id);
        // Directly below a fork the one after may be half of the proof: the half that stands there itself.
        let proof = || {
            let fork = self.fork.filter(|fork| fork.sequence == after)?;
            fork.proof.iter().find(|half| half.id == half.says).map(|half| half.id)
        };
        held.or_else(proof).map(|id| ForkHeader { id, says: link.id })
    }

    fn fork_at(
        &mut self,
        sequence: Sequence,
        proof: [ForkHeader; 2],
        below: Option<(Sequence, HeaderId)>,
    ) -> ChainAcceptance {
        let fork = Fork { sequence, proof };
        let above = self.links.split_off(&sequence);
        let held: Vec<HeaderId> =
            above.values().filter(|link| link.held.is_some()).map(|link| link.id).collect();
        self.held -= held.len() as u64;
        let old = self.fork.into_iter().flat_map(|fork| fork.proof).map(|half| half.id);
        let proves = |id: &HeaderId| proof.iter().any(|half| half.id == *id);
        let dropped = held.into_iter().chain(old).filter(|id| !proves(id)).collect();
        self.fork = Some(fork);
        self.imply(below.filter(|(place, _)| *place < sequence));
        ChainAcceptance::Forked { fork, dropped }
    }

    /// A header exactly at the fork can be the first to say what stands below it. Then it becomes half
    /// of the proof, so that a lower fork is found whatever comes in which order.
    fn improve_proof(
        &mut self,
        sequence: Sequence,
        id: HeaderId,
        below: Option<(Sequence, HeaderId)>,
    ) -> ChainAcceptance {
        let says_more = below.is_some_and(|(place, _)| !self.links.contains_key(&place));
        let Some(fork) = self.fork.as_mut().filter(|fork| fork.sequence == sequence && says_more) else {
            return ChainAcceptance::AboveFork;
        };
        let Some(other) = fork.proof.into_iter().find(|half| half.says != id) else {
            return ChainAcceptance::AboveFork;
        };
        fork.proof = [other, ForkHeader { id, says: id }];
        self.imply(below);
        ChainAcceptance::New
    }

    fn imply(&mut self, below: Option<(Sequence, HeaderId)>) {
        if let Some((place, id)) = below {
            self.links.entry(place).or_insert(Link { id, held: None });
        }
    }

    /// The index of a body; renewals share that of their neighbour.
    fn body_index(&mut self, sequence: Sequence, body: BodyRef) -> u16 {
        let before = self.links.range(..sequence).next_back();
        let after = self.links.range(sequence..).next();
        let mut neighbours = before.into_iter().chain(after).filter_map(|(_, link)| link.held);
        let shared = neighbours.find(|held| self.bodies.get(usize::from(held.body)) == Some(&body));
        if let Some(held) = shared {
            return held.body;
        }
        // A chain holds at most CHAIN_LENGTH_MAX headers, and no sequence is taken twice.
        let index = u16::try_from(self.bodies.len()).unwrap_or(u16::MAX);
        debug_assert!(index < u16::MAX, "more bodies than headers");
        self.bodies.push(body);
        index
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        directory::header::{ChainKind, Header},
        ids::{DocumentId, KeySetId, MemberCode, NodeKey},
    };

    /// A header whose id is made up from its content; `salt` tells twins apart.
    fn header(sequence: u64, predecessor: HeaderId, salt: u8) -> SignedHeader {
        use sha2::Digest;
        let mut hasher = sha2::Sha256::new();
        hasher.update(predecessor.as_bytes());
        hasher.update([sequence as u8, salt]);
        let id: [u8; 32] = hasher.finalize().into();
        let header = Header {
            member: MemberCode::new("KE").unwrap(),
            node: NodeKey::from_bytes([1; 32]),
            key_set: KeySetId::from_bytes([2; 32]),
            sequence: Sequence(sequence),
            predecessor: DocumentId::from(predecessor),
            issued: Timestamp::from_millis(1_000 + sequence),
            fresh_until: Timestamp::from_millis(2_000 + sequence),
            body: ContentHash::from_bytes([salt; 32]),
            length: 100,
        };
        SignedHeader { id: HeaderId::from_bytes(id), kind: ChainKind::NodeRecord, header }
    }

    fn run(length: u64) -> Vec<SignedHeader> {
        let mut predecessor = HeaderId::from_bytes([2; 32]);
        (0..length)
            .map(|sequence| {
                let next = header(sequence, predecessor, 0);
                predecessor = next.id;
                next
            })
            .collect()
    }

    fn chain_of(headers: &[SignedHeader]) -> Chain {
        let mut chain = Chain::default();
        headers.iter().for_each(|header| drop(chain.accept(header)));
        chain
    }

    #[test]
    fn a_gap_hides_nothing_and_is_named() {
        let headers = run(6);
        let chain = chain_of(&[headers[0].clone(), headers[2].clone(), headers[5].clone()]);
        assert_eq!(chain.newest().unwrap().id, headers[5].id);
        assert_eq!(chain.gaps(9), vec![(Sequence(1), Sequence(1)), (Sequence(3), Sequence(4))]);
        assert!(chain.has_gaps() && !chain_of(&headers).has_gaps());
        assert_eq!(chain_of(&headers).gaps(9), vec![]);
    }

    #[test]
    fn two_headers_at_one_sequence_fork_and_the_view_steps_back() {
        let headers = run(4);
        let twin = header(2, headers[1].id, 7);
        let mut chain = chain_of(&headers);
        let ChainAcceptance::Forked { fork, dropped } = chain.accept(&twin) else { panic!("no fork") };
        assert_eq!(fork.sequence, Sequence(2));
        assert_eq!(dropped, vec![headers[3].id]);
        assert_eq!(chain.newest().unwrap().id, headers[1].id);
        assert_eq!(chain.accept(&headers[3]), ChainAcceptance::AboveFork);
        assert_eq!(chain.accept(&headers[2]), ChainAcceptance::Known);
    }

    #[test]
    fn a_predecessor_that_is_not_held_forks_at_its_sequence() {
        let headers = run(3);
        let stranger = header(2, HeaderId::from_bytes([9; 32]), 0);
        let mut chain = chain_of(&headers[..2]);
        let ChainAcceptance::Forked { fork, .. } = chain.accept(&stranger) else { panic!("no fork") };
        assert_eq!(fork.sequence, Sequence(1));
        assert_eq!(chain.newest().unwrap().id, headers[0].id);
    }

    #[test]
    fn a_fork_at_the_first_header_leaves_nothing() {
        let headers = run(2);
        let mut chain = chain_of(&headers);
        chain.accept(&header(0, HeaderId::from_bytes([2; 32]), 5));
        assert_eq!(chain.newest(), None);
        assert_eq!(chain.fork().unwrap().sequence, Sequence(0));
        assert!(!chain.has_gaps());
    }

    #[test]
    fn bodies_beyond_the_policy_are_let_go() {
        let mut predecessor = HeaderId::from_bytes([2; 32]);
        let mut chain = Chain::default();
        for sequence in 0..20 {
            let next = header(sequence, predecessor, (sequence / 2) as u8);
            predecessor = next.id;
            chain.accept(&next);
        }
        let recent = chain.recent_bodies();
        assert_eq!(recent.len(), BODIES_PER_CHAIN_MAX);
        assert_eq!(recent[0].hash, ContentHash::from_bytes([9; 32]));
    }

    /// The definition itself, on the whole set at once: (fork, held below it).
    fn by_definition(headers: &[SignedHeader]) -> (Option<u64>, BTreeMap<u64, HeaderId>) {
        let mut said: BTreeMap<u64, BTreeSet<HeaderId>> = BTreeMap::new();
        for signed in headers {
            let sequence = signed.header.sequence.0;
            said.entry(sequence).or_default().insert(signed.id);
            if sequence > 0 {
                said.entry(sequence - 1).or_default().insert(signed.header.predecessor.into());
            }
        }
        let fork = said.iter().find(|(_, ids)| ids.len() > 1).map(|(sequence, _)| *sequence);
        let below = |sequence: u64| fork.is_none_or(|fork| sequence < fork);
        let held = headers.iter().map(|h| (h.header.sequence.0, h.id)).filter(|(s, _)| below(*s)).collect();
        (fork, held)
    }

    /// A tree of headers: each new one follows a random earlier one, so that forks are everywhere.
    fn tree() -> impl Strategy<Value = Vec<SignedHeader>> {
        (1_usize..12, prop::collection::vec((any::<prop::sample::Index>(), 0_u8..3), 0..6)).prop_map(
            |(trunk, branches)| {
                let mut headers = run(trunk as u64);
                for (at, salt) in branches {
                    let parent = at.get(&headers).clone();
                    headers.push(header(parent.header.sequence.0 + 1, parent.id, salt));
                }
                headers
            },
        )
    }

    proptest! {
        #[test]
        fn any_order_of_any_subset_gives_the_state_of_the_definition(
            (headers, order) in tree().prop_flat_map(|headers| {
                let places = prop::collection::vec(0..headers.len(), 0..40);
                (Just(headers), places)
            })
        ) {
            let delivered: Vec<_> = order.iter().map(|at| headers[*at].clone()).collect();
            let chain = chain_of(&delivered);
            let (fork, held) = by_definition(&delivered);
            prop_assert_eq!(chain.fork().map(|fork| fork.sequence.0), fork);
            let got: BTreeMap<_, _> = chain.newest_first().map(|info| (info.sequence.0, info.id)).collect();
            prop_assert_eq!(got, held);
            if let Some(fork) = chain.fork() {
                let by_id = |id| headers.iter().find(|header| header.id == id).unwrap();
                let says = |half: ForkHeader| {
                    let proof = by_id(half.id);
                    let at_fork = proof.header.sequence == fork.sequence;
                    if at_fork { proof.id } else { proof.header.predecessor.into() }
                };
                prop_assert!(fork.proof.iter().all(|half| by_id(half.id).header.sequence.0 <= fork.sequence.0 + 1));
                prop_assert_ne!(says(fork.proof[0]), says(fork.proof[1]));
                prop_assert_eq!(says(fork.proof[0]), fork.proof[0].says);
            }
        }

        #[test]
        fn order_and_doubling_do_not_change_the_position(
            (headers, shuffled) in tree().prop_flat_map(|headers| {
                let doubled: Vec<_> = headers.iter().chain(&headers).cloned().collect();
                (Just(headers), Just(doubled).prop_shuffle())
            })
        ) {
            let key = headers[0].chain();
            let (one, other) = (chain_of(&headers), chain_of(&shuffled));
            prop_assert_eq!(one.position(key), other.position(key));
            prop_assert_eq!(one.newest(), other.newest());
            prop_assert_eq!(one.recent_bodies(), other.recent_bodies());
        }
    }
}
