//! Who says something of a message: a role, never a name.

use refpoint_protocol::{message::body::Word, redact::Redacted};

use crate::api::views::send::StatementRequest;

/// Who says it.
#[derive(clap::Args)]
pub(in crate::cli) struct Speaker {
    /// Your duty role, such as "duty officer"; never a name.
    #[arg(long = "as", value_name = "ROLE")]
    role: String,
}

impl Speaker {
    /// The word alone, without a promise.
    pub(in crate::cli) fn says(&self, word: Word) -> StatementRequest {
        StatementRequest { word, role: Redacted(self.role.clone()), will: None, form: None, by: None }
    }
}
