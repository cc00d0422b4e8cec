//! Frames of the introduction, push, repair and relay, files, padding buckets, message bodies, parcels.

use refpoint_protocol::{
    crypto::bucket,
    directory::header::{ChainKind, NodeRecordHeader},
    document::{check_canonical, decode, encode},
    evidence::{
        push::Pushed,
        repair::{
            ChainRequest, Digest as RepairDigest, Documents, Fetch, KindRoot, Position, Positions,
            PositionsRequest, RepairRequest, RepairResponse, Taken,
        },
    },
    ids::{CharterId, DocumentId, Generation, HeaderId, Incarnation, MessageId, Sequence},
    introduction::FrameReader,
    membership::{LineGeneration, request::JoiningRequest, settlement::Span},
    message::body::{Attachment, Body, Form, Statement, Tlp, Word},
    redact::Redacted,
    relay::{
        frame::{Lacking, Offer, OfferIds, RelayFrame},
        receipt::{Receipt, ReceiptWord, RefusalReason},
    },
};
use serde::Serialize;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    bytes_of,
    cast::{
        Cast, FOUNDERS, at, chain, hash, header, listing, member, node, node_record, public, root, root_key,
    },
    dialling_back, hexadecimal, introductions, item, parcels,
};

/// Everything that travels, by its protocol.
pub(super) fn vectors() -> Value {
    let cast = Cast::new();
    let set = cast.verified(&cast.key_set("KE", &cast.founding), &[&root("KE")]);
    let body = encode(&node_record()).unwrap();
    let record =
        cast.signed(&NodeRecordHeader(header("KE", set.id(), 0, set.id(), &body)), &[&node("KE", 0)]);
    let pushed = [
        ("a charter version", Pushed { document: cast.founding.envelope().as_ref().clone(), body: None }),
        (
            "a header with its new body",
            Pushed { document: record.clone(), body: Some(ByteBuf::from(body.clone())) },
        ),
        ("a renewal", Pushed { document: record.clone(), body: None }),
    ];
    let pushed_charter = pushed[0].1.clone();
    let pushed: Vec<Value> = pushed
        .iter()
        .map(|(name, pushed)| {
            let mut value = item(name, "pushed", pushed);
            value["message_id"] = json!(hash(&encode(pushed).unwrap()));
            value
        })
        .collect();
    let envelopes = vec![cast.founding.envelope().as_ref().clone(), set.envelope().as_ref().clone(), record];
    let refounding = cast.signed(&cast.refounding(), &FOUNDERS.map(root).each_ref());
    let ids = [MessageId::from_bytes([1; 32]), MessageId::from_bytes([2; 32])];
    json!({
        "about": "What travels, each item with the rule of wire.cddl that it follows. Frames of repair and relay come \
                  after their length; those of `introductions` are shown with it.",
        "federation": cast.federation,
        "names": {
            "repair": format!("/refpoint/{}/repair/1", cast.federation),
            "relay_urgent": format!("/refpoint/{}/relay/urgent/1", cast.federation),
            "relay_normal": format!("/refpoint/{}/relay/normal/1", cast.federation),
            "topic": format!("/refpoint/{}/evidence/1", cast.federation),
            "dial_back": format!("/refpoint/{}/dial-back/1", cast.federation),
        },
        "dialling_back": dialling_back::vectors(),
        "files": [ceremony(&cast), later_ceremony(&cast)],
        "introductions": introductions::vectors(&cast),
        "bad_introduction_bytes": bad_introduction_bytes(),
        "bad_introduction_frames": introductions::bad_frames(&cast),
        "refounding": item("the founding of a federation that takes another's place", "envelope", &refounding),
        "charter_slice": item("the joined data of `versions`", "charter-slice", &vec![cast.founding.envelope().as_ref()]),
        "pushed": pushed,
        "repair_requests": requests(set.id(), &envelopes, &body),
        "repair_responses": responses(set.id(), &envelopes, &body),
        "relay": relay(&cast, &ids),
        "offer": {
            "ids": ids,
            "hash": offer(&ids).hash,
            "count": 2,
        },
        "buckets": BUCKETS.map(|(length, size)| {
            assert_eq!(bucket(length), size);
            json!({ "length": length, "padded": size })
        }),
        "message_bodies": bodies().iter().map(|(name, body)| item(name, "message-body", body)).collect::<Vec<_>>(),
        "bad_message_bodies": bad_bodies(),
        "bad_parcels": parcels::vectors(&cast),
        "bad_pushed": bad_pushed(&pushed_charter),
    })
}

