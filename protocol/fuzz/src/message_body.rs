//! Bytes taken for a message's body: no panic, what passes the rules passes them again after its encoding.

use refpoint_protocol::{
    document::{decode, encode},
    limits::{ATTACHMENTS_MAX, MESSAGE_BODY_BYTES_MAX},
    message::body::Body,
};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(body) = decode::<Body>(bytes, MESSAGE_BODY_BYTES_MAX) else { return };
    let again = encode(&body).expect("what was decoded encodes");
    let read: Body = decode(&again, MESSAGE_BODY_BYTES_MAX).expect("what was encoded decodes");
    assert!(read == body);
    assert_eq!(body.check_form(), read.check_form());
    if body.check_form().is_ok() {
        assert!(body.attachments.len() <= ATTACHMENTS_MAX);
        assert!(body.attachments.iter().all(|attachment| !attachment.name.reveal().contains('/')));
    }
}
