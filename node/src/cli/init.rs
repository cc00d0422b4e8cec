//! `refpoint init`: a new member's configuration, keys, directory entry and joining request.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use age::secrecy::SecretString;
use refpoint_protocol::{
    directory::reference_point::{Channel, ChannelKind, LocalText, OnDuty, ReferencePoint},
    document::{encode, sign},
    ids::MemberCode,
    membership::{
        charter::{MemberKind, WorkingGroup},
        request::JoiningRequest,
    },
};
use serde_json::json;

use super::{RootPassphrase, Work, failure::Failure, output::Output, owner, qr};
use crate::{
    armor::{Label, armor},
    clock::Clock,
    config::{Host, HostPort, NEXT_ROOT_KEY, NODE_KEY, ROOT_KEY, STORAGE_KEY},
    countries::Country,
    fingerprint::spoken,
    keyfile::{
        NodeSecret, PUBLIC_FILE, PassphraseFile, PassphrasePurpose, RootSecret, StorageKey,
        make_owner_folder, obtain_passphrase, write_key, write_new,
    },
    reference_point_file::text_of,
};

/// Make a new member's keys, configuration, directory entry and joining request.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The member: an ISO 3166-1 alpha-2 code, or X-NAME for a bureau.
    #[arg(long, value_name = "CODE")]
    member: MemberCode,
    /// Under which host:port other members reach this node; may be given up to eight times.
    #[arg(long, value_name = "HOST:PORT", required_unless_present = "dial_out_only")]
    announce: Vec<HostPort>,
    /// Nobody can reach this node: it dials the others.
    #[arg(long, conflicts_with = "announce")]
    dial_out_only: bool,
    /// On which IP address and port this node awaits the others; unless said, on all with the first announced port.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The folder to fill; nothing in it is overwritten.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    dir: PathBuf,
    /// The working group: Africa, Americas, Eurasia or MENA; unless said, that of the country.
    #[arg(long, value_parser = parse_group)]
    group: Option<WorkingGroup>,
    #[command(flatten)]
    root: RootPassphrase,
    /// File with a passphrase for the node key and the storage key; without one they are readable to the owner.
    #[arg(long, value_name = "FILE")]
    node_passphrase_file: Option<PathBuf>,
    #[command(flatten)]
    work: Work,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let paths = Paths::new(&arguments.dir, &arguments.member);
    paths.refuse_existing()?;
    if arguments.announce.len() > ANNOUNCE_MAX {
        let why = format!(
            "{} addresses were given, at most {ANNOUNCE_MAX} are published",
            arguments.announce.len()
        );
        return Err(Failure::usage("nothing was made", why, "name the addresses that others reach best"));
    }
    owner::check(&arguments.dir, "nothing was made")?;
    let country = Country::find(&arguments.member);
    let group = arguments.group.or(country.map(|country| country.working_group)).ok_or_else(|| {
        let why = format!("the working group of {} is not known", arguments.member);
        Failure::usage("nothing was made", why, "name it with --group Africa, Americas, Eurasia or MENA")
    })?;
    let purpose = PassphrasePurpose::Protect;
    let root_passphrase = obtain_passphrase(&arguments.root.source(), purpose, "the root keys")?;
    let node_passphrase = match &arguments.node_passphrase_file {
        Some(file) => {
            let from = PassphraseFile(Some(file.clone()));
            Some(obtain_passphrase(&from, purpose, "the node key")?)
        }
        None => None,
    };
    let keys = Keys::generate()?;
    let request = JoiningRequest {
        member: arguments.member.clone(),
        kind: MemberKind::of(&arguments.member),
        group,
        alg: refpoint_protocol::document::Signature::ED25519,
        root: keys.root.key(),
        next: keys.next_root.commitment(),
        node: keys.node.key(),
        addresses: arguments.announce.iter().map(ToString::to_string).collect(),
        created: Clock::start(0).now(),
    };
    let files = Files {
        config: config_text(arguments),
        reference_point: text_of(&blank_entry(country)),
        request: request_text(&request, &keys)?,
    };
    let bar = output.progress(4, "protecting the keys");
    let made =
        write_all(arguments, &paths, &keys, &files, (&root_passphrase, node_passphrase.as_ref()), &bar);
    bar.finish_and_clear();
    if let Err(failure) = made {
        paths.remove_made();
        return Err(failure);
    }
    report(arguments, &request, &paths, output)
}

