//! What a bundle says, once everything in it has been checked: the evidence, what it proves of forks, and what it does
//! not hold. Refuses a bundle of which anything is false or unfounded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    bundle::{Exporter, Frame, words},
    entries::JournalEntries,
    error::AuditError,
    exhibit::Exhibit,
    journal::JournalCheckpoint,
};
use crate::{
    directory::header::{ChainKey, ChainKind, SignedHeader},
    document::Kind,
    evidence::{AnyDocument, Evidence},
    ids::{
        CharterId, DocumentId, Epoch, FederationId, HeaderId, KeySetId, MemberCode, NodeKey, Sequence,
        TreeRoot,
    },
    limits::{AUDIT_FAULTS_SHOWN_MAX, AUDIT_GAPS_SHOWN_MAX},
    membership::{KeyState, LineGeneration, settlement::Voice},
    time::Timestamp,
};

/// Why a bundle is refused: what was found first, and how much more there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// At least one, at most [`AUDIT_FAULTS_SHOWN_MAX`], by line.
    pub faults: Vec<AuditError>,
    /// How many more were found.
    pub more: usize,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> =
            self.faults.iter().map(|fault| format!("{}: {fault}", fault.rule())).collect();
        f.write_str(&lines.join("\n"))?;
        if self.more > 0 {
            write!(f, "\nand {} more", self.more)?;
        }
        Ok(())
    }
}

impl std::error::Error for Refused {}

impl From<AuditError> for Refused {
    fn from(fault: AuditError) -> Self {
        Self { faults: vec![fault], more: 0 }
    }
}

/// A bundle that holds: whole, true, and founded on the pinned federation.
#[derive(Clone, Debug)]
pub struct Audited {
    /// Who wrote it.
    pub exporter: Exporter,
    /// What the bundle says of that node's key.
    pub exporter_state: KeyState,
    /// When, by the exporter's clock.
    pub made: Timestamp,
    /// Its lines.
    pub size: u64,
    /// Their Merkle root, which names the bundle.
    pub root: TreeRoot,
    /// Documents of each kind.
    pub counts: BTreeMap<Kind, u64>,
    /// Documents that are true and count for nothing: above a fork, or of a generation that is broken.
    pub surplus: u64,
    /// How the exporter's journal stood, if the bundle says so.
    pub journal: Option<JournalCheckpoint>,
    /// All of its entries, if the bundle has them.
    pub entries: Option<JournalEntries>,
    /// What they say together.
    pub evidence: Evidence,
    documents: Vec<AnyDocument>,
}

/// Two stories, or more, signed about one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fork {
    /// Where.
    pub place: ForkPlace,
    /// The documents that prove it, by id.
    pub halves: Vec<Exhibit>,
}

/// Where two stories part.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ForkPlace {
    /// Several charter versions follow this one.
    Charter(CharterId),
    /// Several key sets of a member have one number.
    KeySets(LineGeneration, Epoch),
    /// Several headers of a chain have one number.
    Chain(MemberCode, ChainKey, Sequence),
}

/// Something of which the bundle knows that it exists, or ought to, and that is not in it. It is no fault of anybody's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NotHeld {
    /// An active member has no key set in it.
    NoKeySet(MemberCode),
    /// Earlier key sets that a member's key sets name.
    KeySets(MemberCode, BTreeSet<KeySetId>),
    /// An active node has no header of that kind in it.
    NoHeader(MemberCode, NodeKey, ChainKind),
    /// Headers of a chain, from the one number to the other.
    Headers(MemberCode, ChainKey, Sequence, Sequence),
    /// Headers of earlier chains that current key sets name.
    Named(BTreeSet<HeaderId>),
}

/// Reads a bundle and checks all of it against a pinned federation.
///
/// # Errors
/// [`Refused`] with everything that is wrong with it.
pub fn audit(bytes: &[u8], federation: FederationId) -> Result<Audited, Refused> {
    let frame = Frame::read(bytes)?;
    let opened = (0..frame.documents()).map(|index| frame.open(index)).collect();
    Audited::of(&frame, opened, federation)
}

