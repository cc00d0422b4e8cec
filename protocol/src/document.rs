//! Documents: what is signed, what it is called, and how it travels.
//!
//! A document is the hash of what is signed (kind, version, federation, payload), never of its
//! envelope: another subset of signers, another signature, another wrapping is the same document.
//! Wire bytes decode to [`Unverified`]; only [`Unverified::verify`] makes a [`Verified`], and
//! everything that decides accepts nothing else. `Verified` says only that the keys in the envelope
//! signed this payload in this domain; whether a key counts is decided at the moment of use.

mod canonical;
mod codec;
mod envelope;
mod verified;

pub use canonical::{CanonicalError, check_canonical};
pub use codec::{DecodeError, EncodeError, decode, encode};
pub use envelope::{Envelope, EnvelopeError, Kind, Signature, signed_bytes};
pub use verified::{FormError, Payload, SignatureBounds, Unverified, Verified, VerifyError, sign};
