//! Views of a small federation: KE is this node, FR and BR are others.

use std::time::Duration;

use refpoint::{
    api::views::{
        dial_back::{DialBackReply, Outcome, Seen},
        directory::{DirectoryEntryView, DirectoryNodeView, DirectoryRow, Freshness, ReferencePointView},
        drill::{DrillReport, DrillRequest, DrillStarted},
        heads::{HeadStanding, HeadsReport},
        history::{
            ChainHistoryView, ContentState, DirectoryAtView, DirectoryHistoryView, EntryAt, MemberAt,
            PastEntry,
        },
        instant::Instant,
        message::{AttachmentView, MessageBox, MessageRow, MessageView, PersonWord, RecipientState},
        names::MemberNames,
        peer::{Direction, PeerView},
        receipt::{MachineWord, Proof, ReceiptRow},
        status::{
            ChainState, CharterStatus, ClockStatus, DirectoryCounts, KeySetStatus, PeerCounts, StatusFacts,
            Unacknowledged,
        },
        witness::{CosignedBy, NotCosigned, WitnessReply},
        witnessed::{RefutedCheckpoint, WitnessedNode, WitnessedReply, WitnessedState},
    },
    metrics::{Acknowledged, Counted, Delivered, Measured, MemberFigures, Queue, QueueDepth},
};
use refpoint_protocol::{
    audit::witness::Doubt,
    directory::reference_point::{
        Channel, ChannelKind, Competence, CompetenceMode, CompetenceTask, LocalText, OnDuty,
    },
    ids::{
        CharterId, CharterVersion, ContentHash, Epoch, HeaderId, KeySetId, MemberCode, MessageId, NodeKey,
        Sequence, TreeRoot,
    },
    membership::{
        charter::{MemberStatus, WorkingGroup},
        key_set::NodeState,
    },
    message::{
        body::{Tlp, Word},
        drill::DrillId,
        header::Precedence,
    },
    redact::Redacted,
    relay::views::{
        Drill, DrillRecipient, DrillRun, Heard, ReceivedState, RecipientState as RelayState, Tally,
    },
};
use sha2::{Digest, Sha256};

pub(crate) fn member(code: &str) -> MemberCode {
    code.parse().unwrap()
}

pub(crate) fn at(text: &str) -> Instant {
    format!("2026-11-24T{text}Z").parse().unwrap()
}

pub(crate) fn message_id(byte: u8) -> MessageId {
    MessageId::from_bytes([byte; 32])
}

pub(crate) fn node_key(byte: u8) -> NodeKey {
    NodeKey::from_bytes([byte; 32])
}

/// A journal that one of two cosigned.
pub(crate) fn witness() -> WitnessReply {
    let why = "it did not answer".to_owned();
    WitnessReply {
        began: at("09:00:00"),
        entries: 12,
        root: TreeRoot::from_bytes([9; 32]),
        made: at("11:00:00"),
        cosigned: vec![CosignedBy { member: member("FR"), node: node_key(2) }],
        refused: vec![NotCosigned { member: member("BR"), node: node_key(3), why }],
        lost: None,
    }
}

/// A journal that was cosigned and contradicted.
pub(crate) fn witnessed() -> WitnessedReply {
    let newest = WitnessedState {
        member: member("FR"),
        began: at("09:00:00"),
        entries: 12,
        made: at("11:00:00"),
        note: "a signed note".to_owned(),
    };
    let refuted = RefutedCheckpoint {
        doubt: Doubt::Forked,
        at: at("12:00:00"),
        held: "a signed note".to_owned(),
        refused: "another signed note".to_owned(),
    };
    let ended = vec!["the note of an ended journal".to_owned()];
    let node = WitnessedNode { node: node_key(2), newest: Some(newest), ended, refuted: vec![refuted] };
    WitnessedReply { nodes: vec![node], damaged: 1 }
}

