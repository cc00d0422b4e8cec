//! Looks into what a power cut left of a folder, without a node: whether everything that was promised is in it.

use std::{fs, path::Path};

use refpoint::{
    keyfile,
    store::{Keys, Options, SledStore, StorageKey, Store},
};
use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    relay::rows::{InboxRow, OutboxRow, decode_inbox_content, decode_outbox_content, decode_row},
    storage::Table,
};

use super::{
    image::Image,
    ledger::{Book, Ledger},
};

/// What was promised before the cut, by whom, and the book that goes on.
pub(crate) struct Case {
    /// Whose folder it is.
    pub(crate) member: MemberCode,
    /// The file of its storage key.
    pub(crate) key: std::path::PathBuf,
    /// The promises of the moment.
    pub(crate) book: std::sync::Arc<Book>,
    /// The promises since.
    pub(crate) ledger: Ledger,
}

impl Case {
    /// What of the promises is not in a copy; the copy is removed.
    pub(crate) fn examine(&self, copy: &Path) -> anyhow::Result<Vec<String>> {
        let at = copy.with_extension("mounted");
        fs::create_dir(&at)?;
        let image = Image::mount(copy, &at)?;
        let missing = self.open(&at);
        drop(image);
        fs::remove_dir(&at)?;
        if missing.as_ref().is_ok_and(Vec::is_empty) {
            fs::remove_file(copy)?;
        }
        missing
    }

    fn open(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        let (_, key) = keyfile::read_key::<keyfile::StorageKey>(&self.key, || {
            Err(keyfile::PassphraseError::NoTerminal("a trial's storage key".to_owned()))
        })?;
        let key = StorageKey::from_bytes(key.as_bytes());
        let (store, opened) = SledStore::open(folder, &key, &Options::default())?;
        let mut missing = Vec::new();
        if let Some(recovered) = opened.recovered {
            missing.push(format!("{} batches were lost: {}", recovered.lost, recovered.cause));
        }
        if opened.set_aside > 0 {
            missing.push(format!("{} records were set aside", opened.set_aside));
        }
        self.sent(&store, &mut missing)?;
        self.received(&store, &mut missing)?;
        self.kept(&store, &mut missing)?;
        Ok(missing.into_iter().map(|what| format!("{}: {what}", self.member)).collect())
    }

    fn sent(&self, store: &SledStore, missing: &mut Vec<String>) -> anyhow::Result<()> {
        for (id, sent) in self.book.accepted.iter().filter(|(_, sent)| sent.sender == self.member) {
            let key = id.as_bytes();
            let Some(row) = store.value(Table::Outbox, key)? else {
                missing.push(format!("{} was accepted and is not in the outbox", id.short()));
                continue;
            };
            let row: OutboxRow = decode_row(&row)?;
            match store.value(Table::OutboxContent, key)? {
                Some(content) if decode_outbox_content(&content)?.id() == *id => {}
                None if !row.content => {}
                _ => missing.push(format!("{} was accepted and has no content", id.short())),
            }
            for recipient in &sent.recipients {
                let answered =
                    row.answers.iter().any(|answer| answer.member == *recipient && answer.late.is_some());
                if self.book.delivered.contains(&(*id, recipient.clone())) && !answered {
                    missing.push(format!("{} is not delivered to {recipient} any more", id.short()));
                }
            }
        }
        Ok(())
    }

    fn received(&self, store: &SledStore, missing: &mut Vec<String>) -> anyhow::Result<()> {
        for (id, sent) in &self.book.accepted {
            let here = (*id, self.member.clone());
            if !sent.recipients.contains(&self.member) {
                continue;
            }
            let promised = self.book.delivered.contains(&here) || self.book.received.contains(&here);
            let known = store.value(Table::MessageIds, id.as_bytes())?.is_some();
            let row = store.value(Table::Inbox, id.as_bytes())?;
            if promised && row.is_none() {
                missing.push(format!("{} was delivered and is not in the inbox", id.short()));
            }
            if known != row.is_some() {
                missing.push(format!("{}: its id and its row do not agree", id.short()));
            }
            let Some(row) = row else { continue };
            let _row: InboxRow = decode_row(&row)?;
            let content = store.value(Table::InboxContent, id.as_bytes())?;
            let text = content.map(|content| decode_inbox_content(&content)).transpose()?;
            let text = text.and_then(|(_, body)| body.text).map(|text| text.0);
            if text.as_deref() != Some(sent.text.words().as_str()) {
                missing.push(format!("{} has another text", id.short()));
            }
            if self.book.acknowledged.contains(&here) && !has_statement(store, *id)? {
                missing.push(format!("{} was acknowledged and the word is gone", id.short()));
            }
        }
        Ok(())
    }

    fn kept(&self, store: &SledStore, missing: &mut Vec<String>) -> anyhow::Result<()> {
        let mut kept = Vec::new();
        for row in store.scan(Table::Custody, Keys::All) {
            let (key, _) = row?;
            kept.extend(key.get(32..64).and_then(|id| <[u8; 32]>::try_from(id).ok()));
        }
        let since = self.ledger.read();
        for (id, recipient, custodian) in &self.book.custody {
            // It need not be kept once its recipient has it.
            let arrived = since.received.contains(&(*id, recipient.clone()))
                || since.delivered.contains(&(*id, recipient.clone()));
            if *custodian == self.member && !kept.contains(id.as_bytes()) && !arrived {
                missing.push(format!("{} was taken into custody and is not kept", id.short()));
            }
        }
        Ok(())
    }
}

fn has_statement(store: &SledStore, message: MessageId) -> anyhow::Result<bool> {
    let own = store.scan(Table::Statements, Keys::Prefix(message.as_bytes())).next();
    Ok(own.transpose()?.is_some())
}
