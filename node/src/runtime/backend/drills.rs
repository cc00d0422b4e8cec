//! Drills: their messages are made here, always the same, and found again by the id that they carry.

use std::time::Duration;

use refpoint_protocol::{
    ids::MemberCode,
    limits::RECIPIENTS_MAX,
    machine::{Command, Machine, Reply},
    message::{
        body::{Body, Tlp},
        draft::Draft,
        drill::DrillId,
    },
    redact::Redacted,
    relay::views::DrillRun,
    time::Timestamp,
};

use super::{NodeBackend, unavailable};
use crate::{
    api::{
        backend::{BackendError, IdPrefix},
        views::drill::{DRILL_PRECEDENCE, DrillReport, DrillRequest, DrillRow, DrillStarted},
    },
    drills::{Groups, LISTED_MAX, report, row},
};

impl NodeBackend {
    pub(super) async fn all_drills(&self) -> Result<Vec<DrillRow>, BackendError> {
        let runs = self.look(|machine, _| machine.messages().drills(LISTED_MAX)).await?;
        Ok(runs.iter().map(row).collect())
    }

    pub(super) async fn one_drill(&self, id: &IdPrefix) -> Result<DrillReport, BackendError> {
        let look = |machine: &Machine, now: Timestamp| {
            let membership = machine.evidence().membership();
            let groups: Groups =
                membership.members().map(|member| (member.code.clone(), member.group)).collect();
            (machine.messages().drills(LISTED_MAX), groups, now)
        };
        let (runs, groups, now) = self.look(look).await?;
        let place = place(&runs, id)?;
        report(&runs, place, self.own.member.clone(), now, &groups).ok_or_else(|| unknown(id))
    }

    /// Asks all members, as many as a message can reach at a time. A member that cannot be asked stops all before
    /// anything is sent; what comes up later is told with what was sent.
    pub(super) async fn begun_drill(&self, request: DrillRequest) -> Result<DrillStarted, BackendError> {
        let DrillRequest { members, within_seconds } = request;
        let (own, asked) = (self.own.member.clone(), members.clone());
        let check = move |machine: &Machine, now: Timestamp| {
            asked.iter().try_for_each(|it| can_be_asked(machine, &own, it)).map(|()| now)
        };
        let now = self.look(check).await??;
        let id = DrillId::from_bytes(getrandom::u64().map_err(|error| no_random(&error))?.to_be_bytes());
        let lifetime = Duration::from_secs(within_seconds);
        let (mut messages, mut times) = (Vec::new(), Vec::new());
        let (mut not_asked, mut reason) = (Vec::new(), None);
        for part in members.chunks(RECIPIENTS_MAX) {
            if reason.is_some() {
                not_asked.extend_from_slice(part);
                continue;
            }
            match self.command(Command::Send(Box::new(draft(id, part, lifetime)))).await {
                Ok(Reply::Queued { message, created, expires, .. }) => {
                    messages.push(message);
                    times.push((created, expires));
                }
                Ok(_) if messages.is_empty() => return Err(unavailable()),
                Err(error) if messages.is_empty() => return Err(error),
                Ok(_) => reason = Some(unavailable().to_string()),
                Err(error) => reason = Some(error.to_string()),
            }
            if reason.is_some() {
                not_asked.extend_from_slice(part);
            }
        }
        let started = times.iter().map(|(created, _)| *created).min().unwrap_or(now);
        let ends = times.iter().map(|(_, expires)| *expires).max().unwrap_or(now);
        let asked = members.into_iter().filter(|member| !not_asked.contains(member)).collect();
        tracing::info!(drill = %id, messages = messages.len(), "a drill was started");
        let (started, ends) = (started.into(), ends.into());
        Ok(DrillStarted { drill: id, started, ends, messages, asked, not_asked, reason })
    }
}

