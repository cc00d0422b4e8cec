//! What a proof proves, once everything in it has been checked. Refuses one of which anything is false.

use std::collections::BTreeMap;

use super::{
    BUNDLE, Continues, FEDERATION, FIRST_LINE, FORMAT, Grounds, Included, Journalled, MESSAGE, ProofFault,
    ProofRefused, ProvenHeader, ProvenMessage, ProvenReceipt, ProvenStatement, Witnessed, lines::Line,
    origin,
};
use crate::{
    audit::{
        bundle::Exporter,
        entries::cosigned,
        journal::{Entry, JournalCheckpoint, TIME},
        merkle::{
            Tree, leaf_hash,
            proof::{check_consistency, check_inclusion},
        },
        note::{Checkpoint, Note, NoteError},
        report::audit,
        witness::WitnessName,
    },
    document::{Envelope, Unverified},
    ids::{DocumentId, FederationId, MemberCode, MessageId, NodeKey, TreeRoot},
    limits::AUDIT_FAULTS_SHOWN_MAX,
    machine::Event,
    membership::{KeyState, Membership},
    message::{body::Word, header::MessageHeader},
    relay::{
        event::RelayEvent,
        receipt::{Receipt, ReceiptWord},
        rows::{SignedStatement, decode_row},
        sealing::open_statement,
    },
    time::Timestamp,
};

/// Reads a proof and checks all of it against a pinned federation.
///
/// # Errors
/// [`ProofRefused`] with everything that is wrong with it.
pub fn check_message_proof(bytes: &[u8], federation: FederationId) -> Result<ProvenMessage, ProofRefused> {
    let file = File::read(bytes)?;
    if file.federation != federation {
        return Err(ProofFault::OtherFederation { pinned: federation, got: file.federation }.into());
    }
    if file.said != file.got {
        return Err(ProofFault::Changed.into());
    }
    let bundle = audit(file.bundle, federation).map_err(|refused| ProofFault::Bundle(Box::new(refused)))?;
    if file.root != bundle.root {
        return Err(ProofFault::Changed.into());
    }
    let Exporter { member, node, .. } = &bundle.exporter;
    let name = origin(&bundle.exporter);
    if !file.end.is_signed_by(&name, node.as_bytes()) || file.origin != name {
        return Err(ProofFault::Signature { member: member.clone(), node: *node }.into());
    }
    let mut judge = Judge {
        membership: &bundle.evidence.membership(),
        exporter: &bundle.exporter,
        message: file.message,
        header: None,
        delivered: Vec::new(),
        said: Vec::new(),
        states: BTreeMap::new(),
        journalled: Vec::new(),
        continued: Vec::new(),
        faults: Vec::new(),
    };
    file.lines.into_iter().for_each(|(line, content)| judge.take(line, content));
    judge.connect();
    let Judge { header, delivered, said, journalled, faults, .. } = judge;
    if !faults.is_empty() {
        return Err(ProofRefused(faults));
    }
    Ok(ProvenMessage { message: file.message, made: file.made, header, delivered, said, journalled, bundle })
}

/// A file taken apart.
struct File<'a> {
    federation: FederationId,
    message: MessageId,
    /// The bundle's root, as the proof names it.
    root: TreeRoot,
    lines: Vec<(u64, Line)>,
    end: Note,
    origin: String,
    made: Timestamp,
    said: (u64, TreeRoot),
    got: (u64, TreeRoot),
    bundle: &'a [u8],
}

