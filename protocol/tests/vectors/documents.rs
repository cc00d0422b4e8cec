//! An envelope of every kind, and bad ones with the rule that refuses each.

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    directory::header::{NodeRecordHeader, ReferencePointHeader},
    document::{
        Envelope, EnvelopeError, Payload, Signature, Unverified, VerifyError, encode, sign, signed_bytes,
    },
    evidence::{AnyDocument, Bearer, Evidence, verify_any},
    heads::verify_head,
    ids::{CharterVersion, DocumentId, FederationId, Generation, Incarnation, KeySetId, MessageId, Sequence},
    membership::{
        charter::{Charter, MemberKind, MemberStatus, Refounded},
        key_set::{KeySet, NodeState, Rotation},
        request::JoiningRequest,
    },
    message::header::{MessageHeader, Precedence},
    relay::receipt::{Receipt, ReceiptWord, RefusalReason},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, entry, hash, header, key, listing, member, node, node_record, public, root, root_key},
    heads, hexadecimal, settlements,
};

/// Good documents of all kinds, and bad ones.
pub(super) fn vectors() -> Value {
    let stage = Stage::new();
    let good: Vec<Value> = stage.good().iter().map(|(name, envelope)| stage.shown(name, envelope)).collect();
    let bad: Vec<Value> = stage
        .bad()
        .iter()
        .map(|Bad { rule, name, bytes }| {
            assert_eq!(stage.broken(bytes).as_deref(), Some(*rule), "{name}");
            json!({ "name": name, "rule": rule, "envelope": hexadecimal(bytes) })
        })
        .collect();
    json!({
        "about": "Documents of the federation below. `signed` is what is signed, and hashed for `id`. A bad one is \
                  refused by a node that holds `held`, for the rule of VALIDATION.md that it names; one of rule DO-06 \
                  is newer than this version and nobody's fault.",
        "federation": stage.cast.federation,
        "held": stage.held.iter().map(|held| hexadecimal(&encode(held.envelope().as_ref()).unwrap())).collect::<Vec<_>>(),
        "good": good,
        "bad": bad,
    })
}

/// The federation, and what a reader of the vectors holds.
struct Stage {
    cast: Cast,
    held: Vec<AnyDocument>,
    key_set: DocumentId,
}

struct Bad {
    rule: &'static str,
    name: &'static str,
    bytes: Vec<u8>,
}

impl Stage {
    fn new() -> Self {
        let cast = Cast::new();
        let set = cast.verified(&cast.key_set("KE", &cast.founding), &[&root("KE")]);
        let key_set = set.id();
        let version = |version: &std::sync::Arc<_>| AnyDocument::Charter(std::sync::Arc::clone(version));
        let held =
            vec![version(&cast.founding), AnyDocument::KeySet(set), version(&settlements::second(&cast))];
        Self { cast, held, key_set }
    }

    fn request(&self) -> JoiningRequest {
        let listed = listing("SG");
        JoiningRequest {
            member: listed.code,
            kind: listed.kind,
            group: listed.group,
            alg: listed.alg,
            root: listed.root,
            next: listed.next,
            node: public(&node("SG", 0)),
            addresses: vec!["node.sg.example:4001".into()],
            created: at(0),
        }
    }

    fn admission(&self) -> Charter {
        let mut charter = self.cast.founding.payload().clone();
        charter.version = CharterVersion(2);
        charter.nonce = None;
        charter.parents = vec![self.cast.founding.id().into()];
        charter.members.push(listing("X-LO"));
        charter
    }

    fn message(&self) -> MessageHeader {
        MessageHeader {
            sender: member("BR"),
            recipients: vec![member("KE"), member("X-LO")],
            precedence: Precedence::Flash,
            created: at(0),
            expires: at(72 * 3_600),
            ciphertext: hash(b"ciphertext"),
            length: 528,
            commitment: hash(b"commitment"),
            nonce: [7; 24],
        }
    }

