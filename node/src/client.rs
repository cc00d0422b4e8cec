//! Talks to the running node over its Unix socket: one typed method for each route.
//!
//! It decides nothing and shows nothing; its errors say where it failed, the node's own problems pass through.

mod events;

use std::{io, path::PathBuf, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use refpoint_protocol::ids::MemberCode;
use serde::{Serialize, de::DeserializeOwned};
use tokio::net::UnixStream;

use crate::api::{
    backend::IdPrefix,
    views::{
        dial_back::DialBackReply,
        directory::{
            DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint,
            ResumeReply,
        },
        document::{ImportReply, ImportRequest, OwnDocuments},
        drill::{DrillReport, DrillRequest, DrillRow, DrillStarted},
        heads::HeadsReport,
        history::{DirectoryAtView, DirectoryHistoryView},
        instant::Instant,
        message::{AttachmentData, MessageBox, MessageRow, MessageView},
        peer::PeerView,
        problem::Problem,
        receipt::ReceiptsView,
        send::{SendReply, SendRequest, StatementReply, StatementRequest},
        snapshot::SnapshotReply,
        status::StatusView,
        witness::WitnessReply,
        witnessed::WitnessedReply,
    },
};
use crate::bundle::Entries;

pub use events::{Events, Followed, FollowedEvents, StreamItem};

/// A way to the running node. Each request has a connection of its own, so nothing is held between them.
#[derive(Clone, Debug)]
pub struct Client {
    socket: PathBuf,
}

/// Why the node did not answer, or not as asked.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error("no node answers at {}: {source}", socket.display())]
    NotRunning {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The socket is not for this user.
    #[error("this user may not use {}: {source}", socket.display())]
    NotPermitted {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The connection broke; what was asked may or may not be done.
    #[error("the connection to the node broke: {0}")]
    Broken(#[source] hyper::Error),
    /// The answer did not come in time; what was asked may or may not be done.
    #[error("the node did not answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The node says why not.
    #[error(transparent)]
    Problem(Box<Problem>),
    /// The answer is not what this version understands.
    #[error("the node's answer is not understood: {reason}")]
    Answer {
        /// How.
        reason: String,
    },
    /// The request could not be written.
    #[error("the request could not be written: {reason}")]
    Request {
        /// How.
        reason: String,
    },
}

impl Client {
    /// A client of the node at `socket`. Nothing is opened yet.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into() }
    }

    /// The socket.
    #[must_use]
    pub fn socket(&self) -> &std::path::Path {
        &self.socket
    }

    /// The node's state.
    ///
    /// # Errors
    /// [`ClientError`], as of every method here.
    pub async fn status(&self) -> Result<StatusView, ClientError> {
        self.read("/v1/status").await
    }

    /// Other nodes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn peers(&self) -> Result<Vec<PeerView>, ClientError> {
        self.read("/v1/peers").await
    }

    /// All members.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory(&self) -> Result<Vec<DirectoryRow>, ClientError> {
        self.read("/v1/directory").await
    }

    /// One member.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory_entry(&self, member: &MemberCode) -> Result<DirectoryEntryView, ClientError> {
        self.read(&format!("/v1/directory/{member}")).await
    }

    /// What one member's entries were.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory_history(&self, member: &MemberCode) -> Result<DirectoryHistoryView, ClientError> {
        self.read(&format!("/v1/directory/{member}/history")).await
    }

    /// The directory as it was.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn directory_at(&self, at: Instant) -> Result<DirectoryAtView, ClientError> {
        self.read(&format!("/v1/directory-at/{at}")).await
    }

    /// What the node itself publishes.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn published(&self) -> Result<PublishedReferencePoint, ClientError> {
        self.read("/v1/directory/reference-point").await
    }

    /// Publishes an entry.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn publish(&self, request: &PublishRequest) -> Result<PublishReply, ClientError> {
        self.write("/v1/directory/reference-point", request).await
    }

    /// Lets the node sign its own chain again.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn resume(&self) -> Result<ResumeReply, ClientError> {
        self.write("/v1/directory/resume", &()).await
    }

    /// What the member's next key set is made from.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn own_documents(&self) -> Result<OwnDocuments, ClientError> {
        self.read("/v1/documents").await
    }

    /// What another member's next key set is made from.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn documents_of(&self, member: &MemberCode) -> Result<OwnDocuments, ClientError> {
        self.read(&format!("/v1/documents?member={member}")).await
    }

    /// The drills that the node started, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drills(&self) -> Result<Vec<DrillRow>, ClientError> {
        self.read("/v1/drills").await
    }

    /// One drill, compared with those before it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn drill(&self, id: &IdPrefix) -> Result<DrillReport, ClientError> {
        self.read(&format!("/v1/drills/{id}")).await
    }

    /// Starts a drill.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start_drill(&self, request: &DrillRequest) -> Result<DrillStarted, ClientError> {
        self.write("/v1/drills", request).await
    }

    /// What the members' signed heads say.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn heads(&self) -> Result<HeadsReport, ClientError> {
        self.read("/v1/audit/heads").await
    }

    /// Has another member's node dial this one back.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn dial_back(&self) -> Result<DialBackReply, ClientError> {
        self.write("/v1/dial-back", &()).await
    }

    /// Has the node's journal cosigned now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn witness(&self) -> Result<WitnessReply, ClientError> {
        self.write("/v1/audit/witness", &()).await
    }

    /// What the node holds as a witness of others' journals.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn witnessed(&self) -> Result<WitnessedReply, ClientError> {
        self.read("/v1/audit/witnessed").await
    }

    /// Has the node make a copy of all rows for a backup.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn snapshot(&self) -> Result<SnapshotReply, ClientError> {
        self.write("/v1/snapshot", &()).await
    }

    /// The directory as a bundle for auditors, to be read piece by piece.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn bundle(&self, entries: Entries) -> Result<Bundle, ClientError> {
        let messages = entries == Entries::Included;
        self.pieces(&format!("/v1/audit/bundle?messages={messages}")).await
    }

    /// The evidence of one message, to be read piece by piece.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn proof(&self, id: &IdPrefix) -> Result<Bundle, ClientError> {
        self.pieces(&format!("/v1/audit/proof/{id}")).await
    }

    async fn pieces(&self, path: &str) -> Result<Bundle, ClientError> {
        let answer = self.exchange(Method::GET, path, Vec::new());
        let response = tokio::time::timeout(ANSWER_TIMEOUT, answer)
            .await
            .map_err(|_| ClientError::TimedOut(ANSWER_TIMEOUT))??;
        if response.status() != StatusCode::OK {
            return Err(problem(response).await);
        }
        Ok(Bundle(response.into_body()))
    }

    /// Hands signed documents in.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn import(&self, request: &ImportRequest) -> Result<ImportReply, ClientError> {
        self.write("/v1/documents", request).await
    }

    /// The rows of a folder, newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn messages(&self, folder: MessageBox, all: bool) -> Result<Vec<MessageRow>, ClientError> {
        let folder = match folder {
            MessageBox::Inbox => "inbox",
            MessageBox::Outbox => "outbox",
        };
        self.read(&format!("/v1/messages?box={folder}&all={all}")).await
    }

    /// A message in full.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn message(&self, id: &IdPrefix) -> Result<MessageView, ClientError> {
        self.read(&format!("/v1/messages/{id}")).await
    }

    /// A message's receipts.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn receipts(&self, id: &IdPrefix) -> Result<ReceiptsView, ClientError> {
        self.read(&format!("/v1/messages/{id}/receipts")).await
    }

    /// An attachment, numbered from 1.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn attachment(&self, id: &IdPrefix, number: u64) -> Result<AttachmentData, ClientError> {
        self.read(&format!("/v1/messages/{id}/attachments/{number}")).await
    }

    /// Hands a message over.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send(&self, request: &SendRequest) -> Result<SendReply, ClientError> {
        self.write("/v1/messages", request).await
    }

    /// Says a person's word about a message.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn state(
        &self,
        id: &IdPrefix,
        request: &StatementRequest,
    ) -> Result<StatementReply, ClientError> {
        self.write(&format!("/v1/messages/{id}/statements"), request).await
    }

    /// Events after number `after`, or from now on; the subscription stands when this returns.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(&self, after: Option<u64>) -> Result<Events, ClientError> {
        let path = after.map_or_else(|| "/v1/events".to_owned(), |after| format!("/v1/events?after={after}"));
        let response = self.exchange(Method::GET, &path, Vec::new()).await?;
        if response.status() != StatusCode::OK {
            return Err(problem(response).await);
        }
        Ok(Events::new(response.into_body(), after))
    }

    /// Events as [`Client::events`] gives them, over restarts of the node.
    #[must_use]
    pub fn follow(&self, after: Option<u64>) -> FollowedEvents {
        FollowedEvents::new(self.clone(), after)
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        self.request(Method::GET, path, Vec::new()).await
    }

    async fn write<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, ClientError> {
        let body =
            serde_json::to_vec(body).map_err(|error| ClientError::Request { reason: error.to_string() })?;
        self.request(Method::POST, path, body).await
    }

    async fn request<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<T, ClientError> {
        let whole = async {
            let response = self.exchange(method, path, body).await?;
            if !response.status().is_success() {
                return Err(problem(response).await);
            }
            let bytes = collect(response).await?;
            serde_json::from_slice(&bytes).map_err(|error| ClientError::Answer { reason: error.to_string() })
        };
        tokio::time::timeout(ANSWER_TIMEOUT, whole)
            .await
            .map_err(|_| ClientError::TimedOut(ANSWER_TIMEOUT))?
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|source| {
            let socket = self.socket.clone();
            match source.kind() {
                io::ErrorKind::PermissionDenied => ClientError::NotPermitted { socket, source },
                _ => ClientError::NotRunning { socket, source },
            }
        })?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(ClientError::Broken)?;
        // It ends with the response's body; its error is the body's or the response's too.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the node ended");
            }
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "refpoint")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Request { reason: error.to_string() })?;
        sender.send_request(request).await.map_err(ClientError::Broken)
    }
}

