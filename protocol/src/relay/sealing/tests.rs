//! Every binding of a parcel, broken in turn.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::{
    crypto::SealingSeed,
    message::{
        body::{Attachment, Statement, Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
    relay::parcel::Class,
};

const FEDERATION: FederationId = FederationId::from_bytes([0xFE; 32]);
const CREATED: Timestamp = Timestamp::from_millis(1_750_000_000_000);

fn code(text: &str) -> MemberCode {
    text.parse().unwrap()
}

fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn node() -> NodeKey {
    NodeKey::from_bytes([0x4B; 32])
}

fn draft(text: &str) -> Draft {
    Draft {
        recipients: vec![code("KE"), code("JO"), code("KE")],
        precedence: Precedence::Flash,
        lifetime: None,
        body: Body {
            tlp: Tlp::Amber,
            text: Some(Redacted(text.into())),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        },
    }
}

fn acknowledged() -> Statement {
    Statement {
        answers: MessageId::from_bytes([1; 32]),
        word: Word::Acknowledged,
        role: Redacted("duty officer".into()),
        will: Some(true),
        form: None,
        by: None,
    }
}

fn composed(draft: &Draft) -> Composed {
    compose(draft, &code("BR"), FEDERATION, &signing_key(), CREATED, &[5; 56]).unwrap()
}

fn parcel(content: &Sealable) -> Parcel {
    let entry = seed().entry(CREATED, Timestamp::MAX);
    seal(content, label(content, code("KE"), node()), &entry, &[6; 64]).unwrap()
}

fn seed() -> OpenedSeed {
    SealingSeed::from_bytes([7; 32]).expand()
}

fn opened(parcel: &Parcel) -> Result<Opened, OpenError> {
    open(parcel, Some(&seed()), FEDERATION, &code("KE"), &node())
}

fn error(parcel: &Parcel) -> OpenError {
    opened(parcel).err().expect("it must not open")
}

fn rule(error: &OpenError) -> &'static str {
    if let OpenError::Invalid { rule, .. } = error { rule } else { panic!("{error}") }
}

/// Seals other inner parts than [`seal`] would, under a label of the caller's.
fn forged(header: &[u8], key: [u8; 32], label: Label, ciphertext: Vec<u8>) -> Parcel {
    let inner = encode(&SealedContent { header: ByteBuf::from(header), key }).unwrap();
    let entry = seed().entry(CREATED, Timestamp::MAX);
    let sealed = hpke_seal(&entry.key, &encode(&label).unwrap(), &inner, &[6; 64]).unwrap();
    Parcel { label, sealing_key: entry.id(), sealed, ciphertext }
}

#[test]
fn a_message_arrives_as_it_was_composed() {
    let draft = draft("احفظوا السجلات");
    let Composed { content, row } = composed(&draft);
    assert_eq!(content.header().recipients, [code("JO"), code("KE")], "sorted, each once");
    assert_eq!(content.header().expires, CREATED.after(EXPIRY_DEFAULT));
    let opened = opened(&parcel(&content)).unwrap();
    assert_eq!(opened.body, draft.body);
    assert_eq!(MessageId::from(opened.header.id()), content.id());
    assert_eq!(opened.header.signer(), Some(signing_key().verifying_key().to_bytes()));
    let stored = rows::decode_outbox_content(&row).unwrap();
    assert_eq!((stored.id(), stored.body().unwrap()), (content.id(), draft.body.clone()));
    assert_eq!(parcel(&stored), parcel(&content), "sealed anew from the row");
    let (envelope, body) = rows::decode_inbox_content(&opened.row).unwrap();
    assert_eq!((&envelope, body), (opened.header.envelope().as_ref(), draft.body));
}

#[test]
fn the_same_random_bytes_make_the_same_message_and_parcel() {
    let (one, two) = (composed(&draft("a")), composed(&draft("a")));
    assert_eq!(one.content.id(), two.content.id());
    assert_eq!(parcel(&one.content), parcel(&two.content));
    let other = compose(&draft("a"), &code("BR"), FEDERATION, &signing_key(), CREATED, &[9; 56]).unwrap();
    assert_ne!(other.content.id(), one.content.id());
}

#[test]
fn a_mebibyte_attachment_fits_a_parcel() {
    let mut large = draft("see the file");
    let data = Redacted(ByteBuf::from(vec![0xD5; crate::limits::ATTACHMENT_BYTES_MAX]));
    let name = Redacted("disk.img".into());
    large.body.attachments = vec![Attachment { name, media_type: "application/octet-stream".into(), data }];
    let content = composed(&large).content;
    let sealed = parcel(&content);
    assert!(encode(&sealed).unwrap().len() <= crate::limits::PARCEL_BYTES_MAX);
    assert_eq!(opened(&sealed).unwrap().body, large.body);
    let twice = vec![large.body.attachments[0].clone(); 2];
    large.body.attachments = twice;
    let refused = compose(&large, &code("BR"), FEDERATION, &signing_key(), CREATED, &[5; 56]);
    assert!(matches!(refused, Err(ComposeError::TooLong(length)) if length > 2 * 1024 * 1024));
}