impl Audited {
    /// Judges a bundle whose documents were opened by [`Frame::open`], each in its place.
    ///
    /// # Errors
    /// [`Refused`] with everything that is wrong with it.
    pub fn of(
        frame: &Frame<'_>,
        opened: Vec<Result<AnyDocument, AuditError>>,
        federation: FederationId,
    ) -> Result<Self, Refused> {
        if frame.federation != federation {
            return Err(AuditError::OtherFederation { pinned: federation, got: frame.federation }.into());
        }
        let mut faults = Faults::default();
        check_whole(frame, &mut faults);
        let documents = check_lines(opened, &mut faults);
        let (evidence, surplus) = check_evidence(federation, &documents, &mut faults);
        let journal = frame.journal().unwrap_or_else(|fault| {
            faults.add(fault);
            None
        });
        let entries =
            journal.as_ref().map(|journal| frame.entries(journal, &evidence.membership())).transpose();
        let entries = entries.map(Option::flatten).unwrap_or_else(|fault| {
            faults.add(fault);
            None
        });
        let Exporter { member, node, .. } = frame.exporter.clone();
        let standing = evidence.membership().node_of(&member, &node).map(|standing| standing.state);
        if !frame.is_signed() {
            faults.add(AuditError::ExporterSignature { member, node });
        } else if standing.is_none() {
            faults.add(AuditError::ExporterUnknown { member, node });
        }
        let (size, root) = frame.got;
        let documents: Vec<_> = documents.into_iter().map(|(_, document)| document).collect();
        let mut counts = BTreeMap::new();
        documents.iter().for_each(|document| *counts.entry(document.kind()).or_default() += 1);
        match (standing, faults.into_refused()) {
            (Some(exporter_state), None) => Ok(Self {
                exporter: frame.exporter.clone(),
                exporter_state,
                made: frame.made,
                size,
                root,
                counts,
                surplus,
                journal,
                entries,
                evidence,
                documents,
            }),
            (_, Some(refused)) => Err(refused),
            // A node that nobody lists was a fault above.
            (None, None) => Err(AuditError::Origin(frame.exporter.to_string()).into()),
        }
    }

    /// The documents, by kind and id.
    #[must_use]
    pub fn documents(&self) -> &[AnyDocument] {
        &self.documents
    }

    /// A document of the bundle.
    #[must_use]
    pub fn document(&self, kind: Kind, id: DocumentId) -> Option<&AnyDocument> {
        let place = |document: &AnyDocument| (order(document.kind()), document.id());
        let found = self.documents.binary_search_by_key(&(order(kind), id), place).ok()?;
        self.documents.get(found)
    }

    /// Every fork that the bundle proves, also those that were settled since.
    #[must_use]
    pub fn forks(&self) -> Vec<Fork> {
        let exhibit = |(place, (kind, ids)): (ForkPlace, (Kind, BTreeSet<DocumentId>))| {
            let documents = ids.iter().filter_map(|id| self.document(kind, *id));
            let halves = documents.map(|document| Exhibit::of(document, &self.evidence)).collect();
            Fork { place, halves }
        };
        fork_places(&self.evidence).into_iter().map(exhibit).collect()
    }

