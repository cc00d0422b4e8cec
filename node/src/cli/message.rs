//! `refpoint message`: send, read, acknowledge and watch urgent messages.

mod ack;
mod list;
mod outcome;
mod send;
mod show;
mod speaker;
mod timeline;
mod watch;
mod withdraw;

pub(in crate::cli) use list::machine_word;
pub(in crate::cli) use speaker::Speaker;

use clap::Subcommand;

use super::{failure::Failure, output::Output};

/// Send, read, acknowledge and watch messages.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Send a message; its text comes from a file or standard input, never from the command line.
    Send(send::Arguments),
    /// List what came: unacknowledged messages, or all.
    Inbox(list::Arguments),
    /// List what was sent: messages that somebody has yet to acknowledge, or all.
    Outbox(list::Arguments),
    /// Show a message with its text and all that was said about it.
    Show(show::Arguments),
    /// Show what machines and persons said about a message.
    Receipts(timeline::Arguments),
    /// Print each arrival and ring the bell, until Ctrl-C.
    Watch(watch::Arguments),
    /// Acknowledge a message: say that a person here has taken it.
    Ack(ack::Arguments),
    /// Take back a message that this unit sent.
    Withdraw(withdraw::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Send(arguments) => send::run(arguments, output),
        Command::Inbox(arguments) => list::inbox(arguments, output),
        Command::Outbox(arguments) => list::outbox(arguments, output),
        Command::Show(arguments) => show::run(arguments, output),
        Command::Receipts(arguments) => timeline::run(arguments, output),
        Command::Watch(arguments) => watch::run(arguments, output),
        Command::Ack(arguments) => ack::run(arguments, output),
        Command::Withdraw(arguments) => withdraw::run(arguments, output),
    }
}
