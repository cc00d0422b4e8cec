//! A receipt: a node's signed word about a parcel.

use serde::{Deserialize, Serialize};

use crate::{
    document::{FormError, Kind, Payload},
    ids::{MemberCode, MessageId, NodeKey, SealingKeyId},
    limits::RECEIPT_BYTES_MAX,
    time::Timestamp,
};

/// What a node says of a parcel, signed with its node key after the state that it states is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The message.
    pub message: MessageId,
    /// The member whose node speaks.
    pub member: MemberCode,
    /// The node that the parcel is for; the signer, unless a custodian speaks: by `custody`, or by `refused`.
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

impl Payload for Receipt {
    const KIND: Kind = Kind::Receipt;
    const VERSION: u64 = 1;
    const BYTES_MAX: usize = RECEIPT_BYTES_MAX;

    fn check_form(&self) -> Result<(), FormError> {
        if (self.word == ReceiptWord::Refused) != self.reason.is_some() {
            let what = "a reason stands with `refused`, and with nothing else".into();
            return Err(FormError { rule: "RC-01", what });
        }
        if self.sealing_key.is_some() && self.word != ReceiptWord::Reseal {
            let what = "a sealing key stands with `reseal` alone".into();
            return Err(FormError { rule: "RC-02", what });
        }
        Ok(())
    }
}

/// The words of receipts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReceiptWord {
    /// On the speaker's device, kept for another node that is away. No delivery, and never drawn as one.
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
    /// Of a custodian: the handing member's share of its custody is used up.
    Quota,
    /// Of a custodian: what it kept is damaged or gone, and its `custody` holds no more.
    Lost,
}

impl RefusalReason {
    /// Whether the same parcel may be taken later, so that the sender tries again until the expiry.
    #[must_use]
    pub const fn is_passing(self) -> bool {
        match self {
            Self::NoRoom
            | Self::TooFast
            | Self::UnknownSigner
            | Self::Suspended
            | Self::Quota
            | Self::Lost => true,
            Self::Expired | Self::NotARecipient | Self::Invalid => false,
        }
    }

    /// The word on the wire and on screens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotARecipient => "not-a-recipient",
            Self::Suspended => "suspended",
            Self::Invalid => "invalid",
            Self::NoRoom => "no-room",
            Self::TooFast => "too-fast",
            Self::UnknownSigner => "unknown-signer",
            Self::Quota => "quota",
            Self::Lost => "lost",
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn reasons_and_keys_stand_with_their_words_alone() {
        use ReceiptWord::{Custody, Delivered, Refused, Reseal};
        let rule = |word, reason: bool, key: bool| {
            let receipt = Receipt {
                message: MessageId::from_bytes([1; 32]),
                member: "KE".parse().unwrap(),
                node: NodeKey::from_bytes([2; 32]),
                word,
                at: Timestamp::default(),
                reason: reason.then_some(RefusalReason::NoRoom),
                sealing_key: key.then_some(SealingKeyId::from_bytes([3; 32])),
            };
            receipt.check_form().err().map(|error| error.rule)
        };
        for word in [Custody, Delivered, Reseal, Refused] {
            assert_eq!(rule(word, word == Refused, false), None);
            assert_eq!(rule(word, word != Refused, false), Some("RC-01"));
            let with_key = if word == Reseal { None } else { Some("RC-02") };
            assert_eq!(rule(word, word == Refused, true), with_key);
        }
    }
}
