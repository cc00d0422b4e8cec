//! What changes when one reference point takes another's place, as lines for people. Pure.

use refpoint_protocol::directory::reference_point::{Channel, Competence, OnDuty};
use serde::{Deserialize, Serialize};

use crate::api::views::directory::ReferencePointView;

/// One field that changes: its lines before and after, without those that stay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The field.
    pub field: String,
    /// Lines that go.
    pub published: Vec<String>,
    /// Lines that come. Where only the order changes, all lines stand on both sides.
    pub new: Vec<String>,
}

/// The fields in which `new` differs from what is published; with nothing published, all that `new` fills in.
#[must_use]
pub fn differences(published: Option<&ReferencePointView>, new: &ReferencePointView) -> Vec<Difference> {
    let after = lines(new);
    let before = published.map(lines);
    let pairs = after.into_iter().enumerate().map(|(index, (field, new))| {
        let published = before.as_ref().and_then(|before| before.get(index));
        (field, published.map(|(_, lines)| lines.clone()).unwrap_or_default(), new)
    });
    pairs.filter_map(|(field, published, new)| difference(field, &published, &new)).collect()
}

fn difference(field: &str, published: &[String], new: &[String]) -> Option<Difference> {
    if published == new {
        return None;
    }
    let without = |lines: &[String], others: &[String]| -> Vec<String> {
        lines.iter().filter(|line| !others.contains(line)).cloned().collect()
    };
    let (gone, come) = (without(published, new), without(new, published));
    let is_order = gone.is_empty() && come.is_empty();
    let (published, new) = if is_order { (published.to_vec(), new.to_vec()) } else { (gone, come) };
    Some(Difference { field: field.to_owned(), published, new })
}

/// Every field with its lines, in an order that is the same for all entries.
fn lines(entry: &ReferencePointView) -> [(&'static str, Vec<String>); 8] {
    let ReferencePointView { names, agency, channels, languages, competences, on_duty, time_zone, sample } =
        entry;
    [
        ("unit", names.iter().map(|name| format!("{}: {}", name.language, name.text)).collect()),
        ("agency", agency.iter().cloned().collect()),
        ("channels", channels.iter().map(channel).collect()),
        ("languages", if languages.is_empty() { Vec::new() } else { vec![languages.join(", ")] }),
        ("competences", competences.iter().map(competence).collect()),
        ("answers now", on_duty.iter().map(duty).collect()),
        ("time zone", vec![time_zone.clone()]),
        ("sample", if *sample { vec!["this is a sample and no real unit".to_owned()] } else { Vec::new() }),
    ]
}

fn channel(channel: &Channel) -> String {
    let hours = if channel.always { "at any hour" } else { "not at any hour" };
    let note = channel.note.as_deref().map(|note| format!(" ({note})")).unwrap_or_default();
    format!("{}: {}, {hours}{note}", tag(&channel.kind), channel.value)
}

fn competence(competence: &Competence) -> String {
    format!("{}: {}", tag(&competence.task), tag(&competence.mode))
}

fn duty(duty: &OnDuty) -> String {
    format!("{}, speaks {}", duty.role, duty.languages.join(", "))
}

/// The word by which a code is written in files and JSON.
fn tag(code: &impl Serialize) -> String {
    match serde_json::to_value(code) {
        Ok(serde_json::Value::String(text)) => text,
        // The codes are plain enums, which are always written as texts.
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use refpoint_protocol::directory::reference_point::{ChannelKind, LocalText};

    use super::*;

    fn entry() -> ReferencePointView {
        let channel = |value: &str| Channel {
            kind: ChannelKind::Telephone,
            value: value.to_owned(),
            always: true,
            note: None,
        };
        ReferencePointView {
            names: vec![LocalText { language: "en".into(), text: "Cyber Unit".into() }],
            agency: None,
            channels: vec![channel("+254 1"), channel("+254 2")],
            languages: vec!["en".into(), "sw".into()],
            competences: Vec::new(),
            on_duty: None,
            time_zone: "Africa/Nairobi".into(),
            sample: false,
        }
    }

    #[test]
    fn the_same_entry_differs_in_nothing() {
        assert_eq!(differences(Some(&entry()), &entry()), []);
    }

    #[test]
    fn the_first_entry_shows_all_that_is_filled_in() {
        let fields: Vec<String> =
            differences(None, &entry()).into_iter().map(|change| change.field).collect();
        assert_eq!(fields, ["unit", "channels", "languages", "time zone"]);
    }

    #[test]
    fn only_changed_lines_show_and_an_order_shows_whole() {
        let mut new = entry();
        new.channels[1].value = "+254 3".into();
        new.on_duty = Some(OnDuty { role: "duty officer".into(), languages: vec!["en".into()] });
        let changes = differences(Some(&entry()), &new);
        assert_eq!(changes.len(), 2);
        assert_eq!(changes[0].published, ["telephone: +254 2, at any hour"]);
        assert_eq!(changes[0].new, ["telephone: +254 3, at any hour"]);
        assert_eq!(changes[1].new, ["duty officer, speaks en"]);

        let mut new = entry();
        new.channels.reverse();
        let changes = differences(Some(&entry()), &new);
        assert_eq!((changes[0].published.len(), changes[0].new.len()), (2, 2));
    }
}
