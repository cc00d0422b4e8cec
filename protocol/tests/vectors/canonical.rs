//! Items in and out of the canonical form.

use refpoint_protocol::document::check_canonical;
use serde_json::{Value, json};

use super::bytes_of;

/// Good and bad items, each bad one with what is wrong.
pub(super) fn vectors() -> Value {
    let nested = |levels: usize| format!("{}00", "81".repeat(levels));
    let deepest = nested(16);
    let good: Vec<Value> = GOOD
        .iter()
        .copied()
        .chain([("16 levels", deepest.as_str())])
        .map(|(name, bytes)| {
            assert_eq!(check_canonical(&bytes_of(bytes)), Ok(()), "{name}");
            json!({ "name": name, "bytes": bytes })
        })
        .collect();
    let too_deep = nested(17);
    let deep_map = format!("{}a1616180", "81".repeat(16));
    let bad: Vec<Value> = BAD
        .iter()
        .copied()
        .chain([
            ("17 levels", too_deep.as_str(), "nested too deeply at byte 17"),
            ("17 levels, the last in a map", deep_map.as_str(), "nested too deeply at byte 19"),
        ])
        .map(|(name, bytes, error)| {
            let found = check_canonical(&bytes_of(bytes)).expect_err(name).to_string();
            assert_eq!(found, error, "{name}");
            json!({ "name": name, "bytes": bytes, "rule": "DO-01", "error": error })
        })
        .collect();
    json!({
        "about": "Items in the canonical form of SPEC, section 2, and out of it.",
        "good": good,
        "bad": bad,
    })
}

const GOOD: [(&str, &str); 21] = [
    ("zero", "00"),
    ("23 in its head", "17"),
    ("24 in one byte", "1818"),
    ("255", "18ff"),
    ("256", "190100"),
    ("65536", "1a00010000"),
    ("2^32", "1b0000000100000000"),
    ("2^53 - 1", "1b001fffffffffffff"),
    ("-1", "20"),
    ("-(2^53 - 1)", "3b001ffffffffffffe"),
    ("no bytes", "40"),
    ("bytes", "43010203"),
    ("no text", "60"),
    ("text", "63e282ac"),
    ("a text that begins with U+FEFF: canonical, and refused where a rule says so", "64efbbbf61"),
    ("no items", "80"),
    ("items", "8301820203f5"),
    ("an empty map", "a0"),
    ("keys by length, then by bytes", "a361610161620262616103"),
    ("a key that is not ASCII", "a162c3a900"),
    ("false and true", "82f4f5"),
];

const BAD: [(&str, &str, &str); 40] = [
    ("nothing", "", "truncated at byte 0"),
    ("a head cut short", "19", "truncated at byte 1"),
    ("bytes cut short", "4401", "truncated at byte 1"),
    ("an array cut short", "8201", "truncated at byte 2"),
    ("a map without a value", "a16161", "truncated at byte 3"),
    ("bytes of a length beyond memory", "5b7fffffffffffffff00", "truncated at byte 9"),
    ("an array of a length beyond memory", "9b001fffffffffffff", "truncated at byte 9"),
    ("a second item", "0000", "bytes after the item at byte 1"),
    ("23 in two bytes", "1817", "head not in its shortest form at byte 0"),
    ("255 in three bytes", "1900ff", "head not in its shortest form at byte 0"),
    ("65535 in five bytes", "1a0000ffff", "head not in its shortest form at byte 0"),
    ("2^32 - 1 in nine bytes", "1b00000000ffffffff", "head not in its shortest form at byte 0"),
    ("a byte string's length in two bytes", "580101", "head not in its shortest form at byte 0"),
    ("a text's length in two bytes", "780161", "head not in its shortest form at byte 0"),
    ("an array's length in two bytes", "980100", "head not in its shortest form at byte 0"),
    ("a map's length in two bytes", "b801616100", "head not in its shortest form at byte 0"),
    ("bytes of indefinite length", "5f4101ff", "head not in its shortest form at byte 0"),
    ("a text of indefinite length", "7f6161ff", "head not in its shortest form at byte 0"),
    ("an array of indefinite length", "9f01ff", "head not in its shortest form at byte 0"),
    ("a map of indefinite length", "bf616101ff", "head not in its shortest form at byte 0"),
    ("reserved additional information", "1c", "head not in its shortest form at byte 0"),
    ("a break alone", "ff", "head not in its shortest form at byte 0"),
    ("2^53", "1b0020000000000000", "integer beyond 2^53 - 1 at byte 0"),
    ("-2^53", "3b001fffffffffffff", "integer beyond 2^53 - 1 at byte 0"),
    ("null", "f6", "type outside the profile at byte 0"),
    ("undefined", "f7", "type outside the profile at byte 0"),
    ("a simple value", "e0", "type outside the profile at byte 0"),
    ("a simple value in two bytes", "f8ff", "type outside the profile at byte 0"),
    ("a half float", "f93c00", "type outside the profile at byte 0"),
    ("a float", "fa3f800000", "type outside the profile at byte 0"),
    ("a double", "fb3ff0000000000000", "type outside the profile at byte 0"),
    ("a tag", "c000", "type outside the profile at byte 0"),
    ("a link (tag 42)", "d82a4100", "type outside the profile at byte 0"),
    ("text that is not UTF-8", "62c328", "text is not UTF-8 at byte 0"),
    ("text with a surrogate", "63eda080", "text is not UTF-8 at byte 0"),
    ("an integer as a key", "a10001", "map key is not a non-empty text at byte 1"),
    ("an empty key", "a16001", "map key is not a non-empty text at byte 1"),
    ("a key twice", "a2616101616102", "map keys out of order at byte 4"),
    ("keys in alphabetical order", "a262616101616202", "map keys out of order at byte 5"),
    ("null in a field", "a1616bf6", "type outside the profile at byte 3"),
];
