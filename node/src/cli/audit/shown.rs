//! Bundles and what they say of one another, for people and for programs.

pub(super) mod journal;

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use refpoint_protocol::{
    audit::{Audited, ChainPlace, Comparison, Difference, Exhibit, Fork, ForkPlace, NotHeld, Side},
    directory::{
        header::{ChainKey, ChainKind},
        view::{HeaderView, MemberView as Entry},
    },
    document::Kind,
    ids::{CharterId, MemberCode},
    membership::{KeyState, MemberView, charter::MemberStatus},
    time::Timestamp,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    api::views::instant::Instant,
    cli::{human, output::table},
    fingerprint::spoken,
};

/// What a comparison comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Verdict {
    /// One directory.
    Same,
    /// One directory, of which one holds less.
    Behind,
    /// Two stories.
    Contradict,
    /// A node's journal has two pasts. That says nothing of the directories.
    JournalsContradict,
}

impl Verdict {
    pub(super) fn of(comparison: &Comparison) -> Self {
        if !comparison.contradictions.is_empty() {
            Self::Contradict
        } else if !comparison.is_consistent() {
            Self::JournalsContradict
        } else if comparison.is_same() {
            Self::Same
        } else {
            Self::Behind
        }
    }
}

/// Who wrote a bundle, and when.
pub(super) fn exporter(audited: &Audited) -> String {
    let mark = match audited.exporter_state {
        KeyState::Active => "",
        _ => ", whose key is no longer active",
    };
    let (member, node) = (&audited.exporter.member, audited.exporter.node.short());
    format!("exported {} by {member}'s node {node}{mark}", at(audited.made))
}

/// How much is in it.
pub(super) fn counted(audited: &Audited) -> String {
    let count = |kind, name| human::count(audited.counts.get(&kind).copied().unwrap_or_default(), name);
    format!(
        "{}, {}, {} and {}",
        count(Kind::Charter, "charter version"),
        count(Kind::KeySet, "key set"),
        count(Kind::NodeRecord, "node record header"),
        count(Kind::ReferencePoint, "reference point header")
    )
}

/// All that a bundle says.
pub(super) fn report(audited: &Audited) -> String {
    let membership = audited.evidence.membership();
    let federation = spoken(audited.exporter.federation.as_bytes());
    let mut text = format!(
        "exporter    {}\nfederation  {federation}\ncharter     version {}{}, {} of its stewards {} must sign the next\n\
         documents   {}\nroot        {} of {} lines\n\n",
        exporter(audited),
        membership.version(),
        if membership.is_disputed() { ", in dispute" } else { "" },
        membership.threshold(),
        membership.stewards().iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        counted(audited),
        audited.root,
        audited.size,
    );
    text.push_str(&settled(audited));
    if let Some(journal) = &audited.journal {
        let began = at(journal.origin.began);
        text.push_str(&format!(
            "journal     {} entries since {began}, root {}\n",
            journal.size, journal.root
        ));
        text.push_str(&audited.entries.as_ref().map(journal::text).unwrap_or_default());
        text.push('\n');
    }
    let entries = audited.evidence.directory().members(audited.made);
    let rows = membership.members().map(|member| row(member, entry(&entries, member)));
    text.push_str(&table(["MEMBER", "STATUS", "KEY SET", "NODE RECORD", "REFERENCE POINT"], rows));
    let not_held = audited.not_held();
    if not_held.is_empty() {
        text.push_str("\nnothing is missing\n");
    } else {
        text.push_str("\nnot held, and no fault:\n");
        not_held.iter().for_each(|it| text.push_str(&format!("  {}\n", lacking(it))));
    }
    if audited.surplus > 0 {
        text.push_str(&format!(
            "\n{} documents count for nothing: they stand above a fork\n",
            audited.surplus
        ));
    }
    let forks = audited.forks();
    if forks.is_empty() {
        text.push_str("\nno forks\n");
    }
    forks.iter().for_each(|fork| text.push_str(&format!("\n{}", fork_text(fork))));
    text.push_str("\nThe contents of entries are not in a bundle; headers carry their hashes.\n");
    text
}

