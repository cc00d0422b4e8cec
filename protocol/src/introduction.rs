//! The door: who may come in, decided inside the security upgrade, before any other byte is read.
//!
//! [`Introduction`] is the pure machine of one side of one connection: frames in, a [`Step`] out. It owns
//! the order of the frames, the verification of what they bring, and the decision; bytes, time limits and
//! the connection are the node's. The order: D `hello`; L may `need`, D answers `versions`; L `hello` or
//! refuses; D may `need`, L answers `versions`; D `done` or refuses. Any other frame is an error.

mod codec;
mod evidence;
pub mod frame;
mod hello;
mod versions;

use std::sync::Arc;

pub use codec::{FrameError, FrameReader, encode_frame};
pub use evidence::LearnedDocument;
pub use versions::VersionsError;

use self::{
    evidence::Overlay,
    frame::{Done, Hello, IntroductionFrame, Need, RefusalCode, Refused, Versions},
    versions::Joined,
};
use crate::{
    document::{EncodeError, Envelope, EnvelopeError, VerifyError},
    ids::{MemberCode, NodeKey},
    limits::GENERATION_MAX,
    membership::{KeyState, NodeStanding, Trust, TrustError},
    time::Timestamp,
};

/// What this node is and holds at one moment: a snapshot that introductions share.
#[derive(Clone, Debug)]
pub struct Presence {
    /// The evidence.
    pub trust: Trust,
    /// This node's key.
    pub node: NodeKey,
    /// This node's member.
    pub member: MemberCode,
    /// Wire versions spoken, ascending.
    pub wire: Vec<u64>,
    /// The newest header of this node's own record, with its body.
    pub record: Option<(Envelope, Vec<u8>)>,
    /// Whether this node turns callers away because it holds as many connections as it may.
    pub full: bool,
}

/// One side of one introduction.
#[derive(Clone, Debug)]
pub struct Introduction {
    presence: Arc<Presence>,
    remote: NodeKey,
    now: Timestamp,
    side: Side,
    state: State,
    overlay: Overlay,
    hello: Option<Hello>,
    need_answered: bool,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Write these frames (perhaps none), then read the next.
    Send(Vec<IntroductionFrame>),
    /// Write these frames; then the connection is the multiplexer's.
    Admit(Vec<IntroductionFrame>, Admitted),
    /// Turn the other side away: write the answer, close the sending direction, read and discard for at
    /// most [`crate::limits::REFUSAL_LINGER`]; without an answer just close.
    Refuse {
        /// The answer; `None` to say nothing.
        answer: Option<IntroductionFrame>,
        /// Why, for this side's log.
        why: Refusal,
    },
    /// The other side turned this one away; what it proved is among the learned documents.
    Refused {
        /// Why.
        code: RefusalCode,
    },
    /// The other side broke the protocol: close.
    Violation(IntroductionError),
}

/// Whom an introduction let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// The node key.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// The highest wire version that both speak.
    pub wire: u64,
    /// The other side's clock when it said `hello`.
    pub remote_time: Timestamp,
}

/// Why this side turns the other away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It belongs to another federation. It is told nothing.
    #[error("the other side belongs to another federation")]
    OtherFederation,
    /// No document certifies its key. It is told nothing.
    #[error("no document certifies the other side's key")]
    Stranger,
    /// It has this node's own key: a connection to oneself, or a copy of this node. It is told nothing.
    #[error("the other side has this node's own key")]
    Oneself,
    /// It is told why.
    #[error("refused: {0:?}")]
    Told(RefusalCode),
}

