//! Whether all promises were kept: every accepted message is in each recipient's inbox once, with its text, and its
//! sender knows; or its sender was told why not.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use refpoint::{
    api::views::{
        message::{MessageBox, MessageRow},
        receipt::MachineWord,
    },
    client::ClientError,
};
use refpoint_protocol::ids::{MemberCode, MessageId};

use super::{fleet::Fleet, ledger::Ledger, say, traffic::prefix};

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

/// What is wrong with the inboxes, in words.
#[derive(Default)]
struct Found {
    lost: Vec<String>,
    doubled: Vec<String>,
}

/// Looks at a fleet again and again over a run; remembers whose texts it has read.
#[derive(Default)]
pub(crate) struct Judge {
    /// The text of each inbox entry that was read.
    texts: BTreeMap<(MemberCode, MessageId), String>,
}

impl Judge {
    /// Waits until every sender knows what became of its messages, then looks at every inbox.
    pub(crate) async fn verdict(
        &mut self,
        fleet: &Fleet,
        ledger: &Ledger,
        within: Duration,
    ) -> anyhow::Result<Verdict> {
        let begun = Instant::now();
        let mut told = Instant::now();
        let unsettled = loop {
            let unsettled = match unsettled(fleet, ledger).await {
                // A node that is busy answers a little later.
                Err(error) if is_late(&error) && begun.elapsed() <= within => continue,
                answered => answered?,
            };
            if unsettled.is_empty() || begun.elapsed() > within {
                break unsettled;
            }
            if told.elapsed() > Duration::from_secs(10) {
                say(&format!("{} messages are still under way", unsettled.len()));
                told = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        };
        let mut verdict = Verdict::default();
        for why in &unsettled {
            say(&format!("LOST: {why}"));
            verdict.lost += 1;
        }
        // A folder that was put back is offered again what it lacks: its senders know it as delivered already.
        let found = loop {
            let found = match self.inboxes(fleet, ledger).await {
                Err(error) if is_late(&error) && begun.elapsed() <= within => continue,
                answered => answered?,
            };
            if found.lost.is_empty() || begun.elapsed() > within {
                break found;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        for why in found.lost.iter().chain(&found.doubled) {
            say(why);
        }
        verdict.lost += found.lost.len() as u64;
        verdict.doubled += found.doubled.len() as u64;
        Ok(verdict)
    }

    async fn inboxes(&mut self, fleet: &Fleet, ledger: &Ledger) -> anyhow::Result<Found> {
        let book = ledger.read();
        let mut found = Found::default();
        let told = told(fleet).await?;
        for member in fleet.members().iter().filter(|member| member.is_started()) {
            let code = member.code();
            let rows = member.client.messages(MessageBox::Inbox, true).await?;
            anyhow::ensure!(rows.len() < ROWS_MAX, "more messages than one list holds");
            let mut of_text = BTreeMap::<String, u64>::new();
            for row in &rows {
                let key = (code.clone(), row.id);
                if !self.texts.contains_key(&key) {
                    let text = member.client.message(&prefix(row.id)?).await?.text;
                    self.texts.insert(key.clone(), text.map(|text| text.0).unwrap_or_default());
                }
                let text = self.texts.get(&key).cloned().unwrap_or_default();
                match book.accepted.get(&row.id) {
                    Some(sent) if sent.text.words() != text => {
                        found.lost.push(format!("LOST: {} at {code} has another text", row.id.short()));
                    }
                    None if book.refused.contains_key(&text) => {
                        let reason = book.refused.get(&text).cloned().unwrap_or_default();
                        found.doubled.push(format!(
                            "WRONG: {} at {code} was refused to its officer: {reason}",
                            row.id.short()
                        ));
                    }
                    None if !book.unanswered.contains(&text) => {
                        anyhow::bail!("{} at {code} was never written", row.id.short())
                    }
                    _ => {}
                }
                *of_text.entry(text).or_default() += 1;
            }
            for (text, copies) in of_text.into_iter().filter(|(_, copies)| *copies > 1) {
                let begins: String = text.chars().take(30).collect();
                found.doubled.push(format!("DOUBLED: {copies} copies of {begins:?} at {code}"));
            }
            let here: BTreeSet<MessageId> = rows.iter().map(|row| row.id).collect();
            for (id, sent) in book.accepted.iter().filter(|(_, sent)| sent.recipients.contains(code)) {
                if !here.contains(id) && !told.contains(&(*id, code.clone())) {
                    found.lost.push(format!("LOST: {} of {} is not at {code}", id.short(), sent.sender));
                }
            }
        }
        Ok(found)
    }
}

/// What will not arrive, as its sender was told.
async fn told(fleet: &Fleet) -> anyhow::Result<BTreeSet<(MessageId, MemberCode)>> {
    let mut told = BTreeSet::new();
    for member in fleet.members().iter().filter(|member| member.is_started()) {
        for row in member.client.messages(MessageBox::Outbox, true).await? {
            for state in row.states.iter().filter(|state| is_told(state.machine)) {
                told.insert((row.id, state.member.clone()));
            }
        }
    }
    Ok(told)
}

/// What is not as it must be in the end, in words; empty once everything is.
async fn unsettled(fleet: &Fleet, ledger: &Ledger) -> anyhow::Result<Vec<String>> {
    let mut outboxes = BTreeMap::<MemberCode, BTreeMap<MessageId, MessageRow>>::new();
    for member in fleet.members().iter().filter(|member| member.is_started()) {
        let waiting = member.client.status().await.map(|status| status.facts.outbox_waiting);
        let rows = match waiting {
            Ok(_) => member.client.messages(MessageBox::Outbox, true).await,
            Err(error) => Err(error),
        };
        let rows =
            rows.with_context(|| format!("{} does not answer:\n{}", member.code(), member.log_tail()))?;
        outboxes.insert(member.code().clone(), rows.into_iter().map(|row| (row.id, row)).collect());
    }
    let book = ledger.read();
    let mut found = Vec::new();
    for (id, sent) in book.accepted.iter().filter(|(_, sent)| !sent.is_forgotten) {
        let Some(rows) = outboxes.get(&sent.sender) else { continue };
        let Some(row) = rows.get(id) else {
            found.push(format!("{} is not in the outbox of {}", id.short(), sent.sender));
            continue;
        };
        for recipient in &sent.recipients {
            let Some(state) = row.states.iter().find(|state| state.member == *recipient) else {
                found.push(format!("{} has no state for {recipient}", id.short()));
                continue;
            };
            if !state.is_delivered() && !is_told(state.machine) {
                let reason = state.reason.clone().unwrap_or_default();
                found.push(format!(
                    "{} from {} to {recipient} is {:?} {reason}",
                    id.short(),
                    sent.sender,
                    state.machine
                ));
            }
            if book.acknowledged.contains(&(*id, recipient.clone())) && !state.is_acknowledged() {
                found.push(format!("{} does not hear that {recipient} took {}", sent.sender, id.short()));
            }
        }
    }
    Ok(found)
}

/// Whether a node took too long for an answer, which says nothing of what it will answer.
fn is_late(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::TimedOut(_)) => true,
        Some(ClientError::Problem(problem)) => matches!(problem.code.as_str(), "timed-out" | "busy"),
        _ => false,
    }
}

const fn is_told(word: MachineWord) -> bool {
    matches!(word, MachineWord::Expired | MachineWord::Stopped | MachineWord::Undeliverable)
}

/// Rows of one list of the API.
const ROWS_MAX: usize = 10_000;
