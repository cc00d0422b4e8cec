//! `refpoint message send`: shows whom it reaches, asks, hands the message over, and says what became of it.

use std::time::Duration;

use clap::ValueEnum;
use refpoint_protocol::{
    ids::MemberCode,
    message::{body::Tlp, header::Precedence},
};
use tokio::time::Instant as Deadline;

use super::{
    list::said,
    outcome::{Goal, Outcome, Standing},
};
use crate::{
    api::views::{
        directory::DirectoryEntryView,
        send::{RecipientContact, SendReply, SendRequest},
    },
    cli::{
        directory::marked,
        failure::{Exit, Failure},
        human,
        node::{Node, converse, member},
        output::{Consent, Output},
        safe_text::line,
    },
    client::{Client, FollowedEvents},
};

mod call;
mod content;

/// Whom to send to, how urgently, and what.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The recipients' codes, such as KE or KE,FR.
    #[arg(required = true, value_delimiter = ',')]
    recipients: Vec<String>,
    /// How urgent it is: flash within 10 minutes, immediate 30, priority 3 hours, routine 6.
    #[arg(long, ignore_case = true)]
    precedence: PrecedenceWord,
    /// Who may see it further.
    #[arg(long, ignore_case = true)]
    tlp: TlpWord,
    #[command(flatten)]
    content: content::Content,
    /// How long it may take to arrive: 60s to 14d.
    #[arg(long, value_name = "TIME", default_value = "72h", value_parser = human::parse_duration)]
    expires: Duration,
    /// Mark it as an exercise.
    #[arg(long)]
    drill: bool,
    /// Send without asking.
    #[arg(long)]
    yes: bool,
    /// Wait, with exit code 5 if it was not delivered and 6 if it was not acknowledged in time.
    #[arg(long, value_name = "WORD")]
    wait: Option<Goal>,
    /// How long to wait.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = human::parse_duration, requires = "wait")]
    timeout: Duration,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PrecedenceWord {
    Flash,
    Immediate,
    Priority,
    Routine,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TlpWord {
    Clear,
    Green,
    Amber,
    // As the screens write it, and as scripts did.
    #[value(name = "amber+strict", alias = "amber-strict")]
    AmberStrict,
    Red,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let request = request(arguments)?;
    let client = arguments.node.client()?;
    converse(async {
        let mut entries = Vec::new();
        for member in &request.recipients {
            entries.push(client.directory_entry(member).await?);
        }
        output.talk(preview(&request, &entries));
        output.confirm("Send it?", Consent::from_flag(arguments.yes))?;

        // Subscribed first, so that a delivery faster than the answer is not missed.
        let mut events = client.follow(None);
        events.connect().await?;
        let reply = client.send(&request).await?;
        if !output.is_json() {
            output.result(queued(&reply, request.drill), &reply)?;
        }
        let sent = Sent { client: &client, output, reply, entries, drill: request.drill };
        sent.conclude(arguments.wait, arguments.timeout, &mut events).await
    })
}

fn request(arguments: &Arguments) -> Result<SendRequest, Failure> {
    let recipients =
        arguments.recipients.iter().map(|text| member(text)).collect::<Result<Vec<MemberCode>, _>>()?;
    let request = SendRequest {
        recipients,
        precedence: arguments.precedence.precedence(),
        tlp: arguments.tlp.tlp(),
        text: arguments.content.text()?,
        reference: arguments.content.reference()?,
        form: None,
        attachments: arguments.content.attachments()?,
        expires_in_seconds: Some(arguments.expires.as_secs()),
        drill: arguments.drill,
    };
    request.check()?;
    Ok(request)
}

/// A message in the outbox, and all that is needed to say what becomes of it.
struct Sent<'a> {
    client: &'a Client,
    output: &'a Output,
    reply: SendReply,
    entries: Vec<DirectoryEntryView>,
    /// Nobody is called about an exercise.
    drill: bool,
}

