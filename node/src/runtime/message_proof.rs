//! Gathers what proves that a message was delivered and acknowledged: out of the store, the journal and the evidence.
//!
//! Whoever reads the proof verifies it; nobody verifies anything here.

use std::collections::{BTreeMap, BTreeSet};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    audit::{
        BundleError, BundleWriter, Continues, Exporter, Included, JournalCheckpoint, MessageProof,
        entry_of_key, note::Note, witness::WitnessName,
    },
    document::{EncodeError, Envelope, Kind, Unverified, encode},
    ids::{MemberCode, MessageId},
    machine::{Event, NumberedEvent},
    membership::Trust,
    message::header::MessageHeader,
    relay::{
        receipt::{Receipt, ReceiptWord},
        rows::{StatementRow, decode_inbox_content, decode_outbox_content, decode_row},
    },
    storage::Table,
    time::Timestamp,
};

use crate::{
    bundle::sorted_settlements,
    runtime::journal::{JournalKeeper, TiersError},
    store::{Keys, Store, StoreError},
};

/// What a proof is gathered from, and who says so.
pub(super) struct Proving<'a> {
    /// Where messages, receipts and the journal lie.
    pub(super) store: &'a dyn Store,
    /// Charter versions and key sets.
    pub(super) trust: Trust,
    /// The journal.
    pub(super) journal: &'a JournalKeeper,
    /// Where the journal stands, signed: for what nobody cosigned yet.
    pub(super) stands: Note,
    /// This node.
    pub(super) exporter: Exporter,
    /// Its key's secret half.
    pub(super) key: &'a SigningKey,
    /// The time.
    pub(super) now: Timestamp,
}

