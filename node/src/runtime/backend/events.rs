//! Events as the API tells them.

use futures::{StreamExt as _, stream};
use refpoint_protocol::{
    heads::Contradicted,
    ids::MemberCode,
    machine::{Event as Happened, JournalNews, NumberedEvent},
    relay::event::RelayEvent,
};
use tokio::sync::broadcast::error::RecvError;

use super::messages::refusal;
use crate::{
    api::{
        backend::{EventSubscription, Lagged},
        views::event::{Event, EventView},
    },
    runtime::events::{EventLog, Subscription},
};

/// A place in the stream. `own` is this node's member: its people's statements are events too.
pub(super) fn subscribe(log: &EventLog, after: Option<u64>, own: &MemberCode) -> EventSubscription {
    let Subscription { newest, missed, gap, live } = log.subscribe(after);
    let missed = missed.iter().filter_map(|event| view(event, own)).collect();
    let live = stream::unfold((Some(live), own.clone()), |(live, own)| async move {
        let mut live = live?;
        match live.recv().await {
            Ok(event) => {
                let told = view(&event, &own).map(Ok);
                Some((told, (Some(live), own)))
            }
            Err(RecvError::Lagged(_)) => Some((Some(Err(Lagged)), (None, own))),
            Err(RecvError::Closed) => None,
        }
    });
    EventSubscription { newest, missed, gap, live: live.filter_map(std::future::ready).boxed() }
}

/// An event in the API's words, `None` if it is of no use outside. One at most: a number names one event.
fn view(event: &NumberedEvent, own: &MemberCode) -> Option<EventView> {
    let told = told(&event.event, own)?;
    Some(EventView { number: event.number, at: event.at.into(), event: told })
}

fn told(event: &Happened, own: &MemberCode) -> Option<Event> {
    Some(match event {
        Happened::Relay(relayed) => return relayed_event(relayed, own),
        Happened::PeerConnected { member, node } => {
            Event::PeerConnected { member: member.clone(), node: *node }
        }
        Happened::PeerDisconnected { member, node } => {
            Event::PeerDisconnected { member: member.clone(), node: *node, reason: None }
        }
        Happened::DirectoryChanged { member, .. } => Event::DirectoryChanged { member: member.clone() },
        Happened::CharterChanged { .. } | Happened::CharterSettled { .. } => {
            Event::MembershipChanged { member: None }
        }
        Happened::BesideSettled { charter, version, signed_by } => Event::ForkFound {
            member: None,
            what: format!(
                "charter version {version} ({}), signed by {}, stands beside a settled one: evidence, not applied",
                charter.short(),
                signed_by.iter().map(MemberCode::as_str).collect::<Vec<_>>().join(", ")
            ),
        },
        Happened::KeySetChanged { member, .. } => Event::MembershipChanged { member: Some(member.clone()) },
        Happened::ForkSeen { member, node, sequence, .. } => Event::ForkFound {
            member: Some(member.clone()),
            what: format!("node {} said two things at place {sequence} of its chain", node.short()),
        },
        Happened::HeadsContradict { member, node, what, .. } => Event::ForkFound {
            member: Some(member.clone()),
            what: format!("node {} signed two heads {}", node.short(), contradicted(*what)),
        },
        Happened::Published { kind, sequence } => Event::Published { chain: *kind, sequence: *sequence },
        Happened::TwinSeen => Event::TwinSeen,
        // It is journalled, and nothing that a screen would change for.
        Happened::Operated(_) => return None,
        Happened::Journal(news) => journal_event(news),
        Happened::ClockJudged { right, offset_millis } => {
            Event::ClockJudged { right: *right, offset_ms: *offset_millis }
        }
    })
}

const fn contradicted(what: Contradicted) -> &'static str {
    match what {
        Contradicted::Place => "at one place",
        Contradicted::Journal => "of which the later takes back a part of its journal",
    }
}

