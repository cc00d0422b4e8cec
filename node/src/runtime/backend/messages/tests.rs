//! Views of messages, from states made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use refpoint_protocol::{
    ids::CharterVersion,
    message::header::Precedence,
    relay::{
        event::{Marks, StopReason},
        views::{CustodianView, DeliveredView},
    },
};

use super::*;

fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn own() -> Own {
    Own { member: member("BR"), node: NodeKey::from_bytes([1; 32]) }
}

/// A message that FR sent to BR.
pub(in crate::runtime::backend) fn received(id: MessageId) -> ReceivedView {
    ReceivedView {
        id,
        sender: member("FR"),
        signer: NodeKey::from_bytes([2; 32]),
        recipients: vec![member("BR")],
        precedence: Precedence::Flash,
        tlp: Tlp::Red,
        drill: false,
        created: at(10),
        expires: at(1_000),
        received: at(20),
        size: 528,
        marks: Marks::default(),
        acknowledged: None,
        withdrawn: false,
        statements: Vec::new(),
    }
}

fn said(code: &str, word: Word, created: u64) -> StatementView {
    StatementView {
        id: MessageId::from_bytes([9; 32]),
        member: member(code),
        word,
        role: Redacted("duty officer".to_owned()),
        will: Some(true),
        form: None,
        by: None,
        created: at(created),
        marks: Marks::default(),
    }
}

fn recipient(code: &str, state: State) -> RecipientView {
    let node = NodeView {
        node: NodeKey::from_bytes([3; 32]),
        state,
        at: None,
        refused: None,
        retry_at: None,
        keyless: false,
        unopened: false,
        custodians: Vec::new(),
        custodians_asked: 0,
    };
    RecipientView {
        member: member(code),
        state,
        delivered: None,
        stopped: None,
        connected: true,
        nodes: vec![node],
        acknowledged: None,
    }
}

fn sent(recipients: Vec<RecipientView>, statements: Vec<StatementView>) -> SentView {
    SentView {
        id: MessageId::from_bytes([7; 32]),
        precedence: Precedence::Flash,
        tlp: Tlp::Red,
        drill: false,
        created: at(10),
        expires: at(1_000),
        size: 528,
        content: true,
        statement: None,
        recipients,
        statements,
    }
}

#[test]
fn a_persons_word_is_no_delivery_and_a_delivery_no_persons_word() {
    let mut delivered = recipient("KE", State::Delivered);
    delivered.delivered = Some(DeliveredView { at: at(30), late: false });
    let only_said = recipient("FR", State::Sent);
    let view = sent(vec![only_said, delivered], vec![said("FR", Word::Acknowledged, 40)]);
    let states = sent_row(&own(), &view, None).states;
    assert!(!states[0].is_delivered() && states[0].is_acknowledged());
    assert!(states[1].is_delivered() && !states[1].is_acknowledged());
    assert_eq!(states[1].machine_at, at(30).into());
}

#[test]
fn the_last_word_counts_and_nobodys_silence_is_none() {
    let words = [said("KE", Word::Accepted, 50), said("KE", Word::Acknowledged, 40)];
    let last = last_word(words.iter()).unwrap();
    assert_eq!((last.word, last.at), (Word::Accepted, at(50).into()));
    assert_eq!(last_word([said("KE", Word::Unacknowledged, 60)].iter()), None);
}

#[test]
fn a_later_word_that_promises_nothing_takes_no_promise_back() {
    let refused = StatementView { will: Some(false), ..said("KE", Word::Acknowledged, 1) };
    let silent = StatementView { will: None, ..said("KE", Word::Acknowledged, 2) };
    let last = last_word([refused, silent].iter()).unwrap();
    assert_eq!((last.at, last.will), (at(2).into(), Some(false)));
}

