//! A backend in memory, and a server on a socket in a folder of its own. For tests alone.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::body::Bytes;
use futures::{StreamExt, stream::BoxStream};
use refpoint::{
    api::{
        self,
        backend::{Backend, BackendError, EventSubscription, IdPrefix, Lagged},
        socket::Socket,
        views::{
            dial_back::DialBackReply,
            directory::{
                DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint,
                ResumeReply,
            },
            document::{ImportOutcome, ImportReply, ImportRequest, ImportedDocument, OwnDocuments},
            drill::{DrillReport, DrillRequest, DrillRow, DrillStarted},
            event::{Event, EventView},
            heads::HeadsReport,
            history::{DirectoryAtView, DirectoryHistoryView},
            instant::Instant,
            message::{AttachmentData, MessageBox, MessageRow, MessageView, PersonWord, RecipientState},
            peer::PeerView,
            receipt::{MachineWord, ReceiptsView},
            send::{RecipientContact, SendReply, SendRequest, StatementReply, StatementRequest},
            snapshot::SnapshotReply,
            status::{ChainState, StatusFacts},
            witness::WitnessReply,
            witnessed::WitnessedReply,
        },
    },
    bundle::Entries,
    client::Client,
    metrics::Measured,
};
use refpoint_protocol::ids::{MemberCode, MessageId, Sequence};
use tokio::{sync::broadcast, task::JoinHandle};
use tokio_stream::wrappers::BroadcastStream;
use tokio_util::sync::CancellationToken;

use super::samples;

/// What the backend holds; tests change it at will.
pub(crate) struct State {
    pub(crate) facts: StatusFacts,
    pub(crate) entries: Vec<DirectoryEntryView>,
    pub(crate) messages: Vec<MessageView>,
    pub(crate) published: PublishedReferencePoint,
    pub(crate) dialled_back: DialBackReply,
    pub(crate) events: Vec<EventView>,
    /// Said by every method while it is set.
    pub(crate) failure: Option<BackendError>,
    /// Never answers while it is set.
    pub(crate) hangs: bool,
    pub(crate) sent: Vec<SendRequest>,
    pub(crate) drills: Vec<DrillReport>,
    pub(crate) begun: Vec<DrillRequest>,
    /// Whom the next drill will not ask, for want of room.
    pub(crate) not_asked: Vec<MemberCode>,
    pub(crate) stated: Vec<(MessageId, StatementRequest)>,
    /// What happens to the next message right when it is sent.
    pub(crate) on_send: Vec<Event>,
    /// What a person at each recipient has said of it by then.
    pub(crate) on_send_said: Option<PersonWord>,
    numbered: u64,
}

pub(crate) struct Fake {
    state: Mutex<State>,
    live: broadcast::Sender<EventView>,
}

/// The id of every message sent through the fake.
pub(crate) fn sent_id() -> MessageId {
    samples::message_id(0x5e)
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            facts: samples::facts(),
            entries: ["BR", "FR", "KE"].map(|code| samples::entry(code, "Cyber Unit")).into(),
            messages: vec![samples::inbox_message(samples::message_id(0x7a), "hello")],
            published: PublishedReferencePoint {
                member: samples::member("KE"),
                sequence: Some(Sequence(3)),
                reference_point: Some(samples::unit("Cyber Unit")),
            },
            dialled_back: samples::reached(),
            events: Vec::new(),
            failure: None,
            hangs: false,
            sent: Vec::new(),
            drills: vec![samples::drill()],
            begun: Vec::new(),
            not_asked: Vec::new(),
            stated: Vec::new(),
            on_send: Vec::new(),
            on_send_said: None,
            numbered: 0,
        };
        // Small, so that a slow reader lags in a test.
        Arc::new(Self { state: Mutex::new(state), live: broadcast::channel(16).0 })
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap())
    }

    pub(crate) fn emit(&self, event: Event) -> u64 {
        self.change(|state| {
            state.numbered += 1;
            let event = EventView { number: state.numbered, at: samples::at("12:00:00"), event };
            state.events.push(event.clone());
            // Sent under the lock, as the node's log does; nobody may listen.
            let _ = self.live.send(event);
            state.numbered
        })
    }

    pub(crate) fn listeners(&self) -> usize {
        self.live.receiver_count()
    }

    async fn guard<T>(
        &self,
        answer: impl FnOnce(&mut State) -> Result<T, BackendError>,
    ) -> Result<T, BackendError> {
        if self.change(|state| state.hangs) {
            std::future::pending::<()>().await;
        }
        self.change(|state| match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => answer(state),
        })
    }
}

