//! `refpoint.toml`: from a file to validated settings, each with where it came from.
//!
//! Three keys are required (`member`, `listen`, `announce`); every other has a documented default. Unknown
//! keys, wrong types and values out of range are refused, all of them at once, each with its line. Secrets
//! are never in this file: it names files that hold them.

mod address;
mod named;
mod reader;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use refpoint_protocol::{ids::MemberCode, limits::CONNECTED_NODES_MAX};

pub use address::{AddressError, Host, HostPort};
use reader::Reader;

use crate::text_file::without_mark;

/// A node's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that was read.
    pub file: PathBuf,
    /// The member that this node belongs to.
    pub member: MemberCode,
    /// Where the node listens for other members' nodes.
    pub listen: SocketAddr,
    /// Addresses that the node publishes; none if it can only dial out.
    pub announce: Vec<HostPort>,
    /// The folder of the database.
    pub data: PathBuf,
    /// The Unix socket through which commands talk to the running node.
    pub socket: PathBuf,
    /// The node key's file.
    pub node_key: PathBuf,
    /// The file of the key that encrypts stored messages.
    pub storage_key: PathBuf,
    /// The file with the passphrase of the node key and the storage key, if they are under one.
    pub passphrase_file: Option<PathBuf>,
    /// The program, with its arguments, that is run once for each delivered message.
    pub alert_command: Vec<String>,
    /// Where `/metrics` is served on this machine, if it is.
    pub metrics_listen: Option<SocketAddr>,
    /// Whether addresses of private networks are dialled.
    pub allow_private_addresses: bool,
    /// How many nodes are connected at once.
    pub connections_max: usize,
    /// What is logged, as a `tracing` filter.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
    origins: BTreeMap<&'static str, Origin>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people on a terminal, JSON otherwise.
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, from 1.
    File(usize),
    /// An environment variable.
    Environment(&'static str),
    /// The documented default.
    Default,
}

/// One key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// Whether the file must have it.
    pub required: bool,
    /// What it sets, with unit, limits and default.
    pub about: &'static str,
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1; `None` if something is missing altogether.
    pub line: Option<usize>,
    /// What is wrong, and why.
    pub what: String,
    /// What to do.
    pub remedy: String,
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{} is larger than {CONFIG_BYTES_MAX} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
    },
    /// The file was read, and this is wrong with it.
    #[error("{}", Listed(file, problems))]
    Invalid {
        /// The file.
        file: PathBuf,
        /// All that is wrong, by line.
        problems: Vec<Problem>,
    },
}

impl Config {
    /// Every key, in the order of the example file.
    pub const KEYS: [Key; 14] = KEYS;

