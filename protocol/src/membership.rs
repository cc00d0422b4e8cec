//! Who is a member, who may sign what: charters, key sets, and the view computed from them.

pub mod charter;
pub mod key_set;
pub mod request;
