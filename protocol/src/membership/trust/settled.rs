//! Which charter version is settled, by the certificates that are held.
//!
//! A certificate counts the members of its base, so it is worth something only if that is settled: what stands beside
//! settled versions may list whom it likes. Everything here is a pure function of the certificates and of the versions
//! that they name, the same in every order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Acceptance, CharterHistory, check_listed};
use crate::{
    ids::{CharterId, CharterVersion, DocumentId, MemberCode, RootKey},
    membership::{
        TrustError,
        charter::{Charter, MemberStatus},
        settlement::{Certificate, ClaimedCertificate, Span, Spoken, Voice},
    },
};

/// The certificates that are held: none that another one makes needless.
#[derive(Clone, Debug, Default)]
pub(in crate::membership) struct Settlements {
    spans: Arc<BTreeMap<Span, Arc<Certificate>>>,
    /// Certificates that were let go since this was last asked.
    superseded: BTreeSet<DocumentId>,
}

/// What the certificates say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::membership) struct Settled {
    /// The newest settled version; version 1 is settled by itself, since everybody pins it.
    pub(in crate::membership) version: CharterId,
    /// Newest settled versions of which none builds on another: none of them counts, only what all build on.
    pub(in crate::membership) contradicting: Vec<CharterId>,
}

impl Settlements {
    /// What would become of a certificate if its signatures verify. What costs least comes first.
    pub(super) fn judge(
        &self,
        history: &CharterHistory,
        claim: &ClaimedCertificate,
    ) -> Result<Acceptance, TrustError> {
        let span = claim.span();
        if self.is_covered(history, span) {
            return Ok(Acceptance::Surplus);
        }
        let spoken = claim.spoken().collect::<Vec<_>>();
        let missing = missing(history, span, &spoken);
        if !missing.is_empty() {
            return Ok(Acceptance::Pending(missing));
        }
        check(history, span, &spoken).map(|()| Acceptance::New)
    }

    /// Takes a certificate.
    pub(super) fn accept(
        &mut self,
        history: &CharterHistory,
        certificate: Arc<Certificate>,
    ) -> Result<Acceptance, TrustError> {
        let span = certificate.span();
        let spoken = certificate.voices().iter().map(Voice::spoken).collect::<Vec<_>>();
        let missing = missing(history, span, &spoken);
        if !missing.is_empty() {
            return Ok(Acceptance::Pending(missing));
        }
        check(history, span, &spoken)?;
        if self.spans.contains_key(&span) {
            return Ok(Acceptance::Known);
        }
        if self.spans.keys().any(|held| covers(history, *held, span)) {
            return Ok(Acceptance::Surplus);
        }
        let spans = Arc::make_mut(&mut self.spans);
        let superseded = &mut self.superseded;
        spans.retain(|held, document| {
            let stays = !covers(history, span, *held);
            if !stays {
                superseded.insert(document.id());
            }
            stays
        });
        spans.insert(span, certificate);
        Ok(Acceptance::New)
    }

    pub(super) fn get(&self, span: &Span) -> Option<&Arc<Certificate>> {
        self.spans.get(span)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.spans.values()
    }

    pub(super) fn take_superseded(&mut self) -> BTreeSet<DocumentId> {
        std::mem::take(&mut self.superseded)
    }

    /// Whether what a span says is said by a certificate that is held.
    pub(super) fn is_covered(&self, history: &CharterHistory, span: Span) -> bool {
        self.spans.keys().any(|held| covers(history, *held, span))
    }

    /// The certificates that count: each by a base that is settled itself. Those of the oldest versions first.
    pub(super) fn counting(&self, history: &CharterHistory) -> Vec<&Arc<Certificate>> {
        let Some(founding) = history.founding() else { return Vec::new() };
        let mut reached = BTreeSet::from([founding]);
        let (mut open, mut counting) = (self.spans.iter().collect::<Vec<_>>(), Vec::new());
        loop {
            let counts = |(span, _): &(&Span, &Arc<Certificate>)| {
                reached.iter().any(|settled| history.follows(settled, &span.base))
            };
            let (found, rest): (Vec<_>, Vec<_>) = open.into_iter().partition(counts);
            if found.is_empty() {
                break;
            }
            reached.extend(found.iter().map(|(span, _)| span.charter));
            counting.extend(found.into_iter().map(|(_, certificate)| certificate));
            open = rest;
        }
        counting.sort_by_key(|held| (version_of(history, &held.span().charter), held.span()));
        counting
    }

