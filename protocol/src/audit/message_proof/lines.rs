//! The lines of a proof, written and read: their form, and nothing of what they prove.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_bytes::ByteBuf;

use crate::{
    audit::note::Note,
    document::{Envelope, encode},
    ids::TreeRoot,
    limits::WITNESS_PROOF_MAX,
    relay::rows::SignedStatement,
    time::Timestamp,
};

/// That a journal's longer state continues a shorter one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Continues {
    /// When the journal began.
    pub began: Timestamp,
    /// The shorter one's entries.
    pub old: u64,
    /// The longer one's.
    pub size: u64,
    /// The consistency proof.
    pub proof: Vec<TreeRoot>,
}

/// An entry of a journal, and that it is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// When the journal began.
    pub began: Timestamp,
    /// The entry's number, from 0.
    pub number: u64,
    /// The entries of the state that it is shown in.
    pub size: u64,
    /// The entry.
    pub leaf: Vec<u8>,
    /// The inclusion proof.
    pub proof: Vec<TreeRoot>,
}

/// One line after the head.
pub(super) enum Line {
    Header(Envelope),
    Receipt(Envelope),
    Statement(SignedStatement),
    Checkpoint(Note),
    Continues(Continues),
    Entry(Included),
}

impl Line {
    /// The line's place among the kinds of lines.
    pub(super) const fn order(&self) -> usize {
        match self {
            Self::Header(_) => 0,
            Self::Receipt(_) => 1,
            Self::Statement(_) => 2,
            Self::Checkpoint(_) => 3,
            Self::Continues(_) => 4,
            Self::Entry(_) => 5,
        }
    }

    /// Reads a line.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let mut words = text.split(' ');
        let mut next = || words.next().ok_or("a word is missing");
        let line = match next()? {
            "header" => Self::Header(envelope(next()?)?),
            "receipt" => Self::Receipt(envelope(next()?)?),
            "statement" => {
                let header = ByteBuf::from(bytes(next()?)?);
                let key = bytes(next()?)?.try_into().map_err(|_| "a content key has 32 bytes")?;
                Self::Statement(SignedStatement { header, key, body: ByteBuf::from(bytes(next()?)?) })
            }
            "checkpoint" => {
                Self::Checkpoint(Note::parse(&bytes(next()?)?).map_err(|_| "it holds no signed note")?)
            }
            "continues" => Self::Continues(Continues {
                began: Timestamp::from_millis(number(next()?)?),
                old: number(next()?)?,
                size: number(next()?)?,
                proof: hashes(next()?)?,
            }),
            "entry" => Self::Entry(Included {
                began: Timestamp::from_millis(number(next()?)?),
                number: number(next()?)?,
                size: number(next()?)?,
                leaf: bytes(next()?)?,
                proof: hashes(next()?)?,
            }),
            _ => return Err("it begins with no known word"),
        };
        // A second form of one line would be a second proof.
        if next().is_ok() || line.to_string() != text {
            Err("it has another form than this program writes")
        } else {
            Ok(line)
        }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An envelope that was read or signed encodes; if not, the line says nothing, and is refused.
        let encoded = |envelope: &Envelope| STANDARD.encode(encode(envelope).unwrap_or_default());
        let joined = |proof: &[TreeRoot]| {
            STANDARD.encode(proof.iter().flat_map(|hash| *hash.as_bytes()).collect::<Vec<u8>>())
        };
        match self {
            Self::Header(envelope) => write!(f, "header {}", encoded(envelope)),
            Self::Receipt(envelope) => write!(f, "receipt {}", encoded(envelope)),
            Self::Statement(SignedStatement { header, key, body }) => {
                let [header, key, body] = [header.as_slice(), key, body].map(|it| STANDARD.encode(it));
                write!(f, "statement {header} {key} {body}")
            }
            Self::Checkpoint(note) => write!(f, "checkpoint {}", STANDARD.encode(note.to_string())),
            Self::Continues(Continues { began, old, size, proof }) => {
                write!(f, "continues {} {old} {size} {}", began.as_millis(), joined(proof))
            }
            Self::Entry(Included { began, number, size, leaf, proof }) => {
                let (began, leaf) = (began.as_millis(), STANDARD.encode(leaf));
                write!(f, "entry {began} {number} {size} {leaf} {}", joined(proof))
            }
        }
    }
}

fn bytes(word: &str) -> Result<Vec<u8>, &'static str> {
    STANDARD.decode(word).map_err(|_| "it is not base64 in its one form")
}

fn envelope(word: &str) -> Result<Envelope, &'static str> {
    Envelope::from_bytes(&bytes(word)?).map_err(|_| "it holds no envelope")
}

fn number(word: &str) -> Result<u64, &'static str> {
    word.parse().map_err(|_| "a number is out of form")
}

fn hashes(word: &str) -> Result<Vec<TreeRoot>, &'static str> {
    let bytes = bytes(word)?;
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() || hashes.len() > WITNESS_PROOF_MAX {
        return Err("it holds no proof");
    }
    Ok(hashes.iter().map(|hash| TreeRoot::from_bytes(*hash)).collect())
}
