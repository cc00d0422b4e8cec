//! What a drill says: how fast each member and working group answered, and how that compares with the last drills.
//!
//! Whoever did not answer counts as slower than everybody who did: silence never makes a figure better.

use std::collections::BTreeMap;

use refpoint_protocol::{
    ids::MemberCode,
    membership::charter::WorkingGroup,
    relay::views::{DrillRecipient, DrillRun, Heard, RecipientState},
    time::Timestamp,
};

use crate::api::views::{
    drill::{Answer, Before, DrillReport, DrillRow, GroupFigures, MemberAnswer, Pace, WhoseClock},
    receipt::MachineWord,
};

/// The working group of each member of the charter.
pub type Groups = BTreeMap<MemberCode, WorkingGroup>;

/// One line of the list.
#[must_use]
pub fn row(run: &DrillRun) -> DrillRow {
    let whole = Part::of(run, |_| true);
    DrillRow {
        drill: run.id,
        started: run.started.into(),
        ends: run.ends.into(),
        within_seconds: within(run).as_secs(),
        precedence: run.precedence,
        asked: whole.asked(),
        delivered: whole.pace(Kind::Delivered),
        acknowledged: whole.pace(Kind::Acknowledged),
    }
}

/// The report on the drill at `place` among all drills, newest first; `None` if there is none there.
#[must_use]
pub fn report(
    runs: &[DrillRun],
    place: usize,
    by: MemberCode,
    now: Timestamp,
    groups: &Groups,
) -> Option<DrillReport> {
    let (run, earlier) = runs.get(place..)?.split_first()?;
    let figures = |group: Option<WorkingGroup>, part: &dyn Fn(&MemberCode) -> bool| {
        let this = Part::of(run, part);
        // A drill of a few says little about a whole group.
        let before: Vec<Part> = earlier.iter().map(|run| Part::of(run, part)).collect();
        let before: Vec<&Part> =
            before.iter().filter(|then| then.asked() * 2 >= this.asked()).take(COMPARED).collect();
        let against = |kind| {
            let medians = before.iter().map(|then| then.pace(kind).median_ms).collect();
            compared(medians, this.pace(kind).median_ms)
        };
        GroupFigures {
            group,
            asked: this.asked(),
            delivered: this.pace(Kind::Delivered),
            delivered_before: against(Kind::Delivered),
            acknowledged: this.pace(Kind::Acknowledged),
            acknowledged_before: against(Kind::Acknowledged),
        }
    };
    let of = |member: &MemberCode| groups.get(member).copied();
    let mut present: Vec<Option<WorkingGroup>> =
        run.recipients.iter().map(|asked| of(&asked.member)).collect();
    present.sort_unstable_by_key(|group| (group.is_none(), *group));
    present.dedup();
    let groups = present.into_iter().map(|group| figures(group, &|member| of(member) == group)).collect();
    let members = run.recipients.iter().map(|asked| member_answer(asked, run, earlier, of(&asked.member)));
    Some(DrillReport {
        row: row(run),
        by,
        now: now.into(),
        over: now >= run.ends,
        earlier: earlier.iter().take(COMPARED).map(row).collect(),
        all: figures(None, &|_| true),
        groups,
        members: members.collect(),
    })
}

fn member_answer(
    asked: &DrillRecipient,
    run: &DrillRun,
    earlier: &[DrillRun],
    group: Option<WorkingGroup>,
) -> MemberAnswer {
    let before: Vec<&DrillRecipient> = earlier
        .iter()
        .filter_map(|run| run.recipients.iter().find(|then| then.member == asked.member))
        .take(COMPARED)
        .collect();
    let against = |kind: Kind| {
        let times = before.iter().map(|then| kind.after(then)).collect();
        compared(times, kind.after(asked))
    };
    MemberAnswer {
        member: asked.member.clone(),
        group,
        message: asked.message,
        state: machine_word(asked.state),
        delivered: asked.delivered.map(|heard| answer(heard, asked, run)),
        delivered_before: against(Kind::Delivered),
        acknowledged: asked.acknowledged.map(|heard| answer(heard, asked, run)),
        acknowledged_before: against(Kind::Acknowledged),
    }
}

fn answer(heard: Heard, asked: &DrillRecipient, run: &DrillRun) -> Answer {
    let after_ms = after(heard, asked.created);
    Answer {
        after_ms,
        clock: if heard.heard.is_some() { WhoseClock::Here } else { WhoseClock::There },
        said: heard.said.into(),
        in_time: is_in_time(after_ms, run),
    }
}

/// Milliseconds by this node's clock where it was kept.
fn after(heard: Heard, created: Timestamp) -> u64 {
    millis(heard.heard.unwrap_or(heard.said).since(created))
}

fn is_in_time(after_ms: u64, run: &DrillRun) -> bool {
    after_ms <= millis(within(run))
}