fn report(
    arguments: &Arguments,
    request: &JoiningRequest,
    paths: &Paths,
    output: &Output,
) -> Result<(), Failure> {
    let print = spoken(request.root.as_bytes());
    let machine = json!({
        "member": request.member,
        "group": request.group,
        "root_key": request.root,
        "fingerprint": print,
        "node_key": request.node,
        "listen": arguments.listens(),
        "config": paths.config,
        "request": paths.request,
        "reference_point": paths.reference_point,
        "root_key_file": paths.root,
        "next_root_key_file": paths.next_root,
        "next": [format!("send {} to the founding stewards", paths.request.display())],
    });
    let path = |path: &Path| path.display().to_string();
    let (root, send) = (path(&paths.root), path(&paths.request));
    let files = [
        (path(&paths.config), "the settings of the node"),
        (path(&paths.reference_point), "fill in the unit's entry"),
        (send.clone(), "send to the stewards who found the federation"),
        (root.clone(), "move to an offline medium: it is needed at ceremonies alone"),
        (
            path(&paths.next_root),
            "move to another medium, kept elsewhere: it replaces a lost or stolen root key",
        ),
    ];
    let width = files.iter().map(|(path, _)| path.len()).max().unwrap_or_default();
    let listed: String = files.iter().map(|(path, about)| format!("  {path:<width$}  {about}\n")).collect();
    let human = format!(
        "{} is ready to join.\n\nfingerprint of the root key, to read aloud to the stewards:\n\n    {print}\n\n{}\n\
         {listed}\n{}\n\nNext: send {send}, then sign the draft that comes back, charter.draft of a founding, \
         charter-VERSION.draft of a federation that exists:\n  \
         refpoint charter sign charter.draft --root-key {root}",
        request.member,
        qr::root(request.member.as_str(), &print),
        arguments.reached(),
    );
    output.result(human, &machine)
}

impl Arguments {
    /// Where the node awaits others: what was said, else the port under which they are told to reach it, over IPv6
    /// too where they are told such an address.
    fn listens(&self) -> SocketAddr {
        let announced = self.announce.first().map_or(PORT, |to| to.port);
        let over_ipv6 = self.announce.iter().any(|to| matches!(to.host, Host::Address(IpAddr::V6(_))));
        let all = if over_ipv6 { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        self.listen.unwrap_or_else(|| SocketAddr::new(all, announced))
    }

    /// How others reach the node, and what must be forwarded for that.
    fn reached(&self) -> String {
        let listens = self.listens();
        let mut text = format!("The node will listen on {listens}");
        if self.listen.is_none() {
            let announced = if self.announce.is_empty() { "" } else { ", the announced port" };
            text.push_str(announced);
            text.push_str("; change it with `listen` in refpoint.toml");
        }
        for to in self.announce.iter().filter(|to| to.port != listens.port()) {
            text.push_str(&format!(
                "\nnote: forward TCP port {} of {to} to port {} of this machine",
                to.port,
                listens.port()
            ));
        }
        text
    }
}

struct Keys {
    node: NodeSecret,
    root: RootSecret,
    next_root: RootSecret,
    storage: StorageKey,
}

impl Keys {
    fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self {
            node: NodeSecret::generate()?,
            root: RootSecret::generate()?,
            next_root: RootSecret::generate()?,
            storage: StorageKey::generate()?,
        })
    }
}

struct Files {
    config: String,
    reference_point: String,
    request: String,
}

/// Every file that is made, in the order of making.
struct Paths {
    node: PathBuf,
    root: PathBuf,
    next_root: PathBuf,
    storage: PathBuf,
    config: PathBuf,
    reference_point: PathBuf,
    request: PathBuf,
}

impl Paths {
    fn new(folder: &Path, member: &MemberCode) -> Self {
        // Paths are printed for people to use: without a leading dot where none is needed.
        let folder = folder.strip_prefix(".").unwrap_or(folder);
        Self {
            node: folder.join(NODE_KEY),
            root: folder.join(ROOT_KEY),
            next_root: folder.join(NEXT_ROOT_KEY),
            storage: folder.join(STORAGE_KEY),
            config: folder.join("refpoint.toml"),
            reference_point: folder.join("reference-point.toml"),
            request: folder.join(format!("{member}.request")),
        }
    }

    fn all(&self) -> [&Path; 7] {
        [
            &self.node,
            &self.root,
            &self.next_root,
            &self.storage,
            &self.config,
            &self.reference_point,
            &self.request,
        ]
    }

    /// Nothing is overwritten, and nothing is begun beside something that is there.
    fn refuse_existing(&self) -> Result<(), Failure> {
        let there = self.all().into_iter().find(|path| fs::symlink_metadata(path).is_ok());
        match there {
            None => Ok(()),
            Some(path) => Err(Failure::error(
                "nothing was made",
                format!("{} exists already, and nothing is overwritten", path.display()),
                "choose an empty folder with --dir",
            )),
        }
    }

    /// Takes back what was made before a failure; only called when none of them was there before.
    fn remove_made(&self) {
        for path in self.all() {
            // Those after the failure were never made.
            let _ = fs::remove_file(path);
        }
    }
}

