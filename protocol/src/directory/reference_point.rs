//! The body of a reference point: a member's directory entry.

use serde::{Deserialize, Serialize};

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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}
