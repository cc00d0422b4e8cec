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
    tips: BTreeSet<CharterId>,
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
        Self { federation, versions: Arc::default(), order: Arc::default(), tips: BTreeSet::new() }
    }

    pub(super) const fn federation(&self) -> FederationId {
        self.federation
    }

    pub(in crate::membership) fn get(&self, id: &CharterId) -> Option<&Arc<Verified<Charter>>> {
        self.versions.get(id).map(|held| &held.document)
    }

    pub(in crate::membership) const fn tips(&self) -> &BTreeSet<CharterId> {
        &self.tips
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
        for parent in &charter.parents {
            self.tips.remove(parent);
        }
        // A version enters after its parents, so none that is held can name this one.
        self.tips.insert(id);
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
