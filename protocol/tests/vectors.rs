//! The vectors for other languages: made here, printed by `examples/vectors.rs`, checked in as `vectors/*.json`.
//!
//! Each byte string that stands beside a `cddl` rule is checked against `wire.cddl`; each bad one names the rule of
//! VALIDATION.md that refuses it. Keys are known to everybody.

#[path = "vectors/audit.rs"]
mod audit;
#[path = "vectors/canonical.rs"]
mod canonical;
#[path = "vectors/cast.rs"]
mod cast;
#[cfg(test)]
#[path = "vectors/checks.rs"]
mod checks;
#[path = "vectors/dialling_back.rs"]
mod dialling_back;
#[path = "vectors/directory.rs"]
mod directory;
#[path = "vectors/documents.rs"]
mod documents;
#[path = "vectors/ed25519.rs"]
mod ed25519;
#[path = "vectors/heads.rs"]
mod heads;
#[path = "vectors/introductions.rs"]
mod introductions;
#[path = "vectors/parcels.rs"]
mod parcels;
#[path = "vectors/settlements.rs"]
mod settlements;
#[path = "vectors/trust.rs"]
mod trust;
#[path = "vectors/wire.rs"]
mod wire;
#[path = "vectors/witnesses.rs"]
mod witnesses;

use serde_json::{Value, json};

/// Every file's name with its content; `message.json` has a program of its own.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("canonical.json", canonical::vectors()),
        ("ed25519.json", ed25519::vectors()),
        ("documents.json", documents::vectors()),
        ("trust.json", trust::vectors()),
        ("directory.json", directory::vectors()),
        ("wire.json", wire::vectors()),
        ("audit.json", audit::vectors()),
    ]
}

/// Bytes as lower-case hexadecimal.
fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hexadecimal as bytes.
fn bytes_of(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?));
    bytes.collect::<Option<_>>().expect("hexadecimal digits in pairs")
}

/// An item with its bytes and the CDDL rule that it follows.
fn item<T: serde::Serialize>(name: &str, rule: &str, value: &T) -> Value {
    let bytes = refpoint_protocol::document::encode(value).expect("it encodes");
    json!({ "name": name, "cddl": rule, "bytes": hexadecimal(&bytes) })
}
