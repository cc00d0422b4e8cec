//! What bounds outbox and inbox: what is held, what is under way, and when it is tried again.

use core::time::Duration;

/// Bytes of a relay frame other than a parcel: a receipt, or an offer of 1,024 ids.
pub const RELAY_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Messages that this node sends and still holds in memory: days of load at a message a second.
pub const OUTBOX_ROWS_MAX: usize = 200_000;

/// Received messages held in memory: past it those that are acknowledged make room, then senders wait.
pub const INBOX_ROWS_MAX: usize = 200_000;

/// Received messages of one sender in memory that nobody acknowledged: a fifth, so that its flood closes the
/// inbox to itself alone.
pub const INBOX_ROWS_PER_SENDER_MAX: usize = INBOX_ROWS_MAX / 5;

/// Received messages that every sender may have in memory, however many others have: a day of one a few
/// minutes. All members together take as much again as [`INBOX_ROWS_MAX`] at most.
pub const INBOX_ROWS_PER_SENDER_MIN: usize = 512;

/// Parcels of one class that one member may have opened here at once: what a pair of nodes that has lost a disk
/// offers anew, and far more than people write.
pub const INBOX_BURST: u32 = 32_768;

/// The interval that earns a member one more parcel to be opened: ten a second, whoever floods for how long.
pub const INBOX_INTERVAL: Duration = Duration::from_millis(100);

/// Message ids remembered at once: a message a minute for 400 days, and as many statements; past it senders wait.
pub const MESSAGE_IDS_MAX: usize = 1_000_000;

/// Ids remembered of one sender: a message every few minutes for 400 days.
pub const MESSAGE_IDS_PER_SENDER_MAX: usize = MESSAGE_IDS_MAX / 5;

/// Ids that every sender may have remembered, however many others have: five a day for 400 days.
pub const MESSAGE_IDS_PER_SENDER_MIN: usize = 2_048;

/// Statements in memory, about whatever message: five of each message that fits.
pub const STATEMENTS_MAX: usize = 1_000_000;

/// Statements of one speaker in memory.
pub const STATEMENTS_PER_SPEAKER_MAX: usize = STATEMENTS_MAX / 5;

/// Statements that every speaker may have in memory, however many others have.
pub const STATEMENTS_PER_SPEAKER_MIN: usize = 2_048;

/// Statements kept of one member about one message: each of the nine words a few times.
pub const STATEMENTS_PER_MEMBER_MAX: usize = 32;

/// Statements kept about messages that are not known here: a lost disk's worth of acknowledgements.
pub const ORPHAN_STATEMENTS_MAX: usize = 4_096;

/// The same of one member.
pub const ORPHAN_STATEMENTS_PER_MEMBER_MAX: usize = 1_024;

/// The same that every member may have, however many others have: what it said of the last few messages.
pub const ORPHAN_STATEMENTS_PER_MEMBER_MIN: usize = 32;

/// Parcels sealed or sent to one node and not answered yet: twice what keeps a loopback link busy.
pub const IN_FLIGHT_PER_PEER_MAX: usize = 128;

/// Bytes of parcels in flight to one node: eight large ones; one is always allowed.
pub const IN_FLIGHT_BYTES_PER_PEER_MAX: usize = 8 * 1024 * 1024;

/// The share of a bound that normal parcels leave to urgent ones: one in this many.
pub const URGENT_RESERVE: u64 = 10;

/// Every so many parcels to one peer the longest waiting goes first, whatever its precedence (ageing).
pub const AGEING_INTERVAL: u64 = 8;

/// Parcels of one peer that are being opened at once.
pub const OPENING_PER_PEER_MAX: usize = 256;

/// Bytes of parcels that are being opened at once, of all peers: what waits in memory for the crypto pool.
pub const OPENING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Opened messages that wait for their signer's key set.
pub const HELD_MESSAGES_MAX: usize = 256;

/// The same of one peer.
pub const HELD_MESSAGES_PER_PEER_MAX: usize = 64;

/// The same that every peer may have, however many others have: whoever is new sends more than one.
pub const HELD_MESSAGES_PER_PEER_MIN: usize = 4;

/// Bytes of opened messages that wait for their signer's key set.
pub const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same of one peer: one of the largest.
pub const HELD_BYTES_PER_PEER_MAX: usize = 4 * 1024 * 1024;

/// The same that every peer may have, however many others have: a message of text and forms.
pub const HELD_BYTES_PER_PEER_MIN: usize = 64 * 1024;

/// How long an opened message waits for its signer's key set: the sender sends it again anyway.
pub const HELD_WAIT: Duration = Duration::from_secs(60);

/// The first retry of an unanswered parcel comes within this; each further bound doubles.
pub const RETRY_FIRST: Duration = Duration::from_secs(2);

/// The longest bound of a retry: an urgent message asks again every few minutes.
pub const RETRY_MAX: Duration = Duration::from_secs(300);

/// How long a parcel may stay unanswered before it is sent again, beside its transfer time.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(20);

/// The slowest link for which transfer time is allowed, in bytes a second: a satellite telephone's.
pub const SLOWEST_LINK_BYTES_PER_SECOND: usize = 8 * 1024;

/// Bytes of composed content kept in memory so that a first seal reads nothing from the disk.
pub const CONTENT_AT_HAND_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Ids in one offer frame: 32 KiB.
pub const OFFER_IDS_MAX: usize = 1_024;

/// Frames of offered ids in one exchange: 65,536 messages.
pub const OFFER_FRAMES_MAX: usize = 64;

/// How long after a connect a node offers again what it keeps for the other: past every exchange that is still
/// under way, on the slowest link too.
pub const OFFER_AGAIN_FIRST: Duration = Duration::from_secs(60);

/// The longest time between two offers on one connection: each doubles the last, and costs one hash where
/// nothing changed.
pub const OFFER_AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// Timers handled by one wake, so that no wake is long.
pub const TIMERS_PER_WAKE_MAX: usize = 1_024;