impl<'a> File<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, ProofFault> {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first != FIRST_LINE.as_bytes() {
            let version =
                first.strip_prefix(FORMAT.as_bytes()).and_then(|text| std::str::from_utf8(text).ok());
            let version = version.map(|version| version.chars().take(ECHO_CHARS_MAX).collect());
            return Err(version.map_or(ProofFault::NotAProof, ProofFault::Newer));
        }
        let place = bytes.windows(BUNDLE_BEGINS.len()).position(|window| window == BUNDLE_BEGINS);
        let (proof, bundle) = bytes.split_at(place.ok_or(ProofFault::Truncated)? + 1);
        let parted = proof.windows(2).position(|pair| pair == b"\n\n").ok_or(ProofFault::Truncated)?;
        let (head, tail) = proof.split_at_checked(parted).unwrap_or((proof, &[]));
        let end = Note::parse(tail.get(2..).unwrap_or_default()).map_err(ProofFault::End)?;
        if end.signatures.len() != 1 {
            return Err(ProofFault::End(NoteError::Signatures(end.signatures.len())));
        }
        let checkpoint = Checkpoint::parse(&end.text).map_err(ProofFault::End)?;
        let made = checkpoint.time(TIME).ok_or(ProofFault::End(NoteError::Checkpoint("time")))?;
        let mut tree = Tree::default();
        head.split(|byte| *byte == b'\n').for_each(|line| tree.push(line));
        let text =
            std::str::from_utf8(head).map_err(|_| ProofFault::Line { line: 1, why: "it is no text" })?;
        let mut lines = (1..).zip(text.split('\n')).skip(1);
        let mut next = |word: &str| {
            let (line, text) = lines.next().unwrap_or_default();
            let rest = text.strip_prefix(word).and_then(|rest| rest.strip_prefix(' '));
            rest.map(|rest| (line, rest))
                .ok_or(ProofFault::Line { line, why: "another word is expected here" })
        };
        let id = |(line, text): (u64, &str)| {
            let id = text.parse::<DocumentId>().ok().filter(|id| id.to_string() == text);
            id.ok_or(ProofFault::Line { line, why: "64 digits are expected" })
        };
        let federation = FederationId::from(id(next(FEDERATION)?)?);
        let message = MessageId::from(id(next(MESSAGE)?)?);
        let root = TreeRoot::from_bytes(*id(next(BUNDLE)?)?.as_bytes());
        let parsed = lines.map(|(line, text)| {
            Line::parse(text).map(|it| (line, it)).map_err(|why| ProofFault::Line { line, why })
        });
        let lines = parsed.collect::<Result<Vec<_>, _>>()?;
        if !lines.is_sorted_by_key(|(_, line)| line.order()) {
            return Err(ProofFault::Line { line: 1, why: "its lines are out of order" });
        }
        Ok(Self {
            federation,
            message,
            root,
            lines,
            origin: checkpoint.origin,
            made,
            said: (checkpoint.size, checkpoint.root),
            got: (tree.size(), tree.root()),
            end,
            bundle,
        })
    }
}

/// What was found so far.
struct Judge<'a> {
    membership: &'a Membership,
    exporter: &'a Exporter,
    message: MessageId,
    header: Option<ProvenHeader>,
    delivered: Vec<ProvenReceipt>,
    said: Vec<ProvenStatement>,
    /// By when the journal began and by size.
    states: BTreeMap<(Timestamp, u64), State>,
    /// Which states were shown to continue which.
    continued: Vec<(Timestamp, u64, u64)>,
    journalled: Vec<Journalled>,
    faults: Vec<ProofFault>,
}

/// A state of a journal that a checkpoint names.
struct State {
    root: TreeRoot,
    by: Vec<(WitnessName, Timestamp)>,
    /// The line of its first checkpoint.
    line: u64,
}

