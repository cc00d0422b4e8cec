//! Messages of this node's own and what anybody says of them: only the recipient node's signature makes `delivered`,
//! no word takes it back, and what a peer lacks is sent whatever was said before.

use std::{collections::BTreeSet, time::Duration};

use refpoint_protocol::{
    ids::{ContentHash, MessageId},
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        event::RelayEvent,
        exchange::{CommandId, RelayInput},
        frame::{Lacking, Offer},
        receipt::ReceiptWord,
    },
    storage::Table,
};

use super::desk::{Choices, Desk, receipt};

pub(crate) fn run(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut desk = Desk::new();
    let mut signed = BTreeSet::new();
    for at in 0..STEPS_MAX {
        if choices.is_over() {
            break;
        }
        step(&mut desk, &mut choices, at, &mut signed);
        desk.sent.clear();
        for event in desk.events.drain(..) {
            if let RelayEvent::MessageDelivered { step, .. } = event {
                assert!(
                    signed.contains(&(step.message, step.node)),
                    "delivered without its recipient's word"
                );
            }
        }
    }
}

fn step(
    desk: &mut Desk,
    choices: &mut Choices<'_>,
    at: u64,
    signed: &mut BTreeSet<(MessageId, refpoint_protocol::ids::NodeKey)>,
) {
    match choices.below(11) {
        0 => {
            let recipients = (0..1 + choices.below(3)).map(|_| choices.peer().member.clone()).collect();
            let precedence = choices.pick(&Precedence::ALL);
            let lifetime = choices.pick(&[None, Some(Duration::from_secs(600)), Some(Duration::ZERO)]);
            let text = Some(Redacted("a request".into()));
            let body = Body {
                tlp: Tlp::Amber,
                text,
                reference: None,
                attachments: Vec::new(),
                statement: None,
                drill: false,
                form: None,
            };
            let draft = Box::new(Draft { recipients, precedence, lifetime, body });
            desk.input(RelayInput::Submit { command: CommandId(at), draft });
        }
        1 => {
            let answers = message(desk, choices);
            let word =
                choices.pick(&[Word::Withdrawn, Word::Closed, Word::Unacknowledged, Word::Acknowledged]);
            let role = Redacted("duty officer".into());
            let statement = Statement { answers, word, role, will: None, form: None, by: None };
            let draft = Box::new(StatementDraft { statement, text: None });
            desk.input(RelayInput::State { command: CommandId(at), draft });
        }
        2..5 => {
            let (receipt, signer) = receipt(message(desk, choices), choices);
            let said = receipt.payload();
            if said.word == ReceiptWord::Delivered && signer.key == said.node {
                signed.insert((said.message, said.node));
            }
            desk.input(RelayInput::ReceiptReceived { from: choices.peer().key, receipt });
        }
        5 => {
            let peer = choices.peer();
            desk.input(RelayInput::Connected { node: peer.key, member: peer.member.clone() });
        }
        6 => desk.input(RelayInput::Disconnected { node: choices.peer().key }),
        7 => desk.pass(choices.pick(&[
            Duration::from_secs(2),
            Duration::from_secs(21),
            Duration::from_secs(700),
            Duration::from_secs(2 * 86_400),
        ])),
        8 => match choices.below(4) {
            0 => {
                let ids = (0..choices.below(5)).map(|_| message(desk, choices)).collect();
                desk.input(RelayInput::LackingReceived {
                    from: choices.peer().key,
                    lacking: Lacking { ids },
                });
            }
            1 => {
                let (hash, count) =
                    (ContentHash::from_bytes([choices.byte(); 32]), u64::from(choices.byte()));
                let from = choices.peer().key;
                desk.input(RelayInput::OfferUnknownReceived { from, offer: Offer { hash, count } });
            }
            _ => {
                let (to, message) = (choices.peer().key, message(desk, choices));
                desk.input(RelayInput::SendFailed { to, message });
            }
        },
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

/// A message in the outbox, or one that is not.
fn message(desk: &Desk, choices: &mut Choices<'_>) -> MessageId {
    let at = choices.below(6);
    let known = desk.stored(Table::Outbox).nth(at).and_then(|key| key.as_slice().try_into().ok());
    MessageId::from_bytes(known.unwrap_or([9; 32]))
}

/// Steps of one run: each message costs a sealing for each recipient.
const STEPS_MAX: u64 = 60;
