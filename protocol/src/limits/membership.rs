//! What bounds joining requests, charters and key sets.

use core::time::Duration;

use super::{PAYLOAD_BYTES_MAX, SIGNATURES_MAX};

/// Bytes of a joining request: its fields need about 300, eight addresses of 255 bytes the rest.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Addresses in a joining request: two networks, both IP versions, and as many names.
pub const REQUEST_ADDRESSES_MAX: usize = 8;

/// Bytes of one address in a joining request: the longest DNS name, a colon and a port.
pub const REQUEST_ADDRESS_BYTES_MAX: usize = 260;

/// Bytes of a charter version: 196 members at about 250 B each, their signatures, and room to double.
pub const CHARTER_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a charter's keys and signatures: each of [`SIGNATURES_MAX`] with the 96 of Ed25519.
pub const CHARTER_SIGNATURES_BYTES_MAX: usize = SIGNATURES_MAX * 96;

/// Charter tips that a version may name as parents.
pub const CHARTER_PARENTS_MAX: usize = 16;

/// Members of a charter: 196 countries, and room for bureaus.
pub const MEMBERS_MAX: usize = 256;

/// Stewards of a charter: signatures that people must gather by hand.
pub const STEWARDS_MAX: usize = 32;

/// The fewest stewards: of two, either could stop the other, and one could do as it likes.
pub const STEWARDS_MIN: usize = 3;

/// Bytes of a key set: 32 nodes and the hashes of 400 earlier key sets.
pub const KEY_SET_BYTES_MAX: usize = 16 * 1024;

/// Signatures of a key set: the present root's, in a rotation the next root's, both doubled for a second algorithm.
pub const KEY_SET_SIGNATURES_MAX: usize = 4;

/// Bytes of a key set's keys and signatures: Ed25519 twice, and ML-DSA-65 (FIPS 204: 1,952 and 3,309) twice.
pub const KEY_SET_SIGNATURES_BYTES_MAX: usize = 12 * 1024;

/// Nodes of one key set: a country runs two or three.
pub const NODES_PER_MEMBER_MAX: usize = 8;

/// Earlier key sets that one key set can name: what fits in [`KEY_SET_BYTES_MAX`] beside eight nodes.
pub const KEY_SET_ANCESTORS_MAX: usize = 384;

/// Rotations of a root key within one incarnation: one in several years; a charter version begins a new incarnation.
pub const GENERATION_MAX: u64 = 6;

/// Key-set tips kept of one member and generation: nine prove that something is broken, no more are kept.
pub const KEY_SET_TIPS_MAX: usize = 8;

/// Key sets of one generation that may stand beside one of them, neither naming the other: two lines of
/// descent that go on in parallel for years; past it the generation is broken, which bounds the work.
pub const KEY_SET_UNRELATED_MAX: usize = 64;

/// Review date of a key set unless said: a yearly duty with a month's grace.
pub const KEY_SET_REVIEW_DEFAULT: Duration = Duration::from_secs(400 * 86_400);

/// Bytes of a settlement: of 256 members 171 are counted, at about 750 B each, and long key sets take twice as much.
pub const SETTLEMENT_BYTES_MAX: usize = PAYLOAD_BYTES_MAX;

/// Key sets beside a head in a settlement: the one that lists its node, and every one of [`GENERATION_MAX`] rotations before it.
pub const SETTLEMENT_KEY_SETS_MAX: usize = 7;

const _: () = assert!(SETTLEMENT_KEY_SETS_MAX as u64 == GENERATION_MAX + 1);
