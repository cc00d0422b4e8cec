//! `refpoint keys`: this member's key sets, and the rotation of its root key.

mod export;
mod issue;
mod new_root;
mod rotate;
mod status;

use std::path::PathBuf;

use clap::Subcommand;
use refpoint_protocol::{
    document::Envelope,
    evidence::{Evidence, verify_any},
    ids::NodeKey,
    membership::key_set::{KeySet, NodeState},
};

use super::{
    ConfigFile, RootPassphrase, charter::hand_in, failure::Failure, folder::OpenFolder, node::converse,
    output::Output, owner,
};
use crate::{
    api::views::document::OwnDocuments,
    client::{Client, ClientError},
    config::Config,
    founding::{evidence_of, key_set_change, stored_evidence},
    store::Store as _,
};

/// Look after this member's keys.
#[derive(Subcommand)]
pub(super) enum Command {
    /// Show the key set: its epoch, its nodes, and when it is to be looked at again.
    Status(status::Arguments),
    /// Sign the next key set with the root key, listing this node; the node may be running or stopped.
    Issue(issue::Issue),
    /// Put this node in another's place, which is retired.
    ReplaceNode(issue::ReplaceNode),
    /// Take a node out of use in good order.
    Retire(issue::Retire),
    /// Say that a node's key is in strange hands: what it signed is not believed any more.
    Revoke(issue::Revoke),
    /// Bring the next root key into use: after the root key was stolen or lost, or every few years.
    Rotate(rotate::Arguments),
    /// Write what a member needs to join again after it lost its node: its key sets, out of this running node.
    Export(export::Arguments),
    /// Make new root keys and a request for the stewards, after both were lost.
    NewRoot(new_root::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Status(arguments) => status::run(arguments, output),
        Command::Issue(arguments) => issue::issue(arguments, output),
        Command::ReplaceNode(arguments) => issue::replace_node(arguments, output),
        Command::Retire(arguments) => issue::retire(arguments, output),
        Command::Revoke(arguments) => issue::revoke(arguments, output),
        Command::Rotate(arguments) => rotate::run(arguments, output),
        Command::Export(arguments) => export::run(arguments, output),
        Command::NewRoot(arguments) => new_root::run(arguments, output),
    }
}

/// What every signing of a key set needs.
#[derive(clap::Args)]
struct Signing {
    /// The file of this member's root key.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    /// Sign without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    config: ConfigFile,
}

/// Where the member's documents lie.
enum Place {
    /// In a folder that no node has open.
    Stopped(OpenFolder),
    /// With the running node.
    Running(Client),
}

impl Place {
    /// Finds the member's documents, wherever they are, and verifies them.
    fn find(config: &Config, what: &str) -> Result<(Self, Evidence), Failure> {
        owner::check(&config.data, what)?;
        let client = Client::new(&config.socket);
        match converse(async { Ok(client.own_documents().await) })? {
            Ok(documents) => {
                let evidence = evidence_from(&documents).map_err(|why| why.during(what))?;
                Ok((Self::Running(client), evidence))
            }
            Err(ClientError::NotRunning { .. }) => {
                let folder = OpenFolder::open(config)?;
                let evidence = stored_evidence(&*folder.store, &config.member);
                Ok((Self::Stopped(folder), evidence.map_err(|error| Failure::from(error).during(what))?))
            }
            Err(error) => Err(Failure::from(error).during(what)),
        }
    }

    /// What became of a key set that it took, for people.
    const fn told(&self) -> &'static str {
        match self {
            Self::Stopped(_) => "It is stored; the node publishes it when it runs.",
            Self::Running(_) => "The running node has it and publishes it now.",
        }
    }

    /// Stores a signed key set there; gives the next command.
    fn take(&self, evidence: &Evidence, envelope: &Envelope, what: &str) -> Result<&'static str, Failure> {
        let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
        match self {
            Self::Stopped(folder) => {
                folder.store.apply(&[key_set_change(evidence.federation(), envelope).map_err(broken)?])?;
                folder.store.sync()?;
                Ok("refpoint run")
            }
            Self::Running(client) => {
                hand_in(client, std::slice::from_ref(envelope), what)?;
                Ok("refpoint status")
            }
        }
    }
}

/// The evidence out of what the running node hands over; nothing of it is believed unverified.
pub(super) fn evidence_from(documents: &OwnDocuments) -> Result<Evidence, Failure> {
    let OwnDocuments { federation, envelopes, .. } = documents;
    let verified = envelopes.iter().map(|bytes| {
        let wrong = |error: String| {
            let remedy = "look at `refpoint status`: storage may be damaged";
            Failure::unverified("a document of the running node is not used", error, remedy)
        };
        let envelope = Envelope::from_bytes(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
        verify_any(envelope, *federation).map_err(|error| wrong(error.to_string()))
    });
    Ok(evidence_of(*federation, verified.collect::<Result<_, Failure>>()?)?)
}

fn shown(set: &KeySet) -> String {
    let mut text = format!(
        "key set of {}, generation {}, epoch {}, names {} earlier\n",
        set.member,
        set.generation,
        set.epoch,
        set.ancestors.len()
    );
    for node in &set.nodes {
        text.push_str(&format!("  {}  rank {}  {}\n", node.key, node.rank, state_name(node.state)));
    }
    text
}

const fn state_name(state: NodeState) -> &'static str {
    match state {
        NodeState::Active => "active",
        NodeState::Retired => "retired",
        NodeState::Compromised => "compromised",
    }
}

/// The one of these nodes whose key begins with a text.
pub(super) fn find_node(text: &str, nodes: &[NodeKey], of: &str) -> Result<NodeKey, Failure> {
    let wanted = text.to_lowercase();
    let found: Vec<&NodeKey> = nodes.iter().filter(|key| key.to_string().starts_with(&wanted)).collect();
    match found.as_slice() {
        [one] if wanted.len() >= PREFIX_LEAST => Ok(**one),
        _ => Err(Failure::usage(
            "no key set was issued",
            format!("{text:?} names {} {of} nodes of this member", found.len()),
            format!(
                "give at least {PREFIX_LEAST} digits of the node's key, as `refpoint keys status` shows it"
            ),
        )),
    }
}

/// Digits that tell nodes of one member apart: those that `status` shows.
const PREFIX_LEAST: usize = 8;
