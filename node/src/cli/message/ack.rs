//! `refpoint message ack`: a person here says that the message is taken, and whether it will be answered.

use clap::ValueEnum;
use refpoint_protocol::{ids::MessageId, message::body::Word, redact::Redacted};
use serde_json::json;

use super::{Speaker, list::said};
use crate::{
    api::views::{
        message::{MessageBox, PersonWord},
        receipt::ReceiptsView,
        send::{StatementReply, StatementRequest},
    },
    cli::{
        failure::Failure,
        human,
        node::{Node, converse, id},
        output::Output,
    },
};

/// Which message, and what is said.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The message's id, or the first four or more of its digits.
    id: String,
    #[command(flatten)]
    speaker: Speaker,
    /// Whether it will be answered.
    #[arg(long)]
    will: Option<Will>,
    /// In what form, such as "preservation report".
    #[arg(long)]
    form: Option<String>,
    /// By when: 2026-11-25T06:00Z, or +8h from now.
    #[arg(long, value_name = "TIME")]
    by: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Will {
    Yes,
    No,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let id = id(&arguments.id)?;
    let moment = |text: &String| {
        human::parse_moment(text, human::now()).map_err(|error| {
            Failure::usage("nothing was said", error, "say --by 2026-11-25T06:00Z or --by +8h")
        })
    };
    let request = StatementRequest {
        will: arguments.will.map(|will| matches!(will, Will::Yes)),
        form: arguments.form.clone().map(Redacted),
        by: arguments.by.as_ref().map(moment).transpose()?,
        ..arguments.speaker.says(Word::Acknowledged)
    };
    request.check()?;
    let client = arguments.node.client()?;
    let answer = converse(async {
        let receipts = client.receipts(&id).await?;
        match said_before(&receipts, &request) {
            Some(person) => Ok(Answer::Before(receipts.message, person.clone())),
            None => Ok(Answer::Now(client.state(&id, &request).await?, receipts.drill)),
        }
    })?;
    let (reply, drill) = match answer {
        Answer::Now(reply, drill) => (reply, drill),
        Answer::Before(message, person) => {
            let human = format!("nothing was sent: message {} is already {}", message.short(), said(&person));
            return output.result(human, &json!({ "message": message, "unchanged": true, "person": person }));
        }
    };
    let recipients: Vec<String> = reply.recipients.iter().map(ToString::to_string).collect();
    let human = format!(
        "acknowledged: {}message {} at {}; {} is told",
        if drill { "DRILL, " } else { "" },
        reply.message.short(),
        human::instant(reply.at),
        recipients.join(", ")
    );
    output.result(human, &reply)
}

enum Answer {
    /// With whether it was a drill.
    Now(StatementReply, bool),
    Before(MessageId, PersonWord),
}

/// What this role said of a received message before, if what is asked for adds nothing to it.
fn said_before<'a>(receipts: &'a ReceiptsView, request: &StatementRequest) -> Option<&'a PersonWord> {
    let own = receipts.recipients.first().filter(|_| receipts.folder == MessageBox::Inbox)?;
    let person = own.person.as_ref()?;
    let same = |asked: bool, is_same: bool| !asked || is_same;
    let adds_nothing = person.word == request.word
        && person.role == request.role
        && same(request.will.is_some(), person.will == request.will)
        && same(request.form.is_some(), person.form == request.form)
        && same(request.by.is_some(), person.by == request.by);
    adds_nothing.then_some(person)
}
