//! Officers at work: they write to each other without pause and acknowledge what comes, and the ledger hears of every
//! word that a node says.

use std::time::Duration;

use refpoint::{
    api::{
        backend::IdPrefix,
        views::{
            event::Event,
            send::{SendRequest, StatementRequest},
        },
    },
    client::{Client, ClientError, Followed, StreamItem},
};
use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    draw::Draw,
    fleet::Fleet,
    ledger::{Ledger, Sent},
};

/// Officers at work, until [`Traffic::stop`].
pub(crate) struct Traffic {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Traffic {
    /// Every member of a fleet writes to all others, a message each `pace`.
    pub(crate) fn start(fleet: &Fleet, ledger: &Ledger, draw: &mut Draw, pace: Duration) -> Self {
        let mut traffic = Self { stop: CancellationToken::new(), tasks: JoinSet::new() };
        let codes: Vec<MemberCode> = fleet.members().iter().map(|member| member.code().clone()).collect();
        for member in fleet.members() {
            let officer = Officer {
                member: member.code().clone(),
                others: codes.iter().filter(|code| *code != member.code()).cloned().collect(),
                client: member.client.clone(),
                ledger: ledger.clone(),
                draw: Draw::new(draw.next(), member.code().as_str()),
                pace,
            };
            let (writer, reader) = (officer.clone(), officer);
            let (write, read) = (traffic.stop.clone(), traffic.stop.clone());
            traffic.tasks.spawn(async move {
                write.run_until_cancelled(writer.write()).await;
            });
            traffic.tasks.spawn(async move {
                read.run_until_cancelled(reader.read()).await;
            });
        }
        traffic
    }

    /// Nobody writes any more.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.tasks.join_all().await;
    }
}

/// Writes one message now; `Ok` if the node took it.
pub(crate) async fn send(
    client: &Client,
    ledger: &Ledger,
    (sender, recipients): (&MemberCode, &[MemberCode]),
    (precedence, length): (Precedence, usize),
) -> Result<MessageId, ClientError> {
    let text = ledger.new_text(length);
    // Written down first: if this task ends before the answer, the node may have taken it all the same.
    ledger.write(|book| {
        book.unanswered.insert(text.words());
    });
    let answer = client.send(&request(recipients, precedence, text.words())).await;
    ledger.write(|book| match &answer {
        Ok(reply) => {
            book.unanswered.remove(&text.words());
            let (sender, recipients) = (sender.clone(), recipients.to_vec());
            let sent = Sent { sender, recipients, text, is_forgotten: false };
            book.accepted.insert(reply.id, sent);
        }
        // Nobody knows whether these were taken.
        Err(ClientError::Problem(problem)) if matches!(problem.code.as_str(), "undecided" | "timed-out") => {}
        Err(ClientError::Problem(problem)) => {
            book.unanswered.remove(&text.words());
            book.refused.insert(text.words(), problem.code.clone());
        }
        Err(ClientError::NotRunning { .. }) => {
            book.unanswered.remove(&text.words());
        }
        Err(_) => {}
    });
    answer.map(|reply| reply.id)
}

/// The form of a message's id that commands take.
pub(crate) fn prefix(id: MessageId) -> anyhow::Result<IdPrefix> {
    Ok(id.to_string().parse()?)
}

#[derive(Clone)]
struct Officer {
    member: MemberCode,
    others: Vec<MemberCode>,
    client: Client,
    ledger: Ledger,
    draw: Draw,
    pace: Duration,
}

impl Officer {
    async fn write(mut self) {
        loop {
            tokio::time::sleep(self.pace.mul_f64(0.5 + self.draw.below(100) as f64 / 100.0)).await;
            let Some(first) = self.draw.one(&self.others).cloned() else { return };
            let mut recipients = vec![first];
            if self.draw.below(5) == 0 {
                let second = self.draw.one(&self.others).filter(|second| !recipients.contains(second));
                recipients.extend(second.cloned());
                recipients.sort();
            }
            let precedence = if self.draw.below(4) == 0 { Precedence::Routine } else { Precedence::Flash };
            let length = LENGTHS.get(self.draw.below(LENGTHS.len())).copied().unwrap_or_default();
            let kind = (precedence, length);
            // What came of it stands in the ledger.
            let _answer = send(&self.client, &self.ledger, (&self.member, &recipients), kind).await;
        }
    }

    /// Hears all events, and acknowledges some of what comes.
    async fn read(mut self) {
        let mut events = self.client.follow(None);
        loop {
            match events.next().await {
                Ok(Followed::Item(StreamItem::Event(event))) => self.hear(event.event).await,
                Ok(_) => {}
                // A folder that was put back knows less than the stream was told.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    events = self.client.follow(None);
                }
            }
        }
    }

    async fn hear(&mut self, event: Event) {
        match event {
            Event::MessageReceived { message, .. } => {
                self.ledger.write(|book| {
                    book.received.insert((message, self.member.clone()));
                });
                if self.draw.below(4) == 0 {
                    self.acknowledge(message).await;
                }
            }
            Event::MessageDelivered { message, member, .. } => self.ledger.write(|book| {
                book.delivered.insert((message, member));
            }),
            Event::MessageInCustody { message, member, custodian, .. } => self.ledger.write(|book| {
                book.custody.insert((message, member, custodian));
            }),
            _ => {}
        }
    }

    async fn acknowledge(&self, message: MessageId) {
        let Ok(id) = prefix(message) else { return };
        let statement = StatementRequest {
            word: Word::Acknowledged,
            role: Redacted("duty officer".to_owned()),
            will: Some(true),
            form: None,
            by: None,
        };
        if self.client.state(&id, &statement).await.is_ok() {
            self.ledger.write(|book| {
                book.acknowledged.insert((message, self.member.clone()));
            });
        }
    }
}

fn request(recipients: &[MemberCode], precedence: Precedence, text: String) -> SendRequest {
    SendRequest {
        recipients: recipients.to_vec(),
        precedence,
        tlp: Tlp::Amber,
        text: Some(Redacted(text)),
        reference: None,
        form: None,
        attachments: Vec::new(),
        expires_in_seconds: None,
        drill: false,
    }
}

/// Bytes of texts: the longest lie in files of their own beside the database.
const LENGTHS: [usize; 6] = [60, 60, 400, 1_500, 6_000, 30_000];
