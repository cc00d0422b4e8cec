//! What the API asks of the node, and how the node may refuse. No HTTP here.

use std::{fmt, future::Future, str::FromStr};

use axum::body::Bytes;
use futures::stream::BoxStream;
use refpoint_protocol::ids::{MemberCode, MessageId, Sequence};

use super::views::{
    dial_back::DialBackReply,
    directory::{
        DirectoryEntryView, DirectoryRow, PublishReply, PublishRequest, PublishedReferencePoint, ResumeReply,
    },
    document::{ImportReply, ImportRequest, OwnDocuments},
    drill::{DrillReport, DrillRequest, DrillRow, DrillStarted},
    event::EventView,
    heads::HeadsReport,
    history::{DirectoryAtView, DirectoryHistoryView},
    instant::Instant,
    message::{AttachmentData, MessageBox, MessageRow, MessageView},
    peer::PeerView,
    receipt::ReceiptsView,
    send::{SendReply, SendRequest, StatementReply, StatementRequest},
    snapshot::SnapshotReply,
    status::StatusFacts,
    witness::WitnessReply,
    witnessed::WitnessedReply,
};
use crate::{bundle::Entries, metrics::Measured};

/// The running node, as the API sees it.
///
/// Requests arrive checked for form ([`SendRequest::check`], bounds of counts and sizes); what only the node
/// knows it refuses itself. Dropping a future gives up waiting for the answer, never undoes a command.
pub trait Backend: Send + Sync + 'static {
    /// The facts of `status`.
    fn status(&self) -> impl Future<Output = Result<StatusFacts, BackendError>> + Send;

    /// The figures for Prometheus.
    fn metrics(&self) -> impl Future<Output = Result<Measured, BackendError>> + Send;

    /// The drills that this node started, newest first.
    fn drills(&self) -> impl Future<Output = Result<Vec<DrillRow>, BackendError>> + Send;

    /// One drill, compared with those before it.
    fn drill(&self, id: &IdPrefix) -> impl Future<Output = Result<DrillReport, BackendError>> + Send;

    /// Starts a drill; returns once its messages are durable in the outbox.
    fn start_drill(
        &self,
        request: DrillRequest,
    ) -> impl Future<Output = Result<DrillStarted, BackendError>> + Send;

    /// What the members' signed heads say.
    fn heads(&self) -> impl Future<Output = Result<HeadsReport, BackendError>> + Send;

    /// All nodes of other members, and other nodes of this one, in the order of their members' codes.
    fn peers(&self) -> impl Future<Output = Result<Vec<PeerView>, BackendError>> + Send;

    /// All members of the charter, in the order of their codes.
    fn directory(&self) -> impl Future<Output = Result<Vec<DirectoryRow>, BackendError>> + Send;

    /// All that is held about one member; [`BackendError::UnknownMember`] if the charter does not list it.
    fn directory_entry(
        &self,
        member: &MemberCode,
    ) -> impl Future<Output = Result<DirectoryEntryView, BackendError>> + Send;

    /// All that is held of a member's entries; [`BackendError::UnknownMember`] if the charter does not list it.
    fn directory_history(
        &self,
        member: &MemberCode,
    ) -> impl Future<Output = Result<DirectoryHistoryView, BackendError>> + Send;

    /// The directory as it was.
    fn directory_at(&self, at: Instant)
    -> impl Future<Output = Result<DirectoryAtView, BackendError>> + Send;

    /// What this node itself publishes.
    fn published(&self) -> impl Future<Output = Result<PublishedReferencePoint, BackendError>> + Send;

    /// Signs, stores and pushes a reference point; [`BackendError::PublishedChanged`] if `replaces` is not the
    /// newest sequence.
    fn publish(
        &self,
        request: PublishRequest,
    ) -> impl Future<Output = Result<PublishReply, BackendError>> + Send;

    /// Lets this node sign its own chain without waiting for other members; logged.
    fn resume(&self) -> impl Future<Output = Result<ResumeReply, BackendError>> + Send;

    /// What a member's next key set is made from; of this node's member unless another is named.
    fn own_documents(
        &self,
        member: Option<&MemberCode>,
    ) -> impl Future<Output = Result<OwnDocuments, BackendError>> + Send;

    /// Has another member's node dial the announced addresses.
    fn dial_back(&self) -> impl Future<Output = Result<DialBackReply, BackendError>> + Send;

    /// Gathers the evidence of one message for a third party.
    fn proof(&self, id: &IdPrefix) -> impl Future<Output = Result<String, BackendError>> + Send;

    /// Has this node's journal cosigned now.
    fn witness(&self) -> impl Future<Output = Result<WitnessReply, BackendError>> + Send;

    /// What this node holds as a witness of others' journals.
    fn witnessed(&self) -> impl Future<Output = Result<WitnessedReply, BackendError>> + Send;

    /// Makes a copy of all rows between two batches, for a backup.
    fn snapshot(&self) -> impl Future<Output = Result<SnapshotReply, BackendError>> + Send;

    /// Writes the directory as a bundle for auditors, piece by piece; an error among the pieces ends it.
    fn bundle(
        &self,
        entries: Entries,
    ) -> impl Future<Output = Result<BoxStream<'static, Result<Bytes, BackendError>>, BackendError>> + Send;

    /// Takes in signed documents.
    fn import(
        &self,
        request: ImportRequest,
    ) -> impl Future<Output = Result<ImportReply, BackendError>> + Send;

    /// The rows of one folder, at most `limit`: of the inbox the most urgent first, then the newest; of the
    /// outbox the newest first. Without `all`: in the inbox those that no person
    /// here has acknowledged, in the outbox those that a recipient has not acknowledged and that wait still.
    fn messages(
        &self,
        folder: MessageBox,
        all: bool,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<MessageRow>, BackendError>> + Send;

    /// A message in full, out of the inbox or, if it is not there, the outbox.
    fn message(&self, id: &IdPrefix) -> impl Future<Output = Result<MessageView, BackendError>> + Send;

    /// A message's receipts and statements.
    fn receipts(&self, id: &IdPrefix) -> impl Future<Output = Result<ReceiptsView, BackendError>> + Send;

    /// One attachment, numbered from 1.
    fn attachment(
        &self,
        id: &IdPrefix,
        number: u64,
    ) -> impl Future<Output = Result<AttachmentData, BackendError>> + Send;

    /// Takes a message into the outbox; returns once it is durable there.
    fn send(&self, request: SendRequest) -> impl Future<Output = Result<SendReply, BackendError>> + Send;

    /// Takes a person's word about a message; returns once it is durable.
    fn state(
        &self,
        id: &IdPrefix,
        request: StatementRequest,
    ) -> impl Future<Output = Result<StatementReply, BackendError>> + Send;

    /// Events after number `after`, or from now on. The subscription stands when this returns.
    fn events(
        &self,
        after: Option<u64>,
    ) -> impl Future<Output = Result<EventSubscription, BackendError>> + Send;
}

