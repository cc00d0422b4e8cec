//! The API's view of the running node: looks at the machine, reads content from storage, hands in commands.
//!
//! It decides nothing; what the machine refuses is put into words here.

mod bundle;
mod content;
mod dial_back;
mod directory;
mod documents;
mod drills;
mod events;
mod history;
mod measured;
mod messages;
mod proof;
mod publish;
mod refusals;
mod snapshot;
mod status;
mod witness;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use axum::body::Bytes;
use futures::stream::BoxStream;
use refpoint_protocol::{
    directory::own_chain::Standing,
    document::Envelope,
    ids::{MemberCode, Sequence},
    machine::{Batch, Carriage, Command, CommandRefused, OperatorAction, Reply},
    message::body::Body,
    relay::views::MessageView as Held,
    time::Timestamp,
};

use self::{
    content::ContentError,
    directory::FirstDials,
    messages::Own,
    refusals::{refusal, stopping, unavailable},
    status::Around,
};
use super::{CommandResult, Handle, jobs::drawn, witnessing::last_cosigned};
use crate::{
    api::{
        backend::{Backend, BackendError, EventSubscription, IdPrefix},
        views::{
            dial_back::DialBackReply,
            directory::{
                DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint,
                ResumeReply,
            },
            document::{ImportOutcome, ImportReply, ImportRequest, ImportedDocument, OwnDocuments},
            drill::{DrillReport, DrillRequest, DrillRow, DrillStarted},
            heads::{HeadStanding, HeadsReport},
            history::{DirectoryAtView, DirectoryHistoryView},
            instant::Instant,
            message::{AttachmentData, MessageBox, MessageRow, MessageView},
            peer::PeerView,
            receipt::ReceiptsView,
            send::{RecipientContact, SendReply, SendRequest, StatementReply, StatementRequest},
            snapshot::SnapshotReply,
            status::StatusFacts,
            witness::WitnessReply,
            witnessed::WitnessedReply,
        },
    },
    bundle::Entries,
    metrics::Measured,
    store::{SledStore, Store},
};

/// What the operator's configuration says that `status` shows.
#[derive(Clone, Debug)]
pub struct Operator {
    /// Where root keys would lie if somebody had left them on the node.
    pub root_keys: Vec<PathBuf>,
    /// Whether an alert command is configured.
    pub alert_configured: bool,
    /// Where members can be dialled before their nodes are known, as the joining file said.
    pub first_addresses: BTreeMap<MemberCode, Vec<String>>,
    /// What storage had to do when it was opened, in plain words.
    pub storage_notes: Vec<String>,
}

/// The running node, as the API asks for it.
pub struct NodeBackend {
    handle: Handle,
    operator: Operator,
    own: Own,
    /// The store as a disk has it, for snapshots.
    on_disk: Option<Arc<SledStore>>,
}

impl NodeBackend {
    /// Takes a running node's handle.
    #[must_use]
    pub fn new(handle: Handle, operator: Operator) -> Self {
        let own = Own { member: handle.identity.member.clone(), node: handle.identity.node };
        Self { handle, operator, own, on_disk: None }
    }

    /// Lets it make snapshots of the store that the node runs on.
    #[must_use]
    pub fn with_snapshots_of(self, store: Arc<SledStore>) -> Self {
        Self { on_disk: Some(store), ..self }
    }

    async fn command(&self, command: Command) -> Result<Reply, BackendError> {
        self.order(command).await?.map_err(|refused| refusal(&refused))
    }

