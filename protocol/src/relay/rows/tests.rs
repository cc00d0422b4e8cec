//! Rows there and back, and damage told by its cause.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
use super::*;

#[test]
fn rows_come_back_and_newer_versions_are_named() {
    let row = IdRow { until: Timestamp::from_millis(7) };
    let bytes = encode_row(&row).unwrap();
    assert_eq!(decode_row::<IdRow>(&bytes), Ok(row));
    let newer = encode(&Versioned { v: 2, row: "another shape" }).unwrap();
    assert_eq!(decode_row::<IdRow>(&newer), Err(RowError::Version(2)));
    let same_shape = encode(&Versioned { v: 3, row }).unwrap();
    assert_eq!(decode_row::<IdRow>(&same_shape), Err(RowError::Version(3)));
    assert!(matches!(decode_row::<IdRow>(&bytes[1..]), Err(RowError::Decode(_))));
}

#[test]
fn keys_name_their_ids() {
    let (one, two) = (MessageId::from_bytes([1; 32]), MessageId::from_bytes([2; 32]));
    assert_eq!(ids_from_statement_key(&statement_key(one, two)), Ok((one, two)));
    assert_eq!(ids_from_statement_key(&[0; 31]), Err(RowError::Key(31)));
    assert_eq!(ids_from_statement_key(&[0; 65]), Err(RowError::Key(33)));
    assert_eq!(id_from_key(one.as_bytes()), Ok(one));
    let (hander, node) = (NodeKey::from_bytes([3; 32]), NodeKey::from_bytes([4; 32]));
    let key = CustodyKey { hander, message: one, node };
    assert_eq!(CustodyKey::from_bytes(&key.to_bytes()), Ok(key));
    for length in [0, 32, 95, 97] {
        assert_eq!(CustodyKey::from_bytes(&vec![0; length]), Err(RowError::Key(length)));
    }
}
