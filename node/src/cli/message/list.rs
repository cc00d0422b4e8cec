//! `refpoint message inbox` and `outbox`: one line a message, the machine's word and the person's apart.

use refpoint_protocol::{message::body::Word, redact::Redacted};

use crate::{
    api::views::{
        instant::Instant,
        message::{MessageBox, MessageRow, PersonWord, RecipientState},
        receipt::MachineWord,
    },
    cli::{
        failure::Failure,
        human,
        node::{Node, converse},
        output::{Output, table},
        safe_text::line,
    },
};

/// Which messages.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// Acknowledged ones too.
    #[arg(long)]
    all: bool,
}

pub(super) fn inbox(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let rows = rows(arguments, MessageBox::Inbox)?;
    let now = human::now();
    let head = ["id", "precedence", "TLP", "from", "came", "person here"];
    let cells = |row: &MessageRow| {
        let came = row.received.unwrap_or(row.created).age_seconds(now);
        let person = row.states.first().map_or_else(|| "nobody yet".to_owned(), person);
        [id(row), precedence(row), row.tlp.to_string(), human::member(&row.sender), ago(came), person]
    };
    let empty =
        if arguments.all { "nothing has come" } else { "nothing is unacknowledged; see all with --all" };
    show(&rows, empty, || table(head, rows.iter().map(cells)), output)
}

pub(super) fn outbox(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let rows = rows(arguments, MessageBox::Outbox)?;
    let now = human::now();
    let head = ["id", "precedence", "TLP", "to", "sent", "machine there", "person there"];
    let line = |row: &MessageRow, to: String, machine: String, person: String| {
        [
            id(row),
            precedence(row),
            row.tlp.to_string(),
            to,
            ago(row.created.age_seconds(now)),
            machine,
            person,
        ]
    };
    // One line a recipient: each stands for itself. A drill of many must not bury the requests.
    let lines = rows.iter().flat_map(|row| match row.states.as_slice() {
        states @ [_, _, ..] if row.drill => {
            let count = |is: fn(&RecipientState) -> bool| states.iter().filter(|state| is(state)).count();
            let machine = format!("{} delivered", count(RecipientState::is_delivered));
            let person = format!("{} acknowledged", count(RecipientState::is_acknowledged));
            vec![line(row, format!("{} members", states.len()), machine, person)]
        }
        states => {
            let each = |state: &RecipientState| {
                line(row, human::member(&state.member), machine(state, now), person(state))
            };
            states.iter().map(each).collect()
        }
    });
    let empty = if arguments.all { "nothing was sent" } else { "nothing waits; see all with --all" };
    show(&rows, empty, || table(head, lines), output)
}

fn rows(arguments: &Arguments, folder: MessageBox) -> Result<Vec<MessageRow>, Failure> {
    let client = arguments.node.client()?;
    converse(async { Ok(client.messages(folder, arguments.all).await?) })
}

fn show(
    rows: &Vec<MessageRow>,
    empty: &str,
    table: impl FnOnce() -> String,
    output: &Output,
) -> Result<(), Failure> {
    let human = if rows.is_empty() { empty.to_owned() } else { table() };
    output.result(human, rows)
}

fn id(row: &MessageRow) -> String {
    row.id.short()
}

fn ago(seconds: u64) -> String {
    format!("{} ago", human::duration(seconds))
}

/// The precedence as it stands on every screen, with what must not be overlooked.
pub(super) fn precedence(row: &MessageRow) -> String {
    let word = row.precedence.name().to_uppercase();
    let drill = if row.drill { " DRILL" } else { "" };
    let unproven = if row.unproven { " UNPROVEN" } else { "" };
    let answer = if row.answers.is_some() { " (statement)" } else { "" };
    format!("{word}{drill}{unproven}{answer}")
}

/// What a recipient's machines say, and why not more.
pub(super) fn machine(state: &RecipientState, now: Instant) -> String {
    let word = machine_word(state.machine);
    let age = human::duration(state.machine_at.age_seconds(now));
    let reason = state.reason.as_deref().map(|reason| format!(": {}", line(reason))).unwrap_or_default();
    format!("{word} {age} ago{reason}")
}

/// What a person there says.
pub(super) fn person(state: &RecipientState) -> String {
    match &state.person {
        None => "nobody yet".to_owned(),
        Some(person) => said(person),
    }
}

/// A person's word with the role, when, and what is promised.
pub(super) fn said(person: &PersonWord) -> String {
    let (word, role) = (person_word(person.word), line(person.role.reveal()));
    let promise = promise(person.will, person.form.as_ref(), person.by);
    format!("{word} by {role}, {}{promise}", human::instant(person.at))
}

/// Whether it will be answered, in what form and by when, as far as a person said so.
pub(super) fn promise(will: Option<bool>, form: Option<&Redacted<String>>, by: Option<Instant>) -> String {
    let mut said = String::new();
    match will {
        Some(true) => said.push_str("; will be answered"),
        Some(false) => said.push_str("; will NOT be answered"),
        None => {}
    }
    if let Some(form) = form {
        said.push_str(&format!(", as {}", line(form.reveal())));
    }
    if let Some(by) = by {
        said.push_str(&format!(", by {}", human::instant(by)));
    }
    said
}

/// A machine's word on screens.
pub(in crate::cli) const fn machine_word(word: MachineWord) -> &'static str {
    match word {
        MachineWord::Queued => "queued",
        MachineWord::Sealed => "sealed",
        MachineWord::Custody => "custody",
        MachineWord::Delivered => "delivered",
        MachineWord::Reseal => "reseal",
        MachineWord::Refused => "refused",
        MachineWord::Expired => "expired",
        MachineWord::Stopped => "stopped",
        MachineWord::Undeliverable => "undeliverable",
    }
}

/// A person's word on screens.
pub(super) const fn person_word(word: Word) -> &'static str {
    match word {
        Word::Acknowledged => "acknowledged",
        Word::Unacknowledged => "unacknowledged",
        Word::Accepted => "accepted",
        Word::Declined => "declined",
        Word::MoreInformation => "more information",
        Word::Executed => "executed",
        Word::Answered => "answered",
        Word::Closed => "closed",
        Word::Withdrawn => "withdrawn",
    }
}