/// Which charter version is settled, and what stands beside it.
fn settled(audited: &Audited) -> String {
    let (membership, trust) = (audited.evidence.membership(), audited.evidence.trust());
    let version = |id: &CharterId| trust.charter(id).map(|held| held.payload().version).unwrap_or_default();
    let names =
        |members: BTreeSet<MemberCode>| members.iter().map(MemberCode::as_str).collect::<Vec<_>>().join(", ");
    let Some(settled) = membership.settled() else { return String::new() };
    let mut text = format!("settled     version {} ({})\n", version(&settled), settled.short());
    for id in membership.ignored() {
        let signers = names(trust.stewards_who_signed(id));
        let (number, id) = (version(id), id.short());
        text.push_str(&format!(
            "            version {number} ({id}) stands beside it, signed by {signers}: not applied\n"
        ));
    }
    if !membership.contradicting().is_empty() {
        let ids: Vec<_> = membership.contradicting().iter().map(CharterId::short).collect();
        let members = names(trust.counted_for_several());
        text.push_str(&format!(
            "            {} are settled by heads too and contradict each other; {members} signed for several\n",
            ids.join(", ")
        ));
    }
    text.push('\n');
    text
}

/// All that a bundle says, for programs.
pub(super) fn report_json(audited: &Audited) -> Value {
    let membership = audited.evidence.membership();
    let entries = audited.evidence.directory().members(audited.made);
    let member = |member: &MemberView| {
        let entry = entry(&entries, member);
        let nodes = entry.into_iter().flat_map(|entry| &entry.nodes);
        json!({
            "member": member.code,
            "status": status(member.status),
            "incarnation": member.incarnation,
            "generation": member.generation,
            "key_sets": member.key_sets,
            "epoch": member.epoch,
            "disputed": member.is_disputed(),
            "broken": member.broken,
            "nodes": nodes
                .map(|node| json!({ "node": node.node, "rank": node.rank, "record": header_json(node.header.as_ref()) }))
                .collect::<Vec<_>>(),
            "reference_point": header_json(entry.and_then(|it| it.reference_point.as_ref()).map(|it| &it.header)),
        })
    };
    json!({
        "bundle": summary(audited),
        "charter": {
            "settled": membership.settled(), "beside_settled": membership.ignored(),
            "settlements_contradicting": membership.contradicting(),
            "version": membership.version(),
            "tips": membership.tips(),
            "stewards": membership.stewards(),
            "threshold": membership.threshold(),
        },
        "members": membership.members().map(member).collect::<Vec<_>>(),
        "not_held": audited.not_held().iter().map(lacking).collect::<Vec<_>>(),
        "forks": audited.forks().iter().map(fork_json).collect::<Vec<_>>(),
    })
}

/// What a bundle is, for programs.
pub(super) fn summary(audited: &Audited) -> Value {
    let counts: serde_json::Map<String, Value> =
        audited.counts.iter().map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
    json!({
        "federation": audited.exporter.federation,
        "member": audited.exporter.member,
        "node": audited.exporter.node,
        "node_active": audited.exporter_state == KeyState::Active,
        "made": Instant::from(audited.made),
        "lines": audited.size,
        "root": audited.root,
        "documents": counts,
        "surplus": audited.surplus,
        "journal": audited.journal.as_ref().map(|it| journal::json(it, audited.entries.as_ref())),
    })
}

/// What two bundles say of one another.
pub(super) fn comparison(comparison: &Comparison) -> String {
    let mut text = match Verdict::of(comparison) {
        Verdict::Same => "same: both hold one and the same directory\n".to_owned(),
        Verdict::Behind => "behind: nothing contradicts, and one holds what the other does not\n".to_owned(),
        Verdict::Contradict => {
            "CONTRADICTION: somebody told the two exporters different stories\n".to_owned()
        }
        Verdict::JournalsContradict => {
            "JOURNAL CONTRADICTED: the directories do not contradict each other, one node's journal does itself\n"
                .to_owned()
        }
    };
    text.push_str(&journal::compared(comparison));
    comparison.contradictions.iter().for_each(|fork| text.push_str(&format!("\n{}", fork_text(fork))));
    if !comparison.differences.is_empty() {
        text.push('\n');
    }
    comparison.differences.iter().for_each(|it| text.push_str(&format!("{}\n", difference(it))));
    text
}