    /// What is known to exist and is not in it.
    #[must_use]
    pub fn not_held(&self) -> Vec<NotHeld> {
        let evidence = &self.evidence;
        let (trust, chains, membership) = (evidence.trust(), evidence.chains(), evidence.membership());
        let mut lacking = Vec::new();
        let active = membership.members().filter(|member| member.is_active());
        let without = active.filter(|member| member.key_sets.is_empty() && !member.broken);
        lacking.extend(without.map(|member| NotHeld::NoKeySet(member.code.clone())));
        let mut named = BTreeMap::<MemberCode, BTreeSet<KeySetId>>::new();
        for set in trust.key_sets().map(|set| set.payload()) {
            if trust.is_lost(set) {
                continue;
            }
            let missing = set.ancestors.iter().filter(|id| trust.key_set(id).is_none());
            named.entry(set.member.clone()).or_default().extend(missing);
        }
        let named = named.into_iter().filter(|(_, ids)| !ids.is_empty());
        lacking.extend(named.map(|(member, ids)| NotHeld::KeySets(member, ids)));
        for listing in evidence.listings() {
            for kind in [ChainKind::NodeRecord, ChainKind::ReferencePoint] {
                if evidence.directory().header(listing, kind, self.made).is_none() {
                    lacking.push(NotHeld::NoHeader(listing.member.clone(), listing.node, kind));
                }
            }
        }
        for key in chains.with_gaps() {
            let Some(member) = trust.key_set(&key.key_set).map(|set| &set.payload().member) else { continue };
            let gaps = chains.chain(&key).map(|chain| chain.gaps(AUDIT_GAPS_SHOWN_MAX)).unwrap_or_default();
            lacking
                .extend(gaps.into_iter().map(|(from, to)| NotHeld::Headers(member.clone(), key, from, to)));
        }
        let named: BTreeSet<HeaderId> = chains.missing_names().collect();
        lacking.extend((!named.is_empty()).then_some(NotHeld::Named(named)));
        lacking
    }
}

/// Every place where the evidence has several stories, with the documents that prove it.
pub(super) fn fork_places(evidence: &Evidence) -> BTreeMap<ForkPlace, (Kind, BTreeSet<DocumentId>)> {
    let mut places = BTreeMap::<ForkPlace, (Kind, BTreeSet<DocumentId>)>::new();
    let mut add = |place, kind, id| {
        places.entry(place).or_insert_with(|| (kind, BTreeSet::new())).1.insert(id);
    };
    for charter in evidence.trust().charters() {
        for parent in &charter.payload().parents {
            add(ForkPlace::Charter(*parent), Kind::Charter, charter.id());
        }
    }
    for document in evidence.trust().key_sets() {
        let set = document.payload();
        let Some(of) = evidence.trust().generation_of(set) else { continue };
        let place = ForkPlace::KeySets(of, set.epoch);
        add(place, Kind::KeySet, document.id());
    }
    for (kind, document) in
        [(ChainKind::NodeRecord, Kind::NodeRecord), (ChainKind::ReferencePoint, Kind::ReferencePoint)]
    {
        for (key, chain) in evidence.chains().of_kind(kind) {
            let set = evidence.trust().key_set(&key.key_set);
            let (Some(fork), Some(set)) = (chain.fork(), set) else { continue };
            for half in fork.proof {
                let place = ForkPlace::Chain(set.payload().member.clone(), *key, fork.sequence);
                add(place, document, half.id.into());
            }
        }
    }
    places.retain(|_, (_, ids)| ids.len() > 1);
    places
}

/// AU-04: as many lines, and the same, as the exporter signed.
fn check_whole(frame: &Frame<'_>, faults: &mut Faults) {
    let (said, got) = (frame.said, frame.got);
    if said.0 != got.0 {
        faults.add(AuditError::Count { said: said.0, got: got.0 });
    } else if said.1 != got.1 {
        faults.add(AuditError::Root { said: said.1, got: got.1 });
    }
}

/// AU-05 to AU-07: every line is a document that verifies, in its place and once.
fn check_lines(opened: Vec<Result<AnyDocument, AuditError>>, faults: &mut Faults) -> Vec<(u64, AnyDocument)> {
    let mut documents: Vec<(u64, AnyDocument)> = Vec::with_capacity(opened.len());
    let mut last = None;
    for (index, opened) in opened.into_iter().enumerate() {
        let line = Frame::line_of(index);
        match opened {
            Err(fault) => faults.add(fault),
            Ok(document) => {
                let place = (order(document.kind()), document.id());
                if last == Some(place) {
                    faults.add(AuditError::Doubled { line });
                } else if last.is_some_and(|last| last > place) {
                    faults.add(AuditError::OutOfOrder { line });
                }
                last = Some(place);
                documents.push((line, document));
            }
        }
    }
    documents
}

