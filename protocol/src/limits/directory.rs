//! What bounds chains, node records and reference points, and when they are signed.

use core::time::Duration;

/// Bytes of a chain header's payload: its fields need about 300; headers are kept for ever.
pub const HEADER_BYTES_MAX: usize = 512;

/// Signatures of one chain header: the node key's, and its second one of a post-quantum algorithm.
pub const HEADER_SIGNATURES_MAX: usize = 2;

/// Bytes of a chain header's keys and signatures: Ed25519, and ML-DSA-44 (FIPS 204: 1,312 and 2,420), the
/// smallest of its kind. No more, since anybody can wrap a header anew and everybody keeps it for ever.
pub const HEADER_SIGNATURES_BYTES_MAX: usize = 4 * 1024;

/// Headers of one chain: eleven years of daily renewal under one key set.
pub const CHAIN_LENGTH_MAX: u64 = 4_096;

/// Bytes of a chain body: a reference point with a dozen channels in four languages fits ten times over.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Random bytes that open every chain body, so that its hash tells nothing about its content.
pub const BODY_SALT_BYTES: usize = 16;

/// Bodies kept of one chain, the newest included: what a person needs to see of recent changes.
pub const BODIES_PER_CHAIN_MAX: usize = 5;

/// How long a reference point's header stays fresh; it is renewed daily, so a week survives an outage.
pub const FRESHNESS: Duration = Duration::from_secs(7 * 86_400);

/// How often a node renews its headers.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(86_400);

/// A header issued further than this after the reader's clock is marked *future*.
pub const FUTURE_TOLERANCE: Duration = CLOCK_SKEW_MAX;

/// Bytes of an address: a DNS name of 253 bytes, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// Addresses of one node: two networks in both IP families, doubled.
pub const ADDRESSES_MAX: usize = 8;

/// Sealing keys in one node record: the current one, its successor, and room for a change of KEM.
pub const SEALING_KEYS_MAX: usize = 4;

/// Days a sealing key is valid: bounds what a stolen disk opens.
pub const SEALING_KEY_VALIDITY: Duration = Duration::from_secs(30 * 86_400);

/// How long before its start a successor sealing key is published, so that every sender has it in time.
pub const SEALING_KEY_LEAD: Duration = Duration::from_secs(7 * 86_400);

/// How long after its end a sealing key's seed is kept: the longest message lifetime and a day.
pub const SEALING_SEED_GRACE: Duration = Duration::from_secs(15 * 86_400);

/// Document kinds that one node record can name: this version knows seven.
pub const READABLE_KINDS_MAX: usize = 32;

/// Wire versions that one node can speak: two adjacent ones during an upgrade.
pub const WIRE_VERSIONS_MAX: usize = 8;

/// Bytes of a program's name and version.
pub const SOFTWARE_BYTES_MAX: usize = 64;

/// Bytes of a BCP 47 language code (RFC 5646, section 4.4.1: 35 letters suffice for every registered one).
pub const LANGUAGE_BYTES_MAX: usize = 35;

/// Names of one unit: a country's official languages, the working languages, and room to spare.
pub const UNIT_NAMES_MAX: usize = 16;

/// Bytes of a unit's or agency's name: eighty characters of three bytes.
pub const UNIT_NAME_BYTES_MAX: usize = 256;

/// Channels of one unit: more would be a list that nobody tries to the end.
pub const CHANNELS_MAX: usize = 16;

/// Bytes of a channel's number or address: the longest e-mail address has 254.
pub const CHANNEL_VALUE_BYTES_MAX: usize = 256;

/// Bytes of a channel's note: two sentences.
pub const CHANNEL_NOTE_BYTES_MAX: usize = 512;

/// Languages that one unit or duty officer answers in.
pub const LANGUAGES_MAX: usize = 32;

/// Competences of one unit: six tasks, each performed or facilitated.
pub const COMPETENCES_MAX: usize = 12;

/// Bytes of a duty role: a role is two or three words and never a name.
pub const ROLE_BYTES_MAX: usize = 96;

/// Bytes of an IANA time zone name: the longest today has 32.
pub const TIME_ZONE_BYTES_MAX: usize = 64;

/// A clock further than this from the median of three members is wrong.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(600);

/// How long what a member's clock said counts: repairs ask at least three members within it.
pub const CLOCK_WITNESS_AGE: Duration = Duration::from_secs(3_600);

/// Members whose clocks make a median, and whose repair lets a node sign its own chain again; where the charter has
/// fewer other active members, all of them.
pub const WITNESSES: usize = 3;

/// How long a returning node waits for [`WITNESSES`] repairs before fewer suffice.
pub const RESUME_WAIT: Duration = Duration::from_secs(600);