fn find(state: &State, id: &IdPrefix) -> Result<MessageView, BackendError> {
    let found = id.resolve(state.messages.iter().map(|message| message.row.id))?;
    Ok(state.messages.iter().find(|message| message.row.id == found).cloned().unwrap())
}

impl Backend for Fake {
    async fn metrics(&self) -> Result<Measured, BackendError> {
        Ok(samples::measured(self.guard(|state| Ok(state.facts.clone())).await?))
    }

    async fn drills(&self) -> Result<Vec<DrillRow>, BackendError> {
        self.guard(|state| Ok(state.drills.iter().map(|report| report.row.clone()).collect())).await
    }

    async fn drill(&self, id: &IdPrefix) -> Result<DrillReport, BackendError> {
        self.guard(|state| {
            let fits = |report: &&DrillReport| report.row.drill.digits().starts_with(id.as_str());
            let unknown = || BackendError::UnknownDrill { id: id.to_string() };
            state.drills.iter().find(fits).cloned().ok_or_else(unknown)
        })
        .await
    }

    async fn start_drill(&self, request: DrillRequest) -> Result<DrillStarted, BackendError> {
        self.guard(|state| {
            let started = samples::drill_started(&request, std::mem::take(&mut state.not_asked));
            state.begun.push(request);
            Ok(started)
        })
        .await
    }

    async fn heads(&self) -> Result<HeadsReport, BackendError> {
        self.guard(|_| Ok(samples::heads())).await
    }

    async fn status(&self) -> Result<StatusFacts, BackendError> {
        self.guard(|state| Ok(state.facts.clone())).await
    }

    async fn peers(&self) -> Result<Vec<PeerView>, BackendError> {
        self.guard(|_| Ok(samples::peers())).await
    }

    async fn directory(&self) -> Result<Vec<DirectoryRow>, BackendError> {
        self.guard(|state| Ok(state.entries.iter().map(|entry| entry.row.clone()).collect())).await
    }

    async fn directory_entry(&self, member: &MemberCode) -> Result<DirectoryEntryView, BackendError> {
        self.guard(|state| {
            let entry = state.entries.iter().find(|entry| entry.row.member == *member);
            entry.cloned().ok_or_else(|| BackendError::UnknownMember { member: member.clone() })
        })
        .await
    }

    async fn directory_history(&self, member: &MemberCode) -> Result<DirectoryHistoryView, BackendError> {
        self.guard(|state| {
            let is_listed = state.entries.iter().any(|entry| entry.row.member == *member);
            let history = is_listed.then(|| samples::history(member));
            history.ok_or_else(|| BackendError::UnknownMember { member: member.clone() })
        })
        .await
    }

    async fn directory_at(&self, at: Instant) -> Result<DirectoryAtView, BackendError> {
        self.guard(|_| Ok(samples::directory_at(at))).await
    }

    async fn published(&self) -> Result<PublishedReferencePoint, BackendError> {
        self.guard(|state| Ok(state.published.clone())).await
    }

    async fn publish(&self, request: PublishRequest) -> Result<PublishReply, BackendError> {
        self.guard(|state| {
            let published = state.published.sequence;
            if request.replaces != published {
                return Err(BackendError::PublishedChanged { expected: request.replaces, published });
            }
            let sequence = Sequence(published.map_or(0, |sequence| sequence.0 + 1));
            state.published.sequence = Some(sequence);
            state.published.reference_point = Some(request.reference_point);
            Ok(PublishReply { sequence, issued: samples::at("12:00:00"), connected: 2 })
        })
        .await
    }

