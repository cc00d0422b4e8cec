//! The API's view of the running node: looks at the machine, reads content from storage, hands in commands.
//!
//! It decides nothing; what the machine refuses is put into words here.

mod directory;
mod events;
mod messages;
mod status;

use std::{path::PathBuf, time::Duration};

use refpoint_protocol::{
    directory::header::ChainKind,
    document::{Envelope, encode},
    ids::{DocumentId, MemberCode, MessageId, Sequence},
    machine::{Batch, Carriage, Command, CommandRefused, Event, Reply},
    message::body::Body,
    relay::{
        event::SubmitRefusal,
        rows::{decode_inbox_content, decode_outbox_content},
        views::MessageView as Held,
    },
    storage::{Change, Table},
};

use self::{messages::Own, status::Around};
use super::{CommandResult, Handle, Stopping, jobs::drawn};
use crate::api::{
    backend::{Backend, BackendError, EventSubscription, IdPrefix},
    views::{
        bytes::Base64,
        directory::{
            DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint,
            ReferencePointView, ResumeReply,
        },
        document::{ImportOutcome, ImportReply, ImportRequest, ImportedDocument, OwnDocuments},
        message::{AttachmentData, MessageBox, MessageRow, MessageView},
        peer::PeerView,
        receipt::ReceiptsView,
        send::{RecipientContact, SendReply, SendRequest, StatementReply, StatementRequest},
        status::StatusFacts,
    },
};

/// What the operator's configuration says that `status` shows.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Where root keys would lie if somebody had left them on the node.
    pub root_keys: Vec<PathBuf>,
    /// Whether an alert command is configured.
    pub alert_configured: bool,
    /// What storage had to do when it was opened, in plain words.
    pub storage_notes: Vec<String>,
}

/// The running node, as the API asks for it.
pub struct NodeBackend {
    handle: Handle,
    operator: Operator,
    own: Own,
}

impl NodeBackend {
    /// Takes a running node's handle.
    #[must_use]
    pub fn new(handle: Handle, operator: Operator) -> Self {
        let own = Own { member: handle.identity.member.clone(), node: handle.identity.node };
        Self { handle, operator, own }
    }

    async fn command(&self, command: Command) -> Result<Reply, BackendError> {
        match self.handle.command(command).await.map_err(stopping)? {
            Ok(reply) => Ok(reply),
            Err(refused) => Err(refusal(refused)),
        }
    }

    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&refpoint_protocol::machine::Machine, refpoint_protocol::time::Timestamp) -> T
        + Send
        + 'static,
    ) -> Result<T, BackendError> {
        self.handle.query(look).await.map_err(stopping)
    }

    async fn held(&self, id: &IdPrefix) -> Result<Held, BackendError> {
        let prefix = id.clone();
        self.look(move |machine, _| {
            let relay = machine.messages();
            let sent = relay.outbox().into_iter().filter(|sent| sent.statement.is_none()).map(|sent| sent.id);
            let ids: Vec<MessageId> = relay.inbox().into_iter().map(|row| row.id).chain(sent).collect();
            let id = prefix.resolve(ids)?;
            relay.message(&id).ok_or(BackendError::UnknownMessage { id: prefix.as_str().to_owned() })
        })
        .await?
    }

    /// A message's content from storage, `None` if it is erased.
    fn content(&self, held: &Held) -> Result<Option<Body>, BackendError> {
        let storage = |error: String| BackendError::Storage { why: error };
        let (table, id) = match held {
            Held::Received(received) => (Table::InboxContent, received.id),
            Held::Sent(sent) => (Table::OutboxContent, sent.id),
        };
        let value =
            self.handle.store.value(table, id.as_bytes()).map_err(|error| storage(error.to_string()))?;
        let Some(value) = value.map(zeroize::Zeroizing::new) else { return Ok(None) };
        let body = match table {
            Table::InboxContent => decode_inbox_content(&value)
                .map(|(_, body)| body)
                .map_err(|error| storage(error.to_string()))?,
            _ => {
                let sealable = decode_outbox_content(&value).map_err(|error| storage(error.to_string()))?;
                sealable.body().map_err(|error| storage(error.to_string()))?
            }
        };
        Ok(Some(body))
    }

    /// Whether a node of another member ever dialled in, in this run or before.
    fn ever_dialled_in(&self, now: bool) -> bool {
        let store = &self.handle.store;
        let before = matches!(store.value(Table::OwnState, DIALLED_IN), Ok(Some(_)));
        if now && !before {
            let change = Change::put(Table::OwnState, DIALLED_IN, [1]);
            if let Err(error) = store.apply(&[change]) {
                tracing::warn!(%error, "that a node dialled in was not stored");
            }
        }
        now || before
    }

    async fn contacts(&self, members: &[MemberCode]) -> Result<Vec<RecipientContact>, BackendError> {
        let peers = Backend::peers(self).await?;
        let contact = |member: &MemberCode| {
            let mut nodes: Vec<_> = peers.iter().filter(|peer| peer.member == *member).collect();
            nodes.sort_by_key(|peer| !peer.connected);
            let best = nodes.first();
            RecipientContact {
                member: member.clone(),
                connected: best.is_some_and(|peer| peer.connected),
                since: best.and_then(|peer| peer.since),
                reason: match best {
                    None => Some("no node of this member is known yet".to_owned()),
                    Some(peer) => peer.reason.clone(),
                },
            }
        };
        Ok(members.iter().map(contact).collect())
    }
}

