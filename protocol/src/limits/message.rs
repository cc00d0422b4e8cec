//! What bounds a message, its sealed form and its life.

use core::time::Duration;

/// Bytes of a message header's payload: 32 recipients of at most 19 bytes and about 250 bytes of the rest.
pub const MESSAGE_HEADER_BYTES_MAX: usize = 2 * 1024;

/// Recipients of one message: a working group's stewards, not a broadcast.
pub const RECIPIENTS_MAX: usize = 32;

/// Bytes of a message body before padding: text and attachments.
pub const MESSAGE_BODY_BYTES_MAX: usize = 1024 * 1024 + 256 * 1024;

/// Bytes of a message's text: forty pages.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a message's own reference: one line.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// Attachments of one message.
pub const ATTACHMENTS_MAX: usize = 16;

/// Bytes of one attachment.
pub const ATTACHMENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of an attachment's name: what file systems take.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 255;

/// Bytes of a media type (RFC 6838, section 4.2).
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;

/// Fields of a form.
pub const FORM_FIELDS_MAX: usize = 64;

/// Bytes of a form's or field's code.
pub const FORM_CODE_BYTES_MAX: usize = 32;

/// Bytes of a form field's value: two pages.
pub const FORM_VALUE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a speaker's role, or of the form of an answer, in a statement: a line.
pub const STATEMENT_TEXT_BYTES_MAX: usize = 256;

/// Bytes of what a parcel seals: the header in its envelope and the content key, with room for a
/// post-quantum signature.
pub const SEALED_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a parcel in its frame: the largest padded body, the sealed header and the clear part.
pub const PARCEL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a receipt's payload: its fields need about 200.
pub const RECEIPT_BYTES_MAX: usize = 512;

/// A message's lifetime unless said: a long weekend.
pub const EXPIRY_DEFAULT: Duration = Duration::from_secs(72 * 3_600);

/// A message's longest lifetime.
pub const EXPIRY_MAX: Duration = Duration::from_secs(14 * 86_400);

/// How long after its expiry a message is still accepted: clocks differ, and late truth is told.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(86_400);

/// How long the sender keeps a message's content after its acknowledgement.
pub const KEEP_AFTER_ACKNOWLEDGED: Duration = Duration::from_secs(86_400);

/// How long message ids are remembered against replays.
pub const MESSAGE_ID_KEPT: Duration = Duration::from_secs(400 * 86_400);

const _: () = assert!(MESSAGE_BODY_BYTES_MAX < PARCEL_BYTES_MAX);
