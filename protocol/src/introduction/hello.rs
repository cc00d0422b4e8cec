//! What a node says of itself, and the proof with which it turns another away.

use super::{
    Presence,
    frame::{Hello, RefusalCode, Refused},
};
use crate::{
    document::{EncodeError, Envelope, encode},
    ids::{CharterId, DocumentId, KeySetId},
    limits::{
        BODY_BYTES_MAX, GENERATION_MAX, HEADER_BYTES_MAX, HEADER_SIGNATURES_BYTES_MAX,
        INTRODUCTION_FRAME_BYTES_MAX, KEY_SET_BYTES_MAX, KEY_SET_SIGNATURES_BYTES_MAX, KEY_SET_TIPS_MAX,
    },
    membership::Trust,
    time::Timestamp,
};

/// Builds this node's `hello` from the evidence that it has by now.
pub(super) fn hello(presence: &Presence, trust: &Trust, now: Timestamp) -> Hello {
    let record = presence.record.as_ref().filter(|(header, body)| {
        body.len() <= BODY_BYTES_MAX && size_of(header).is_ok_and(|size| size <= HEADER_ENVELOPE_BYTES_MAX)
    });
    let mut tips = trust.charter_tips();
    tips.truncate(HELLO_TIPS_MAX);
    Hello {
        federation: trust.federation(),
        wire: presence.wire.clone(),
        tips,
        settled: settled(trust),
        key_sets: own_key_sets(presence, trust),
        record: record.map(|(header, _)| header.clone()),
        body: record.map(|(_, body)| serde_bytes::ByteBuf::from(body.clone())),
        time: now,
    }
}

/// The newest version that heads settled; `None` for version 1, which everybody knows to be.
pub(super) fn settled(trust: &Trust) -> Option<CharterId> {
    trust.membership().settled().filter(|id| DocumentId::from(*id) != trust.federation().into())
}

/// Checks the form of another's `hello`, and says what is wrong.
pub(super) fn check_hello(hello: &Hello) -> Result<(), &'static str> {
    if !hello.tips.is_sorted_by(|a, b| a < b) {
        return Err("tips are not sorted, or one stands twice");
    }
    if hello.wire.is_empty() || !hello.wire.is_sorted_by(|a, b| a < b) {
        return Err("wire versions are missing or not ascending");
    }
    if hello.key_sets.len() > HELLO_KEY_SETS_MAX {
        return Err("more key sets than are kept as tips and rotations");
    }
    if hello.record.is_some() != hello.body.is_some() {
        return Err("a record without its body, or a body without its record");
    }
    if hello.body.as_ref().is_some_and(|body| body.len() > BODY_BYTES_MAX) {
        return Err("a body beyond its bound");
    }
    Ok(())
}

/// A refusal of a key that was certified once: the documents that ended it, and as many of the charter
/// versions that its holder lacks as fit, ancestors first and key sets last.
pub(super) fn refused_with_proof(
    trust: &Trust,
    code: RefusalCode,
    ended_by: &[DocumentId],
    their_tips: &[CharterId],
) -> Result<Refused, EncodeError> {
    let charter = |id: &DocumentId| trust.charter(&CharterId::from(*id)).cloned();
    let key_set = |id: &DocumentId| trust.key_set(&KeySetId::from(*id)).cloned();
    let mut room = PROOF_BYTES_MAX;
    let mut key_sets = Vec::new();
    for document in ended_by.iter().filter_map(key_set) {
        take(&mut key_sets, document.envelope(), &mut room)?;
    }
    // Versions that the other side lacks make the ones that ended its key verifiable there.
    let mut versions = trust.charters_beyond(their_tips);
    versions.extend(ended_by.iter().filter_map(charter));
    versions.sort_by_key(|version| (version.payload().version, version.id()));
    versions.dedup_by_key(|version| version.id());
    let mut proof = Vec::new();
    for document in versions {
        if !take(&mut proof, document.envelope(), &mut room)? {
            break;
        }
    }
    proof.append(&mut key_sets);
    Ok(Refused { code, proof })
}

