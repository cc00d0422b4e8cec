//! The checked-in vectors are what this program makes, follow `wire.cddl` and use every rule of it; SPEC's bounds are
//! those of the code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    time::Duration,
};

use cddl_cat::validate_cbor_bytes;
use refpoint_protocol::{
    document::{Envelope, check_canonical},
    limits,
};
use serde_json::Value;

use super::{all, bytes_of};

#[test]
fn the_checked_in_vectors_are_what_this_program_makes() {
    for (name, made) in all() {
        let text = fs::read_to_string(folder().join("tests/vectors").join(name)).unwrap();
        let checked_in: Value = serde_json::from_str(&text).unwrap();
        assert!(checked_in == made, "{name}: the wire changed: a new version is needed, or an undone change");
    }
}

#[test]
fn every_item_follows_its_rule_of_the_grammar_and_is_canonical() {
    let grammar = grammar();
    let items = items();
    assert!(items.len() > 100, "{} items", items.len());
    for Item { place, rule, bytes } in &items {
        assert_eq!(check_canonical(bytes), Ok(()), "{place}");
        let valid = validate_cbor_bytes(rule, &grammar, bytes);
        assert!(valid.is_ok(), "{place} is no {rule}: {valid:?}");
    }
}

/// A rule is in use if some item does not follow the grammar any more once nothing follows the rule.
#[test]
fn every_rule_of_the_grammar_is_used_by_a_vector() {
    let grammar = format!("{}\nnobody = tstr\n", grammar());
    let mut unused = Vec::new();
    let items = items();
    for rule in rules(&grammar) {
        let poisoned = poison(&grammar, &rule);
        let fails = |item: &&Item| validate_cbor_bytes(&item.rule, &poisoned, &item.bytes).is_err();
        if !items.iter().any(|item| fails(&item)) {
            unused.push(rule);
        }
    }
    assert_eq!(unused, ["nobody"], "rules that no vector uses, but for the one that this test adds");
}

#[test]
fn the_grammar_refuses_what_it_should() {
    let grammar = grammar();
    for (rule, bytes) in
        [("id", "41ff"), ("offer", "a165636f756e7401"), ("hello", "a0"), ("relay-frame", "a0")]
    {
        assert!(validate_cbor_bytes(rule, &grammar, &bytes_of(bytes)).is_err(), "{rule}");
    }
}

