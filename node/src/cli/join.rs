//! `refpoint join`: checks a federation against its spoken fingerprint, and makes this node a part of it.
//!
//! With the founding file, or with a later version that carries all before it; of that the version's own fingerprint
//! is asked too, so that nobody joins an outdated charter.

mod again;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use again::{Next, next_set};

use refpoint_protocol::{
    document::{Envelope, Unverified},
    ids::{CharterId, CharterVersion, DocumentId, FederationId, MemberCode, NodeKey, RootKey},
    limits::CHARTER_PARENTS_MAX,
    membership::{
        charter::{Charter, MemberEntry, MemberStatus, Refounded},
        key_set::KeySet,
    },
    storage::Change,
};
use serde_json::json;

use super::{
    ConfigFile, RootPassphrase,
    charter::check_founded,
    failure::Failure,
    folder::{OpenFolder, node_secret},
    node::converse,
    output::Output,
    owner,
};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Proposal},
    client::Client,
    clock::Clock,
    config::Config,
    fingerprint::{heard, spoken},
    founding::{Joining, first_key_set, joined_federation, joining_changes, key_set_place, sign_key_set},
    keyfile::{
        KeyKind, PassphrasePurpose, RootSecret, SignedRecord, obtain_passphrase, read_header, read_key,
    },
    refounding::{self, Inherited},
    store::Store as _,
};

/// Join a federation: check its fingerprint, sign the first key set unless the file has it, store both.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The combined charter, federation.join or charter-N.join.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The federation's fingerprint as two stewards read it aloud; spaces do not matter.
    #[arg(long, value_name = "TEXT")]
    fingerprint: String,
    /// The fingerprint of the charter version in the file, as they read it aloud; not for a founding.
    #[arg(long, value_name = "TEXT")]
    version_fingerprint: Option<String>,
    /// The file of this member's root key; not needed if the file has this member's first key set.
    #[arg(long, value_name = "FILE")]
    root_key: Option<PathBuf>,
    /// What another member wrote with `refpoint keys export`, for a member that lost its node.
    #[arg(long, value_name = "FILE", requires_all = ["replace", "root_key"])]
    documents: Option<PathBuf>,
    /// The key of the node that was lost, or its first digits: it is retired.
    #[arg(long, value_name = "NODE", requires = "documents")]
    replace: Option<String>,
    /// The configuration of this member's running node in the federation whose place this one takes: what members published
    /// there is shown until they publish here.
    #[arg(long, value_name = "FILE")]
    before: Option<PathBuf>,
    #[command(flatten)]
    passphrase: RootPassphrase,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let what = format!("{} was not joined", arguments.file.display());
    let told = fingerprint(&arguments.fingerprint, &what)?;
    let config = arguments.config.load()?;
    owner::check(&config.data, &what)?;
    let (_, ceremony) = AnyCeremony::read(&arguments.file, &[Label::Federation])
        .map_err(|error| Failure::from(error).during(&*what))?;
    let offered = Offered::of(&ceremony);
    same(&told, offered.joining.federation.as_bytes(), "federation", &what)?;
    let incomplete = |why| Failure::unverified(&*what, why, "ask the stewards for the complete file");
    match &ceremony {
        AnyCeremony::Founding(founding) => check_founded(founding).map_err(incomplete)?,
        AnyCeremony::Later(proposal) => {
            check_version(arguments, proposal, &what)?;
            proposal.accepted().map(drop).map_err(incomplete)?;
        }
    }
    let member = &config.member;
    let entry = offered.charter.member(member).filter(|entry| entry.status == MemberStatus::Active);
    let Some(entry) = entry else {
        let why = format!("its charter does not list {member}, the member of {}", config.file.display());
        return Err(Failure::unverified(what, why, "correct `member`, or ask the stewards to be admitted"));
    };
    let before = match &arguments.before {
        Some(old) => inherited(old, &ceremony, offered.charter, &what)?,
        None => Vec::new(),
    };
    let signed = Signed::of(arguments, &ceremony, entry, &what)?;
    let node = node_secret(&config)?;
    let mut folder = OpenFolder::open(&config)?;
    if let Some(joined) = joined_federation(&*folder.store)? {
        let why = format!(
            "{} has joined a federation already: {}",
            config.data.display(),
            spoken(joined.as_bytes())
        );
        return Err(Failure::error(what, why, "use a folder of its own for each federation"));
    }
    let (set, key_set) = match signed {
        Signed::InTheFile(set, id) => {
            if set.node(&node.key()).is_none() {
                let why = format!("the key set of {member} in it lists another node key than this folder's");
                return Err(Failure::unverified(what, why, "join in the folder whose request was admitted"));
            }
            store(&mut folder, &offered.joining, before)?;
            (set, id)
        }
        Signed::Anew { root_key, documents, replaced } => {
            let around = (node.key(), Clock::start(0).now());
            let next = next_set(&documents, &replaced, offered.joining.federation, member, around)
                .map_err(|failure| failure.during(&*what))?;
            check_root(&root_key, next.root, member, &what)?;
            let Next { set, mut earlier, .. } = next;
            earlier.extend(before);
            let id = sign_first(arguments, &root_key, &offered.joining, (&set, earlier), &mut folder)?;
            (set, id)
        }
        Signed::WithTheRoot(root_key) => {
            let set = first_key_set(entry, offered.version, node.key(), Clock::start(0).now());
            let id = sign_first(arguments, &root_key, &offered.joining, (&set, before), &mut folder)?;
            (set, id)
        }
    };
    report(arguments, &config, &offered, (&set, key_set), node.key(), output)
}

