//! `refpoint keys status`: which keys count for this member, and when the key set is to be looked at again.

use refpoint_protocol::{
    ids::{KeySetId, NodeKey},
    membership::{KeyState, MemberView, Membership},
    time::Timestamp,
};
use serde_json::json;

use super::Place;
use crate::{
    api::views::instant::Instant,
    cli::{ConfigFile, failure::Failure, human, output::Output},
    clock::Clock,
    fingerprint::spoken,
    review::Stage,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "the keys are not shown";
    let config = arguments.config.load()?;
    let (_, evidence) = Place::find(&config, what)?;
    let (view, now) = (evidence.membership(), Clock::start(0).now());
    let Some(member) = view.member(&config.member) else {
        let why = format!("the charter does not list {}", config.member);
        return Err(Failure::error(what, why, "ask the stewards to be admitted"));
    };
    let root = member.rotated_root.or(member.root);
    let nodes: Vec<(NodeKey, u64, KeyState)> = view
        .nodes()
        .filter(|(_, standing)| standing.member == config.member)
        .map(|(key, standing)| (*key, standing.rank, standing.state))
        .collect();
    let notes = notes(member, &view, now);
    let mut text = format!(
        "{} incarnation {}, generation {}, epoch {}\n",
        member.code,
        member.incarnation,
        member.generation,
        member.epoch.map_or_else(|| "none".to_owned(), |epoch| epoch.to_string()),
    );
    if let Some(root) = root {
        text.push_str(&format!("root key    {}\n", spoken(root.as_bytes())));
    }
    text.push_str(&format!("next root   {} (its hash)\n", spoken(member.next.as_bytes())));
    for id in &member.key_sets {
        text.push_str(&format!("key set     {}\n", id.short()));
    }
    if let Some(review) = member.review {
        text.push_str(&format!("review      {}\n", human::instant(review.into())));
    }
    for (key, rank, state) in &nodes {
        text.push_str(&format!("node        {key}  rank {rank}  {}\n", told(*state)));
    }
    for note in &notes {
        text.push_str(&format!("note        {note}\n"));
    }
    let node = |(key, rank, state): &(NodeKey, u64, KeyState)| json!({ "key": key, "rank": rank, "state": name(*state), "since": since(*state).map(Instant::from) });
    let machine = json!({
        "member": member.code,
        "incarnation": member.incarnation,
        "generation": member.generation,
        "epoch": member.epoch,
        "key_sets": member.key_sets,
        "root_key": root,
        "next_root_hash": member.next,
        "review": member.review.map(Instant::from),
        "nodes": nodes.iter().map(node).collect::<Vec<_>>(),
        "notes": notes,
    });
    output.result(text, &machine)
}

/// What somebody should look at: 60, 30 and 7 days before the review, and past it.
fn notes(member: &MemberView, view: &Membership, now: Timestamp) -> Vec<String> {
    let mut notes = Vec::new();
    if member.broken {
        notes.push(
            "no key is valid: the key sets contradict each other; only a charter version ends that".into(),
        );
    } else if member.is_disputed() {
        let tips: Vec<String> = member.key_sets.iter().map(KeySetId::short).collect();
        notes.push(format!(
            "several key sets are the newest ({}): sign one that follows both, or rotate",
            tips.join(", ")
        ));
    }
    if !member.is_active() {
        notes.push(format!("version {} of the charter does not have {} active", view.version(), member.code));
    }
    let Some(review) = member.review else { return notes };
    let days = review.since(now).as_secs() / DAY;
    let stage = Stage::of(review, now);
    if stage == Stage::Overdue {
        notes.push(format!(
            "the key set is overdue by {} days; it stays valid: refpoint keys issue",
            now.since(review).as_secs() / DAY
        ));
    } else if let Some(warned) = stage.warned() {
        notes.push(format!("the review is due in {days} days, within {warned}: refpoint keys issue"));
    }
    notes
}

fn told(state: KeyState) -> String {
    match since(state) {
        Some(at) => format!("{} since {}", name(state), human::instant(at.into())),
        None => name(state).to_owned(),
    }
}

const fn since(state: KeyState) -> Option<Timestamp> {
    match state {
        KeyState::Retired { at } | KeyState::LeftOut { at } => Some(at),
        KeyState::Compromised { since } => Some(since),
        KeyState::Active
        | KeyState::Disputed
        | KeyState::MemberSuspended
        | KeyState::MemberWithdrawn
        | KeyState::RootReplaced
        | KeyState::RootDisputed
        | KeyState::AwaitingAdmission => None,
    }
}

const fn name(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Retired { .. } => "retired",
        KeyState::LeftOut { .. } => "left-out",
        KeyState::Compromised { .. } => "compromised",
        KeyState::Disputed => "disputed",
        KeyState::MemberSuspended => "member-suspended",
        KeyState::MemberWithdrawn => "member-withdrawn",
        KeyState::RootReplaced => "voided",
        KeyState::RootDisputed => "root-disputed",
        KeyState::AwaitingAdmission => "awaiting-admission",
    }
}

const DAY: u64 = 86_400;