/// A place in the stream of events.
pub struct EventSubscription {
    /// The newest event's number when this was made, zero before the first.
    pub newest: u64,
    /// Events after the number asked for, oldest first.
    pub missed: Vec<EventView>,
    /// Whether events between the number asked for and the first of `missed` are no longer kept.
    pub gap: bool,
    /// Later events. A reader too slow for it gets [`Lagged`] and subscribes anew by number.
    pub live: BoxStream<'static, Result<EventView, Lagged>>,
}

impl fmt::Debug for EventSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { newest, missed, gap, live: _ } = self;
        let missed = missed.len();
        f.debug_struct("EventSubscription")
            .field("newest", newest)
            .field("missed", &missed)
            .field("gap", gap)
            .finish_non_exhaustive()
    }
}

/// The reader was too slow, and events were dropped on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lagged;

/// The beginning of a message's id, at least four hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdPrefix(String);

/// Why a text is not the beginning of an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a message id: give 4 to 64 of its hexadecimal digits")]
pub struct IdPrefixError(String);

impl IdPrefix {
    /// Whether `id` begins with it.
    #[must_use]
    pub fn fits(&self, id: &MessageId) -> bool {
        id.to_string().starts_with(&self.0)
    }

    /// The digits, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one of `ids` that it begins.
    ///
    /// # Errors
    /// [`BackendError::UnknownMessage`] if there is none, [`BackendError::AmbiguousId`] if there are several.
    pub fn resolve(&self, ids: impl IntoIterator<Item = MessageId>) -> Result<MessageId, BackendError> {
        let mut candidates: Vec<MessageId> = ids.into_iter().filter(|id| self.fits(id)).collect();
        candidates.sort_unstable();
        candidates.dedup();
        match candidates.as_slice() {
            [] => Err(BackendError::UnknownMessage { id: self.0.clone() }),
            [id] => Ok(*id),
            _ => Err(BackendError::AmbiguousId { id: self.0.clone(), candidates }),
        }
    }
}

