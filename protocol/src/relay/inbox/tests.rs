//! Tests of the inbox's shares: one sender's flood takes nobody else's place, after a restart neither.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::{
    directory::node_record::SealingKeyEntry,
    message::{
        body::{Statement, Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        Relay, RelayConfig,
        book::{Book, MemberStatus, SignerStanding},
        event::Marks,
        rows::{StatementRow, encode_row},
    },
};

/// A directory that knows nobody: rows are restored whatever it says.
struct NoBook;

impl Book for NoBook {
    fn member_status(&self, _: &MemberCode) -> MemberStatus {
        MemberStatus::Active
    }

    fn active_nodes(&self, _: &MemberCode) -> Vec<NodeKey> {
        Vec::new()
    }

    fn lists(&self, _: &MemberCode, _: &NodeKey) -> bool {
        false
    }

    fn sealing_key(&self, _: &MemberCode, _: &NodeKey, _: Timestamp) -> Option<SealingKeyEntry> {
        None
    }

    fn signer_standing(&self, _: &MemberCode, _: &NodeKey) -> SignerStanding {
        SignerStanding::Unknown
    }
}

fn code(member: &str) -> MemberCode {
    member.parse().unwrap()
}

fn id(number: usize) -> MessageId {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    MessageId::from_bytes(bytes)
}

fn row(sender: &MemberCode, number: usize) -> InboxRow {
    let at = Timestamp::from_millis(number as u64);
    InboxRow {
        sender: sender.clone(),
        signer: NodeKey::from_bytes([1; 32]),
        recipients: vec![code("KE")],
        precedence: Precedence::Routine,
        tlp: Tlp::Amber,
        drill: false,
        created: at,
        expires: at,
        received: at,
        size: 512,
        marks: Marks::default(),
    }
}

fn acknowledged_by(member: &str, message: MessageId) -> StatementRow {
    let role = Redacted("duty".into());
    let statement = Statement {
        answers: message,
        word: Word::Acknowledged,
        role,
        will: Some(true),
        form: None,
        by: None,
    };
    let at = Timestamp::from_millis(1);
    let member = code(member);
    StatementRow {
        member,
        statement,
        text: None,
        created: at,
        received: at,
        marks: Marks::default(),
        signed: None,
    }
}

fn restored(rows: Vec<(Table, Vec<u8>, Vec<u8>)>) -> Relay {
    let config = RelayConfig { member: code("KE"), node: NodeKey::from_bytes([9; 32]), seed: [0; 32] };
    let restored = Relay::restore(config, Timestamp::from_millis(0), &NoBook, rows);
    assert_eq!(restored.damaged, vec![]);
    restored.relay
}

fn stored<T: serde::Serialize>(table: Table, key: &[u8], row: &T) -> (Table, Vec<u8>, Vec<u8>) {
    (table, key.to_vec(), encode_row(row).unwrap())
}

#[test]
fn a_sender_that_fills_its_share_closes_the_inbox_to_itself_alone() {
    let (mut inbox, [br, sg]) = (Inbox::default(), [code("BR"), code("SG")]);
    for number in 0..INBOX_ROWS_PER_SENDER_MAX {
        assert!(inbox.make_room(&br));
        inbox.insert_row(id(number), row(&br, number));
    }
    assert!(!inbox.make_room(&br) && inbox.make_room(&sg));
    // Four others help: the store is full, and whoever has little has room still.
    let helpers = ["FR", "IN", "JO", "NZ"].map(code);
    for number in INBOX_ROWS_PER_SENDER_MAX..INBOX_ROWS_MAX {
        let helper = &helpers[number % helpers.len()];
        inbox.insert_row(id(number), row(helper, number));
    }
    for number in INBOX_ROWS_MAX..INBOX_ROWS_MAX + INBOX_ROWS_PER_SENDER_MIN {
        assert!(inbox.make_room(&sg));
        inbox.insert_row(id(number), row(&sg, number));
    }
    assert!(!inbox.make_room(&sg), "past its floor it waits for the others");
    // Nothing is put aside in vain.
    inbox.on_acknowledged(id(7));
    assert!(!inbox.make_room(&br) && inbox.row(&id(7)).is_some());
}

#[test]
fn what_a_person_took_leaves_memory_for_its_senders_next() {
    let (mut inbox, [br, sg]) = (Inbox::default(), [code("BR"), code("SG")]);
    for number in 0..INBOX_ROWS_PER_SENDER_MAX {
        inbox.insert_row(id(number), row(&br, number));
    }
    inbox.insert_row(id(INBOX_ROWS_MAX), row(&sg, 1));
    [INBOX_ROWS_MAX, 7, 3].into_iter().for_each(|number| inbox.on_acknowledged(id(number)));
    assert!(inbox.make_room(&br));
    assert!(inbox.row(&id(3)).is_none() && inbox.row(&id(7)).is_some());
    assert!(inbox.row(&id(INBOX_ROWS_MAX)).is_some(), "another sender's stays");
}

#[test]
fn ids_count_for_their_sender_after_a_restart_too() {
    let until = Timestamp::from_millis(1_000);
    let br = code("BR");
    let mut rows = Vec::new();
    for number in 0..3 {
        rows.push(stored(Table::MessageIds, id(number).as_bytes(), &IdRow { until }));
        rows.push(stored(Table::Inbox, id(number).as_bytes(), &row(&br, number)));
    }
    rows.push(stored(Table::MessageIds, id(50).as_bytes(), &IdRow { until }));
    rows.push(stored(
        Table::Statements,
        &statement_key(id(0), id(50)),
        &StatementRow { member: br.clone(), ..acknowledged_by("BR", id(0)) },
    ));
    let inbox = &mut restored(rows).machines.inbox;
    let index = inbox.sender_index(&br);
    assert_eq!((inbox.id_shares.of(&index), inbox.row_shares.of(&br)), (4, 3));
    assert!(inbox.remove_id(id(50)).is_some() && inbox.remove_row(id(0)));
    assert_eq!((inbox.id_shares.of(&index), inbox.row_shares.of(&br)), (3, 2));
    inbox.id_shares.add(&index, MESSAGE_IDS_PER_SENDER_MAX - 3);
    assert!(!inbox.has_id_room(&br) && inbox.has_id_room(&code("SG")));
}

#[test]
fn only_this_side_takes_a_message() {
    for (speaker, takes) in [("BR", false), ("JO", false), ("KE", true)] {
        let rows = vec![
            stored(Table::Inbox, id(1).as_bytes(), &row(&code("BR"), 1)),
            stored(Table::Statements, &statement_key(id(1), id(2)), &acknowledged_by(speaker, id(1))),
        ];
        assert_eq!(restored(rows).machines.inbox.drop_settled(None), takes, "{speaker}");
    }
}