    /// Reads and validates a file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// [`ConfigError`], naming everything that is wrong.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let read_error = |source| ConfigError::Read { file: file.to_owned(), source };
        let length = std::fs::metadata(file).map_err(read_error)?.len();
        if length > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLong { file: file.to_owned() });
        }
        let text = std::fs::read_to_string(file).map_err(read_error)?;
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        Self::parse(file, &text, credentials.as_deref())
    }

    /// Validates a file's text. `credentials` is the folder in which systemd hands over credentials.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn parse(file: &Path, text: &str, credentials: Option<&Path>) -> Result<Self, ConfigError> {
        let invalid = |problems| ConfigError::Invalid { file: file.to_owned(), problems };
        let mut reader = Reader::new(without_mark(text)).map_err(|problem| invalid(vec![problem]))?;
        let folder = folder_of(file);
        let at = |path: &str| folder.join(path);

        let member = reader.required("member", Reader::member);
        let listen = reader.required("listen", Reader::socket_address);
        let announce = reader.required("announce", Reader::announce);
        let data = reader.optional("data", Reader::text).map_or_else(|| at("data"), |path| at(&path));
        let socket =
            reader.optional("socket", Reader::text).map_or_else(|| data.join(SOCKET), |path| at(&path));
        let node_key = at(&reader.optional("node_key", Reader::text).unwrap_or_else(|| NODE_KEY.to_owned()));
        let storage_key =
            at(&reader.optional("storage_key", Reader::text).unwrap_or_else(|| STORAGE_KEY.to_owned()));
        let passphrase_file = reader.optional("passphrase_file", Reader::text).map(|path| at(&path));
        let alert_command = reader.optional("alert_command", Reader::texts).unwrap_or_default();
        let metrics_listen = reader.optional("metrics_listen", Reader::loopback_address);
        let allow_private_addresses =
            reader.optional("allow_private_addresses", Reader::truth).unwrap_or_default();
        let connections_max =
            reader.optional("connections_max", Reader::connections).unwrap_or(CONNECTED_NODES_MAX);
        let log = reader.optional("log", Reader::log_filter).unwrap_or_else(|| LOG.to_owned());
        let log_format = reader.optional("log_format", Reader::log_format).unwrap_or(LogFormat::Auto);

        let (mut origins, problems) = reader.finish();
        // All three are there unless a problem says otherwise.
        let (Some(member), Some(listen), Some(announce), true) =
            (member, listen, announce, problems.is_empty())
        else {
            return Err(invalid(problems));
        };
        let passphrase_file = passphrase_file.or_else(|| {
            let handed = credentials?.join(CREDENTIAL);
            let found = handed.is_file().then_some(handed)?;
            origins.insert("passphrase_file", Origin::Environment("CREDENTIALS_DIRECTORY"));
            Some(found)
        });
        Ok(Self {
            file: file.to_owned(),
            member,
            listen,
            announce,
            data,
            socket,
            node_key,
            storage_key,
            passphrase_file,
            alert_command,
            metrics_listen,
            allow_private_addresses,
            connections_max,
            log,
            log_format,
            origins,
        })
    }

    /// The folder of the file, to which its paths are relative.
    #[must_use]
    pub fn folder(&self) -> &Path {
        folder_of(&self.file)
    }

    /// The sockets to listen on: `[::]` stands for both families, each of which has a socket of its own.
    #[must_use]
    pub fn listening(&self) -> Vec<SocketAddr> {
        let both = self.listen.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let second = both.then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, self.listen.port())));
        std::iter::once(self.listen).chain(second).collect()
    }

    /// Every key with its effective value as TOML, and where that came from.
    #[must_use]
    pub fn effective(&self) -> Vec<(&'static str, String, Origin)> {
        let path = |path: &Path| quoted(&path.display().to_string());
        let list = |texts: Vec<String>| format!("[{}]", texts.join(", "));
        KEYS.iter()
            .map(|key| {
                let value = match key.name {
                    "member" => quoted(self.member.as_str()),
                    "listen" => quoted(&self.listen.to_string()),
                    "announce" => list(self.announce.iter().map(|to| quoted(&to.to_string())).collect()),
                    "data" => path(&self.data),
                    "socket" => path(&self.socket),
                    "node_key" => path(&self.node_key),
                    "storage_key" => path(&self.storage_key),
                    "passphrase_file" => self.passphrase_file.as_deref().map_or_else(String::new, path),
                    "alert_command" => list(self.alert_command.iter().map(|text| quoted(text)).collect()),
                    "metrics_listen" => {
                        self.metrics_listen.map_or_else(String::new, |at| quoted(&at.to_string()))
                    }
                    "allow_private_addresses" => self.allow_private_addresses.to_string(),
                    "connections_max" => self.connections_max.to_string(),
                    "log" => quoted(&self.log),
                    "log_format" => quoted(self.log_format.name()),
                    // A test holds the two lists of keys together.
                    _ => String::new(),
                };
                (key.name, value, self.origins.get(key.name).cloned().unwrap_or(Origin::Default))
            })
            .collect()
    }
}

impl LogFormat {
    const ALL: [Self; 3] = [Self::Auto, Self::Human, Self::Json];

    const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Human => "human",
            Self::Json => "json",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(line) => write!(f, "line {line}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::Default => f.write_str("default"),
        }
    }
}

struct Listed<'a>(&'a Path, &'a [Problem]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.1.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{}", self.0.display())?;
            if let Some(line) = problem.line {
                write!(f, ", line {line}")?;
            }
            write!(f, ": {}; {}", problem.what, problem.remedy)?;
        }
        Ok(())
    }
}

/// The folder of a path; of a bare file name the current one.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Bytes of a configuration: the commented example has about four thousand.
pub const CONFIG_BYTES_MAX: u64 = 64 * 1024;

/// The node key's file unless said, beside `refpoint.toml`.
pub const NODE_KEY: &str = "keys/node.key";

/// The storage key's file unless said, beside `refpoint.toml`.
pub const STORAGE_KEY: &str = "keys/storage.key";

/// The root key's file where `init` writes it; the node never reads it.
pub const ROOT_KEY: &str = "keys/root.key";

/// The next root key's file where `init` writes it; the node never reads it.
pub const NEXT_ROOT_KEY: &str = "keys/next-root.key";

/// The systemd credential with the passphrase of the node key and the storage key.
pub const CREDENTIAL: &str = "refpoint-passphrase";

const SOCKET: &str = "refpoint.sock";
const LOG: &str = "info";

/// Fewest connections that make sense: gossip wants six neighbours and some to spare.
const CONNECTIONS_LEAST: usize = 8;
/// Most connections that one node was measured with in mind: five times the membership.
const CONNECTIONS_MOST: usize = 1_024;