impl Sent<'_> {
    async fn conclude(
        &self,
        wait: Option<Goal>,
        timeout: Duration,
        events: &mut FollowedEvents,
    ) -> Result<(), Failure> {
        let mut outcome = Outcome::new(self.reply.recipients.iter().map(|contact| contact.member.clone()));
        let start = Deadline::now();
        let goal = wait.unwrap_or(Goal::Delivered);
        // A program that does not wait is answered at once.
        if wait.is_some() || !self.output.is_json() {
            let end = start + wait.map_or(CALL_AFTER, |_| timeout);
            self.follow(&mut outcome, Goal::Delivered, (start + CALL_AFTER).min(end), events).await?;
            let is_late = Deadline::now() >= start + CALL_AFTER;
            if is_late {
                self.tell_whom_to_call(&outcome, start);
            }
            self.follow(&mut outcome, goal, end, events).await?;
            if !is_late {
                self.tell_whom_to_call(&outcome, start);
            }
        }
        if self.output.is_json() {
            let call = self.to_call(&outcome);
            let json = serde_json::json!({ "sent": self.reply, "outcome": outcome, "call": call });
            self.output.result("", &json)?;
        }
        match wait {
            Some(goal) if !outcome.has_reached(goal) => Err(self.unreached(&outcome)),
            _ => Ok(()),
        }
    }

    async fn follow(
        &self,
        outcome: &mut Outcome,
        goal: Goal,
        deadline: Deadline,
        events: &mut FollowedEvents,
    ) -> Result<(), Failure> {
        let id = self.reply.id;
        let told = |member: &MemberCode, standing: &Standing| self.output.talk(changed(member, standing));
        Ok(outcome.follow(id, goal, deadline, events, self.client, told).await?)
    }

    /// Shows the telephones of those whom it has not reached, if there are any.
    fn tell_whom_to_call(&self, outcome: &Outcome, start: Deadline) {
        let call = self.to_call(outcome);
        if !call.is_empty() && !self.output.is_json() {
            self.output.talk(call::page(&call, start.elapsed()));
        }
    }

    fn to_call(&self, outcome: &Outcome) -> Vec<call::Call> {
        if self.drill { Vec::new() } else { call::undelivered(outcome, &self.entries) }
    }

    fn unreached(&self, outcome: &Outcome) -> Failure {
        let id = self.reply.id.short();
        let (what, call) = if self.drill { ("drill", "") } else { ("message", "call the unit; ") };
        let undelivered: Vec<String> = outcome
            .undelivered()
            .map(|(member, standing)| match &standing.failed {
                Some(reason) => format!("{member}: {}", line(reason)),
                None => match &standing.custody {
                    Some(held) => format!("{member}: its node has not confirmed it (custody {held})"),
                    None => format!("{member}: its node has not confirmed it"),
                },
            })
            .collect();
        if !undelivered.is_empty() {
            let remedy =
                format!("{call}the node goes on trying until it expires: refpoint message receipts {id}");
            return Failure::new(
                Exit::NotDelivered,
                format!("{what} {id} is not delivered"),
                undelivered.join("\n"),
                remedy,
            );
        }
        let silent: Vec<&str> = outcome
            .recipients
            .iter()
            .filter(|(_, standing)| !standing.acknowledged)
            .map(|(member, _)| member.as_str())
            .collect();
        let why =
            format!("delivered, but no person at {} has said so far that it is taken", silent.join(", "));
        let remedy = format!("{call}later: refpoint message receipts {id}");
        Failure::new(Exit::NotAcknowledged, format!("{what} {id} is not acknowledged"), why, remedy)
    }
}

fn preview(request: &SendRequest, entries: &[DirectoryEntryView]) -> String {
    let drill = if request.drill { "DRILL, " } else { "" };
    let precedence = request.precedence.name().to_uppercase();
    let bytes: usize = request.attachments.iter().map(|file| file.data.as_slice().len()).sum();
    let text = request.text.as_ref().map_or(0, |text| text.reveal().chars().count());
    let mut preview = format!(
        "{drill}{precedence}, TLP:{}, {text} characters, {} attachments ({}), expires after {}\nto:\n",
        request.tlp,
        request.attachments.len(),
        human::bytes(bytes as u64),
        human::duration(request.expiry().as_secs())
    );
    for entry in entries {
        preview.push_str(&recipient(entry));
    }
    preview.trim_end().to_owned()
}

