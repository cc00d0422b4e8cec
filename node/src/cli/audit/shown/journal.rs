//! What a bundle has of its exporter's journal.

use refpoint_protocol::{
    audit::{
        Comparison, CosignedState, JournalCheckpoint, JournalEntries, JournalFork, JournalRewound, NamesLess,
    },
    heads::JournalPosition,
};
use serde_json::{Value, json};

use super::at;
use crate::api::views::instant::Instant;

/// What a bundle has of the journal's entries.
pub(super) fn text(entries: &JournalEntries) -> String {
    let mut text = format!("            all of them are in it, {} about messages\n", entries.messages);
    if entries.unread > 0 {
        text.push_str(&format!("            {} are newer than this program, and not read\n", entries.unread));
    }
    if let Some(JournalPosition { began, size, .. }) = entries.follows {
        text.push_str(&format!("            it follows one of {size} entries that began at {}\n", at(began)));
    }
    if let Some((by, JournalPosition { size, .. })) = &entries.witnessed {
        text.push_str(&format!(
            "            of the one before, {by} had cosigned {size} entries, by the exporter's word\n"
        ));
    }
    if let Some(CosignedState { size, by }) = &entries.cosigned {
        let by: Vec<_> =
            by.iter().map(|(witness, when)| format!("{} at {}", witness.member, at(*when))).collect();
        text.push_str(&format!("            the first {size} are cosigned by {}\n", by.join(", ")));
    }
    text
}

/// What two bundles say of one node's journals.
pub(super) fn compared(comparison: &Comparison) -> String {
    let mut text = String::new();
    if let Some(JournalFork { origin, size, roots: [a, b] }) = &comparison.journal {
        let (member, node) = (&origin.member, origin.node.short());
        text.push_str(&format!(
            "\nROLLED BACK OR REWRITTEN: the journal of {member}'s node {node} has {size} entries with root {a} in A and {b} \
             in B\n"
        ));
    }
    if let Some(JournalRewound { origin, sizes: [a, b], made: [made_a, made_b] }) = &comparison.rewound {
        let (member, node, made_a, made_b) = (&origin.member, origin.node.short(), at(*made_a), at(*made_b));
        text.push_str(&format!(
            "\nROLLED BACK OR REWRITTEN: the journal of {member}'s node {node} has {a} entries in A, signed {made_a}, and {b} in \
             B, signed {made_b}: fewer later, by its own clock\n"
        ));
    }
    if let Some(NamesLess { origin, signed, named }) = &comparison.names_less {
        let (member, node, began) = (&origin.member, origin.node.short(), at(origin.began));
        text.push_str(&format!(
            "\nthe journal of {member}'s node {node} that began at {began} had {signed} entries, and the later one names \
             {named} of them: what happened after the backup that was restored, or what is left out\n"
        ));
    }
    text
}

/// A journal with fewer entries later, for programs.
pub(in crate::cli::audit) fn rewound_json(rewound: &JournalRewound) -> Value {
    json!({
        "member": rewound.origin.member, "node": rewound.origin.node,
        "began": Instant::from(rewound.origin.began),
        "sizes": rewound.sizes, "made": rewound.made.map(Instant::from),
    })
}

/// A journal of which a later one names less, for programs.
pub(in crate::cli::audit) fn names_less_json(less: &NamesLess) -> Value {
    json!({
        "member": less.origin.member, "node": less.origin.node, "began": Instant::from(less.origin.began),
        "entries": less.signed, "named": less.named,
    })
}

/// Two pasts of one journal, for programs.
pub(in crate::cli::audit) fn fork_json(fork: &JournalFork) -> Value {
    json!({
        "member": fork.origin.member, "node": fork.origin.node, "began": Instant::from(fork.origin.began),
        "size": fork.size, "roots": fork.roots,
    })
}

/// The journal and what a bundle has of its entries, for programs.
pub(super) fn json(journal: &JournalCheckpoint, entries: Option<&JournalEntries>) -> Value {
    let cosigned = entries.and_then(|entries| entries.cosigned.as_ref()).map(|state| {
        let by = state.by.iter().map(|(it, when)| json!({ "member": it.member, "at": at(*when) }));
        json!({ "entries": state.size, "by": by.collect::<Vec<_>>() })
    });
    let witnessed = entries.and_then(|entries| entries.witnessed.as_ref());
    json!({
        "began": Instant::from(journal.origin.began), "entries": journal.size, "root": journal.root,
        "messages": entries.map(|entries| entries.messages),
        "follows": entries.and_then(|entries| entries.follows).map(position),
        "before_witnessed": witnessed.map(|(by, before)| json!({ "by": by, "journal": position(*before) })),
        "cosigned": cosigned,
    })
}

fn position(JournalPosition { began, size, root }: JournalPosition) -> Value {
    json!({ "began": Instant::from(began), "entries": size, "root": root })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use refpoint_protocol::{
        audit::JournalOrigin,
        ids::{FederationId, NodeKey, TreeRoot},
        time::Timestamp,
    };

    use crate::cli::audit::shown::{Verdict, comparison};

    use super::*;

    #[test]
    fn a_journals_two_pasts_blame_neither_the_directory_nor_a_person() {
        let origin = JournalOrigin {
            federation: FederationId::from_bytes([1; 32]),
            member: "KE".parse().unwrap(),
            node: NodeKey::from_bytes([2; 32]),
            began: Timestamp::from_millis(1_800_000_000_000),
        };
        let roots = [TreeRoot::from_bytes([3; 32]), TreeRoot::from_bytes([4; 32])];
        let journal = Some(JournalFork { origin: origin.clone(), size: 9, roots });
        let compared = Comparison {
            differences: Vec::new(),
            contradictions: Vec::new(),
            journal,
            rewound: None,
            names_less: None,
        };
        assert_eq!(json!(Verdict::of(&compared)), "journals-contradict");
        let made = [9, 5].map(Timestamp::from_millis);
        let rewound = Some(JournalRewound { origin: origin.clone(), sizes: [4, 7], made });
        let names_less = Some(NamesLess { origin, signed: 9, named: 0 });
        let alone = Comparison { journal: None, rewound, names_less, ..compared.clone() };
        assert_eq!(Verdict::of(&alone), Verdict::JournalsContradict);
        let text = comparison(&alone);
        assert!(text.contains("4 entries in A") && text.contains("names 0 of them"), "{text}");
        let alone = Comparison { rewound: None, ..alone };
        assert_eq!(Verdict::of(&alone), Verdict::Same, "a backup is older than what happened since");
        let text = comparison(&compared);
        assert!(text.contains("directories do not contradict") && text.contains("ROLLED BACK OR REWRITTEN"));
        assert!(!text.contains("different stories"), "{text}");
    }
}