/// What the directory of the federation before said, as this node is to keep it: asked of this member's node there.
fn inherited(
    old: &Path,
    ceremony: &AnyCeremony,
    charter: &Charter,
    what: &str,
) -> Result<Vec<Change>, Failure> {
    let founding = match ceremony {
        AnyCeremony::Founding(founding) => founding.charter().refounds.clone(),
        AnyCeremony::Later(proposal) => {
            let mut versions = proposal.before().charters();
            let first = versions.find(|held| held.payload().version == CharterVersion(1));
            first.and_then(|first| first.payload().refounds.clone())
        }
    };
    let Some(Refounded { federation, tips }) = founding else {
        let why = "its charter takes no other federation's place";
        return Err(Failure::unverified(what, why, "join without --before"));
    };
    let config = Config::load(old).map_err(|error| Failure::from(error).during(what))?;
    let client = Client::new(config.socket);
    let entries = converse(async {
        let facts = client.status().await?.facts;
        if facts.federation_fingerprint != spoken(federation.as_bytes()) {
            let why = format!("the node of {} is in another federation than the one before", old.display());
            return Err(Failure::unverified(what, why, "name the configuration of this member's node there"));
        }
        // What stewards signed after the founders had agreed may have put words into members' mouths.
        if !facts.charter.tips.iter().take(CHARTER_PARENTS_MAX).eq(&tips) {
            let why = "the old federation's charter is another now than the founders named";
            let remedy = "join without --before, and ask the stewards what happened there";
            return Err(Failure::unverified(what, why, remedy));
        }
        let mut entries = BTreeMap::new();
        for row in client.directory().await? {
            if charter.member(&row.member).is_none() {
                continue;
            }
            let held = client.directory_entry(&row.member).await?;
            if let (Some(entry), Some(issued)) = (held.reference_point, held.row.issued) {
                entries.insert(row.member, Inherited { federation, issued, entry });
            }
        }
        Ok(entries)
    });
    let entries = entries.map_err(|failure| failure.during(what))?;
    refounding::changes(&entries).map_err(broken)
}

/// What a file offers to join.
struct Offered<'a> {
    joining: Joining,
    charter: &'a Charter,
    version: CharterId,
}