/// AU-07 and AU-08: taken in by a node's own rules, nothing is refused and everything has what it stands on. Returns
/// also how many documents count for nothing.
fn check_evidence(
    federation: FederationId,
    documents: &[(u64, AnyDocument)],
    faults: &mut Faults,
) -> (Evidence, u64) {
    let (headers, trust): (Vec<_>, Vec<_>) =
        documents.iter().map(|(_, document)| document.clone()).partition(|it| it.header().is_some());
    let (evidence, outcome) = Evidence::restore(federation, trust, headers, std::iter::empty::<&[u8]>());
    let rejected: BTreeMap<DocumentId, _> = outcome.rejected.iter().map(|it| (it.id, it)).collect();
    let mut surplus = 0;
    for (line, document) in documents {
        let (line, what) = (*line, || words(document));
        if let Some(rejection) = rejected.get(&document.id()) {
            let (rule, why) = (rejection.rule, rejection.reason.clone());
            faults.add(AuditError::False { line, what: what(), rule, why });
            continue;
        }
        match place_of(&evidence, document) {
            Place::Held => {}
            Place::Surplus => surplus += 1,
            Place::Without(missing) => faults.add(AuditError::Unfounded { line, what: what(), missing }),
        }
    }
    (evidence, surplus)
}

/// Where a document that was not refused stands.
enum Place {
    Held,
    Surplus,
    Without(Vec<DocumentId>),
}

fn place_of(evidence: &Evidence, document: &AnyDocument) -> Place {
    let trust = evidence.trust();
    let held = match document {
        AnyDocument::Charter(charter) => {
            if trust.charter(&charter.id().into()).is_some() {
                return Place::Held;
            }
            let parents = charter.payload().parents.iter();
            let missing = parents.filter(|id| trust.charter(id).is_none()).map(|id| (*id).into());
            return Place::Without(missing.collect());
        }
        AnyDocument::Settlement(it) => {
            if trust.settlement(&it.span()).is_some_and(|held| held.id() == it.id()) {
                return Place::Held;
            }
            let tips = it.voices().iter().filter_map(Voice::tip);
            let named = tips.chain([it.span().charter, it.span().base]).collect::<BTreeSet<_>>();
            let missing = named.into_iter().filter(|id| trust.charter(id).is_none()).map(Into::into);
            let missing = missing.collect::<Vec<_>>();
            // Another one of the bundle says as much.
            return if missing.is_empty() { Place::Surplus } else { Place::Without(missing) };
        }
        AnyDocument::KeySet(it) => {
            let set = it.payload();
            if trust.key_set(&it.id().into()).is_some() {
                return Place::Held;
            }
            if trust.is_lost(set) {
                return Place::Surplus;
            }
            let charter = Some(set.charter).filter(|id| trust.charter(id).is_none()).map(Into::into);
            let opening = set.named_opening().filter(|id| trust.key_set(id).is_none()).map(Into::into);
            return Place::Without(charter.into_iter().chain(opening).collect());
        }
        AnyDocument::NodeRecord(it) => SignedHeader::new(it),
        AnyDocument::ReferencePoint(it) => SignedHeader::new(it),
    };
    let Ok(header) = held else { return Place::Surplus };
    let key_set = header.header.key_set;
    if trust.key_set(&key_set).is_none() {
        return Place::Without(vec![key_set.into()]);
    }
    let chain = evidence.chains().chain(&header.chain());
    let held = chain.is_some_and(|chain| chain.holds(header.header.sequence, header.id));
    if held { Place::Held } else { Place::Surplus }
}

/// The place of a kind in a bundle.
fn order(kind: Kind) -> usize {
    Kind::EVIDENCE.iter().position(|known| *known == kind).unwrap_or(Kind::EVIDENCE.len())
}

#[derive(Default)]
struct Faults {
    found: Vec<AuditError>,
    more: usize,
}

impl Faults {
    fn add(&mut self, fault: AuditError) {
        if self.found.len() < AUDIT_FAULTS_SHOWN_MAX {
            self.found.push(fault);
        } else {
            self.more += 1;
        }
    }

    fn into_refused(self) -> Option<Refused> {
        let Self { found: faults, more } = self;
        (!faults.is_empty()).then_some(Refused { faults, more })
    }
}