impl FromStr for IdPrefix {
    type Err = IdPrefixError;

    fn from_str(text: &str) -> Result<Self, IdPrefixError> {
        let is_prefix = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if is_prefix {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(IdPrefixError(text.chars().take(ECHO_CHARS_MAX).collect()))
        }
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why the node does not do as asked. Shown to people: no variant holds content, a person or a case.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BackendError {
    /// The charter does not list this member.
    #[error("{member} is not a member of this federation")]
    UnknownMember {
        /// The code.
        member: MemberCode,
    },
    /// No message begins with this.
    #[error("no message in the inbox or the outbox has an id that begins with {id}")]
    UnknownMessage {
        /// The digits.
        id: String,
    },
    /// No drill begins with this.
    #[error("this node remembers no drill whose id begins with {id}")]
    UnknownDrill {
        /// The digits.
        id: String,
    },
    /// Several do.
    #[error("{} messages have ids that begin with {id}", candidates.len())]
    AmbiguousId {
        /// The digits.
        id: String,
        /// The ids.
        candidates: Vec<MessageId>,
    },
    /// The message has no such attachment.
    #[error("message {id} has no attachment with number {number}, of {count}")]
    UnknownAttachment {
        /// The message.
        id: String,
        /// The number asked for.
        number: u64,
        /// How many there are.
        count: u64,
    },
    /// Another entry was published since the difference was shown.
    #[error("another entry was published in between: {} was expected, {} is published", shown(*expected), shown(*published))]
    PublishedChanged {
        /// The sequence that was to be replaced.
        expected: Option<Sequence>,
        /// The newest one.
        published: Option<Sequence>,
    },
    /// The node's rules forbid it.
    #[error("{message}")]
    Refused {
        /// A stable code, such as `suspended`.
        code: &'static str,
        /// What was refused, and why.
        message: String,
        /// What to do.
        hint: String,
    },
    /// There is no room to store it.
    #[error("there is no room to store it: {why}")]
    NoRoom {
        /// What is full.
        why: String,
    },
    /// Storage failed.
    #[error("storage failed: {why}")]
    Storage {
        /// How.
        why: String,
    },
    /// The node stopped before it said whether it did what was asked. Unlike [`BackendError::Unavailable`] this is no
    /// refusal: what was asked may stand on the disk, and go on with the next start.
    #[error("the node stopped before it said whether this is stored")]
    Undecided,
    /// The node cannot answer now, for instance because it is starting or stopping.
    #[error("the node cannot answer now: {why}")]
    Unavailable {
        /// Why.
        why: String,
    },
}

fn shown(sequence: Option<Sequence>) -> String {
    sequence.map_or_else(|| "no entry".to_owned(), |sequence| format!("number {sequence}"))
}

/// Characters of a wrong id that are repeated in the error.
const ECHO_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_prefix_names_one_message_or_says_why_not() {
        let ids = [MessageId::from_bytes([0x7a; 32]), MessageId::from_bytes([0xc1; 32])];
        let prefix = |text: &str| text.parse::<IdPrefix>();
        assert_eq!(prefix("7A7A").unwrap().resolve(ids), Ok(ids[0]));
        assert_eq!(prefix("7a7a").unwrap().resolve([ids[0], ids[0]]), Ok(ids[0]));
        assert!(matches!(prefix("abcd").unwrap().resolve(ids), Err(BackendError::UnknownMessage { .. })));
        let mut near = [0x7a; 32];
        near[31] = 0;
        let several = [ids[0], MessageId::from_bytes(near)];
        assert!(
            matches!(prefix("7a7a7a").unwrap().resolve(several), Err(BackendError::AmbiguousId { candidates, .. }) if candidates.len() == 2)
        );
        for bad in ["", "7a7", "7a7g", &"a".repeat(65), "7a7a "] {
            assert!(prefix(bad).is_err(), "{bad:?}");
        }
    }
}
