//! Who is a member, who may sign what: charters, key sets, and the view computed from them.
//!
//! [`Trust`] is the grow-only evidence; [`Membership`] is what it means, a pure function of it. A document
//! enters by its structure alone; whether a key counts is asked of the view at the moment of use.

pub mod charter;
mod error;
pub mod key_set;
pub mod proposal;
pub mod request;
pub mod settlement;
mod trust;
mod view;

pub use error::TrustError;
pub use trust::{Acceptance, LineGeneration, Trust, check_key_set};
pub use view::{
    KeyState, MemberView, Membership, NodeStanding, RejectedSigner, SignerStanding, UnprovenSigner,
};

use crate::document::FormError;

/// States one rule of form: `rule` is its id in VALIDATION.md.
fn require(holds: bool, rule: &'static str, what: impl FnOnce() -> String) -> Result<(), FormError> {
    if holds { Ok(()) } else { Err(FormError { rule, what: what() }) }
}

#[cfg(test)]
mod announced_tests;
#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod order_tests;
#[cfg(test)]
mod proposal_tests;
#[cfg(test)]
mod rotation_tests;
#[cfg(test)]
mod settlement_tests;
#[cfg(test)]
mod succession_tests;
#[cfg(test)]
mod view_tests;