fn can_be_asked(machine: &Machine, own: &MemberCode, member: &MemberCode) -> Result<(), BackendError> {
    let refused = |code, message: String, hint: &str| {
        Err(BackendError::Refused { code, message, hint: hint.to_owned() })
    };
    if member == own {
        return refused("own-member", format!("{member} is this node's own member"), "leave this member out");
    }
    match machine.evidence().membership().member(member) {
        None => Err(BackendError::UnknownMember { member: member.clone() }),
        Some(held) if !held.is_active() => {
            let message = format!("{member} takes no part: the charter suspends it or lets it go");
            refused(
                "not-active",
                message,
                "leave it out, or ask all with --all, which asks active members alone",
            )
        }
        Some(_) => Ok(()),
    }
}

fn no_random(error: &getrandom::Error) -> BackendError {
    BackendError::Unavailable { why: format!("the system gives no random bytes: {error}") }
}

fn place(runs: &[DrillRun], id: &IdPrefix) -> Result<usize, BackendError> {
    let fits = |(_, run): &(usize, &DrillRun)| run.id.digits().starts_with(id.as_str());
    let mut found = runs.iter().enumerate().filter(fits);
    let (place, _) = found.next().ok_or_else(|| unknown(id))?;
    match found.next() {
        None => Ok(place),
        Some(_) => Err(BackendError::Refused {
            code: "ambiguous-id",
            message: format!("several drills have ids that begin with {id}"),
            hint: "give more of its digits".to_owned(),
        }),
    }
}

fn unknown(id: &IdPrefix) -> BackendError {
    BackendError::UnknownDrill { id: id.to_string() }
}

fn draft(id: DrillId, members: &[MemberCode], lifetime: Duration) -> Draft {
    Draft {
        recipients: members.to_vec(),
        precedence: DRILL_PRECEDENCE,
        lifetime: Some(lifetime),
        body: Body {
            tlp: Tlp::Green,
            text: Some(Redacted(TEXT.to_owned())),
            reference: Some(Redacted(id.to_string())),
            attachments: Vec::new(),
            statement: None,
            drill: true,
            form: None,
        },
    }
}

/// What every drill says, in the languages of the network.
const TEXT: &str = "\
DRILL. This is a test of the network, not a request. Please acknowledge it as you would a real message; nothing else \
is needed.\n\n\
EXERCICE. Ceci est un test du réseau, pas une demande. Veuillez en accuser réception comme d’un message réel ; rien \
d’autre n’est nécessaire.\n\n\
SIMULACRO. Esto es una prueba de la red, no una solicitud. Acuse recibo como lo haría de un mensaje real; no hace \
falta nada más.\n\n\
تمرين. هذا اختبار للشبكة وليس طلبًا. يُرجى الإقرار بالاستلام كما لو كانت رسالة حقيقية، ولا يلزم أي شيء آخر.\n";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::message::header::Precedence;

    use super::*;

    #[test]
    fn a_drills_message_is_marked_well_formed_and_found_by_its_id() {
        let id = DrillId::from_bytes([3; 8]);
        let draft = draft(id, &["KE".parse().unwrap()], Duration::from_secs(60));
        assert_eq!(draft.body.check_form(), Ok(()));
        assert_eq!((draft.body.drill, DrillId::of(&draft.body)), (true, Some(id)));
        assert!(draft.precedence < Precedence::Immediate);
    }

    #[test]
    fn a_drill_is_named_by_its_first_digits() {
        let run = |byte| DrillRun {
            id: DrillId::from_bytes([0xab, 0xcd, byte, 0, 0, 0, 0, 0]),
            started: Timestamp::from_millis(1),
            ends: Timestamp::from_millis(2),
            precedence: DRILL_PRECEDENCE,
            recipients: Vec::new(),
        };
        let runs = [run(1), run(2)];
        let place = |text: &str| place(&runs, &text.parse().unwrap());
        assert_eq!(place("ABCD02"), Ok(1));
        assert!(matches!(place("abcd"), Err(BackendError::Refused { code: "ambiguous-id", .. })));
        assert!(matches!(place("abce"), Err(BackendError::UnknownDrill { .. })));
    }
}
