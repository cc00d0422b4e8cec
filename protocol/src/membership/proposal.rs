//! Proposals: what a next charter version says, whether the rules allow it, and whose signatures it needs.
//!
//! It builds on the newest versions that are held and signs nothing. A proposal that could never become a
//! version is refused here, before anybody is asked to sign it.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Trust, TrustError,
    charter::{Charter, MemberEntry, MemberStatus},
    request::JoiningRequest,
    trust::{check_draft, expected_incarnation, new_roots, stewardship_changes},
};
use crate::{
    document::{FormError, Payload},
    ids::{Incarnation, MemberCode, RootKey},
};

/// One thing that a proposal changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CharterChange {
    /// Lists a member for the first time, or takes it back after it withdrew, with a new incarnation.
    Admit(JoiningRequest),
    /// Cuts a member off until a later version says otherwise.
    Suspend(MemberCode),
    /// Takes a suspended member back.
    Reinstate(MemberCode),
    /// Lets a member go.
    Withdraw(MemberCode),
    /// Names the stewards and how many of them must sign.
    Stewards {
        /// All of them.
        stewards: BTreeSet<MemberCode>,
        /// How many must sign the version after this one.
        threshold: u64,
    },
    /// Gives a member another root key, with a new incarnation.
    ReplaceRoot(JoiningRequest),
}

/// Why a proposal could never become a charter version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposalError {
    /// There is no version that it could follow.
    #[error("no charter version is held that it could follow")]
    NoParent,
    /// It is about a member that the charter does not list.
    #[error("the charter does not list {0}")]
    NotListed(MemberCode),
    /// It gives a member the status that it has, or one that it cannot get from there.
    #[error("{member} is {} in the newest version", name_of(*.is))]
    Status {
        /// The member.
        member: MemberCode,
        /// Its status.
        is: MemberStatus,
    },
    /// It replaces a root key by itself.
    #[error("the request of {0} has the root key that the charter lists already")]
    SameRoot(MemberCode),
    /// Tips list different roots, and the proposal does not say which it is to be.
    #[error("the newest versions list different root keys of {0}; this one must replace it by a third")]
    RootsDiffer(MemberCode),
    /// It changes nothing.
    #[error("it changes nothing")]
    Nothing,
    /// It would break a rule of form.
    #[error("rule {0}")]
    Form(#[from] FormError),
    /// It would break a rule of succession.
    #[error("rule {rule}: {0}", rule = .0.rule())]
    Rule(#[from] TrustError),
}

/// Whose signatures a proposal needs, and which are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignaturesWanted {
    /// The stewards of the version where its parents part: of its parent, as a rule.
    pub before: Quorum,
    /// Its own stewards, if stewards, their root keys or the threshold change.
    pub own: Option<Quorum>,
    /// The roots that it lists for the first time: all sign.
    pub new_roots: Vec<Signatory>,
}

/// Stewards of whom some must sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// How many.
    pub needed: u64,
    /// All who may.
    pub stewards: Vec<Signatory>,
}

/// A root key that may sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatory {
    /// Whose.
    pub member: MemberCode,
    /// The key.
    pub root: RootKey,
    /// Whether it has signed.
    pub has_signed: bool,
}

impl Quorum {
    /// How many have signed.
    #[must_use]
    pub fn got(&self) -> u64 {
        self.stewards.iter().filter(|steward| steward.has_signed).count() as u64
    }

    /// Whether enough have signed.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.got() >= self.needed
    }
}

impl SignaturesWanted {
    /// Whether nothing is missing.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.before.is_met()
            && self.own.as_ref().is_none_or(Quorum::is_met)
            && self.new_roots.iter().all(|root| root.has_signed)
    }

    /// Every root key whose signature serves, each once for each part that it serves.
    pub fn signatories(&self) -> impl Iterator<Item = &Signatory> {
        let own = self.own.iter().flat_map(|own| &own.stewards);
        self.before.stewards.iter().chain(own).chain(&self.new_roots)
    }

    /// Whose root key it is, if its signature serves.
    #[must_use]
    pub fn member_of(&self, root: &RootKey) -> Option<&MemberCode> {
        self.signatories().find(|signatory| signatory.root == *root).map(|signatory| &signatory.member)
    }
}