fn write_all(
    arguments: &Arguments,
    paths: &Paths,
    keys: &Keys,
    files: &Files,
    (root_passphrase, node_passphrase): (&SecretString, Option<&SecretString>),
    bar: &indicatif::ProgressBar,
) -> Result<(), Failure> {
    let member = &arguments.member;
    let factor = arguments.work.factor();
    let node_lock = node_passphrase.map(|passphrase| (passphrase, factor));
    let root_lock = Some((root_passphrase, factor));
    make_owner_folder(&arguments.dir).map_err(|error| write_failure(&arguments.dir, &error))?;
    write_key(&paths.node, member, &keys.node, node_lock)?;
    bar.inc(1);
    write_key(&paths.storage, member, &keys.storage, node_lock)?;
    bar.inc(1);
    write_key(&paths.root, member, &keys.root, root_lock)?;
    bar.inc(1);
    write_key(&paths.next_root, member, &keys.next_root, root_lock)?;
    bar.inc(1);
    for (path, text) in [
        (&paths.config, &files.config),
        (&paths.reference_point, &files.reference_point),
        (&paths.request, &files.request),
    ] {
        write_new(path, text.as_bytes(), PUBLIC_FILE).map_err(|error| write_failure(path, &error))?;
    }
    Ok(())
}

fn write_failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::error(
        "nothing was made",
        format!("cannot write {}: {error}", path.display()),
        "check that the folder is yours and the disk not full, or choose another with --dir",
    )
}

fn request_text(request: &JoiningRequest, keys: &Keys) -> Result<String, Failure> {
    let broken = |error| Failure::error("nothing was made", error, "report this: the fault is the program's");
    let envelope =
        sign(request, None, &[keys.root.signing_key(), keys.node.signing_key()]).map_err(broken)?;
    let comment = [
        format!("Joining request of {} for a Refpoint federation. Not secret.", request.member),
        format!("Fingerprint of the root key: {}", spoken(request.root.as_bytes())),
        "Compare the fingerprint by voice before you trust this file.".to_owned(),
    ];
    Ok(armor(Label::JoiningRequest, &comment, &encode(&envelope).map_err(broken)?))
}

fn config_text(arguments: &Arguments) -> String {
    let quoted = |text: String| toml::Value::String(text).to_string();
    let announce: Vec<_> = arguments.announce.iter().map(|to| quoted(to.to_string())).collect();
    let mut text = format!(
        "# The settings of one node. `refpoint config show` prints all with their defaults.\n\n\
         # The member that this node belongs to.\nmember = {}\n\n\
         # Where other members' nodes are awaited (TCP).\nlisten = {}\n\n\
         # Under which host:port others reach this node; [] if it can only dial out.\nannounce = [{}]\n",
        quoted(arguments.member.to_string()),
        quoted(arguments.listens().to_string()),
        announce.join(", "),
    );
    if let Some(file) = &arguments.node_passphrase_file {
        // The path was given relative to where the command ran; the file's own paths are relative to its folder.
        let file = fs::canonicalize(file).unwrap_or_else(|_| file.clone());
        text.push_str(&format!(
            "\n# The file with the passphrase of the node key and the storage key.\npassphrase_file = {}\n",
            quoted(file.display().to_string())
        ));
    }
    text
}

/// An entry for people to fill in, with what is known of the country.
fn blank_entry(country: Option<&Country>) -> ReferencePoint {
    let languages: Vec<String> = country.map_or_else(
        || vec!["en".to_owned()],
        |country| country.language_codes().map(str::to_owned).collect(),
    );
    let calling = country.map_or_else(|| "+".to_owned(), |country| format!("+{} ", country.calling_code));
    let channel = |kind, value: &str, always| Channel { kind, value: value.to_owned(), always, note: None };
    ReferencePoint {
        salt: [0; 16],
        names: languages
            .iter()
            .take(NAMES_SHOWN)
            .map(|code| LocalText { language: code.clone(), text: String::new() })
            .collect(),
        agency: None,
        channels: vec![
            channel(ChannelKind::Telephone, &calling, true),
            channel(ChannelKind::Email, "", false),
        ],
        on_duty: Some(OnDuty { role: "duty officer".to_owned(), languages: languages.clone() }),
        languages,
        competences: Vec::new(),
        time_zone: country.map_or_else(|| "UTC".to_owned(), |country| country.time_zone.clone()),
        sample: false,
    }
}

fn parse_group(text: &str) -> Result<WorkingGroup, String> {
    [WorkingGroup::Africa, WorkingGroup::Americas, WorkingGroup::Eurasia, WorkingGroup::Mena]
        .into_iter()
        .find(|group| group_name(*group).eq_ignore_ascii_case(text))
        .ok_or_else(|| "one of Africa, Americas, Eurasia, MENA".to_owned())
}

/// The name of a working group as people and files write it.
pub(super) const fn group_name(group: WorkingGroup) -> &'static str {
    match group {
        WorkingGroup::Africa => "Africa",
        WorkingGroup::Americas => "Americas",
        WorkingGroup::Eurasia => "Eurasia",
        WorkingGroup::Mena => "MENA",
    }
}

/// Empty names that the new file shows: some countries have a dozen official languages.
const NAMES_SHOWN: usize = 4;

/// The port unless one is announced or said.
const PORT: u16 = 4001;

/// Addresses that one node publishes; the configuration's bound.
const ANNOUNCE_MAX: usize = 8;
