//! The same evidence gives the same view, in whatever order it comes, and nothing acceptable is refused for
//! its order: random federations, forked, merged and disputed, delivered shuffled, doubled and delayed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use sha2::{Digest, Sha256};

use super::{
    Acceptance, Trust, TrustError,
    charter::{Charter, MemberStatus},
    key_set::{KeySet, NodeState},
};
use crate::{
    document::{Payload, Verified},
    ids::{Incarnation, MemberCode},
    testing::{FOUNDED, Federation, entry, root_key},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_same_evidence_gives_the_same_view_in_every_order(
        acts in proptest::collection::vec(any::<(u8, u8, u8, u8)>(), 1..28),
        salts in any::<[u64; 3]>(),
    ) {
        let world = World::grown(&acts);
        let reference = world.deliver(world.good.clone());
        for salt in salts {
            let shuffled = world.deliver(shuffled(&world.good, salt));
            prop_assert_eq!(shuffled.membership(), reference.membership());
            prop_assert_eq!(shuffled.charter_tips(), reference.charter_tips());
            let broken = |trust: &Trust| trust.broken_generations().cloned().collect::<Vec<_>>();
            prop_assert_eq!(broken(&shuffled), broken(&reference));
            // What is invalid is so in this state too.
            for bad in &world.bad {
                prop_assert!(hand_in(&mut shuffled.clone(), bad).is_err());
            }
        }
    }
}

#[derive(Clone)]
enum Document {
    Charter(Arc<Verified<Charter>>),
    KeySet(Arc<Verified<KeySet>>),
}

/// A federation's documents, those that are acceptable apart from those that are not.
struct World {
    federation: Federation,
    good: Vec<Document>,
    bad: Vec<Document>,
    charters: Vec<Arc<Verified<Charter>>>,
    key_sets: Vec<Arc<Verified<KeySet>>>,
    trust: Trust,
    newest: u64,
}

impl World {
    fn grown(acts: &[(u8, u8, u8, u8)]) -> Self {
        let federation = Federation::new(4, &["BR", "FR", "JO", "KE", "SG"], 1);
        let mut world = Self {
            trust: Trust::new(federation.id),
            charters: Vec::new(),
            key_sets: Vec::new(),
            good: Vec::new(),
            bad: Vec::new(),
            newest: 10,
            federation,
        };
        world.add(Document::Charter(Arc::clone(&world.federation.founding)));
        for unit in world.federation.units.clone() {
            world.add(Document::KeySet(unit.key_set));
        }
        for act in acts {
            world.act(*act);
        }
        world
    }

    fn act(&mut self, (what, one, other, how): (u8, u8, u8, u8)) {
        self.newest += 1;
        match what % 8 {
            0..3 => self.follow(&[pick(&self.charters, one).clone()], how),
            3 => self.follow(&[pick(&self.charters, one).clone(), pick(&self.charters, other).clone()], how),
            // Many of the same epoch, so that some generations break.
            4 if how % 4 == 0 => {
                for _ in 0..9 {
                    self.newest += 1;
                    self.renew(&[pick(&self.key_sets, one).clone()], other, 1);
                }
            }
            4..7 => self.renew(&[pick(&self.key_sets, one).clone()], other, how),
            _ => {
                let first = pick(&self.key_sets, one).clone();
                let same = |set: &&Arc<Verified<KeySet>>| {
                    let (a, b) = (set.payload(), first.payload());
                    (&a.member, a.incarnation) == (&b.member, b.incarnation) && set.id() != first.id()
                };
                let second = self.key_sets.iter().filter(same).nth(usize::from(other) % 4).cloned();
                self.renew(&[Some(first), second].into_iter().flatten().collect::<Vec<_>>(), other, how);
            }
        }
    }

    /// A version after these, most often signed by all who could have to.
    fn follow(&mut self, parents: &[Arc<Verified<Charter>>], how: u8) {
        let mut parents = parents.iter().collect::<Vec<_>>();
        parents.dedup_by_key(|parent| parent.id());
        let number = self.newest;
        let newcomer: MemberCode = format!("T{}", char::from(b'A' + how % 26)).parse().unwrap();
        let ke: MemberCode = "KE".parse().unwrap();
        let replacement = self.federation.root(&ke, number);
        let newcomer_entry = self.federation.first_entry(&newcomer);
        let change = |charter: &mut Charter| {
            let before = charter.clone();
            match how % 9 {
                0 => charter.members[4].status = MemberStatus::Suspended,
                1 => charter.members[4].status = MemberStatus::Active,
                2 => charter.members[4].status = MemberStatus::Withdrawn,
                3 => {
                    charter.members[4].status = MemberStatus::Active;
                    charter.members[4].incarnation = charter.members[4].incarnation.next().unwrap();
                }
                4 | 5 => {
                    charter.members[3].root = root_key(&replacement);
                    charter.members[3].incarnation = charter.members[3].incarnation.next().unwrap();
                }
                6 if charter.member(&newcomer).is_none() => {
                    charter.members.push(newcomer_entry);
                    charter.members.sort_by(|a, b| a.code.cmp(&b.code));
                }
                7 => charter.stewards = ["BR", "FR", "KE"].map(|code| code.parse().unwrap()).into(),
                _ => {}
            }
            if charter.check_form().is_err() {
                *charter = before;
            }
        };
        let signers = self.signers(&parents, &[&newcomer], &replacement, how);
        let version = self.federation.successor(&parents, change, &signers.iter().collect::<Vec<_>>());
        self.add(Document::Charter(version));
    }