impl Judge<'_> {
    fn take(&mut self, line: u64, content: Line) {
        let (what, rule, taken) = match content {
            Line::Header(envelope) => ("the message's header", "MP-04", self.header(envelope)),
            Line::Receipt(envelope) => ("a receipt", "MP-04", self.receipt(envelope)),
            Line::Statement(signed) => ("a statement", "MP-05", self.statement(&signed)),
            Line::Checkpoint(note) => ("a checkpoint", "MP-06", self.checkpoint(line, &note)),
            Line::Continues(it) => ("a proof that a journal continues itself", "MP-06", self.continues(&it)),
            Line::Entry(entry) => ("an entry of the journal", "MP-07", self.entry(entry)),
        };
        if let Err(why) = taken {
            self.fault(line, what, rule, why);
        }
    }

    fn fault(&mut self, line: u64, what: &'static str, rule: &'static str, why: String) {
        if self.faults.len() < AUDIT_FAULTS_SHOWN_MAX {
            self.faults.push(ProofFault::False { line, what, rule, why });
        }
    }

    fn header(&mut self, envelope: Envelope) -> Result<(), String> {
        let verified = Unverified::<MessageHeader>::open(envelope)
            .and_then(|header| header.verify(self.exporter.federation))
            .map_err(|error| error.to_string())?;
        if MessageId::from(verified.id()) != self.message || self.header.is_some() {
            return Err("it is another message's".to_owned());
        }
        let signer = NodeKey::from_bytes(verified.signer().ok_or("it has several signers")?);
        let header = verified.payload().clone();
        let state = self.listed(&header.sender, &signer)?;
        self.header = Some(ProvenHeader { header, signer, state });
        Ok(())
    }

    fn receipt(&mut self, envelope: Envelope) -> Result<(), String> {
        let verified = Unverified::<Receipt>::open(envelope)
            .and_then(|receipt| receipt.verify(self.exporter.federation))
            .map_err(|error| error.to_string())?;
        let Receipt { message, member, node, word, at, .. } = verified.payload().clone();
        if message != self.message || word != ReceiptWord::Delivered {
            return Err("it says nothing of this message's delivery".to_owned());
        }
        if verified.signer() != Some(*node.as_bytes()) {
            return Err("it is not signed by the node that it speaks for".to_owned());
        }
        let state = self.listed(&member, &node)?;
        if self.header.as_ref().is_some_and(|it| !it.header.recipients.contains(&member)) {
            return Err(format!("{member} is no recipient in the signed header"));
        }
        self.delivered.push(ProvenReceipt { member, node, id: verified.id(), at, state });
        Ok(())
    }

    fn statement(&mut self, signed: &SignedStatement) -> Result<(), String> {
        let (header, statement) =
            open_statement(signed, self.exporter.federation).map_err(|error| error.to_string())?;
        if statement.answers != self.message {
            return Err("it is about another message".to_owned());
        }
        let signer = NodeKey::from_bytes(header.signer().ok_or("it has several signers")?);
        let MessageHeader { sender: member, created, .. } = header.payload().clone();
        let state = self.listed(&member, &signer)?;
        let is_party =
            |it: &ProvenHeader| it.header.sender == member || it.header.recipients.contains(&member);
        if self.header.as_ref().is_some_and(|it| !is_party(it)) {
            return Err(format!("{member} is neither sender nor recipient"));
        }
        self.said.push(ProvenStatement { id: header.id().into(), member, signer, created, statement, state });
        Ok(())
    }

    fn checkpoint(&mut self, line: u64, note: &Note) -> Result<(), String> {
        let read = JournalCheckpoint::of(note).map_err(|error| error.to_string())?;
        let Exporter { federation, member, node } = self.exporter;
        let own = &read.origin;
        if (own.federation, &own.member, own.node) != (*federation, member, *node) {
            return Err("it is of another node's journal".to_owned());
        }
        let own = own.to_string();
        let mut by: Vec<(WitnessName, Timestamp)> = Vec::new();
        for signature in note.signatures.iter().filter(|signature| signature.name != own) {
            match cosigned(note, &signature.name, self.exporter, self.membership) {
                // Whatever the times: one witness is one.
                Ok((witness, at)) if by.iter().all(|(known, _)| *known != witness) => by.push((witness, at)),
                Ok(_) => self.fault(line, "a cosignature", "MP-08", "it stands twice".to_owned()),
                Err(why) => self.fault(line, "a cosignature", "MP-08", why),
            }
        }
        let place = (read.origin.began, read.size);
        let state =
            self.states.entry(place).or_insert_with(|| State { root: read.root, by: Vec::new(), line });
        if state.root != read.root {
            return Err("the journal has two pasts: as many entries with another root".to_owned());
        }
        state.by.extend(by);
        Ok(())
    }

    fn continues(&mut self, Continues { began, old, size, proof }: &Continues) -> Result<(), String> {
        let state = |size| self.states.get(&(*began, size)).map(|state| (size, state.root));
        let (Some(before), Some(after)) = (state(*old), state(*size)) else {
            return Err("a checkpoint that it speaks of is missing".to_owned());
        };
        check_consistency(before, after, proof).map_err(|error| error.to_string())?;
        self.continued.push((*began, *old, *size));
        Ok(())
    }

    fn entry(&mut self, Included { began, number, size, leaf, proof }: Included) -> Result<(), String> {
        let state = self.states.get(&(began, size)).map(|state| (size, state.root));
        let state = state.ok_or("the checkpoint that it is shown in is missing")?;
        check_inclusion(&leaf_hash(&leaf), number, state, &proof).map_err(|error| error.to_string())?;
        let entry: Entry = decode_row(&leaf).map_err(|error| error.to_string())?;
        let Entry::Event(event) = entry else { return Err("nothing happened there".to_owned()) };
        let Event::Relay(relayed) = event.event else { return Err("it is about no message".to_owned()) };
        if relayed.about() != Some(self.message) {
            return Err("it is about another message".to_owned());
        }
        if let RelayEvent::MessageDelivered { step, receipt: Some(id), .. } = &relayed
            && self.delivered.iter().any(|it| it.node == step.node && it.id != *id)
        {
            return Err("it names another receipt than the one that is shown".to_owned());
        }
        let grounds = self.grounds(&relayed);
        let states = self.states.range((began, 0)..=(began, u64::MAX));
        let cosigned = states.filter(|(_, state)| !state.by.is_empty());
        let witnessed: Vec<_> =
            cosigned.map(|((_, size), state)| Witnessed { size: *size, by: state.by.clone() }).collect();
        let before = witnessed.iter().rfind(|it| it.size <= number).cloned();
        let after = witnessed.into_iter().find(|it| it.size > number);
        let at = event.at;
        self.journalled.push(Journalled { began, number, at, event: relayed, grounds, before, after });
        Ok(())
    }

    /// What in the proof an entry names: documents come before entries, so all of them are known by now.
    fn grounds(&self, event: &RelayEvent) -> Grounds {
        let own = &self.exporter.member;
        let sent_by = |member: &MemberCode| self.header.as_ref().filter(|it| it.header.sender == *member);
        let is_said = |id: MessageId, by: &MemberCode, word: Word| {
            self.said.iter().any(|it| it.id == id && it.member == *by && it.statement.word == word)
        };
        let (is_shown, grounds) = match event {
            RelayEvent::MessageQueued { recipients, statement: None, .. } => {
                let is_it = |it: &ProvenHeader| it.header.recipients == *recipients;
                (sent_by(own).is_some_and(is_it), Grounds::Header)
            }
            RelayEvent::MessageArrived { sender, .. } => {
                let is_it = |it: &ProvenHeader| it.header.recipients.contains(own);
                (sent_by(sender).is_some_and(is_it), Grounds::Header)
            }
            RelayEvent::MessageDelivered { step, receipt: Some(id), .. } => {
                let is_it =
                    |it: &ProvenReceipt| it.id == *id && it.node == step.node && it.member == step.member;
                (self.delivered.iter().any(is_it), Grounds::Receipt)
            }
            RelayEvent::MessageQueued { message, statement: Some(label), .. } => {
                (is_said(*message, own, label.word), Grounds::Statement)
            }
            RelayEvent::StatementArrived { id, statement, member, .. } => {
                (is_said(*id, member, statement.word), Grounds::Statement)
            }
            RelayEvent::MessageDelivered { receipt: None, .. }
            | RelayEvent::MessageInCustody { .. }
            | RelayEvent::CustodyRefused { .. }
            | RelayEvent::CustodyTaken { .. }
            | RelayEvent::CustodyEnded { .. }
            | RelayEvent::MessageRefused { .. }
            | RelayEvent::MessageStopped { .. }
            | RelayEvent::MessageExpired { .. }
            | RelayEvent::SubmitRefused { .. } => (false, Grounds::Word),
        };
        if is_shown { grounds } else { Grounds::Word }
    }

    /// Each state of a journal is shown to continue the one before.
    fn connect(&mut self) {
        let states: Vec<_> =
            self.states.iter().map(|((began, size), state)| (*began, *size, state.line)).collect();
        for pair in states.windows(2) {
            let [(began, old, _), (same, size, line)] = pair else { continue };
            if began == same && !self.continued.contains(&(*began, *old, *size)) {
                let why = "nothing shows that it continues the one before".to_owned();
                self.fault(*line, "a checkpoint", "MP-06", why);
            }
        }
    }

    /// What the bundle says of a node's key.
    fn listed(&self, member: &MemberCode, node: &NodeKey) -> Result<KeyState, String> {
        let standing = self.membership.node_of(member, node).map(|standing| standing.state);
        standing.ok_or_else(|| format!("no key set in it lists node {} for {member}", node.short()))
    }
}

/// How the bundle begins.
const BUNDLE_BEGINS: &[u8] = b"\nrefpoint audit bundle ";

/// Characters of something wrong that are repeated in the error.
const ECHO_CHARS_MAX: usize = 200;