/// Bytes with their length, and the padded size.
const BUCKETS: [(usize, usize); 18] = [
    (4, 512),
    (512, 512),
    (513, 1_024),
    (1_024, 1_024),
    (1_025, 2_048),
    (2_049, 4_096),
    (4_096, 4_096),
    (4_097, 4_352),
    (4_352, 4_352),
    (4_353, 4_608),
    (8_192, 8_192),
    (8_193, 8_704),
    (65_536, 65_536),
    (65_537, 69_632),
    (1_048_576, 1_048_576),
    (1_048_577, 1_114_112),
    (1_310_720, 1_310_720),
    (1_310_724, 1_376_256),
];

#[derive(Serialize)]
struct Ceremony {
    charter: refpoint_protocol::document::Envelope,
    requests: Vec<refpoint_protocol::document::Envelope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<refpoint_protocol::document::Envelope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    key_sets: Vec<refpoint_protocol::document::Envelope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
}

#[derive(Serialize)]
struct Hint {
    member: refpoint_protocol::ids::MemberCode,
    node: refpoint_protocol::ids::NodeKey,
    addresses: Vec<String>,
}

fn ceremony(cast: &Cast) -> Value {
    let content = Ceremony {
        charter: cast.founding.envelope().as_ref().clone(),
        requests: FOUNDERS.iter().map(|code| request(cast, code)).collect(),
        versions: Vec::new(),
        key_sets: Vec::new(),
        hints: Vec::new(),
    };
    in_armor("the content of federation.join", &content)
}

/// The version that admits a member, with its first key set.
fn later_ceremony(cast: &Cast) -> Value {
    let signers = [root("BR"), root("KE"), root("X-LO")];
    let version = cast.successor(&[&cast.founding], &signers.each_ref(), |charter| {
        charter.members.push(listing("X-LO"));
    });
    let content = Ceremony {
        charter: version.envelope().as_ref().clone(),
        requests: vec![request(cast, "X-LO")],
        versions: vec![cast.founding.envelope().as_ref().clone()],
        key_sets: vec![cast.signed(&cast.key_set("X-LO", &version), &[&root("X-LO")])],
        hints: vec![Hint {
            member: listing("BR").code,
            node: public(&node("BR", 0)),
            addresses: vec!["node.br.example:4001".to_owned()],
        }],
    };
    in_armor("the content of charter-2.join", &content)
}

fn request(cast: &Cast, code: &str) -> refpoint_protocol::document::Envelope {
    let listed = listing(code);
    let request = JoiningRequest {
        member: listed.code,
        kind: listed.kind,
        group: listed.group,
        alg: listed.alg,
        root: listed.root,
        next: listed.next,
        node: public(&node(code, 0)),
        addresses: vec![format!("node.{}.example:4001", code.to_lowercase())],
        created: at(0),
    };
    cast.signed(&request, &[&root(code), &node(code, 0)])
}

fn in_armor(name: &str, content: &Ceremony) -> Value {
    let mut value = item(name, "ceremony", content);
    let digest = Sha256::digest(encode(content).unwrap());
    value["label"] = json!("FEDERATION");
    value["checksum"] = json!(hexadecimal(&digest[..6]));
    value
}

fn bad_pushed(good: &Pushed) -> Vec<Value> {
    let with = |name: &str, change: &dyn Fn(&mut Pushed)| {
        let mut pushed = good.clone();
        change(&mut pushed);
        let bytes = encode(&pushed).unwrap();
        let refused = Pushed::from_bytes(&bytes).map_err(|error| error.to_string());
        assert!(refused.is_err_and(|error| error.starts_with("PU-01")), "{name}");
        json!({ "name": name, "rule": "PU-01", "bytes": hexadecimal(&bytes) })
    };
    vec![
        with("a kind's name of 33 bytes", &|pushed| pushed.document.kind = "k".repeat(33)),
        with("a body of 16,385 bytes", &|pushed| pushed.body = Some(ByteBuf::from(vec![0; 16_385]))),
    ]
}

fn bad_introduction_bytes() -> Vec<Value> {
    let frame = |body: &str| format!("{:02x}{body}", body.len() / 2);
    [
        ("IN-01", "a length that is not in its shortest form", "8100".to_owned()),
        ("IN-01", "a length of five bytes", "8080808001".to_owned()),
        ("IN-02", "an empty frame", "00".to_owned()),
        ("IN-02", "a frame of 65,537 bytes", "818004".to_owned()),
        ("IN-03", "no map", frame("80")),
        ("IN-03", "no kind", frame("a0")),
        ("IN-03", "an unknown kind", frame("a16161a0")),
        ("IN-03", "two kinds", frame("a264646f6e65a0646e656564a1647469707380")),
        ("IN-03", "a body that is not canonical", frame("a1646e656564a16474697073f6")),
    ]
    .iter()
    .map(|(rule, name, written)| {
        assert_eq!(read(&bytes_of(written)).as_deref(), Some(*rule), "{name}");
        json!({ "name": name, "rule": rule, "written": written })
    })
    .collect()
}