/// Why no proof was gathered.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvingError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The journal has a gap.
    #[error(transparent)]
    Journal(#[from] TiersError),
    /// A broken invariant of ours.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A broken invariant of ours.
    #[error(transparent)]
    Order(#[from] BundleError),
}

/// An entry about the message: which journal's, its number and bytes.
type Entry = (Timestamp, u64, Vec<u8>);

impl Proving<'_> {
    /// Writes the proof of a message between these members.
    ///
    /// # Errors
    /// [`ProvingError`].
    pub(super) fn write(
        self,
        message: MessageId,
        parties: BTreeSet<MemberCode>,
    ) -> Result<String, ProvingError> {
        let mut members = parties;
        members.insert(self.exporter.member.clone());
        let header = self.header(message)?;
        if let Some(header) =
            header.as_ref().and_then(|it| Unverified::<MessageHeader>::open(it.clone()).ok())
        {
            members.insert(header.claimed().sender.clone());
        }
        let receipts = self.receipts(message)?;
        let mut statements = Vec::new();
        for row in rows(self.store, Table::Statements, Keys::Prefix(message.as_bytes()))? {
            if let Ok(StatementRow { member, signed: Some(signed), .. }) = decode_row(&row) {
                members.insert(member);
                statements.push(signed);
            }
        }
        let (mut checkpoints, mut entries) = (BTreeMap::new(), Vec::new());
        for entry in self.entries(message)? {
            self.show(entry, &mut checkpoints, &mut entries)?;
        }
        for note in checkpoints.values() {
            let names = note.signatures.iter().filter_map(|it| it.name.parse::<WitnessName>().ok());
            members.extend(names.map(|name| name.member));
        }
        let continues = self.continues(checkpoints.keys().map(|(began, size, _)| (*began, *size)))?;
        let bundle = self.bundle(&members)?;
        let checkpoints = checkpoints.into_values().collect();
        let proof = MessageProof { message, header, receipts, statements, checkpoints, continues, entries };
        Ok(proof.write(&self.exporter, self.key, self.now, (&bundle.0, bundle.1)))
    }

    /// The signed header, as long as the content is kept.
    fn header(&self, message: MessageId) -> Result<Option<Envelope>, StoreError> {
        let sent = value(self.store, Table::OutboxContent, message)?;
        let sent =
            sent.and_then(|row| decode_outbox_content(&row).ok()).map(|content| content.envelope().clone());
        if sent.is_some() {
            return Ok(sent);
        }
        let received = value(self.store, Table::InboxContent, message)?;
        Ok(received.and_then(|row| decode_inbox_content(&row).ok()).map(|(header, _)| header))
    }

    /// The receipts by which recipients' nodes said that they have it.
    fn receipts(&self, message: MessageId) -> Result<Vec<Envelope>, StoreError> {
        let stored = rows(self.store, Table::Receipts, Keys::Prefix(message.as_bytes()))?;
        let delivered = stored.into_iter().filter_map(|row| {
            let envelope = Envelope::from_bytes(&row).ok()?;
            let receipt = Unverified::<Receipt>::open(envelope.clone()).ok()?;
            (receipt.claimed().word == ReceiptWord::Delivered).then_some(envelope)
        });
        Ok(delivered.collect())
    }

    /// All entries about the message, of all journals of this folder. Only those that have its id in them are decoded.
    fn entries(&self, message: MessageId) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for row in self.store.scan(Table::Journal, Keys::All) {
            let (key, leaf) = match row {
                Ok(row) => row,
                Err(error) if error.is_fatal() => return Err(error),
                Err(_) => continue,
            };
            let Some((began, number)) = entry_of_key(&key) else { continue };
            if is_about(&leaf, message) {
                found.push((began, number, leaf));
            }
        }
        Ok(found)
    }

    /// Shows an entry in the first cosigned state that has it, beside the last that has it not; else in where the journal
    /// stands now. An entry of an earlier journal that was never cosigned is left out: nobody else can tell of it.
    fn show(
        &self,
        (began, number, leaf): Entry,
        checkpoints: &mut BTreeMap<(Timestamp, u64, Timestamp), Note>,
        entries: &mut Vec<Included>,
    ) -> Result<(), ProvingError> {
        let mut states = Vec::new();
        for note in rows(self.store, Table::Cosigned, Keys::Prefix(&began.as_millis().to_be_bytes()))? {
            let read =
                Note::parse(&note).ok().and_then(|note| JournalCheckpoint::of(&note).ok().zip(Some(note)));
            states.extend(read);
        }
        let before = states.iter().rposition(|(state, _)| state.size <= number);
        let after = states.iter().position(|(state, _)| state.size > number);
        let mut shown = None;
        for (state, note) in [before, after].into_iter().flatten().filter_map(|place| states.get(place)) {
            shown = (state.size > number).then_some(state.size);
            checkpoints.insert((began, state.size, state.made), note.clone());
        }
        if shown.is_none()
            && let Ok(now) = JournalCheckpoint::of(&self.stands)
            && now.origin.began == began
            && now.size > number
        {
            shown = Some(now.size);
            checkpoints.insert((began, now.size, now.made), self.stands.clone());
        }
        if let Some(size) = shown {
            let proof = self.journal.inclusion(began, number, size)?;
            entries.push(Included { began, number, size, leaf, proof });
        }
        Ok(())
    }

    fn continues(
        &self,
        states: impl Iterator<Item = (Timestamp, u64)>,
    ) -> Result<Vec<Continues>, ProvingError> {
        let states: Vec<_> = BTreeSet::from_iter(states).into_iter().collect();
        let pairs = states.windows(2).filter_map(|pair| match pair {
            [(began, old), (same, size)] if began == same => Some((*began, *old, *size)),
            _ => None,
        });
        pairs
            .map(|(began, old, size)| {
                let proof = self.journal.consistency(began, old, size)?;
                Ok(Continues { began, old, size, proof })
            })
            .collect()
    }

    /// A bundle of the charter and of these members' key sets.
    fn bundle(
        &self,
        members: &BTreeSet<MemberCode>,
    ) -> Result<(String, refpoint_protocol::ids::TreeRoot), ProvingError> {
        let (mut writer, mut text) = BundleWriter::begin(self.exporter.federation);
        let mut charters: Vec<_> = self.trust.charters().collect();
        charters.sort_unstable_by_key(|charter| charter.id());
        for charter in charters {
            text.push_str(&writer.document(
                Kind::Charter,
                charter.id(),
                &encode(charter.envelope().as_ref())?,
            )?);
        }
        for settlement in sorted_settlements(&self.trust) {
            let envelope = encode(settlement.envelope().as_ref())?;
            text.push_str(&writer.document(Kind::Settlement, settlement.id(), &envelope)?);
        }
        for set in self.trust.key_sets().filter(|set| members.contains(&set.payload().member)) {
            text.push_str(&writer.document(Kind::KeySet, set.id(), &encode(set.envelope().as_ref())?)?);
        }
        let root = writer.root();
        Ok((text + &writer.finish(&self.exporter, self.key, self.now), root))
    }
}

/// Whether an entry is about a message.
fn is_about(leaf: &[u8], message: MessageId) -> bool {
    use refpoint_protocol::audit::Entry;
    let id = message.as_bytes();
    leaf.windows(id.len()).any(|bytes| bytes == id)
        && matches!(
            decode_row(leaf),
            Ok(Entry::Event(NumberedEvent { event: Event::Relay(event), .. })) if event.about() == Some(message)
        )
}

fn value(store: &dyn Store, table: Table, message: MessageId) -> Result<Option<Vec<u8>>, StoreError> {
    match store.value(table, message.as_bytes()) {
        Err(error) if !error.is_fatal() => Ok(None),
        read => read,
    }
}

/// The values of rows that are whole; damaged ones prove nothing.
fn rows(store: &dyn Store, table: Table, keys: Keys<'_>) -> Result<Vec<Vec<u8>>, StoreError> {
    let mut rows = Vec::new();
    for row in store.scan(table, keys) {
        match row {
            Ok((_, value)) => rows.push(value),
            Err(error) if error.is_fatal() => return Err(error),
            Err(_) => {}
        }
    }
    Ok(rows)
}
