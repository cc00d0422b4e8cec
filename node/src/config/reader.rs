//! Takes keys out of a TOML table one by one and gathers everything that is wrong with them.

use std::collections::BTreeMap;

use refpoint_protocol::ids::MemberCode;
use toml::de::{DeTable, DeValue};

use super::{CONNECTIONS_LEAST, CONNECTIONS_MOST, HostPort, KEYS, LogFormat, Origin, Problem};

/// A file being read.
pub(super) struct Reader<'a> {
    text: &'a str,
    table: DeTable<'a>,
    origins: BTreeMap<&'static str, Origin>,
    problems: Vec<Problem>,
}

/// What is wrong with a value: what, and what to do.
type Fault = (String, String);

impl<'a> Reader<'a> {
    /// Parses the text and looks for keys that nobody knows.
    pub(super) fn new(text: &'a str) -> Result<Self, Problem> {
        let table = DeTable::parse(text).map_err(|error| Problem {
            line: error.span().map(|span| line_of(text, span.start)),
            what: format!("not TOML: {}", error.message()),
            remedy: "correct the line; texts stand in quotes, lists in brackets".to_owned(),
        })?;
        let mut reader =
            Self { text, table: table.into_inner(), origins: BTreeMap::new(), problems: Vec::new() };
        let unknown: Vec<(String, usize)> = reader
            .table
            .keys()
            .filter(|key| KEYS.iter().all(|known| known.name != key.get_ref().as_ref()))
            .map(|key| (key.get_ref().to_string(), key.span().start))
            .collect();
        for (name, start) in unknown {
            let remedy = match closest(&name) {
                Some(close) => format!("did you mean {close:?}?"),
                None => "remove it; config/refpoint.toml lists every key".to_owned(),
            };
            reader.problem(Some(start), format!("unknown key {name:?}"), remedy);
        }
        Ok(reader)
    }

