//! The decisions of a Refpoint node, without input or output.
//!
//! State machines take the time and an input and return effects; whatever could give a different answer
//! on another machine is the node's. Reading order: [`ids`], [`document`], [`membership`], [`directory`],
//! [`evidence`], [`introduction`], [`message`], [`relay`], [`machine`], [`audit`].

pub mod audit;
pub mod crypto;
pub mod directory;
pub mod document;
pub mod evidence;
pub mod heads;
pub mod ids;
pub mod introduction;
pub mod limits;
pub mod machine;
pub mod membership;
pub mod message;
pub mod peers;
pub mod redact;
pub mod relay;
pub mod storage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
