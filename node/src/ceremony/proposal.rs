//! A later charter version as it travels: with the versions that it builds on, the joining requests behind it,
//! the first key sets of those whom it admits, and the signatures so far.
//!
//! Because the versions before it travel along, everybody can check it against the federation's fingerprint
//! alone. It refuses what the rules would reject, signatures that do not serve, requests that the charter does not
//! follow, and key sets of anybody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use refpoint_protocol::{
    document::{Envelope, Unverified, Verified, encode, sign},
    ids::{CharterId, CharterVersion, Epoch, FederationId, Generation, MemberCode, NodeKey},
    membership::{
        Acceptance, Trust, TrustError,
        charter::Charter,
        check_key_set,
        key_set::{KeySet, NodeState},
        proposal::SignaturesWanted,
        request::JoiningRequest,
    },
};

use super::{Content, Fault, Hint, checked_requests, hints_of};
use crate::{
    armor::{Label, armor},
    keyfile::RootSecret,
};

/// A charter version after the first, on its way.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The versions before it, and nothing else.
    before: Trust,
    charter: Charter,
    envelope: Envelope,
    requests: BTreeMap<MemberCode, Verified<JoiningRequest>>,
    key_sets: BTreeMap<MemberCode, Envelope>,
    hints: Vec<Hint>,
    wanted: SignaturesWanted,
}

impl Proposal {
    /// Puts a proposal together. What was checked when it was made is checked again.
    ///
    /// # Errors
    /// [`Fault`] with the broken rule.
    pub fn draft(
        before: &Trust,
        charter: &Charter,
        requests: Vec<Envelope>,
        hints: Vec<Hint>,
    ) -> Result<Self, Fault> {
        Self::check(Content {
            charter: sign(charter, Some(before.federation()), &[])?,
            requests,
            versions: before.applied_charters().map(|held| held.envelope().as_ref().clone()).collect(),
            key_sets: Vec::new(),
            hints,
        })
    }

    /// The file's text, with `comment` before the block.
    ///
    /// # Errors
    /// [`Fault::Encode`]: an invariant of ours is broken.
    pub fn to_text(&self, label: Label, comment: &[String]) -> Result<String, Fault> {
        Ok(armor(label, comment, &encode(&self.content(self.envelope.clone()))?))
    }

    /// Takes over the signatures and key sets of another copy of the same proposal.
    ///
    /// # Errors
    /// [`Fault::OtherCharter`]; [`Fault::KeySet`] if a member made two first key sets.
    pub fn merge(&mut self, other: Self) -> Result<(), Fault> {
        if self.id() != other.id() {
            return Err(Fault::OtherCharter { expected: self.id(), got: other.id() });
        }
        let mut content = self.content(self.envelope.clone());
        for signature in other.envelope.signatures {
            if content.charter.signatures.iter().all(|held| held.key != signature.key) {
                content.charter.signatures.push(signature);
            }
        }
        content.charter.signatures.sort_by(|one, two| one.key.cmp(&two.key));
        for (member, key_set) in other.key_sets {
            match self.key_sets.get(&member) {
                None => content.key_sets.push(key_set),
                Some(held) if held.id(Some(self.federation())) == key_set.id(Some(self.federation())) => {}
                Some(_) => return Err(Fault::KeySet(member)),
            }
        }
        *self = Self::check(content)?;
        Ok(())
    }

    /// The same with a further signature, and with the first key set of a member that it admits.
    ///
    /// # Errors
    /// [`Fault::Stranger`] if the root's signature does not serve; [`Fault`] if a rule is broken.
    pub fn signed_by(&self, root: &RootSecret, key_set: Option<Envelope>) -> Result<Self, Fault> {
        let signed = sign(&self.charter, Some(self.federation()), &[root.signing_key()])?;
        let mut copy = self.content(signed);
        copy.key_sets.extend(key_set);
        let mut whole = self.clone();
        whole.merge(Self::check(copy)?)?;
        Ok(whole)
    }

