//! Runs the built program.

use std::process::{Output, Stdio};

use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use crate::api::fake::{DEADLINE, Server};

/// How a run ended.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) code: i32,
    pub(super) out: String,
    pub(super) talk: String,
}

impl Run {
    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error} in {self:?}"))
    }

    /// Checks the exit code and that the streams hold these texts.
    #[track_caller]
    pub(super) fn shows(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for text in texts {
            assert!(self.out.contains(text) || self.talk.contains(text), "{text:?} is missing in {self:?}");
        }
    }
}

pub(super) fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
    command.args(arguments).env("REFPOINT_SOCKET", &server.socket).current_dir(server.folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

pub(super) async fn run(server: &Server, arguments: &[&str]) -> Run {
    ended(timeout(DEADLINE, command(server, arguments).output()).await.expect("it ends in time").unwrap())
}

/// Runs with `input` on standard input.
pub(super) async fn run_with(server: &Server, arguments: &[&str], input: &str) -> Run {
    let mut child = command(server, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(input.as_bytes()).await.unwrap();
    drop(stdin);
    ended(timeout(DEADLINE, child.wait_with_output()).await.expect("it ends in time").unwrap())
}

fn ended(output: Output) -> Run {
    Run {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        talk: String::from_utf8(output.stderr).unwrap(),
    }
}
