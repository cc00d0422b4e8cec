//! The directory: all members' reference points, and this node's own.

use refpoint_protocol::{
    directory::reference_point::{Channel, Competence, LocalText, OnDuty, ReferencePoint},
    ids::{Epoch, MemberCode, NodeKey, Sequence},
    membership::charter::{MemberStatus, WorkingGroup},
};
use serde::{Deserialize, Serialize};

use super::{instant::Instant, names::MemberNames};

/// A reference point without the random bytes that blind its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferencePointView {
    /// The unit's names by language; the first is shown when no other fits.
    pub names: Vec<LocalText>,
    /// The agency that the unit belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agency: Option<String>,
    /// Ways to reach the unit, in the order in which to try them.
    pub channels: Vec<Channel>,
    /// Languages in which the unit answers, BCP 47, preferred first.
    pub languages: Vec<String>,
    /// What the unit may do.
    pub competences: Vec<Competence>,
    /// Who answers now, as a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_duty: Option<OnDuty>,
    /// The unit's IANA time zone.
    pub time_zone: String,
    /// Whether this is a sample and not a real unit.
    pub sample: bool,
}

impl ReferencePointView {
    /// Adds the 16 random bytes that make it a document's body.
    #[must_use]
    pub fn into_body(self, salt: [u8; 16]) -> ReferencePoint {
        let Self { names, agency, channels, languages, competences, on_duty, time_zone, sample } = self;
        ReferencePoint { salt, names, agency, channels, languages, competences, on_duty, time_zone, sample }
    }
}

impl From<&ReferencePoint> for ReferencePointView {
    fn from(body: &ReferencePoint) -> Self {
        let ReferencePoint {
            salt: _,
            names,
            agency,
            channels,
            languages,
            competences,
            on_duty,
            time_zone,
            sample,
        } = body.clone();
        Self { names, agency, channels, languages, competences, on_duty, time_zone, sample }
    }
}

/// One line of the directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRow {
    /// The member.
    pub member: MemberCode,
    /// Its names.
    pub names: MemberNames,
    /// Whether it takes part.
    pub status: MemberStatus,
    /// Its working group.
    pub group: WorkingGroup,
    /// The unit's first name; absent while nothing is published or its body is erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Languages in which the unit answers.
    pub languages: Vec<String>,
    /// Who answers now, as a role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_duty: Option<OnDuty>,
    /// The unit's IANA time zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// The unit's local time when this was made: `06:02 (Tue)`; absent if the zone is unknown here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_time: Option<String>,
    /// How fresh it is.
    pub freshness: Freshness,
    /// When its newest header was issued, by its issuer's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued: Option<Instant>,
    /// Seconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Whether the member's chain is forked, and this the newest entry before the fork.
    pub disputed: bool,
    /// Whether this is a sample and not a real unit.
    pub sample: bool,
    /// Whether a node of it is connected to this one.
    pub connected: bool,
}

/// How fresh an entry is. Nothing stale is dropped, and it never stops a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Freshness {
    /// Renewed in time.
    Fresh,
    /// Not renewed in time.
    Stale,
    /// Its issuer's clock is ahead of this one.
    Future,
    /// Nothing is published.
    Missing,
    /// A header is held, its body not (yet).
    BodyMissing,
    /// The body was erased.
    Erased,
}

/// An entry of the federation before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InheritedView {
    /// The fingerprint of that federation.
    pub federation_fingerprint: String,
    /// When it was signed there.
    pub issued: Instant,
    /// The entry.
    pub reference_point: ReferencePointView,
}

/// All that this node holds about one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntryView {
    /// The line of the list.
    #[serde(flatten)]
    pub row: DirectoryRow,
    /// The entry itself; absent while nothing is published or its body is not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_point: Option<ReferencePointView>,
    /// What the member published last in the federation whose place this one takes, while it has published nothing here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<InheritedView>,
    /// Until when its issuer calls it fresh.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_until: Option<Instant>,
    /// The place in its chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The epoch of the key set in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set_epoch: Option<Epoch>,
    /// When the key set should be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_set_review: Option<Instant>,
    /// The root key, in groups to read aloud.
    pub root_fingerprint: String,
    /// Its nodes.
    pub nodes: Vec<DirectoryNodeView>,
}

/// One node of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryNodeView {
    /// Its node key.
    pub node: NodeKey,
    /// Its rank in the key set: the lowest that is fresh is shown.
    pub rank: u64,
    /// `active`, `retired` or `compromised`.
    pub state: refpoint_protocol::membership::key_set::NodeState,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Whether it is connected to this one.
    pub connected: bool,
    /// When a byte of it last came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_contact: Option<Instant>,
    /// Whether a sealing key of it is held: without one, a message waits.
    pub can_be_sealed_to: bool,
}

/// What this node itself publishes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedReferencePoint {
    /// This node's member.
    pub member: MemberCode,
    /// The sequence of its newest header, if it has published one under its key set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<Sequence>,
    /// The published entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference_point: Option<ReferencePointView>,
}

/// A reference point to publish.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublishRequest {
    /// The entry.
    pub reference_point: ReferencePointView,
    /// The sequence that it replaces, as seen when the difference was shown; absent for the first one. If
    /// another has been published since, nothing happens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<Sequence>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishReply {
    /// Its sequence.
    pub sequence: Sequence,
    /// When it was issued.
    pub issued: Instant,
    /// Members' nodes connected when it was pushed.
    pub connected: u64,
}

/// What `directory resume` did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResumeReply {
    /// The state of the chain before.
    pub before: super::status::ChainState,
    /// The state of the chain now.
    pub now: super::status::ChainState,
}

/// The local time of a zone: hours, minutes and the day of the week, in English.
///
/// `None` if the zone is not in the IANA database that the program carries or finds.
#[must_use]
pub fn local_time(time_zone: &str, now: Instant) -> Option<String> {
    let zone = jiff::tz::TimeZone::get(time_zone).ok()?;
    Some(now.calendar().to_zoned_datetime(zone).strftime("%H:%M (%a)").to_string())
}

/// The hour of a zone's local time, 0 to 23; `None` as for [`local_time`].
#[must_use]
pub fn local_hour(time_zone: &str, now: Instant) -> Option<i8> {
    let zone = jiff::tz::TimeZone::get(time_zone).ok()?;
    Some(now.calendar().to_zoned_datetime(zone).hour())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn local_time_follows_the_zone_and_its_summer_time() {
        let winter: Instant = "2026-11-24T03:02:00Z".parse().unwrap();
        let summer: Instant = "2026-07-24T23:02:00Z".parse().unwrap();
        assert_eq!(local_time("Africa/Nairobi", winter).unwrap(), "06:02 (Tue)");
        assert_eq!(local_time("Europe/Paris", winter).unwrap(), "04:02 (Tue)");
        assert_eq!(local_time("Europe/Paris", summer).unwrap(), "01:02 (Sat)");
        assert_eq!(local_time("Mars/Olympus", winter), None);
        assert_eq!(
            (local_hour("Africa/Nairobi", winter), local_hour("Mars/Olympus", winter)),
            (Some(6), None)
        );
    }
}