/// The time that each message of the drill has; all were given the same.
fn within(run: &DrillRun) -> std::time::Duration {
    let last = run.recipients.iter().map(|asked| asked.created).max().unwrap_or(run.started);
    run.ends.since(last)
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// Which of the two answers.
#[derive(Clone, Copy)]
enum Kind {
    Delivered,
    Acknowledged,
}

impl Kind {
    fn after(self, asked: &DrillRecipient) -> Option<u64> {
        let heard = match self {
            Self::Delivered => asked.delivered,
            Self::Acknowledged => asked.acknowledged,
        };
        Some(after(heard?, asked.created))
    }
}

/// Those of a drill's members that a figure is about.
struct Part<'a> {
    run: &'a DrillRun,
    recipients: Vec<&'a DrillRecipient>,
}

impl<'a> Part<'a> {
    fn of(run: &'a DrillRun, is_in: impl Fn(&MemberCode) -> bool) -> Self {
        Self { run, recipients: run.recipients.iter().filter(|asked| is_in(&asked.member)).collect() }
    }

    fn asked(&self) -> u64 {
        self.recipients.len() as u64
    }

    fn pace(&self, kind: Kind) -> Pace {
        let times: Vec<Option<u64>> = self.recipients.iter().map(|asked| kind.after(asked)).collect();
        let answered = || times.iter().flatten();
        Pace {
            answered: answered().count() as u64,
            in_time: answered().filter(|after| is_in_time(**after, self.run)).count() as u64,
            slowest_ms: answered().max().copied(),
            median_ms: middle(times),
        }
    }
}

/// What the drills before say, the newest first, against what is said now.
fn compared(before: Vec<Option<u64>>, now: Option<u64>) -> Before {
    let (drills, answered) = (before.len() as u64, before.iter().flatten().count() as u64);
    let median_ms = middle(before);
    let change_ms = now.zip(median_ms).map(|(now, then)| {
        let apart = i64::try_from(now.abs_diff(then)).unwrap_or(i64::MAX);
        if now < then { -apart } else { apart }
    });
    Before { drills, answered, median_ms, change_ms }
}

/// The middle of the times, the greater of two; no answer is greater than every answer.
fn middle(mut times: Vec<Option<u64>>) -> Option<u64> {
    times.sort_unstable_by_key(|time| (time.is_none(), *time));
    times.get(times.len() / 2).copied().flatten()
}

/// A machine's word as the API says it.
const fn machine_word(state: RecipientState) -> MachineWord {
    match state {
        RecipientState::Undeliverable => MachineWord::Undeliverable,
        RecipientState::Expired => MachineWord::Expired,
        RecipientState::Stopped => MachineWord::Stopped,
        RecipientState::Refused => MachineWord::Refused,
        RecipientState::Queued => MachineWord::Queued,
        RecipientState::Sent => MachineWord::Sealed,
        RecipientState::Custody => MachineWord::Custody,
        RecipientState::Delivered => MachineWord::Delivered,
    }
}

/// Drills that one is compared with: some weeks of them. More would hide that something changed.
pub const COMPARED: usize = 5;