impl<'a> Offered<'a> {
    fn of(ceremony: &'a AnyCeremony) -> Self {
        match ceremony {
            AnyCeremony::Founding(founding) => Self {
                joining: Joining {
                    federation: founding.federation(),
                    charters: vec![founding.envelope().clone()],
                    key_sets: Vec::new(),
                    hints: founding.hints(),
                },
                charter: founding.charter(),
                version: founding.id(),
            },
            AnyCeremony::Later(proposal) => {
                let before = proposal.before().charters().map(|held| held.envelope().as_ref().clone());
                Self {
                    joining: Joining {
                        federation: proposal.federation(),
                        charters: before.chain([proposal.envelope().clone()]).collect(),
                        key_sets: proposal.key_sets().values().cloned().collect(),
                        hints: proposal.hints(),
                    },
                    charter: proposal.charter(),
                    version: proposal.id(),
                }
            }
        }
    }

    /// The node that this member's request named.
    fn hinted(&self, member: &MemberCode) -> Option<NodeKey> {
        self.joining.hints.iter().find(|hint| hint.member == *member).map(|hint| hint.node)
    }
}

/// Where this member's first key set comes from.
enum Signed {
    InTheFile(KeySet, DocumentId),
    WithTheRoot(PathBuf),
    /// It follows those that another member wrote down, and ends a lost node.
    Anew {
        root_key: PathBuf,
        documents: PathBuf,
        replaced: String,
    },
}

impl Signed {
    fn of(
        arguments: &Arguments,
        ceremony: &AnyCeremony,
        entry: &MemberEntry,
        what: &str,
    ) -> Result<Self, Failure> {
        if let (Some(root_key), Some(documents), Some(replaced)) =
            (&arguments.root_key, &arguments.documents, &arguments.replace)
        {
            let (root_key, documents, replaced) = (root_key.clone(), documents.clone(), replaced.clone());
            return Ok(Self::Anew { root_key, documents, replaced });
        }
        if let AnyCeremony::Later(proposal) = ceremony
            && let Some(envelope) = proposal.key_sets().get(&entry.code)
        {
            let id = envelope.id(Some(proposal.federation()));
            return Ok(Self::InTheFile(key_set_in(envelope, proposal.federation(), what)?, id));
        }
        let Some(root_key) = &arguments.root_key else {
            let why = format!("the first key set of {} is not in the file, and must be signed", entry.code);
            return Err(Failure::usage(what, why, "bring the root key: --root-key FILE"));
        };
        check_root(root_key, Some(entry.root), &entry.code, what)?;
        Ok(Self::WithTheRoot(root_key.clone()))
    }
}

/// Refuses another root key than the one that signs for the member now.
fn check_root(
    root_key: &Path,
    listed: Option<RootKey>,
    member: &MemberCode,
    what: &str,
) -> Result<(), Failure> {
    let header = read_header(root_key, KeyKind::Root)?;
    if listed.is_some_and(|listed| listed.to_string() == header.public) {
        return Ok(());
    }
    let why = format!("its charter lists another root key of {member} than {}", root_key.display());
    Err(Failure::unverified(what, why, "use the root key whose request went into the charter"))
}

/// The key set in a file that was checked when it was read.
fn key_set_in(envelope: &Envelope, federation: FederationId, what: &str) -> Result<KeySet, Failure> {
    let verified = Unverified::<KeySet>::open(envelope.clone()).and_then(|open| open.verify(federation));
    let wrong = |error| Failure::unverified(what, error, "ask the stewards for the complete file");
    Ok(verified.map_err(wrong)?.payload().clone())
}

/// Of a later version its own fingerprint is heard too: an outdated one may list whoever was removed since.
fn check_version(arguments: &Arguments, proposal: &Proposal, what: &str) -> Result<(), Failure> {
    let Some(told) = &arguments.version_fingerprint else {
        let why = format!(
            "it is version {} of the charter, and nobody has said that this is a recent one",
            proposal.charter().version
        );
        let remedy = "hear the version's fingerprint from two stewards too: --version-fingerprint TEXT";
        return Err(Failure::usage(what, why, remedy));
    };
    same(&fingerprint(told, what)?, proposal.id().as_bytes(), "charter version", what)
}

