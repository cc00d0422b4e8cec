//! The pictures of a drill's page: bars of time for each member, and shares for each working group. Drawn from left to
//! right in every script, since their axis is time; the same figures stand in the tables beside them.

use crate::{
    api::views::drill::{Answer, DrillReport, DrillRow, GroupFigures, MemberAnswer, Pace},
    cli::{
        drill::{group_name, span},
        human,
        page::escaped,
    },
};

/// How many of each working group answered in time.
pub(super) fn shares(report: &DrillReport) -> String {
    let line = |figures: &GroupFigures| {
        (group_name(figures.group), figures.asked, figures.delivered, figures.acknowledged)
    };
    let lines: Vec<_> = report.groups.iter().map(line).collect();
    share_chart("groups", "How many of each working group answered in time", &lines)
}

/// The same of this drill and those before, oldest first.
pub(super) fn history(report: &DrillReport) -> String {
    let line = |row: &DrillRow| {
        (format!("{:.10}", row.started.to_string()), row.asked, row.delivered, row.acknowledged)
    };
    let drills = report.earlier.iter().rev().chain([&report.row]);
    let lines: Vec<_> = drills.map(line).collect();
    share_chart("history", "How many answered in time, drill by drill", &lines)
}

/// For each member two bars of time: until it was delivered, and until a person answered.
pub(super) fn times(report: &DrillReport) -> String {
    let within = report.row.within_seconds.saturating_mul(1_000);
    let answers = report.members.iter().flat_map(|member| [member.delivered, member.acknowledged]);
    let longest = answers.flatten().map(|answer| answer.after_ms).max().unwrap_or(0).max(within);
    let height = TOP + LINE * report.members.len() as u64;
    let mut svg = opened("times", "How long each member took", height);
    for (millis, name) in TICKS.iter().filter(|(millis, _)| *millis <= longest) {
        let x = LABEL + place(*millis, longest);
        // A name at the very end would be cut off.
        let anchor = if x + NAME_HALF > WIDTH { "end" } else { "middle" };
        svg.push_str(&format!(
            "<line class=\"grid\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{height}\"/>\
             <text x=\"{x}\" y=\"14\" text-anchor=\"{anchor}\">{name}</text>\n"
        ));
    }
    let end = LABEL + place(within, longest);
    svg.push_str(&format!("<line class=\"end\" x1=\"{end}\" y1=\"{TOP}\" x2=\"{end}\" y2=\"{height}\"/>\n"));
    for (at, member) in report.members.iter().enumerate() {
        svg.push_str(&member_bars(member, TOP + LINE * at as u64, longest, report.over));
    }
    svg.push_str("</svg>\n");
    svg
}

fn member_bars(member: &MemberAnswer, y: u64, longest: u64, over: bool) -> String {
    let mut bars = format!("<text x=\"0\" y=\"{}\">{}</text>", y + 13, escaped(member.member.as_str()));
    let mut bar = |class: &str, y: u64, answer: Option<Answer>, before: Option<u64>| {
        if let Some(answer) = answer {
            let width = place(answer.after_ms, longest).max(2);
            bars.push_str(&format!(
                "<rect class=\"{class}\" x=\"{LABEL}\" y=\"{y}\" width=\"{width}\" height=\"{BAR}\"/>"
            ));
        }
        if let Some(before) = before {
            let x = LABEL + place(before, longest);
            bars.push_str(&format!(
                "<line class=\"before\" x1=\"{x}\" y1=\"{y}\" x2=\"{x}\" y2=\"{}\"/>",
                y + BAR
            ));
        }
    };
    bar("delivered", y + 2, member.delivered, member.delivered_before.median_ms);
    bar("acknowledged", y + 10, member.acknowledged, member.acknowledged_before.median_ms);
    let missing = match (member.delivered, member.acknowledged, over) {
        (_, Some(_), _) => None,
        (None, None, true) => Some("not delivered"),
        (None, None, false) => Some("not delivered yet"),
        (Some(_), None, true) => Some("nobody acknowledged"),
        (Some(_), None, false) => Some("nobody acknowledged yet"),
    };
    if let Some(missing) = missing {
        // Below the bar of the delivery, where that of the answer would be.
        let (x, y) = (LABEL + 4, y + 19);
        bars.push_str(&format!("<text class=\"missing\" x=\"{x}\" y=\"{y}\">{missing}</text>"));
    }
    bars.push('\n');
    bars
}