fn recipient(entry: &DirectoryEntryView) -> String {
    let row = &entry.row;
    let names = [&row.names.en, &row.names.fr, &row.names.es, &row.names.ar].map(|name| line(name));
    let mut text = format!("  {}  {}\n", row.member, names.join(" · "));
    let mut add = |label: &str, value: &str| text.push_str(&format!("      {label:<12} {value}\n"));
    add(
        "unit",
        &row.unit.as_deref().map_or("not published".to_owned(), |unit| marked(line(unit), row.sample)),
    );
    let zone = row.time_zone.as_deref().map(line).unwrap_or_default();
    add("local time", format!("{} {zone}", row.local_time.as_deref().unwrap_or("unknown")).trim_end());
    match &row.on_duty {
        Some(duty) => {
            add("answers now", &format!("{}, speaks {}", line(&duty.role), line(&duty.languages.join(", "))))
        }
        None => add("answers now", "not said"),
    }
    let languages =
        if row.languages.is_empty() { "not said".to_owned() } else { line(&row.languages.join(", ")) };
    add("languages", &languages);
    add("node", if row.connected { "connected" } else { "away: the message waits until it is back" });
    if row.disputed {
        add("DISPUTED", "its entry contradicts itself: call back by a number you know");
    }
    text
}

fn queued(reply: &SendReply, drill: bool) -> String {
    let mark = if drill { "DRILL, " } else { "" };
    let mut text = format!("{mark}message {}   id {}\nqueued", reply.id.short(), reply.id);
    text.push_str(&format!(", expires {}\n", human::instant(reply.expires)));
    for contact in &reply.recipients {
        text.push_str(&format!("  {}\n", contact_line(contact)));
    }
    text
}

fn contact_line(contact: &RecipientContact) -> String {
    let member = &contact.member;
    let since = contact.since.map(|since| format!(" since {}", human::instant(since)));
    match (contact.connected, since) {
        (true, since) => format!("{member} is connected{}", since.unwrap_or_default()),
        (false, since) => {
            let since = since.unwrap_or_else(|| ": it was never seen".to_owned());
            let reason = contact.reason.as_deref().map(|reason| format!(" ({})", line(reason)));
            format!("{member} is not connected{since}{}", reason.unwrap_or_default())
        }
    }
}

fn changed(member: &MemberCode, standing: &Standing) -> String {
    let at = human::instant(human::now());
    match standing {
        Standing { acknowledged: true, person: Some(person), .. } => {
            format!("{at}  person   {member} {}", said(person))
        }
        Standing { acknowledged: true, .. } => format!("{at}  person   {member} acknowledged"),
        Standing { delivered: true, .. } => format!("{at}  machine  {member} delivered"),
        Standing { failed: Some(reason), .. } => format!("{at}  machine  {member} {}", line(reason)),
        Standing { custody: Some(held), .. } => {
            format!("{at}  machine  {member} custody {held}: others keep it until its node is back")
        }
        Standing { .. } => format!("{at}  machine  {member} queued"),
    }
}

impl PrecedenceWord {
    const fn precedence(self) -> Precedence {
        match self {
            Self::Flash => Precedence::Flash,
            Self::Immediate => Precedence::Immediate,
            Self::Priority => Precedence::Priority,
            Self::Routine => Precedence::Routine,
        }
    }
}

impl TlpWord {
    const fn tlp(self) -> Tlp {
        match self {
            Self::Clear => Tlp::Clear,
            Self::Green => Tlp::Green,
            Self::Amber => Tlp::Amber,
            Self::AmberStrict => Tlp::AmberStrict,
            Self::Red => Tlp::Red,
        }
    }
}

/// After this long without delivery the published telephone is shown: an officer's patience.
const CALL_AFTER: Duration = Duration::from_secs(10);
