//! `refpoint message watch`: each arrival a line and a bell, over restarts of the node.

use std::io::{self, IsTerminal, Write};

use crate::{
    api::views::{
        event::{Event, EventView, StreamGap},
        message::{MessageBox, MessageRow},
    },
    cli::{
        failure::Failure,
        human,
        message::list::precedence,
        node::{Node, converse},
        output::Output,
    },
    client::{Client, Followed, StreamItem},
};

/// From where, and how loud.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Begin after this event's number instead of now; the numbers stand in the JSON lines.
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// Do not ring the terminal's bell.
    #[arg(long)]
    silent: bool,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let client = arguments.node.client()?;
    converse(async {
        // Subscribed first: what comes while the list is read is not missed.
        let mut events = client.follow(arguments.after);
        events.connect().await?;
        list_waiting(&client, output).await?;
        output.talk("watching; Ctrl-C ends it");
        loop {
            match events.next().await? {
                Followed::Item(StreamItem::Event(event)) => arrival(&event, arguments, output)?,
                Followed::Item(StreamItem::Gap(StreamGap { after, resumed })) => {
                    output.talk(format!(
                        "events {} to {resumed} are no longer kept; this is what waits:",
                        after + 1
                    ));
                    list_waiting(&client, output).await?;
                }
                Followed::Item(StreamItem::Opened(_) | StreamItem::Unknown(_)) => {}
                Followed::Lost(error) => {
                    bell(arguments);
                    output.talk(format!(
                        "{}  NOT WATCHING: {error}; trying again",
                        human::instant(human::now())
                    ));
                }
                Followed::Back => output.talk(format!("{}  watching again", human::instant(human::now()))),
            }
        }
    })
}

async fn list_waiting(client: &Client, output: &Output) -> Result<(), Failure> {
    for row in client.messages(MessageBox::Inbox, false).await? {
        output.talk(format!("unacknowledged: {}", waiting_line(&row)));
    }
    Ok(())
}

fn arrival(event: &EventView, arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let Event::MessageReceived { message, sender, precedence, tlp, drill } = &event.event else {
        return Ok(());
    };
    bell(arguments);
    let mark = if *drill { " DRILL" } else { "" };
    let human = format!(
        "{}  {}{mark}  TLP:{tlp}  from {}  → refpoint message show {}",
        human::instant(event.at),
        precedence.name().to_uppercase(),
        human::member(sender),
        message.short()
    );
    if output.is_json() {
        return json_line(event);
    }
    output.result(human, event)
}

fn waiting_line(row: &MessageRow) -> String {
    let came = human::instant(row.received.unwrap_or(row.created));
    let show = format!("→ refpoint message show {}", row.id.short());
    format!("{came}  {}  TLP:{}  from {}  {show}", precedence(row), row.tlp, human::member(&row.sender))
}

/// One object a line, so that a program can read them as they come.
fn json_line(event: &EventView) -> Result<(), Failure> {
    let gone = |error: &dyn std::fmt::Display| {
        Failure::error("cannot print an event", error, "start the watch again")
    };
    let line = serde_json::to_string(event).map_err(|error| gone(&error))?;
    let mut stream = io::stdout().lock();
    writeln!(stream, "{line}").and_then(|()| stream.flush()).map_err(|error| gone(&error))
}

fn bell(arguments: &Arguments) {
    let mut terminal = io::stderr().lock();
    if !arguments.silent && terminal.is_terminal() {
        // A terminal that is gone rings no bell; the next line printed reports it.
        let _ = terminal.write_all(b"\x07").and_then(|()| terminal.flush());
    }
}
