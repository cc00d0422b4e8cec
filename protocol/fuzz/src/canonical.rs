//! The canonical check against the decoder: whatever passes the check and decodes has exactly one encoding,
//! the bytes that came. So no two nodes can read one document and name it differently.

use std::{collections::BTreeMap, fmt};

use refpoint_protocol::document::{check_canonical, encode};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

pub(crate) fn run(bytes: &[u8]) {
    if check_canonical(bytes).is_err() {
        return;
    }
    let value: Value = serde_ipld_dagcbor::from_slice(bytes).expect("what is canonical decodes");
    assert_eq!(encode(&value).expect("what was decoded encodes"), bytes, "one value, one form");
}

/// Any item of the profile. Map entries are kept as they came: sorting them is the encoder's work.
#[derive(Debug)]
enum Value {
    Bool(bool),
    Integer(i64),
    Bytes(Vec<u8>),
    Text(String),
    Array(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Integer(value) => serializer.serialize_i64(*value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(items) => items.serialize(serializer),
            Self::Map(entries) => entries.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item of the profile")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        i64::try_from(value).map(Value::Integer).map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Value, E> {
        Ok(Value::Bytes(value.to_vec()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = BTreeMap::new();
        while let Some((key, value)) = access.next_entry::<String, Value>()? {
            if entries.insert(key, value).is_some() {
                return Err(A::Error::custom("a doubled key passed the canonical check"));
            }
        }
        Ok(Value::Map(entries))
    }
}