/// Drills that are listed: two years of a weekly one, and three months of a daily one.
pub const LISTED_MAX: usize = 100;

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        ids::MessageId,
        message::{drill::DrillId, header::Precedence},
    };

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(1_795_489_331_000 + millis)
    }

    /// A drill on a day, each member with the milliseconds after which it was delivered and acknowledged.
    fn run(day: u64, answers: &[(&str, Option<u64>, Option<u64>)]) -> DrillRun {
        let created = at(day * 24 * HOUR);
        let heard = |after: u64| {
            let heard = created.after(std::time::Duration::from_millis(after));
            // The other side's clock is an hour ahead: it must not matter.
            Heard { said: heard.after(std::time::Duration::from_millis(HOUR)), heard: Some(heard) }
        };
        let recipients = answers.iter().map(|(code, delivered, acknowledged)| DrillRecipient {
            member: code.parse().unwrap(),
            message: MessageId::from_bytes([7; 32]),
            created,
            state: if delivered.is_some() { RecipientState::Delivered } else { RecipientState::Expired },
            delivered: delivered.map(heard),
            acknowledged: acknowledged.map(heard),
        });
        DrillRun {
            id: DrillId::from_bytes([u8::try_from(day).unwrap(); 8]),
            started: created,
            ends: created.after(std::time::Duration::from_millis(3 * HOUR)),
            precedence: Precedence::Priority,
            recipients: recipients.collect(),
        }
    }

    fn groups() -> Groups {
        let of = |(code, group): (&str, WorkingGroup)| (code.parse().unwrap(), group);
        [("BR", WorkingGroup::Americas), ("FR", WorkingGroup::Eurasia), ("KE", WorkingGroup::Africa)]
            .map(of)
            .into_iter()
            .chain([of(("SG", WorkingGroup::Eurasia))])
            .collect()
    }

    /// The newest of three drills, a day after it: Kenya did not answer, Brazil answered late, X-LO has left.
    pub(crate) fn sample() -> DrillReport {
        let runs = [
            run(
                21,
                &[
                    ("BR", Some(2_000), Some(4 * HOUR)),
                    ("FR", Some(900), Some(61_000)),
                    ("KE", None, None),
                    ("SG", Some(1_500), Some(125_000)),
                    ("X-LO", Some(800), None),
                ],
            ),
            run(
                14,
                &[
                    ("BR", Some(1_000), Some(60_000)),
                    ("FR", Some(1_000), Some(91_000)),
                    ("KE", Some(5_000), Some(HOUR)),
                    ("SG", None, None),
                ],
            ),
            run(7, &[("FR", Some(1_200), Some(30_000)), ("KE", Some(3_000), None)]),
        ];
        report(&runs, 0, "JO".parse().unwrap(), at(22 * 24 * HOUR), &groups()).unwrap()
    }

    #[test]
    fn no_answer_counts_as_slower_than_every_answer() {
        assert_eq!(middle(vec![]), None);
        assert_eq!(middle(vec![Some(5)]), Some(5));
        assert_eq!(middle(vec![Some(5), Some(1)]), Some(5), "the greater of two");
        assert_eq!(middle(vec![None, Some(1), Some(9)]), Some(9));
        assert_eq!(middle(vec![None, Some(1)]), None);
        assert_eq!(middle(vec![None, None, Some(1)]), None);
    }

    #[test]
    fn times_are_this_nodes_and_who_did_not_answer_is_listed() {
        let report = sample();
        let codes: Vec<&str> = report.members.iter().map(|answer| answer.member.as_str()).collect();
        assert_eq!(codes, ["BR", "FR", "KE", "SG", "X-LO"]);
        let [br, fr, ke, _, lo] = report.members.as_slice() else { panic!("five members") };
        let delivered = br.delivered.unwrap();
        assert_eq!((delivered.after_ms, delivered.clock, delivered.in_time), (2_000, WhoseClock::Here, true));
        assert!(!br.acknowledged.unwrap().in_time, "four hours of three");
        assert_eq!((ke.state, ke.delivered, ke.acknowledged), (MachineWord::Expired, None, None));
        assert_eq!((fr.group, lo.group), (Some(WorkingGroup::Eurasia), None));
        let row = &report.row;
        assert_eq!((row.asked, row.within_seconds, report.over), (5, 10_800, true));
        assert_eq!((row.delivered.answered, row.delivered.median_ms), (4, Some(1_500)));
        let acknowledged =
            Pace { answered: 3, in_time: 2, median_ms: Some(4 * HOUR), slowest_ms: Some(4 * HOUR) };
        assert_eq!(row.acknowledged, acknowledged);
    }

    #[test]
    fn a_member_is_compared_with_the_drills_that_asked_it() {
        let report = sample();
        let [br, fr, ke, sg, lo] = report.members.as_slice() else { panic!("five members") };
        let before =
            |drills, answered, median_ms, change_ms| Before { drills, answered, median_ms, change_ms };
        assert_eq!(br.delivered_before, before(1, 1, Some(1_000), Some(1_000)));
        assert_eq!(fr.delivered_before, before(2, 2, Some(1_200), Some(-300)));
        assert_eq!(ke.delivered_before, before(2, 2, Some(5_000), None), "nothing to compare now");
        assert_eq!(ke.acknowledged_before, before(2, 1, None, None), "of two, the slower did not answer");
        assert_eq!(sg.acknowledged_before, before(1, 0, None, None));
        assert_eq!(lo.delivered_before, Before::default());
    }

    #[test]
    fn a_group_is_compared_with_drills_that_asked_half_of_it() {
        let report = sample();
        let groups: Vec<_> = report.groups.iter().map(|figures| (figures.group, figures.asked)).collect();
        let expected = [
            (Some(WorkingGroup::Africa), 1),
            (Some(WorkingGroup::Americas), 1),
            (Some(WorkingGroup::Eurasia), 2),
            (None, 1),
        ];
        assert_eq!(groups, expected);
        let eurasia = report.groups[2];
        assert_eq!(eurasia.delivered.median_ms, Some(1_500));
        // A week ago Singapore did not answer; two weeks ago France alone was asked, which is half.
        let before = Before { drills: 2, answered: 1, median_ms: None, change_ms: None };
        assert_eq!(eurasia.delivered_before, before);
        // Two of five is less than half: the oldest drill says nothing about all.
        assert_eq!(report.all.delivered_before.drills, 1);
        assert_eq!(report.earlier.len(), 2);
    }

    #[test]
    fn what_earlier_programs_kept_is_measured_by_the_other_side() {
        let mut old = run(7, &[("FR", Some(1_000), None)]);
        old.recipients[0].delivered.as_mut().unwrap().heard = None;
        let report = report(&[old], 0, "JO".parse().unwrap(), at(0), &groups()).unwrap();
        let delivered = report.members[0].delivered.unwrap();
        assert_eq!((delivered.clock, delivered.after_ms), (WhoseClock::There, HOUR + 1_000));
        assert!(!report.over);
    }
}
