//! One self-contained page about a drill: charts, and all their figures as tables. No script, nothing fetched from
//! anywhere; readable without colours, by a screen reader, and in a page turned from right to left.

use crate::{
    api::views::{
        drill::{Before, DrillReport, GroupFigures, MemberAnswer, Pace},
        names::MemberNames,
        receipt::MachineWord,
    },
    cli::{
        drill::{
            chart::{self, cell},
            group_name,
            report::{before, half},
        },
        human,
        message::machine_word,
        page::{bare, escaped},
    },
};

/// Draws the page.
pub(super) fn page(report: &DrillReport) -> String {
    let row = &report.row;
    let standing = if report.over { "It is over." } else { "It is not over: answers still count." };
    let mut body = format!(
        "<h1>DRILL: {} of {} acknowledged in time</h1>\n\
         <p>A test of the network by {}, started at <bdi>{}</bdi>, <bdi>{}</bdi> to answer. {standing} Seen at \
         <bdi>{}</bdi>. <code>{}</code></p>\n\
         <ul class=\"key\"><li><span class=\"tile delivered\">machine</span> delivered: a node has it on its disk</li>\
         <li><span class=\"tile acknowledged\">person</span> acknowledged: somebody answered</li>\
         <li><b>|</b> the middle of the last drills</li></ul>\n",
        row.acknowledged.in_time,
        row.asked,
        escaped(&human::member(&report.by)),
        human::instant(row.started),
        human::duration(row.within_seconds),
        human::instant(report.now),
        row.drill,
    );
    body.push_str("<h2>By working group</h2>\n");
    body.push_str(&chart::shares(report));
    body.push_str(&groups(report));
    if !report.earlier.is_empty() {
        body.push_str("<h2>Drill by drill</h2>\n");
        body.push_str(&chart::history(report));
        body.push_str(&drills(report));
    }
    body.push_str("<h2>By member</h2>\n");
    body.push_str(&chart::times(report));
    body.push_str(&members(report));
    body.push_str(NOTES);
    bare("Refpoint drill", STYLE, &body)
}

fn table(caption: &str, head: &[&str], rows: impl Iterator<Item = String>) -> String {
    let head: String = head.iter().map(|name| format!("<th scope=\"col\">{name}</th>")).collect();
    let rows: String = rows.map(|row| format!("<tr>{row}</tr>\n")).collect();
    format!(
        "<table><caption>{caption}</caption>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody></table>\n"
    )
}

fn groups(report: &DrillReport) -> String {
    let head =
        ["working group", "asked", "delivered", "most by", "before", "acknowledged", "most by", "before"];
    let line = |name: String, figures: &GroupFigures| {
        format!(
            "<th scope=\"row\">{}</th><td>{}</td>{}{}{}{}",
            escaped(&name),
            figures.asked,
            pace(&figures.delivered, report.over),
            past(&figures.delivered_before),
            pace(&figures.acknowledged, report.over),
            past(&figures.acknowledged_before),
        )
    };
    let all = line("all".to_owned(), &report.all);
    let lines = report.groups.iter().map(|figures| line(group_name(figures.group), figures));
    table("How many answered in time, and after how long most had", &head, lines.chain([all]))
}

fn drills(report: &DrillReport) -> String {
    let head = ["started", "drill", "asked", "delivered", "most by", "acknowledged", "most by"];
    let drills = [&report.row].into_iter().chain(&report.earlier);
    let lines = drills.map(|row| {
        let over = row.ends <= report.now;
        format!(
            "<th scope=\"row\"><bdi>{}</bdi></th><td><code>{}</code></td><td>{}</td>{}{}",
            human::instant(row.started),
            row.drill,
            row.asked,
            pace(&row.delivered, over),
            pace(&row.acknowledged, over),
        )
    });
    table("This drill and those before, newest first", &head, lines)
}

fn members(report: &DrillReport) -> String {
    let head = ["member", "working group", "delivered", "before", "acknowledged", "before"];
    let lines = report.members.iter().map(|answer| member(answer, report.over));
    table("Every member that was asked", &head, lines)
}

