//! From a draft to parcels and back: costly, pure functions that the shell runs on its pool.
//!
//! [`compose`] makes the signed header and the ciphertext once; [`seal`] wraps header and content key for
//! one node; [`open`] undoes both and checks every binding. Nothing here decides whether a signer counts:
//! that is asked of the directory when the machine takes the result.

use std::sync::Arc;

use ed25519_dalek::SigningKey;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{
    parcel::{Label, Parcel},
    receipt::RefusalReason,
    rows::{self, SignedStatement},
};
use crate::{
    crypto::{
        BodyCipher, BodyError, ContentKey, HpkeFault, OpenedSeed, SEAL_RANDOM_BYTES, check_sealing_key,
        hpke_open, hpke_seal,
    },
    directory::node_record::SealingKeyEntry,
    document::{
        DecodeError, EncodeError, Envelope, FormError, Unverified, Verified, VerifyError, decode, encode,
        sign,
    },
    ids::{ContentHash, FederationId, MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::{EXPIRY_DEFAULT, MESSAGE_BODY_BYTES_MAX, SEALED_BYTES_MAX},
    message::{
        body::{Body, Statement},
        draft::Draft,
        header::MessageHeader,
    },
    time::Timestamp,
};

/// Random bytes that composing draws: the content key (32), then the nonce (24).
pub const COMPOSE_RANDOM_BYTES: usize = 56;

/// What sealing anew needs: the signed header, the content key and the ciphertext. It has no `Debug`.
pub struct Sealable {
    id: MessageId,
    header: MessageHeader,
    envelope: Envelope,
    key: ContentKey,
    ciphertext: Vec<u8>,
}

/// A composed message and its row for [`crate::storage::Table::OutboxContent`], encoded off the machine's path.
pub struct Composed {
    /// What parcels are sealed from.
    pub content: Arc<Sealable>,
    /// The row's value.
    pub row: Vec<u8>,
}

/// Why a draft is not a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The body breaks a rule.
    #[error(transparent)]
    Body(FormError),
    /// The header breaks a rule.
    #[error(transparent)]
    Header(FormError),
    /// The encoded body is too long.
    #[error("the message has {0} bytes, at most {MESSAGE_BODY_BYTES_MAX} are allowed: send less at once")]
    TooLong(usize),
    /// Something of ours cannot be encoded or encrypted.
    #[error("the message cannot be composed: {0}")]
    Bug(String),
}

/// Why a message is not sealed for a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The recipient's sealing key cannot be used.
    #[error("the sealing key cannot be used: {0}")]
    Key(String),
    /// The stored content is gone or damaged: the shell reports which row.
    #[error("the message's stored content cannot be read")]
    NoContent,
    /// The pool gave the job back: it is tried again.
    #[error("the pool is full")]
    Busy,
    /// An invariant of ours is broken.
    #[error("sealing failed: {0}")]
    Bug(String),
}

/// A parcel that opened, every binding checked. It has no `Debug`.
pub struct Opened {
    /// The signed header; whether its signer counts is not said here.
    pub header: Verified<MessageHeader>,
    /// The body.
    pub body: Body,
    /// The row for [`crate::storage::Table::InboxContent`].
    pub row: Vec<u8>,
    /// Of a statement: what proves it to others.
    pub signed: Option<SignedStatement>,
}

/// Why a parcel does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is sealed to a key that this node does not have, or no longer has.
    #[error("PA-03: sealed to the key {}, which is not held", .0.short())]
    UnknownKey(SealingKeyId),
    /// It does not open under the key that it names.
    #[error("PA-03: it does not open under the key that it names")]
    DoesNotOpen,
    /// The label names another node or member.
    #[error("PA-01: it is for another node")]
    Elsewhere,
    /// The signed header does not name this member.
    #[error("PA-06: this member is no recipient in the signed header")]
    NotARecipient,
    /// A binding or form does not hold: the sender's fault in every state.
    #[error("{rule}: {what}")]
    Invalid {
        /// The broken rule's id in VALIDATION.md.
        rule: &'static str,
        /// What is wrong, without content.
        what: String,
    },
    /// The pool has no room.
    #[error("the pool is full")]
    Busy,
}

/// What a parcel that does not open is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenAnswer {
    /// `reseal`: seal it anew to the current key.
    Reseal,
    /// `refused` for this reason.
    Refused(RefusalReason),
}

impl Sealable {
    /// The message's id.
    #[must_use]
    pub const fn id(&self) -> MessageId {
        self.id
    }

    /// The signed header.
    #[must_use]
    pub const fn header(&self) -> &MessageHeader {
        &self.header
    }

