//! Ceremony files: a charter with the joining requests that it was made from, as it travels between members.
//!
//! One content serves the draft (no signature), each member's signed copy (some) and `federation.join` (all),
//! so that every reader sees what is signed and can check it against what each unit asked for. It refuses what
//! is not exactly such a file: other labels, documents out of form, requests that the charter does not follow,
//! signatures that do not verify or that no listed root made.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use refpoint_protocol::{
    document::{
        DecodeError, EncodeError, Envelope, EnvelopeError, Unverified, Verified, VerifyError, decode, encode,
    },
    ids::{CharterId, CharterVersion, FederationId, MemberCode, NodeKey},
    membership::{
        charter::{Charter, MemberEntry},
        request::JoiningRequest,
    },
};
use serde::{Deserialize, Serialize};

use crate::armor::{
    ArmorError, CEREMONY_BYTES_MAX, FILE_BYTES_MAX, Label, REQUEST_BYTES_MAX, armor, dearmor,
};

/// A charter, its signatures so far, and the requests behind it, all checked.
#[derive(Clone, Debug)]
pub struct Ceremony {
    charter: Charter,
    envelope: Envelope,
    requests: BTreeMap<MemberCode, Verified<JoiningRequest>>,
    signed: BTreeSet<MemberCode>,
}

