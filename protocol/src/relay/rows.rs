//! What the relay stores: one type for each table, behind a version marker, and the way back.
//!
//! Stored types are not the machine's live types: they hold what must survive a restart and nothing else.
//! Every value read back is checked; a damaged one is an error with its cause, never a default.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    event::{Marks, StatementLabel, StopReason},
    parcel::{Class, Parcel},
    receipt::{ReceiptWord, RefusalReason},
    sealing::{OpenError, Sealable},
};
use crate::{
    crypto::ContentKey,
    document::{DecodeError, EncodeError, Envelope, EnvelopeError, Unverified, VerifyError, decode, encode},
    ids::{FederationId, MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::STORED_VALUE_BYTES_MAX,
    message::{
        body::{Body, Statement, Tlp, Word},
        drill::DrillId,
        header::{MessageHeader, Precedence},
    },
    redact::Redacted,
    time::Timestamp,
};

/// The row of [`crate::storage::Table::Outbox`]: a message that this node sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxRow {
    /// For whom, sorted.
    pub recipients: Vec<MemberCode>,
    /// How urgent.
    pub precedence: Precedence,
    /// Who may see it further.
    pub tlp: Tlp,
    /// Whether it is a test.
    pub drill: bool,
    /// For a message of a drill: which one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drill_id: Option<DrillId>,
    /// When it was made.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// Bytes of the ciphertext.
    pub size: u64,
    /// For a statement: what it says of which message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement: Option<StatementLabel>,
    /// Nodes that gave a lasting answer, by node. The others follow from the directory.
    pub answers: Vec<AnswerRow>,
    /// Recipients to whom it is not sent on, by member.
    pub stopped: Vec<StoppedRow>,
    /// Nodes that keep a parcel of it for another, by the order of their word.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custodians: Vec<CustodianRow>,
    /// Nodes that could not open their parcel when it expired, or said so later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_lost: Vec<KeyLostRow>,
    /// Whether its expiry was applied and told.
    pub expired: bool,
    /// Whether its content is still kept.
    pub content: bool,
}

/// A node's lasting answer to a parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnswerRow {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// When it said so, by its own clock.
    pub at: Timestamp,
    /// When its answer came, by this node's clock. Earlier programs did not keep it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// For `delivered`: whether that was after the expiry. Absent for `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late: Option<bool>,
    /// For `refused`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RefusalReason>,
}

/// A node that could not open its parcel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyLostRow {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
}

/// A custodian's word: it keeps a parcel for a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodianRow {
    /// The node that the parcel is for.
    pub node: NodeKey,
    /// The custodian.
    pub custodian: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// The sealing key that the parcel is for.
    pub key: SealingKeyId,
    /// When it said so, by its own clock.
    pub at: Timestamp,
}

/// The row of [`crate::storage::Table::Custody`]: a parcel that this node keeps for another, or the answer that
/// waits for whoever handed it over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyRow {
    /// The member that handed it over.
    pub by: MemberCode,
    /// The recipient member.
    pub member: MemberCode,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// Whether it goes before others.
    pub class: Class,
    /// Bytes of the parcel.
    pub size: u64,
    /// The sealing key that it is for.
    pub sealing_key: SealingKeyId,
    /// Since when it is kept.
    pub since: Timestamp,
    /// What the recipient node said, to be passed back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<CustodyAnswerRow>,
}

/// What a recipient node said of a parcel out of custody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustodyAnswerRow {
    /// `delivered`, `refused` or `reseal`; with `reseal` alone the parcel is still kept.
    pub word: ReceiptWord,
    /// The receipt as it was signed.
    pub receipt: ByteBuf,
}

/// Names a parcel in custody: whose it is, which message, for which node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CustodyKey {
    /// The node that handed it over.
    pub hander: NodeKey,
    /// The message.
    pub message: MessageId,
    /// The node that it is for.
    pub node: NodeKey,
}

impl CustodyKey {
    /// The row's key.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        [*self.hander.as_bytes(), *self.message.as_bytes(), *self.node.as_bytes()].concat()
    }

    /// The three ids of a row's key.
    ///
    /// # Errors
    /// [`RowError::Key`] for a key of another length.
    pub fn from_bytes(key: &[u8]) -> Result<Self, RowError> {
        let wrong = || RowError::Key(key.len());
        let (hander, rest) = key.split_first_chunk::<32>().ok_or_else(wrong)?;
        let (message, rest) = rest.split_first_chunk::<32>().ok_or_else(wrong)?;
        let node = rest.try_into().map_err(|_| wrong())?;
        Ok(Self {
            hander: NodeKey::from_bytes(*hander),
            message: MessageId::from_bytes(*message),
            node: NodeKey::from_bytes(node),
        })
    }
}

/// A recipient to whom a message is not sent on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedRow {
    /// The recipient.
    pub member: MemberCode,
    /// Why.
    pub why: StopReason,
}

