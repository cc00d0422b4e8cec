//! `refpoint keys`: the member's next key set, signed by the root key; and what another member's needs, as a file.

use std::path::PathBuf;

use clap::Subcommand;
use refpoint_protocol::{
    document::{Envelope, encode},
    evidence::{Evidence, verify_any},
    ids::NodeKey,
    membership::key_set::{KeySet, NodeState},
};
use serde_json::json;

use super::{
    ConfigFile, RootPassphrase,
    failure::Failure,
    folder::{OpenFolder, node_secret},
    node::{Node, converse, member},
    output::{Consent, Output},
    owner,
};
use crate::{
    api::views::{
        bytes::Base64,
        document::{ImportOutcome, ImportRequest, OwnDocuments},
    },
    client::{Client, ClientError},
    clock::Clock,
    founding::{
        Succession, evidence_of, key_set_change, key_set_place, next_key_set, sign_key_set, stored_evidence,
    },
    keyfile::{
        KeyKind, PUBLIC_FILE, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header,
        read_key, write_new,
    },
    store::Store,
};

/// Sign anew which nodes are this member's (its key set).
#[derive(Subcommand)]
pub(super) enum Command {
    /// Sign the next key set with the root key; the node may be running or stopped.
    Issue(Arguments),
    /// Write what a member needs to join again after it lost its node: its key sets, out of this running node.
    Export(ExportArguments),
}

/// What goes out for a member that lost its node.
#[derive(clap::Args)]
pub(super) struct ExportArguments {
    /// The member.
    #[arg(value_name = "CODE")]
    member: String,
    /// The file to write; it holds nothing secret.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    #[command(flatten)]
    node: Node,
}

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file of this member's root key.
    #[arg(long, value_name = "FILE")]
    root_key: PathBuf,
    /// The key of a node that this one replaces, or its first digits: it is retired.
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
    /// Sign without being asked.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Issue(arguments) => issue(arguments, output),
        Command::Export(arguments) => export(arguments, output),
    }
}

fn export(arguments: &ExportArguments, output: &Output) -> Result<(), Failure> {
    let what = "nothing was exported";
    let code = member(&arguments.member)?;
    let client = arguments.node.client()?;
    let documents = converse(async { Ok(client.documents_of(&code).await?) })?;
    let text = serde_json::to_string_pretty(&documents)
        .map_err(|error| Failure::error(what, error, "report this: the fault is the program's"))?;
    let nodes = evidence_from(documents)?.membership().active_nodes(&code);
    if nodes.is_empty() {
        let why = format!("no key set of {code} is held here");
        return Err(Failure::error(what, why, "ask another member, or wait for this node's connections"));
    }
    write_new(&arguments.out, text.as_bytes(), PUBLIC_FILE).map_err(|error| {
        let why = format!("cannot write {}: {error}", arguments.out.display());
        Failure::error(what, why, "name a file that is not there yet, in a folder of yours")
    })?;
    let shown: Vec<String> = nodes.iter().map(ToString::to_string).collect();
    let human = format!(
        "{}: the key sets of {code}; send it to {code}. Its active nodes:\n  {}",
        arguments.out.display(),
        shown.join("\n  ")
    );
    output.result(human, &json!({ "file": arguments.out, "member": code, "nodes": nodes }))
}

