//! Taking up work after a start: stored rows become live state, checked one by one.

use super::{
    Relay, RelayConfig,
    book::Book,
    exchange::RelayEffect,
    rows::{
        CustodyKey, CustodyRow, IdRow, InboxRow, OutboxRow, RowError, StatementRow, decode_row, id_from_key,
        ids_from_statement_key,
    },
};
use crate::{storage::Table, time::Timestamp};

/// A relay that goes on where it stopped.
pub struct Restored {
    /// The machine; everything that waits goes when its nodes connect.
    pub relay: Relay,
    /// To be carried out first.
    pub effects: Vec<RelayEffect>,
    /// Values that could not be read: reported and set aside by the shell, never skipped in silence.
    pub damaged: Vec<Damaged>,
}

/// A stored value that is not what its table holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The table.
    pub table: Table,
    /// The key.
    pub key: Vec<u8>,
    /// What is wrong.
    pub error: RowError,
}

impl Relay {
    /// Takes up work from the rows of [`Relay::TABLES`], in any order; other tables' rows are passed over.
    ///
    /// Expired messages expire with the first [`super::exchange::RelayInput::Woke`].
    #[must_use]
    pub fn restore(
        config: RelayConfig,
        now: Timestamp,
        book: &dyn Book,
        rows: impl IntoIterator<Item = (Table, Vec<u8>, Vec<u8>)>,
    ) -> Restored {
        let mut relay = Self::new(config);
        let (mut effects, mut damaged, mut statements) = (Vec::new(), Vec::new(), Vec::new());
        let (machines, mut turn) = relay.turn(now, book, &mut effects);
        for (table, key, value) in rows {
            let taken = match table {
                Table::Outbox => read::<OutboxRow>(&key, &value)
                    .map(|(message, row)| machines.outbox.restore(&mut turn, message, row)),
                Table::Inbox => read::<InboxRow>(&key, &value)
                    .map(|(message, row)| machines.inbox.restore_row(message, row)),
                Table::MessageIds => read::<IdRow>(&key, &value)
                    .map(|(message, row)| machines.inbox.restore_id(&mut turn, message, row)),
                Table::Statements => ids_from_statement_key(&key)
                    .and_then(|(_, id)| Ok((id, decode_row::<StatementRow>(&value)?)))
                    .map(|(id, row)| statements.push((id, row.in_memory()))),
                Table::Custody => CustodyKey::from_bytes(&key)
                    .and_then(|key| Ok((key, decode_row::<CustodyRow>(&value)?)))
                    .map(|(key, row)| machines.custody.restore(&mut turn, key, row)),
                _ => Ok(()),
            };
            if let Err(error) = taken {
                damaged.push(Damaged { table, key, error });
            }
        }
        // Only now is it known which messages are.
        for (id, row) in statements {
            let answers = row.statement.answers;
            let known = machines.outbox.entry(&answers).is_some() || machines.inbox.row(&answers).is_some();
            if !row.marks.unproven {
                machines.outbox.on_said(answers, id, &row.member);
            }
            machines.statements.insert(id, row, known);
            let acknowledged = machines.statements.acknowledged(&answers);
            if !acknowledged.is_empty() {
                machines.outbox.on_acknowledged(&mut turn, answers, &acknowledged);
            }
            if acknowledged.contains(&turn.own.member) {
                machines.inbox.on_acknowledged(answers);
            }
        }
        machines.inbox.restored(&machines.statements);
        Restored { relay, effects, damaged }
    }

    /// The tables whose rows [`Relay::restore`] takes.
    pub const TABLES: [Table; 5] =
        [Table::Outbox, Table::Inbox, Table::MessageIds, Table::Statements, Table::Custody];
}

fn read<T: serde::de::DeserializeOwned>(
    key: &[u8],
    value: &[u8],
) -> Result<(crate::ids::MessageId, T), RowError> {
    Ok((id_from_key(key)?, decode_row(value)?))
}
