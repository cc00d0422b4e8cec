//! What a bundle has of its exporter's journal.

use refpoint_protocol::{
    audit::{CosignedState, JournalCheckpoint, JournalEntries},
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