#[test]
fn the_timeline_is_in_order_and_says_who_speaks() {
    let mut delivered = recipient("KE", State::Delivered);
    delivered.nodes[0].at = Some(at(30));
    let view = sent(vec![delivered], vec![said("KE", Word::Acknowledged, 40), said("BR", Word::Closed, 50)]);
    let rows = timeline(&own(), &Held::Sent(view));
    assert!(matches!(&rows[0], ReceiptRow::Machine { word: MachineWord::Queued, proof: Proof::Own, .. }));
    assert!(
        matches!(&rows[1], ReceiptRow::Machine { word: MachineWord::Delivered, proof: Proof::Signed, member, .. } if member.as_str() == "KE")
    );
    assert!(matches!(&rows[2], ReceiptRow::Person { word: Word::Acknowledged, proof: Proof::Signed, .. }));
    assert!(matches!(&rows[3], ReceiptRow::Person { word: Word::Closed, proof: Proof::Own, .. }));
}

#[test]
fn what_is_not_delivered_says_why() {
    let because = |change: fn(&mut RecipientView)| {
        let mut view = recipient("KE", State::Queued);
        change(&mut view);
        reason(&view).unwrap_or_default()
    };
    assert_eq!(because(|_| ()), "");
    assert_eq!(because(|it| it.connected = false), "not connected");
    assert_eq!(because(|it| it.nodes.clear()), "no node of this member is known yet");
    assert!(because(|it| it.nodes[0].keyless = true).contains("sealing key"));
    assert!(because(|it| it.nodes[0].unopened = true).contains("phone"));
    assert!(because(|it| it.nodes[0].refused = Some(RefusalReason::NoRoom)).contains("no room"));
    let stopped = because(|it| it.stopped = Some(StopReason::Suspended(CharterVersion(3))));
    assert!(stopped.contains("suspended by charter"), "{stopped}");
}

#[test]
fn custody_names_its_keepers_and_never_looks_like_delivery() {
    let mut view = recipient("KE", State::Custody);
    let keeper = |code: &str, millis: u64| CustodianView {
        node: NodeKey::from_bytes([4; 32]),
        member: member(code),
        at: at(millis),
    };
    view.nodes[0].custodians = vec![keeper("JO", 20), keeper("FR", 30)];
    view.nodes[0].custodians_asked = 3;
    let sent = sent(vec![view], Vec::new());
    let row = sent_row(&own(), &sent, None);
    let state = &row.states[0];
    assert_eq!((state.machine, state.machine_at), (MachineWord::Custody, at(30).into()));
    assert_eq!(state.reason.as_deref(), Some("2 of 3, kept at FR, JO until its node is back"));
    assert!(!state.is_delivered());
    let kept = |row: &ReceiptRow| {
        matches!(row, ReceiptRow::Machine { word: MachineWord::Custody, kept_for: Some(_), .. })
    };
    assert_eq!(timeline(&own(), &Held::Sent(sent)).iter().filter(|row| kept(row)).count(), 2);
    let lost = recipient("KE", State::Undeliverable);
    assert!(reason(&lost).unwrap().contains("key lost"));
}

#[test]
fn attachments_are_numbered_from_one_and_named_by_their_hash() {
    let file = Attachment {
        name: Redacted("log.txt".to_owned()),
        media_type: "text/plain".to_owned(),
        data: Redacted(ByteBuf::from(b"abc".to_vec())),
    };
    let body = Body { attachments: vec![file], ..empty(Tlp::Red) };
    assert_eq!(attachment_data(body.clone(), 0), Err(1));
    assert_eq!(attachment_data(body.clone(), 2), Err(1));
    let data = attachment_data(body.clone(), 1).unwrap();
    assert_eq!((data.attachment.number, data.data.as_slice()), (1, b"abc".as_slice()));
    assert!(data.attachment.sha256.to_string().starts_with("ba7816bf"));

    let held = Held::Received(received(MessageId::from_bytes([7; 32])));
    let view = message_view(&own(), &held, Some(body));
    assert_eq!((view.row.attachments, view.row.attachment_bytes, view.erased), (1, 3, false));
    assert!(message_view(&own(), &held, None).erased);
}