/// A bundle on its way. Without its end it is refused by whoever reads it, so a broken connection harms nobody.
#[derive(Debug)]
pub struct Bundle(Incoming);

impl Bundle {
    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// [`ClientError`] if the connection breaks or the node falls silent.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(ANSWER_TIMEOUT, self.0.frame()).await;
            match frame.map_err(|_| ClientError::TimedOut(ANSWER_TIMEOUT))? {
                None => return Ok(None),
                Some(frame) => {
                    if let Ok(bytes) = frame.map_err(ClientError::Broken)?.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

async fn problem(response: Response<Incoming>) -> ClientError {
    let status = response.status();
    match collect(response).await {
        Ok(bytes) => match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => ClientError::Problem(Box::new(problem)),
            Err(_) => ClientError::Answer { reason: format!("HTTP status {status} without a problem") },
        },
        Err(error) => error,
    }
}

async fn collect(response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let limited = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    limited.map(http_body_util::Collected::to_bytes).map_err(|error| match error.downcast::<hyper::Error>() {
        Ok(broken) => ClientError::Broken(*broken),
        Err(_) => ClientError::Answer { reason: format!("it has more than {ANSWER_BYTES_MAX} bytes") },
    })
}

/// How long one answer may take: longer than the node's own limit, so that the node's reason arrives.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(35);

/// Bytes of an answer: 10,000 rows of the longest kind fit twice.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
