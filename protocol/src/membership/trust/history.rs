//! The charter versions that are held, as the graph that their parents make.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    document::Verified,
    ids::{CharterId, CharterVersion, DocumentId, FederationId, MemberCode, RootKey},
    membership::charter::Charter,
};

/// Charter versions, each with all its ancestors.
#[derive(Clone, Debug)]
pub(in crate::membership) struct CharterHistory {
    federation: FederationId,
    versions: Arc<BTreeMap<CharterId, Held>>,
    /// By version, so that ancestors come first.
    order: Arc<BTreeSet<(CharterVersion, CharterId)>>,
}

/// One version with every root that it or an ancestor lists, and whose it was.
#[derive(Clone, Debug)]
struct Held {
    document: Arc<Verified<Charter>>,
    roots: Arc<BTreeMap<RootKey, MemberCode>>,
}

/// Where several versions part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::membership) struct Base {
    /// The latest version through which every line of descent to the given ones passes.
    pub(in crate::membership) version: CharterId,
    /// The given versions and all between them and the base.
    pub(in crate::membership) after: BTreeSet<CharterId>,
}

impl CharterHistory {
    pub(super) fn new(federation: FederationId) -> Self {
        Self { federation, versions: Arc::default(), order: Arc::default() }
    }

    pub(super) const fn federation(&self) -> FederationId {
        self.federation
    }

    pub(in crate::membership) fn get(&self, id: &CharterId) -> Option<&Arc<Verified<Charter>>> {
        self.versions.get(id).map(|held| &held.document)
    }

    /// All versions, ancestors first.
    pub(in crate::membership) fn in_order(&self) -> impl Iterator<Item = &Arc<Verified<Charter>>> {
        self.order.iter().filter_map(|(_, id)| self.get(id))
    }

    pub(super) fn missing_parents(&self, document: &Verified<Charter>) -> BTreeSet<DocumentId> {
        let parents = document.payload().parents.iter();
        parents.filter(|parent| !self.versions.contains_key(parent)).map(|parent| (*parent).into()).collect()
    }

    /// Whose a root was in these versions and their ancestors.
    pub(super) fn root_owner(&self, versions: &[CharterId], root: &RootKey) -> Option<&MemberCode> {
        versions.iter().find_map(|id| self.versions.get(id)?.roots.get(root))
    }

    /// Takes a version that was checked.
    pub(super) fn insert(&mut self, document: Arc<Verified<Charter>>) {
        let charter = document.payload();
        let mut roots = Arc::<BTreeMap<RootKey, MemberCode>>::default();
        for parent in charter.parents.iter().filter_map(|parent| self.versions.get(parent)) {
            if roots.is_empty() {
                roots = Arc::clone(&parent.roots);
            } else {
                let other = parent.roots.iter().map(|(root, code)| (*root, code.clone()));
                Arc::make_mut(&mut roots).extend(other);
            }
        }
        for entry in &charter.members {
            if !roots.contains_key(&entry.root) {
                Arc::make_mut(&mut roots).insert(entry.root, entry.code.clone());
            }
        }
        let id = CharterId::from(document.id());
        Arc::make_mut(&mut self.order).insert((charter.version, id));
        Arc::make_mut(&mut self.versions).insert(id, Held { document, roots });
    }

    /// These versions, as far as they are held, and all their ancestors.
    pub(in crate::membership) fn closure(&self, versions: &[CharterId]) -> BTreeSet<CharterId> {
        let mut found = BTreeSet::new();
        let mut open = versions.to_vec();
        while let Some(id) = open.pop() {
            if let Some(held) = self.versions.get(&id)
                && found.insert(id)
            {
                open.extend(held.document.payload().parents.iter().copied());
            }
        }
        found
    }

    /// Version 1, once it is held.
    pub(in crate::membership) fn founding(&self) -> Option<CharterId> {
        let id = CharterId::from(DocumentId::from(self.federation));
        self.versions.contains_key(&id).then_some(id)
    }

    /// Whether a version is another one or builds on it, by any line of descent.
    pub(in crate::membership) fn descends(&self, id: &CharterId, of: &CharterId) -> bool {
        self.lines_back(id, of).any(|end| end == *of)
    }

    /// Whether every line of descent of a version passes through another one, or it is that.
    pub(in crate::membership) fn follows(&self, id: &CharterId, of: &CharterId) -> bool {
        self.get(id).is_some() && self.lines_back(id, of).all(|end| end == *of)
    }

    /// The versions that follow one, with itself.
    pub(in crate::membership) fn followers(&self, of: CharterId) -> BTreeSet<CharterId> {
        let mut found = BTreeSet::from([of]);
        for held in self.in_order() {
            let parents = &held.payload().parents;
            if !parents.is_empty() && parents.iter().all(|parent| found.contains(parent)) {
                found.insert(held.id().into());
            }
        }
        found
    }

    /// The latest version before this one that every line of descent passes through.
    pub(in crate::membership) fn before(&self, id: &CharterId) -> Option<CharterId> {
        self.base(&self.get(id)?.payload().parents).map(|base| base.version)
    }

    /// Where the lines of descent of a version end that are followed back as far as another one, or as its number.
    fn lines_back(&self, id: &CharterId, until: &CharterId) -> impl Iterator<Item = CharterId> {
        let least = self.get(until).map(|held| held.payload().version).unwrap_or_default();
        let mut seen = BTreeSet::from([*id]);
        let mut open = vec![*id];
        let mut ends = Vec::new();
        while let Some(id) = open.pop() {
            let Some(held) = self.get(&id).map(|held| held.payload()) else { continue };
            // A version's number is higher than its parents'.
            if held.version <= least {
                ends.push(id);
            } else {
                open.extend(held.parents.iter().copied().filter(|parent| seen.insert(*parent)));
            }
        }
        ends.into_iter()
    }

    /// Where the versions part: their latest common ancestor, and where several would do, the latest that
    /// no line of descent avoids. `None` if none of the versions is held.
    pub(in crate::membership) fn base<'a>(
        &self,
        versions: impl IntoIterator<Item = &'a CharterId>,
    ) -> Option<Base> {
        let numbered = |id: &CharterId| self.get(id).map(|held| (held.payload().version, *id));
        let mut open = versions.into_iter().filter_map(numbered).collect::<BTreeSet<_>>();
        let mut after = BTreeSet::new();
        // The highest version has no descendant among the others: what is left, once it is replaced by
        // its parents, still cuts every line of descent.
        while open.len() > 1
            && let Some((_, highest)) = open.pop_last()
        {
            after.insert(highest);
            let parents = self.get(&highest).into_iter().flat_map(|held| &held.payload().parents);
            open.extend(parents.filter_map(numbered));
        }
        let (_, version) = open.pop_last()?;
        Some(Base { version, after })
    }
}
