//! `reference-point.toml`: the form in which people write and read their unit's directory entry.
//!
//! It turns text into a checked [`ReferencePoint`] and back, and refuses what other members could not use: an
//! entry without a name or a channel, a language or time zone that is none, a number that cannot be dialled.

use std::collections::BTreeMap;

use refpoint_protocol::{
    directory::reference_point::{
        Channel, ChannelKind, Competence, CompetenceMode, CompetenceTask, LocalText, OnDuty, ReferencePoint,
    },
    document::encode,
    limits::BODY_BYTES_MAX,
};
use serde::Deserialize;

use crate::text_file::without_mark;

/// Why a text is no reference point.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReferencePointFileError {
    /// Not TOML, or with a key that is unknown, missing or of another type.
    #[error("{0}")]
    Form(String),
    /// These entries are wrong.
    #[error("{}", .0.join("\n"))]
    Content(Vec<String>),
    /// The entry does not fit a directory body.
    #[error("the entry has {got} bytes, at most {BODY_BYTES_MAX} fit the directory; shorten notes and names")]
    TooLong {
        /// Bytes of the encoded entry.
        got: usize,
    },
}

/// Reads a file's text. `salt` are 16 fresh random bytes for the body.
///
/// # Errors
/// [`ReferencePointFileError`], naming everything that is wrong and what to do.
pub fn parse(text: &str, salt: [u8; 16]) -> Result<ReferencePoint, ReferencePointFileError> {
    let form: Form = toml::from_str(without_mark(text))
        .map_err(|error| ReferencePointFileError::Form(error.to_string()))?;
    let point = ReferencePoint {
        salt,
        names: form.name,
        agency: form.agency.filter(|agency| !agency.trim().is_empty()),
        channels: form.channel.into_iter().map(ChannelForm::into_channel).collect(),
        languages: form.languages,
        competences: form.competences.into_iter().map(|(task, mode)| Competence { task, mode }).collect(),
        on_duty: form.on_duty.map(|duty| OnDuty { role: duty.role, languages: duty.languages }),
        time_zone: form.time_zone,
        sample: form.sample,
    };
    let wrong = faults(&point);
    if !wrong.is_empty() {
        return Err(ReferencePointFileError::Content(wrong));
    }
    match encode(&point) {
        Ok(bytes) if bytes.len() <= BODY_BYTES_MAX => Ok(point),
        Ok(bytes) => Err(ReferencePointFileError::TooLong { got: bytes.len() }),
        Err(error) => Err(ReferencePointFileError::Form(error.to_string())),
    }
}

/// Writes an entry as a commented file. What is empty in `point` is left for people to fill in.
#[must_use]
pub fn text_of(point: &ReferencePoint) -> String {
    let mut text = String::from(HEAD);
    if point.sample {
        text.push_str("# A sample and not a real unit: shown as such on every screen.\nsample = true\n\n");
    }
    text.push_str(AGENCY);
    text.push_str(&format!("agency = {}\n", quoted(point.agency.as_deref().unwrap_or_default())));
    text.push_str(LANGUAGES);
    text.push_str(&format!("languages = {}\n", list(&point.languages)));
    text.push_str(TIME_ZONE);
    text.push_str(&format!("time_zone = {}\n", quoted(&point.time_zone)));
    text.push_str(NAMES);
    for name in &point.names {
        text.push_str(&format!(
            "[[name]]\nlanguage = {}\ntext = {}\n\n",
            quoted(&name.language),
            quoted(&name.text)
        ));
    }
    text.push_str(CHANNELS);
    for channel in &point.channels {
        text.push_str(&format!(
            "[[channel]]\nkind = {}\nvalue = {}\nalways = {}\n",
            quoted(&tag_of(&channel.kind)),
            quoted(&channel.value),
            channel.always
        ));
        if let Some(note) = &channel.note {
            text.push_str(&format!("note = {}\n", quoted(note)));
        }
        text.push('\n');
    }
    text.push_str(ON_DUTY);
    if let Some(duty) = &point.on_duty {
        text.push_str(&format!(
            "[on_duty]\nrole = {}\nlanguages = {}\n",
            quoted(&duty.role),
            list(&duty.languages)
        ));
    }
    text.push_str(COMPETENCES);
    for competence in &point.competences {
        text.push_str(&competence_line(competence));
    }
    if point.competences.is_empty() {
        // Proposed and not set: nothing is published that nobody has read.
        text.push_str(COMPETENCES_PROPOSED);
        usual_competences().iter().for_each(|usual| text.push_str(&format!("#{}", competence_line(usual))));
    }
    text
}