    fn receipt(&self, word: ReceiptWord) -> Receipt {
        Receipt {
            message: MessageId::from_bytes([0x4D; 32]),
            member: member("KE"),
            node: public(&node("KE", 0)),
            word,
            at: at(60),
            reason: (word == ReceiptWord::Refused).then_some(RefusalReason::NoRoom),
            sealing_key: None,
        }
    }

    fn header(&self, sequence: u64) -> refpoint_protocol::directory::header::Header {
        let body = encode(&node_record()).unwrap();
        let predecessor = if sequence == 0 { self.key_set } else { DocumentId::from_bytes([9; 32]) };
        header("KE", self.key_set, sequence, predecessor, &body)
    }

    fn good(&self) -> Vec<(&'static str, Envelope)> {
        let cast = &self.cast;
        let (sg, ke) = (root("SG"), node("KE", 0));
        let resealed = Receipt {
            sealing_key: Some(node_record().sealing_keys[0].id()),
            ..self.receipt(ReceiptWord::Reseal)
        };
        let kept = Receipt { member: member("BR"), ..self.receipt(ReceiptWord::Custody) };
        let rotation =
            cast.rotation("KE", &cast.verified(&cast.key_set("KE", &cast.founding), &[&root("KE")]), 0);
        let mut carried = cast.signed(&self.message(), &[&node("BR", 0)]);
        carried.signatures.push(Signature { key: vec![1; 40], alg: 2, sig: vec![2; 80] });
        vec![
            ("a joining request", cast.signed(&self.request(), &[&sg, &node("SG", 0)])),
            ("charter version 1, signed by every member", cast.founding.envelope().as_ref().clone()),
            (
                "charter version 2, signed by two stewards and the new member",
                cast.signed(&self.admission(), &[&root("BR"), &root("KE"), &root("X-LO")]),
            ),
            ("a key set", self.held[1].envelope().as_ref().clone()),
            ("a key set that rotates the root", rotation.envelope().as_ref().clone()),
            (
                "the key set after it, which waits for it",
                cast.after_rotation("KE", &rotation, 1).envelope().as_ref().clone(),
            ),
            (
                "the first header of a node record's chain",
                cast.signed(&NodeRecordHeader(self.header(0)), &[&ke]),
            ),
            (
                "a later header of a reference point's chain",
                cast.signed(&ReferencePointHeader(self.header(3)), &[&ke]),
            ),
            ("a message's header", cast.signed(&self.message(), &[&node("BR", 0)])),
            ("a message's header with a signature of an unknown algorithm: the same id", carried),
            ("delivered", cast.signed(&self.receipt(ReceiptWord::Delivered), &[&ke])),
            ("refused", cast.signed(&self.receipt(ReceiptWord::Refused), &[&ke])),
            ("reseal", cast.signed(&resealed, &[&ke])),
            ("custody, said by another member of the recipient node", cast.signed(&kept, &[&node("BR", 0)])),
            ("the settlement of version 2 by three of four members", settlements::good(cast)),
            ("the first head of a run", cast.signed(&heads::head(cast, 0), &[&ke])),
            ("a later head", cast.signed(&heads::head(cast, 7), &[&ke])),
        ]
    }

    fn shown(&self, name: &str, envelope: &Envelope) -> Value {
        assert_eq!(self.broken(&encode(envelope).unwrap()), None, "{name}");
        let before = envelope.kind == "joining-request"
            || (envelope.kind == "charter" && envelope.payload == self.cast.founding.envelope().payload);
        let federation = (!before).then_some(self.cast.federation);
        let rule = match envelope.kind.as_str() {
            "node-record" | "reference-point" => "header",
            "message" => "message-header",
            kind => kind,
        };
        json!({
            "name": name,
            "kind": envelope.kind,
            "version": envelope.version,
            "federation": federation.map(|id| id.to_string()).unwrap_or_default(),
            "payload": { "cddl": rule, "bytes": hexadecimal(&envelope.payload) },
            "signed": hexadecimal(&signed_bytes(&envelope.kind, envelope.version, federation, &envelope.payload)),
            "id": envelope.id(federation),
            "envelope": { "cddl": "envelope", "bytes": hexadecimal(&encode(envelope).unwrap()) },
        })
    }

