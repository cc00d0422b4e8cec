//! Golden vectors of a message's way: draft, header, parcel and receipt, from fixed keys and random bytes.
//!
//! `protocol/examples/message_vectors.rs` prints them; the checked-in file lets another language check each step.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::{BodyCipher, ContentKey, KEY_INFO, PARCEL_INFO, SealingSeed},
    document::{encode, sign},
    ids::{FederationId, MessageId, NodeKey},
    message::{
        body::{Body, Tlp},
        draft::Draft,
        header::Precedence,
    },
    redact::Redacted,
    relay::{
        receipt::{Receipt, ReceiptWord},
        rows::decode_outbox_content,
        sealing::{compose, label, open, seal},
    },
    time::Timestamp,
};
use serde_json::{Value, json};

/// Every step of one flash message from BR to KE, byte strings as hexadecimal.
pub(crate) fn message() -> Value {
    let federation = FederationId::from_bytes([0xF0; 32]);
    let (sender_seed, recipient_seed, sealing_seed) = ([0x11; 32], [0x22; 32], [0x33; 32]);
    let (compose_random, seal_random) = (counted::<56>(), counted::<64>());
    let (sender, recipient) = (SigningKey::from_bytes(&sender_seed), SigningKey::from_bytes(&recipient_seed));
    let node = NodeKey::from_bytes(recipient.verifying_key().to_bytes());
    let created = Timestamp::from_millis(1_760_000_000_000);
    let draft = Draft {
        recipients: vec!["KE".parse().expect("a code")],
        precedence: Precedence::Flash,
        lifetime: None,
        body: Body {
            tlp: Tlp::Amber,
            text: Some(Redacted("Preserve the records of 192.0.2.7 \u{2013} احفظوا السجلات".into())),
            reference: Some(Redacted("BR-2026/17".into())),
            attachments: Vec::new(),
            statement: None,
            drill: true,
            form: None,
        },
    };
    let br = "BR".parse().expect("a code");
    let composed = compose(&draft, &br, federation, &sender, created, &compose_random).expect("it composes");
    let content = composed.content;
    let mut key = [0; 32];
    key.copy_from_slice(&compose_random[..32]);
    let (encryption_key, commitment) = ContentKey::from_bytes(key).schedule();
    let body = encode(&draft.body).expect("it encodes");
    let ciphertext = BodyCipher::new(&ContentKey::from_bytes(key), &content.header().nonce)
        .encrypt(&body)
        .expect("it encrypts");
    let seed = SealingSeed::from_bytes(sealing_seed).expand();
    let entry = seed.entry(created, Timestamp::MAX);
    let label = label(&content, "KE".parse().expect("a code"), node);
    let parcel = seal(&content, label.clone(), &entry, &seal_random).expect("it seals");
    let opened = open(&parcel, Some(&seed), federation, &label.member, &node).expect("it opens");
    assert_eq!(opened.body, draft.body);
    assert_eq!(decode_outbox_content(&composed.row).map(|content| content.id()), Ok(content.id()));
    let receipt = Receipt {
        message: MessageId::from(opened.header.id()),
        member: label.member.clone(),
        node,
        word: ReceiptWord::Delivered,
        at: Timestamp::from_millis(1_760_000_000_500),
        reason: None,
        sealing_key: None,
    };
    let receipt_envelope = sign(&receipt, Some(federation), &[&recipient]).expect("it signs");
    json!({
        "about": "A flash message from BR to KE: every input, and every step that follows from it. Bytes are hexadecimal.",
        "inputs": {
            "federation": federation,
            "sender_node_seed": hexadecimal(&sender_seed),
            "recipient_node_seed": hexadecimal(&recipient_seed),
            "sealing_seed": hexadecimal(&sealing_seed),
            "created": created,
            "compose_random": hexadecimal(&compose_random),
            "seal_random": hexadecimal(&seal_random),
            "body": hexadecimal(&body),
        },
        "key_schedule": {
            "info": String::from_utf8_lossy(KEY_INFO),
            "encryption_key": hexadecimal(&encryption_key[..]),
            "commitment": commitment,
        },
        "body_encryption": { "nonce": hexadecimal(&content.header().nonce), "ciphertext": hexadecimal(&ciphertext) },
        "header": {
            "payload": hexadecimal(&opened.header.envelope().payload),
            "envelope": hexadecimal(&encode(opened.header.envelope().as_ref()).expect("it encodes")),
            "message_id": content.id(),
        },
        "parcel": {
            "label": hexadecimal(&encode(&label).expect("it encodes")),
            "info_prefix": String::from_utf8_lossy(PARCEL_INFO),
            "sealing_key": hexadecimal(&entry.key),
            "sealing_key_id": entry.id(),
            "sealed": hexadecimal(&parcel.sealed),
            "parcel": hexadecimal(&encode(&parcel).expect("it encodes")),
        },
        "receipt": {
            "payload": hexadecimal(&receipt_envelope.payload),
            "envelope": hexadecimal(&encode(&receipt_envelope).expect("it encodes")),
        },
    })
}

/// The bytes 0, 1, 2 and so on.
fn counted<const N: usize>() -> [u8; N] {
    core::array::from_fn(|at| u8::try_from(at).unwrap_or_default())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_checked_in_message_vectors_are_what_this_program_makes() {
    let checked_in: Value =
        serde_json::from_str(include_str!("../vectors/message.json")).expect("it is JSON");
    assert_eq!(checked_in, message(), "the wire changed: a new version is needed, or an undone change");
}
