//! What this node held, and until when: so that whoever holds that now is known to be behind.

use std::collections::VecDeque;

use crate::{ids::ContentHash, limits::HEAD_HISTORY_MAX, time::Timestamp};

/// The digests of this node, oldest first, as far back as they are remembered.
#[derive(Clone, Debug, Default)]
pub struct History(VecDeque<Held>);

#[derive(Clone, Copy, Debug)]
struct Held {
    digest: ContentHash,
    from: Timestamp,
}

impl History {
    /// Notes what is held now.
    pub fn note(&mut self, now: Timestamp, digest: ContentHash) {
        if self.0.back().is_some_and(|newest| newest.digest == digest) {
            return;
        }
        self.0.push_back(Held { digest, from: now });
        while self.0.len() > HEAD_HISTORY_MAX {
            self.0.pop_front();
        }
    }

    /// What is held now, and since when.
    #[must_use]
    pub fn newest(&self) -> Option<(ContentHash, Timestamp)> {
        self.0.back().map(|held| (held.digest, held.from))
    }

    /// When this node last went beyond a digest; `None` if it never held it, as far as it remembers, or holds it
    /// now.
    #[must_use]
    pub fn left(&self, digest: &ContentHash) -> Option<Timestamp> {
        let mut later = self.0.iter().rev();
        let mut next = later.next()?;
        for held in later {
            if held.digest == *digest {
                return Some(next.from);
            }
            next = held;
        }
        None
    }
}