/// What is wrong with a ceremony file.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file's content is not what it should be.
    #[error("{}: {fault}", file.display())]
    Content {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with a ceremony file's content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not text.
    #[error("it is not text")]
    NotText,
    /// No block, or a damaged one.
    #[error(transparent)]
    Armor(#[from] ArmorError),
    /// A block of another label.
    #[error("it holds a {}, not a {}", got.text(), wanted.iter().map(|label| label.text()).collect::<Vec<_>>().join(" or a "))]
    Label {
        /// What it holds.
        got: Label,
        /// What was wanted.
        wanted: &'static [Label],
    },
    /// The block's bytes are not what they should be.
    #[error("its content is damaged: {0}")]
    Decode(#[from] DecodeError),
    /// A value of ours without a canonical form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An envelope beyond its bounds.
    #[error("its content is damaged: {0}")]
    Envelope(#[from] EnvelopeError),
    /// A document that does not verify.
    #[error("its {document} is refused: {error}")]
    Verify {
        /// Which.
        document: String,
        /// Why.
        error: VerifyError,
    },
    /// A joining request that another than its own keys signed.
    #[error("the joining request of {0} is not signed by its own root key and node key, and nobody else")]
    RequestSigners(MemberCode),
    /// Two requests of one member.
    #[error("{0} asks twice")]
    Twice(MemberCode),
    /// A charter that does not say of a member what its request says.
    #[error("the charter says something else of {0} than its joining request")]
    Differs(MemberCode),
    /// A member without a request, or a request without a member.
    #[error("{0} is in the charter or among the requests, and not in both")]
    Unmatched(MemberCode),
    /// A later version: its ceremony has another form.
    #[error("it is version {0} of a charter; this program founds federations with version 1")]
    NotFounding(CharterVersion),
    /// A charter with parts that this program does not know, which it must not sign.
    #[error("the charter has parts that this program does not know; it is made by a newer one")]
    Newer,
    /// A signature by a key that the charter does not list.
    #[error("it is signed by a key that is no listed member's root")]
    Stranger,
    /// Two files of different charters.
    #[error("it is another charter than the first file's: {} instead of {}", got.short(), expected.short())]
    OtherCharter {
        /// The first file's.
        expected: CharterId,
        /// This file's.
        got: CharterId,
    },
}

impl Ceremony {
    /// Puts a draft together. The charter's form has been checked by whoever made it; it is checked again.
    ///
    /// # Errors
    /// [`Fault`] with the broken rule.
    pub fn draft(charter: &Charter, requests: Vec<Envelope>) -> Result<Self, Fault> {
        let envelope = refpoint_protocol::document::sign(charter, None, &[])?;
        Self::check(Content { charter: envelope, requests })
    }

    /// Reads a file that holds one of the labels.
    ///
    /// # Errors
    /// [`CeremonyError`]; nothing of a file that is refused is used.
    pub fn read(file: &Path, wanted: &'static [Label]) -> Result<(Label, Self), CeremonyError> {
        let content = |fault| CeremonyError::Content { file: file.to_owned(), fault };
        let (label, bytes) = read_block(file, wanted)?;
        let parsed = decode(&bytes, CEREMONY_BYTES_MAX).map_err(|error| content(error.into()))?;
        Ok((label, Self::check(parsed).map_err(content)?))
    }

    /// The file's text, with `comment` before the block.
    ///
    /// # Errors
    /// [`Fault::Encode`]: an invariant of ours is broken.
    pub fn to_text(&self, label: Label, comment: &[String]) -> Result<String, Fault> {
        let requests = self.requests.values().map(|request| request.envelope().as_ref().clone()).collect();
        let content = Content { charter: self.envelope.clone(), requests };
        Ok(armor(label, comment, &encode(&content)?))
    }

    /// Takes over the signatures of another copy of the same charter.
    ///
    /// # Errors
    /// [`Fault::OtherCharter`].
    pub fn merge(&mut self, other: Self) -> Result<(), Fault> {
        if self.id() != other.id() {
            return Err(Fault::OtherCharter { expected: self.id(), got: other.id() });
        }
        for signature in other.envelope.signatures {
            if self.envelope.signatures.iter().all(|held| held.key != signature.key) {
                self.envelope.signatures.push(signature);
            }
        }
        self.envelope.signatures.sort_by(|one, two| one.key.cmp(&two.key));
        self.signed.extend(other.signed);
        Ok(())
    }

    /// The same charter with these signatures alone.
    ///
    /// # Errors
    /// [`Fault`] if they are not of this charter or do not verify.
    pub fn with_signatures_of(&self, signed: Envelope) -> Result<Self, Fault> {
        let requests = self.requests.values().map(|request| request.envelope().as_ref().clone()).collect();
        let copy = Self::check(Content { charter: signed, requests })?;
        if copy.id() == self.id() {
            Ok(copy)
        } else {
            Err(Fault::OtherCharter { expected: self.id(), got: copy.id() })
        }
    }

    /// What the charter says.
    #[must_use]
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The charter with its signatures so far.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The charter's document id, which is the federation's.
    #[must_use]
    pub fn id(&self) -> CharterId {
        self.envelope.id(None).into()
    }

    /// The federation that this charter founds.
    #[must_use]
    pub fn federation(&self) -> FederationId {
        self.id().into()
    }

    /// What each unit asked for.
    #[must_use]
    pub const fn requests(&self) -> &BTreeMap<MemberCode, Verified<JoiningRequest>> {
        &self.requests
    }

    /// The members whose root keys have signed.
    #[must_use]
    pub const fn signed(&self) -> &BTreeSet<MemberCode> {
        &self.signed
    }

    /// The members whose root keys have yet to sign: in a founding, everybody signs.
    pub fn unsigned(&self) -> impl Iterator<Item = &MemberEntry> {
        self.charter.members.iter().filter(|entry| !self.signed.contains(&entry.code))
    }

    /// Where each member's first node said that it is: hints for the first dial, not evidence.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        self.requests
            .values()
            .map(|request| {
                let request = request.payload();
                Hint {
                    member: request.member.clone(),
                    node: request.node,
                    addresses: request.addresses.clone(),
                }
            })
            .collect()
    }

    fn check(content: Content) -> Result<Self, Fault> {
        let Content { charter: envelope, requests: envelopes } = content;
        envelope.check_bounds()?;
        let refused = |error| Fault::Verify { document: "charter".to_owned(), error };
        let opened = Unverified::<Charter>::open(envelope.clone()).map_err(refused)?;
        let charter = opened.claimed().clone();
        if charter.version != CharterVersion(1) {
            return Err(Fault::NotFounding(charter.version));
        }
        // What is shown and signed again must be all that is there.
        if encode(&charter)? != envelope.payload {
            return Err(Fault::Newer);
        }
        let requests = checked_requests(envelopes)?;
        for entry in &charter.members {
            let request = requests.get(&entry.code).ok_or_else(|| Fault::Unmatched(entry.code.clone()))?;
            if !follows(entry, request.payload()) {
                return Err(Fault::Differs(entry.code.clone()));
            }
        }
        if let Some(extra) = requests.keys().find(|code| charter.member(code).is_none()) {
            return Err(Fault::Unmatched(extra.clone()));
        }
        let signed =
            if envelope.signatures.is_empty() { BTreeSet::new() } else { signers(opened, &charter)? };
        Ok(Self { charter, envelope, requests, signed })
    }
}

/// Where a member's first node said that it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hint {
    /// The member.
    pub member: MemberCode,
    /// Its first node's key.
    pub node: NodeKey,
    /// Where it can be dialled, `host:port` each.
    pub addresses: Vec<String>,
}

/// Reads and verifies one joining request.
///
/// # Errors
/// [`CeremonyError`].
pub fn read_request(file: &Path) -> Result<Verified<JoiningRequest>, CeremonyError> {
    let content = |fault| CeremonyError::Content { file: file.to_owned(), fault };
    let (_, bytes) = read_block(file, &[Label::JoiningRequest])?;
    if bytes.len() > REQUEST_BYTES_MAX {
        let error = DecodeError::TooLong { max: REQUEST_BYTES_MAX, got: bytes.len() };
        return Err(content(error.into()));
    }
    let envelope = Envelope::from_bytes(&bytes).map_err(|error| content(error.into()))?;
    verify_request(envelope).map_err(content)
}

/// The label of a ceremony file, before its content is looked at.
///
/// # Errors
/// [`CeremonyError`].
pub fn label_of(file: &Path) -> Result<Label, CeremonyError> {
    Ok(read_block(file, &Label::ALL)?.0)
}

#[derive(Serialize, Deserialize)]
struct Content {
    charter: Envelope,
    requests: Vec<Envelope>,
}

fn read_block(file: &Path, wanted: &'static [Label]) -> Result<(Label, Vec<u8>), CeremonyError> {
    let read_error = |source| CeremonyError::Read { file: file.to_owned(), source };
    let content = |fault| CeremonyError::Content { file: file.to_owned(), fault };
    let length = fs::metadata(file).map_err(read_error)?.len();
    if length > FILE_BYTES_MAX as u64 {
        let got = usize::try_from(length).unwrap_or(usize::MAX);
        return Err(content(ArmorError::TooLong { max: FILE_BYTES_MAX, got }.into()));
    }
    let bytes = fs::read(file).map_err(read_error)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| content(Fault::NotText))?;
    let (label, bytes) = dearmor(text).map_err(|error| content(error.into()))?;
    if wanted.contains(&label) {
        Ok((label, bytes))
    } else {
        Err(content(Fault::Label { got: label, wanted }))
    }
}

