//! `refpoint message withdraw`: a person here takes back a message that was sent.

use refpoint_protocol::message::body::Word;

use super::Speaker;
use crate::{
    api::views::{
        message::MessageBox,
        receipt::{MachineWord, ReceiptsView},
    },
    cli::{
        failure::Failure,
        human,
        node::{Node, converse, id},
        output::{Consent, Output},
    },
};

/// Take back a message that this unit sent: who has not had it does not get it any more; who has is told.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The message's id, or the first four or more of its digits.
    id: String,
    #[command(flatten)]
    speaker: Speaker,
    /// Take it back without asking.
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let id = id(&arguments.id)?;
    let request = arguments.speaker.says(Word::Withdrawn);
    request.check()?;
    let client = arguments.node.client()?;
    converse(async {
        let receipts = client.receipts(&id).await?;
        if receipts.folder != MessageBox::Outbox {
            let hint = format!("say what becomes of it: refpoint message ack {}", arguments.id);
            return Err(Failure::usage("nothing was taken back", "this unit received that message", hint));
        }
        output.talk(preview(&receipts));
        output.confirm("Take it back?", Consent::from_flag(arguments.yes))?;
        let reply = client.state(&id, &request).await?;
        let text = format!("taken back: message {} at {}", reply.message.short(), human::instant(reply.at));
        output.result(text, &reply)
    })
}

/// What taking it back can do, and what it cannot.
fn preview(receipts: &ReceiptsView) -> String {
    let codes = |has_it: bool| {
        let had = receipts.recipients.iter().filter(|it| (it.machine == MachineWord::Delivered) == has_it);
        had.map(|it| it.member.as_str()).collect::<Vec<_>>().join(" ")
    };
    let mut text = format!("message {}, sent\n", receipts.message.short());
    let (had, spared) = (codes(true), codes(false));
    if !spared.is_empty() {
        text.push_str(&format!("  {spared}: does not get it from this node any more\n"));
    }
    if !had.is_empty() {
        text.push_str(&format!("  {had}: HAS it already; it is marked there, and can still be read\n"));
    }
    text.trim_end().to_owned()
}
