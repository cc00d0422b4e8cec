//! What the node does not do, in words: a stable code, why, and what to do.

use refpoint_protocol::{
    directory::own_chain::{Standing, StopReason},
    ids::Sequence,
    machine::CommandRefused,
    relay::event::{StopReason as Stop, SubmitRefusal},
};

use super::directory::{TWIN_TO_DO, clock_words};
use crate::{
    api::backend::BackendError,
    runtime::{Stopping, Unanswered},
};

/// Whoever asks a node that is stopping.
pub(super) fn stopping(_: Stopping) -> BackendError {
    unavailable()
}

/// Whoever gave a command to a node that is stopping.
pub(super) fn unanswered(unanswered: Unanswered) -> BackendError {
    match unanswered {
        Unanswered::NotTaken => unavailable(),
        Unanswered::Undecided => BackendError::Undecided,
    }
}

/// A part of the node has gone.
pub(super) fn unavailable() -> BackendError {
    BackendError::Unavailable { why: "it is stopping".to_owned() }
}

/// What the machine refused.
pub(super) fn refusal(refused: &CommandRefused) -> BackendError {
    match refused {
        CommandRefused::Submit(submit) => submit_refusal(submit),
        CommandRefused::Entry(_) => {
            told(refused, "entry", "correct reference-point.toml and publish it again")
        }
        CommandRefused::NotWaiting => told(refused, "not-waiting", "see refpoint status for what is wrong"),
        CommandRefused::Twin => told(refused, "twin", TWIN_TO_DO),
        CommandRefused::ExpiredBefore(_) => {
            told(refused, "clock", "set the clock, start the node again, then send it again")
        }
        CommandRefused::ClockWrong(offset) => {
            let hint = "set the clock, then start the node again: it signs by itself then";
            told(clock_words(*offset), "clock", hint)
        }
        CommandRefused::Pending => told(refused, "pending", "import the documents that it builds on first"),
        CommandRefused::Documents(_) => {
            told(refused, "documents", "ask whoever made the file for the right one")
        }
    }
}

fn submit_refusal(refused: &SubmitRefusal) -> BackendError {
    let (code, hint) = match refused {
        SubmitRefusal::UnknownMember(member) => {
            return BackendError::UnknownMember { member: member.clone() };
        }
        SubmitRefusal::UnknownMessage(id) => {
            return BackendError::UnknownMessage { id: id.to_string() };
        }
        SubmitRefusal::NoRoom => return BackendError::NoRoom { why: "the disk is full".to_owned() },
        SubmitRefusal::NoRecipients => ("no-recipient", "name one: refpoint message send KE …"),
        SubmitRefusal::TooManyRecipients(_) => ("too-many-recipients", "send it in several messages"),
        SubmitRefusal::OwnMember(_) => ("own-member", "leave this member out"),
        SubmitRefusal::Stopped(_, Stop::Suspended(_)) => ("suspended", CHARTER_DECIDES),
        SubmitRefusal::Stopped(_, Stop::Withdrawn(_)) => ("withdrawn", CHARTER_DECIDES),
        SubmitRefusal::Stopped(_, Stop::TakenBack | Stop::ContentLost) => {
            ("stopped", "write a new message instead")
        }
        SubmitRefusal::Lifetime(_) => ("lifetime", "choose another time, for instance --expires 72h"),
        SubmitRefusal::Body(_) => ("body", "correct the message and send it again"),
        SubmitRefusal::NotOurs(_) => {
            ("not-yours-to-say", "the other side says this; see the words: refpoint message ack --help")
        }
        SubmitRefusal::QueueFull => {
            ("outbox-full", "wait until some are delivered; what waits: refpoint message outbox")
        }
        SubmitRefusal::Bug(_) => ("bug", "this is a fault of refpoint: report it with the node's log"),
    };
    told(refused, code, hint)
}

/// Why an entry that was handed in is not signed now. It is kept in memory alone, until the node stops.
pub(super) fn not_signed(standing: &Standing) -> BackendError {
    let (why, hint): (String, String) = match standing {
        // An entry handed in a moment before is on its way to being signed.
        Standing::Signing => {
            ("the entry before it is being signed".to_owned(), format!("{BY_ITSELF} in a moment"))
        }
        Standing::Waiting { witnesses, needed, .. } => (
            format!(
                "this node asks other members first what it signed before ({} of {needed} have told it)",
                witnesses.len()
            ),
            format!(
                "{BY_ITSELF} when they have{UNLESS_RESTARTED}; if no other node can be reached: refpoint directory resume"
            ),
        ),
        Standing::NotListed => (
            "no current key set lists this node's key".to_owned(),
            format!("list it: refpoint keys issue --root-key FILE; {BY_ITSELF} then{UNLESS_RESTARTED}"),
        ),
        Standing::ClockWrong { offset_ms } => (
            clock_words(*offset_ms),
            "set the clock, start the node again, then publish the entry again".to_owned(),
        ),
        Standing::Stopped(StopReason::Twin { .. } | StopReason::TwinMet) => (
            "another machine uses this node's key".to_owned(),
            format!("{TWIN_TO_DO}; then publish the entry again"),
        ),
        Standing::Stopped(StopReason::Forked { sequence, .. }) => (
            format!("this node's chain is forked at {sequence}"),
            format!(
                "only a new key set ends that: refpoint keys issue --root-key FILE; {BY_ITSELF} then{UNLESS_RESTARTED}"
            ),
        ),
        Standing::Stopped(StopReason::Full { .. }) => (
            "this node's chain is full".to_owned(),
            format!(
                "a new key set begins another: refpoint keys issue --root-key FILE; {BY_ITSELF} then{UNLESS_RESTARTED}"
            ),
        ),
    };
    BackendError::Refused {
        code: "not-signing",
        message: format!("the entry is not signed yet: {why}"),
        hint,
    }
}