/// The rules that vectors name: a bad one the rule that refuses it, a state those that it shows.
fn named<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("rule").and_then(Value::as_str));
            let rules = fields.get("rules").and_then(Value::as_array);
            found.extend(rules.into_iter().flatten().filter_map(Value::as_str));
            fields.values().for_each(|value| named(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| named(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_rule_has_a_vector_or_a_reason_why_not() {
    let validation = fs::read_to_string(folder().join("VALIDATION.md")).unwrap();
    let (rules, reasons) = validation.split_once("## Rules without a vector").unwrap();
    let first = |line: &str| {
        let cell = line.strip_prefix("| ")?.split(" |").next()?.trim().to_owned();
        cell.split_once('-').is_some_and(|(letters, _)| letters.len() == 2 && letters != "id").then_some(cell)
    };
    let rules: BTreeSet<String> = rules.lines().filter_map(first).collect();
    assert!(rules.len() > 100, "{} rules", rules.len());
    let excused: BTreeSet<String> = reasons.lines().filter_map(first).collect();
    let files = all();
    let mut found = Vec::new();
    files.iter().for_each(|(_, value)| named(value, &mut found));
    let found: BTreeSet<String> = found.into_iter().map(str::to_owned).collect();
    let missing: Vec<_> =
        rules.iter().filter(|rule| !found.contains(*rule) && !excused.contains(*rule)).collect();
    assert!(missing.is_empty(), "neither a vector nor a reason in VALIDATION.md: {missing:?}");
    let needless: Vec<_> =
        excused.iter().filter(|rule| found.contains(*rule) || !rules.contains(*rule)).collect();
    assert!(needless.is_empty(), "excused in VALIDATION.md and not in need of it: {needless:?}");
}

#[test]
fn bad_vectors_name_rules_that_are_written_down() {
    let validation = fs::read_to_string(folder().join("VALIDATION.md")).unwrap();
    let files = all();
    let mut rules = Vec::new();
    files.iter().for_each(|(_, value)| named(value, &mut rules));
    assert!(rules.len() > 150, "{} bad vectors", rules.len());
    for rule in rules {
        assert!(validation.contains(&format!("| {rule} |")), "{rule} is not in VALIDATION.md");
    }
}

#[test]
fn the_bounds_in_the_specification_are_those_of_the_code() {
    let text = fs::read_to_string(folder().join("SPEC.md")).unwrap();
    let table = text.split("## 18. Bounds").nth(1).unwrap().split("## 19").next().unwrap();
    let mut bounds = bounds();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.split('|').skip(1).map(str::trim);
        let name = cells.next().unwrap().trim_matches('`');
        let said: u64 = cells.next().unwrap().replace(',', "").parse().unwrap();
        assert_eq!(bounds.remove(name), Some(said), "{name}");
    }
    assert!(bounds.is_empty(), "SPEC lacks {:?}", bounds.keys());
}

struct Item {
    place: String,
    rule: String,
    bytes: Vec<u8>,
}

/// Everything in the checked-in files that stands beside a rule, and the payloads inside envelopes.
fn items() -> Vec<Item> {
    let mut items = Vec::new();
    for (name, value) in all() {
        collect(name, &value, &mut items);
    }
    let message: Value = serde_json::from_str(include_str!("message.json")).unwrap();
    for (rule, place) in [
        ("message-body", "/inputs/body"),
        ("message-header", "/header/payload"),
        ("envelope", "/header/envelope"),
        ("label", "/parcel/label"),
        ("parcel", "/parcel/parcel"),
        ("receipt", "/receipt/payload"),
        ("envelope", "/receipt/envelope"),
    ] {
        let bytes = bytes_of(message.pointer(place).and_then(Value::as_str).unwrap());
        items.push(Item { place: format!("message.json{place}"), rule: rule.into(), bytes });
    }
    let inside: Vec<Item> = items.iter().filter(|item| item.rule == "envelope").map(payload).collect();
    items.extend(inside);
    items
}

fn collect(place: &str, value: &Value, items: &mut Vec<Item>) {
    match value {
        Value::Object(fields) => {
            if let (Some(Value::String(rule)), Some(Value::String(bytes))) =
                (fields.get("cddl"), fields.get("bytes"))
            {
                items.push(Item { place: place.into(), rule: rule.clone(), bytes: bytes_of(bytes) });
            }
            fields.iter().for_each(|(name, value)| collect(&format!("{place}/{name}"), value, items));
        }
        Value::Array(values) => {
            values.iter().enumerate().for_each(|(at, value)| collect(&format!("{place}/{at}"), value, items));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn payload(item: &Item) -> Item {
    let envelope = Envelope::from_bytes(&item.bytes).unwrap();
    let rule = match envelope.kind.as_str() {
        "node-record" | "reference-point" => "header",
        "message" => "message-header",
        kind => kind,
    };
    Item { place: format!("{}, its payload", item.place), rule: rule.into(), bytes: envelope.payload }
}

fn grammar() -> String {
    fs::read_to_string(folder().join("wire.cddl")).unwrap()
}

/// The names that stand at the beginning of a line before an equals sign.
fn rules(grammar: &str) -> Vec<String> {
    let name = |line: &str| {
        let (name, _) = line.split_once('=')?;
        let name = name.trim_end();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        plain.then(|| name.to_owned())
    };
    let rules: Vec<String> = grammar.lines().filter_map(name).collect();
    assert!(rules.len() > 50, "{} rules", rules.len());
    rules
}

/// The grammar in which no item follows one rule.
fn poison(grammar: &str, rule: &str) -> String {
    let lines = grammar.lines().map(|line| match line.strip_prefix(rule) {
        Some(rest) if rest.trim_start().starts_with('=') => {
            format!("{rule} = \"nothing\"\nformer-{rule}{rest}")
        }
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every bound that SPEC lists, by its name.
fn bounds() -> BTreeMap<&'static str, u64> {
    let mut bounds = BTreeMap::new();
    macro_rules! collect {
        ($($kind:ident: $($name:ident)*;)*) => {
            $($(bounds.insert(stringify!($name), $kind(limits::$name));)*)*
        };
    }
    collect! {
            size: DEPTH_MAX KIND_BYTES_MAX PAYLOAD_BYTES_MAX SIGNATURES_MAX SIGNATURE_BYTES_MAX
                DOCUMENT_SIGNATURES_MAX DOCUMENT_SIGNATURES_BYTES_MAX CHARTER_SIGNATURES_BYTES_MAX
                KEY_SET_SIGNATURES_MAX KEY_SET_SIGNATURES_BYTES_MAX HEADER_SIGNATURES_MAX
                HEADER_SIGNATURES_BYTES_MAX REQUEST_BYTES_MAX REQUEST_ADDRESSES_MAX REQUEST_ADDRESS_BYTES_MAX
                CHARTER_BYTES_MAX CHARTER_PARENTS_MAX MEMBERS_MAX STEWARDS_MIN STEWARDS_MAX
                SETTLEMENT_BYTES_MAX SETTLEMENT_KEY_SETS_MAX KEY_SET_BYTES_MAX NODES_PER_MEMBER_MAX KEY_SET_ANCESTORS_MAX KEY_SET_TIPS_MAX
                KEY_SET_UNRELATED_MAX HEADER_BYTES_MAX BODY_BYTES_MAX BODY_SALT_BYTES
                BODIES_PER_CHAIN_MAX ADDRESSES_MAX ADDRESS_BYTES_MAX SEALING_KEYS_MAX
                READABLE_KINDS_MAX WIRE_VERSIONS_MAX SOFTWARE_BYTES_MAX LANGUAGE_BYTES_MAX
                UNIT_NAMES_MAX UNIT_NAME_BYTES_MAX CHANNELS_MAX CHANNEL_VALUE_BYTES_MAX
                CHANNEL_NOTE_BYTES_MAX LANGUAGES_MAX COMPETENCES_MAX ROLE_BYTES_MAX
                TIME_ZONE_BYTES_MAX INTRODUCTION_FRAME_BYTES_MAX INTRODUCTION_BYTES_MAX
                INTRODUCTION_SLICE_BYTES CONNECTED_NODES_MAX PENDING_PER_BEARER_MAX
                PENDING_BYTES_PER_BEARER_MAX REPAIR_BYTES_MAX REPAIR_IDS_MAX SETTLEMENTS_COMPARED_MAX REPAIR_CHAINS_MAX
                POSITIONS_MAX POSITION_PAGES_MAX REPAIR_ROUNDS_MAX REPAIR_SESSION_BYTES_MAX
                MESSAGE_HEADER_BYTES_MAX RECIPIENTS_MAX MESSAGE_BODY_BYTES_MAX TEXT_BYTES_MAX
                REFERENCE_BYTES_MAX ATTACHMENTS_MAX ATTACHMENT_BYTES_MAX ATTACHMENT_NAME_BYTES_MAX
                MEDIA_TYPE_BYTES_MAX FORM_FIELDS_MAX FORM_CODE_BYTES_MAX FORM_VALUE_BYTES_MAX
                STATEMENT_TEXT_BYTES_MAX RECEIPT_BYTES_MAX HEAD_BYTES_MAX HEAD_TIPS_MAX SEALED_BYTES_MAX PARCEL_BYTES_MAX
                RELAY_FRAME_BYTES_MAX HEAD_PASSED_BY_ALL_MAX OFFER_IDS_MAX OFFER_FRAMES_MAX STATEMENTS_PER_MEMBER_MAX
    ORPHAN_STATEMENTS_MAX ORPHAN_STATEMENTS_PER_MEMBER_MAX ORPHAN_STATEMENTS_PER_MEMBER_MIN
                IN_FLIGHT_PER_PEER_MAX IN_FLIGHT_BYTES_PER_PEER_MAX
                CUSTODIANS_MAX CUSTODIANS_EVER_MAX CUSTODY_ROWS_PER_MEMBER_MAX CUSTODY_ROWS_PER_MEMBER_MIN CUSTODY_ROWS_MAX REPEAT_UNIT_BYTES
                SLOWEST_LINK_BYTES_PER_SECOND WITNESSES;
            count: INBOX_BURST CUSTODY_BURST REPEAT_BURST CUSTODY_BYTES_PER_MEMBER_MAX CUSTODY_BYTES_PER_MEMBER_MIN CUSTODY_BYTES_MAX INTAKE_BYTES_MAX INTAKE_BYTES_PER_MINUTE
                INTEGER_MAX CHAIN_LENGTH_MAX WIRE_VERSION PUSH_BURST GENERATION_MAX;
            time: INBOX_INTERVAL CUSTODY_AFTER_URGENT CUSTODY_AFTER CUSTODIAN_SILENT CUSTODY_INTERVAL REPEAT_INTERVAL UNOPENED_PAUSE_MAX CUSTODY_ANSWER_KEPT ANSWER_ECHO_WAIT
                KEY_SET_REVIEW_DEFAULT FRESHNESS RENEWAL_INTERVAL SEALING_KEY_VALIDITY
                SEALING_KEY_LEAD SEALING_SEED_GRACE INTRODUCTION_FRAME_TIMEOUT INTRODUCTION_TIMEOUT
                REFUSAL_LINGER PUSH_INTERVAL REPAIR_INTERVAL EXPIRY_DEFAULT EXPIRY_MAX EXPIRY_GRACE
                MESSAGE_ID_KEPT KEEP_AFTER_ACKNOWLEDGED HELD_WAIT RETRY_FIRST RETRY_MAX OFFER_AGAIN_FIRST OFFER_AGAIN_MAX RECEIPT_WAIT
                HEAD_INTERVAL HEAD_REST_INTERVAL HEAD_SETTLE HALVES_TOLD_AFTER HEAD_SILENCE HEAD_AHEAD_MAX CLOCK_SKEW_MAX CLOCK_WITNESS_AGE RESUME_WAIT;
        }
    bounds.insert("ENVELOPE_BYTES_MAX", size(Envelope::BYTES_MAX));
    bounds
}

fn size(bound: usize) -> u64 {
    u64::try_from(bound).unwrap()
}

fn count(bound: impl Into<u64>) -> u64 {
    bound.into()
}

fn time(bound: Duration) -> u64 {
    u64::try_from(bound.as_millis()).unwrap()
}