    /// The header as it was signed.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Bytes of the ciphertext.
    #[must_use]
    pub fn size(&self) -> usize {
        self.ciphertext.len()
    }

    /// What one's own outbox shows: the body, decrypted again.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] if the stored bytes are damaged.
    pub fn body(&self) -> Result<Body, OpenError> {
        open_body(&self.header, &self.key, &self.ciphertext).map(|(body, _)| body)
    }

    /// What proves a statement of one's own to others; `None` of anything else.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] if the stored bytes are damaged.
    pub fn signed_statement(&self) -> Result<Option<SignedStatement>, OpenError> {
        let (body, bytes) = open_body(&self.header, &self.key, &self.ciphertext)?;
        if body.statement.is_none() {
            return Ok(None);
        }
        let header = encode(&self.envelope).map_err(|error| invalid("PA-10", error))?;
        let (key, body) = (*self.key.expose(), ByteBuf::from(bytes.to_vec()));
        Ok(Some(SignedStatement { header: ByteBuf::from(header), key, body }))
    }

    /// A statement as its maker signed it: to be sealed for another node of its maker's.
    ///
    /// # Errors
    /// [`OpenError::Invalid`] if a binding does not hold.
    pub fn of_statement(signed: &SignedStatement, federation: FederationId) -> Result<Self, OpenError> {
        let Restored { header, key, ciphertext } = restored(signed, federation)?;
        open_body(header.payload(), &key, &ciphertext)?;
        let (id, envelope) = (MessageId::from(header.id()), Envelope::clone(header.envelope()));
        Ok(Self { id, header: header.payload().clone(), envelope, key, ciphertext })
    }

    /// The same content with the header signed by another key of the sender's: after the sender's node key
    /// changed. The header names the member, not the key, so the id stays.
    ///
    /// # Errors
    /// [`ComposeError::Bug`] if the header cannot be encoded.
    pub fn signed_anew(&self, federation: FederationId, key: &SigningKey) -> Result<Self, ComposeError> {
        let envelope = sign(&self.header, Some(federation), &[key]).map_err(bug)?;
        let (key, ciphertext) = (ContentKey::from_bytes(*self.key.expose()), self.ciphertext.clone());
        Ok(Self { id: self.id, header: self.header.clone(), envelope, key, ciphertext })
    }

    /// Whether this key signed the header.
    #[must_use]
    pub fn is_signed_by(&self, key: &NodeKey) -> bool {
        self.envelope.signatures.iter().any(|signature| signature.key == key.as_bytes())
    }

    pub(super) fn from_parts(
        id: MessageId,
        header: MessageHeader,
        envelope: Envelope,
        key: ContentKey,
        ciphertext: Vec<u8>,
    ) -> Self {
        Self { id, header, envelope, key, ciphertext }
    }

    pub(super) fn parts(&self) -> (&Envelope, &ContentKey, &[u8]) {
        (&self.envelope, &self.key, &self.ciphertext)
    }
}

impl OpenError {
    /// The broken rule's id in VALIDATION.md; `RELAY` for what is no rule's breach.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::UnknownKey(_) | Self::DoesNotOpen => "PA-03",
            Self::Elsewhere => "PA-01",
            Self::NotARecipient => "PA-06",
            Self::Invalid { rule, .. } => rule,
            Self::Busy => "RELAY",
        }
    }

    /// The receipt word that answers it.
    #[must_use]
    pub const fn answer(&self) -> OpenAnswer {
        match self {
            Self::UnknownKey(_) | Self::DoesNotOpen => OpenAnswer::Reseal,
            Self::Elsewhere | Self::NotARecipient => OpenAnswer::Refused(RefusalReason::NotARecipient),
            Self::Invalid { .. } => OpenAnswer::Refused(RefusalReason::Invalid),
            Self::Busy => OpenAnswer::Refused(RefusalReason::TooFast),
        }
    }
}