/// A node that is well: nothing is found.
pub(crate) fn facts() -> StatusFacts {
    StatusFacts {
        member: member("KE"),
        names: MemberNames::of(&member("KE")),
        unit: Some("Cyber Unit".into()),
        federation_fingerprint: "7Q2K-MNLD".into(),
        node_fingerprint: "4RTX-22AA".into(),
        version: "0.1.0".into(),
        now: at("12:00:00"),
        started: at("09:00:00"),
        key_set: KeySetStatus {
            epoch: Some(Epoch(0)),
            review: Some("2027-12-01T00:00Z".parse().unwrap()),
            lists_this_node: true,
        },
        root_keys_here: Vec::new(),
        clock: ClockStatus { offset_ms: Some(20), witnesses: 3, asked: 3, wrong: false },
        listening: vec!["0.0.0.0:4001".into()],
        announced: vec!["node.ke.example:4001".into()],
        peers: PeerCounts {
            connected: 2,
            known: 2,
            members_connected: 2,
            members_away: 0,
            ever_dialled_in: true,
        },
        directory: DirectoryCounts { members: 3, entries: 3, stale: 0, disputed: 0 },
        directory_digest: "9f".repeat(32),
        charter: CharterStatus {
            version: CharterVersion(1),
            tips: vec![CharterId::from_bytes([7; 32])],
            settled: Some(CharterVersion(1)),
            beside: Vec::new(),
            beside_count: 0,
            contradicting: Vec::new(),
            counted_for_several: Vec::new(),
            this_member_active: true,
        },
        chain: ChainState::Publishing { last: Some(at("11:00:00")) },
        unacknowledged: Vec::new(),
        unacknowledged_drills: 0,
        outbox_waiting_drills: 0,
        outbox_waiting: 0,
        outbox_oldest: None,
        held: 0,
        held_bytes: 0,
        held_oldest: None,
        journal_cosigned: Some(at("11:30:00")),
        disk_free_bytes: 50_000_000_000,
        refused_for_memory: None,
        storage_notes: Vec::new(),
        alert_failure: None,
        alert_configured: true,
        newer_documents: 0,
        bugs: 0,
    }
}

/// Figures of that node, one of each kind.
pub(crate) fn measured(status: StatusFacts) -> Measured {
    let counted = Counted::default();
    let (precedence, drill) = (Precedence::Flash, Drill(false));
    counted.delivered(Delivered { precedence, drill, after: Duration::from_millis(200) });
    counted.acknowledged(Acknowledged { precedence, drill, after: Duration::from_secs(90) });
    counted.syncs().took(Duration::from_millis(3));
    let messages = Tally {
        sent: [
            ((precedence, drill, RelayState::Delivered), 2),
            ((precedence, Drill(true), RelayState::Queued), 1),
        ]
        .into(),
        received: [((Precedence::Routine, drill, ReceivedState::Unacknowledged), 4)].into(),
    };
    let figures = |code: &str, connected| MemberFigures {
        member: member(code),
        connected,
        entry_age_seconds: Some(3_600),
    };
    let members = vec![figures("FR", Some(true)), figures("KE", None)];
    let queues = vec![QueueDepth { queue: Queue::MachineUrgent, depth: 3 }];
    let mut status = status;
    // One of each family: an exercise is a finding that leaves the health alone.
    status.unacknowledged_drills = 1;
    status.unacknowledged = vec![Unacknowledged { oldest: at("11:59:30"), ..unacknowledged() }];
    let heads = vec![(HeadStanding::Same, 1), (HeadStanding::Contradicts, 0)];
    Measured { status, messages, members, heads, queues, counted }
}

/// A drill of an hour ago: France had it after 0.8 s and acknowledged after a minute, Brazil never had it.
pub(crate) fn drill() -> DrillReport {
    let created = at("11:00:00").timestamp();
    let heard = |millis| {
        let heard = created.after(Duration::from_millis(millis));
        Some(Heard { said: heard, heard: Some(heard) })
    };
    let recipient = |code: &str, state, delivered, acknowledged| DrillRecipient {
        member: member(code),
        message: message_id(0xd1),
        created,
        state,
        delivered,
        acknowledged,
    };
    let run = DrillRun {
        id: DrillId::from_bytes([0xd1; 8]),
        started: created,
        ends: at("11:30:00").timestamp(),
        precedence: Precedence::Priority,
        recipients: vec![
            recipient("BR", RelayState::Expired, None, None),
            recipient("FR", RelayState::Delivered, heard(800), heard(60_000)),
        ],
    };
    let groups = [(member("BR"), WorkingGroup::Americas), (member("FR"), WorkingGroup::Eurasia)].into();
    refpoint::drills::report(&[run], 0, member("KE"), at("12:00:00").timestamp(), &groups).unwrap()
}

/// A drill as it was asked for, but for those that the node had no room to ask.
pub(crate) fn drill_started(request: &DrillRequest, not_asked: Vec<MemberCode>) -> DrillStarted {
    let asked = request.members.iter().filter(|member| !not_asked.contains(member)).cloned().collect();
    DrillStarted {
        drill: DrillId::from_bytes([0xd2; 8]),
        started: at("12:00:00"),
        ends: at("15:00:00"),
        messages: vec![message_id(0xd2)],
        asked,
        reason: (!not_asked.is_empty()).then(|| "too many messages wait in the outbox".to_owned()),
        not_asked,
    }
}

