//! A later charter version on screens: how it differs, whose signatures it needs, and the whole of it.

use refpoint_protocol::membership::proposal::{Quorum, Signatory};
use serde_json::{Value, json};

use crate::{
    ceremony::{Proposal, differences, status_name},
    cli::init::group_name,
    countries::Country,
    fingerprint::spoken,
};

/// How it differs from each version that it follows, then its signatures.
pub(super) fn reviewed(proposal: &Proposal) -> String {
    let charter = proposal.charter();
    let mut text = format!(
        "charter version {}\nfingerprint   {}\nfederation    {}\n",
        charter.version,
        spoken(proposal.id().as_bytes()),
        spoken(proposal.federation().as_bytes()),
    );
    for parent in proposal.parents() {
        text.push_str(&format!("\nagainst version {}:\n", parent.version));
        let found = differences(parent, charter);
        if found.is_empty() {
            text.push_str("  nothing differs\n");
        }
        for difference in found {
            text.push_str(&format!("  {}\n", difference.told().replace('\n', "\n  ")));
        }
    }
    if charter.parents.len() > 1 {
        text.push_str("\nit follows several versions and ends the dispute between them\n");
    }
    text.push_str(&format!("\n{}", signatures(proposal)));
    text
}

/// Whose signatures are there, how many are needed, and of whom.
pub(super) fn signatures(proposal: &Proposal) -> String {
    let wanted = proposal.wanted();
    let mut text = quorum("stewards before", &wanted.before);
    if let Some(own) = &wanted.own {
        text.push_str(&quorum("stewards after", own));
    }
    if !wanted.new_roots.is_empty() {
        text.push_str(&format!("new root keys    all must sign: {}\n", names(&wanted.new_roots)));
    }
    let without: Vec<String> = proposal.without_key_set().map(ToString::to_string).collect();
    if !without.is_empty() {
        text.push_str(&format!(
            "first key set    still to be made, with the signature, by {}\n",
            without.join(", ")
        ));
    }
    text.push_str(if wanted.is_complete() { "complete\n" } else { "not complete\n" });
    text
}

/// What is still missing, for whoever combines.
pub(super) fn missing(proposal: &Proposal) -> String {
    let wanted = proposal.wanted();
    let open = |quorum: &Quorum| {
        let left: Vec<_> = quorum.stewards.iter().filter(|it| !it.has_signed).map(code).collect();
        let more = quorum.needed.saturating_sub(quorum.got());
        (more > 0).then(|| format!("{more} more of the stewards {}", left.join(", ")))
    };
    let mut parts: Vec<String> = open(&wanted.before).into_iter().collect();
    if let Some(own) = wanted.own.as_ref().and_then(open) {
        parts.push(format!("of the new ones {own}"));
    }
    let silent: Vec<_> = wanted.new_roots.iter().filter(|it| !it.has_signed).map(code).collect();
    if !silent.is_empty() {
        parts.push(format!("the new root key of {}", silent.join(", ")));
    }
    parts.join("; ")
}

/// The whole version: every member with its status and root fingerprint, then the review.
pub(super) fn shown_in_full(proposal: &Proposal) -> String {
    let charter = proposal.charter();
    let mut text = format!("charter version {}, {} members\n\n", charter.version, charter.members.len());
    for entry in &charter.members {
        let name = Country::find(&entry.code).map_or("", |country| country.name_en.as_str());
        let steward = if charter.stewards.contains(&entry.code) { "steward" } else { "" };
        text.push_str(&format!(
            "{:<10} {name:<32} {:<9} {steward:<8} {}\n           root {}\n",
            entry.code.as_str(),
            group_name(entry.group),
            status_name(entry.status),
            spoken(entry.root.as_bytes()),
        ));
        if let Some(request) = proposal.requests().get(&entry.code) {
            let addresses = &request.payload().addresses;
            let at = if addresses.is_empty() { "dials out only".to_owned() } else { addresses.join(", ") };
            text.push_str(&format!("           node {} at {at}\n", request.payload().node.short()));
        }
    }
    format!("{text}\n{}", reviewed(proposal))
}

/// The same for programs.
pub(super) fn described(proposal: &Proposal) -> Value {
    let charter = proposal.charter();
    let wanted = proposal.wanted();
    let signatory =
        |it: &Signatory| json!({ "member": it.member, "root_key": it.root, "signed": it.has_signed });
    let quorum = |of: &Quorum| {
        let stewards: Vec<Value> = of.stewards.iter().map(signatory).collect();
        json!({ "needed": of.needed, "got": of.got(), "stewards": stewards })
    };
    let against: Vec<Value> = proposal
        .parents()
        .map(|parent| json!({ "version": parent.version, "differences": differences(parent, charter) }))
        .collect();
    json!({
        "federation": proposal.federation(),
        "federation_fingerprint": spoken(proposal.federation().as_bytes()),
        "id": proposal.id(),
        "fingerprint": spoken(proposal.id().as_bytes()),
        "version": charter.version,
        "parents": charter.parents,
        "against": against,
        "stewards": charter.stewards,
        "threshold": charter.threshold,
        "members": charter.members,
        "signatures": {
            "stewards_before": quorum(&wanted.before),
            "stewards_after": wanted.own.as_ref().map(quorum),
            "new_roots": wanted.new_roots.iter().map(signatory).collect::<Vec<_>>(),
            "missing": missing(proposal),
        },
        "key_sets": proposal.key_sets().keys().collect::<Vec<_>>(),
        "complete": wanted.is_complete(),
    })
}

fn quorum(title: &str, quorum: &Quorum) -> String {
    format!(
        "{title:<16} {} of {} must sign, {} have: {}\n",
        quorum.needed,
        quorum.stewards.len(),
        quorum.got(),
        names(&quorum.stewards),
    )
}

fn names(signatories: &[Signatory]) -> String {
    let name = |it: &Signatory| {
        if it.has_signed { format!("{} (signed)", it.member) } else { it.member.to_string() }
    };
    signatories.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn code(signatory: &Signatory) -> String {
    signatory.member.to_string()
}
