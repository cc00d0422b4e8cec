//! One self-contained page: a tile for each node and a line of time for each that is not the same. No script, nothing
//! fetched from anywhere, readable without colours.

use crate::{
    api::views::{
        heads::{HeadRow, HeadStanding, HeadsReport},
        names::MemberNames,
    },
    cli::{
        human,
        page::{bare, escaped},
    },
};

/// Draws the page.
pub(super) fn page(report: &HeadsReport) -> String {
    let (word, headline) = headline(report);
    let mut body = format!(
        "<h1 class=\"{word}\">{}</h1>\n<p>Seen from {} at {}. It holds <code>{}</code> since {}.</p>\n",
        escaped(&headline),
        escaped(&human::member(&report.member)),
        human::instant(report.now),
        report.digest.short(),
        human::instant(report.since),
    );
    body.push_str("<ul class=\"key\">");
    for standing in HeadStanding::ALL.into_iter().rev() {
        let (count, name) = (report.count(standing), standing.name());
        body.push_str(&format!(
            "<li><span class=\"tile {name}\">{}</span> <b>{count}</b> {}</li>",
            sign(standing),
            standing.meaning(),
        ));
    }
    body.push_str("</ul>\n");
    body.push_str(&tiles(report));
    body.push_str(&times(report));
    bare("Refpoint heads", STYLE, &body)
}

/// What a person reads first.
fn headline(report: &HeadsReport) -> (&'static str, String) {
    let all = report.nodes.len();
    let of = |standing| report.count(standing);
    let contradicting = of(HeadStanding::Contradicts);
    if contradicting > 0 {
        return ("contradicts", format!("{contradicting} of {all} nodes contradict themselves"));
    }
    let same = of(HeadStanding::Same);
    let quiet = of(HeadStanding::Silent) + of(HeadStanding::NotHeard);
    let behind = of(HeadStanding::Behind);
    if same == all {
        return ("same", format!("All {all} other nodes hold the same directory"));
    }
    let mut parts = vec![format!("{same} of {all} other nodes hold the same directory")];
    for (count, what) in
        [(behind, "behind"), (of(HeadStanding::Unmatched), "ahead or in between"), (quiet, "not heard")]
    {
        if count > 0 {
            parts.push(format!("{count} {what}"));
        }
    }
    (if behind > 0 { "behind" } else { "unmatched" }, parts.join(", "))
}

/// A tile for each node, by member.
fn tiles(report: &HeadsReport) -> String {
    let mut tiles = String::from("<div class=\"tiles\">");
    for row in &report.nodes {
        let since = row.since.map(|since| {
            format!(" since {} ({})", human::instant(since), human::duration(since.age_seconds(report.now)))
        });
        let title = format!(
            "{}, node {}: {}{}",
            MemberNames::of(&row.member).en,
            row.node.short(),
            row.standing.name(),
            since.unwrap_or_default(),
        );
        tiles.push_str(&format!(
            "<span class=\"tile {}\" title=\"{}\">{} <b>{}</b></span>",
            row.standing.name(),
            escaped(&title),
            sign(row.standing),
            escaped(row.member.as_str()),
        ));
    }
    tiles.push_str("</div>\n");
    tiles
}

/// For each node that is not the same: since when, on a line that ends now. Those that were never heard are left out:
/// all of them are so since this node's start, and their tiles say it.
fn times(report: &HeadsReport) -> String {
    let heard = report.nodes.iter().filter(|row| row.standing != HeadStanding::NotHeard);
    let mut rows: Vec<(&HeadRow, u64)> =
        heard.filter_map(|row| Some((row, row.since?.age_seconds(report.now)))).collect();
    let Some(longest) = rows.iter().map(|(_, age)| *age).max() else { return String::new() };
    rows.sort_by_key(|(row, age)| (row.standing, std::cmp::Reverse(*age)));
    let span = longest.max(SPAN_LEAST_SECONDS);
    let height = LINE * rows.len() as u64 + LINE;
    let mut svg = format!(
        "<h2>Since when</h2>\n<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Since when each node \
         that is not the same is so\">\n",
    );
    for (at, (row, age)) in rows.iter().enumerate() {
        let y = LINE * at as u64;
        // The longest bar fills its space; whole units of a thousandth suffice.
        let length = (age.saturating_mul(BARS) / span).max(2);
        let (x, text) = (LABEL + BARS - length, y + LINE * 7 / 10);
        svg.push_str(&format!(
            "<text x=\"0\" y=\"{text}\">{} {}</text><rect class=\"{}\" x=\"{x}\" y=\"{}\" width=\"{length}\" \
             height=\"{}\"/><text x=\"{}\" y=\"{text}\">{}</text>\n",
            escaped(row.member.as_str()),
            row.standing.name(),
            row.standing.name(),
            y + 3,
            LINE - 6,
            LABEL + BARS + 6,
            human::duration(*age),
        ));
    }
    let foot = height - LINE / 3;
    svg.push_str(&format!(
        "<text x=\"{LABEL}\" y=\"{foot}\">{} ago</text><text x=\"{}\" y=\"{foot}\">now</text></svg>\n",
        human::duration(span),
        LABEL + BARS - 24,
    ));
    svg
}