/// What the heads say there: France holds the same.
pub(crate) fn heads() -> HeadsReport {
    let digest = ContentHash::from_bytes([0x9f; 32]);
    let row = refpoint::api::views::heads::HeadRow {
        member: member("FR"),
        node: node_key(0xf1),
        standing: HeadStanding::Same,
        since: None,
        head: None,
        received: Some(at("11:59:00")),
        proof: None,
    };
    HeadsReport {
        member: member("KE"),
        node: node_key(1),
        now: at("12:00:00"),
        digest,
        since: at("11:00:00"),
        own: None,
        nodes: vec![row],
    }
}

/// France dialled this node's address and was introduced.
pub(crate) fn reached() -> DialBackReply {
    let seen = Seen { address: "node.ke.example:4001".into(), outcome: Outcome::Reached };
    DialBackReply { asked: Some(member("FR")), why: None, seen: vec![seen] }
}

pub(crate) fn unacknowledged() -> Unacknowledged {
    Unacknowledged {
        precedence: Precedence::Flash,
        count: 1,
        oldest: at("11:58:00"),
        oldest_id: message_id(0x7a),
    }
}

pub(crate) fn peers() -> Vec<PeerView> {
    let up = PeerView {
        member: member("FR"),
        names: MemberNames::of(&member("FR")),
        node: Some(node_key(0xf1)),
        connected: true,
        direction: Some(Direction::Inbound),
        transport: Some("tcp/tls1.3/yamux".into()),
        group: Some("X25519MLKEM768".into()),
        addresses: vec!["192.0.2.1:4001".into()],
        latency_us: Some(12_300),
        since: Some(at("09:00:01")),
        last_contact: Some(at("11:59:59")),
        reason: None,
        next_dial: None,
        faults: Vec::new(),
    };
    let down = PeerView {
        member: member("BR"),
        names: MemberNames::of(&member("BR")),
        node: Some(node_key(0xb1)),
        connected: false,
        direction: None,
        transport: None,
        group: None,
        addresses: vec!["192.0.2.2:4001".into()],
        latency_us: None,
        since: None,
        last_contact: None,
        reason: Some("no answer at 192.0.2.2:4001".into()),
        next_dial: Some(at("12:01:00")),
        faults: Vec::new(),
    };
    vec![down, up]
}

pub(crate) fn unit(name: &str) -> ReferencePointView {
    ReferencePointView {
        names: vec![LocalText { language: "en".into(), text: name.into() }],
        agency: None,
        channels: vec![Channel {
            kind: ChannelKind::Telephone,
            value: "+254 20 000 0000".into(),
            always: true,
            note: None,
        }],
        languages: vec!["en".into(), "sw".into()],
        competences: vec![Competence { task: CompetenceTask::Preservation, mode: CompetenceMode::Performs }],
        on_duty: Some(OnDuty { role: "duty officer".into(), languages: vec!["en".into()] }),
        time_zone: "Africa/Nairobi".into(),
        sample: true,
    }
}

pub(crate) fn entry(code: &str, unit_name: &str) -> DirectoryEntryView {
    let unit = unit(unit_name);
    DirectoryEntryView {
        row: DirectoryRow {
            member: member(code),
            names: MemberNames::of(&member(code)),
            status: MemberStatus::Active,
            group: if code == "KE" { WorkingGroup::Africa } else { WorkingGroup::Eurasia },
            unit: Some(unit_name.into()),
            languages: unit.languages.clone(),
            on_duty: unit.on_duty.clone(),
            time_zone: Some(unit.time_zone.clone()),
            local_time: Some("15:00 (Tue)".into()),
            freshness: if code == "BR" { Freshness::Stale } else { Freshness::Fresh },
            issued: Some(at("11:00:00")),
            age_seconds: Some(3_600),
            disputed: false,
            sample: true,
            connected: code == "FR",
        },
        reference_point: Some(unit),
        before: None,
        fresh_until: Some("2026-12-01T11:00Z".parse().unwrap()),
        sequence: Some(Sequence(3)),
        key_set_epoch: Some(Epoch(0)),
        key_set_review: Some("2027-12-01T00:00Z".parse().unwrap()),
        root_fingerprint: "ROOT-AAAA".into(),
        nodes: vec![DirectoryNodeView {
            node: node_key(0xf1),
            rank: 0,
            state: NodeState::Active,
            addresses: vec!["192.0.2.1:4001".into()],
            connected: code == "FR",
            last_contact: None,
            can_be_sealed_to: true,
        }],
    }
}