fn journal_event(news: &JournalNews) -> Event {
    let (code, text) = match news {
        JournalNews::Doubted { member, node, doubt } => (
            "journal-doubted",
            format!("the journal of {member}'s node {} has {doubt}: rolled back or rewritten", node.short()),
        ),
        JournalNews::Succeeded { member, node } => {
            ("journal-succeeded", format!("{member}'s node {} began a new journal", node.short()))
        }
        JournalNews::OwnLost { witness } => (
            "own-journal-lost",
            format!("{witness} holds another past of this node's journal: a new one begins"),
        ),
    };
    Event::Notice { code: code.to_owned(), text }
}

fn relayed_event(event: &RelayEvent, own: &MemberCode) -> Option<Event> {
    Some(match event {
        RelayEvent::MessageArrived { message, sender, precedence, tlp, drill, .. } => {
            Event::MessageReceived {
                message: *message,
                sender: sender.clone(),
                precedence: *precedence,
                tlp: *tlp,
                drill: *drill,
            }
        }
        RelayEvent::MessageQueued { message, recipients, precedence, statement: None, drill, .. } => {
            Event::MessageQueued {
                message: *message,
                recipients: recipients.clone(),
                precedence: *precedence,
                drill: *drill,
            }
        }
        RelayEvent::MessageQueued { statement: Some(label), drill, .. } => {
            let (message, word) = (label.answers, label.word);
            Event::StatementMade { message, member: own.clone(), word, drill: *drill }
        }
        RelayEvent::MessageDelivered { step, late, .. } => Event::MessageDelivered {
            message: step.message,
            member: step.member.clone(),
            node: step.node,
            late: *late,
            drill: step.drill,
        },
        RelayEvent::MessageInCustody { step, custodian_member, held, asked, .. } => Event::MessageInCustody {
            message: step.message,
            member: step.member.clone(),
            custodian: custodian_member.clone(),
            held: *held as u64,
            asked: *asked as u64,
            drill: step.drill,
        },
        RelayEvent::CustodyRefused { step, custodian_member, reason, .. } => Event::CustodyRefused {
            message: step.message,
            member: step.member.clone(),
            custodian: custodian_member.clone(),
            reason: refusal(*reason).to_owned(),
            drill: step.drill,
        },
        RelayEvent::CustodyTaken { message, by, member, .. } => {
            Event::CustodyTaken { message: *message, from: by.clone(), member: member.clone() }
        }
        RelayEvent::CustodyEnded { message, by, member, why, .. } => Event::CustodyEnded {
            message: *message,
            from: by.clone(),
            member: member.clone(),
            reason: why.to_string(),
        },
        RelayEvent::MessageRefused { step, reason, again } => Event::MessageRefused {
            message: step.message,
            member: step.member.clone(),
            reason: refusal(*reason).to_owned(),
            retried: *again,
            drill: step.drill,
        },
        RelayEvent::MessageStopped { message, member, why, drill, .. } => Event::MessageStopped {
            message: *message,
            member: member.clone(),
            reason: why.to_string(),
            drill: *drill,
        },
        RelayEvent::MessageExpired { message, members, drill, .. } => {
            Event::MessageExpired { message: *message, members: members.clone(), drill: *drill }
        }
        RelayEvent::StatementArrived { statement, member, drill, .. } => Event::StatementMade {
            message: statement.answers,
            member: member.clone(),
            word: statement.word,
            drill: *drill,
        },
        // The caller is told directly.
        RelayEvent::SubmitRefused { .. } => return None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        audit::witness::Doubt,
        ids::{MessageId, NodeKey},
        message::{
            body::{Tlp, Word},
            header::Precedence,
        },
        relay::{
            event::{StatementLabel, Step, StopReason, SubmitRefusal},
            exchange::CommandId,
            receipt::RefusalReason,
        },
        time::Timestamp,
    };

    use super::*;

    fn own() -> MemberCode {
        "BR".parse().unwrap()
    }

    fn message() -> MessageId {
        MessageId::from_bytes([7; 32])
    }

    fn members() -> Vec<MemberCode> {
        vec!["FR".parse().unwrap(), "KE".parse().unwrap()]
    }

    fn numbered(number: u64, event: RelayEvent) -> NumberedEvent {
        NumberedEvent { number, at: Timestamp::from_millis(number), event: Happened::Relay(event) }
    }

    fn told(event: RelayEvent) -> Option<Event> {
        view(&numbered(1, event), &own()).map(|view| view.event)
    }

    fn step() -> Step {
        Step {
            message: message(),
            command: None,
            member: "KE".parse().unwrap(),
            node: NodeKey::from_bytes([1; 32]),
            drill: false,
        }
    }

    fn refused() -> RelayEvent {
        RelayEvent::SubmitRefused { command: CommandId(1), why: SubmitRefusal::QueueFull }
    }

    fn queued(statement: Option<StatementLabel>) -> RelayEvent {
        RelayEvent::MessageQueued {
            message: MessageId::from_bytes([9; 32]),
            command: None,
            recipients: members(),
            precedence: Precedence::Flash,
            tlp: Tlp::Red,
            statement,
            drill: true,
        }
    }

    #[test]
    fn a_number_names_one_event_whatever_it_is_about() {
        let (message, members, drill) = (message(), members(), true);
        let expired = RelayEvent::MessageExpired { message, command: None, members: members.clone(), drill };
        assert_eq!(told(expired), Some(Event::MessageExpired { message, members, drill }));
        let why = StopReason::TakenBack;
        let stopped = RelayEvent::MessageStopped { message, command: None, member: None, why, drill };
        let reason = "taken back by the sender".to_owned();
        assert_eq!(told(stopped), Some(Event::MessageStopped { message, member: None, reason, drill }));
    }

    #[test]
    fn a_statement_of_this_side_is_told_as_one_and_a_message_as_a_message() {
        let label = StatementLabel { answers: message(), word: Word::Acknowledged };
        let (member, word, drill) = (own(), Word::Acknowledged, true);
        let made = Event::StatementMade { message: message(), member, word, drill };
        assert_eq!(told(queued(Some(label))), Some(made));
        assert!(
            matches!(told(queued(None)), Some(Event::MessageQueued { recipients, drill: true, .. }) if recipients == members())
        );
    }

    #[test]
    fn a_doubted_journal_may_have_been_rolled_back() {
        let (member, node) = ("KE".parse().unwrap(), NodeKey::from_bytes([1; 32]));
        let Event::Notice { text, .. } =
            journal_event(&JournalNews::Doubted { member, node, doubt: Doubt::Rewound })
        else {
            panic!()
        };
        assert!(text.ends_with("fewer entries than before: rolled back or rewritten"), "{text}");
    }

    #[test]
    fn a_refusal_is_said_to_be_tried_again_only_if_it_is() {
        for again in [true, false] {
            let event = RelayEvent::MessageRefused { step: step(), reason: RefusalReason::NoRoom, again };
            assert!(matches!(told(event), Some(Event::MessageRefused { retried, .. }) if retried == again));
        }
    }

    #[tokio::test]
    async fn what_is_not_told_leaves_its_number_and_what_follows_is_live() {
        let log = EventLog::restore([numbered(1, queued(None)), numbered(2, refused())]);
        let mut place = subscribe(&log, Some(0), &own());
        assert_eq!((place.newest, place.gap, place.missed.len()), (2, false, 1));
        log.publish(numbered(3, refused()));
        log.publish(numbered(4, RelayEvent::MessageDelivered { step: step(), late: false, receipt: None }));
        let next = place.live.next().await.unwrap().unwrap();
        assert_eq!(next.number, 4);
        let beyond = subscribe(&log, None, &own());
        assert_eq!((beyond.newest, beyond.missed.len()), (4, 0));
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_so() {
        let log = EventLog::restore([]);
        let mut place = subscribe(&log, None, &own());
        let sent = u64::try_from(crate::runtime::events::LISTENER_LAG_MAX).unwrap() + 1;
        for number in 1..=sent {
            log.publish(numbered(number, queued(None)));
        }
        assert_eq!(place.live.next().await, Some(Err(Lagged)));
        assert_eq!(place.live.next().await, None);
    }
}
