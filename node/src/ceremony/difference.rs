//! How a charter version differs from one that it follows, for people and programs.

use std::collections::BTreeSet;

use refpoint_protocol::{
    ids::{ContentHash, Incarnation, MemberCode, RootKey},
    membership::charter::{Charter, MemberEntry, MemberStatus, WorkingGroup},
};
use serde::Serialize;

use crate::fingerprint::spoken;

/// One thing that is otherwise than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Difference {
    /// A member is listed that was not.
    Admitted {
        /// Its code.
        member: MemberCode,
        /// Its working group.
        group: WorkingGroup,
        /// Its root key.
        root: RootKey,
    },
    /// A member's status is another.
    Status {
        /// The member.
        member: MemberCode,
        /// Before.
        before: MemberStatus,
        /// Now.
        after: MemberStatus,
    },
    /// A member's root key is another.
    Root {
        /// The member.
        member: MemberCode,
        /// Before.
        before: RootKey,
        /// Now.
        after: RootKey,
    },
    /// The hash that a member announces of its next root key is another.
    NextRoot {
        /// The member.
        member: MemberCode,
        /// Before.
        before: ContentHash,
        /// Now.
        after: ContentHash,
    },
    /// A member's earlier key sets end.
    Incarnation {
        /// The member.
        member: MemberCode,
        /// Before.
        before: Incarnation,
        /// Now.
        after: Incarnation,
    },
    /// A member's working group is another.
    Group {
        /// The member.
        member: MemberCode,
        /// Before.
        before: WorkingGroup,
        /// Now.
        after: WorkingGroup,
    },
    /// Other stewards.
    Stewards {
        /// Who is one now and was not.
        added: BTreeSet<MemberCode>,
        /// Who was one and is not.
        removed: BTreeSet<MemberCode>,
    },
    /// Another number of stewards must sign.
    Threshold {
        /// Before.
        before: u64,
        /// Now.
        after: u64,
        /// Of how many now.
        of: usize,
    },
}

/// All that a version says otherwise than one that it follows.
#[must_use]
pub fn differences(before: &Charter, after: &Charter) -> Vec<Difference> {
    let mut found = Vec::new();
    for entry in &after.members {
        match before.member(&entry.code) {
            None => found.push(Difference::Admitted {
                member: entry.code.clone(),
                group: entry.group,
                root: entry.root,
            }),
            Some(earlier) => member_differences(earlier, entry, &mut found),
        }
    }
    let stewards = |charter: &Charter| charter.stewards.iter().cloned().collect::<BTreeSet<_>>();
    let (were, are) = (stewards(before), stewards(after));
    if were != are {
        found.push(Difference::Stewards {
            added: are.difference(&were).cloned().collect(),
            removed: were.difference(&are).cloned().collect(),
        });
    }
    if before.threshold != after.threshold {
        let (before, of) = (before.threshold, after.stewards.len());
        found.push(Difference::Threshold { before, after: after.threshold, of });
    }
    found
}

fn member_differences(before: &MemberEntry, after: &MemberEntry, found: &mut Vec<Difference>) {
    let member = || after.code.clone();
    if before.status != after.status {
        found.push(Difference::Status { member: member(), before: before.status, after: after.status });
    }
    if before.root != after.root {
        found.push(Difference::Root { member: member(), before: before.root, after: after.root });
    }
    if before.next != after.next {
        found.push(Difference::NextRoot { member: member(), before: before.next, after: after.next });
    }
    if before.incarnation != after.incarnation {
        let (before, after) = (before.incarnation, after.incarnation);
        found.push(Difference::Incarnation { member: member(), before, after });
    }
    if before.group != after.group {
        found.push(Difference::Group { member: member(), before: before.group, after: after.group });
    }
}

impl Difference {
    /// The same in plain words; fingerprints on lines of their own, to be read aloud.
    #[must_use]
    pub fn told(&self) -> String {
        match self {
            Self::Admitted { member, root, .. } => {
                format!("{member} is admitted\n    root key    {}", spoken(root.as_bytes()))
            }
            Self::Status { member, before, after } => {
                format!("{member} is {}, and was {}", status_name(*after), status_name(*before))
            }
            Self::Root { member, before, after } => format!(
                "{member} has another root key\n    before      {}\n    now         {}",
                spoken(before.as_bytes()),
                spoken(after.as_bytes())
            ),
            Self::NextRoot { member, before, after } => format!(
                "{member} announces another next root key\n    before      {}\n    now         {}",
                spoken(before.as_bytes()),
                spoken(after.as_bytes())
            ),
            Self::Incarnation { member, .. } => {
                format!("{member} starts anew: its key sets so far end, and it issues a first one again")
            }
            Self::Group { member, before, after } => {
                format!("{member} is in the working group {after:?}, and was in {before:?}")
            }
            Self::Stewards { added, removed } => {
                let list = |codes: &BTreeSet<MemberCode>| {
                    codes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                };
                let mut parts = Vec::new();
                if !added.is_empty() {
                    parts.push(format!("added {}", list(added)));
                }
                if !removed.is_empty() {
                    parts.push(format!("removed {}", list(removed)));
                }
                format!("the stewards change: {}", parts.join("; "))
            }
            Self::Threshold { before, after, of } => {
                format!("{after} of {of} stewards must sign every later version, and {before} had to")
            }
        }
    }
}

/// A status in one word.
#[must_use]
pub const fn status_name(status: MemberStatus) -> &'static str {
    match status {
        MemberStatus::Active => "active",
        MemberStatus::Suspended => "suspended",
        MemberStatus::Withdrawn => "withdrawn",
    }
}
