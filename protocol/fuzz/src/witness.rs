//! Bytes taken for what is asked of a witness, and for what it answers: no panic, canonical, and nothing is cosigned but
//! what its node signed and what continues the checkpoint that is held.

use refpoint_protocol::{
    audit::{
        JournalCheckpoint,
        witness::{CosignAnswer, CosignRequest, Judged, Witness, WitnessedRow},
    },
    document::{decode, encode},
    ids::MemberCode,
    limits::WITNESS_FRAME_BYTES_MAX,
};

const HELD: &str = include_str!("witness/held.note");

pub(crate) fn run(bytes: &[u8]) {
    if let Ok(answer) = decode::<CosignAnswer>(bytes, WITNESS_FRAME_BYTES_MAX) {
        assert_eq!(encode(&answer).ok().as_deref(), Some(bytes));
    }
    let Ok(request) = decode::<CosignRequest>(bytes, WITNESS_FRAME_BYTES_MAX) else { return };
    assert_eq!(encode(&request).ok().as_deref(), Some(bytes));
    let held = JournalCheckpoint::read(HELD.as_bytes()).expect("the seed reads");
    let asker = (&held.origin.member, held.origin.node);
    let witness =
        Witness { federation: held.origin.federation, member: MemberCode::new("FR").expect("a code") };
    // Of an old journal that it never cosigned a witness would want to have heard a head.
    let now = held.made;
    for row in [WitnessedRow::default(), WitnessedRow { newest: Some(HELD.to_owned()), ..Default::default() }]
    {
        let before = row.last().map_or(0, |last| last.size);
        let Ok(Judged::Cosign { row, succeeds }) = witness.judge(now, asker, &request, &row, None) else {
            continue;
        };
        let cosigned = row.last().expect("it has just been read");
        assert!(!succeeds && cosigned.origin == held.origin, "another journal than the one that was signed");
        assert!(cosigned.size >= before, "a journal became shorter");
    }
}
