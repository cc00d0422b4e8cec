//! Nodes that come and go: members with two of them, nodes built anew with another key, senders gone for good.

use std::sync::Arc;

use refpoint_protocol::{
    directory::header::ChainKind,
    ids::NodeKey,
    membership::key_set::{KeySet, NodeState},
    storage::Table,
    testing,
};

use super::{Sim, disk::Disk, event::Event, invariants, node::Node};

impl Sim {
    /// Some members have a second node from the beginning.
    pub(crate) fn add_second_nodes(&mut self) {
        for unit in STEWARDS..self.units.len() {
            if !self.draw.chance(1, 6) {
                continue;
            }
            let (signing, issued) = (self.new_key(unit), self.clock_now());
            let first = Arc::clone(self.units[unit].key_sets.last().unwrap());
            let root = self.founded.root(&self.units[unit].code, 0);
            let next = self.founded.next_key_set(
                &[&first],
                |set| {
                    set.issued = issued;
                    set.nodes.push(testing::entry(1, &signing));
                },
                &root,
            );
            self.units[unit].key_sets.push(next);
            let rows = self.founding_rows(&self.units[unit].key_sets.iter().collect::<Vec<_>>());
            let old = self.units[unit].nodes[0];
            self.nodes[old].disk = Disk::new(rows.clone());
            let node = self.add_node(unit, signing, Disk::new(rows));
            self.units[unit].nodes.push(node);
            self.counts.add("second-node");
        }
    }

    /// A node's machine is gone for ever, with its folder and key, and its member builds it anew. Others may keep
    /// what it has sent.
    pub(crate) fn lose_for_good(&mut self) {
        if self.calm {
            return;
        }
        let keeps_for = |hander: NodeKey| {
            self.nodes.iter().filter(|node| node.is_honest() && !node.retired).any(|node| {
                let mut kept = node.disk.table(Table::CustodyParcels);
                kept.any(|(key, _)| key.starts_with(hander.as_bytes()))
            })
        };
        let candidates: Vec<usize> = (0..self.nodes.len())
            .filter(|node| {
                let of = &self.nodes[*node];
                let sound = of.is_honest() && !of.retired && !self.units[of.unit].suspended;
                sound && of.unit >= STEWARDS && keeps_for(of.key)
            })
            .collect();
        let Some(gone) = self.draw.pick(&candidates) else { return };
        self.say(|| format!("{} is gone for good", self.name(gone)));
        self.counts.add("sender-gone");
        invariants::custody::sender_gone(self, gone);
        self.crash(gone, "it is gone for good");
        self.ledger.forget_node(gone);
        self.rebuild(gone, NodeState::Retired);
        self.nodes[gone].retired = true;
        self.nodes[gone].disk = Disk::default();
    }

    /// A member makes a node anew under another key, beside its others, and says what became of the old key.
    pub(crate) fn rebuild(&mut self, old: usize, became: NodeState) {
        let unit = self.nodes[old].unit;
        self.ledger.forgot.push((self.now, unit));
        let (signing, now, old_key) = (self.new_key(unit), self.clock_now(), self.nodes[old].key);
        let siblings: Vec<usize> =
            self.units[unit].nodes.iter().copied().filter(|node| *node != old).collect();
        let sibling_keys: Vec<NodeKey> = siblings.iter().map(|node| self.nodes[*node].key).collect();
        let last = Arc::clone(self.units[unit].key_sets.last().unwrap());
        let root = self.founded.root(&self.units[unit].code, 0);
        let carried = siblings.first().map(|node| self.carried_over(*node, &last)).unwrap_or_default();
        let next = self.founded.next_key_set(
            &[&last],
            |set| {
                set.issued = now;
                set.nodes.retain(|entry| entry.key == old_key || sibling_keys.contains(&entry.key));
                for entry in &mut set.nodes {
                    if entry.key == old_key {
                        (entry.state, entry.since) = (became, Some(now));
                    }
                }
                carry_over(set, &carried);
                set.nodes.push(testing::entry(0, &signing));
            },
            &root,
        );
        self.units[unit].key_sets.push(Arc::clone(&next));
        let disk = Disk::new(self.founding_rows(&self.units[unit].key_sets.iter().collect::<Vec<_>>()));
        let node = self.add_node(unit, signing, disk);
        let place = self.units[unit].nodes.iter_mut().find(|node| **node == old);
        *place.unwrap() = node;
        self.agenda.plan(self.now + 1_000, Event::Start { node });
        self.plan_person(node);
        for sibling in siblings.into_iter().filter(|node| self.nodes[*node].is_up()).collect::<Vec<_>>() {
            self.import(sibling, refpoint_protocol::evidence::AnyDocument::KeySet(Arc::clone(&next)));
        }
    }

    /// The last headers that count of each node of a member, as one of them knows.
    pub(crate) fn carried_over(
        &self,
        at: usize,
        last: &refpoint_protocol::document::Verified<KeySet>,
    ) -> Carried {
        let nodes = last.payload().nodes.iter().map(|entry| entry.key);
        let of = |key, kind| self.last_header(at, key, last, kind);
        nodes.map(|key| (key, of(key, ChainKind::NodeRecord), of(key, ChainKind::ReferencePoint))).collect()
    }

    fn new_key(&mut self, unit: usize) -> ed25519_dalek::SigningKey {
        let signing = self.founded.node(&self.units[unit].code, self.units[unit].keys);
        self.units[unit].keys += 1;
        signing
    }

    fn add_node(&mut self, unit: usize, signing: ed25519_dalek::SigningKey, disk: Disk) -> usize {
        let node = self.nodes.len();
        self.nodes.push(Node::new(self.units[unit].code.clone(), unit, signing, disk));
        self.index.insert(self.nodes[node].key, node);
        node
    }
}

/// Notes in a key set the headers that count of the chains before.
pub(crate) fn carry_over(set: &mut KeySet, carried: &Carried) {
    for entry in &mut set.nodes {
        if let Some((_, record, point)) = carried.iter().find(|(key, ..)| *key == entry.key) {
            (entry.node_record, entry.reference_point) = (*record, *point);
        }
    }
}

/// By node key: the last node record and the last reference point.
pub(crate) type Carried =
    Vec<(NodeKey, Option<refpoint_protocol::ids::HeaderId>, Option<refpoint_protocol::ids::HeaderId>)>;

/// The units that are stewards, and stay as they are.
const STEWARDS: usize = 3;