impl Trust {
    /// The version that follows the newest ones held and makes these changes. It follows all tips: where they
    /// are several, it is the merge that ends the dispute, with the worst status that any of them, or a version
    /// after the one where they part, gives a member.
    ///
    /// # Errors
    /// [`ProposalError`], with the rule if one is broken.
    pub fn propose(&self, changes: &[CharterChange]) -> Result<Charter, ProposalError> {
        let parents: Vec<&Charter> =
            self.charter_tips().iter().filter_map(|id| self.charter(id)).map(|held| held.payload()).collect();
        let (mut draft, mut differ) = self.continued(&parents)?;
        for change in changes {
            if let CharterChange::ReplaceRoot(request) = change {
                differ.remove(&request.member);
            }
            apply(&mut draft, change)?;
        }
        if let Some(member) = differ.pop_first() {
            return Err(ProposalError::RootsDiffer(member));
        }
        for entry in &mut draft.members {
            let before: Vec<_> = parents.iter().filter_map(|parent| parent.member(&entry.code)).collect();
            entry.incarnation =
                if before.is_empty() { Incarnation(0) } else { expected_incarnation(entry, &before) };
        }
        let same = |parent: &&Charter| {
            (&parent.members, &parent.stewards, parent.threshold)
                == (&draft.members, &draft.stewards, draft.threshold)
        };
        if parents.len() == 1 && parents.first().is_some_and(same) {
            return Err(ProposalError::Nothing);
        }
        self.check_proposal(&draft)?;
        Ok(draft)
    }

    /// Checks all of a version after the first that does not depend on signatures.
    ///
    /// # Errors
    /// [`ProposalError`] if a parent is not held, or with the broken rule.
    pub fn check_proposal(&self, charter: &Charter) -> Result<(), ProposalError> {
        if charter.parents.is_empty() || charter.parents.iter().any(|id| self.charter(id).is_none()) {
            return Err(ProposalError::NoParent);
        }
        charter.check_form()?;
        Ok(check_draft(self.history(), charter)?)
    }

    /// Whose signatures a version after the first needs, given who has signed. `None` if its parents are not
    /// held.
    #[must_use]
    pub fn signatures_wanted(
        &self,
        charter: &Charter,
        signers: &BTreeSet<[u8; 32]>,
    ) -> Option<SignaturesWanted> {
        let base = self.history().base(&charter.parents)?;
        let base = self.charter(&base.version)?.payload();
        let signatory = |entry: &MemberEntry| Signatory {
            member: entry.code.clone(),
            root: entry.root,
            has_signed: signers.contains(entry.root.as_bytes()),
        };
        let quorum = |of: &Charter| Quorum {
            needed: of.threshold,
            stewards: of.steward_entries().map(signatory).collect(),
        };
        Some(SignaturesWanted {
            before: quorum(base),
            own: stewardship_changes(base, charter).then(|| quorum(charter)),
            new_roots: new_roots(self.history(), charter).map(signatory).collect(),
        })
    }

