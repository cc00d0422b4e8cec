//! Whether another machine uses this node's key: told from meetings with oneself, by the clock that is given.
//!
//! A node dials its own addresses. If it is itself that answers, a dial and a call of its own key come together;
//! one without the other means that a second machine holds the key, as TLS proves. It decides nothing else.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// What met this node's own key of late.
#[derive(Debug, Default)]
pub(super) struct SelfMeetings {
    /// Dials of this node that ended at its own key.
    dialled: VecDeque<Instant>,
    /// Callers that had its own key.
    called: VecDeque<Instant>,
    /// Meetings with another machine in a row: one may be a call that was cut short.
    strange: u32,
}

impl SelfMeetings {
    /// A dial of this node reached its own key.
    pub(super) fn on_dialled(&mut self, now: Instant) {
        note(&mut self.dialled, now);
    }

    /// A caller had this node's own key.
    pub(super) fn on_called(&mut self, now: Instant) {
        note(&mut self.called, now);
    }

    /// Pairs dials with calls; whether it is certain now that another machine uses the key.
    pub(super) fn settle(&mut self, now: Instant) -> bool {
        loop {
            match (self.dialled.front().copied(), self.called.front().copied()) {
                (Some(dialled), Some(called)) if apart(dialled, called) <= TOGETHER => {
                    self.dialled.pop_front();
                    self.called.pop_front();
                    self.strange = 0;
                }
                (dialled, called) => {
                    let is_lone = |at: Option<Instant>| at.is_some_and(|at| apart(at, now) > TOGETHER);
                    let oldest_is_dialled = match (dialled, called) {
                        (Some(dialled), Some(called)) => dialled <= called,
                        (dialled, _) => dialled.is_some(),
                    };
                    if oldest_is_dialled && is_lone(dialled) {
                        self.dialled.pop_front();
                    } else if !oldest_is_dialled && is_lone(called) {
                        self.called.pop_front();
                    } else {
                        return self.strange >= STRANGE_LEAST;
                    }
                    self.strange = self.strange.saturating_add(1);
                }
            }
        }
    }
}

fn note(meetings: &mut VecDeque<Instant>, now: Instant) {
    // Each is settled within seconds; only a flood fills this.
    if meetings.len() < MEETINGS_MAX {
        meetings.push_back(now);
    }
}

fn apart(one: Instant, other: Instant) -> Duration {
    one.max(other).saturating_duration_since(one.min(other))
}

/// Within this time both ends of one connection tell of it: a handshake on a slow satellite link.
const TOGETHER: Duration = Duration::from_secs(5);

/// Meetings with another machine, and none with oneself between them, that make it certain.
const STRANGE_LEAST: u32 = 2;

/// Meetings that wait to be settled.
const MEETINGS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn who_answers_and_calls_at_once_is_oneself() {
        let (mut meetings, start) = (SelfMeetings::default(), Instant::now());
        for round in 0..20 {
            let now = start + seconds(15 * round);
            if round % 2 == 0 {
                meetings.on_dialled(now);
                meetings.on_called(now + seconds(1));
            } else {
                meetings.on_called(now);
                meetings.on_dialled(now + seconds(1));
            }
            assert!(!meetings.settle(now + seconds(14)), "round {round}");
        }
    }

    #[test]
    fn a_twin_is_certain_after_it_answered_or_called_twice() {
        for is_called in [false, true] {
            let (mut meetings, start) = (SelfMeetings::default(), Instant::now());
            let meet = |meetings: &mut SelfMeetings, now| {
                if is_called { meetings.on_called(now) } else { meetings.on_dialled(now) }
            };
            meet(&mut meetings, start);
            assert!(!meetings.settle(start + seconds(1)), "its other end may still be told");
            assert!(!meetings.settle(start + seconds(10)), "once may be a call cut short");
            meet(&mut meetings, start + seconds(15));
            assert!(meetings.settle(start + seconds(25)));
            assert!(meetings.settle(start + seconds(26)), "it stays certain");
        }
    }

    #[test]
    fn one_lost_end_between_meetings_with_oneself_is_no_twin() {
        let (mut meetings, start) = (SelfMeetings::default(), Instant::now());
        for round in 0..10 {
            let now = start + seconds(30 * round);
            meetings.on_dialled(now);
            assert!(!meetings.settle(now + seconds(10)));
            meetings.on_dialled(now + seconds(15));
            meetings.on_called(now + seconds(15));
            assert!(!meetings.settle(now + seconds(25)));
        }
    }

    #[test]
    fn a_flood_of_calls_is_bounded() {
        let (mut meetings, now) = (SelfMeetings::default(), Instant::now());
        (0..10_000).for_each(|_| meetings.on_called(now));
        assert_eq!(meetings.called.len(), MEETINGS_MAX);
    }
}
