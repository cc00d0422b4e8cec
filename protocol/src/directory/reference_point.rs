//! The body of a reference point: a member's directory entry.

use serde::{Deserialize, Serialize};

use super::{
    node_record::BodyError,
    text::{broken, check_count, check_language, check_text},
};
use crate::{
    document::{FormError, decode},
    limits::{
        BODY_BYTES_MAX, CHANNEL_NOTE_BYTES_MAX, CHANNEL_VALUE_BYTES_MAX, CHANNELS_MAX, COMPETENCES_MAX,
        LANGUAGES_MAX, ROLE_BYTES_MAX, TIME_ZONE_BYTES_MAX, UNIT_NAME_BYTES_MAX, UNIT_NAMES_MAX,
    },
};

/// A country's specialised cybercrime unit, reachable day and night.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencePoint {
    /// 16 random bytes, so that the body's hash tells nothing.
    #[serde(with = "serde_bytes")]
    pub salt: [u8; 16],
    /// The unit's names: BCP 47 language code and text; the first is shown when no other fits.
    pub names: Vec<LocalText>,
    /// The agency that the unit belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Ways to reach the unit, in the order in which to try them.
    pub channels: Vec<Channel>,
    /// Languages in which the unit answers, BCP 47, preferred first.
    pub languages: Vec<String>,
    /// What the unit may do, as codes.
    pub competences: Vec<Competence>,
    /// Who answers now, as a role and never a name (`duty officer`), with the languages spoken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_duty: Option<OnDuty>,
    /// The IANA time zone of the unit.
    pub time_zone: String,
    /// Whether this entry is a sample and not a real unit.
    #[serde(default, skip_serializing_if = "is_false")]
    pub sample: bool,
}

/// A text in one language.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalText {
    /// BCP 47 language code.
    pub language: String,
    /// The text.
    pub text: String,
}

/// One way to reach a unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// Telephone, e-mail and so on.
    pub kind: ChannelKind,
    /// The number or address.
    pub value: String,
    /// Whether somebody answers at any hour.
    pub always: bool,
    /// What one should know, such as office hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Kinds of channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChannelKind {
    /// A fixed telephone.
    Telephone,
    /// A mobile telephone.
    Mobile,
    /// E-mail.
    Email,
    /// Facsimile.
    Fax,
    /// Anything else, described by the note.
    Other,
}

/// Who answers now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDuty {
    /// The duty role.
    pub role: String,
    /// Languages that the person on duty speaks, BCP 47.
    pub languages: Vec<String>,
}

/// One thing that the unit may do itself or pass on (Budapest Convention, article 35).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Competence {
    /// What.
    pub task: CompetenceTask,
    /// Whether the unit does it itself.
    pub mode: CompetenceMode,
}

/// Tasks of a 24/7 point (articles 29, 30 and 35 of ETS 185; article 41 of the UN convention).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompetenceTask {
    /// Technical advice.
    Advice,
    /// Preservation of data.
    Preservation,
    /// Collection of evidence.
    Evidence,
    /// Legal information.
    LegalInformation,
    /// Locating suspects.
    LocatingSuspects,
    /// Data to avert an emergency.
    Emergency,
}

/// Whether a unit does a task itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompetenceMode {
    /// Does it itself.
    Performs,
    /// Passes it to those who do.
    Facilitates,
}

impl ReferencePoint {
    /// Decodes and checks a body.
    ///
    /// # Errors
    /// [`BodyError`]: the node that published it is at fault, never its bearer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BodyError> {
        let point: Self = decode(bytes, BODY_BYTES_MAX)?;
        point.check_form()?;
        Ok(point)
    }

    /// Checks RP-01 to RP-06.
    ///
    /// # Errors
    /// [`FormError`] with the first broken rule.
    pub fn check_form(&self) -> Result<(), FormError> {
        if self.names.is_empty() {
            return broken("RP-01", "names: none, expected at least one".into());
        }
        check_count("RP-01", "names", self.names.len(), UNIT_NAMES_MAX)?;
        for name in &self.names {
            check_language("RP-01", "names", &name.language)?;
            check_text("RP-01", "names", &name.text, UNIT_NAME_BYTES_MAX)?;
        }
        if let Some(agency) = &self.agency {
            check_text("RP-01", "agency", agency, UNIT_NAME_BYTES_MAX)?;
        }
        check_count("RP-02", "channels", self.channels.len(), CHANNELS_MAX)?;
        for channel in &self.channels {
            check_text("RP-02", "channel", &channel.value, CHANNEL_VALUE_BYTES_MAX)?;
            if let Some(note) = &channel.note {
                check_text("RP-02", "channel note", note, CHANNEL_NOTE_BYTES_MAX)?;
            }
        }
        check_languages("RP-03", &self.languages)?;
        check_count("RP-04", "competences", self.competences.len(), COMPETENCES_MAX)?;
        if let Some(duty) = &self.on_duty {
            check_text("RP-05", "duty role", &duty.role, ROLE_BYTES_MAX)?;
            check_languages("RP-05", &duty.languages)?;
        }
        check_text("RP-06", "time zone", &self.time_zone, TIME_ZONE_BYTES_MAX)?;
        if !self.time_zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b)) {
            return broken("RP-06", "time zone: not the form of an IANA name".into());
        }
        Ok(())
    }
}