fn fingerprint(text: &str, what: &str) -> Result<[u8; 32], Failure> {
    heard(text).map_err(|error| {
        Failure::usage(
            what,
            format!("the fingerprint is none: {error}"),
            "give all sixteen groups, in quotes",
        )
    })
}

fn same(told: &[u8; 32], found: &[u8; 32], of: &str, what: &str) -> Result<(), Failure> {
    if told == found {
        return Ok(());
    }
    let why = format!(
        "the {of}'s fingerprint is another than the one given:\nfile   {}\ngiven  {}",
        spoken(found),
        spoken(told)
    );
    let remedy = "do not use this file; hear the fingerprint from two stewards, and ask them for the file";
    Err(Failure::unverified(what, why, remedy))
}

/// Signs the first key set and stores it with the charter, both or neither.
fn sign_first(
    arguments: &Arguments,
    root_key: &Path,
    joining: &Joining,
    (set, earlier): (&KeySet, Vec<Change>),
    folder: &mut OpenFolder,
) -> Result<DocumentId, Failure> {
    let mut record = SignedRecord::beside(root_key)?;
    let (_, root) = read_key::<RootSecret>(root_key, || {
        obtain_passphrase(&arguments.passphrase.source(), PassphrasePurpose::Open, "the root key")
    })?;
    let envelope = sign_key_set(set, joining.federation, &root).map_err(broken)?;
    let id = envelope.id(Some(joining.federation));
    let places = [key_set_place(set)];
    record.check(&places, id)?;
    let mut joining = joining.clone();
    joining.key_sets.push(envelope);
    store(folder, &joining, earlier)?;
    // The signature is still in this folder alone, which nobody else has open: the record may follow it.
    record.enter(&places, id)?;
    Ok(id)
}

fn store(folder: &mut OpenFolder, joining: &Joining, mut changes: Vec<Change>) -> Result<(), Failure> {
    changes.extend(joining_changes(joining).map_err(broken)?);
    folder.store.apply(&changes)?;
    folder.store.sync()?;
    Ok(())
}

fn broken(error: impl std::fmt::Display) -> Failure {
    Failure::error("nothing was stored", error, "report this: the fault is the program's")
}

fn report(
    arguments: &Arguments,
    config: &Config,
    offered: &Offered<'_>,
    (set, key_set): (&KeySet, DocumentId),
    node: NodeKey,
    output: &Output,
) -> Result<(), Failure> {
    if offered.hinted(&config.member).is_some_and(|hinted| hinted != node) {
        output.talk(
            "note: this node has another key than the joining request says; the key set lists this one",
        );
    }
    let next = "refpoint run";
    let offline = arguments.root_key.as_ref().map_or_else(String::new, |root_key| {
        format!("Take {} offline again, with {0}.signed beside it. ", root_key.display())
    });
    let (federation, node) = (offered.joining.federation, node.to_string());
    let human = format!(
        "{} has joined the federation of {} members\nfederation  {}\nkey set     epoch {}, node {}, review due in {} days\n\n\
         {offline}Next:\n  {next}",
        set.member,
        offered.charter.members.len(),
        spoken(federation.as_bytes()),
        set.epoch,
        node.chars().take(8).collect::<String>(),
        set.review.since(set.issued).as_secs() / 86_400,
    );
    let machine = json!({
        "member": set.member,
        "federation": federation,
        "fingerprint": spoken(federation.as_bytes()),
        "version": offered.charter.version,
        "version_fingerprint": spoken(offered.version.as_bytes()),
        "key_set": key_set,
        "epoch": set.epoch,
        "review": set.review,
        "node_key": node,
        "next": [next],
    });
    output.result(human, &machine)
}
