//! Every bound of the protocol, with its unit and its reason: one list, kept by subject. SPEC.md has the table of
//! those that other nodes can see.

mod audit;
mod custody;
mod directory;
mod documents;
mod evidence;
mod introduction;
mod membership;
mod message;
mod peers;
mod relay;
mod storage;

// By glob: a name that a list of names forgot could be used by nobody.
pub use self::audit::*;
pub use self::custody::*;
pub use self::directory::*;
pub use self::documents::*;
pub use self::evidence::*;
pub use self::introduction::*;
pub use self::membership::*;
pub use self::message::*;
pub use self::peers::*;
pub use self::relay::*;
pub use self::storage::*;