    /// The rule that refuses an envelope, `None` if none does.
    fn broken(&self, bytes: &[u8]) -> Option<String> {
        let envelope = match Envelope::from_bytes(bytes) {
            Ok(envelope) => envelope,
            Err(EnvelopeError::Decode(_)) => return Some("DO-01".into()),
            Err(_) => return Some("DO-02".into()),
        };
        let federation = self.cast.federation;
        match envelope.kind.as_str() {
            "joining-request" => opened::<JoiningRequest>(envelope, federation),
            "message" => opened::<MessageHeader>(envelope, federation),
            "receipt" => opened::<Receipt>(envelope, federation),
            "head" => verify_head(envelope, federation).err().map(|error| error.rule().into()),
            _ => match verify_any(envelope, federation) {
                Err(error) => Some(error.rule().into()),
                Ok(document) => {
                    let mut evidence = Evidence::new(federation);
                    let held = evidence.accept_all(Bearer::Local, self.held.iter().cloned());
                    assert!(held.rejected.is_empty());
                    let outcome = evidence.accept(Bearer::Local, document);
                    outcome.rejected.first().map(|rejection| rejection.rule.into())
                }
            },
        }
    }

    fn bad(&self) -> Vec<Bad> {
        let mut bad = self.bad_envelopes();
        bad.extend(self.bad_requests());
        bad.extend(self.bad_charters());
        bad.extend(self.bad_key_sets());
        bad.extend(self.bad_headers());
        bad.extend(self.bad_messages());
        let settlements = settlements::bad(&self.cast).into_iter();
        bad.extend(settlements.map(|(rule, name, bytes)| Bad { rule, name, bytes }));
        bad.extend(heads::bad(&self.cast).into_iter().map(|(rule, name, bytes)| Bad { rule, name, bytes }));
        bad
    }

    fn bad_envelopes(&self) -> Vec<Bad> {
        let ke = node("KE", 0);
        let good = self.cast.signed(&self.receipt(ReceiptWord::Delivered), &[&ke]);
        let with = |rule, name, change: &dyn Fn(&mut Envelope)| {
            let mut envelope = good.clone();
            change(&mut envelope);
            Bad { rule, name, bytes: encode(&envelope).unwrap() }
        };
        let bytes = encode(&good).unwrap();
        let trailing = Bad {
            rule: "DO-01",
            name: "a byte after the envelope",
            bytes: [bytes.as_slice(), &[0]].concat(),
        };
        let cut =
            Bad { rule: "DO-01", name: "the last byte is missing", bytes: bytes[..bytes.len() - 1].to_vec() };
        // The payload's bytes are checked like any item: here the first head is longer than it need be.
        let mut long = vec![0xB8, good.payload[0] & 0x1F];
        long.extend_from_slice(&good.payload[1..]);
        let elsewhere =
            sign(&self.receipt(ReceiptWord::Delivered), Some(FederationId::from_bytes([1; 32])), &[&ke]);
        let nowhere = sign(&self.receipt(ReceiptWord::Delivered), None, &[&ke]);
        vec![
            trailing,
            cut,
            with("DO-01", "a payload that is not canonical", &|e| e.payload.clone_from(&long)),
            with("DO-02", "a kind without a name", &|e| e.kind.clear()),
            with("DO-07", "a third signature", &|e| e.signatures = vec![e.signatures[0].clone(); 3]),
            with("DO-02", "a kind's name of 33 bytes", &|e| e.kind = "k".repeat(33)),
            with("DO-03", "a bit of the signature flipped", &|e| e.signatures[0].sig[5] ^= 1),
            with("DO-03", "a bit of the payload flipped", &|e| {
                let last = e.payload.len() - 1;
                // The last byte belongs to the member's code or a hash: the form stays.
                e.payload[last] ^= 1;
            }),
            with("DO-03", "a good signature and a bad one", &|e| {
                let mut second = e.signatures[0].clone();
                second.key[7] ^= 1;
                e.signatures.push(second);
            }),
            with("DO-08", "a key that signs twice", &|e| e.signatures.push(e.signatures[0].clone())),
            with("DO-03", "a signature of 63 bytes", &|e| e.signatures[0].sig.truncate(63)),
            with("DO-03", "signed for another federation", &|e| {
                e.signatures.clone_from(&elsewhere.as_ref().unwrap().signatures)
            }),
            with("DO-03", "signed without a federation", &|e| {
                e.signatures.clone_from(&nowhere.as_ref().unwrap().signatures)
            }),
            with("DO-04", "no signature", &|e| e.signatures.clear()),
            with("DO-04", "a signature of an unknown algorithm alone", &|e| e.signatures[0].alg = 2),
            with("DO-06", "a newer kind", &|e| e.kind = "treaty".into()),
            with("DO-06", "a newer version", &|e| e.version = 2),
        ]
    }