fn issue(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = "no key set was issued";
    let config = arguments.config.load()?;
    owner::check(&config.data, what)?;
    let node = node_secret(&config)?;
    let header = read_header(&arguments.root_key, KeyKind::Root)?;
    let client = Client::new(&config.socket);
    let (place, evidence) = match converse(async { Ok(client.own_documents().await) })? {
        Ok(documents) => (Place::Running(client), evidence_from(documents).map_err(|why| why.during(what))?),
        Err(ClientError::NotRunning { .. }) => {
            let folder = OpenFolder::open(&config)?;
            let evidence = stored_evidence(&*folder.store, &config.member);
            (Place::Stopped(folder), evidence.map_err(|error| Failure::from(error).during(what))?)
        }
        Err(error) => return Err(Failure::from(error).during(what)),
    };
    let federation = evidence.federation();
    let replaced = match &arguments.replace {
        Some(text) => Some(find_node(text, &evidence.membership().active_nodes(&config.member))?),
        None => None,
    };
    if replaced == Some(node.key()) {
        return Err(Failure::usage(
            what,
            "the node to be replaced is this one",
            "run the command on the new node",
        ));
    }
    let change = Succession { node: node.key(), replaced, issued: Clock::start(0).now() };
    let set = next_key_set(&evidence, &config.member, &change)
        .map_err(|error| Failure::from(error).during(what))?;
    let charter = evidence.trust().charter(&set.charter);
    let listed = charter.and_then(|charter| charter.payload().member(&config.member).map(|entry| entry.root));
    if listed.map(|root| root.to_string()).as_deref() != Some(header.public.as_str()) {
        let why = format!(
            "the charter lists another root key of {} than {}",
            config.member,
            arguments.root_key.display()
        );
        return Err(Failure::unverified(what, why, "use the member's present root key"));
    }
    output.talk(shown(&set));
    output.confirm("Sign this key set?", Consent::from_flag(arguments.yes))?;
    let mut record = SignedRecord::beside(&arguments.root_key)?;
    let (_, root) = read_key::<RootSecret>(&arguments.root_key, || {
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let broken = |error| Failure::error(what, error, "report this: the fault is the program's");
    let envelope = sign_key_set(&set, federation, &root).map_err(broken)?;
    let id = envelope.id(Some(federation));
    let places = [key_set_place(&set)];
    record.check(&places, id)?;
    let (done, next) = match &place {
        Place::Stopped(folder) => {
            folder.store.apply(&[key_set_change(federation, &envelope).map_err(broken)?])?;
            folder.store.sync()?;
            ("It is stored; the node publishes it when it runs.", "refpoint run")
        }
        Place::Running(client) => {
            let bytes = encode(&envelope).map_err(broken)?;
            converse(hand_in(client, bytes)).map_err(|why| why.during(what))?;
            ("The running node has it and publishes it now.", "refpoint status")
        }
    };
    record.enter(&places, id)?;
    let human = format!(
        "{}signed. {done} Take {} offline again, with {1}.signed beside it. Next:\n  {next}",
        shown(&set),
        arguments.root_key.display()
    );
    let machine = json!({ "key_set": id, "epoch": set.epoch, "member": set.member, "nodes": set.nodes, "review": set.review, "next": [next] });
    output.result(human, &machine)
}

/// Where the member's documents lie.
enum Place {
    /// In a folder that no node has open.
    Stopped(OpenFolder),
    /// With the running node.
    Running(Client),
}

/// The evidence out of what the running node hands over; nothing of it is believed unverified.
pub(super) fn evidence_from(documents: OwnDocuments) -> Result<Evidence, Failure> {
    let OwnDocuments { federation, envelopes } = documents;
    let verified = envelopes.iter().map(|bytes| {
        let wrong = |error: String| {
            let remedy = "look at `refpoint status`: storage may be damaged";
            Failure::unverified("a document of the running node is not used", error, remedy)
        };
        let envelope = Envelope::from_bytes(bytes.as_slice()).map_err(|error| wrong(error.to_string()))?;
        verify_any(envelope, federation).map_err(|error| wrong(error.to_string()))
    });
    Ok(evidence_of(federation, verified.collect::<Result<_, Failure>>()?)?)
}

/// Hands the running node its next key set.
async fn hand_in(client: &Client, envelope: Vec<u8>) -> Result<(), Failure> {
    let request = ImportRequest { envelopes: vec![Base64::from(envelope)] };
    let reply = client.import(&request).await?;
    match reply.documents.first() {
        Some(told) if matches!(told.outcome, ImportOutcome::Accepted | ImportOutcome::Known) => Ok(()),
        told => {
            let why =
                told.and_then(|told| told.reason.clone()).unwrap_or_else(|| "no reason given".to_owned());
            Err(Failure::unverified("the node did not take the key set", why, "look at `refpoint status`"))
        }
    }
}

fn shown(set: &KeySet) -> String {
    let mut text =
        format!("key set of {}, epoch {}, names {} earlier\n", set.member, set.epoch, set.ancestors.len());
    for node in &set.nodes {
        let state = match node.state {
            NodeState::Active => "active",
            NodeState::Retired => "retired",
            NodeState::Compromised => "compromised",
        };
        text.push_str(&format!("  {}  rank {}  {state}\n", node.key, node.rank));
    }
    text
}

/// The one node of this member whose key begins with a text.
pub(super) fn find_node(text: &str, nodes: &[NodeKey]) -> Result<NodeKey, Failure> {
    let wanted = text.to_lowercase();
    let found: Vec<&NodeKey> = nodes.iter().filter(|key| key.to_string().starts_with(&wanted)).collect();
    match found.as_slice() {
        [one] if wanted.len() >= PREFIX_LEAST => Ok(**one),
        _ => Err(Failure::usage(
            "no key set was issued",
            format!("{text:?} names {} active nodes of this member", found.len()),
            format!("give at least {PREFIX_LEAST} digits of the node's key, as `refpoint status` shows it"),
        )),
    }
}

/// Digits that tell nodes of one member apart: those that `status` shows.
const PREFIX_LEAST: usize = 8;
