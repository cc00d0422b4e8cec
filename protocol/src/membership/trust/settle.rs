//! Making a certificate, once enough heads name one charter version.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    Trust, root_of,
    settled::{check_voice, members_needed},
};
use crate::{
    document::Verified,
    heads::Head,
    ids::{CharterId, MemberCode},
    limits::SETTLEMENT_BYTES_MAX,
    membership::{
        Membership,
        key_set::KeySet,
        settlement::{Certificate, SettleError, Span, Voice},
    },
};

impl Trust {
    /// The certificate of the newest version that these heads settle and that is not settled yet, `None` if there is
    /// none. Of several nodes of a member one is counted. It counts by the oldest settled version that it can, so that
    /// a newcomer needs few certificates to follow, and takes no more heads than it needs.
    ///
    /// # Errors
    /// [`SettleError`] if the certificate would be too large, or an invariant of ours is broken.
    pub fn settle<'a>(
        &self,
        heads: impl IntoIterator<Item = &'a Arc<Verified<Head>>>,
    ) -> Result<Option<Certificate>, SettleError> {
        let view = self.membership();
        let Some(settled) = view.settled().filter(|settled| view.tips() != [*settled]) else {
            return Ok(None);
        };
        let history = self.history();
        let voices = heads.into_iter().filter_map(|head| self.voice(&view, head)).collect::<Vec<_>>();
        let reached = self.settlements.reached(history);
        let mut candidates = BTreeSet::new();
        for tip in voices.iter().filter_map(Voice::tip).collect::<BTreeSet<_>>() {
            if history.follows(&tip, &settled) {
                let known = |id: &CharterId| reached.iter().any(|version| history.descends(version, id));
                let line = std::iter::successors(Some(tip), |id| history.before(id));
                let unsettled = line.take_while(|id| *id != settled).filter(|id| !known(id));
                candidates
                    .extend(unsettled.map(|id| (history.get(&id).map(|held| held.payload().version), id)));
            }
        }
        let bases = || reached.iter().filter(|base| history.follows(&settled, base));
        for (_, charter) in candidates.into_iter().rev() {
            for base in bases() {
                if let Some(counted) = self.counted(Span { charter, base: *base }, &voices) {
                    let span = Span { charter, base: *base };
                    return Certificate::assemble(span, counted, self.federation()).map(Some);
                }
            }
        }
        Ok(None)
    }

    /// As many members' heads as settle a version, the smallest first; `None` if there are too few.
    fn counted(&self, span: Span, voices: &[Voice]) -> Option<Vec<Voice>> {
        let base = self.charter(&span.base)?.payload();
        let mut of_members = BTreeMap::<&MemberCode, &Voice>::new();
        for voice in voices {
            let names = voice.tip().is_some_and(|tip| self.history().follows(&tip, &span.charter));
            let smaller = of_members.get(voice.member()).is_none_or(|other| voice.size() < other.size());
            if names && smaller && check_voice(base, &voice.spoken()).is_ok() {
                of_members.insert(voice.member(), voice);
            }
        }
        let needed = members_needed(base);
        if of_members.len() < needed {
            return None;
        }
        let mut chosen = of_members.into_values().collect::<Vec<_>>();
        chosen.sort_by_key(|voice| (voice.size(), voice.member().clone()));
        chosen.truncate(needed);
        // What does not fit is tried from another base, or once key sets are shorter.
        let bytes = chosen.iter().map(|voice| voice.size() + VOICE_MARGIN_BYTES).sum::<usize>();
        if bytes + VOICE_MARGIN_BYTES > SETTLEMENT_BYTES_MAX {
            return None;
        }
        chosen.sort_by_key(|voice| voice.member().clone());
        Some(chosen.into_iter().cloned().collect())
    }

    /// A head with the key sets that make its node the member's; `None` if the node's key does not count, or it names
    /// several tips or one that is not held.
    fn voice(&self, view: &Membership, head: &Arc<Verified<Head>>) -> Option<Voice> {
        let payload = head.payload();
        let standing =
            view.node_of(&payload.member, &payload.node).filter(|standing| standing.is_active())?;
        let listing = self.key_set(&standing.key_set)?;
        let mut held = self.openings(&self.generation_of(listing.payload())?);
        held.retain(|opening| opening.id() != listing.id());
        held.push(Arc::clone(listing));
        // Whoever passed these on may have wrapped them anew, with signatures that nobody needs.
        let mut key_sets = Vec::with_capacity(held.len());
        let mut opening: Option<&KeySet> = None;
        for set in &held {
            let root =
                root_of(self.charter(&set.payload().charter)?.payload(), opening, set.payload()).ok()?;
            key_sets.push(Arc::new(set.signed_alone_by(root.as_bytes())?));
            opening = Some(set.payload());
        }
        let head = Arc::new(head.signed_alone_by(payload.node.as_bytes())?);
        let voice = Voice { head, key_sets };
        voice.tip().is_some_and(|tip| self.charter(&tip).is_some()).then_some(voice)
    }
}

/// Bytes of a voice's field names and lengths: 17 and at most 20; the settlement's own two ids and fields need 110.
const VOICE_MARGIN_BYTES: usize = 128;