pub(crate) fn attachment_bytes() -> Vec<u8> {
    b"log line\n".to_vec()
}

/// An inbox message from FR that nobody here has acknowledged.
pub(crate) fn inbox_message(id: MessageId, text: &str) -> MessageView {
    let attachment = AttachmentView {
        number: 1,
        name: Redacted("../evil log.txt".into()),
        media_type: "text/plain".into(),
        bytes: attachment_bytes().len() as u64,
        sha256: ContentHash::from_bytes(Sha256::digest(attachment_bytes()).into()),
    };
    MessageView {
        row: MessageRow {
            id,
            folder: MessageBox::Inbox,
            sender: member("FR"),
            recipients: vec![member("KE")],
            precedence: Precedence::Flash,
            tlp: Tlp::Amber,
            drill: false,
            answers: None,
            created: at("11:58:00"),
            expires: "2026-11-27T11:58Z".parse().unwrap(),
            received: Some(at("11:58:01")),
            states: vec![RecipientState {
                member: member("KE"),
                machine: MachineWord::Delivered,
                machine_at: at("11:58:01"),
                reason: None,
                person: None,
            }],
            attachment_bytes: attachment.bytes,
            attachments: 1,
            unproven: false,
        },
        text: Some(Redacted(text.into())),
        reference: Some(Redacted("CASE-1".into())),
        form: None,
        erased: false,
        files: vec![attachment],
        timeline: vec![ReceiptRow::Machine {
            at: at("11:58:01"),
            member: member("KE"),
            node: node_key(0xe1),
            kept_for: None,
            word: MachineWord::Delivered,
            reason: None,
            proof: Proof::Own,
        }],
    }
}

pub(crate) fn acknowledgement(role: &str) -> PersonWord {
    PersonWord {
        word: Word::Acknowledged,
        role: Redacted(role.into()),
        at: at("12:00:00"),
        will: Some(true),
        form: None,
        by: None,
    }
}

/// Three entries of one chain, the first of them let go, the second renewed; and an earlier chain.
pub(crate) fn history(member: &MemberCode) -> DirectoryHistoryView {
    let hash = |byte| ContentHash::from_bytes([byte; 32]);
    let entry = |first, last, byte, content| PastEntry {
        first: Sequence(first),
        last: Sequence(last),
        header: HeaderId::from_bytes([byte; 32]),
        issued: at("08:00:00"),
        renewed: at("09:00:00"),
        content,
        hash: hash(byte),
    };
    let chain = |epoch, entries| ChainHistoryView {
        node: NodeKey::from_bytes([0x21; 32]),
        key_set: KeySetId::from_bytes([epoch as u8; 32]),
        epoch: Epoch(epoch),
        entries,
        gaps: Vec::new(),
        disputed_from: None,
    };
    let mut current = chain(
        1,
        vec![
            entry(0, 11, 0xa1, ContentState::LetGo),
            entry(12, 14, 0xa2, ContentState::Held),
            entry(15, 15, 0xa3, ContentState::Held),
        ],
    );
    current.gaps = vec![[Sequence(5), Sequence(6)]];
    let earlier = chain(0, vec![entry(0, 3, 0xa4, ContentState::Held)]);
    let mut newest = unit("New Unit");
    newest.languages.push("ar".into());
    DirectoryHistoryView {
        member: member.clone(),
        contents_kept: 5,
        shown: Some(HeaderId::from_bytes([0xa3; 32])),
        chains: vec![earlier, current],
        contents: [(hash(0xa2), unit("Old Unit")), (hash(0xa3), newest), (hash(0xa4), unit("First Unit"))]
            .into(),
    }
}

/// The directory at a time: one member with an entry, one whose content is let go, one with nothing.
pub(crate) fn directory_at(at: Instant) -> DirectoryAtView {
    let entry = |content, reference_point| EntryAt {
        node: NodeKey::from_bytes([0x21; 32]),
        sequence: Sequence(7),
        header: HeaderId::from_bytes([0xa7; 32]),
        issued: at,
        content,
        may_be_older: false,
        reference_point,
    };
    let row =
        |code: &str, entry| MemberAt { member: member(code), names: MemberNames::of(&member(code)), entry };
    DirectoryAtView {
        at,
        complete_since: Some(self::at("06:00:00")),
        members: vec![
            row("BR", None),
            row("FR", Some(entry(ContentState::LetGo, None))),
            row("KE", Some(entry(ContentState::Held, Some(unit("Cyber Unit"))))),
        ],
    }
}