/// The row of [`crate::storage::Table::Inbox`]: a message that this node received.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboxRow {
    /// From whom.
    pub sender: MemberCode,
    /// The node key that signed the header.
    pub signer: NodeKey,
    /// For whom, sorted.
    pub recipients: Vec<MemberCode>,
    /// How urgent.
    pub precedence: Precedence,
    /// Who may see it further.
    pub tlp: Tlp,
    /// Whether it is a test.
    pub drill: bool,
    /// When it was made, by the sender's clock.
    pub created: Timestamp,
    /// When the sender stops waiting.
    pub expires: Timestamp,
    /// When it came, by this node's clock.
    pub received: Timestamp,
    /// Bytes of the ciphertext.
    pub size: u64,
    /// What a reader must know of its times and signer.
    pub marks: Marks,
}

/// The row of [`crate::storage::Table::Statements`]: a person's word, of this or another member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementRow {
    /// Who says it.
    pub member: MemberCode,
    /// What is said.
    pub statement: Statement,
    /// A text beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Redacted<String>>,
    /// When it was made, by the speaker's clock.
    pub created: Timestamp,
    /// When it came, by this node's clock.
    pub received: Timestamp,
    /// What a reader must know of its times and signer.
    pub marks: Marks,
    /// What proves it to others; rows of earlier programs lack it, and memory never has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed: Option<SignedStatement>,
}

impl StatementRow {
    /// Whether a person took the message: no word of a key that is declared stolen.
    #[must_use]
    pub(super) fn is_acknowledgement(&self) -> bool {
        self.statement.word == Word::Acknowledged && !self.marks.unproven
    }

    /// The row as memory keeps it: the text and the proof stay on the disk.
    #[must_use]
    pub(super) fn in_memory(self) -> Self {
        Self { text: None, signed: None, ..self }
    }
}

/// A statement as it was signed: its header, and its content with the key that binds the one to the other.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedStatement {
    /// The header's envelope as received.
    pub header: ByteBuf,
    /// The content key, to which the header commits.
    #[serde(with = "serde_bytes")]
    pub key: [u8; 32],
    /// The encoded body.
    pub body: ByteBuf,
}

impl std::fmt::Debug for SignedStatement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { header: _, key: _, body: _ } = self;
        f.write_str("[redacted]")
    }
}

/// The row of [`crate::storage::Table::MessageIds`]: an id seen, against replays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRow {
    /// Until when it is kept.
    pub until: Timestamp,
}