/// How the other side broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IntroductionError {
    /// A frame out of order.
    #[error("IN-05: {got} where {expected} was expected")]
    Order {
        /// What may come.
        expected: &'static str,
        /// What came.
        got: &'static str,
    },
    /// The form of `hello`, or of the tips in `need`.
    #[error("IN-06: {0}")]
    Form(&'static str),
    /// The slices of charter versions.
    #[error("IN-08: {0}")]
    Versions(#[from] VersionsError),
    /// An envelope beyond its bounds.
    #[error("IN-14: {0}")]
    Envelope(#[from] EnvelopeError),
    /// A charter version or key set that does not verify.
    #[error("IN-14: {0}")]
    Document(#[from] VerifyError),
    /// A charter version or key set that is invalid in every state.
    #[error("IN-14: {0}")]
    Trust(#[from] TrustError),
    /// A document of this side's own has no encoding: not the other side's fault.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Dialler,
    Listener,
}

#[derive(Clone, Debug)]
enum State {
    AwaitingHello,
    AwaitingVersions(Joined),
    /// The listener has admitted and waits for the dialler's last byte.
    AwaitingDone(Admitted),
    Finished,
}

impl Introduction {
    /// Starts the dialler's side; the frame is to be written first. `remote` is the key from the TLS
    /// handshake.
    #[must_use]
    pub fn dial(presence: Arc<Presence>, remote: NodeKey, now: Timestamp) -> (Self, IntroductionFrame) {
        let hello = hello::hello(&presence, &presence.trust, now);
        let frame = IntroductionFrame::Hello(Box::new(hello));
        (Self::start(presence, remote, now, Side::Dialler), frame)
    }

    /// Starts the listener's side, which reads first.
    #[must_use]
    pub fn listen(presence: Arc<Presence>, remote: NodeKey, now: Timestamp) -> Self {
        Self::start(presence, remote, now, Side::Listener)
    }

    /// Takes the other side's next frame. After any step but [`Step::Send`] every further frame is an
    /// error.
    pub fn handle(&mut self, frame: IntroductionFrame) -> Step {
        let step = self.on_frame(frame).unwrap_or_else(Step::Violation);
        if !matches!(step, Step::Send(_)) {
            self.state = State::Finished;
        }
        step
    }

    /// What the other side brought: to be kept even if it was not admitted.
    #[must_use]
    pub fn learned(&self) -> &[LearnedDocument] {
        &self.overlay.learned
    }

    fn start(presence: Arc<Presence>, remote: NodeKey, now: Timestamp, side: Side) -> Self {
        let overlay = Overlay::new(presence.trust.clone());
        let state = State::AwaitingHello;
        Self { presence, remote, now, side, state, overlay, hello: None, need_answered: false }
    }

    fn on_frame(&mut self, frame: IntroductionFrame) -> Result<Step, IntroductionError> {
        let dials = self.side == Side::Dialler;
        match (&mut self.state, frame) {
            (State::AwaitingHello, IntroductionFrame::Hello(hello)) => self.on_hello(*hello),
            (State::AwaitingHello, IntroductionFrame::Need(need)) if dials && !self.need_answered => {
                self.on_need(&need)
            }
            (State::AwaitingHello, IntroductionFrame::Refused(refused)) if dials => self.on_refused(refused),
            (State::AwaitingVersions(joined), IntroductionFrame::Versions(slice)) => {
                match joined.push(&slice)? {
                    Some(envelopes) => self.on_versions(envelopes),
                    None => Ok(Step::Send(Vec::new())),
                }
            }
            (State::AwaitingDone(_), IntroductionFrame::Need(need)) if !self.need_answered => {
                self.on_need(&need)
            }
            (State::AwaitingDone(admitted), IntroductionFrame::Done(Done {})) => {
                let admitted = admitted.clone();
                self.learn_record();
                Ok(Step::Admit(Vec::new(), admitted))
            }
            (State::AwaitingDone(_), IntroductionFrame::Refused(refused)) => self.on_refused(refused),
            (_, other) => Err(IntroductionError::Order { expected: self.expected(), got: name(&other) }),
        }
    }

    fn on_hello(&mut self, hello: Hello) -> Result<Step, IntroductionError> {
        if hello.federation != self.overlay.trust.federation() {
            return Ok(Step::Refuse { answer: None, why: Refusal::OtherFederation });
        }
        hello::check_hello(&hello).map_err(IntroductionError::Form)?;
        if self.remote == self.presence.node {
            return Ok(Step::Refuse { answer: None, why: Refusal::Oneself });
        }
        let lacks_any = self.lacks_any(&hello);
        self.hello = Some(hello);
        if lacks_any {
            self.state = State::AwaitingVersions(Joined::default());
            let trust = &self.overlay.trust;
            let need = Need { tips: trust.charter_tips(), settled: hello::settled(trust) };
            return Ok(Step::Send(vec![IntroductionFrame::Need(need)]));
        }
        self.decide()
    }

    fn on_need(&mut self, need: &Need) -> Result<Step, IntroductionError> {
        if !need.tips.is_sorted_by(|a, b| a < b) {
            return Err(IntroductionError::Form("tips are not sorted, or one stands twice"));
        }
        self.need_answered = true;
        let trust = &self.overlay.trust;
        let settlements = trust.settlements_beyond(need.settled);
        let versions = trust.charters_for(&need.tips, &settlements);
        Ok(Step::Send(versions::slices(&versions, &settlements)?))
    }

    fn on_versions(&mut self, envelopes: Vec<Envelope>) -> Result<Step, IntroductionError> {
        for envelope in envelopes {
            self.overlay.take_version(envelope)?;
        }
        self.decide()
    }

    fn on_refused(&mut self, refused: Refused) -> Result<Step, IntroductionError> {
        for envelope in refused.proof {
            self.overlay.take(envelope)?;
        }
        Ok(Step::Refused { code: refused.code })
    }

    /// Decides on the evidence that both sides' documents make together.
    fn decide(&mut self) -> Result<Step, IntroductionError> {
        let Some(mut hello) = self.hello.take() else {
            return Err(IntroductionError::Order { expected: self.expected(), got: "versions" });
        };
        let mut claims = Vec::new();
        let mut open = std::mem::take(&mut hello.key_sets);
        // One that builds on a rotation waits for it, wherever in the list that stands.
        for _ in 0..=GENERATION_MAX {
            let mut waiting = Vec::new();
            for envelope in open {
                match self.overlay.take_key_set(envelope.clone())? {
                    Some(set) => claims.push(set.payload().member.clone()),
                    None => waiting.push(envelope),
                }
            }
            open = waiting;
        }
        let view = self.overlay.trust.membership();
        let claimed = claims.iter().filter_map(|member| view.node_of(member, &self.remote));
        // The member under which the key is valid goes before one under which it has ended.
        let standing = claimed.clone().find(|standing| standing.is_active());
        let standing = standing.or_else(|| view.node(&self.remote)).or_else(|| claimed.clone().next());
        let step = match standing {
            Some(standing) if standing.is_active() => self.admit(standing.member.clone(), &hello)?,
            Some(standing) => self.refuse_ended(standing, &hello)?,
            None if self.is_incomplete(&hello) => told(RefusalCode::Incomplete),
            None => Step::Refuse { answer: None, why: Refusal::Stranger },
        };
        self.hello = Some(hello);
        if matches!(step, Step::Admit(..)) {
            self.learn_record();
        }
        Ok(step)
    }

    /// The dialler says `done`; the listener says `hello` and waits for it.
    fn admit(&mut self, member: MemberCode, hello: &Hello) -> Result<Step, IntroductionError> {
        let spoken = self.presence.wire.iter().filter(|version| hello.wire.contains(version)).max();
        let Some(&wire) = spoken else { return Ok(told(RefusalCode::WireVersion)) };
        let admitted = Admitted { node: self.remote, member, wire, remote_time: hello.time };
        match self.side {
            Side::Dialler => Ok(Step::Admit(vec![IntroductionFrame::Done(Done {})], admitted)),
            Side::Listener if self.presence.full => Ok(told(RefusalCode::Full)),
            Side::Listener => {
                self.state = State::AwaitingDone(admitted);
                let own = hello::hello(&self.presence, &self.overlay.trust, self.now);
                Ok(Step::Send(vec![IntroductionFrame::Hello(Box::new(own))]))
            }
        }
    }

    fn refuse_ended(&self, standing: &NodeStanding, hello: &Hello) -> Result<Step, IntroductionError> {
        if self.is_incomplete(hello) {
            return Ok(told(RefusalCode::Incomplete));
        }
        let code = match standing.state {
            KeyState::MemberSuspended | KeyState::MemberWithdrawn => RefusalCode::MemberInactive,
            // Nothing ended the key: it never was valid here.
            _ if standing.ended_by.is_empty() => {
                return Ok(Step::Refuse { answer: None, why: Refusal::Stranger });
            }
            _ => RefusalCode::KeyEnded,
        };
        let trust = &self.overlay.trust;
        let refused = hello::refused_with_proof(trust, code, &standing.ended_by, &hello.tips)?;
        Ok(Step::Refuse { answer: Some(IntroductionFrame::Refused(refused)), why: Refusal::Told(code) })
    }

    /// Whether the next dial may bring what this one had no room for: this one brought some of it.
    fn is_incomplete(&self, theirs: &Hello) -> bool {
        let is_version = |learned: &LearnedDocument| {
            matches!(learned, LearnedDocument::Charter(_) | LearnedDocument::Settlement(_))
        };
        self.overlay.learned.iter().any(is_version) && self.lacks_any(theirs)
    }

    /// Whether the other side holds a charter version that this one does not, or knows one to be settled that this one
    /// does not.
    fn lacks_any(&self, theirs: &Hello) -> bool {
        let trust = &self.overlay.trust;
        theirs.tips.iter().any(|tip| trust.charter(tip).is_none())
            || theirs.settled.is_some_and(|version| !trust.is_settled(&version))
    }

    /// Hands on the record of a node that is let in.
    fn learn_record(&mut self) {
        let record = self.hello.as_mut().and_then(|hello| hello.record.take().zip(hello.body.take()));
        if let Some((header, body)) = record {
            self.overlay.learned.push(LearnedDocument::Record { header, body: body.into_vec() });
        }
    }

    fn expected(&self) -> &'static str {
        match (&self.state, self.side) {
            (State::AwaitingHello, Side::Dialler) => "need, hello or refused",
            (State::AwaitingHello, Side::Listener) => "hello",
            (State::AwaitingVersions(_), _) => "versions",
            (State::AwaitingDone(_), _) => "need, done or refused",
            (State::Finished, _) => "nothing",
        }
    }
}

fn told(code: RefusalCode) -> Step {
    let answer = IntroductionFrame::Refused(Refused { code, proof: Vec::new() });
    Step::Refuse { answer: Some(answer), why: Refusal::Told(code) }
}

const fn name(frame: &IntroductionFrame) -> &'static str {
    match frame {
        IntroductionFrame::Hello(_) => "hello",
        IntroductionFrame::Need(_) => "need",
        IntroductionFrame::Versions(Versions { .. }) => "versions",
        IntroductionFrame::Done(_) => "done",
        IntroductionFrame::Refused(_) => "refused",
    }
}

#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod tests;
