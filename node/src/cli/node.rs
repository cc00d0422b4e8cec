//! How a command reaches the running node, and how the node's errors leave the program.

use std::{future::Future, path::PathBuf};

use refpoint_protocol::ids::MemberCode;

use super::{
    ConfigFile,
    failure::{Exit, Failure},
};
use crate::{
    api::{
        backend::{IdPrefix, IdPrefixError},
        error::member_hint,
        views::send::SendError,
    },
    client::{Client, ClientError},
};

/// Where the running node answers.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Node {
    #[command(flatten)]
    config: ConfigFile,
    /// The running node's socket; unless said the one that the configuration names.
    #[arg(long, value_name = "FILE", env = "REFPOINT_SOCKET")]
    socket: Option<PathBuf>,
}

impl Node {
    /// A client. Only without `--socket` is the configuration read.
    pub(super) fn client(&self) -> Result<Client, Failure> {
        match &self.socket {
            Some(socket) => Ok(Client::new(socket)),
            None => Ok(Client::new(self.config.load()?.socket)),
        }
    }
}

/// Runs a command's conversation with the node.
pub(super) fn converse<T>(conversation: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::error("the command did not start", error, "try again"))?;
    runtime.block_on(conversation)
}

/// Reads a member's code; a name or a mistake is answered with the code that was probably meant.
pub(super) fn member(text: &str) -> Result<MemberCode, Failure> {
    // As a tired hand types it: `sg`, or a space after the comma.
    text.trim()
        .to_ascii_uppercase()
        .parse()
        .map_err(|error| Failure::usage(format!("there is no member {text:?}"), error, member_hint(text)))
}

/// Reads the beginning of a message's id.
pub(super) fn id(text: &str) -> Result<IdPrefix, Failure> {
    let parsed: Result<IdPrefix, IdPrefixError> = text.parse();
    parsed.map_err(|error| {
        Failure::usage("no message was looked for", error, "list the ids: refpoint message inbox --all")
    })
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let what = "the node did not do it";
        match error {
            ClientError::NotRunning { .. } => Self::new(
                Exit::NotRunning,
                "the node is not running",
                error,
                "start it with `refpoint run` or `systemctl start refpoint`; or name its socket with --socket",
            ),
            ClientError::NotPermitted { .. } => {
                Self::error(what, error, "ask the operator to add you to the group that owns the socket")
            }
            ClientError::Broken(_) | ClientError::TimedOut(_) => Self::error(
                "it is not known whether the node did it",
                error,
                "look before you repeat it: refpoint status, refpoint message outbox --all",
            ),
            ClientError::Problem(problem) => {
                let mut why = problem.detail;
                for candidate in problem.candidates {
                    why.push('\n');
                    why.push_str(&candidate);
                }
                Self::error(what, why, problem.hint)
            }
            ClientError::Answer { .. } | ClientError::Request { .. } => {
                Self::error(what, error, "use the `refpoint` program of the same version as the node's")
            }
        }
    }
}

impl From<SendError> for Failure {
    fn from(error: SendError) -> Self {
        let hint = error.hint();
        Self::usage("nothing was sent", error, hint)
    }
}