/// Composes a message: encodes, pads and encrypts the body, signs the header.
///
/// # Errors
/// [`ComposeError`] with the rule that the draft breaks.
pub fn compose(
    draft: &Draft,
    sender: &MemberCode,
    federation: FederationId,
    node: &SigningKey,
    created: Timestamp,
    random: &[u8; COMPOSE_RANDOM_BYTES],
) -> Result<Composed, ComposeError> {
    draft.body.check_form().map_err(ComposeError::Body)?;
    let body = Zeroizing::new(encode(&draft.body).map_err(bug)?);
    let mut recipients = draft.recipients.clone();
    recipients.sort();
    recipients.dedup();
    if recipients.contains(sender) && draft.body.statement.is_none() {
        let what = "the sender is its own recipient".into();
        return Err(ComposeError::Header(FormError { rule: "MB-08", what }));
    }
    let (mut content_key, mut nonce) = ([0; 32], [0; 24]);
    let (first, second) = random.split_at(32);
    content_key.copy_from_slice(first);
    nonce.copy_from_slice(second);
    let key = ContentKey::from_bytes(content_key);
    let (_, commitment) = key.schedule();
    let ciphertext = BodyCipher::new(&key, &nonce).encrypt(&body).map_err(|error| match error {
        BodyError::TooLong(length) => ComposeError::TooLong(length),
        other => bug(other),
    })?;
    let header = MessageHeader {
        sender: sender.clone(),
        recipients,
        precedence: draft.precedence,
        created,
        expires: created.after(draft.lifetime.unwrap_or(EXPIRY_DEFAULT)),
        ciphertext: hash(&ciphertext),
        length: ciphertext.len() as u64,
        commitment,
        nonce,
    };
    crate::document::Payload::check_form(&header).map_err(ComposeError::Header)?;
    let envelope = sign(&header, Some(federation), &[node]).map_err(bug)?;
    let id = MessageId::from(envelope.id(Some(federation)));
    let content = Arc::new(Sealable { id, header, envelope, key, ciphertext });
    let row = rows::encode_outbox_content(&content).map_err(bug)?;
    Ok(Composed { content, row })
}

/// The clear part of the parcel for one node.
#[must_use]
pub fn label(content: &Sealable, member: MemberCode, node: NodeKey) -> Label {
    Label {
        message: content.id,
        member,
        node,
        expires: content.header.expires,
        class: content.header.precedence.class(),
        size: content.ciphertext.len() as u64,
    }
}

/// Seals a message for one node: about 150 µs.
///
/// # Errors
/// [`SealError`]; a degenerate recipient key is refused rather than used.
pub fn seal(
    content: &Sealable,
    label: Label,
    key: &SealingKeyEntry,
    random: &[u8; SEAL_RANDOM_BYTES],
) -> Result<Parcel, SealError> {
    check_sealing_key(key).map_err(|error| SealError::Key(error.to_string()))?;
    let broken = |error: EncodeError| SealError::Bug(error.to_string());
    let inner = SealedContent {
        header: ByteBuf::from(encode(&content.envelope).map_err(broken)?),
        key: *content.key.expose(),
    };
    let plaintext = Zeroizing::new(encode(&inner).map_err(broken)?);
    let bound = encode(&label).map_err(broken)?;
    let sealed = hpke_seal(&key.key, &bound, &plaintext, random).map_err(|fault| match fault {
        HpkeFault::Key => SealError::Key(fault.to_string()),
        HpkeFault::Open | HpkeFault::Bug => SealError::Bug(fault.to_string()),
    })?;
    Ok(Parcel { label, sealing_key: key.id(), sealed, ciphertext: content.ciphertext.clone() })
}

/// Opens a parcel for this node and checks every binding: about 250 µs and the body.
///
/// `seed` is the expanded seed of the key that the parcel names, `None` if it is not held (any more).
///
/// # Errors
/// [`OpenError`], whose [`OpenError::answer`] is what the sender is told. A parcel that does not open leaves
/// no trace under the message's id.
pub fn open(
    parcel: &Parcel,
    seed: Option<&OpenedSeed>,
    federation: FederationId,
    member: &MemberCode,
    node: &NodeKey,
) -> Result<Opened, OpenError> {
    let label = &parcel.label;
    if label.member != *member || label.node != *node {
        return Err(OpenError::Elsewhere);
    }
    check(
        label.size == parcel.ciphertext.len() as u64,
        "PA-02",
        "the ciphertext has another length than said",
    )?;
    check(parcel.sealed.len() <= SEALED_BYTES_MAX, "PA-02", "the sealed part is too long")?;
    let seed = seed.filter(|seed| seed.id() == parcel.sealing_key);
    let seed = seed.ok_or(OpenError::UnknownKey(parcel.sealing_key))?;
    let bound = encode(label).map_err(|error| invalid("PA-03", error))?;
    let plaintext = hpke_open(seed, &bound, &parcel.sealed).map_err(|_| OpenError::DoesNotOpen)?;
    let inner: SealedContent =
        decode(&plaintext, SEALED_BYTES_MAX).map_err(|error| invalid("PA-10", error))?;
    let key = ContentKey::from_bytes(inner.key);
    let header = verified_header(&inner.header, federation)?;
    let signed = header.payload();
    check(MessageId::from(header.id()) == label.message, "PA-04", "the label names another message")?;
    check(signed.expires == label.expires, "PA-05", "the label names another expiry")?;
    check(signed.precedence.class() == label.class, "PA-05", "the label names another class")?;
    let named = signed.recipients.contains(member);
    if !named && signed.sender != *member {
        return Err(OpenError::NotARecipient);
    }
    let (body, bytes) = open_body(signed, &key, &parcel.ciphertext)?;
    // What this member's people said comes back to a node that lacks it.
    if !named && body.statement.is_none() {
        return Err(OpenError::NotARecipient);
    }
    let row = rows::encode_inbox_content(&inner.header, &bytes).map_err(|error| invalid("PA-10", error))?;
    let signed = body.statement.is_some().then(|| SignedStatement {
        header: inner.header,
        key: inner.key,
        body: ByteBuf::from(bytes.to_vec()),
    });
    Ok(Opened { header, body, row, signed })
}