impl Backend for NodeBackend {
    async fn status(&self) -> Result<StatusFacts, BackendError> {
        let summary = self.handle.network.summary().await.map_err(|_| unavailable())?;
        let mut storage_notes = self.operator.storage_notes.clone();
        storage_notes.extend(self.handle.damaged.iter().cloned());
        let quarantined = self.handle.verifier.quarantined();
        if quarantined > 0 {
            storage_notes
                .push(format!("{quarantined} documents that this program cannot read are set aside"));
        }
        let around = Around {
            ever_dialled_in: self.ever_dialled_in(summary.dialled_in),
            summary,
            started: self.handle.started,
            disk_free_bytes: self.handle.store.free_on_disk().unwrap_or_default(),
            storage_notes,
            alert_failure: self.handle.alert.failure(),
        };
        let operator = self.operator.clone();
        self.look(move |machine, now| status::facts(machine, now, &operator, around)).await
    }

    async fn peers(&self) -> Result<Vec<PeerView>, BackendError> {
        let network = self.handle.network.peers().await.map_err(|_| unavailable())?;
        self.look(move |machine, now| directory::peers(machine, network, now)).await
    }

    async fn directory(&self) -> Result<Vec<DirectoryRow>, BackendError> {
        self.look(directory::rows).await
    }

    async fn directory_entry(&self, member: &MemberCode) -> Result<DirectoryEntryView, BackendError> {
        let code = member.clone();
        let entry = self.look(move |machine, now| directory::entry_view(machine, &code, now)).await?;
        entry.ok_or_else(|| BackendError::UnknownMember { member: member.clone() })
    }