/// An entry that says what is published already.
pub(super) fn unchanged(published: Option<Sequence>) -> BackendError {
    let number = published.map(|sequence| format!(" as number {sequence}")).unwrap_or_default();
    let message = format!("this entry is published already{number}, and nothing in it has changed");
    told(message, "unchanged", "nothing is to be done: the node renews it every day by itself")
}

/// Content that is no longer here.
pub(super) fn erased() -> BackendError {
    let message = "its content was erased here, as it is in the outbox a day after the acknowledgement";
    told(message, "erased", "ask the recipient for it, who keeps it")
}

fn told(message: impl ToString, code: &'static str, hint: &str) -> BackendError {
    BackendError::Refused { code, message: message.to_string(), hint: hint.to_owned() }
}

const CHARTER_DECIDES: &str = "the charter decides: see refpoint directory show, and call by telephone";

const BY_ITSELF: &str = "it is published by itself";

const UNLESS_RESTARTED: &str = ", unless the node is started anew before: then publish it again";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::collections::BTreeSet;

    use refpoint_protocol::{
        directory::header::ChainKind,
        ids::{CharterVersion, HeaderId, MemberCode, MessageId},
        message::body::Word,
        time::Timestamp,
    };

    use super::*;

    fn ke() -> MemberCode {
        "KE".parse().unwrap()
    }

    fn refused(error: BackendError) -> (&'static str, String, String) {
        match error {
            BackendError::Refused { code, message, hint } => (code, message, hint),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_refusal_of_a_message_has_a_code_of_its_own_and_says_what_to_do() {
        let refusals = [
            SubmitRefusal::NoRecipients,
            SubmitRefusal::TooManyRecipients(33),
            SubmitRefusal::OwnMember(ke()),
            SubmitRefusal::Stopped(ke(), Stop::Suspended(CharterVersion(3))),
            SubmitRefusal::Stopped(ke(), Stop::Withdrawn(CharterVersion(3))),
            SubmitRefusal::Stopped(ke(), Stop::TakenBack),
            SubmitRefusal::Lifetime(0),
            SubmitRefusal::Body("the text is too long".into()),
            SubmitRefusal::NotOurs(Word::Withdrawn),
            SubmitRefusal::QueueFull,
            SubmitRefusal::Bug("a fault".into()),
        ];
        let mut codes = BTreeSet::new();
        for submit in &refusals {
            let (code, message, hint) = refused(refusal(&CommandRefused::Submit(submit.clone())));
            assert!(codes.insert(code), "{code} stands twice");
            assert_eq!(message, submit.to_string());
            assert!(!hint.is_empty(), "{code}");
        }
    }

    #[test]
    fn what_the_api_has_words_for_keeps_them() {
        let submit = |refused| refusal(&CommandRefused::Submit(refused));
        assert_eq!(submit(SubmitRefusal::UnknownMember(ke())), BackendError::UnknownMember { member: ke() });
        let id = MessageId::from_bytes([7; 32]);
        assert_eq!(
            submit(SubmitRefusal::UnknownMessage(id)),
            BackendError::UnknownMessage { id: id.to_string() }
        );
        assert!(matches!(submit(SubmitRefusal::NoRoom), BackendError::NoRoom { .. }));
    }

    #[test]
    fn an_entry_that_waits_is_said_to_come_by_itself_only_where_it_does() {
        let kind = ChainKind::ReferencePoint;
        let waiting = Standing::Waiting {
            witnesses: BTreeSet::from([ke()]),
            needed: 3,
            fewer_suffice_at: Timestamp::default(),
        };
        let by_itself = [
            waiting.clone(),
            Standing::NotListed,
            Standing::Stopped(StopReason::Forked { kind, sequence: Sequence(4) }),
            Standing::Stopped(StopReason::Full { kind }),
            Standing::Signing,
        ];
        for standing in by_itself {
            let (code, _, hint) = refused(not_signed(&standing));
            assert!(code == "not-signing" && hint.contains(BY_ITSELF), "{standing:?}: {hint}");
        }
        let twin = StopReason::Twin { header: HeaderId::from_bytes([1; 32]), issued: Timestamp::default() };
        for standing in [Standing::ClockWrong { offset_ms: -660_000 }, Standing::Stopped(twin)] {
            let (_, _, hint) = refused(not_signed(&standing));
            assert!(!hint.contains(BY_ITSELF) && hint.contains("publish the entry again"), "{hint}");
        }
        assert!(refused(not_signed(&waiting)).1.contains("1 of 3"));
    }

    #[test]
    fn a_clock_is_said_to_be_behind_or_ahead_as_it_is() {
        let words = |offset| refused(refusal(&CommandRefused::ClockWrong(offset))).1;
        assert!(words(660_000).contains("660 s behind"), "{}", words(660_000));
        assert!(words(-660_000).contains("660 s ahead"), "{}", words(-660_000));
    }
}