const KEYS: [Key; 14] = [
    Key {
        name: "member",
        required: true,
        about: "the member's code: ISO 3166-1 alpha-2, or X-NAME for a bureau",
    },
    Key {
        name: "listen",
        required: true,
        about: "IP address and port on which other members' nodes are awaited",
    },
    Key {
        name: "announce",
        required: true,
        about: "host:port, or a list of up to 8, under which others reach this node; [] if it can only dial out",
    },
    Key { name: "data", required: false, about: "folder of the database; \"data\" beside this file" },
    Key {
        name: "socket",
        required: false,
        about: "Unix socket for the commands; \"refpoint.sock\" in the data folder",
    },
    Key { name: "node_key", required: false, about: "file of the node key" },
    Key { name: "storage_key", required: false, about: "file of the key under which messages are stored" },
    Key {
        name: "passphrase_file",
        required: false,
        about: "file with the passphrase of node key and storage key; none, or the systemd credential refpoint-passphrase",
    },
    Key {
        name: "alert_command",
        required: false,
        about: "program and arguments, run once for each delivered message, with JSON on its standard input; none",
    },
    Key {
        name: "metrics_listen",
        required: false,
        about: "loopback address and port on which /metrics is served to Prometheus; none, the Unix socket alone",
    },
    Key {
        name: "allow_private_addresses",
        required: false,
        about: "whether addresses of private networks and loopback are dialled; false",
    },
    Key { name: "connections_max", required: false, about: "nodes connected at once, 8 to 1024; 256" },
    Key { name: "log", required: false, about: "what is logged, as a tracing filter; \"info\"" },
    Key {
        name: "log_format",
        required: false,
        about: "\"auto\" (human on a terminal, JSON otherwise), \"human\" or \"json\"",
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const THREE: &str = "member = \"SG\"\nlisten = \"0.0.0.0:4001\"\nannounce = [\"node.sg.example:4001\"]\n";

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("/etc/refpoint/refpoint.toml"), text, None)
    }

    fn problems(text: &str) -> Vec<Problem> {
        match parse(text).unwrap_err() {
            ConfigError::Invalid { problems, .. } => problems,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn three_keys_suffice_and_the_rest_are_defaults() {
        let config = parse(THREE).unwrap();
        assert_eq!(config.member.as_str(), "SG");
        assert_eq!(config.data, Path::new("/etc/refpoint/data"));
        assert_eq!(config.socket, Path::new("/etc/refpoint/data/refpoint.sock"));
        assert_eq!(config.connections_max, 256);
        assert!(!config.allow_private_addresses);
        let effective = config.effective();
        assert_eq!(effective[1], ("listen", "\"0.0.0.0:4001\"".to_owned(), Origin::File(2)));
        assert_eq!(effective[3].2, Origin::Default);
        let unset = ["passphrase_file", "metrics_listen"];
        assert!(effective.iter().all(|(name, value, _)| !value.is_empty() || unset.contains(name)));
    }

    #[test]
    fn announce_is_a_text_or_a_list_and_may_be_empty() {
        let with = |value: &str| parse(&THREE.replace("[\"node.sg.example:4001\"]", value));
        assert_eq!(with("\"node.sg.example:4001\"").unwrap().announce.len(), 1);
        assert!(with("[]").unwrap().announce.is_empty());
        assert_eq!(with("[\"[2001:db8::1]:4001\", \"192.0.2.1:4001\"]").unwrap().announce.len(), 2);
        assert!(with("[\"node.sg.example\"]").is_err());
        assert!(with("4001").is_err());
        assert!(with(&format!("[{}]", "\"a.example:1\",".repeat(9))).is_err());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line_and_a_suggestion() {
        let found = problems(&format!("{THREE}anounce = \"x\"\n"));
        assert_eq!(found[0].line, Some(4));
        assert!(found[0].remedy.contains("announce"), "{found:?}");
        let found = problems(&format!("{THREE}[network]\nx = 1\n"));
        assert_eq!(found[0].line, Some(4));
    }

    #[test]
    fn everything_wrong_is_told_at_once() {
        let found =
            problems("member = \"Singapore\"\nlisten = 4001\nconnections_max = 5000\nlog_format = \"xml\"\n");
        let lines: Vec<Option<usize>> = found.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [None, Some(1), Some(2), Some(3), Some(4)], "{found:?}");
        assert!(found.iter().all(|problem| !problem.remedy.is_empty()));
    }

    #[test]
    fn text_that_is_no_toml_is_refused_with_its_line() {
        assert_eq!(problems("member = \"SG\"\nlisten = = 1\n")[0].line, Some(2));
        assert_eq!(problems("member = \"SG\"\nmember = \"FR\"\n")[0].line, Some(2));
    }

    #[test]
    fn the_example_file_has_every_key_and_loads() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/refpoint.toml");
        Config::load(&file).unwrap();
        let text = std::fs::read_to_string(file).unwrap();
        // Commented-out keys are uncommented: each must be valid, none may be missing.
        let whole: String = text
            .lines()
            .map(|line| match line.strip_prefix('#') {
                Some(rest) if KEYS.iter().any(|key| rest.starts_with(&format!("{} =", key.name))) => rest,
                _ => line,
            })
            .map(|line| format!("{line}\n"))
            .collect();
        let config = parse(&whole).unwrap();
        for (name, _, origin) in config.effective() {
            assert!(matches!(origin, Origin::File(_)), "{name} is missing in config/refpoint.toml");
        }
        // The defaults shown are the real ones.
        let defaults = parse(THREE).unwrap();
        assert_eq!((config.data, config.socket), (defaults.data, defaults.socket));
        assert_eq!((config.node_key, config.storage_key), (defaults.node_key, defaults.storage_key));
        assert_eq!(config.connections_max, defaults.connections_max);
        assert_eq!((config.log, config.log_format), (defaults.log, defaults.log_format));
    }
}