    /// Lets the rules themselves say that it is a version of the charter.
    ///
    /// # Errors
    /// Why not, with the rule.
    pub fn accepted(&self) -> Result<Trust, String> {
        let verified = Unverified::<Charter>::open(self.envelope.clone())
            .and_then(|open| open.verify(self.federation()))
            .map_err(|error| error.to_string())?;
        let mut after = self.before.clone();
        match after.accept_charter(Arc::new(verified)) {
            Ok(_) => Ok(after),
            Err(error) => Err(format!("rule {}: {error}", error.rule())),
        }
    }

    /// What the version says.
    #[must_use]
    pub const fn charter(&self) -> &Charter {
        &self.charter
    }

    /// The version with its signatures so far.
    #[must_use]
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// Its document id.
    #[must_use]
    pub fn id(&self) -> CharterId {
        self.envelope.id(Some(self.federation())).into()
    }

    /// The federation.
    #[must_use]
    pub const fn federation(&self) -> FederationId {
        self.before.federation()
    }

    /// The versions that it builds on.
    #[must_use]
    pub const fn before(&self) -> &Trust {
        &self.before
    }

    /// The versions that it follows.
    pub fn parents(&self) -> impl Iterator<Item = &Charter> {
        self.charter.parents.iter().filter_map(|id| self.before.charter(id)).map(|held| held.payload())
    }

    /// What units asked for.
    #[must_use]
    pub const fn requests(&self) -> &BTreeMap<MemberCode, Verified<JoiningRequest>> {
        &self.requests
    }

    /// The first key sets of those whom it admits, as far as they are there.
    #[must_use]
    pub const fn key_sets(&self) -> &BTreeMap<MemberCode, Envelope> {
        &self.key_sets
    }

    /// Whose signatures it needs, and which are there.
    #[must_use]
    pub const fn wanted(&self) -> &SignaturesWanted {
        &self.wanted
    }

    /// The members that it admits or gives another root, which have not made their first key set under it yet.
    pub fn without_key_set(&self) -> impl Iterator<Item = &MemberCode> {
        self.requests.keys().filter(|member| !self.key_sets.contains_key(*member))
    }

    /// Where nodes of members said that they are: hints for the first dial, not evidence.
    #[must_use]
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = hints_of(&self.requests);
        let known: BTreeSet<NodeKey> = hints.iter().map(|hint| hint.node).collect();
        hints.extend(self.hints.iter().filter(|hint| !known.contains(&hint.node)).cloned());
        hints
    }

    pub(super) fn check(content: Content) -> Result<Self, Fault> {
        let Content { charter: envelope, requests, versions, key_sets, hints } = content;
        let before = history(versions)?;
        envelope.check_bounds()?;
        let refused = |error| Fault::Verify { document: "charter".to_owned(), error };
        let opened = Unverified::<Charter>::open(envelope.clone()).map_err(refused)?;
        let charter = opened.claimed().clone();
        // What is shown and signed again must be all that is there.
        if encode(&charter)? != envelope.payload {
            return Err(Fault::Newer);
        }
        // Every version that travels along is one that it builds on, so that its parents are the tips.
        if charter.parents != before.charter_tips() {
            return Err(Fault::Versions);
        }
        before
            .check_proposal(&charter)
            .map_err(|error| Fault::Rule { document: "charter", reason: error.to_string() })?;
        let signers = if envelope.signatures.is_empty() {
            BTreeSet::new()
        } else {
            opened.verify(before.federation()).map_err(refused)?.signers().clone()
        };
        let wanted = before.signatures_wanted(&charter, &signers).ok_or(Fault::Versions)?;
        let serves = |key: &[u8; 32]| wanted.signatories().any(|it| it.root.as_bytes() == key);
        if !signers.iter().all(serves) {
            return Err(Fault::Stranger);
        }
        let requests = checked_requests(requests)?;
        check_requests(&before, &charter, &wanted, &requests)?;
        let mut proposal =
            Self { before, charter, envelope, requests, key_sets: BTreeMap::new(), hints, wanted };
        for key_set in key_sets {
            proposal.take_key_set(key_set)?;
        }
        Ok(proposal)
    }

    fn take_key_set(&mut self, envelope: Envelope) -> Result<(), Fault> {
        envelope.check_bounds()?;
        let refused = |error| Fault::Verify { document: "key set".to_owned(), error };
        let verified = Unverified::<KeySet>::open(envelope.clone())
            .and_then(|open| open.verify(self.federation()))
            .map_err(refused)?;
        let set = verified.payload();
        check_key_set(&self.charter, None, &verified).map_err(|error| broken(&error, "key set"))?;
        let member = set.member.clone();
        let asked = self.requests.get(&member).map(|request| request.payload().node);
        let lists = |node: NodeKey| matches!(set.nodes.as_slice(), [only] if only.key == node && only.state == NodeState::Active);
        let first = (set.charter, set.generation, set.epoch) == (self.id(), Generation(0), Epoch(0));
        if !first || !asked.is_some_and(lists) || self.key_sets.contains_key(&member) {
            return Err(Fault::KeySet(member));
        }
        self.key_sets.insert(member, envelope);
        Ok(())
    }

    fn content(&self, charter: Envelope) -> Content {
        Content {
            charter,
            requests: self.requests.values().map(|request| request.envelope().as_ref().clone()).collect(),
            versions: self.before.charters().map(|held| held.envelope().as_ref().clone()).collect(),
            key_sets: self.key_sets.values().cloned().collect(),
            hints: self.hints.clone(),
        }
    }
}