/// Every task with the mode that a new unit most often has: to be corrected by people.
#[must_use]
pub fn usual_competences() -> Vec<Competence> {
    use {
        CompetenceMode::{Facilitates, Performs},
        CompetenceTask as Task,
    };
    [
        (Task::Advice, Performs),
        (Task::Preservation, Performs),
        (Task::Evidence, Facilitates),
        (Task::LegalInformation, Performs),
        (Task::LocatingSuspects, Facilitates),
        (Task::Emergency, Facilitates),
    ]
    .into_iter()
    .map(|(task, mode)| Competence { task, mode })
    .collect()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default)]
    sample: bool,
    agency: Option<String>,
    languages: Vec<String>,
    time_zone: String,
    #[serde(default)]
    name: Vec<LocalText>,
    #[serde(default)]
    channel: Vec<ChannelForm>,
    on_duty: Option<OnDutyForm>,
    #[serde(default)]
    competences: BTreeMap<CompetenceTask, CompetenceMode>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelForm {
    kind: ChannelKind,
    value: String,
    always: bool,
    note: Option<String>,
}

impl ChannelForm {
    fn into_channel(self) -> Channel {
        let note = self.note.filter(|note| !note.trim().is_empty());
        Channel { kind: self.kind, value: self.value, always: self.always, note }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OnDutyForm {
    role: String,
    languages: Vec<String>,
}

/// Everything that is wrong with an entry, each with what to do.
fn faults(point: &ReferencePoint) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut unless = |good: bool, what: String| {
        if !good {
            wrong.push(what);
        }
    };
    let counted = |name: &str, got: usize, most: usize| {
        ((1..=most).contains(&got), format!("{name}: {got} given; give 1 to {most}"))
    };
    for (good, what) in [
        counted("[[name]]", point.names.len(), NAMES_MAX),
        counted("[[channel]]", point.channels.len(), CHANNELS_MAX),
        counted("languages", point.languages.len(), LANGUAGES_MAX),
    ] {
        unless(good, what);
    }
    for name in &point.names {
        unless(
            is_text(&name.text, TEXT_CHARACTERS_MAX),
            format!("[[name]] {}: {}", name.language, text_rule("the unit's name")),
        );
    }
    let duty_languages = point.on_duty.iter().flat_map(|duty| &duty.languages);
    for language in
        point.names.iter().map(|name| &name.language).chain(&point.languages).chain(duty_languages)
    {
        unless(
            is_language(language),
            format!("{language:?} is no language code; write BCP 47, as \"en\" or \"pt-BR\""),
        );
    }
    if let Some(duty) = &point.on_duty {
        unless(
            is_text(&duty.role, TEXT_CHARACTERS_MAX),
            format!("on_duty.role: {}", text_rule("a role, never a name")),
        );
    }
    for text in point.agency.iter().chain(point.channels.iter().filter_map(|channel| channel.note.as_ref())) {
        unless(is_text(text, TEXT_CHARACTERS_MAX), format!("{text:?}: {}", text_rule("a line")));
    }
    for (index, channel) in point.channels.iter().enumerate() {
        let (good, remedy) = match channel.kind {
            ChannelKind::Telephone | ChannelKind::Mobile | ChannelKind::Fax => (
                is_number(&channel.value),
                "write the number with its country, as \"+65 …\", digits and spaces only",
            ),
            ChannelKind::Email => (is_email(&channel.value), "write the address, as \"unit@police.example\""),
            ChannelKind::Other => (
                is_text(&channel.value, TEXT_CHARACTERS_MAX) && channel.note.is_some(),
                "write the address, and in `note` what it is",
            ),
        };
        unless(good, format!("[[channel]] {}: {:?} cannot be used; {remedy}", index + 1, channel.value));
    }
    let known = jiff::tz::TimeZone::get(&point.time_zone).is_ok();
    unless(
        known,
        format!("time_zone: {:?} is unknown; write an IANA name, as \"Asia/Singapore\"", point.time_zone),
    );
    wrong
}

fn text_rule(what: &str) -> String {
    format!("write {what}, 1 to {TEXT_CHARACTERS_MAX} characters on one line")
}

fn is_text(text: &str, most: usize) -> bool {
    !text.trim().is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

/// The shape of BCP 47 (RFC 5646, section 2.1), not its registry: letters, then groups of up to eight.
fn is_language(text: &str) -> bool {
    let mut groups = text.split('-');
    let first = groups.next().unwrap_or_default();
    (2..=3).contains(&first.len())
        && first.bytes().all(|byte| byte.is_ascii_alphabetic())
        && text.len() <= 35
        && groups.all(|group| {
            (1..=8).contains(&group.len()) && group.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

/// E.164: a plus sign, up to 15 digits, spaces for people.
fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    text.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b' '))
        && (5..=15).contains(&digits)
}

fn is_email(text: &str) -> bool {
    let plain = is_text(text, TEXT_CHARACTERS_MAX) && !text.contains(char::is_whitespace);
    plain
        && text
            .split_once('@')
            .is_some_and(|(name, host)| !name.is_empty() && host.contains('.') && !host.contains('@'))
}

fn competence_line(competence: &Competence) -> String {
    format!("{} = {}\n", tag_of(&competence.task), quoted(&tag_of(&competence.mode)))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(texts: &[String]) -> String {
    format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", "))
}

/// The name that serde gives a variant, so that the file and the wire never differ.
fn tag_of<T: serde::Serialize>(value: &T) -> String {
    match toml::Value::try_from(value) {
        Ok(toml::Value::String(tag)) => tag,
        // Only enums without fields come here.
        _ => String::new(),
    }
}

/// Names of a unit: its languages, and some to spare.
const NAMES_MAX: usize = 8;
/// Channels of a unit: nobody at 3 a.m. tries more.
const CHANNELS_MAX: usize = 16;
/// Languages of a unit.
const LANGUAGES_MAX: usize = 16;
/// Characters of any line: what fits two lines of a terminal.
const TEXT_CHARACTERS_MAX: usize = 160;

const HEAD: &str = "\
# reference-point.toml: what other members see of your unit in the directory.
#
# Fill in what is empty, then: refpoint directory publish reference-point.toml
# It shows what changes and asks. Never name a person here: roles and duty lines only.

";
const AGENCY: &str = "# The agency that the unit belongs to. May stay empty.\n";
const LANGUAGES: &str = "\n# Languages in which the unit answers (BCP 47), preferred first.\n";
const TIME_ZONE: &str = "\n# The unit's time zone (IANA), from which others see its local time.\n";
const NAMES: &str = "
# The unit's name, once for each language; the first is shown when no other fits.
";
const CHANNELS: &str = "\
# Ways to reach the unit, in the order in which to try them. kind: telephone, mobile, email, fax, other.
# always: whether somebody answers at any hour. note: what one should know (optional).
";
const ON_DUTY: &str = "\
# Who answers now: a role, and the languages spoken.
";
const COMPETENCES: &str = "
# What the unit may do (Budapest Convention, article 35): \"performs\" itself, or \"facilitates\" (passes it on).
[competences]
";
const COMPETENCES_PROPOSED: &str = "\
# What most units do: correct it, and take the # away from each line that is true of yours.
";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn point() -> ReferencePoint {
        ReferencePoint {
            salt: [7; 16],
            names: vec![
                LocalText { language: "en".into(), text: "Cyber \"24/7\" desk".into() },
                LocalText { language: "ar".into(), text: "وحدة".into() },
            ],
            agency: Some("Police".into()),
            channels: vec![
                Channel {
                    kind: ChannelKind::Telephone,
                    value: "+65 5550 1".into(),
                    always: true,
                    note: None,
                },
                Channel {
                    kind: ChannelKind::Email,
                    value: "desk@police.sg.example".into(),
                    always: false,
                    note: Some("office hours".into()),
                },
            ],
            languages: vec!["en".into(), "zh-Hans".into()],
            competences: usual_competences(),
            on_duty: Some(OnDuty { role: "duty officer".into(), languages: vec!["en".into()] }),
            time_zone: "Asia/Singapore".into(),
            sample: true,
        }
    }

    #[test]
    fn an_entry_survives_the_file() {
        assert_eq!(parse(&text_of(&point()), [7; 16]), Ok(point()));
    }

    #[test]
    fn proposed_competences_are_published_only_when_a_person_takes_them_over() {
        let unread = ReferencePoint { competences: Vec::new(), ..point() };
        let text = text_of(&unread);
        assert_eq!(parse(&text, [7; 16]), Ok(unread));
        let taken = text.replace("#preservation = ", "preservation = ");
        assert_eq!(parse(&taken, [7; 16]).unwrap().competences.len(), 1, "{taken}");
        let all = usual_competences().iter().fold(text, |text, usual| {
            let line = competence_line(usual);
            text.replace(&format!("#{line}"), &line)
        });
        assert_eq!(parse(&all, [7; 16]), Ok(point()));
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_taken() {
        let windows = format!("\u{feff}{}", text_of(&point()).replace('\n', "\r\n"));
        assert_eq!(parse(&windows, [7; 16]), Ok(point()));
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        let mut bad = point();
        bad.names[0].text = String::new();
        bad.channels[0].value = "5550 1".into();
        bad.channels[1].value = "desk".into();
        bad.languages.push("english language".into());
        bad.time_zone = "Mars/Olympus".into();
        let Err(ReferencePointFileError::Content(wrong)) = parse(&text_of(&bad), [0; 16]) else {
            panic!("accepted");
        };
        assert_eq!(wrong.len(), 5, "{wrong:?}");
    }

    #[test]
    fn unknown_keys_and_garbage_are_refused() {
        let text = text_of(&point());
        let refused = |text: &str| matches!(parse(text, [0; 16]), Err(ReferencePointFileError::Form(_)));
        assert!(refused("garbage"));
        assert!(refused(&text.replace("time_zone", "timezone")));
        assert!(refused(&text.replace("[on_duty]", "[on_call]")));
        assert!(refused(&text.replace("\"performs\"", "\"does\"")));
    }
}