    fn bad_requests(&self) -> Vec<Bad> {
        let with = |rule, name, change: &dyn Fn(&mut JoiningRequest)| {
            let mut request = self.request();
            change(&mut request);
            self.signed(rule, name, &request, &[&root("SG"), &node("SG", 0)])
        };
        vec![
            with("JR-01", "a country as a bureau", &|r| r.kind = MemberKind::Bureau),
            with("JR-02", "an unknown algorithm", &|r| r.alg = 2),
            with("JR-03", "the next root key is the present one", &|r| r.next = hash(r.root.as_bytes())),
            with("JR-04", "the node key is the root key", &|r| r.node = public(&root("SG"))),
            with("JR-05", "an address without a port", &|r| r.addresses = vec!["node.sg.example".into()]),
            with("JR-05", "nine addresses", &|r| r.addresses = vec!["a.example:1".into(); 9]),
        ]
    }

    fn bad_charters(&self) -> Vec<Bad> {
        let stewards = [root("BR"), root("KE"), root("X-LO")];
        let all: Vec<&SigningKey> = stewards.iter().collect();
        let with = |rule, name, change: &dyn Fn(&mut Charter)| {
            let mut charter = self.admission();
            change(&mut charter);
            self.signed(rule, name, &charter, &all)
        };
        let founders = ["BR", "FR", "KE", "SG"].map(root);
        let founding = |rule, name, signers: &[&SigningKey], change: &dyn Fn(&mut Charter)| {
            let mut charter = self.cast.founding.payload().clone();
            change(&mut charter);
            self.signed(rule, name, &charter, signers)
        };
        let everybody: Vec<&SigningKey> = founders.iter().collect();
        let ke =
            |charter: &Charter| charter.members.iter().position(|entry| entry.code.as_str() == "KE").unwrap();
        vec![
            with("CH-01", "version 2 with a nonce", &|c| c.nonce = Some(hash(b"nonce"))),
            with("CH-01", "version 2 that takes the place of a federation", &|c| {
                c.refounds = Some(self.cast.refounded())
            }),
            founding("CH-02", "a federation before, without its versions", &everybody, &|c| {
                c.refounds =
                    Some(self.cast.refounded()).map(|before| Refounded { tips: Vec::new(), ..before })
            }),
            with("CH-02", "a parent twice", &|c| c.parents = vec![c.parents[0]; 2]),
            with("CH-03", "members out of order", &|c| c.members.reverse()),
            with("CH-04", "one root key under two codes", &|c| c.members[1].root = c.members[0].root),
            with("CH-05", "an unknown algorithm", &|c| c.members[0].alg = 2),
            with("CH-06", "a country as a bureau", &|c| c.members[0].kind = MemberKind::Bureau),
            with("CH-07", "the next root key is the present one", &|c| {
                c.members[0].next = hash(c.members[0].root.as_bytes())
            }),
            with("CH-08", "two stewards", &|c| c.stewards.truncate(2)),
            with("CH-08", "a steward that is suspended", &|c| {
                let index = ke(c);
                c.members[index].status = MemberStatus::Suspended;
            }),
            with("CH-09", "a threshold of half the stewards", &|c| c.threshold = 1),
            with("CH-09", "a threshold of all stewards", &|c| c.threshold = 3),
            with("CH-10", "a new member that is suspended", &|c| {
                c.members.last_mut().unwrap().status = MemberStatus::Suspended
            }),
            founding("CH-10", "a member of version 1 with incarnation 1", &everybody, &|c| {
                c.members[0].incarnation = Incarnation(1)
            }),
            founding("CH-11", "another founding", &everybody, &|c| c.nonce = Some(hash(b"another"))),
            founding("CH-17", "version 1 without the signature of a member", &everybody[..3], &|_| ()),
            with("CH-12", "a version too many", &|c| c.version = CharterVersion(3)),
            with("CH-14", "a member vanishes", &|c| {
                c.members.retain(|entry| entry.code.as_str() != "SG");
            }),
            with("CH-15", "an incarnation that rises without a new root", &|c| {
                let index = ke(c);
                c.members[index].incarnation = Incarnation(1);
            }),
            with("CH-16", "the root key of another member", &|c| {
                let (index, other) =
                    (ke(c), c.members.iter().position(|entry| entry.code.as_str() == "SG").unwrap());
                c.members[other].root = c.members[index].root;
                c.members[other].incarnation = Incarnation(1);
                c.members[index].root = root_key(&root("X-LO"));
                c.members[index].incarnation = Incarnation(1);
                c.members.pop();
            }),
            self.signed("CH-17", "the new member does not sign", &self.admission(), &all[..2]),
            self.signed("CH-18", "one steward of two signs", &self.admission(), &[all[0], all[2]]),
            self.signed("DO-08", "one steward signs twice", &self.admission(), &[all[0], all[0], all[2]]),
            with("CH-19", "new stewards do not sign their own version", &|c| {
                c.stewards = ["FR", "SG", "X-LO"].map(member).to_vec();
            }),
        ]
    }

