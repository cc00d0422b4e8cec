//! Which alert is run next: the most urgent precedence first, drills after all others, and the senders in turn.
//!
//! A sender that floods waits behind itself. What would pass its share has no alert of its own and is counted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    ops::Bound,
};

use refpoint_protocol::{ids::MemberCode, message::header::Precedence};

use super::Alert;

/// The alerts that wait.
#[derive(Debug, Default)]
pub(super) struct AlertQueue {
    /// By what is run first: requests before drills, then by precedence.
    lines: BTreeMap<(bool, Reverse<Precedence>), Line>,
}

#[derive(Debug, Default)]
struct Line {
    senders: BTreeMap<MemberCode, VecDeque<Alert>>,
    last: Option<MemberCode>,
}

impl AlertQueue {
    /// Adds one. `false` if too many of this sender and precedence wait already: then it is not added.
    #[must_use]
    pub(super) fn add(&mut self, alert: Alert) -> bool {
        let line = self.lines.entry((alert.drill, Reverse(alert.precedence))).or_default();
        let waiting = line.senders.entry(alert.sender.clone()).or_default();
        let has_room = waiting.len() < WAITING_PER_SENDER_MAX;
        if has_room {
            waiting.push_back(alert);
        }
        has_room
    }

    /// Takes the next one out.
    pub(super) fn next(&mut self) -> Option<Alert> {
        self.lines.values_mut().find_map(Line::next)
    }

    /// All that wait, in no order that matters.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.lines.values().flat_map(|line| line.senders.values()).flatten()
    }
}

impl Line {
    fn next(&mut self) -> Option<Alert> {
        let after = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut later = self.senders.range::<MemberCode, _>((after, Bound::Unbounded));
        let sender = later.next().or_else(|| self.senders.first_key_value()).map(|(code, _)| code.clone())?;
        let waiting = self.senders.get_mut(&sender)?;
        let alert = waiting.pop_front();
        if waiting.is_empty() {
            self.senders.remove(&sender);
        }
        self.last = Some(sender);
        alert
    }
}

/// Alerts of one sender and precedence that may wait: more than anybody answers one by one.
const WAITING_PER_SENDER_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{ids::MessageId, message::body::Tlp};

    use super::*;

    fn alert(sender: &str, precedence: Precedence, number: u8) -> Alert {
        Alert {
            message: MessageId::from_bytes([number; 32]),
            precedence,
            sender: sender.parse().unwrap(),
            tlp: Tlp::Amber,
            drill: false,
        }
    }

    #[test]
    fn a_flood_neither_delays_nor_hides_the_flash_message_of_another() {
        let mut queue = AlertQueue::default();
        let taken = (0..200).filter(|number| queue.add(alert("BR", Precedence::Flash, *number))).count();
        assert_eq!(taken, WAITING_PER_SENDER_MAX);
        for number in 0..10 {
            assert!(queue.add(alert("BR", Precedence::Routine, number)));
        }
        assert!(queue.add(alert("SG", Precedence::Immediate, 201)));
        assert!(queue.add(alert("KE", Precedence::Flash, 200)));
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
        assert_eq!(order.len(), WAITING_PER_SENDER_MAX + 12);
        let at = |number| order.iter().position(|it| it.message == MessageId::from_bytes([number; 32]));
        assert_eq!(at(200), Some(1), "the second to be run");
        assert_eq!(at(201), Some(WAITING_PER_SENDER_MAX + 1), "after all flashes, before all routine");
    }

    #[test]
    fn a_drill_waits_for_every_request() {
        let mut queue = AlertQueue::default();
        let drill = Alert { drill: true, ..alert("BR", Precedence::Flash, 1) };
        assert!(queue.add(drill) && queue.add(alert("KE", Precedence::Routine, 2)));
        let order: Vec<_> = std::iter::from_fn(|| queue.next()).map(|alert| alert.drill).collect();
        assert_eq!(order, [false, true]);
    }
}