/// A sign for those who see no colours.
const fn sign(standing: HeadStanding) -> &'static str {
    match standing {
        HeadStanding::Same => "=",
        HeadStanding::Behind => "&lt;",
        HeadStanding::Unmatched => "&gt;",
        HeadStanding::Silent => "&hellip;",
        HeadStanding::NotHeard => "?",
        HeadStanding::Contradicts => "!",
    }
}

/// Units of the drawing: its width, where the bars begin, how long the longest is, the height of a line.
const WIDTH: u64 = 1_000;
const LABEL: u64 = 160;
const BARS: u64 = 720;
const LINE: u64 = 20;

/// The least that the line of time shows: within it nobody is long behind.
const SPAN_LEAST_SECONDS: u64 = 3_600;

const STYLE: &str = "\
body{font:16px/1.4 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}\
h1{padding:.6rem 1rem;border-left:.6rem solid}h1.same{border-color:#1a7f37}h1.behind,h1.unmatched{border-color:#9a6700}\
h1.contradicts{border-color:#cf222e}.key{list-style:none;padding:0;columns:2}\
.key li{display:flex;gap:.5rem;align-items:baseline;break-inside:avoid;margin:2px}.key .tile{flex:none}.tiles{display:flex;flex-wrap:wrap;gap:4px}\
.tile{display:inline-block;min-width:3.6rem;padding:.15rem .4rem;border-radius:4px;text-align:center;color:#fff}\
.tile.same{background:#1a7f37}.tile.behind{background:#9a6700}.tile.unmatched{background:#0969da}\
.tile.silent{background:#57606a}.tile.not-heard{background:#eaeef2;color:#24292f}.tile.contradicts{background:#cf222e;outline:3px solid #000}\
svg{width:100%;font:13px system-ui,sans-serif}rect.behind{fill:#9a6700}rect.unmatched{fill:#0969da}rect.silent{fill:#57606a}";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::cli::audit::heads::tests::report;

    #[test]
    fn the_page_stands_alone_and_says_at_a_glance_how_things_are() {
        let page = page(&report());
        assert!(page.contains("<h1 class=\"contradicts\">1 of 6 nodes contradict themselves</h1>"), "{page}");
        for code in ["BR", "CI", "FR", "JO", "SG", "X-LO"] {
            assert!(page.contains(&format!("<b>{code}</b></span>")), "{code}");
        }
        // A bureau shows its code; a name with a letter that means something to a browser is made safe.
        assert!(
            page.contains("C&ocirc;te") || page.contains("Côte d’Ivoire") || page.contains("d&#39;Ivoire")
        );
        for outside in ["http://", "https://", "src=", "href=", "<script", "url(", "@import"] {
            assert!(!page.contains(outside), "{outside}");
        }
        // Every element that opens closes; the picture has a bar for each that has a beginning.
        for element in ["html", "body", "h1", "h2", "svg", "ul", "div", "style"] {
            assert_eq!(
                page.matches(&format!("<{element}")).count(),
                page.matches(&format!("</{element}>")).count(),
                "{element}"
            );
        }
        assert_eq!(page.matches("<rect").count(), 3);
        assert!(!page.to_lowercase().contains("different"));
    }

    #[test]
    fn where_all_hold_the_same_it_says_so_and_draws_no_times() {
        let mut report = report();
        report.nodes.retain(|node| node.standing == HeadStanding::Same);
        let page = page(&report);
        assert!(page.contains("<h1 class=\"same\">All 1 other nodes hold the same directory</h1>"));
        assert!(!page.contains("<svg"));
    }

    #[test]
    fn behind_is_said_first_where_nobody_contradicts() {
        let mut report = report();
        report.nodes.retain(|node| node.standing != HeadStanding::Contradicts);
        let (word, headline) = headline(&report);
        let expected =
            "1 of 5 other nodes hold the same directory, 1 behind, 1 ahead or in between, 2 not heard";
        assert_eq!((word, headline.as_str()), ("behind", expected));
    }
}