/// The versions before, each accepted by the rules; the first founds the federation.
fn history(versions: Vec<Envelope>) -> Result<Trust, Fault> {
    let refused = |error| Fault::Verify { document: "charter history".to_owned(), error };
    let founding = versions.first().ok_or(Fault::Versions)?;
    founding.check_bounds()?;
    let opened = Unverified::<Charter>::open(founding.clone()).map_err(refused)?;
    if opened.claimed().version != CharterVersion(1) {
        return Err(Fault::Versions);
    }
    let federation = FederationId::from(founding.id(None));
    let mut trust = Trust::new(federation);
    for envelope in versions {
        envelope.check_bounds()?;
        let verified = Unverified::<Charter>::open(envelope)
            .and_then(|open| open.verify(federation))
            .map_err(refused)?;
        match trust.accept_charter(Arc::new(verified)) {
            Ok(Acceptance::New) => {}
            Ok(_) => return Err(Fault::Versions),
            Err(error) => return Err(broken(&error, "charter history")),
        }
    }
    Ok(trust)
}

/// Each new root key is one that its unit asked for, and each request is about something that changes.
fn check_requests(
    before: &Trust,
    charter: &Charter,
    wanted: &SignaturesWanted,
    requests: &BTreeMap<MemberCode, Verified<JoiningRequest>>,
) -> Result<(), Fault> {
    if let Some(root) = wanted.new_roots.iter().find(|root| !requests.contains_key(&root.member)) {
        return Err(Fault::Unmatched(root.member.clone()));
    }
    for (member, request) in requests {
        let entry = charter.member(member).ok_or_else(|| Fault::Unmatched(member.clone()))?;
        let is_old = |id: &CharterId| {
            let listed = before.charter(id).and_then(|held| held.payload().member(member));
            listed.is_some_and(|earlier| earlier.incarnation == entry.incarnation)
        };
        if charter.parents.iter().any(is_old) {
            return Err(Fault::Unmatched(member.clone()));
        }
        if !super::follows(entry, request.payload()) {
            return Err(Fault::Differs(member.clone()));
        }
    }
    Ok(())
}

fn broken(error: &TrustError, document: &'static str) -> Fault {
    Fault::Rule { document, reason: format!("rule {}: {error}", error.rule()) }
}