    /// What the next version says if nothing changes, and the members about whose root the tips differ.
    fn continued(&self, parents: &[&Charter]) -> Result<(Charter, BTreeSet<MemberCode>), ProposalError> {
        let view = self.membership();
        let base = view.base().and_then(|id| self.charter(&id)).ok_or(ProposalError::NoParent)?.payload();
        let mut members: BTreeMap<MemberCode, MemberEntry> = BTreeMap::new();
        let mut differ = BTreeSet::new();
        for entry in parents.iter().flat_map(|parent| &parent.members) {
            let Some(merged) = members.get_mut(&entry.code) else {
                members.insert(entry.code.clone(), entry.clone());
                continue;
            };
            let worst = merged.status.max(entry.status);
            if entry.incarnation > merged.incarnation {
                *merged = entry.clone();
                differ.remove(&entry.code);
            } else if entry.incarnation == merged.incarnation && entry.root != merged.root {
                differ.insert(entry.code.clone());
            }
            merged.status = worst;
        }
        for (code, entry) in &mut members {
            // A version between may have removed the member, and a tip taken it back: the worst counts.
            let folded = view.member(code).map_or(entry.status, |member| member.status);
            entry.status = entry.status.max(folded);
        }
        let is_active =
            |code: &&MemberCode| members.get(*code).is_some_and(|entry| entry.status == MemberStatus::Active);
        let stewards = base.stewards.iter().filter(is_active).cloned().collect();
        let draft = Charter {
            version: view.version().next().ok_or(ProposalError::NoParent)?,
            nonce: None,
            refounds: None,
            parents: view.tips().to_vec(),
            threshold: base.threshold,
            stewards,
            members: members.into_values().collect(),
        };
        Ok((draft, differ))
    }
}

fn apply(draft: &mut Charter, change: &CharterChange) -> Result<(), ProposalError> {
    match change {
        CharterChange::Admit(request) => admit(draft, request),
        CharterChange::Suspend(code) => {
            set_status(draft, code, MemberStatus::Suspended, |is| is == MemberStatus::Active)
        }
        CharterChange::Reinstate(code) => {
            set_status(draft, code, MemberStatus::Active, |is| is == MemberStatus::Suspended)
        }
        CharterChange::Withdraw(code) => {
            set_status(draft, code, MemberStatus::Withdrawn, |is| is != MemberStatus::Withdrawn)
        }
        CharterChange::Stewards { stewards, threshold } => {
            draft.stewards = stewards.iter().cloned().collect();
            draft.threshold = *threshold;
            Ok(())
        }
        CharterChange::ReplaceRoot(request) => {
            let entry = entry_of(draft, &request.member)?;
            if entry.status == MemberStatus::Withdrawn {
                return Err(ProposalError::Status { member: request.member.clone(), is: entry.status });
            }
            if entry.root == request.root {
                return Err(ProposalError::SameRoot(request.member.clone()));
            }
            follow(entry, request);
            Ok(())
        }
    }
}

fn admit(draft: &mut Charter, request: &JoiningRequest) -> Result<(), ProposalError> {
    let code = &request.member;
    match draft.members.binary_search_by(|entry| entry.code.cmp(code)) {
        Ok(_) => {
            let entry = entry_of(draft, code)?;
            if entry.status != MemberStatus::Withdrawn {
                return Err(ProposalError::Status { member: code.clone(), is: entry.status });
            }
            follow(entry, request);
            entry.status = MemberStatus::Active;
        }
        Err(place) => {
            let entry = MemberEntry {
                code: code.clone(),
                kind: request.kind,
                incarnation: Incarnation(0),
                alg: request.alg,
                root: request.root,
                next: request.next,
                status: MemberStatus::Active,
                group: request.group,
            };
            draft.members.insert(place, entry);
        }
    }
    Ok(())
}

/// Lists what a request asks for.
const fn follow(entry: &mut MemberEntry, request: &JoiningRequest) {
    entry.alg = request.alg;
    entry.root = request.root;
    entry.next = request.next;
    entry.group = request.group;
}

fn set_status(
    draft: &mut Charter,
    code: &MemberCode,
    status: MemberStatus,
    may_follow: impl FnOnce(MemberStatus) -> bool,
) -> Result<(), ProposalError> {
    let entry = entry_of(draft, code)?;
    if !may_follow(entry.status) {
        return Err(ProposalError::Status { member: code.clone(), is: entry.status });
    }
    entry.status = status;
    Ok(())
}

fn entry_of<'a>(draft: &'a mut Charter, code: &MemberCode) -> Result<&'a mut MemberEntry, ProposalError> {
    let found = draft.members.iter_mut().find(|entry| entry.code == *code);
    found.ok_or_else(|| ProposalError::NotListed(code.clone()))
}

const fn name_of(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Active => "active",
        MemberStatus::Suspended => "suspended",
        MemberStatus::Withdrawn => "withdrawn",
    }
}