fn check_languages(rule: &'static str, languages: &[String]) -> Result<(), FormError> {
    check_count(rule, "languages", languages.len(), LANGUAGES_MAX)?;
    languages.iter().try_for_each(|code| check_language(rule, "languages", code))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::testing::chains::{body, reference_point};

    fn rule(change: impl FnOnce(&mut ReferencePoint)) -> Option<&'static str> {
        let mut point = reference_point(1);
        change(&mut point);
        match ReferencePoint::from_bytes(&body(&point)) {
            Ok(read) => {
                assert_eq!(read, point);
                None
            }
            Err(BodyError::Form(error)) => Some(error.rule),
            Err(BodyError::Decode(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_unit_has_names_in_any_script() {
        assert_eq!(rule(|point| point.names[0].text = "وحدة الجرائم الإلكترونية".into()), None);
        assert_eq!(rule(|point| point.agency = Some("Kriminalpolizei".into())), None);
        assert_eq!(rule(|point| point.names.clear()), Some("RP-01"));
        assert_eq!(
            rule(|point| point.names = vec![point.names[0].clone(); UNIT_NAMES_MAX + 1]),
            Some("RP-01")
        );
        assert_eq!(rule(|point| point.names[0].language = "en_GB".into()), Some("RP-01"));
        assert_eq!(rule(|point| point.names[0].text = "\u{1B}[31m".into()), Some("RP-01"));
        assert_eq!(rule(|point| point.agency = Some("\u{FEFF}A".into())), Some("RP-01"));
    }

    #[test]
    fn channels_are_bounded() {
        assert_eq!(rule(|point| point.channels = vec![point.channels[0].clone(); CHANNELS_MAX]), None);
        let many =
            |point: &mut ReferencePoint| point.channels = vec![point.channels[0].clone(); CHANNELS_MAX + 1];
        assert_eq!(rule(many), Some("RP-02"));
        assert_eq!(rule(|point| point.channels[0].value.clear()), Some("RP-02"));
        let long = "n".repeat(CHANNEL_NOTE_BYTES_MAX + 1);
        assert_eq!(rule(|point| point.channels[0].note = Some(long)), Some("RP-02"));
    }

    #[test]
    fn languages_are_bounded_and_in_form() {
        assert_eq!(rule(|point| point.languages = vec!["en".into(); LANGUAGES_MAX + 1]), Some("RP-03"));
        assert_eq!(rule(|point| point.languages = vec!["English language".into()]), Some("RP-03"));
    }

    #[test]
    fn competences_are_bounded() {
        let one = Competence { task: CompetenceTask::Preservation, mode: CompetenceMode::Performs };
        assert_eq!(rule(|point| point.competences = vec![one.clone(); COMPETENCES_MAX]), None);
        assert_eq!(rule(|point| point.competences = vec![one; COMPETENCES_MAX + 1]), Some("RP-04"));
    }

    #[test]
    fn who_answers_is_a_short_role() {
        let duty = |role: &str| Some(OnDuty { role: role.into(), languages: vec!["fr".into()] });
        assert_eq!(rule(|point| point.on_duty = duty("duty officer")), None);
        assert_eq!(rule(|point| point.on_duty = duty(&"r".repeat(ROLE_BYTES_MAX + 1))), Some("RP-05"));
        assert_eq!(rule(|point| point.on_duty = duty("")), Some("RP-05"));
    }

    #[test]
    fn a_time_zone_has_the_form_of_an_iana_name() {
        assert_eq!(rule(|point| point.time_zone = "America/Port-au-Prince".into()), None);
        assert_eq!(rule(|point| point.time_zone = "UTC; rm".into()), Some("RP-06"));
        assert_eq!(rule(|point| point.time_zone.clear()), Some("RP-06"));
    }
}