fn difference(difference: &Difference) -> String {
    match difference {
        Difference::Document { only_in, exhibit, what, .. } => {
            let signed = signers(exhibit);
            let when = exhibit.issued.map(|issued| format!(" {}", at(issued))).unwrap_or_default();
            format!("{} only: {what}, {}, signed{when} by {signed}", side(*only_in), exhibit.id.short())
        }
        Difference::Chain { member, chain, a, b } => {
            let place = |place: &Option<ChainPlace>| match place {
                Some(place) => format!("number {} of {}", place.sequence, at(place.issued)),
                None => "none of it".to_owned(),
            };
            format!("{}: A holds {}, B holds {}", chain_words(member.as_str(), chain), place(a), place(b))
        }
        Difference::ForkKnown { only_in, place } => {
            format!("{} only: a fork, {}", side(*only_in), place_words(place))
        }
    }
}

pub(super) fn difference_json(difference: &Difference) -> Value {
    match difference {
        Difference::Document { only_in, member, exhibit, what } => json!({
            "kind": "document", "only_in": side(*only_in), "member": member, "what": what,
            "document": exhibit_json(exhibit),
        }),
        Difference::Chain { member, chain, a, b } => {
            let place = |place: &Option<ChainPlace>| {
                place.map(
                    |it| json!({ "sequence": it.sequence, "id": it.id, "issued": Instant::from(it.issued) }),
                )
            };
            json!({
                "kind": "chain", "member": member, "node": chain.node, "key_set": chain.key_set,
                "chain": chain_kind(chain.kind), "a": place(a), "b": place(b),
            })
        }
        Difference::ForkKnown { only_in, place } => {
            json!({ "kind": "fork-known", "only_in": side(*only_in), "place": place_json(place) })
        }
    }
}

fn fork_text(fork: &Fork) -> String {
    let mut text = format!("FORK: {}\n", place_words(&fork.place));
    for half in &fork.halves {
        let when = half.issued.map(|issued| format!("{} ", at(issued))).unwrap_or_default();
        text.push_str(&format!("  {} signed {when}by {}\n", half.id, signers(half)));
        if half.signed.len() <= SIGNED_BYTES_SHOWN_MAX {
            text.push_str(&format!("    signed bytes  {}\n", STANDARD.encode(&half.signed)));
            for signer in &half.signers {
                text.push_str(&format!(
                    "    signature     {} by key {}\n",
                    STANDARD.encode(&signer.signature),
                    hexadecimal(&signer.key)
                ));
            }
        } else {
            text.push_str(&format!(
                "    {} signed bytes and their signatures: with --json\n",
                half.signed.len()
            ));
        }
    }
    text
}

pub(super) fn fork_json(fork: &Fork) -> Value {
    json!({ "place": place_json(&fork.place), "halves": fork.halves.iter().map(exhibit_json).collect::<Vec<_>>() })
}

fn exhibit_json(exhibit: &Exhibit) -> Value {
    let signers = exhibit.signers.iter().map(|signer| {
        json!({
            "member": signer.member,
            "key": hexadecimal(&signer.key),
            "signature": STANDARD.encode(&signer.signature),
        })
    });
    json!({
        "id": exhibit.id,
        "kind": exhibit.kind.name(),
        "issued": exhibit.issued.map(Instant::from),
        "signed": STANDARD.encode(&exhibit.signed),
        "signatures": signers.collect::<Vec<_>>(),
    })
}

fn place_words(place: &ForkPlace) -> String {
    match place {
        ForkPlace::Charter(parent) => format!("several charter versions follow {}", parent.short()),
        ForkPlace::KeySets(of, epoch) => {
            format!("{} signed several key sets of generation {}, epoch {epoch}", of.member, of.generation)
        }
        ForkPlace::Chain(member, chain, sequence) => {
            format!("{} has several headers at number {sequence}", chain_words(member.as_str(), chain))
        }
    }
}