    /// Hands a command to the machine, unless it would wait for room on the disk.
    async fn order(&self, command: Command) -> Result<CommandResult, BackendError> {
        if self.handle.waits_for_room.now() {
            return Err(BackendError::NoRoom { why: DISK_FULL.to_owned() });
        }
        self.handle.command(command).await.map_err(refusals::unanswered)
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
            let id = prefix.resolve(relay.ids())?;
            relay.message(&id).ok_or(BackendError::UnknownMessage { id: prefix.as_str().to_owned() })
        })
        .await?
    }

    /// A message with its content, `None` if it is erased. Read on a thread that may wait for the disk.
    async fn with_content(&self, id: &IdPrefix) -> Result<(Held, Option<Body>), BackendError> {
        let held = self.held(id).await?;
        self.read(move |store| content::read(store, &held).map(|body| (held, body))).await
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Store) -> Result<T, ContentError> + Send + 'static,
    ) -> Result<T, BackendError> {
        let store = Arc::clone(&self.handle.store);
        let done = tokio::task::spawn_blocking(move || read(store.as_ref())).await;
        let storage = |why: String| BackendError::Storage { why };
        done.map_err(|error| storage(error.to_string()))?.map_err(|error| storage(error.to_string()))
    }

    /// Whether each member can be reached now. The message is durable already, so this never fails.
    async fn contacts(&self, members: &[MemberCode]) -> Vec<RecipientContact> {
        match Backend::peers(self).await {
            Ok(peers) => members.iter().map(|member| directory::contact(member, &peers)).collect(),
            Err(error) => {
                let unknown = |member: &MemberCode| RecipientContact {
                    member: member.clone(),
                    connected: false,
                    since: None,
                    reason: Some(error.to_string()),
                };
                members.iter().map(unknown).collect()
            }
        }
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
        if self.handle.waits_for_room.now() {
            storage_notes.push(DISK_FULL.to_owned());
        }
        let kept = self.handle.kept.count();
        if kept > 0 {
            storage_notes.push(format!(
                "there is no room on the disk for {kept} records of other members: they wait in memory"
            ));
        }
        let disk_free_bytes = self.handle.store.free_on_disk().unwrap_or_else(|error| {
            storage_notes.push(format!("how much of the disk is free cannot be told: {error}"));
            0
        });
        let journal_cosigned = last_cosigned(self.handle.store.as_ref()).unwrap_or_else(|error| {
            storage_notes.push(format!("when the journal was last cosigned cannot be told: {error}"));
            None
        });
        let around = Around {
            ever_dialled_in: self.handle.dialled_in.ever(),
            journal_cosigned,
            summary,
            started: self.handle.started,
            disk_free_bytes,
            storage_notes,
            alert_failure: self.handle.alert.failure(),
        };
        let operator = self.operator.clone();
        self.look(move |machine, now| status::facts(machine, now, &operator, around)).await
    }

    async fn metrics(&self) -> Result<Measured, BackendError> {
        let status = Backend::status(self).await?;
        let (messages, members) = self.look(measured::of_machine).await?;
        let report = Backend::heads(self).await?;
        let heads = HeadStanding::ALL.map(|standing| (standing, report.count(standing) as u64)).to_vec();
        let (queues, counted) = (self.handle.queues(), self.handle.counted.clone());
        Ok(Measured { status, messages, members, heads, queues, counted })
    }

    async fn drills(&self) -> Result<Vec<DrillRow>, BackendError> {
        self.all_drills().await
    }

    async fn drill(&self, id: &IdPrefix) -> Result<DrillReport, BackendError> {
        self.one_drill(id).await
    }

    async fn start_drill(&self, request: DrillRequest) -> Result<DrillStarted, BackendError> {
        self.begun_drill(request).await
    }

    async fn heads(&self) -> Result<HeadsReport, BackendError> {
        let (member, node) = (self.own.member.clone(), self.own.node);
        let report = move |machine: &refpoint_protocol::machine::Machine, now: Timestamp| {
            Some(HeadsReport::of(member, node, now.into(), machine.heads(now)?))
        };
        let why = || "it does not know yet what it holds".to_owned();
        self.look(report).await?.ok_or_else(|| BackendError::Unavailable { why: why() })
    }

    async fn peers(&self) -> Result<Vec<PeerView>, BackendError> {
        let network = self.handle.network.peers().await.map_err(|_| unavailable())?;
        let dials = self.handle.network.hints().await.map_err(|_| unavailable())?;
        let met = FirstDials { addresses: self.operator.first_addresses.clone(), dials };
        self.look(move |machine, now| directory::peers(machine, network, &met, now)).await
    }

    async fn directory(&self) -> Result<Vec<DirectoryRow>, BackendError> {
        self.look(directory::rows).await
    }

    async fn directory_entry(&self, member: &MemberCode) -> Result<DirectoryEntryView, BackendError> {
        let network = self.handle.network.peers().await.map_err(|_| unavailable())?;
        let (code, before) = (member.clone(), self.handle.inherited.get(member).cloned());
        let entry = self
            .look(move |machine, now| directory::entry_view(machine, &code, &network, before, now))
            .await?;
        entry.ok_or_else(|| BackendError::UnknownMember { member: member.clone() })
    }

    async fn directory_history(&self, member: &MemberCode) -> Result<DirectoryHistoryView, BackendError> {
        let code = member.clone();
        let history = self.look(move |machine, now| history::of(machine, &code, now)).await?;
        history.ok_or_else(|| BackendError::UnknownMember { member: member.clone() })
    }

    async fn directory_at(&self, at: Instant) -> Result<DirectoryAtView, BackendError> {
        self.look(move |machine, _| history::at(machine, at.timestamp())).await
    }

    async fn published(&self) -> Result<PublishedReferencePoint, BackendError> {
        self.look(publish::published).await
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishReply, BackendError> {
        let PublishRequest { reference_point, replaces } = request;
        let PublishedReferencePoint { sequence: published, reference_point: before, .. } =
            Backend::published(self).await?;
        if replaces != published {
            return Err(BackendError::PublishedChanged { expected: replaces, published });
        }
        let is_unchanged = before.is_some_and(|before| before == reference_point);
        let salt = drawn().map_err(|why| BackendError::Unavailable { why })?;
        // Subscribed before the command, so that its event cannot be missed.
        let signed = publish::Signed::of(&self.handle);
        let entry = Box::new(reference_point.into_body(salt));
        match self.command(Command::Publish(entry)).await? {
            Reply::Published { sequence: Some(sequence) } => {
                let issued = signed.wait(sequence).await?;
                self.publish_reply(sequence, issued).await
            }
            _ => match self.look(|machine, now| machine.standing(now)).await? {
                Standing::Signing if is_unchanged => Err(refusals::unchanged(published)),
                Standing::Signing | Standing::Waiting { .. } => match signed.after(published).await? {
                    Some((sequence, issued)) => self.publish_reply(sequence, issued).await,
                    None => {
                        Err(refusals::not_signed(&self.look(|machine, now| machine.standing(now)).await?))
                    }
                },
                standing => Err(refusals::not_signed(&standing)),
            },
        }
    }

    async fn resume(&self) -> Result<ResumeReply, BackendError> {
        let before = self.look(directory::chain_state).await?;
        self.command(Command::Resume).await?;
        tracing::warn!("the operator had this node sign its records without asking others first");
        let now = self.look(directory::chain_state).await?;
        Ok(ResumeReply { before, now })
    }

    async fn own_documents(&self, member: Option<&MemberCode>) -> Result<OwnDocuments, BackendError> {
        self.gathered_documents(member).await
    }

    async fn dial_back(&self) -> Result<DialBackReply, BackendError> {
        dial_back::by_others(&self.handle.network, &self.own.member).await
    }

    async fn proof(&self, id: &IdPrefix) -> Result<String, BackendError> {
        self.proof_of(id).await
    }

    async fn witness(&self) -> Result<WitnessReply, BackendError> {
        witness::now(&self.handle.rounds).await
    }

    async fn witnessed(&self) -> Result<WitnessedReply, BackendError> {
        witness::held(&self.handle.store).await
    }

    async fn bundle(
        &self,
        entries: Entries,
    ) -> Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError> {
        self.written_bundle(entries).await
    }

    async fn snapshot(&self) -> Result<SnapshotReply, BackendError> {
        let reply = snapshot::of(self.on_disk.as_ref(), self.handle.identity.federation).await?;
        self.handle.operated(OperatorAction::CopiedRows);
        Ok(reply)
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
        let held: Vec<Held> = self
            .look(move |machine, _| match folder {
                MessageBox::Inbox => {
                    let page = machine.messages().inbox_page(all, limit);
                    page.into_iter().map(Held::Received).collect()
                }
                MessageBox::Outbox => {
                    let page = machine.messages().outbox_page(all, limit);
                    page.into_iter().map(Held::Sent).collect()
                }
            })
            .await?;
        let own = self.own.clone();
        self.read(move |store| {
            let row = |held: &Held| {
                let body = content::read_for_row(store, held)?;
                Ok(match held {
                    Held::Received(received) => messages::received_row(&own, received, body.as_ref()),
                    Held::Sent(sent) => messages::sent_row(&own, sent, body.as_ref()),
                })
            };
            held.iter().map(row).collect()
        })
        .await
    }

    async fn message(&self, id: &IdPrefix) -> Result<MessageView, BackendError> {
        let (held, body) = self.with_content(id).await?;
        Ok(messages::message_view(&self.own, &held, body))
    }

    async fn receipts(&self, id: &IdPrefix) -> Result<ReceiptsView, BackendError> {
        let held = self.held(id).await?;
        Ok(messages::receipts_view(&self.own, &held))
    }

    async fn attachment(&self, id: &IdPrefix, number: u64) -> Result<AttachmentData, BackendError> {
        let unknown = |count| BackendError::UnknownAttachment { id: id.to_string(), number, count };
        let (_, body) = self.with_content(id).await?;
        messages::attachment_data(body.ok_or_else(refusals::erased)?, number).map_err(unknown)
    }

    async fn send(&self, request: SendRequest) -> Result<SendReply, BackendError> {
        let members = request.recipients.clone();
        let draft = messages::draft(request);
        let reply = self.command(Command::Send(Box::new(draft))).await?;
        let Reply::Queued { message, created, expires, .. } = reply else { return Err(unavailable()) };
        let recipients = self.contacts(&members).await;
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
        let reply = self.command(Command::State(Box::new(draft))).await?;
        let Reply::Queued { message: statement, created, recipients, .. } = reply else {
            return Err(unavailable());
        };
        let recipients = recipients.into_iter().filter(|member| *member != self.own.member).collect();
        Ok(StatementReply { message: answers, statement, word, at: created.into(), recipients })
    }

    async fn events(&self, after: Option<u64>) -> Result<EventSubscription, BackendError> {
        Ok(events::subscribe(&self.handle.events, after, &self.own.member))
    }
}

impl NodeBackend {
    async fn publish_reply(
        &self,
        sequence: Sequence,
        issued: Timestamp,
    ) -> Result<PublishReply, BackendError> {
        let connected = self.look(|machine, _| machine.connected().len() as u64).await?;
        Ok(PublishReply { sequence, issued: issued.into(), connected })
    }

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
        Ok(match self.order(Command::Import(batch)).await? {
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

/// What is said while something waits for room.
const DISK_FULL: &str = "the disk is full: what this node has to say waits until there is room";