/// The rule that refuses bytes on the stream.
fn read(mut bytes: &[u8]) -> Option<String> {
    let mut reader = FrameReader::new();
    while !bytes.is_empty() {
        let (now, rest) = bytes.split_at(reader.wants().min(bytes.len()));
        if let Err(error) = reader.push(now) {
            return Some(error.to_string().chars().take(5).collect());
        }
        bytes = rest;
    }
    None
}

fn positions(key_set: DocumentId) -> Vec<Position> {
    let key = |kind| chain("KE", key_set, kind);
    vec![
        Position::Held(key_set),
        Position::Newest(key(ChainKind::NodeRecord), Sequence(3), HeaderId::from_bytes([3; 32])),
        Position::Newest(key(ChainKind::ReferencePoint), Sequence(0), HeaderId::from_bytes([4; 32])),
        Position::Forked(key(ChainKind::NodeRecord), Sequence(7)),
        Position::broken(&broken()),
        Position::Settled(settled().charter, settled().base),
    ]
}

fn broken() -> LineGeneration {
    let root = root_key(&root("KE"));
    LineGeneration { member: member("KE"), incarnation: Incarnation(0), root, generation: Generation(0) }
}

fn settled() -> Span {
    let [charter, base] = [7, 8].map(|byte| CharterId::from_bytes([byte; 32]));
    Span { charter, base }
}

fn digest() -> RepairDigest {
    let root = KindRoot { kind: "charter".into(), version: 1, root: hash(&[0x80]) };
    RepairDigest { roots: vec![root], time: at(0) }
}

fn requests(
    key_set: DocumentId,
    envelopes: &[refpoint_protocol::document::Envelope],
    body: &[u8],
) -> Vec<Value> {
    let fetch = Fetch {
        documents: vec![key_set],
        bodies: vec![hash(body)],
        broken: vec![broken()],
        settled: vec![settled()],
    };
    let range = ChainRequest {
        chain: chain("KE", key_set, ChainKind::NodeRecord),
        from: Sequence(0),
        to: Sequence(7),
    };
    let kind = refpoint_protocol::document::Kind::KeySet;
    let after = positions(key_set).first().cloned();
    [
        ("a digest of a node that holds no charter", RepairRequest::Digest(digest())),
        ("the first page", RepairRequest::Positions(PositionsRequest { kind, after: None })),
        ("the next page", RepairRequest::Positions(PositionsRequest { kind, after })),
        ("documents, bodies and the proof of a broken generation", RepairRequest::Fetch(fetch)),
        ("a range of a chain", RepairRequest::Chains(vec![range])),
        ("what the other lacks", RepairRequest::Give(given(envelopes, body))),
    ]
    .iter()
    .map(|(name, request)| item(name, "repair-request", request))
    .collect()
}

fn responses(
    key_set: DocumentId,
    envelopes: &[refpoint_protocol::document::Envelope],
    body: &[u8],
) -> Vec<Value> {
    let sorted = positions(key_set);
    assert!(sorted.is_sorted());
    let page =
        Positions { kind: refpoint_protocol::document::Kind::NodeRecord, positions: sorted, more: false };
    [
        ("a digest", RepairResponse::Digest(digest())),
        ("one position of each sort, in their order", RepairResponse::Positions(page)),
        ("documents", RepairResponse::Documents(given(envelopes, body))),
        ("taken", RepairResponse::Taken(Taken {})),
        ("busy", RepairResponse::Busy(Taken {})),
    ]
    .iter()
    .map(|(name, response)| item(name, "repair-response", response))
    .collect()
}

fn given(envelopes: &[refpoint_protocol::document::Envelope], body: &[u8]) -> Documents {
    Documents { envelopes: envelopes.to_vec(), bodies: vec![ByteBuf::from(body)] }
}

fn offer(ids: &[MessageId]) -> Offer {
    let joined: Vec<u8> = ids.iter().flat_map(|id| *id.as_bytes()).collect();
    Offer { hash: hash(&joined), count: ids.len() as u64 }
}