fn checked_requests(
    envelopes: Vec<Envelope>,
) -> Result<BTreeMap<MemberCode, Verified<JoiningRequest>>, Fault> {
    let mut requests = BTreeMap::new();
    for envelope in envelopes {
        let request = verify_request(envelope)?;
        let member = request.payload().member.clone();
        if requests.insert(member.clone(), request).is_some() {
            return Err(Fault::Twice(member));
        }
    }
    Ok(requests)
}

fn verify_request(envelope: Envelope) -> Result<Verified<JoiningRequest>, Fault> {
    envelope.check_bounds()?;
    let refused = |error| Fault::Verify { document: "joining request".to_owned(), error };
    // A request is made before there is a federation, so whichever is named here does not matter.
    let before = FederationId::from_bytes([0; 32]);
    let request =
        Unverified::<JoiningRequest>::open(envelope).and_then(|open| open.verify(before)).map_err(refused)?;
    let said = request.payload();
    let own = BTreeSet::from([*said.root.as_bytes(), *said.node.as_bytes()]);
    if *request.signers() == own { Ok(request) } else { Err(Fault::RequestSigners(said.member.clone())) }
}

fn follows(entry: &MemberEntry, request: &JoiningRequest) -> bool {
    (entry.kind, entry.alg, entry.root, entry.next, entry.group)
        == (request.kind, request.alg, request.root, request.next, request.group)
}

