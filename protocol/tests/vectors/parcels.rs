//! Parcels that do not open, each with the rule that refuses it; and how the good one was made.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    crypto::{BodyCipher, ContentKey, OpenedSeed, SealingSeed, hpke_seal},
    document::{Envelope, encode, sign},
    ids::{FederationId, MessageId},
    message::{
        draft::Draft,
        header::{MessageHeader, Precedence},
    },
    relay::{
        parcel::{Class, Label, Parcel},
        sealing::{Sealable, compose, label, open, seal},
    },
};
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, hash, member, node, node_record, public},
    hexadecimal, item, wire,
};

#[derive(Serialize)]
struct SealedContent {
    header: ByteBuf,
    key: ByteBuf,
}

/// A message from BR to KE, and the seed of KE's sealing key.
pub(super) fn content(cast: &Cast) -> (std::sync::Arc<Sealable>, OpenedSeed) {
    (composed(cast, &["KE"], KEY), SealingSeed::from_bytes([1; 32]).expand())
}

pub(super) fn parcel(content: &Sealable, seed: &OpenedSeed) -> Parcel {
    let label = label(content, member("KE"), public(&node("KE", 0)));
    seal(content, label, &seed.entry(at(0), at(86_400)), &[0x22; 64]).unwrap()
}

/// The good parcel, and what is wrong with others.
pub(super) fn vectors(cast: &Cast) -> Value {
    let (content, seed) = content(cast);
    let good = parcel(&content, &seed);
    assert_eq!(refused(cast, &seed, &good), None);
    let envelope = encode(&opened_header(cast, &good, &seed)).unwrap();
    let inside = SealedContent { header: ByteBuf::from(envelope), key: ByteBuf::from([KEY; 32]) };
    let mut bad = damaged(cast, &good, &seed);
    bad.extend(forged(cast, &content, &good, &seed));
    json!({
        "about": "A bad parcel's ciphertext is that of the good one unless it is given.",
        "good": item("the parcel that the others were made from", "parcel", &good),
        "sealed_content": item("what is sealed in it", "sealed-content", &inside),
        "sealing_seed": hexadecimal(&[1; 32]),
        "bad": bad,
    })
}

/// Changed on the way.
fn damaged(cast: &Cast, good: &Parcel, seed: &OpenedSeed) -> Vec<Value> {
    let with = |rule: &str, name: &str, change: &dyn Fn(&mut Parcel)| {
        let mut parcel = good.clone();
        change(&mut parcel);
        bad(cast, seed, good, rule, name, &parcel)
    };
    vec![
        with("PA-01", "for another node", &|p| p.label.node = public(&node("KE", 1))),
        with("PA-01", "for another member", &|p| p.label.member = member("FR")),
        with("PA-02", "a ciphertext of another length", &|p| p.ciphertext.truncate(100)),
        with("PA-03", "a sealing key that is not held", &|p| {
            p.sealing_key = node_record().sealing_keys[1].id()
        }),
        with("PA-03", "another expiry in the label", &|p| p.label.expires = at(1)),
        with("PA-03", "another message in the label", &|p| p.label.message = MessageId::from_bytes([9; 32])),
        with("PA-03", "a bit of the sealed part flipped", &|p| p.sealed[1_200] ^= 1),
        with("PA-07", "a bit of the ciphertext flipped", &|p| p.ciphertext[0] ^= 1),
    ]
}

