//! Files of signed documents: charter versions and key sets that anybody may import on anybody's behalf.
//!
//! Nothing in such a file is believed: the node that takes it verifies every document.

use std::path::Path;

use refpoint_protocol::document::{Envelope, decode, encode};

use super::{AnyCeremony, CeremonyError, Fault, read_block};
use crate::armor::{CEREMONY_BYTES_MAX, Label, armor};

/// The text of a file with these documents, ancestors first.
///
/// # Errors
/// [`Fault::Encode`]: an invariant of ours is broken.
pub fn documents_text(comment: &[String], documents: &[Envelope]) -> Result<String, Fault> {
    Ok(armor(Label::SignedDocuments, comment, &encode(&documents)?))
}

/// The signed documents in a file, ancestors first: of a file of documents those in it, of a complete charter its
/// versions and key sets.
///
/// # Errors
/// [`CeremonyError`].
pub fn read_documents(file: &Path) -> Result<Vec<Envelope>, CeremonyError> {
    let content = |fault| CeremonyError::Content { file: file.to_owned(), fault };
    let (label, bytes) = read_block(file, &[Label::SignedDocuments, Label::Federation])?;
    if label == Label::Federation {
        return Ok(match AnyCeremony::read(file, &[Label::Federation])?.1 {
            AnyCeremony::Founding(ceremony) => vec![ceremony.envelope().clone()],
            AnyCeremony::Later(proposal) => {
                let versions = proposal.before().charters().map(|held| held.envelope().as_ref().clone());
                let own = [proposal.envelope().clone()].into_iter();
                versions.chain(own).chain(proposal.key_sets().values().cloned()).collect()
            }
        });
    }
    let documents: Vec<Envelope> =
        decode(&bytes, CEREMONY_BYTES_MAX).map_err(|error| content(error.into()))?;
    documents.iter().try_for_each(Envelope::check_bounds).map_err(|error| content(Fault::Envelope(error)))?;
    Ok(documents)
}