/// The members that signed: every signature must verify and be a listed root's.
fn signers(opened: Unverified<Charter>, charter: &Charter) -> Result<BTreeSet<MemberCode>, Fault> {
    let refused = |error| Fault::Verify { document: "charter".to_owned(), error };
    let verified = opened.verify(FederationId::from_bytes([0; 32])).map_err(refused)?;
    let member = |key: &[u8; 32]| charter.members.iter().find(|entry| entry.root.as_bytes() == key);
    verified
        .signers()
        .iter()
        .map(|key| member(key).map(|entry| entry.code.clone()).ok_or(Fault::Stranger))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        document::{Signature, sign},
        ids::{ContentHash, Incarnation},
        membership::charter::{MemberKind, MemberStatus, WorkingGroup},
        time::Timestamp,
    };

    use super::*;
    use crate::keyfile::{NodeSecret, RootSecret};

    /// A founding of three, signed by all, and its bytes.
    fn founded() -> (Ceremony, Vec<u8>) {
        let secrets = [1, 2, 3].map(|byte| RootSecret::from_seed(&[byte; 32]));
        let codes = ["BR", "FR", "SG"].map(|code| code.parse::<MemberCode>().unwrap());
        let mut requests = Vec::new();
        let mut members = Vec::new();
        for (code, root) in codes.iter().zip(&secrets) {
            let node = NodeSecret::from_seed(&[root.key().as_bytes()[0]; 32]);
            let next = ContentHash::from_bytes(*root.key().as_bytes());
            let (kind, group, alg) = (MemberKind::of(code), WorkingGroup::Eurasia, Signature::ED25519);
            let request = JoiningRequest {
                member: code.clone(),
                kind,
                group,
                alg,
                root: root.key(),
                next,
                node: node.key(),
                addresses: vec!["node.example:4001".to_owned()],
                created: Timestamp::from_millis(1_800_000_000_000),
            };
            requests.push(sign(&request, None, &[root.signing_key(), node.signing_key()]).unwrap());
            members.push(MemberEntry {
                code: code.clone(),
                kind,
                incarnation: Incarnation(0),
                alg,
                root: root.key(),
                next,
                status: MemberStatus::Active,
                group,
            });
        }
        let charter = Charter {
            version: CharterVersion(1),
            nonce: Some(ContentHash::from_bytes([9; 32])),
            parents: Vec::new(),
            threshold: 2,
            stewards: codes.to_vec(),
            members,
        };
        let draft = Ceremony::draft(&charter, requests.clone()).unwrap();
        let roots: Vec<_> = secrets.iter().map(RootSecret::signing_key).collect();
        let whole = draft.with_signatures_of(sign(&charter, None, &roots).unwrap()).unwrap();
        let bytes = encode(&Content { charter: whole.envelope.clone(), requests }).unwrap();
        (whole, bytes)
    }

    fn parse(bytes: &[u8]) -> Result<Ceremony, Fault> {
        Ceremony::check(decode(bytes, CEREMONY_BYTES_MAX)?)
    }

    #[test]
    fn no_flipped_byte_says_anything_else() {
        let (whole, bytes) = founded();
        assert_eq!(parse(&bytes).unwrap().signed().len(), 3);
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1;
            // A signature of another algorithm is carried along and does not count; everything else is refused.
            if let Ok(accepted) = parse(&flipped) {
                assert_eq!(accepted.id(), whole.id(), "byte {index}");
                assert!(accepted.signed().len() < 3, "byte {index}");
            }
        }
    }

    #[test]
    fn signatures_are_gathered_from_copies_in_any_order() {
        let (whole, _) = founded();
        let alone = |index: usize| {
            let mut envelope = whole.envelope.clone();
            envelope.signatures = vec![envelope.signatures[index].clone()];
            whole.with_signatures_of(envelope).unwrap()
        };
        let gathered = |order: [usize; 4]| {
            let mut copies = order.into_iter().map(alone);
            let mut first = copies.next().unwrap();
            copies.for_each(|copy| first.merge(copy).unwrap());
            first.to_text(Label::Federation, &[]).unwrap()
        };
        assert_eq!(gathered([0, 1, 2, 0]), gathered([2, 2, 1, 0]));
    }

    #[test]
    fn a_charter_follows_its_requests_and_its_signers_are_listed() {
        let (whole, _) = founded();
        let requests: Vec<Envelope> =
            whole.requests.values().map(|it| it.envelope().as_ref().clone()).collect();
        let check = |charter: Envelope, requests: Vec<Envelope>| {
            Ceremony::check(Content { charter, requests }).map(|accepted| accepted.id())
        };
        let code = |text: &str| text.parse::<MemberCode>().unwrap();
        let envelope = || whole.envelope.clone();
        assert_eq!(check(envelope(), requests[1..].to_vec()), Err(Fault::Unmatched(code("BR"))));
        let doubled = [&requests[..], &requests[..1]].concat();
        assert_eq!(check(envelope(), doubled), Err(Fault::Twice(code("BR"))));
        let mut other = whole.charter.clone();
        other.members[1].next = ContentHash::from_bytes([7; 32]);
        let unsigned = sign(&other, None, &[]).unwrap();
        assert_eq!(check(unsigned, requests.clone()), Err(Fault::Differs(code("FR"))));
        let stranger = RootSecret::from_seed(&[8; 32]);
        let signed = sign(&whole.charter, None, &[stranger.signing_key()]).unwrap();
        assert_eq!(check(signed, requests), Err(Fault::Stranger));
    }
}