fn relay(cast: &Cast, ids: &[MessageId]) -> Vec<Value> {
    let (content, seed) = parcels::content(cast);
    let receipt = Receipt {
        message: content.id(),
        member: member("KE"),
        node: public(&node("KE", 0)),
        word: ReceiptWord::Delivered,
        at: at(1),
        reason: None,
        sealing_key: None,
    };
    let custodian = |word, reason| {
        let receipt = Receipt { member: member("BR"), word, reason, ..receipt.clone() };
        RelayFrame::Receipt(cast.signed(&receipt, &[&node("BR", 0)]))
    };
    [
        ("a parcel", RelayFrame::Parcel(Box::new(parcels::parcel(&content, &seed)))),
        ("a receipt", RelayFrame::Receipt(cast.signed(&receipt, &[&node("KE", 0)]))),
        ("custody of a parcel for KE at BR", custodian(ReceiptWord::Custody, None)),
        (
            "custody refused: the handing member's share is used up",
            custodian(ReceiptWord::Refused, Some(RefusalReason::Quota)),
        ),
        ("an offer", RelayFrame::Offer(offer(ids))),
        ("an offer that is not known", RelayFrame::OfferUnknown(offer(ids))),
        ("the ids behind an offer", RelayFrame::OfferIds(OfferIds { ids: ids.to_vec(), more: false })),
        ("an id that is lacking", RelayFrame::Lacking(Lacking { ids: vec![ids[1]] })),
    ]
    .iter()
    .map(|(name, frame)| item(name, "relay-frame", frame))
    .collect()
}

pub(super) fn bodies() -> Vec<(&'static str, Body)> {
    let text = |text: &str| Some(Redacted(text.to_owned()));
    let empty = Body {
        tlp: Tlp::Amber,
        text: None,
        reference: None,
        attachments: Vec::new(),
        statement: None,
        drill: false,
        form: None,
    };
    let attachment = Attachment {
        name: Redacted("scan.pdf".into()),
        media_type: "application/pdf".into(),
        data: Redacted(ByteBuf::from(vec![1, 2, 3])),
    };
    let form = Form {
        code: "preservation".into(),
        fields: Redacted([("address".to_owned(), "192.0.2.7".to_owned())].into()),
    };
    let statement = Statement {
        answers: MessageId::from_bytes([0x4D; 32]),
        word: Word::Acknowledged,
        role: Redacted("duty officer".into()),
        will: Some(true),
        form: text("by message"),
        by: Some(at(86_400)),
    };
    vec![
        ("a text", Body { text: text("Preserve the records of 192.0.2.7"), ..empty.clone() }),
        (
            "everything but a statement",
            Body {
                tlp: Tlp::AmberStrict,
                text: text("يرجى حفظ البيانات"),
                reference: text("BR-2026/17"),
                attachments: vec![attachment],
                drill: true,
                form: Some(form),
                ..empty.clone()
            },
        ),
        ("a statement", Body { statement: Some(statement), ..empty }),
    ]
}

fn bad_bodies() -> Vec<Value> {
    let with = |rule: &str, name: &str, index: usize, change: &dyn Fn(&mut Body)| {
        let mut body = bodies().remove(index).1;
        change(&mut body);
        let bytes = encode(&body).unwrap();
        assert_eq!(check_canonical(&bytes), Ok(()));
        let read: Body = decode(&bytes, 4 * 1024 * 1024).unwrap();
        assert_eq!(read.check_form().map_err(|error| error.rule), Err(rule), "{name}");
        json!({ "name": name, "rule": rule, "body": hexadecimal(&bytes) })
    };
    vec![
        with("MB-01", "it says nothing", 0, &|b| b.text = None),
        with("MB-02", "a text with a bell", 0, &|b| b.text = Some(Redacted("\u{7}".into()))),
        with("MB-03", "a reference of two lines", 0, &|b| b.reference = Some(Redacted("a\nb".into()))),
        with("MB-04", "seventeen attachments", 1, &|b| b.attachments = vec![b.attachments[0].clone(); 17]),
        with("MB-05", "an attachment whose name is a path", 1, &|b| {
            b.attachments[0].name = Redacted("a/b".into())
        }),
        with("MB-05", "a media type without a slash", 1, &|b| b.attachments[0].media_type = "pdf".into()),
        with("MB-06", "a form's code in capitals", 1, &|b| b.form.as_mut().unwrap().code = "Form".into()),
        with("MB-07", "a statement without a role", 2, &|b| {
            b.statement.as_mut().unwrap().role = Redacted(String::new())
        }),
        with("MB-07", "a promise with another word", 2, &|b| {
            b.statement.as_mut().unwrap().word = Word::Declined
        }),
    ]
}
