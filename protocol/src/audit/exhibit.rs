//! A signed document laid open: the bytes that were signed, and who signed them.

use crate::{
    document::{Envelope, Kind, Signature, signed_bytes},
    evidence::{AnyDocument, Evidence},
    ids::{CharterVersion, DocumentId, FederationId, MemberCode},
    time::Timestamp,
};

/// A document as anybody can check it with nothing but Ed25519 and SHA-256.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhibit {
    /// Its id: SHA-256 of what is signed.
    pub id: DocumentId,
    /// Its kind.
    pub kind: Kind,
    /// The bytes that were signed.
    pub signed: Vec<u8>,
    /// When its signer says to have signed it; charter versions carry no date.
    pub issued: Option<Timestamp>,
    /// Who signed.
    pub signers: Vec<Signer>,
}

/// One signature of a known algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// Whose key it is, as far as the evidence says.
    pub member: Option<MemberCode>,
    /// The Ed25519 key.
    pub key: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
}

impl Exhibit {
    /// Lays a document open; its signers are named from the evidence.
    #[must_use]
    pub fn of(document: &AnyDocument, evidence: &Evidence) -> Self {
        let Envelope { kind, version, payload, signatures } = document.envelope().as_ref();
        let domain = domain(document, evidence.federation());
        let known = signatures.iter().filter(|signature| signature.alg == Signature::ED25519);
        let signers = known.map(|signature| Signer {
            member: member_of(document, evidence, &signature.key),
            key: signature.key.clone(),
            signature: signature.sig.clone(),
        });
        Self {
            id: document.id(),
            kind: document.kind(),
            signed: signed_bytes(kind, *version, domain, payload),
            issued: issued(document),
            signers: signers.collect(),
        }
    }
}

fn domain(document: &AnyDocument, federation: FederationId) -> Option<FederationId> {
    let founds = matches!(document, AnyDocument::Charter(it) if it.payload().version == CharterVersion(1));
    (!founds).then_some(federation)
}

fn issued(document: &AnyDocument) -> Option<Timestamp> {
    match document {
        AnyDocument::Charter(_) | AnyDocument::Settlement(_) => None,
        AnyDocument::KeySet(set) => Some(set.payload().issued),
        AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => {
            document.header().map(|header| header.issued)
        }
    }
}

/// Key sets and headers are their member's own; whose a root under a charter version is, some version says.
fn member_of(document: &AnyDocument, evidence: &Evidence, key: &[u8]) -> Option<MemberCode> {
    match document {
        AnyDocument::KeySet(set) => Some(set.payload().member.clone()),
        AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => {
            document.header().map(|header| header.member.clone())
        }
        // Nobody signs it.
        AnyDocument::Settlement(_) => None,
        AnyDocument::Charter(own) => {
            let held = evidence.trust().charters().chain([own]);
            let mut entries = held.flat_map(|version| &version.payload().members);
            entries.find(|entry| entry.root.as_bytes() == key).map(|entry| entry.code.clone())
        }
    }
}