/// Why a stored value is not what its table holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// The bytes.
    #[error("damaged: {0}")]
    Decode(#[from] DecodeError),
    /// A version that this program does not read.
    #[error("row version {0}, this program reads 1")]
    Version(u64),
    /// The envelope inside.
    #[error("damaged: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The header inside.
    #[error("damaged: {0}")]
    Header(#[from] VerifyError),
    /// The ciphertext is not the one that the header names.
    #[error("damaged: another ciphertext than the header names")]
    Ciphertext,
    /// The signed statement does not open.
    #[error("damaged: {0}")]
    Statement(#[from] OpenError),
    /// The key has not the form of its table.
    #[error("damaged: the key has {0} bytes")]
    Key(usize),
}

/// Encodes a row with the current version marker.
///
/// # Errors
/// [`EncodeError`] if the row has no canonical form: an invariant of ours is broken.
pub fn encode_row<T: Serialize>(row: &T) -> Result<Vec<u8>, EncodeError> {
    encode(&Versioned { v: VERSION, row })
}

/// Decodes a row of any version that this program reads.
///
/// # Errors
/// [`RowError`]
pub fn decode_row<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RowError> {
    match decode::<Versioned<T>>(bytes, STORED_VALUE_BYTES_MAX) {
        Ok(Versioned { v: VERSION, row }) => Ok(row),
        Ok(Versioned { v, .. }) => Err(RowError::Version(v)),
        Err(error) => match decode::<Marker>(bytes, STORED_VALUE_BYTES_MAX) {
            Ok(Marker { v }) if v != VERSION => Err(RowError::Version(v)),
            _ => Err(error.into()),
        },
    }
}

/// Encodes the row of [`crate::storage::Table::OutboxContent`].
///
/// # Errors
/// [`EncodeError`] if an invariant of ours is broken.
pub fn encode_outbox_content(content: &Sealable) -> Result<Vec<u8>, EncodeError> {
    let (envelope, key, ciphertext) = content.parts();
    encode_row(&OutboxContentRef { id: content.id(), envelope, key: key.expose(), ciphertext })
}

/// Decodes the row of [`crate::storage::Table::OutboxContent`]: what a [`super::exchange::Job::Seal`] needs, and
/// with [`Sealable::body`] what one's own outbox shows.
///
/// # Errors
/// [`RowError`] if the value is damaged.
pub fn decode_outbox_content(bytes: &[u8]) -> Result<Sealable, RowError> {
    let row: OutboxContentRow = decode_row(bytes)?;
    let key = ContentKey::from_bytes(row.key);
    row.envelope.check_bounds()?;
    let header = Unverified::<MessageHeader>::open(row.envelope.clone())?.claimed().clone();
    let hash: [u8; 32] = Sha256::digest(&row.ciphertext).into();
    if hash != *header.ciphertext.as_bytes() {
        return Err(RowError::Ciphertext);
    }
    Ok(Sealable::from_parts(row.id, header, row.envelope, key, row.ciphertext))
}

/// Decodes the row of [`crate::storage::Table::Statements`] into what a [`super::exchange::Job::SealStatement`] needs;
/// `None` if it was stored by an earlier program, without its proof.
///
/// # Errors
/// [`RowError`] if the value is damaged.
pub fn decode_statement_content(
    bytes: &[u8],
    federation: FederationId,
) -> Result<Option<Sealable>, RowError> {
    let row: StatementRow = decode_row(bytes)?;
    row.signed.map(|signed| Sealable::of_statement(&signed, federation)).transpose().map_err(RowError::from)
}

/// Encodes the row of [`crate::storage::Table::InboxContent`].
///
/// # Errors
/// [`EncodeError`] if an invariant of ours is broken.
pub fn encode_inbox_content(header: &[u8], body: &[u8]) -> Result<Vec<u8>, EncodeError> {
    encode_row(&InboxContentRef { header, body })
}

/// Decodes the row of [`crate::storage::Table::InboxContent`]: the header's envelope as received (the proof of who
/// said it) and the body.
///
/// # Errors
/// [`RowError`] if the value is damaged.
pub fn decode_inbox_content(bytes: &[u8]) -> Result<(Envelope, Body), RowError> {
    let row: InboxContentRow = decode_row(bytes)?;
    let body = Zeroizing::new(row.body.into_vec());
    Ok((Envelope::from_bytes(&row.header)?, decode(&body, STORED_VALUE_BYTES_MAX)?))
}

/// A statement's key: the id of the message answered, then the statement's own.
#[must_use]
pub fn statement_key(answers: MessageId, id: MessageId) -> Vec<u8> {
    [*answers.as_bytes(), *id.as_bytes()].concat()
}

/// A receipt's key: the message's id, then the node's key.
#[must_use]
pub fn receipt_key(message: MessageId, node: NodeKey) -> Vec<u8> {
    [*message.as_bytes(), *node.as_bytes()].concat()
}

/// The key of a custodian's receipt: the message's id, the key of the node that the parcel is for, the custodian's.
#[must_use]
pub fn custody_receipt_key(message: MessageId, node: NodeKey, custodian: NodeKey) -> Vec<u8> {
    [*message.as_bytes(), *node.as_bytes(), *custodian.as_bytes()].concat()
}

/// The value of [`crate::storage::Table::CustodyParcels`].
///
/// # Errors
/// [`EncodeError`] if an invariant of ours is broken.
pub fn encode_custody_parcel(parcel: &Parcel) -> Result<Vec<u8>, EncodeError> {
    encode_row(parcel)
}

/// Decodes the value of [`crate::storage::Table::CustodyParcels`].
///
/// # Errors
/// [`RowError`] if the value is damaged.
pub fn decode_custody_parcel(bytes: &[u8]) -> Result<Parcel, RowError> {
    decode_row(bytes)
}

/// The id that is a row's whole key.
///
/// # Errors
/// [`RowError::Key`] for a key of another length.
pub fn id_from_key(key: &[u8]) -> Result<MessageId, RowError> {
    let bytes = key.try_into().map_err(|_| RowError::Key(key.len()))?;
    Ok(MessageId::from_bytes(bytes))
}

/// The two ids of a statement's key: the message answered, and the statement.
///
/// # Errors
/// [`RowError::Key`] for a key of another length.
pub fn ids_from_statement_key(key: &[u8]) -> Result<(MessageId, MessageId), RowError> {
    let (answers, id) = key.split_at_checked(32).ok_or(RowError::Key(key.len()))?;
    Ok((id_from_key(answers)?, id_from_key(id)?))
}

/// The version of every row that this program writes.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    v: u64,
    row: T,
}

#[derive(Deserialize)]
struct Marker {
    v: u64,
}

#[derive(Serialize)]
struct OutboxContentRef<'a> {
    id: MessageId,
    envelope: &'a Envelope,
    #[serde(with = "serde_bytes")]
    key: &'a [u8; 32],
    #[serde(with = "serde_bytes")]
    ciphertext: &'a [u8],
}

#[derive(Deserialize)]
struct OutboxContentRow {
    id: MessageId,
    envelope: Envelope,
    #[serde(with = "serde_bytes")]
    key: [u8; 32],
    #[serde(with = "serde_bytes")]
    ciphertext: Vec<u8>,
}

#[derive(Serialize)]
struct InboxContentRef<'a> {
    #[serde(with = "serde_bytes")]
    header: &'a [u8],
    #[serde(with = "serde_bytes")]
    body: &'a [u8],
}

#[derive(Deserialize)]
struct InboxContentRow {
    header: ByteBuf,
    body: ByteBuf,
}

#[cfg(test)]
mod tests;