    async fn published(&self) -> Result<PublishedReferencePoint, BackendError> {
        let own = self.own.clone();
        self.look(move |machine, now| {
            let evidence = machine.evidence();
            let listing = evidence.listing(own.node);
            let header =
                listing.and_then(|it| evidence.directory().header(it, ChainKind::ReferencePoint, now));
            let entry = evidence.directory().member(&own.member, now);
            let point =
                entry.and_then(|entry| entry.reference_point).filter(|point| point.source == own.node);
            PublishedReferencePoint {
                member: own.member,
                sequence: header.filter(|header| header.key_set.is_some()).map(|header| header.sequence),
                reference_point: point
                    .and_then(|point| point.entry)
                    .map(|entry| ReferencePointView::from(entry.as_ref())),
            }
        })
        .await
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishReply, BackendError> {
        let published = Backend::published(self).await?.sequence;
        if request.replaces != published {
            return Err(BackendError::PublishedChanged { expected: request.replaces, published });
        }
        let salt = drawn().map_err(|why| BackendError::Unavailable { why })?;
        let entry = request.reference_point.into_body(salt);
        // Subscribed before the command, so that its event cannot be missed.
        let mut live = self.handle.events.subscribe(None).live;
        match self.command(Command::Publish(Box::new(entry))).await? {
            Reply::Published { sequence: Some(sequence) } => {
                let signed = async {
                    loop {
                        match live.recv().await {
                            Ok(event) if is_published(&event.event, sequence) => return Some(event.at),
                            Ok(_) => {}
                            Err(tokio::sync::broadcast::error::RecvError::Lagged(_)) => {}
                            Err(tokio::sync::broadcast::error::RecvError::Closed) => return None,
                        }
                    }
                };
                let issued = tokio::time::timeout(SIGNING_TIME, signed).await.ok().flatten();
                let issued = issued.ok_or_else(|| BackendError::Unavailable {
                    why:
                        "the entry was taken and is not signed yet; look again with `refpoint directory show`"
                            .to_owned(),
                })?;
                let connected = self.look(|machine, _| machine.connected().len() as u64).await?;
                Ok(PublishReply { sequence, issued: issued.into(), connected })
            }
            _ => {
                let state = self.look(directory::chain_state).await?;
                Err(not_signing(&state))
            }
        }
    }

    async fn resume(&self) -> Result<ResumeReply, BackendError> {
        let before = self.look(directory::chain_state).await?;
        self.command(Command::Resume).await?;
        tracing::warn!("the operator had this node sign its records without asking others first");
        let now = self.look(directory::chain_state).await?;
        Ok(ResumeReply { before, now })
    }

    async fn own_documents(&self) -> Result<OwnDocuments, BackendError> {
        let own = self.own.member.clone();
        let ids = self.look(move |machine, _| {
            let evidence = machine.evidence();
            let trust = evidence.trust();
            let charters = trust.charters().map(|charter| charter.id());
            let sets: Vec<_> = trust.key_sets().filter(|set| set.payload().member == own).collect();
            let nodes: Vec<_> =
                sets.iter().flat_map(|set| &set.payload().nodes).map(|node| node.key).collect();
            let chains = nodes.into_iter().flat_map(|node| evidence.chains().of_node(node));
            let headers = chains.filter_map(|(_, chain)| chain.newest()).map(|header| header.id.into());
            let ids: Vec<DocumentId> =
                charters.chain(sets.iter().map(|set| set.id())).chain(headers).collect();
            (evidence.federation(), ids)
        });
        let (federation, ids) = ids.await?;
        let mut envelopes = Vec::with_capacity(ids.len());
        for id in ids {
            let held = super::load::envelope(self.handle.store.as_ref(), &id);
            let why = || BackendError::Storage { why: format!("document {} cannot be read", id.short()) };
            let bytes = held.and_then(|envelope| encode(&envelope).ok()).ok_or_else(why)?;
            envelopes.push(Base64::from(bytes));
        }
        Ok(OwnDocuments { federation, envelopes })
    }

    async fn import(&self, request: ImportRequest) -> Result<ImportReply, BackendError> {
        let mut documents = Vec::with_capacity(request.envelopes.len());
        for bytes in request.envelopes {
            documents.push(self.import_one(bytes.as_slice()).await?);
        }
        Ok(ImportReply { documents })
    }

    async fn messages(
        &self,
        folder: MessageBox,
        all: bool,
        limit: usize,
    ) -> Result<Vec<MessageRow>, BackendError> {
        let own = self.own.clone();
        let held: Vec<Held> = self
            .look(move |machine, _| match folder {
                MessageBox::Inbox => {
                    let rows = machine.messages().inbox().into_iter();
                    let open = rows.filter(|row| all || (row.acknowledged.is_none() && !row.withdrawn));
                    open.take(limit).map(Held::Received).collect()
                }
                MessageBox::Outbox => {
                    let rows = machine.messages().outbox().into_iter().filter(|row| row.statement.is_none());
                    let waits = |row: &refpoint_protocol::relay::views::SentView| {
                        row.content && row.recipients.iter().any(|recipient| recipient.acknowledged.is_none())
                    };
                    rows.filter(|row| all || waits(row)).take(limit).map(Held::Sent).collect()
                }
            })
            .await?;
        held.iter()
            .map(|held| {
                let body = self.content(held)?;
                Ok(match held {
                    Held::Received(received) => messages::received_row(&own, received, body.as_ref()),
                    Held::Sent(sent) => messages::sent_row(&own, sent, body.as_ref()),
                })
            })
            .collect()
    }

    async fn message(&self, id: &IdPrefix) -> Result<MessageView, BackendError> {
        let held = self.held(id).await?;
        let body = self.content(&held)?;
        Ok(messages::message_view(&self.own, &held, body))
    }

    async fn receipts(&self, id: &IdPrefix) -> Result<ReceiptsView, BackendError> {
        let held = self.held(id).await?;
        Ok(messages::receipts_view(&self.own, &held))
    }

    async fn attachment(&self, id: &IdPrefix, number: u64) -> Result<AttachmentData, BackendError> {
        let held = self.held(id).await?;
        let unknown = |count| BackendError::UnknownAttachment { id: id.to_string(), number, count };
        let body = self.content(&held)?.ok_or_else(|| unknown(0))?;
        messages::attachment_data(body, number).map_err(unknown)
    }

    async fn send(&self, request: SendRequest) -> Result<SendReply, BackendError> {
        let members = request.recipients.clone();
        let draft = messages::draft(request);
        let Reply::Queued { message } = self.command(Command::Send(Box::new(draft))).await? else {
            return Err(unavailable());
        };
        let times = self.look(move |machine, _| match machine.messages().message(&message) {
            Some(Held::Sent(sent)) => Some((sent.created, sent.expires)),
            _ => None,
        });
        let (created, expires) = times.await?.ok_or_else(unavailable)?;
        let recipients = self.contacts(&members).await?;
        Ok(SendReply { id: message, created: created.into(), expires: expires.into(), recipients })
    }

    async fn state(&self, id: &IdPrefix, request: StatementRequest) -> Result<StatementReply, BackendError> {
        let held = self.held(id).await?;
        let answers = match &held {
            Held::Received(received) => received.id,
            Held::Sent(sent) => sent.id,
        };
        let word = request.word;
        let draft = messages::statement(answers, request);
        let Reply::Queued { message } = self.command(Command::State(Box::new(draft))).await? else {
            return Err(unavailable());
        };
        let own = self.own.member.clone();
        let sent = self.look(move |machine, now| match machine.messages().message(&message) {
            Some(Held::Sent(sent)) => {
                let others = sent.recipients.into_iter().map(|it| it.member).filter(|it| *it != own);
                (sent.created, others.collect())
            }
            _ => (now, Vec::new()),
        });
        let (at, recipients) = sent.await?;
        Ok(StatementReply { message: answers, statement: message, word, at: at.into(), recipients })
    }

    async fn events(&self, after: Option<u64>) -> Result<EventSubscription, BackendError> {
        Ok(events::subscribe(&self.handle.events, after))
    }
}

impl NodeBackend {
    async fn import_one(&self, bytes: &[u8]) -> Result<ImportedDocument, BackendError> {
        let refused = |id, kind, reason| ImportedDocument {
            id,
            kind,
            outcome: ImportOutcome::Refused,
            reason: Some(reason),
        };
        let envelope = match Envelope::from_bytes(bytes) {
            Ok(envelope) => envelope,
            Err(error) => return Ok(refused(None, None, error.to_string())),
        };
        let kind = Some(envelope.kind.clone());
        let document = match self.handle.verifier.verify(envelope) {
            Ok(document) => document,
            Err(error) => return Ok(refused(None, kind, format!("{}: {error}", error.rule()))),
        };
        let id = Some(document.id());
        let batch =
            Batch { from: None, documents: vec![Ok(document)], bodies: Vec::new(), carriage: Carriage::Hand };
        let result: CommandResult = self.handle.command(Command::Import(batch)).await.map_err(stopping)?;
        Ok(match result {
            Ok(Reply::Imported { accepted, .. }) if accepted > 0 => {
                ImportedDocument { id, kind, outcome: ImportOutcome::Accepted, reason: None }
            }
            Ok(_) => ImportedDocument { id, kind, outcome: ImportOutcome::Known, reason: None },
            Err(CommandRefused::Pending) => ImportedDocument {
                id,
                kind,
                outcome: ImportOutcome::Pending,
                reason: Some(CommandRefused::Pending.to_string()),
            },
            Err(error) => refused(id, kind, error.to_string()),
        })
    }
}

fn is_published(event: &Event, sequence: Sequence) -> bool {
    matches!(event, Event::Published { kind: ChainKind::ReferencePoint, sequence: at } if *at == sequence)
}

fn stopping(_: Stopping) -> BackendError {
    unavailable()
}

fn unavailable() -> BackendError {
    BackendError::Unavailable { why: "it is stopping".to_owned() }
}

fn not_signing(state: &crate::api::views::status::ChainState) -> BackendError {
    use crate::api::views::status::ChainState;
    let (message, hint) = match state {
        ChainState::Publishing { .. } => {
            ("this entry is published already".to_owned(), "nothing is to be done".to_owned())
        }
        ChainState::Waiting { repairs, needed } => (
            format!("the entry waits: this node asks other members first what it signed before ({repairs} of {needed} have told it)"),
            "it is published by itself when they have; if no other node can be reached: refpoint directory resume".to_owned(),
        ),
        ChainState::Stopped { why } => {
            (format!("the entry waits: {why}"), "see refpoint status for what to do".to_owned())
        }
    };
    BackendError::Refused { code: "not-signing", message, hint }
}

/// What the machine refused, with a stable code and what to do.
fn refusal(refused: CommandRefused) -> BackendError {
    let message = refused.to_string();
    let (code, hint) = match &refused {
        CommandRefused::Submit(SubmitRefusal::UnknownMember(member)) => {
            return BackendError::UnknownMember { member: member.clone() };
        }
        CommandRefused::Submit(SubmitRefusal::UnknownMessage(id)) => {
            return BackendError::UnknownMessage { id: id.to_string() };
        }
        CommandRefused::Submit(SubmitRefusal::NoRoom) => return BackendError::NoRoom { why: message },
        CommandRefused::Submit(SubmitRefusal::Stopped(..)) => {
            ("stopped", "the charter decides: see refpoint directory show, and call by telephone")
        }
        CommandRefused::Submit(_) => ("not-sendable", "correct the message and send it again"),
        CommandRefused::Entry(_) => ("entry", "correct reference-point.toml and publish it again"),
        CommandRefused::NotWaiting => ("not-waiting", "nothing is to be done"),
        CommandRefused::Twin => ("twin", "see OPERATIONS: another machine signs with this node's key"),
        CommandRefused::ClockWrong(_) => ("clock", "set the clock, then start the node again"),
        CommandRefused::Documents(_) => ("documents", "ask whoever made the file for the right one"),
        CommandRefused::Pending => ("pending", "import the documents that it builds on first"),
    };
    BackendError::Refused { code, message, hint: hint.to_owned() }
}

/// The name in [`Table::OwnState`] that says that somebody once dialled in.
const DIALLED_IN: &[u8] = b"dialled-in";

/// How long signing an entry may take: a sync of the disk, a signature, and what is before it.
const SIGNING_TIME: Duration = Duration::from_secs(10);