/// Takes an envelope along if there is room for it.
fn take(taken: &mut Vec<Envelope>, envelope: &Envelope, room: &mut usize) -> Result<bool, EncodeError> {
    let Some(rest) = room.checked_sub(size_of(envelope)?) else { return Ok(false) };
    *room = rest;
    taken.push(envelope.clone());
    Ok(true)
}

/// The member's key sets that no other names, those that list this node first, and the rotations without which they
/// cannot be verified, as many as fit; for a member that the charter gave a new root, the one that listed this node
/// last.
fn own_key_sets(presence: &Presence, trust: &Trust) -> Vec<Envelope> {
    let view = trust.membership();
    let tips = view.member(&presence.member).map(|member| member.key_sets.clone()).unwrap_or_default();
    let last = || view.node_of(&presence.member, &presence.node).map(|standing| standing.key_set);
    let ids = if tips.is_empty() { last().into_iter().collect() } else { tips };
    let mut sets = ids.iter().filter_map(|id| trust.key_set(id)).collect::<Vec<_>>();
    sets.sort_by_key(|set| (set.payload().node(&presence.node).is_none(), set.id()));
    let openings = sets.first().map_or_else(Vec::new, |set| {
        let (first, set) = (set.id(), set.payload());
        let until = trust.generation_of(set);
        let mut openings = until.map_or_else(Vec::new, |until| trust.openings(&until));
        openings.retain(|opening| opening.id() != first);
        openings
    });
    let listed = sets.len().min(1);
    sets.splice(listed..listed, openings.iter());
    sets.truncate(HELLO_KEY_SETS_MAX);
    let mut room = HELLO_KEY_SETS_BYTES_MAX;
    let mut chosen = Vec::new();
    for set in sets {
        // A held envelope was decoded from bytes, so it has a size; without one it is left out.
        if !take(&mut chosen, set.envelope(), &mut room).unwrap_or(false) {
            break;
        }
    }
    chosen
}

fn size_of(envelope: &Envelope) -> Result<usize, EncodeError> {
    encode(envelope).map(|bytes| bytes.len())
}

/// Tips named in a `hello`: a fork takes stewards who signed twice, so one as a rule.
const HELLO_TIPS_MAX: usize = 64;

/// Key sets in a `hello`: the tips, and the rotations that lead to them.
#[expect(clippy::cast_possible_truncation, reason = "a single digit")]
const HELLO_KEY_SETS_MAX: usize = KEY_SET_TIPS_MAX + GENERATION_MAX as usize;

/// Bytes of key sets in a `hello`: two of the largest, and dozens of the usual ones.
const HELLO_KEY_SETS_BYTES_MAX: usize = 2 * KEY_SET_BYTES_MAX + 1024;

/// Bytes of a record's header in its envelope: the largest that verifies.
const HEADER_ENVELOPE_BYTES_MAX: usize = HEADER_BYTES_MAX + HEADER_SIGNATURES_BYTES_MAX + 256;

/// Bytes of proof in a refusal: a frame less its own fields.
const PROOF_BYTES_MAX: usize = INTRODUCTION_FRAME_BYTES_MAX - 256;

/// The key set that lists a node is never left out, whoever wrapped it anew: newcomers would take its holder
/// for a stranger.
const _: () = assert!(KEY_SET_BYTES_MAX + KEY_SET_SIGNATURES_BYTES_MAX + 256 <= HELLO_KEY_SETS_BYTES_MAX);

const _: () = assert!(
    HELLO_TIPS_MAX * 34 + HELLO_KEY_SETS_BYTES_MAX + HEADER_ENVELOPE_BYTES_MAX + BODY_BYTES_MAX + 1024
        < INTRODUCTION_FRAME_BYTES_MAX
);