    fn signers(
        &self,
        parents: &[&Arc<Verified<Charter>>],
        newcomers: &[&MemberCode],
        replacement: &SigningKey,
        how: u8,
    ) -> Vec<SigningKey> {
        let codes = parents.iter().flat_map(|parent| &parent.payload().members).map(|entry| &entry.code);
        let mut keys = codes
            .chain(newcomers.iter().copied())
            .map(|code| self.federation.root(code, 0))
            .collect::<Vec<_>>();
        keys.push(replacement.clone());
        // Now and then the stewards are missing.
        if how > 230 {
            keys.drain(..4);
        }
        let mut signed = BTreeSet::new();
        keys.retain(|key| signed.insert(key.to_bytes()));
        keys
    }

    /// A key set after these, under the same charter version or the newest that lists the root.
    fn renew(&mut self, earlier: &[Arc<Verified<KeySet>>], node: u8, how: u8) {
        let last = earlier.last().unwrap().payload().clone();
        let entry_before = self.trust.charter(&last.charter).unwrap().payload().member(&last.member).unwrap();
        let root = self.root_of(&last.member, entry_before.root);
        let added = entry(node.into(), &self.federation.node(&last.member, self.newest));
        let newest = pick(&self.charters, node).clone();
        let change = |set: &mut KeySet| {
            match how % 5 {
                0 => drop(set.nodes.pop()),
                1 => set.nodes = vec![added],
                2 => set.nodes.push(added),
                3 => {
                    for node in &mut set.nodes {
                        (node.state, node.since) = (NodeState::Retired, Some(FOUNDED));
                    }
                }
                _ => drop(set.ancestors.pop()),
            }
            set.nodes.truncate(8);
            set.nodes.sort_unstable_by_key(|entry| entry.key);
            let listed = newest.payload().member(&set.member);
            if listed.is_some_and(|e| e.root == root_key(&root) && e.incarnation == set.incarnation) {
                set.charter = newest.id().into();
            }
            if set.check_form().is_err() {
                *set = KeySet { issued: set.issued, nodes: set.nodes.clone(), ..last.clone() };
            }
        };
        let set = self.federation.next_key_set(&earlier.iter().collect::<Vec<_>>(), change, &root);
        self.add(Document::KeySet(set));
        // A replaced root starts anew.
        let current = newest.payload().member(&last.member).filter(|e| e.incarnation > Incarnation(0));
        if let Some(current) = current {
            let root = self.root_of(&last.member, current.root);
            let nodes = [self.federation.node(&last.member, u64::from(node))];
            let first = self.federation.first_key_set(&newest, &last.member, &root, &nodes);
            self.add(Document::KeySet(first));
        }
    }

    fn root_of(&self, code: &MemberCode, key: crate::ids::RootKey) -> SigningKey {
        let mut roots = (0..=self.newest).map(|index| self.federation.root(code, index));
        roots.find(|root| root_key(root) == key).unwrap()
    }

    /// Keeps what is acceptable apart from what is not; a surplus is acceptable.
    fn add(&mut self, document: Document) {
        match hand_in(&mut self.trust, &document) {
            Ok(Acceptance::New | Acceptance::Surplus) => {
                match &document {
                    Document::Charter(version) => self.charters.push(Arc::clone(version)),
                    Document::KeySet(set) => self.key_sets.push(Arc::clone(set)),
                }
                self.good.push(document);
            }
            Ok(Acceptance::Known) => {}
            Ok(Acceptance::Pending(missing)) => panic!("every ancestor is held: {missing:?}"),
            Err(_) => self.bad.push(document),
        }
    }

    /// Hands documents in through a small buffer for those that wait, until nothing changes.
    fn deliver(&self, documents: Vec<Document>) -> Trust {
        let mut trust = Trust::new(self.federation.id);
        let mut queue = VecDeque::from(documents);
        let mut waits = 0;
        while let Some(document) = queue.pop_front() {
            match hand_in(&mut trust, &document).expect("refused for its order") {
                Acceptance::Pending(_) => {
                    queue.push_back(document);
                    waits += 1;
                    assert!(waits <= queue.len(), "nothing changes and {waits} wait");
                }
                _ => waits = 0,
            }
        }
        trust
    }
}

fn hand_in(trust: &mut Trust, document: &Document) -> Result<Acceptance, TrustError> {
    match document {
        Document::Charter(version) => trust.accept_charter(Arc::clone(version)),
        Document::KeySet(set) => trust.accept_key_set(Arc::clone(set)),
    }
}

fn pick<T>(from: &[T], index: u8) -> &T {
    // The later ones more often, so that lines grow long.
    let back = usize::from(index) * usize::from(index) / 256;
    &from[from.len() - 1 - back % from.len()]
}

/// All of them in an order that depends on the salt, some twice.
fn shuffled(documents: &[Document], salt: u64) -> Vec<Document> {
    let place = |index: usize, copy: u8| {
        Sha256::new()
            .chain_update(salt.to_be_bytes())
            .chain_update(index.to_be_bytes())
            .chain_update([copy])
            .finalize()
    };
    let mut placed = Vec::new();
    for (index, document) in documents.iter().enumerate() {
        placed.push((place(index, 0), document.clone()));
        if index % 3 == 0 {
            placed.push((place(index, 1), document.clone()));
        }
    }
    placed.sort_by_key(|(place, _)| *place);
    placed.into_iter().map(|(_, document)| document).collect()
}
