//! Messages' content, read from storage for whoever asks and never held here.

use refpoint_protocol::{
    message::body::Body,
    relay::{
        rows::{decode_inbox_content, decode_outbox_content},
        views::MessageView as Held,
    },
    storage::Table,
};
use zeroize::Zeroizing;

use crate::store::{Store, StoreError};

/// Why a message's content is not to be had, though it is not erased.
#[derive(Debug, thiserror::Error)]
pub(super) enum ContentError {
    /// Storage.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What was stored is not content. The words name no content.
    #[error("the content of message {message} cannot be read: {why}")]
    Unreadable {
        /// The message's first digits.
        message: String,
        /// Why.
        why: String,
    },
}

impl ContentError {
    /// Whether it concerns this one message, so that others may still be read.
    pub(super) const fn is_local(&self) -> bool {
        match self {
            Self::Store(error) => !error.is_fatal(),
            Self::Unreadable { .. } => true,
        }
    }
}

/// A message's content, `None` if it is erased. It blocks, for as long as 25 MiB take to read and decrypt.
pub(super) fn read(store: &dyn Store, held: &Held) -> Result<Option<Body>, ContentError> {
    let (table, id) = match held {
        Held::Received(received) => (Table::InboxContent, received.id),
        Held::Sent(sent) => (Table::OutboxContent, sent.id),
    };
    let Some(value) = store.value(table, id.as_bytes())?.map(Zeroizing::new) else { return Ok(None) };
    let unreadable = |why: String| ContentError::Unreadable { message: id.short(), why };
    let body = match held {
        Held::Received(_) => decode_inbox_content(&value)
            .map(|(_, body)| body)
            .map_err(|error| unreadable(error.to_string()))?,
        Held::Sent(_) => {
            let sealable = decode_outbox_content(&value).map_err(|error| unreadable(error.to_string()))?;
            sealable.body().map_err(|error| unreadable(error.to_string()))?
        }
    };
    Ok(Some(body))
}

/// The content for a line of a list: one message that cannot be read must not hide all others. Why it cannot
/// is logged here, and said to whoever asks for the message itself.
pub(super) fn read_for_row(store: &dyn Store, held: &Held) -> Result<Option<Body>, ContentError> {
    match read(store, held) {
        Err(error) if error.is_local() => {
            tracing::error!(%error, "a message is listed without its attachments");
            Ok(None)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::{
        document::encode,
        ids::MessageId,
        message::body::Tlp,
        redact::Redacted,
        relay::rows::encode_inbox_content,
        storage::Change,
        testing::{Federation, envelope},
    };

    use super::*;
    use crate::{runtime::backend::messages::tests::received, store::MemoryStore};

    fn id() -> MessageId {
        MessageId::from_bytes([7; 32])
    }

    fn stored() -> (MemoryStore, Body) {
        let federation = Federation::new(1, &["BR", "FR", "KE"], 1);
        let unit = federation.unit("BR");
        let header = encode(&envelope(unit.key_set.payload(), federation.id, &[&unit.nodes[0]])).unwrap();
        let body = Body {
            tlp: Tlp::Red,
            text: Some(Redacted("a text".to_owned())),
            reference: None,
            attachments: Vec::new(),
            statement: None,
            drill: false,
            form: None,
        };
        let store = MemoryStore::new();
        let value = encode_inbox_content(&header, &encode(&body).unwrap()).unwrap();
        store.apply(&[Change::put(Table::InboxContent, *id().as_bytes(), value)]).unwrap();
        (store, body)
    }

    #[test]
    fn content_is_read_and_what_is_erased_is_none() {
        let (store, body) = stored();
        let held = Held::Received(received(id()));
        assert!(read(&store, &held).unwrap() == Some(body));
        store.apply(&[Change::delete(Table::InboxContent, *id().as_bytes())]).unwrap();
        assert!(read(&store, &held).unwrap().is_none());
    }

    #[test]
    fn content_that_is_damaged_hides_no_line_of_the_list() {
        let (store, _) = stored();
        let held = Held::Received(received(id()));
        store.damage(Table::InboxContent, id().as_bytes());
        assert!(read(&store, &held).unwrap_err().is_local());
        assert!(read_for_row(&store, &held).unwrap().is_none());

        store.apply(&[Change::put(Table::InboxContent, *id().as_bytes(), b"no row".as_slice())]).unwrap();
        let error = read(&store, &held).unwrap_err();
        assert!(error.to_string().contains("07070707") && error.is_local(), "{error}");
        assert!(read_for_row(&store, &held).unwrap().is_none());
    }

    #[test]
    fn a_store_that_has_stopped_is_no_empty_list() {
        let (store, _) = stored();
        store.fail_next_sync();
        assert!(store.sync().is_err());
        assert!(!read_for_row(&store, &Held::Received(received(id()))).unwrap_err().is_local());
    }
}