    async fn resume(&self) -> Result<ResumeReply, BackendError> {
        self.guard(|state| {
            let before = std::mem::replace(&mut state.facts.chain, ChainState::Publishing { last: None });
            Ok(ResumeReply { before, now: state.facts.chain.clone() })
        })
        .await
    }

    async fn own_documents(&self, _member: Option<&MemberCode>) -> Result<OwnDocuments, BackendError> {
        self.guard(|_| {
            let federation = refpoint_protocol::ids::FederationId::from_bytes([7; 32]);
            Ok(OwnDocuments { federation, envelopes: Vec::new(), hints: Vec::new() })
        })
        .await
    }

    async fn proof(&self, id: &IdPrefix) -> Result<String, BackendError> {
        self.guard(|_| Ok(format!("a proof of {id}"))).await
    }

    async fn witness(&self) -> Result<WitnessReply, BackendError> {
        Ok(samples::witness())
    }

    async fn witnessed(&self) -> Result<WitnessedReply, BackendError> {
        Ok(samples::witnessed())
    }

    async fn dial_back(&self) -> Result<DialBackReply, BackendError> {
        self.guard(|state| Ok(state.dialled_back.clone())).await
    }

    async fn snapshot(&self) -> Result<SnapshotReply, BackendError> {
        self.guard(|_| Err(BackendError::Unavailable { why: "it keeps nothing on a disk".into() })).await
    }

    async fn bundle(
        &self,
        entries: Entries,
    ) -> Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError> {
        self.guard(|_| {
            let pieces: &[&'static [u8]] = match entries {
                Entries::LeftOut => &[b"two ", b"pieces"],
                Entries::Included => &[b"with entries"],
            };
            let pieces: Vec<_> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
            Ok(futures::stream::iter(pieces).boxed())
        })
        .await
    }

    async fn import(&self, request: ImportRequest) -> Result<ImportReply, BackendError> {
        self.guard(|_| {
            let document = |_| ImportedDocument {
                id: None,
                kind: None,
                outcome: ImportOutcome::Refused,
                reason: Some("no".into()),
            };
            Ok(ImportReply { documents: request.envelopes.iter().map(document).collect() })
        })
        .await
    }

    async fn messages(
        &self,
        folder: MessageBox,
        all: bool,
        limit: usize,
    ) -> Result<Vec<MessageRow>, BackendError> {
        self.guard(|state| {
            let rows = state.messages.iter().map(|message| message.row.clone());
            let waits = |row: &MessageRow| all || row.states.iter().any(|state| !state.is_acknowledged());
            Ok(rows.filter(|row| row.folder == folder && waits(row)).take(limit).collect())
        })
        .await
    }

    async fn message(&self, id: &IdPrefix) -> Result<MessageView, BackendError> {
        self.guard(|state| find(state, id)).await
    }

    async fn receipts(&self, id: &IdPrefix) -> Result<ReceiptsView, BackendError> {
        self.guard(|state| {
            let message = find(state, id)?;
            let MessageRow { id, folder, drill, states: recipients, .. } = message.row;
            Ok(ReceiptsView { message: id, folder, drill, recipients, timeline: message.timeline })
        })
        .await
    }

    async fn attachment(&self, id: &IdPrefix, number: u64) -> Result<AttachmentData, BackendError> {
        self.guard(|state| {
            let message = find(state, id)?;
            let count = message.files.len() as u64;
            let attachment = message.files.into_iter().find(|file| file.number == number);
            let unknown = || BackendError::UnknownAttachment { id: id.to_string(), number, count };
            Ok(AttachmentData {
                attachment: attachment.ok_or_else(unknown)?,
                data: samples::attachment_bytes().into(),
            })
        })
        .await
    }