    /// Version 1 and the versions that certificates settle, oldest first.
    pub(super) fn reached(&self, history: &CharterHistory) -> Vec<CharterId> {
        let settled = self.counting(history).into_iter().map(|held| held.span().charter);
        let mut reached = history.founding().into_iter().chain(settled).collect::<Vec<_>>();
        // Several certificates of one version stand beside each other.
        reached.dedup();
        reached
    }

    /// What is settled; `None` before version 1 is held.
    pub(super) fn settled(&self, history: &CharterHistory) -> Option<Settled> {
        let reached = self.reached(history);
        let newest =
            |id: &&CharterId| !reached.iter().any(|other| other != *id && history.descends(other, id));
        let newest = reached.iter().filter(newest).copied().collect::<Vec<_>>();
        let version = history.base(&newest)?.version;
        let contradicting = if newest.len() > 1 { newest } else { Vec::new() };
        Some(Settled { version, contradicting })
    }

    /// The members who are counted for several of these versions.
    pub(super) fn counted_for_several(&self, versions: &[CharterId]) -> BTreeSet<MemberCode> {
        let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
        for version in versions {
            let of = self.spans.iter().filter(|(span, _)| span.charter == *version);
            let members = of.flat_map(|(_, held)| held.voices()).map(|voice| voice.member().clone());
            for member in members.collect::<BTreeSet<_>>() {
                if !seen.insert(member.clone()) {
                    twice.insert(member);
                }
            }
        }
        twice
    }
}

fn version_of(history: &CharterHistory, id: &CharterId) -> Option<CharterVersion> {
    history.get(id).map(|held| held.payload().version)
}

/// The versions that a certificate names and that are not held.
fn missing(history: &CharterHistory, span: Span, voices: &[Spoken<'_>]) -> BTreeSet<DocumentId> {
    let named = voices.iter().filter_map(Spoken::tip).chain([span.charter, span.base]);
    named.filter(|id| history.get(id).is_none()).map(DocumentId::from).collect()
}

/// Checks what a certificate says whose versions are all held.
fn check(history: &CharterHistory, span: Span, voices: &[Spoken<'_>]) -> Result<(), TrustError> {
    if span.charter == span.base || !history.follows(&span.charter, &span.base) {
        return Err(TrustError::SettledBase { charter: span.charter, base: span.base });
    }
    // It is held: nothing was missing.
    let Some(base) = history.get(&span.base) else { return Ok(()) };
    let (needed, got) = (members_needed(base.payload()), voices.len());
    if got < needed {
        return Err(TrustError::SettledCount { needed, got });
    }
    for voice in voices {
        check_voice(base.payload(), voice)?;
        if !voice.tip().is_some_and(|tip| history.follows(&tip, &span.charter)) {
            let member = voice.head.member.clone();
            return Err(TrustError::SettledTip { member, charter: span.charter });
        }
    }
    Ok(())
}

/// Checks that a head is an active member's, by a root key that `base` lists.
pub(super) fn check_voice(base: &Charter, voice: &Spoken<'_>) -> Result<(), TrustError> {
    let member = &voice.head.member;
    if base.member(member).is_none_or(|entry| entry.status != MemberStatus::Active) {
        return Err(TrustError::SettledMember(member.clone()));
    }
    let mut opening = None;
    for listed in &voice.key_sets {
        let strange = |why| TrustError::SettledKeySet { member: member.clone(), why: Box::new(why) };
        let is_signer = |root: &RootKey| listed.signer == Some(*root.as_bytes());
        check_listed(base, opening, listed.set, is_signer).map_err(strange)?;
        opening = Some(listed.set);
    }
    Ok(())
}

/// How many members are more than two thirds of a version's active ones.
pub(in crate::membership) fn members_needed(base: &Charter) -> usize {
    let active = base.members.iter().filter(|entry| entry.status == MemberStatus::Active).count();
    active * 2 / 3 + 1
}

/// Whether the first certificate says all that the second says: from no later base to no earlier version.
fn covers(history: &CharterHistory, one: Span, other: Span) -> bool {
    history.descends(&other.base, &one.base) && history.descends(&one.charter, &other.charter)
}
