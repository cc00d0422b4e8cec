//! What bounds every document: its form, its envelope and its signatures.

use super::CHARTER_BYTES_MAX;

/// The largest integer on the wire, 2^53 − 1: what every language's CBOR library keeps exact.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How deep arrays and maps may nest: our documents need six, and some decoders stop at 127.
pub const DEPTH_MAX: usize = 16;

/// Bytes of any envelope's payload: the largest of the documents is the charter.
pub const PAYLOAD_BYTES_MAX: usize = CHARTER_BYTES_MAX;

/// Bytes of a document kind's name.
pub const KIND_BYTES_MAX: usize = 32;

/// Signatures of one envelope: every one of 256 members, doubled for a second algorithm.
pub const SIGNATURES_MAX: usize = 512;

/// Bytes of one verification key or signature of any algorithm: room for a post-quantum signature.
pub const SIGNATURE_BYTES_MAX: usize = 8 * 1024;

/// Signatures of a document, unless its kind says otherwise: its signer's, and a second one of another algorithm.
pub const DOCUMENT_SIGNATURES_MAX: usize = 2;

/// Bytes of their keys and signatures: Ed25519, and ML-DSA-87 (FIPS 204: 2,592 and 4,627) with room.
pub const DOCUMENT_SIGNATURES_BYTES_MAX: usize = 8 * 1024;

/// The wire version that this program speaks.
pub const WIRE_VERSION: u64 = 1;