    fn bad_key_sets(&self) -> Vec<Bad> {
        let good = self.cast.key_set("KE", &self.cast.founding);
        let mut unannounced =
            self.cast.rotation("KE", &self.cast.verified(&good, &[&root("KE")]), 0).payload().clone();
        if let Some(Rotation::Opens(opening)) = &mut unannounced.rotation {
            opening.root = root_key(&key("strange root"));
        }
        let with = |rule, name, change: &dyn Fn(&mut KeySet)| {
            let mut set = good.clone();
            change(&mut set);
            self.signed(rule, name, &set, &[&root("KE")])
        };
        vec![
            with("KS-01", "a node twice", &|s| s.nodes.push(s.nodes[0].clone())),
            with("KS-02", "an unknown algorithm", &|s| s.nodes[0].alg = 2),
            with("KS-03", "retired without a time", &|s| s.nodes[0].state = NodeState::Retired),
            with("KS-03", "active since a time", &|s| s.nodes[0].since = Some(at(1))),
            with("KS-04", "an earlier key set twice", &|s| {
                s.ancestors = vec![KeySetId::from_bytes([1; 32]); 2]
            }),
            with("KS-05", "epoch 0 after another", &|s| s.ancestors = vec![KeySetId::from_bytes([1; 32])]),
            with("KS-06", "to be reviewed before it was issued", &|s| s.review = Timestamp::from_millis(0)),
            with("KS-07", "a generation above 0 without its rotation", &|s| s.generation = Generation(1)),
            with("KS-08", "another incarnation than the charter lists", &|s| s.incarnation = Incarnation(1)),
            self.signed("KS-09", "signed by another member's root", &good, &[&root("FR")]),
            self.signed(
                "KS-15",
                "a rotation to a root that was not announced",
                &unannounced,
                &[&key("strange root")],
            ),
            with("KS-10", "the root key as a node key", &|s| s.nodes = vec![entry(0, &root("KE"))]),
        ]
    }

