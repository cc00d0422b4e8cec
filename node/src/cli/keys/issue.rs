//! `refpoint keys issue|replace-node|retire|revoke`: the member's next key set, signed by the root key.

use refpoint_protocol::{
    ids::NodeKey,
    membership::key_set::{NodeEntry, NodeState},
    time::Timestamp,
};
use serde_json::json;

use super::{Place, Signing, find_node, shown};
use crate::{
    cli::{
        failure::Failure,
        folder::node_secret,
        human,
        output::{Consent, Output},
    },
    clock::Clock,
    founding::{Ending, Succession, key_set_place, next_key_set, sign_key_set},
    keyfile::{
        KeyKind, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header, read_key,
    },
};

#[derive(clap::Args)]
pub(in crate::cli) struct Issue {
    /// The key of a node that this one replaces, or its first digits: it is retired.
    #[arg(long, value_name = "NODE")]
    replace: Option<String>,
    #[command(flatten)]
    signing: Signing,
}

#[derive(clap::Args)]
pub(in crate::cli) struct ReplaceNode {
    /// The key of the node that this one replaces, or its first digits.
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    signing: Signing,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Retire {
    /// The node's key, or its first digits.
    #[arg(value_name = "NODE")]
    node: String,
    #[command(flatten)]
    signing: Signing,
}

#[derive(clap::Args)]
pub(in crate::cli) struct Revoke {
    /// The node's key, or its first digits.
    #[arg(value_name = "NODE")]
    node: String,
    /// Since when others may have had it: RFC 3339, such as 2026-11-24T03:00:00Z; unless said, now.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    signing: Signing,
}

pub(super) fn issue(arguments: &Issue, output: &Output) -> Result<(), Failure> {
    match &arguments.replace {
        Some(node) => end(&arguments.signing, node, Ended::Replaced, output),
        None => next(&arguments.signing, |_, _| Ok(Vec::new()), output),
    }
}

pub(super) fn replace_node(arguments: &ReplaceNode, output: &Output) -> Result<(), Failure> {
    end(&arguments.signing, &arguments.node, Ended::Replaced, output)
}

pub(super) fn retire(arguments: &Retire, output: &Output) -> Result<(), Failure> {
    end(&arguments.signing, &arguments.node, Ended::Retired, output)
}

pub(super) fn revoke(arguments: &Revoke, output: &Output) -> Result<(), Failure> {
    let since = match &arguments.since {
        Some(text) => {
            let parsed = human::parse_moment(text, human::now());
            let moment = parsed.map_err(|why| Failure::usage(WHAT, why, "name a past time with its zone"))?;
            Some(moment.timestamp())
        }
        None => None,
    };
    end(&arguments.signing, &arguments.node, Ended::Revoked { since }, output)
}

/// Why a node is used no more.
#[derive(Clone, Copy)]
enum Ended {
    /// This one takes its place.
    Replaced,
    /// It is taken out of use.
    Retired,
    /// Its key is in strange hands.
    Revoked { since: Option<Timestamp> },
}

fn end(signing: &Signing, node: &str, why: Ended, output: &Output) -> Result<(), Failure> {
    let ending = |nodes: &[NodeEntry], around: Around| {
        let keys = |wanted: fn(NodeState) -> bool| {
            nodes.iter().filter(|entry| wanted(entry.state)).map(|entry| entry.key).collect::<Vec<_>>()
        };
        let (node, state, since) = match why {
            Ended::Replaced | Ended::Retired => {
                let active = keys(|state| state == NodeState::Active);
                (find_node(node, &active, "active")?, NodeState::Retired, around.now)
            }
            // A theft may be found out long after the node was retired.
            Ended::Revoked { since } => {
                let listed = keys(|state| state != NodeState::Compromised);
                (find_node(node, &listed, "listed")?, NodeState::Compromised, since.unwrap_or(around.now))
            }
        };
        if since > around.now {
            return Err(Failure::usage(WHAT, "the time lies in the future", "name a past time"));
        }
        if matches!(why, Ended::Replaced) && node == around.this {
            return Err(Failure::usage(
                WHAT,
                "the node to be replaced is this one",
                "run the command on the new node",
            ));
        }
        Ok(vec![Ending { node, state, since }])
    };
    next(signing, ending, output)
}

/// What an ending is judged by.
#[derive(Clone, Copy)]
struct Around {
    this: NodeKey,
    now: Timestamp,
}

/// Makes the next key set, shows it, has it signed and hands it in.
fn next(
    signing: &Signing,
    ended: impl FnOnce(&[NodeEntry], Around) -> Result<Vec<Ending>, Failure>,
    output: &Output,
) -> Result<(), Failure> {
    let config = signing.config.load()?;
    let node = node_secret(&config)?;
    let header = read_header(&signing.root_key, KeyKind::Root)?;
    let (place, evidence) = Place::find(&config, WHAT)?;
    let federation = evidence.federation();
    let mut change = Succession { node: node.key(), ended: Vec::new(), issued: Clock::start(0).now() };
    let refused = |error| Failure::from(error).during(WHAT);
    let unchanged = next_key_set(&evidence, &config.member, &change).map_err(refused)?;
    let around = Around { this: node.key(), now: change.issued };
    change.ended = ended(&unchanged.nodes, around)?;
    let set = next_key_set(&evidence, &config.member, &change).map_err(refused)?;
    let view = evidence.membership();
    let root = view.member(&config.member).and_then(|member| member.rotated_root.or(member.root));
    if root.map(|root| root.to_string()).as_deref() != Some(header.public.as_str()) {
        let why = format!(
            "{} is another root key of {} than the one that signs now",
            signing.root_key.display(),
            config.member,
        );
        return Err(Failure::unverified(WHAT, why, "use the member's present root key"));
    }
    output.talk(shown(&set));
    output.confirm("Sign this key set?", Consent::from_flag(signing.yes))?;
    let mut record = SignedRecord::beside(&signing.root_key)?;
    let (_, root) = read_key::<RootSecret>(&signing.root_key, || {
        obtain_passphrase(&signing.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let broken = |error| Failure::error(WHAT, error, "report this: the fault is the program's");
    let envelope = sign_key_set(&set, federation, &root).map_err(broken)?;
    let id = envelope.id(Some(federation));
    let places = [key_set_place(&set)];
    record.check(&places, id)?;
    let next = place.take(&evidence, &envelope, WHAT)?;
    record.enter(&places, id)?;
    let human = format!(
        "{}signed. {} Take {} offline again, with {2}.signed beside it. Next:\n  {next}",
        shown(&set),
        place.told(),
        signing.root_key.display(),
    );
    let machine = json!({
        "key_set": id, "generation": set.generation, "epoch": set.epoch, "member": set.member,
        "nodes": set.nodes, "review": set.review, "next": [next],
    });
    output.result(human, &machine)
}

const WHAT: &str = "no key set was issued";