#[test]
fn no_flipped_byte_of_a_parcel_is_accepted() {
    let parcel = encode(&parcel(&composed(&draft("flip me")).content)).unwrap();
    for at in 0..parcel.len() {
        let mut bytes = parcel.clone();
        bytes[at] ^= 1 << (at % 8);
        let accepted = decode::<Parcel>(&bytes, parcel.len()).is_ok_and(|parcel| opened(&parcel).is_ok());
        assert!(!accepted, "byte {at} flipped");
    }
}

#[test]
fn no_flipped_byte_of_a_header_envelope_is_accepted() {
    let envelope = encode(&composed(&draft("flip me")).content.envelope).unwrap();
    assert!(verified_header(&envelope, FEDERATION).is_ok());
    for at in 0..envelope.len() {
        for bit in 0..8 {
            let mut bytes = envelope.clone();
            bytes[at] ^= 1 << bit;
            assert!(verified_header(&bytes, FEDERATION).is_err(), "byte {at} bit {bit} flipped");
        }
    }
}

#[test]
fn a_header_of_another_federation_or_kind_is_refused() {
    let sealed = parcel(&composed(&draft("a")).content);
    let other = FederationId::from_bytes([1; 32]);
    let error = open(&sealed, Some(&seed()), other, &code("KE"), &node()).err().unwrap();
    assert_eq!((rule(&error), error.answer()), ("PA-10", OpenAnswer::Refused(RefusalReason::Invalid)));
}

#[test]
fn a_parcel_for_somebody_else_is_refused_before_it_is_opened() {
    let mut elsewhere = parcel(&composed(&draft("a")).content);
    elsewhere.label.node = NodeKey::from_bytes([9; 32]);
    assert_eq!(error(&elsewhere), OpenError::Elsewhere);
    elsewhere.label = Label { node: node(), member: code("JO"), ..elsewhere.label };
    assert_eq!(error(&elsewhere), OpenError::Elsewhere);
    assert_eq!(error(&elsewhere).answer(), OpenAnswer::Refused(RefusalReason::NotARecipient));
}

#[test]
fn a_parcel_under_an_unknown_or_wrong_key_asks_for_resealing() {
    let mut sealed = parcel(&composed(&draft("a")).content);
    let missing = open(&sealed, None, FEDERATION, &code("KE"), &node()).err().unwrap();
    assert_eq!((missing.answer(), missing), (OpenAnswer::Reseal, OpenError::UnknownKey(seed().id())));
    let other = SealingSeed::from_bytes([8; 32]).expand();
    let wrong = open(&sealed, Some(&other), FEDERATION, &code("KE"), &node()).err().unwrap();
    assert_eq!(wrong, OpenError::UnknownKey(seed().id()));
    sealed.sealing_key = other.id();
    let broken = open(&sealed, Some(&other), FEDERATION, &code("KE"), &node()).err().unwrap();
    assert_eq!((broken.answer(), broken), (OpenAnswer::Reseal, OpenError::DoesNotOpen));
}

#[test]
fn the_label_is_bound_into_the_seal() {
    let good = parcel(&composed(&draft("a")).content);
    let changes: [fn(&mut Label); 3] = [
        |label| label.expires = Timestamp::MAX,
        |label| label.class = Class::Normal,
        |label| label.message = MessageId::from_bytes([1; 32]),
    ];
    for change in changes {
        let mut changed = good.clone();
        change(&mut changed.label);
        assert_eq!(error(&changed), OpenError::DoesNotOpen);
    }
    let mut longer = good;
    longer.label.size += 1;
    assert_eq!(rule(&error(&longer)), "PA-02");
}

#[test]
fn what_is_sealed_must_agree_with_label_and_ciphertext() {
    let content = composed(&draft("one text")).content;
    let other = compose(&draft("another"), &code("BR"), FEDERATION, &signing_key(), CREATED, &[8; 56])
        .unwrap()
        .content;
    let header = encode(&content.envelope).unwrap();
    let key = *content.key.expose();
    let right = || label(&content, code("KE"), node());
    assert!(opened(&forged(&header, key, right(), content.ciphertext.clone())).is_ok());
    let message = forged(&header, key, label(&other, code("KE"), node()), other.ciphertext.clone());
    assert_eq!(rule(&error(&message)), "PA-04");
    let expires = forged(&header, key, Label { expires: CREATED, ..right() }, content.ciphertext.clone());
    assert_eq!(rule(&error(&expires)), "PA-05");
    let class = forged(&header, key, Label { class: Class::Normal, ..right() }, content.ciphertext.clone());
    assert_eq!(rule(&error(&class)), "PA-05");
    let ciphertext = forged(&header, key, right(), other.ciphertext.clone());
    assert_eq!(rule(&error(&ciphertext)), "PA-07", "no two recipients can be shown different texts");
    let content_key = forged(&header, *other.key.expose(), right(), content.ciphertext.clone());
    assert_eq!(rule(&error(&content_key)), "PA-08");
}