    /// Takes a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: fn(&DeValue<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.table.contains_key(name) {
            let about = KEYS.iter().find(|key| key.name == name).map_or("", |key| key.about);
            self.problem(None, format!("the required key {name:?} is missing"), format!("add it: {about}"));
        }
        self.optional(name, read)
    }

    /// Takes a key that may be there.
    pub(super) fn optional<T>(
        &mut self,
        name: &'static str,
        read: fn(&DeValue<'a>) -> Result<T, Fault>,
    ) -> Option<T> {
        let (_, value) = self.table.remove_entry(name)?;
        let start = value.span().start;
        match read(value.get_ref()) {
            Ok(value) => {
                self.origins.insert(name, Origin::File(line_of(self.text, start)));
                Some(value)
            }
            Err((what, remedy)) => {
                self.problem(Some(start), format!("{name}: {what}"), remedy);
                None
            }
        }
    }

    /// Where every value that was read came from, and all problems by line.
    pub(super) fn finish(mut self) -> (BTreeMap<&'static str, Origin>, Vec<Problem>) {
        self.problems.sort_by_key(|problem| problem.line);
        (self.origins, self.problems)
    }

    pub(super) fn text(value: &DeValue<'a>) -> Result<String, Fault> {
        match value {
            DeValue::String(text) if text.is_empty() => {
                Err(("it is empty".to_owned(), "give a value or remove the key".to_owned()))
            }
            DeValue::String(text) => Ok(text.to_string()),
            other => Err(wrong_type(other, "a text in quotes")),
        }
    }

    pub(super) fn texts(value: &DeValue<'a>) -> Result<Vec<String>, Fault> {
        match value {
            DeValue::Array(items) => items.iter().map(|item| Self::text(item.get_ref())).collect(),
            other => Err(wrong_type(other, "a list of texts, as [\"program\", \"argument\"]")),
        }
    }

    pub(super) fn truth(value: &DeValue<'a>) -> Result<bool, Fault> {
        match value {
            DeValue::Boolean(truth) => Ok(*truth),
            other => Err(wrong_type(other, "true or false, without quotes")),
        }
    }

    pub(super) fn member(value: &DeValue<'a>) -> Result<MemberCode, Fault> {
        let remedy = "write the ISO 3166-1 code, as \"SG\", or a bureau's \"X-NAME\"";
        MemberCode::new(&Self::text(value)?).map_err(|error| (error.to_string(), remedy.to_owned()))
    }

    pub(super) fn socket_address(value: &DeValue<'a>) -> Result<std::net::SocketAddr, Fault> {
        let text = Self::text(value)?;
        text.parse().map_err(|_| {
            (
                format!("{text:?} is not an IP address with a port"),
                "write as \"0.0.0.0:4001\" (all interfaces) or \"[::]:4001\"".to_owned(),
            )
        })
    }

    /// An address that nobody reaches from outside: what listens there asks nobody who he is.
    pub(super) fn loopback_address(value: &DeValue<'a>) -> Result<std::net::SocketAddr, Fault> {
        let address = Self::socket_address(value)?;
        if address.ip().is_loopback() && address.port() != 0 {
            return Ok(address);
        }
        let what = format!("{address} is not a port of this machine alone, and there is no password on it");
        Err((what, "write \"127.0.0.1:9464\" or \"[::1]:9464\"".to_owned()))
    }

    pub(super) fn announce(value: &DeValue<'a>) -> Result<Vec<HostPort>, Fault> {
        let texts = match value {
            DeValue::String(_) => vec![Self::text(value)?],
            DeValue::Array(_) => Self::texts(value)?,
            other => return Err(wrong_type(other, "a text or a list of texts, as \"node.sg.example:4001\"")),
        };
        if texts.len() > ANNOUNCE_MAX {
            let what = format!("{} addresses, at most {ANNOUNCE_MAX} are published", texts.len());
            return Err((what, "keep those that others reach best".to_owned()));
        }
        texts
            .iter()
            .map(|text| {
                text.parse::<HostPort>().map_err(|error| {
                    (
                        error.to_string(),
                        "write host:port, as \"node.sg.example:4001\" or \"[2001:db8::1]:4001\"".into(),
                    )
                })
            })
            .collect()
    }

    pub(super) fn connections(value: &DeValue<'a>) -> Result<usize, Fault> {
        let range = CONNECTIONS_LEAST..=CONNECTIONS_MOST;
        let number = match value {
            DeValue::Integer(number) => {
                number.as_str().parse::<usize>().ok().filter(|_| number.radix() == 10)
            }
            other => return Err(wrong_type(other, "a number")),
        };
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let what = format!("it is not from {CONNECTIONS_LEAST} to {CONNECTIONS_MOST}");
            (what, "256 holds every member's node".to_owned())
        })
    }

    pub(super) fn log_filter(value: &DeValue<'a>) -> Result<String, Fault> {
        let text = Self::text(value)?;
        let remedy =
            || "write error, warn, info, debug, trace or off, or as \"info,refpoint=debug\"".to_owned();
        // The filter takes any word for the name of a part of the program: a mistyped level would log nothing.
        let is_level = |word: &str| word.parse::<tracing::level_filters::LevelFilter>().is_ok();
        let stray = text.split(',').map(str::trim).find(|word| {
            !word.contains(['=', '[']) && !word.contains("::") && (word.is_empty() || !is_level(word))
        });
        if let Some(stray) = stray {
            return Err((format!("{stray:?} is no level"), remedy()));
        }
        match text.parse::<tracing_subscriber::EnvFilter>() {
            Ok(_) => Ok(text),
            Err(error) => Err((format!("{text:?} is no filter: {error}"), remedy())),
        }
    }

    pub(super) fn log_format(value: &DeValue<'a>) -> Result<LogFormat, Fault> {
        let text = Self::text(value)?;
        LogFormat::ALL.into_iter().find(|format| format.name() == text).ok_or_else(|| {
            (format!("{text:?} is no format"), "write \"auto\", \"human\" or \"json\"".to_owned())
        })
    }

    fn problem(&mut self, start: Option<usize>, what: String, remedy: String) {
        let line = start.map(|start| line_of(self.text, start));
        self.problems.push(Problem { line, what, remedy });
    }
}

fn wrong_type(value: &DeValue<'_>, wanted: &str) -> Fault {
    (format!("a {} stands there", value.type_str()), format!("write {wanted}"))
}

/// The line, from 1, of a byte of the text.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}

/// The known key that a mistyped one most resembles.
fn closest(name: &str) -> Option<&'static str> {
    KEYS.iter()
        .map(|key| (strsim::damerau_levenshtein(key.name, &name.to_lowercase()), key.name))
        .min()
        .filter(|(distance, _)| *distance <= RESEMBLANCE)
        .map(|(_, name)| name)
}

/// Addresses that one node publishes: two families of two providers, twice.
const ANNOUNCE_MAX: usize = 8;

/// Changes of a letter within which a key passes for mistyped.
const RESEMBLANCE: usize = 3;
