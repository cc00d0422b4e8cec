//! Parcels for this node, good and damaged, in any order, over starts and full disks: each message is told of once,
//! and `delivered` rests on the disk.

use std::{collections::BTreeSet, sync::LazyLock, time::Duration};

use refpoint_protocol::{
    ids::{ContentHash, MessageId},
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::Draft,
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        event::RelayEvent,
        exchange::RelayInput,
        frame::{Offer, OfferIds},
        parcel::{Class, Parcel},
        sealing::{compose, label, seal},
    },
    storage::Table,
};

use super::desk::{Choices, Desk, FEDERATION, SEATS, START, own};

/// Parcels that open: messages of two senders, and a statement about the first of them.
static GOOD: LazyLock<Vec<Parcel>> = LazyLock::new(|| {
    let mut parcels: Vec<Parcel> = (0..4).map(|at| parcel(at, None)).collect();
    let answers = parcels.first().expect("there are four").label.message;
    parcels.push(parcel(5, Some(answers)));
    parcels
});

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut desk = Desk::new();
    let mut told = BTreeSet::new();
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        step(&mut desk, &mut choices);
        desk.sent.clear();
        for event in desk.events.drain(..) {
            if let RelayEvent::MessageArrived { message, .. } = event {
                assert!(told.insert(message), "a message appears twice");
            }
        }
        let known: BTreeSet<_> = desk.stored(Table::MessageIds).cloned().collect();
        let without_id = desk.stored(Table::Inbox).find(|key| !known.contains(*key));
        assert_eq!(without_id, None, "a message without its id");
    }
}

fn step(desk: &mut Desk, choices: &mut Choices<'_>) {
    match choices.below(10) {
        0..4 => {
            let from = choices.peer().key;
            let mut parcel = GOOD.get(choices.below(GOOD.len())).expect("it is below the length").clone();
            if choices.below(3) == 0 {
                damage(&mut parcel, choices);
            }
            if parcel.label.node == own().key {
                desk.input(RelayInput::ParcelReceived { from, parcel: Box::new(parcel) });
            }
        }
        4 => {
            let ids = (0..choices.below(6)).map(|_| id(choices)).collect();
            desk.input(RelayInput::OfferIdsReceived {
                from: choices.peer().key,
                ids: OfferIds { ids, more: choices.byte() == 1 },
            });
        }
        5 => {
            let (hash, count) = (ContentHash::from_bytes([choices.byte(); 32]), u64::from(choices.byte()));
            desk.input(RelayInput::OfferReceived { from: choices.peer().key, offer: Offer { hash, count } });
        }
        6 => {
            let peer = choices.peer();
            match choices.below(2) {
                0 => desk.input(RelayInput::Connected { node: peer.key, member: peer.member.clone() }),
                _ => desk.input(RelayInput::Disconnected { node: peer.key }),
            }
        }
        7 => desk.pass(choices.pick(&[
            Duration::from_secs(1),
            Duration::from_secs(61),
            Duration::from_secs(86_400),
            Duration::from_secs(3 * 86_400),
        ])),
        8 => match choices.below(4) {
            0 => desk.disk_is_full ^= true,
            1 => desk.directory.clock_is_wrong ^= true,
            2 => {
                desk.directory.suspended =
                    choices.pick(&[None, Some(())]).map(|()| choices.peer().member.clone());
                desk.input(RelayInput::DirectoryChanged { member: None });
            }
            _ => {
                desk.directory.retired = choices.pick(&[None, Some(())]).map(|()| choices.peer().key);
                desk.input(RelayInput::DirectoryChanged { member: None });
            }
        },
        _ => desk.restart(),
    }
}

/// Changes one part of a parcel, as whoever bears it could.
fn damage(parcel: &mut Parcel, choices: &mut Choices<'_>) {
    let flip = |bytes: &mut Vec<u8>, at: usize, with: u8| {
        let length = bytes.len();
        if let Some(byte) = bytes.get_mut(at * 37 % length.max(1)) {
            *byte ^= with;
        }
    };
    match choices.below(8) {
        0 => flip(&mut parcel.sealed, usize::from(choices.byte()), choices.byte()),
        1 => flip(&mut parcel.ciphertext, usize::from(choices.byte()), choices.byte()),
        2 => parcel.label.message = id(choices),
        3 => parcel.label.expires = START.after(Duration::from_secs(u64::from(choices.byte()) * 3_600)),
        4 => parcel.label.class = Class::Normal,
        5 => parcel.label.size ^= u64::from(choices.byte()),
        6 => parcel.label.member = choices.seat().member.clone(),
        _ => parcel.sealing_key = choices.seat().seed.id(),
    }
}

fn id(choices: &mut Choices<'_>) -> MessageId {
    let known = GOOD.get(choices.below(GOOD.len() + 1)).map(|parcel| parcel.label.message);
    known.unwrap_or_else(|| MessageId::from_bytes([choices.byte(); 32]))
}

fn parcel(at: u8, answers: Option<MessageId>) -> Parcel {
    let sender = SEATS.get(1 + usize::from(at) % 2).expect("there are four");
    let statement = answers.map(|answers| Statement {
        answers,
        word: Word::Acknowledged,
        role: Redacted("duty officer".into()),
        will: Some(true),
        form: None,
        by: None,
    });
    let text = statement.is_none().then(|| Redacted("a request".into()));
    let body = Body {
        tlp: Tlp::Amber,
        text,
        reference: None,
        attachments: Vec::new(),
        statement,
        drill: false,
        form: None,
    };
    let (recipients, lifetime) = (vec![own().member.clone()], None);
    let draft = Draft { recipients, precedence: Precedence::Flash, lifetime, body };
    let composed = compose(&draft, &sender.member, FEDERATION, &sender.signing, START, &[at; 56]);
    let content = composed.expect("it is in form").content;
    let label = label(&content, own().member.clone(), own().key);
    seal(&content, label, &own().sealing, &[at; 64]).expect("it seals")
}

/// Steps of one run: each parcel costs an opening.
const STEPS_MAX: usize = 60;
