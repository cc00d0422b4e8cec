//! From a parcel for somebody else to one that is kept: what is refused, and what is durable before it is said.

use super::{Amount, Custody, Kept, Share, confirm, refuse};
use crate::{
    ids::{MemberCode, NodeKey},
    limits::{
        CLOCK_SKEW_MAX, CUSTODY_BURST, CUSTODY_BYTES_MAX, CUSTODY_BYTES_PER_MEMBER_MAX,
        CUSTODY_BYTES_PER_MEMBER_MIN, CUSTODY_INTERVAL, CUSTODY_ROWS_MAX, CUSTODY_ROWS_PER_MEMBER_MAX,
        CUSTODY_ROWS_PER_MEMBER_MIN, EXPIRY_MAX, SEALED_BYTES_MAX,
    },
    relay::{
        book::MemberStatus,
        event::RelayEvent,
        exchange::RelayFault,
        parcel::{Label, Parcel},
        receipt::RefusalReason,
        rows::{CustodyKey, CustodyRow, encode_custody_parcel},
        turn::{Turn, Write, change},
    },
    storage::{Change, Table},
};

impl Custody {
    /// A parcel for another node came: it is kept, or refused with the reason. One of this node's own messages is not
    /// kept: what its recipient says of a copy that somebody damaged would be taken for what it says of the message.
    pub(in crate::relay) fn on_parcel(
        &mut self,
        turn: &mut Turn<'_>,
        from: NodeKey,
        parcel: Box<Parcel>,
        is_own: bool,
    ) {
        let Label { message, node, class, .. } = parcel.label;
        let key = CustodyKey { hander: from, message, node };
        let form = parcel.label.size == parcel.ciphertext.len() as u64
            && (1..=SEALED_BYTES_MAX).contains(&parcel.sealed.len());
        if is_own {
            return refuse(turn, key, class, RefusalReason::Invalid);
        }
        if !form {
            turn.fault(from, RelayFault::CustodyForm(message));
            return refuse(turn, key, class, RefusalReason::Invalid);
        }
        let mut known = Share::default();
        if let Some(kept) = self.kept.get(&key) {
            if !kept.holds_parcel() {
                return self.pass_back(turn, key, from);
            }
            if kept.row.sealing_key == parcel.sealing_key && kept.row.answer.is_none() {
                return confirm(turn, key, class, kept.write);
            }
            if kept.progress.is_on_its_way() {
                // Its answer would be taken for the new one's.
                return refuse(turn, key, class, RefusalReason::TooFast);
            }
            // Sealed anew: it takes the place of the one that did not open.
            known.add(kept.row.class, Amount { rows: 1, bytes: kept.row.size });
        }
        let size = (parcel.ciphertext.len() + parcel.sealed.len()) as u64;
        match self.judge(turn, from, &parcel.label, size, known) {
            Ok(by) if !self.rates.of(class).allow(&by, 1, (CUSTODY_BURST, CUSTODY_INTERVAL), turn.now) => {
                refuse(turn, key, class, RefusalReason::TooFast);
            }
            Ok(by) => self.keep(turn, key, by, size, parcel),
            Err(reason) => refuse(turn, key, class, reason),
        }
    }

    fn judge(
        &self,
        turn: &Turn<'_>,
        from: NodeKey,
        label: &Label,
        size: u64,
        known: Share,
    ) -> Result<MemberCode, RefusalReason> {
        let by = turn.member_of(&from).cloned().ok_or(RefusalReason::UnknownSigner)?;
        let active = |member: &MemberCode| turn.book.member_status(member) == MemberStatus::Active;
        if !active(&by) || !active(&label.member) || turn.stop_reason(&label.member).is_some() {
            return Err(RefusalReason::Suspended);
        }
        if label.node == from || !turn.book.active_nodes(&label.member).contains(&label.node) {
            return Err(RefusalReason::NotARecipient);
        }
        if turn.book.applies_expiry() && turn.now > label.expires {
            return Err(RefusalReason::Expired);
        }
        if label.expires > turn.now.after(EXPIRY_MAX + CLOCK_SKEW_MAX) {
            return Err(RefusalReason::Invalid);
        }
        let bound = |rows: usize, bytes| Amount {
            rows: label.class.part_of(rows as u64),
            bytes: label.class.part_of(bytes),
        };
        let share = self.shares.get(&by).copied().unwrap_or_default();
        let with = |held: Amount, known| held.less(known).more(Amount { rows: 1, bytes: size });
        if !with(share.all, known.all)
            .is_within(bound(CUSTODY_ROWS_PER_MEMBER_MAX, CUSTODY_BYTES_PER_MEMBER_MAX))
        {
            return Err(RefusalReason::Quota);
        }
        let floor = bound(CUSTODY_ROWS_PER_MEMBER_MIN, CUSTODY_BYTES_PER_MEMBER_MIN);
        let has_floor = label.class.is_urgent() && with(share.urgent, known.urgent).is_within(floor);
        let held = Amount { rows: self.kept.len() as u64, bytes: self.bytes };
        if !has_floor && !with(held, known.all).is_within(bound(CUSTODY_ROWS_MAX, CUSTODY_BYTES_MAX)) {
            return Err(RefusalReason::NoRoom);
        }
        Ok(by)
    }

    fn keep(&mut self, turn: &mut Turn<'_>, key: CustodyKey, by: MemberCode, size: u64, parcel: Box<Parcel>) {
        self.remove(turn, key);
        let Label { ref member, expires, class, .. } = parcel.label;
        let row = CustodyRow {
            by,
            member: member.clone(),
            expires,
            class,
            size,
            sealing_key: parcel.sealing_key,
            since: turn.now,
            answer: None,
        };
        let mut kept = Kept::new(row, None);
        let mut changes: Vec<Change> = kept.stored(key).into_iter().collect();
        let stored = encode_custody_parcel(&parcel);
        changes.extend(change(stored.map(|value| Change::put(Table::CustodyParcels, key.to_bytes(), value))));
        let write = turn.persist_refusable(changes, Write::Kept(key));
        kept.write = Some(write);
        let event = RelayEvent::CustodyTaken {
            message: key.message,
            by: kept.row.by.clone(),
            member: kept.row.member.clone(),
            node: key.node,
        };
        self.set_timers(turn, key, &kept);
        self.insert(key, kept);
        confirm(turn, key, class, Some(write));
        turn.emit(event);
        self.enqueue(key);
        self.pump(turn, key.node, Some((key, parcel)));
    }
}
