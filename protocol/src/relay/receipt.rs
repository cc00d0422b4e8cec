//! A receipt: a node's signed word about a parcel.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    time::Timestamp,
};

/// What a node says of a parcel, signed with its node key after the state that it states is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// The member whose node speaks.
    pub member: MemberCode,
    /// The node that the parcel is for; the signer, except for `custody`.
    pub node: NodeKey,
    /// What is said.
    pub word: ReceiptWord,
    /// When, by the speaker's clock.
    pub at: Timestamp,
    /// With `refused`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RefusalReason>,
    /// With `reseal`: the sealing key to use, if the sender's directory lags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sealing_key: Option<SealingKeyId>,
}

/// The words of receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptWord {
    /// Kept for another node that is away.
    Custody,
    /// Opened and durable on the recipient node's disk, once.
    Delivered,
    /// It does not open: seal it anew to the current key.
    Reseal,
    /// Not stored, for the reason given.
    Refused,
}

/// Why a parcel is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalReason {
    /// It came later than a day after its expiry.
    Expired,
    /// This node or member is not a recipient in the signed header.
    NotARecipient,
    /// The sender's or the recipient's member is suspended or withdrawn.
    Suspended,
    /// The header's signature or binding does not hold.
    Invalid,
    /// There is no room now; the sender keeps it and tries again.
    NoRoom,
    /// More than this peer's share now; the sender tries again.
    TooFast,
    /// The header's signer is no node of the sender's member in any key set.
    UnknownSigner,
}