/// Opens a statement by what proves it, and checks every binding.
///
/// # Errors
/// [`OpenError::Invalid`].
pub fn open_statement(
    signed: &SignedStatement,
    federation: FederationId,
) -> Result<(Verified<MessageHeader>, Statement), OpenError> {
    let Restored { header, key, ciphertext } = restored(signed, federation)?;
    let (body, _) = open_body(header.payload(), &key, &ciphertext)?;
    let statement = body.statement.ok_or_else(|| invalid("MP-05", "the signed content is no statement"))?;
    Ok((header, statement))
}

/// A statement's parts as they were sealed.
struct Restored {
    header: Verified<MessageHeader>,
    key: ContentKey,
    ciphertext: Vec<u8>,
}

fn restored(signed: &SignedStatement, federation: FederationId) -> Result<Restored, OpenError> {
    let header = verified_header(&signed.header, federation)?;
    let key = ContentKey::from_bytes(signed.key);
    let cipher = BodyCipher::new(&key, &header.payload().nonce);
    let ciphertext = cipher.encrypt(&signed.body).map_err(|error| invalid("PA-09", error))?;
    Ok(Restored { header, key, ciphertext })
}

/// What HPKE seals: the header in its envelope, and the content key.
#[derive(Serialize, Deserialize)]
struct SealedContent {
    header: ByteBuf,
    #[serde(with = "serde_bytes")]
    key: [u8; 32],
}

fn verified_header(bytes: &[u8], federation: FederationId) -> Result<Verified<MessageHeader>, OpenError> {
    let envelope = Envelope::from_bytes(bytes).map_err(|error| invalid("PA-10", error))?;
    check(envelope.signatures.len() == 1, "PA-10", "the header has not exactly one signature")?;
    let header = Unverified::<MessageHeader>::open(envelope).map_err(|error| match error {
        VerifyError::Form(FormError { rule, what }) => OpenError::Invalid { rule, what },
        other => invalid("PA-10", other),
    })?;
    header.verify(federation).map_err(|error| invalid("PA-10", error))
}

fn open_body(
    header: &MessageHeader,
    key: &ContentKey,
    ciphertext: &[u8],
) -> Result<(Body, Zeroizing<Vec<u8>>), OpenError> {
    let bound = header.ciphertext == hash(ciphertext) && header.length == ciphertext.len() as u64;
    check(bound, "PA-07", "another ciphertext than the header names")?;
    let (_, commitment) = key.schedule();
    check(commitment == header.commitment, "PA-08", "another content key than the header commits to")?;
    let bytes =
        BodyCipher::new(key, &header.nonce).decrypt(ciphertext).map_err(|error| invalid("PA-09", error))?;
    let body: Body = decode(&bytes, MESSAGE_BODY_BYTES_MAX).map_err(|error| match error {
        // The decoder's words may quote what it met, and that is content.
        DecodeError::Shape(_) => invalid("PA-09", "the body has another shape than expected"),
        other => invalid("PA-09", other),
    })?;
    body.check_form().map_err(|FormError { rule, what }| OpenError::Invalid { rule, what })?;
    let to_itself = header.recipients.contains(&header.sender) && body.statement.is_none();
    check(!to_itself, "MB-08", "the sender is its own recipient")?;
    Ok((body, bytes))
}

fn check(holds: bool, rule: &'static str, what: &str) -> Result<(), OpenError> {
    if holds { Ok(()) } else { Err(invalid(rule, what)) }
}

fn invalid(rule: &'static str, what: impl std::fmt::Display) -> OpenError {
    OpenError::Invalid { rule, what: what.to_string() }
}

fn bug(error: impl std::fmt::Display) -> ComposeError {
    ComposeError::Bug(error.to_string())
}

fn hash(bytes: &[u8]) -> ContentHash {
    ContentHash::from_bytes(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests;