#[test]
fn a_recipient_that_the_signed_header_does_not_name_refuses() {
    let mut elsewhere = draft("a");
    elsewhere.recipients = vec![code("JO")];
    let sealed = parcel(&composed(&elsewhere).content);
    assert_eq!(error(&sealed), OpenError::NotARecipient);
    assert_eq!(error(&sealed).answer(), OpenAnswer::Refused(RefusalReason::NotARecipient));
}

#[test]
fn what_a_member_said_comes_back_to_its_own_nodes_and_what_it_sent_does_not() {
    // Made by KE, where the parcel goes, for BR alone.
    let mut said = draft("a");
    said.recipients = vec![code("BR")];
    let by_ke = |draft: &Draft| {
        compose(draft, &code("KE"), FEDERATION, &signing_key(), CREATED, &[5; 56]).unwrap().content
    };
    assert_eq!(error(&parcel(&by_ke(&said))), OpenError::NotARecipient);
    said.body.statement = Some(acknowledged());
    let content = by_ke(&said);
    // As whoever it was said to has it on the disk.
    let signed = content.signed_statement().unwrap().unwrap();
    let borne = Sealable::of_statement(&signed, FEDERATION).unwrap();
    assert_eq!(borne.id(), content.id());
    let opened = opened(&parcel(&borne)).unwrap();
    assert_eq!((&opened.header.payload().sender, opened.signed), (&code("KE"), Some(signed.clone())));
    let others = composed(&Draft { recipients: vec![code("JO")], ..said }).content;
    assert_eq!(error(&parcel(&others)), OpenError::NotARecipient, "another's statement, for another");
    let damaged = SignedStatement { key: [0; 32], ..signed };
    assert!(Sealable::of_statement(&damaged, FEDERATION).is_err());
}

#[test]
fn a_body_that_breaks_a_rule_is_refused_by_both_sides() {
    let bad = draft("bell \u{7}");
    let refused = compose(&bad, &code("BR"), FEDERATION, &signing_key(), CREATED, &[5; 56]);
    assert!(matches!(refused, Err(ComposeError::Body(FormError { rule: "MB-02", .. }))));
    // A sender with another program signs it all the same.
    let key = ContentKey::from_bytes([1; 32]);
    for (bytes, expected) in [(encode(&bad.body).unwrap(), "MB-02"), (b"no body".to_vec(), "PA-09")] {
        let ciphertext = BodyCipher::new(&key, &[2; 24]).encrypt(&bytes).unwrap();
        let header = MessageHeader {
            ciphertext: hash(&ciphertext),
            length: ciphertext.len() as u64,
            commitment: key.schedule().1,
            nonce: [2; 24],
            ..composed(&draft("a")).content.header.clone()
        };
        let envelope = sign(&header, Some(FEDERATION), &[&signing_key()]).unwrap();
        let id = MessageId::from(envelope.id(Some(FEDERATION)));
        let key = ContentKey::from_bytes([1; 32]);
        let content = Sealable::from_parts(id, header, envelope, key, ciphertext);
        assert_eq!(rule(&error(&parcel(&content))), expected);
    }
}

#[test]
fn only_a_statement_goes_to_the_senders_own_nodes() {
    let mut own = draft("a");
    own.recipients.push(code("BR"));
    let refused = compose(&own, &code("BR"), FEDERATION, &signing_key(), CREATED, &[5; 56]);
    assert!(matches!(refused, Err(ComposeError::Header(FormError { rule: "MB-08", .. }))));
    own.body.statement = Some(acknowledged());
    let content = composed(&own).content;
    assert!(opened(&parcel(&content)).is_ok());
}

#[test]
fn a_header_signed_anew_is_the_same_message() {
    let content = composed(&draft("a")).content;
    let key = SigningKey::from_bytes(&[4; 32]);
    let anew = content.signed_anew(FEDERATION, &key).unwrap();
    assert!(anew.is_signed_by(&NodeKey::from_bytes(key.verifying_key().to_bytes())));
    assert!(!content.is_signed_by(&NodeKey::from_bytes(key.verifying_key().to_bytes())));
    let opened = opened(&parcel(&anew)).unwrap();
    assert_eq!(MessageId::from(opened.header.id()), content.id());
    assert_eq!(opened.header.signer(), Some(key.verifying_key().to_bytes()));
}

#[test]
fn a_header_with_two_signatures_is_refused() {
    let content = composed(&draft("a")).content;
    let two = [&signing_key(), &SigningKey::from_bytes(&[4; 32])];
    let envelope = sign(&content.header, Some(FEDERATION), &two).unwrap();
    let doubled = forged(
        &encode(&envelope).unwrap(),
        [1; 32],
        label(&content, code("KE"), node()),
        content.ciphertext.clone(),
    );
    assert_eq!(rule(&error(&doubled)), "PA-10");
}

#[test]
fn damaged_outbox_rows_are_told() {
    let row = composed(&draft("a")).row;
    let mut flipped = row.clone();
    *flipped.last_mut().unwrap() ^= 1;
    assert!(rows::decode_outbox_content(&flipped).is_err());
    assert!(rows::decode_outbox_content(&row[..row.len() - 1]).is_err());
}