    fn bad_headers(&self) -> Vec<Bad> {
        let ke = node("KE", 0);
        let with = |rule, name, change: &dyn Fn(&mut refpoint_protocol::directory::header::Header)| {
            let mut header = self.header(0);
            change(&mut header);
            self.signed(rule, name, &NodeRecordHeader(header), &[&ke])
        };
        let good = NodeRecordHeader(self.header(0));
        vec![
            with("HD-01", "a sequence beyond the end", &|h| {
                h.sequence = Sequence(4_096);
                h.predecessor = DocumentId::from_bytes([9; 32]);
            }),
            with("HD-02", "a first header that does not name its key set", &|h| {
                h.predecessor = DocumentId::from_bytes([9; 32])
            }),
            with("HD-02", "a later header that names its key set", &|h| h.sequence = Sequence(1)),
            with("HD-03", "a body of 15 bytes", &|h| h.length = 15),
            with("HD-03", "a body of 16,385 bytes", &|h| h.length = 16_385),
            with("HD-04", "stale before it was issued", &|h| h.fresh_until = Timestamp::from_millis(0)),
            self.signed("HD-05", "signed by another key", &good, &[&node("KE", 1)]),
            self.signed("HD-05", "signed by two keys", &good, &[&ke, &node("KE", 1)]),
            self.signed("HD-07", "three signatures", &good, &[&ke, &ke, &ke]),
            {
                let mut envelope = self.cast.signed(&good, &[&ke]);
                envelope.signatures.push(Signature { key: vec![1; 1_952], alg: 2, sig: vec![2; 2_100] });
                let name = "a second signature of more bytes than a header may carry";
                Bad { rule: "DO-07", name, bytes: encode(&envelope).unwrap() }
            },
            with("HD-06", "a header of another member", &|h| h.member = member("FR")),
            {
                let mut header = self.header(0);
                header.node = public(&node("KE", 1));
                self.signed(
                    "HD-06",
                    "a node that its key set does not list",
                    &NodeRecordHeader(header),
                    &[&node("KE", 1)],
                )
            },
        ]
    }

    fn bad_messages(&self) -> Vec<Bad> {
        let with = |rule, name, change: &dyn Fn(&mut MessageHeader)| {
            let mut header = self.message();
            change(&mut header);
            self.signed(rule, name, &header, &[&node("BR", 0)])
        };
        let receipt = |rule, name, change: &dyn Fn(&mut Receipt)| {
            let mut receipt = self.receipt(ReceiptWord::Delivered);
            change(&mut receipt);
            self.signed(rule, name, &receipt, &[&node("KE", 0)])
        };
        vec![
            with("MS-01", "no recipient", &|h| h.recipients.clear()),
            with("MS-02", "recipients out of order", &|h| h.recipients.reverse()),
            with("MS-03", "it expires when it is made", &|h| h.expires = h.created),
            with("MS-03", "fifteen days", &|h| h.expires = at(15 * 86_400)),
            with("MS-04", "a ciphertext that is no padded body", &|h| h.length = 529),
            receipt("RC-01", "delivered with a reason", &|r| r.reason = Some(RefusalReason::Invalid)),
            receipt("RC-01", "refused without a reason", &|r| r.word = ReceiptWord::Refused),
            receipt("RC-02", "delivered with a sealing key", &|r| {
                r.sealing_key = Some(node_record().sealing_keys[0].id())
            }),
        ]
    }

    fn signed<T: Payload>(
        &self,
        rule: &'static str,
        name: &'static str,
        payload: &T,
        keys: &[&SigningKey],
    ) -> Bad {
        Bad { rule, name, bytes: encode(&self.cast.signed(payload, keys)).unwrap() }
    }
}

fn opened<T: Payload>(envelope: Envelope, federation: FederationId) -> Option<String> {
    let verified = Unverified::<T>::open(envelope).and_then(|unverified| unverified.verify(federation));
    verified.err().map(|error: VerifyError| error.rule().into())
}
