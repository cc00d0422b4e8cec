//! Ceremony files: a charter with the joining requests that it was made from, as it travels between members.
//!
//! One content serves the draft (no signature), each member's signed copy (some) and `federation.join` (all),
//! so that every reader sees what is signed and can check it against what each unit asked for. It refuses what
//! is not exactly such a file: other labels, documents out of form, requests that the charter does not follow,
//! signatures that do not verify or that no listed root made.

mod difference;
mod documents;
mod proposal;
#[cfg(test)]
mod proposal_tests;
#[cfg(test)]
mod tests;

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

pub use self::{
    difference::{Difference, differences, status_name},
    documents::{documents_text, read_documents},
    proposal::Proposal,
};
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
    /// A later version that breaks a rule, or whose versions before it do.
    #[error("its {document} breaks {reason}")]
    Rule {
        /// Which.
        document: &'static str,
        /// The rule in VALIDATION.md, and how.
        reason: String,
    },
    /// A later version that carries too few or too many of the versions before it.
    #[error("it does not carry exactly the charter versions that it builds on")]
    Versions,
    /// A key set beside a charter that is not the first one of a member that the charter admits.
    #[error("the key set of {0} is not its first one under this charter, with the node that it asked for")]
    KeySet(MemberCode),
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
        Self::check(Content::founding(envelope, requests))
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
        let content = Content::founding(self.envelope.clone(), requests);
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
        let copy = Self::check(Content::founding(signed, requests))?;
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
        hints_of(&self.requests)
    }

    fn check(content: Content) -> Result<Self, Fault> {
        let Content { charter: envelope, requests: envelopes, .. } = content;
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

/// A ceremony file of either sort.
#[derive(Clone, Debug)]
pub enum AnyCeremony {
    /// Charter version 1.
    Founding(Ceremony),
    /// A later version.
    Later(Proposal),
}

impl AnyCeremony {
    /// Reads a file that holds one of the labels.
    ///
    /// # Errors
    /// [`CeremonyError`]; nothing of a file that is refused is used.
    pub fn read(file: &Path, wanted: &'static [Label]) -> Result<(Label, Self), CeremonyError> {
        let content = |fault| CeremonyError::Content { file: file.to_owned(), fault };
        let (label, bytes) = read_block(file, wanted)?;
        let parsed: Content = decode(&bytes, CEREMONY_BYTES_MAX).map_err(|error| content(error.into()))?;
        let read = if parsed.versions.is_empty() {
            Ceremony::check(parsed).map(Self::Founding)
        } else {
            Proposal::check(parsed).map(Self::Later)
        };
        Ok((label, read.map_err(content)?))
    }
}

impl AnyCeremony {
    /// Takes over the signatures of another copy.
    ///
    /// # Errors
    /// [`Fault::OtherCharter`]; what [`Proposal::merge`] says.
    pub fn merge(&mut self, other: Self) -> Result<(), Fault> {
        match (&mut *self, other) {
            (Self::Founding(whole), Self::Founding(copy)) => whole.merge(copy),
            (Self::Later(whole), Self::Later(copy)) => whole.merge(copy),
            (_, other) => Err(Fault::OtherCharter { expected: self.id(), got: other.id() }),
        }
    }

    fn id(&self) -> CharterId {
        match self {
            Self::Founding(ceremony) => ceremony.id(),
            Self::Later(proposal) => proposal.id(),
        }
    }
}

/// What a ceremony file holds; the last three in later versions alone.
#[derive(Serialize, Deserialize)]
struct Content {
    charter: Envelope,
    requests: Vec<Envelope>,
    /// Every version that the charter builds on, ancestors first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<Envelope>,
    /// The first key sets of the members that it admits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    key_sets: Vec<Envelope>,
    /// Where members' nodes were when it was proposed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hints: Vec<Hint>,
}

impl Content {
    const fn founding(charter: Envelope, requests: Vec<Envelope>) -> Self {
        Self { charter, requests, versions: Vec::new(), key_sets: Vec::new(), hints: Vec::new() }
    }
}

fn hints_of(requests: &BTreeMap<MemberCode, Verified<JoiningRequest>>) -> Vec<Hint> {
    let hint = |request: &Verified<JoiningRequest>| {
        let request = request.payload();
        Hint { member: request.member.clone(), node: request.node, addresses: request.addresses.clone() }
    };
    requests.values().map(hint).collect()
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