fn member(answer: &MemberAnswer, over: bool) -> String {
    let names = MemberNames::of(&answer.member);
    let code = answer.member.as_str();
    // A bureau has no names but its code.
    let named = if names.en == code {
        String::new()
    } else {
        format!(
            " <bdi lang=\"en\">{}</bdi> <bdi lang=\"ar\" dir=\"rtl\">{}</bdi>",
            escaped(&names.en),
            escaped(&names.ar)
        )
    };
    let undelivered = match answer.state {
        MachineWord::Delivered => String::new(),
        state if over => format!("not delivered ({})", machine_word(state)),
        state => format!("not yet ({})", machine_word(state)),
    };
    format!(
        "<th scope=\"row\"><b><bdi>{}</bdi></b>{named}</th><td>{}</td>{}{}{}{}",
        escaped(code),
        group_name(answer.group),
        cell(answer.delivered.as_ref(), &undelivered),
        past(&answer.delivered_before),
        cell(answer.acknowledged.as_ref(), if over { "nobody" } else { "nobody yet" }),
        past(&answer.acknowledged_before),
    )
}

fn pace(pace: &Pace, over: bool) -> String {
    let late = pace.answered.saturating_sub(pace.in_time);
    let late = if late > 0 { format!(", {late} late") } else { String::new() };
    let half = half(pace, over);
    format!("<td>{}{late}</td><td><bdi>{half}</bdi></td>", pace.in_time)
}

fn past(past: &Before) -> String {
    format!("<td><bdi>{}</bdi></td>", escaped(&before(past)))
}

const NOTES: &str = "\
<p>Times run from the making of a message to the arrival of the answer at the node that started the drill, by its own \
clock. <i>Most by</i> is the time after which more than half of those asked had answered; whoever did not answer counts as slower \
than all others. <i>Before</i> is the middle of the last five drills that asked the same. The axis of time is \
logarithmic; the dashed line is the end of the drill.</p>\n";

const STYLE: &str = "\
body{font:16px/1.4 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
h1{padding:.6rem 1rem;border-inline-start:.6rem solid #8250df}.key{list-style:none;padding:0}\
.tile{display:inline-block;min-width:5rem;padding:.15rem .4rem;border-radius:4px;text-align:center;color:#fff}\
.tile.delivered{background:#0969da}.tile.acknowledged{background:#1a7f37}\
svg{width:100%;font:13px system-ui,sans-serif}rect.asked{fill:#eaeef2}rect.delivered{fill:#0969da}\
rect.acknowledged{fill:#1a7f37}line.grid{stroke:#d0d7de}line.end{stroke:#1b1b1b;stroke-dasharray:4 3}\
line.before{stroke:#1b1b1b;stroke-width:3}text.missing{fill:#9a3412;font-size:10px}\
table{border-collapse:collapse;width:100%;margin:1rem 0}caption{text-align:start;font-style:italic}\
th,td{text-align:start;padding:.2rem .5rem;border-bottom:1px solid #d0d7de;vertical-align:top}td.missing{color:#9a3412}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::drills::tests::sample;

    #[test]
    fn the_page_stands_alone_and_its_tables_hold_what_its_charts_show() {
        let page = page(&sample());
        assert!(page.contains("<h1>DRILL: 2 of 5 acknowledged in time</h1>"), "{page}");
        for outside in ["http://", "https://", "src=", "href=", "<script", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for element in
            ["html", "body", "h1", "h2", "svg", "table", "caption", "tr", "td", "th", "text", "title"]
        {
            let opened =
                page.matches(&format!("<{element}>")).count() + page.matches(&format!("<{element} ")).count();
            assert_eq!(opened, page.matches(&format!("</{element}>")).count(), "{element}");
        }
        // A row for each member, a bar for each answer of one, in the last chart.
        let members = page.split("<h2>By member</h2>").nth(1).unwrap();
        assert_eq!(members.matches("<tr><th scope=\"row\">").count(), 5);
        assert_eq!(members.matches("<rect class=\"delivered\"").count(), 4);
        assert_eq!(members.matches("<rect class=\"acknowledged\"").count(), 3);
        assert!(
            members.contains(">not delivered</text>") && members.contains("not delivered (expired)</td>")
        );
        assert!(members.contains("<bdi lang=\"ar\" dir=\"rtl\">"));
        for chart in ["groups", "history", "times"] {
            assert!(page.contains(&format!("aria-labelledby=\"{chart}\"")), "{chart}");
        }
        assert!(!page.contains("left") && !page.contains("right"), "sides follow the page's direction");
    }

    #[test]
    fn a_first_drill_that_runs_has_no_history_and_says_that_it_is_not_over() {
        let mut report = sample();
        (report.over, report.earlier) = (false, Vec::new());
        let page = page(&report);
        assert!(page.contains("nobody acknowledged yet</text>"));
        assert!(page.contains("It is not over") && page.contains("not delivered yet</text>"));
        assert!(page.contains("nobody yet</td>") && !page.contains("Drill by drill"));
    }
}