fn place_json(place: &ForkPlace) -> Value {
    match place {
        ForkPlace::Charter(parent) => json!({ "kind": "charter", "follows": parent }),
        ForkPlace::KeySets(of, epoch) => json!({
            "kind": "key-set", "member": of.member, "incarnation": of.incarnation, "root": of.root,
            "generation": of.generation, "epoch": epoch,
        }),
        ForkPlace::Chain(member, chain, sequence) => json!({
            "kind": chain_kind(chain.kind), "member": member, "node": chain.node, "key_set": chain.key_set,
            "sequence": sequence,
        }),
    }
}

fn lacking(lacking: &NotHeld) -> String {
    match lacking {
        NotHeld::NoKeySet(member) => format!("{member}: any key set, unless it never signed one"),
        NotHeld::KeySets(member, ids) => format!("{member}: {} earlier key sets", ids.len()),
        NotHeld::NoHeader(member, node, kind) => format!(
            "{member}: any {} header of node {}, unless it never published one",
            chain_kind(*kind),
            node.short()
        ),
        NotHeld::Headers(member, chain, from, to) if from == to => {
            format!("{}: number {from}", chain_words(member.as_str(), chain))
        }
        NotHeld::Headers(member, chain, from, to) => {
            format!("{}: numbers {from} to {to}", chain_words(member.as_str(), chain))
        }
        NotHeld::Named(ids) => format!("{} headers of earlier chains that key sets name", ids.len()),
    }
}

fn row(member: &MemberView, entry: Option<&Entry>) -> [String; 5] {
    let key_set = match (member.broken, member.key_sets.as_slice()) {
        (true, _) => "broken".to_owned(),
        (false, []) => "none".to_owned(),
        (false, [id]) => {
            let epoch = member.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
            format!("{}.{epoch}, {}", member.generation, id.short())
        }
        (false, several) => format!("{} in dispute", several.len()),
    };
    let records = entry.into_iter().flat_map(|entry| &entry.nodes).filter_map(|node| node.header.as_ref());
    let records: Vec<String> = records.map(header_words).collect();
    let point = entry.and_then(|entry| entry.reference_point.as_ref());
    let or_none = |text: String| if text.is_empty() { "none".to_owned() } else { text };
    [
        human::member(&member.code),
        status(member.status).to_owned(),
        key_set,
        or_none(records.join("\n")),
        or_none(point.map(|point| header_words(&point.header)).unwrap_or_default()),
    ]
}

fn header_words(header: &HeaderView) -> String {
    let disputed = if header.disputed_from.is_some() { ", in dispute above" } else { "" };
    format!("{} of {}{disputed}", header.sequence, at(header.issued))
}

fn header_json(header: Option<&HeaderView>) -> Option<Value> {
    header.map(|header| {
        json!({
            "id": header.id,
            "sequence": header.sequence,
            "issued": Instant::from(header.issued),
            "fresh_until": Instant::from(header.fresh_until),
            "disputed_from": header.disputed_from,
        })
    })
}

fn entry<'a>(entries: &'a [Entry], member: &MemberView) -> Option<&'a Entry> {
    entries.iter().find(|entry| entry.member == member.code)
}

fn signers(exhibit: &Exhibit) -> String {
    let name = |signer: &refpoint_protocol::audit::Signer| match &signer.member {
        Some(member) => member.to_string(),
        None => hexadecimal(&signer.key).chars().take(KEY_DIGITS_SHOWN).collect(),
    };
    exhibit.signers.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn chain_words(member: &str, chain: &ChainKey) -> String {
    format!("{member}'s {} of node {}", chain_kind(chain.kind), chain.node.short())
}

const fn chain_kind(kind: ChainKind) -> &'static str {
    match kind {
        ChainKind::NodeRecord => Kind::NodeRecord.name(),
        ChainKind::ReferencePoint => Kind::ReferencePoint.name(),
    }
}

const fn status(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Active => "active",
        MemberStatus::Suspended => "suspended",
        MemberStatus::Withdrawn => "withdrawn",
    }
}

const fn side(side: Side) -> &'static str {
    match side {
        Side::A => "A",
        Side::B => "B",
    }
}

fn at(time: Timestamp) -> String {
    human::instant(time.into())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Signed bytes that a screen takes: a header's or a key set's, not a charter's of 196 members.
const SIGNED_BYTES_SHOWN_MAX: usize = 4 * 1024;

/// Digits of a key that nobody is known to have.
const KEY_DIGITS_SHOWN: usize = 8;
