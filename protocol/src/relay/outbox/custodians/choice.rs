//! Whom to ask for custody: reachable nodes of other members, in different working groups where there are any.

use std::collections::BTreeSet;

use rand_core::Rng;

use super::Round;
use crate::{
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::{CUSTODIAN_SILENT, CUSTODIANS_EVER_MAX, CUSTODIANS_MAX, CUSTODY_AGAIN},
    membership::charter::WorkingGroup,
    relay::{
        book::MemberStatus,
        exchange::{ContentSource, Job, RelayEffect},
        outbox::{
            Outbox,
            entry::{Asked, Progress},
        },
        parcel::Label,
        retry::receipt_wait,
        rows::CustodianRow,
        turn::Turn,
    },
};

impl Outbox {
    /// Has a parcel sealed for as many custodians as it lacks and can get now.
    pub(super) fn ask_custodians(&mut self, turn: &mut Turn<'_>, message: MessageId, node: NodeKey) {
        self.time_out(turn, message, node);
        self.mark_lacking(message, node);
        let member = self.target(&message, &node).map(|target| &target.member);
        let Some(key) = member.and_then(|member| turn.book.sealing_key(member, &node, turn.now)) else {
            return;
        };
        let chosen = self.choose(turn, message, node, key.id());
        let Some(entry) = self.entries.get_mut(&message).filter(|_| !chosen.is_empty()) else { return };
        let Some(target) = entry.targets.get_mut(&node) else { return };
        let (ticket, size) = (turn.tickets.draw(), entry.row.size);
        let label = Label {
            message,
            member: target.member.clone(),
            node,
            expires: entry.row.expires,
            class: entry.row.precedence.class(),
            size,
        };
        let content = match &entry.at_hand {
            Some(content) => ContentSource::AtHand(content.clone()),
            None => ContentSource::Stored(message),
        };
        let bytes = usize::try_from(size).unwrap_or(usize::MAX);
        for custodian in &chosen {
            target.asked.insert(*custodian, Asked::Handed(turn.now.after(receipt_wait(bytes))));
            self.custodians.window(*custodian).launch((message, node), bytes);
        }
        self.custodians.sealing.insert(ticket, Round { message, node, custodians: chosen });
        turn.effects.push(RelayEffect::Work(Job::Seal { ticket, content, label, key: Box::new(key) }));
        self.mark_lacking(message, node);
    }

    /// Chooses custodians: connected, of other members, each of another working group as far as there are any.
    fn choose(
        &mut self,
        turn: &mut Turn<'_>,
        message: MessageId,
        node: NodeKey,
        key: SealingKeyId,
    ) -> Vec<NodeKey> {
        let Some(entry) = self.entries.get(&message) else { return Vec::new() };
        let Some(target) = entry.targets.get(&node) else { return Vec::new() };
        let open = entry.wants_custodians(&node) && target.progress != Progress::Done;
        let handed = target.asked.iter().filter(|(_, asked)| matches!(asked, Asked::Handed(_)));
        let handed = handed.filter_map(|(custodian, _)| turn.member_of(custodian));
        let kept: Vec<&CustodianRow> = entry.row.custodians.iter().filter(|row| row.node == node).collect();
        let counted = kept.iter().filter(|row| self.counts(turn, row)).map(|row| &row.member);
        let mut members: Vec<MemberCode> = counted.chain(handed).cloned().collect();
        let wanted =
            CUSTODIANS_MAX.saturating_sub(members.len()).min(CUSTODIANS_EVER_MAX.saturating_sub(kept.len()));
        let in_vain = target.custody_key == Some(key) && target.is_borne_in_vain(turn.now);
        if !open || wanted == 0 || in_vain {
            return Vec::new();
        }
        let (precedence, size) =
            (entry.row.precedence, usize::try_from(entry.row.size).unwrap_or(usize::MAX));
        let free = |custodian: &NodeKey| match target.asked.get(custodian) {
            None => !kept.iter().any(|row| row.custodian == *custodian),
            Some(Asked::Handed(_)) => false,
            Some(Asked::Declined { until, key: declined }) => {
                until.is_some_and(|until| until <= turn.now)
                    || declined.is_some_and(|declined| declined != key)
            }
        };
        let room = |custodian: &NodeKey| {
            self.custodians.windows.get(custodian).is_none_or(|window| window.fits(precedence.class(), size))
        };
        let mut candidates: Vec<(u64, NodeKey, &MemberCode)> = Vec::new();
        for (custodian, member) in turn.peers.iter().filter(|(it, _)| free(it) && room(it)) {
            let other = *member != target.member && *member != turn.own.member;
            if other && turn.book.member_status(member) == MemberStatus::Active {
                // Drawn by lot, so that no member carries everybody's parcels.
                candidates.push((turn.rng.next_u64(), *custodian, member));
            }
        }
        candidates.sort();
        let group = |member: &MemberCode| turn.book.working_group(member);
        let mut groups: BTreeSet<WorkingGroup> = members.iter().filter_map(group).collect();
        let mut chosen = Vec::new();
        for anywhere in [false, true] {
            for (_, custodian, member) in &candidates {
                if chosen.len() == wanted || members.contains(*member) {
                    continue;
                }
                let group = group(member);
                if anywhere || group.is_some_and(|group| !groups.contains(&group)) {
                    groups.extend(group);
                    members.push((*member).clone());
                    chosen.push(*custodian);
                }
            }
        }
        chosen
    }

    /// Whether a custodian that keeps a parcel is still to be counted on.
    fn counts(&self, turn: &Turn<'_>, row: &CustodianRow) -> bool {
        let CustodianRow { custodian, member, .. } = row;
        let active = turn.book.member_status(member) == MemberStatus::Active
            && turn.book.active_nodes(member).contains(custodian);
        let silent =
            self.custodians.away.get(custodian).is_some_and(|away| turn.now.since(*away) >= CUSTODIAN_SILENT);
        active && (self.is_connected(custodian) || !silent)
    }

    /// What was handed over and not answered in time is given up for a while.
    fn time_out(&mut self, turn: &Turn<'_>, message: MessageId, node: NodeKey) {
        let Some(target) = self.target(&message, &node) else { return };
        let late = |asked: &Asked| matches!(asked, Asked::Handed(until) if *until <= turn.now);
        let late: Vec<NodeKey> =
            target.asked.iter().filter(|(_, asked)| late(asked)).map(|(custodian, _)| *custodian).collect();
        for custodian in late {
            self.decline(message, node, custodian, Some(turn.now.after(CUSTODY_AGAIN)), None);
        }
        // A custodian that was not seen since the start counts as away from now on.
        let rows =
            self.entries.get(&message).map(|entry| entry.row.custodians.as_slice()).unwrap_or_default();
        let unseen: Vec<NodeKey> = rows
            .iter()
            .map(|row| row.custodian)
            .filter(|it| !self.is_connected(it) && !self.custodians.away.contains_key(it))
            .collect();
        self.custodians.away.extend(unseen.into_iter().map(|custodian| (custodian, turn.now)));
    }
}
