//! Parcels for others and what their recipients say of them, in any order, over starts and full disks: what is kept
//! is on the disk before it is said, and nothing is dropped but for the recipient's word or its expiry.

use std::time::Duration;

use refpoint_protocol::{
    ids::{MemberCode, MessageId, SealingKeyId},
    relay::{
        exchange::RelayInput,
        parcel::{Class, Label, Parcel},
        receipt::ReceiptWord,
    },
};

use super::desk::{Choices, Desk, START, own, receipt};

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut desk = Desk::new();
    for _ in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        step(&mut desk, &mut choices);
        desk.sent.clear();
        desk.events.clear();
    }
}

fn step(desk: &mut Desk, choices: &mut Choices<'_>) {
    match choices.below(11) {
        0..3 => {
            let from = choices.peer().key;
            let parcel = Box::new(parcel(choices));
            // What is for the node at the desk itself is another target's.
            if parcel.label.node != own().key {
                desk.input(RelayInput::ParcelReceived { from, parcel });
            }
        }
        3 | 4 => {
            let (receipt, signer) = receipt(message(choices), choices);
            let said = receipt.payload();
            let lasting = match said.word {
                ReceiptWord::Delivered => true,
                ReceiptWord::Refused => said.reason.is_some_and(|reason| !reason.is_passing()),
                ReceiptWord::Custody | ReceiptWord::Reseal => false,
            };
            if lasting && signer.key == said.node {
                desk.answered.insert((said.message, said.node));
            }
            desk.input(RelayInput::ReceiptReceived { from: choices.peer().key, receipt });
        }
        5 => {
            let peer = choices.peer();
            desk.input(RelayInput::Connected { node: peer.key, member: peer.member.clone() });
        }
        6 => desk.input(RelayInput::Disconnected { node: choices.peer().key }),
        7 => desk.pass(choices.pick(&[
            Duration::from_millis(30),
            Duration::from_secs(21),
            Duration::from_secs(600),
            Duration::from_secs(86_400),
        ])),
        8 => {
            let (to, message) = (choices.peer().key, message(choices));
            desk.input(RelayInput::SendFailed { to, message });
        }
        9 => match choices.below(4) {
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

fn parcel(choices: &mut Choices<'_>) -> Parcel {
    let (message, recipient) = (message(choices), choices.seat());
    let member: MemberCode = match choices.below(8) {
        0 => choices.seat().member.clone(),
        _ => recipient.member.clone(),
    };
    let lifetime = choices.pick(&[3_600, 3_600, 14 * 86_400, 30 * 86_400, 1]);
    let length = choices.pick(&[512_usize, 512, 1_024, 65_536]);
    let size = if choices.byte() == 1 { 7 } else { length as u64 };
    let label = Label {
        message,
        member,
        node: recipient.key,
        expires: START.after(Duration::from_secs(lifetime)),
        class: choices.pick(&[Class::Normal, Class::Urgent]),
        size,
    };
    let sealed = vec![7; choices.pick(&[1_200, 1_200, 1_200, 100_000])];
    let sealing_key = SealingKeyId::from_bytes([choices.pick(&[1, 1, 2]); 32]);
    Parcel { label, sealing_key, sealed, ciphertext: vec![9; length] }
}

fn message(choices: &mut Choices<'_>) -> MessageId {
    MessageId::from_bytes([choices.pick(&[1, 2, 3]); 32])
}

/// Steps of one run: what is found in more is found in fewer too.
const STEPS_MAX: usize = 200;
