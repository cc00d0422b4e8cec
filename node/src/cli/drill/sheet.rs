//! A drill as CSV (RFC 4180): a line for each member, times in milliseconds, empty where there is none.

use refpoint_protocol::membership::charter::WorkingGroup;
use serde::Serialize;

use crate::api::views::{
    drill::{Answer, Before, DrillReport, MemberAnswer, WhoseClock},
    receipt::MachineWord,
};

/// One line. The names are the file's head.
#[derive(Serialize)]
struct Line<'a> {
    drill: String,
    started: String,
    within_seconds: u64,
    member: &'a str,
    working_group: Option<WorkingGroup>,
    machine: MachineWord,
    delivered_ms: Option<u64>,
    delivered_in_time: bool,
    delivered_clock: Option<WhoseClock>,
    delivered_before_drills: u64,
    delivered_before_answered: u64,
    delivered_before_median_ms: Option<u64>,
    delivered_change_ms: Option<i64>,
    acknowledged_ms: Option<u64>,
    acknowledged_in_time: bool,
    acknowledged_clock: Option<WhoseClock>,
    acknowledged_before_drills: u64,
    acknowledged_before_answered: u64,
    acknowledged_before_median_ms: Option<u64>,
    acknowledged_change_ms: Option<i64>,
}

/// Writes the sheet.
///
/// # Errors
/// The writer's, which a buffer in memory does not have.
pub(super) fn sheet(report: &DrillReport) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    for answer in &report.members {
        writer.serialize(line(report, answer))?;
    }
    writer.into_inner().map_err(|error| error.into_error().into())
}

fn line<'a>(report: &DrillReport, member: &'a MemberAnswer) -> Line<'a> {
    let after = |answer: Option<Answer>| answer.map(|answer| answer.after_ms);
    let clock = |answer: Option<Answer>| answer.map(|answer| answer.clock);
    let in_time = |answer: Option<Answer>| answer.is_some_and(|answer| answer.in_time);
    let (delivered, acknowledged) = (member.delivered, member.acknowledged);
    let Before { drills, answered, median_ms, change_ms } = member.delivered_before;
    let before = member.acknowledged_before;
    Line {
        drill: report.row.drill.to_string(),
        started: report.row.started.to_string(),
        within_seconds: report.row.within_seconds,
        member: member.member.as_str(),
        working_group: member.group,
        machine: member.state,
        delivered_ms: after(delivered),
        delivered_in_time: in_time(delivered),
        delivered_clock: clock(delivered),
        delivered_before_drills: drills,
        delivered_before_answered: answered,
        delivered_before_median_ms: median_ms,
        delivered_change_ms: change_ms,
        acknowledged_ms: after(acknowledged),
        acknowledged_in_time: in_time(acknowledged),
        acknowledged_clock: clock(acknowledged),
        acknowledged_before_drills: before.drills,
        acknowledged_before_answered: before.answered,
        acknowledged_before_median_ms: before.median_ms,
        acknowledged_change_ms: before.change_ms,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::drills::tests::sample;

    #[test]
    fn each_member_has_a_line_whether_it_answered_or_not() {
        let text = String::from_utf8(sheet(&sample()).unwrap()).unwrap();
        let lines: Vec<&str> = text.split("\r\n").collect();
        assert!(
            lines[0].starts_with("drill,started,within_seconds,member,working_group,machine,delivered_ms,")
        );
        assert_eq!(lines.len(), 1 + 5 + 1, "{text}");
        let id = "drill-1515151515151515";
        let ke = lines.iter().find(|line| line.contains(",KE,")).unwrap();
        assert!(
            ke.starts_with(id) && ke.ends_with(",KE,Africa,expired,,false,,2,2,5000,,,false,,2,1,,"),
            "{ke}"
        );
        let fr = lines.iter().find(|line| line.contains(",FR,")).unwrap();
        let expected = ",FR,Eurasia,delivered,900,true,here,2,2,1200,-300,61000,true,here,2,2,91000,-30000";
        assert!(fr.ends_with(expected), "{fr}");
        let columns = lines[0].split(',').count();
        assert!(lines[..6].iter().all(|line| line.split(',').count() == columns));
    }
}