    async fn send(&self, request: SendRequest) -> Result<SendReply, BackendError> {
        let (reply, then) = self
            .guard(|state| {
                let contact = |member: &MemberCode| RecipientContact {
                    member: member.clone(),
                    connected: member.as_str() == "FR",
                    since: Some(samples::at("09:00:00")),
                    reason: (member.as_str() != "FR").then(|| "no answer at 192.0.2.2:4001".to_owned()),
                };
                let reply = SendReply {
                    id: sent_id(),
                    created: samples::at("12:00:00"),
                    expires: "2026-11-27T12:00Z".parse().unwrap(),
                    recipients: request.recipients.iter().map(contact).collect(),
                };
                let mut copy = samples::inbox_message(sent_id(), "sent");
                copy.row.folder = MessageBox::Outbox;
                copy.row.recipients = request.recipients.clone();
                let person = state.on_send_said.take();
                let queued = |member: &MemberCode| RecipientState {
                    member: member.clone(),
                    machine: MachineWord::Queued,
                    machine_at: samples::at("12:00:00"),
                    reason: None,
                    person: person.clone(),
                };
                copy.row.states = request.recipients.iter().map(queued).collect();
                state.messages.push(copy);
                state.sent.push(request);
                Ok((reply, std::mem::take(&mut state.on_send)))
            })
            .await?;
        for event in then {
            self.emit(event);
        }
        Ok(reply)
    }

    async fn state(&self, id: &IdPrefix, request: StatementRequest) -> Result<StatementReply, BackendError> {
        self.guard(|state| {
            let message = find(state, id)?.row.id;
            let person = samples::acknowledgement(request.role.reveal());
            for row in state.messages.iter_mut().filter(|row| row.row.id == message) {
                row.row.states.iter_mut().for_each(|state| state.person = Some(person.clone()));
            }
            let word = request.word;
            state.stated.push((message, request));
            let statement = samples::message_id(0x57);
            let recipients = vec![samples::member("FR")];
            Ok(StatementReply { message, statement, word, at: samples::at("12:00:00"), recipients })
        })
        .await
    }

    async fn events(&self, after: Option<u64>) -> Result<EventSubscription, BackendError> {
        self.guard(|state| {
            let live =
                BroadcastStream::new(self.live.subscribe()).map(|item| item.map_err(|_| Lagged)).boxed();
            let newest = state.numbered;
            let missed: Vec<EventView> = match after {
                None => Vec::new(),
                Some(after) => state.events.iter().filter(|event| event.number > after).cloned().collect(),
            };
            let gap = after.is_some_and(|after| missed.first().is_some_and(|first| first.number > after + 1));
            Ok(EventSubscription { newest, missed, gap, live })
        })
        .await
    }
}

/// A running server on a socket.
pub(crate) struct Server {
    pub(crate) fake: Arc<Fake>,
    pub(crate) socket: PathBuf,
    pub(crate) folder: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::start_within(DEADLINE)
    }

    /// With another bound on how long a request may take.
    pub(crate) fn start_within(request_timeout: Duration) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("run/node.sock");
        let fake = Fake::new();
        let (stop, task) = launch(request_timeout, &socket, &fake);
        Self { fake, socket, folder, stop, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.socket)
    }

    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(DEADLINE, &mut self.task).await;
        ended.expect("the server stops").unwrap().unwrap();
    }

    /// The same node again, after a stop.
    pub(crate) fn restart(&mut self) {
        (self.stop, self.task) = launch(DEADLINE, &self.socket, &self.fake);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

fn launch(
    request_timeout: Duration,
    socket: &std::path::Path,
    fake: &Arc<Fake>,
) -> (CancellationToken, JoinHandle<std::io::Result<()>>) {
    let stop = CancellationToken::new();
    let bound = Socket::bind(socket).unwrap();
    (stop.clone(), tokio::spawn(api::serve_within(request_timeout, bound, Arc::clone(fake), stop)))
}

/// How long a test waits for what must come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
