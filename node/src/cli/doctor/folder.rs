//! The node's own files: keys, and what the folder of a stopped node says.

use std::{path::Path, time::Duration};

use refpoint_protocol::{ids::NodeKey, time::Timestamp};

use super::Line;
use crate::{
    cli::failure::Failure,
    config::{Config, NEXT_ROOT_KEY, ROOT_KEY},
    founding::stored_evidence,
    keyfile::{
        KeyFileError, NodeSecret, PassphraseFile, PassphrasePurpose, Secret, StorageKey, obtain_passphrase,
        read_header, read_key,
    },
    review::Stage,
    store::{OpenError, Opened, Options, SledStore, StorageKey as StoreKey},
};

/// The key files: there, their owner's alone, of this member, and opened by the passphrase. With them, the keys.
#[must_use]
pub(super) fn keys(config: &Config) -> (Vec<Line>, Option<NodeSecret>, Option<StorageKey>) {
    let (node_line, node) = key("node key", config, &config.node_key);
    let (storage_line, storage) = key("storage key", config, &config.storage_key);
    let mut lines = vec![node_line, storage_line];
    let here: Vec<String> = [ROOT_KEY, NEXT_ROOT_KEY]
        .iter()
        .map(|file| config.folder().join(file))
        .filter(|file| file.exists())
        .map(|file| file.display().to_string())
        .collect();
    lines.push(if here.is_empty() {
        Line::ok("root keys", "none lies on this machine")
    } else {
        let what = format!("a root key lies on this machine: {}", here.join(", "));
        Line::warn("root keys", what, "move it to two offline media, then delete it here")
    });
    (lines, node, storage)
}

fn key<S: Secret>(check: &'static str, config: &Config, file: &Path) -> (Line, Option<S>) {
    let failed = |error: KeyFileError| {
        let (what, fix) = Failure::from(error).into_why_and_remedy();
        (Line::fail(check, what, fix), None)
    };
    let header = match read_header(file, S::KIND) {
        Ok(header) => header,
        Err(error) => return failed(error),
    };
    if header.member != config.member {
        let what = format!("{} belongs to {}, not to {}", file.display(), header.member, config.member);
        return (Line::fail(check, what, "put this member's key there, or correct `member`"), None);
    }
    if header.protected && config.passphrase_file.is_none() {
        let what =
            format!("{} is under a passphrase, and no passphrase_file is set: not tried", file.display());
        let fix = "nothing, if systemd hands the passphrase over; else set passphrase_file";
        return (Line::warn(check, what, fix), None);
    }
    let from = PassphraseFile(config.passphrase_file.clone());
    let asked = || obtain_passphrase(&from, PassphrasePurpose::Open, S::KIND.name());
    match read_key::<S>(file, asked) {
        Ok((_, secret)) => (Line::ok(check, format!("{} opens", file.display())), Some(secret)),
        Err(error) => failed(error),
    }
}

/// What the folder of a stopped node says: that it opens, and whether the key set lists this node.
#[must_use]
pub(super) fn stored(
    config: &Config,
    node: Option<&NodeSecret>,
    storage: Option<&StorageKey>,
    now: Timestamp,
) -> Vec<Line> {
    let Some(storage) = storage else {
        return vec![Line::warn(
            "storage",
            "not checked: the storage key was not opened",
            "see the storage key's line",
        )];
    };
    if !config.data.join("schema").exists() {
        let what = format!("{} holds no database: this node has joined no federation", config.data.display());
        return vec![Line::fail(
            "storage",
            what,
            "refpoint join federation.join --fingerprint … --root-key …",
        )];
    }
    let options = Options::default();
    let (store, opened) =
        match SledStore::open(&config.data, &StoreKey::from_bytes(storage.as_bytes()), &options) {
            Ok(opened) => opened,
            // Somebody has it and answers on no socket.
            Err(error @ OpenError::InUse { .. }) => {
                let fix = "stop that process, or wait until the node has started";
                return vec![Line::fail("storage", error.to_string(), fix)];
            }
            Err(error) => {
                let (what, fix) = Failure::from(error).into_why_and_remedy();
                return vec![Line::fail("storage", what, fix)];
            }
        };
    let mut lines = vec![opened_line(&opened)];
    match stored_evidence(&store, &config.member) {
        Err(error) => {
            let (what, fix) = Failure::from(error).into_why_and_remedy();
            lines.push(Line::fail("key set", what, fix));
        }
        Ok(evidence) => {
            let active = evidence.membership().active_nodes(&config.member);
            lines.push(listed(node.map(NodeSecret::key), &active));
            let reviews = evidence.trust().key_sets().map(|set| set.payload());
            let newest = reviews.filter(|set| set.member == config.member).max_by_key(|set| set.epoch);
            lines.extend(newest.map(|set| review(set.review, now)));
        }
    }
    lines
}

fn opened_line(opened: &Opened) -> Line {
    if let Some(recovered) = &opened.recovered {
        let what = format!("the database was recovered: {}", recovered.cause);
        return Line::warn(
            "storage",
            what,
            "see *storage notes* in OPERATIONS.md; start the node, peers give back what they hold",
        );
    }
    if opened.set_aside > 0 {
        let what = format!("{} damaged records were set aside", opened.set_aside);
        return Line::warn("storage", what, "start the node: peers give back what they hold; check the disk");
    }
    Line::ok("storage", "the database opens, and its records are whole as far as they were checked")
}

fn listed(node: Option<NodeKey>, active: &[NodeKey]) -> Line {
    match node {
        None => Line::warn("key set", "not checked: the node key was not opened", "see the node key's line"),
        Some(node) if active.contains(&node) => Line::ok("key set", "lists this node's key as active"),
        Some(node) => Line::fail(
            "key set",
            format!("does not list this node's key {} as active: others refuse it", node.short()),
            "where the root key is: refpoint keys issue --root-key FILE",
        ),
    }
}

/// How near the review date of the key set is.
pub(super) fn review(review: Timestamp, now: Timestamp) -> Line {
    let days = |duration: Duration| duration.as_secs() / 86_400;
    let fix = "where the root key is: refpoint keys issue --root-key FILE";
    let due = format!("due in {} days", days(review.since(now)));
    match Stage::of(review, now) {
        Stage::Overdue => {
            let what = format!("the key set is overdue by {} days; it stays valid", days(now.since(review)));
            Line::fail("review date", what, fix)
        }
        Stage::Within60Days | Stage::Within30Days | Stage::Within7Days => Line::warn("review date", due, fix),
        Stage::Far => Line::ok("review date", due),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::cli::doctor::Verdict;

    #[test]
    fn a_key_that_is_not_listed_and_a_review_that_is_past_fail() {
        let node = NodeKey::from_bytes([7; 32]);
        assert_eq!(listed(Some(node), &[node]).verdict, Verdict::Ok);
        for line in [listed(Some(node), &[]), review(Timestamp::from_millis(1), Timestamp::from_millis(2))] {
            assert_eq!(line.verdict, Verdict::Fail);
            assert!(line.fix.unwrap().contains("refpoint keys issue"));
        }
        let now = Timestamp::from_millis(0);
        assert_eq!(review(now.after(Duration::from_secs(59 * 86_400)), now).verdict, Verdict::Warn);
        assert_eq!(review(now.after(Duration::from_secs(61 * 86_400)), now).verdict, Verdict::Ok);
    }
}