fn share_chart(id: &str, title: &str, lines: &[(String, u64, Pace, Pace)]) -> String {
    let height = LINE * lines.len() as u64 + 4;
    let mut svg = opened(id, title, height);
    for (at, (name, asked, delivered, acknowledged)) in lines.iter().enumerate() {
        let y = LINE * at as u64;
        let width = |pace: &Pace| pace.in_time.saturating_mul(SHARE).checked_div(*asked).unwrap_or(0);
        svg.push_str(&format!(
            "<text x=\"0\" y=\"{}\">{}</text>\
             <rect class=\"asked\" x=\"{LABEL}\" y=\"{}\" width=\"{SHARE}\" height=\"{}\"/>\
             <rect class=\"delivered\" x=\"{LABEL}\" y=\"{}\" width=\"{}\" height=\"{BAR}\"/>\
             <rect class=\"acknowledged\" x=\"{LABEL}\" y=\"{}\" width=\"{}\" height=\"{BAR}\"/>\
             <text x=\"{}\" y=\"{}\">{asked} asked: {} delivered, {} acknowledged</text>\n",
            y + 13,
            escaped(name),
            y + 2,
            2 * BAR,
            y + 2,
            width(delivered),
            y + 2 + BAR,
            width(acknowledged),
            LABEL + SHARE + 8,
            y + 13,
            delivered.in_time,
            acknowledged.in_time,
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn opened(id: &str, title: &str, height: u64) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}\" direction=\"ltr\">\
         <title id=\"{id}\">{title}: the same figures stand in the tables</title>\n"
    )
}

/// Where a time stands on an axis on which each tenfold takes as much room, from a hundredth of a second to the longest: a
/// machine answers in a second, a person in an hour.
fn place(millis: u64, longest: u64) -> u64 {
    let part = log2(millis).saturating_sub(log2(SHORTEST));
    let whole = log2(longest).saturating_sub(log2(SHORTEST)).max(1);
    (part * BARS / whole).min(BARS)
}

/// The binary logarithm in thousandths, straight between powers of two: a picture needs no more.
fn log2(value: u64) -> u64 {
    let value = value.max(1);
    let whole = u64::from(value.ilog2());
    let above = u128::from(value - (1 << whole)) * 1_000 / (1_u128 << whole);
    whole * 1_000 + u64::try_from(above).unwrap_or(999)
}

/// What the marks on the axis of time are called.
const TICKS: [(u64, &str); 11] = [
    (10, "10 ms"),
    (100, "0.1 s"),
    (1_000, "1 s"),
    (10_000, "10 s"),
    (60_000, "1 min"),
    (600_000, "10 min"),
    (3_600_000, "1 h"),
    (10_800_000, "3 h"),
    (43_200_000, "12 h"),
    (172_800_000, "2 d"),
    (604_800_000, "7 d"),
];

/// Where the axis of time begins, in milliseconds.
const SHORTEST: u64 = 10;

/// Units of the drawing: its width, where the bars begin, how long they are, a line's and a bar's height, the axis.
const WIDTH: u64 = 1_000;
const LABEL: u64 = 140;
const BARS: u64 = 840;
const SHARE: u64 = 540;
const LINE: u64 = 24;
const BAR: u64 = 8;
const TOP: u64 = 20;
/// Half of what the longest name of a mark takes.
const NAME_HALF: u64 = 30;

/// What stands in a cell of a table for an answer.
pub(super) fn cell(answer: Option<&Answer>, missing: &str) -> String {
    let Some(answer) = answer else { return format!("<td class=\"missing\">{missing}</td>") };
    let late = if answer.in_time { "" } else { " late" };
    let said = format!("answered at {} by the other side’s clock", human::instant(answer.said));
    format!("<td title=\"{said}\"><bdi>{}</bdi>{late}</td>", span(answer.after_ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn longer_is_never_drawn_shorter_and_nothing_leaves_the_picture() {
        let longest = 14 * 86_400_000;
        let times = [0, 1, 9, 10, 11, 999, 1_000, 60_000, 3_600_000, longest, longest * 2];
        let places: Vec<u64> = times.iter().map(|time| place(*time, longest)).collect();
        assert!(places.is_sorted(), "{places:?}");
        assert_eq!((places[3], places[9], places[10]), (0, BARS, BARS));
        assert!(place(u64::MAX, u64::MAX) <= BARS && place(5, 0) <= BARS);
    }
}
