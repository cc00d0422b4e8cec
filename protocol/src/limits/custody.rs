//! What bounds custody: how many keep a parcel, what they keep, and for how long.

use core::time::Duration;

/// Custodians that a parcel is handed to: it survives the loss of any three of its four holders.
pub const CUSTODIANS_MAX: usize = 3;

/// Custodians of one parcel over its life, those that fell silent included: bounds what a row holds.
pub const CUSTODIANS_EVER_MAX: usize = 8;

/// How long the recipient of a flash or immediate message may be out of reach before custodians are asked: a lost
/// connection is dialled again within it.
pub const CUSTODY_AFTER_URGENT: Duration = Duration::from_secs(5);

/// The same for priority and routine: a restart takes less.
pub const CUSTODY_AFTER: Duration = Duration::from_secs(60);

/// How soon custodians are looked for again while a parcel has fewer than it should.
pub const CUSTODY_AGAIN: Duration = Duration::from_secs(30);

/// A custodian that has been away for so long is counted no more, and another is asked.
pub const CUSTODIAN_SILENT: Duration = Duration::from_secs(600);

/// How long a custodian that refused is not asked again for the same parcel.
pub const CUSTODIAN_REST: Duration = Duration::from_secs(300);

/// Parcels handed to one custodian and not answered yet: beside the direct ones, they fit its stream's queue.
pub const CUSTODY_IN_FLIGHT_MAX: usize = 32;

/// Bytes of parcels handed to one custodian and not answered yet.
pub const CUSTODY_IN_FLIGHT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Parcels out of custody that one recipient has not answered yet.
pub const HAND_OVER_IN_FLIGHT_MAX: usize = 64;

/// Bytes of parcels out of custody that one recipient has not answered yet.
pub const HAND_OVER_IN_FLIGHT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Bytes of parcels that one member may have in custody here: thousands of messages, or sixty large ones.
pub const CUSTODY_BYTES_PER_MEMBER_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of urgent parcels that every member may have in custody here, however full it is: a few messages.
pub const CUSTODY_BYTES_PER_MEMBER_MIN: u64 = 4 * 1024 * 1024;

/// Bytes of all parcels in custody here, beside what each member may have always: what any disk of these years has to
/// spare.
pub const CUSTODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Parcels that one member may have in custody here, with the answers that wait for it.
pub const CUSTODY_ROWS_PER_MEMBER_MAX: usize = 4_096;

/// Urgent parcels and their answers that every member may have in custody here, however full it is.
pub const CUSTODY_ROWS_PER_MEMBER_MIN: usize = 64;

/// Parcels in custody here, with the answers that wait, beside what each member may have always: a kilobyte of
/// memory each.
pub const CUSTODY_ROWS_MAX: usize = 65_536;

/// Parcels of a class that one member may hand over for custody at once: each is written to the disk.
pub const CUSTODY_BURST: u32 = 1_024;

/// The interval that earns a member one more parcel of a class in custody: one a second, a tenth of what a recipient lets its
/// bearer have opened ([`super::INBOX_INTERVAL`]), so that a member's flood uses up no custodian's allowance there.
pub const CUSTODY_INTERVAL: Duration = Duration::from_secs(1);

/// Hand-overs to one recipient beyond a parcel's first on a connection that a member's parcels of a class may have at
/// once, whatever is answered: a few messages of honest units wait for room or a key set, a hostile member's thousands
/// would use up what a recipient opens for us.
pub const REPEAT_BURST: u32 = 256;

/// Bytes of a parcel that count as one repetition, begun ones too: an upload of large parcels is not days of traffic.
pub const REPEAT_UNIT_BYTES: usize = 16 * 1024;

/// The interval that earns a member's parcels one more repetition: a twentieth of [`super::INBOX_INTERVAL`]'s rate.
pub const REPEAT_INTERVAL: Duration = Duration::from_secs(2);

/// The longest that a parcel rests which its recipient could not open: junk of a hostile member is handed over some
/// four times a day then, and what a restored seed opens goes when its node connects.
pub const UNOPENED_PAUSE_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How long after a parcel's expiry its answer waits for a sender that is away.
pub const CUSTODY_ANSWER_KEPT: Duration = Duration::from_secs(14 * 86_400);

/// Answers passed back to one sender and not echoed yet.
pub const ANSWERS_IN_FLIGHT_MAX: usize = 64;

/// How long an answer that was passed back may stay without its echo before it is passed again.
pub const ANSWER_ECHO_WAIT: Duration = Duration::from_secs(60);