/// Sealed so by a sender with another program.
fn forged(cast: &Cast, content: &Sealable, good: &Parcel, seed: &OpenedSeed) -> Vec<Value> {
    let header = opened_header(cast, good, seed);
    let right = || good.label.clone();
    let (ciphertext, other) = (&good.ciphertext, composed(cast, &["KE"], 0x44));
    let other_parcel = parcel(&other, seed);
    let for_others = parcel(&composed(cast, &["FR"], KEY), seed);
    let sign_again = |header: &MessageHeader, federation, keys: &[&SigningKey]| {
        encode(&sign(header, Some(federation), keys).unwrap()).unwrap()
    };
    let (br, elsewhere) = (node("BR", 0), FederationId::from_bytes([1; 32]));
    let bytes = encode(&header).unwrap();
    let make = |rule: &str, name: &str, header: &[u8], key: u8, label: Label, ciphertext: &[u8]| {
        let inner = SealedContent { header: ByteBuf::from(header), key: ByteBuf::from([key; 32]) };
        let entry = seed.entry(at(0), at(86_400));
        let sealed = hpke_seal(&entry.key, &encode(&label).unwrap(), &encode(&inner).unwrap(), &[0x33; 64]);
        let Ok(sealed) = sealed else { panic!("{name}: it does not seal") };
        let parcel = Parcel { label, sealing_key: entry.id(), sealed, ciphertext: ciphertext.to_vec() };
        bad(cast, seed, good, rule, name, &parcel)
    };
    let own = signed_for(cast, content.header(), b"", &|header| {
        header.recipients = vec![member("BR"), member("KE")]
    });
    let nothing = signed_for(cast, content.header(), b"no body", &|_| ());
    vec![
        make("PA-04", "the label names another message", &bytes, KEY, other_parcel.label.clone(), ciphertext),
        make(
            "PA-05",
            "the label names another expiry",
            &bytes,
            KEY,
            Label { expires: at(1), ..right() },
            ciphertext,
        ),
        make(
            "PA-05",
            "the label names another class",
            &bytes,
            KEY,
            Label { class: Class::Normal, ..right() },
            ciphertext,
        ),
        bad(cast, seed, good, "PA-06", "the signed header names FR alone", &for_others),
        make("PA-08", "another content key", &bytes, 0x44, right(), ciphertext),
        make("PA-09", "what is encrypted is no body", &nothing.0, KEY, nothing.1.clone(), &nothing.2),
        make("MB-08", "the sender is its own recipient", &own.0, KEY, own.1.clone(), &own.2),
        make("PA-10", "no envelope", b"nothing", KEY, right(), ciphertext),
        make(
            "PA-10",
            "two signatures",
            &sign_again(content.header(), cast.federation, &[&br, &node("BR", 1)]),
            KEY,
            right(),
            ciphertext,
        ),
        make(
            "PA-10",
            "signed in another federation",
            &sign_again(content.header(), elsewhere, &[&br]),
            KEY,
            right(),
            ciphertext,
        ),
    ]
}

/// A header around other encrypted bytes, its label, and the ciphertext. No bytes stand for the good body.
fn signed_for(
    cast: &Cast,
    good: &MessageHeader,
    bytes: &[u8],
    change: &dyn Fn(&mut MessageHeader),
) -> (Vec<u8>, Label, Vec<u8>) {
    let key = ContentKey::from_bytes([KEY; 32]);
    let body = if bytes.is_empty() { encode(&wire::bodies().remove(0).1).unwrap() } else { bytes.to_vec() };
    let ciphertext = BodyCipher::new(&key, &good.nonce).encrypt(&body).unwrap();
    let mut header = MessageHeader {
        ciphertext: hash(&ciphertext),
        length: ciphertext.len() as u64,
        commitment: key.schedule().1,
        ..good.clone()
    };
    change(&mut header);
    let envelope = cast.signed(&header, &[&node("BR", 0)]);
    let label = Label {
        message: MessageId::from(envelope.id(Some(cast.federation))),
        member: member("KE"),
        node: public(&node("KE", 0)),
        expires: header.expires,
        class: header.precedence.class(),
        size: ciphertext.len() as u64,
    };
    (encode(&envelope).unwrap(), label, ciphertext)
}

fn composed(cast: &Cast, recipients: &[&str], byte: u8) -> std::sync::Arc<Sealable> {
    let draft = Draft {
        recipients: recipients.iter().map(|code| member(code)).collect(),
        precedence: Precedence::Immediate,
        lifetime: None,
        body: wire::bodies().remove(0).1,
    };
    let composed =
        compose(&draft, &member("BR"), cast.federation, &node("BR", 0), at(0), &[byte; 56]).unwrap();
    composed.content
}

fn opened_header(cast: &Cast, good: &Parcel, seed: &OpenedSeed) -> Envelope {
    let opened = open(good, Some(seed), cast.federation, &member("KE"), &public(&node("KE", 0)));
    opened.map_err(|error| error.rule()).map(|opened| opened.header.envelope().as_ref().clone()).unwrap()
}

fn refused(cast: &Cast, seed: &OpenedSeed, parcel: &Parcel) -> Option<&'static str> {
    let opened = open(parcel, Some(seed), cast.federation, &member("KE"), &public(&node("KE", 0)));
    opened.err().map(|error| error.rule())
}

fn bad(cast: &Cast, seed: &OpenedSeed, good: &Parcel, rule: &str, name: &str, parcel: &Parcel) -> Value {
    assert_eq!(refused(cast, seed, parcel), Some(rule), "{name}");
    let changed = (parcel.ciphertext != good.ciphertext).then(|| hexadecimal(&parcel.ciphertext));
    json!({
        "name": name,
        "rule": rule,
        "label": hexadecimal(&encode(&parcel.label).unwrap()),
        "sealing_key": parcel.sealing_key,
        "sealed": hexadecimal(&parcel.sealed),
        "ciphertext": changed,
    })
}

/// Every byte of the good message's content key, and of what else it drew.
const KEY: u8 = 0x11;
