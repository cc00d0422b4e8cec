//! Frames and slices byte by byte: what is read, what is refused, and that nothing behind a frame is touched.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use proptest::prelude::*;

use super::{
    FrameError, FrameReader, Introduction, IntroductionError, Step, VersionsError, encode_frame,
    frame::{Done, Hello, IntroductionFrame, Versions},
    tests::presence,
    versions::Joined,
};
use crate::{
    limits::{INTRODUCTION_BYTES_MAX, INTRODUCTION_SLICE_BYTES},
    testing::{self, FOUNDED, Federation, node_key},
};

const CODES: [&str; 3] = ["BR", "FR", "SG"];

#[test]
fn slices_must_bring_something_and_stay_within_bounds() {
    let mut joined = Joined::default();
    let empty = Versions { data: Vec::new(), more: true };
    assert_eq!(joined.push(&empty), Err(VersionsError::Slice(0)));
    let long = Versions { data: vec![0; INTRODUCTION_SLICE_BYTES + 1], more: true };
    assert_eq!(joined.push(&long), Err(VersionsError::Slice(INTRODUCTION_SLICE_BYTES + 1)));
    let full = Versions { data: vec![0; INTRODUCTION_SLICE_BYTES], more: true };
    while let Ok(None) = joined.push(&full) {}
    assert_eq!(joined.push(&full), Err(VersionsError::TooMuch));
}

#[test]
fn a_frame_is_read_in_any_pieces_and_nothing_behind_it() {
    let federation = Federation::new(1, &CODES, 1);
    let presence = presence(federation.trust(), federation.unit("BR"));
    let (_, hello) = Introduction::dial(presence, node_key(&testing::key(1, "any", 0)), FOUNDED);
    let mut bytes = encode_frame(&hello).unwrap();
    bytes.extend(encode_frame(&IntroductionFrame::Done(Done {})).unwrap());
    bytes.extend(b"what follows");
    for piece in [1, 2, 7, 1_000_000] {
        let mut reader = FrameReader::new();
        let mut rest = bytes.as_slice();
        let frames = [(); 2].map(|()| read_frame(&mut reader, &mut rest, piece).unwrap());
        assert_eq!(frames, [hello.clone(), IntroductionFrame::Done(Done {})]);
        assert_eq!(rest, b"what follows");
    }
}

#[test]
fn bad_frames_are_refused() {
    let read = |bytes: &[u8]| read_frame(&mut FrameReader::new(), &mut &*bytes, 1_000_000);
    assert_eq!(read(&[0x00]), Err(FrameError::Size(0)));
    assert_eq!(read(&[0x81, 0x00]), Err(FrameError::Length));
    assert_eq!(read(&[0x80, 0x80, 0x80, 0x80]), Err(FrameError::Length));
    assert_eq!(read(&[0x81, 0x80, 0x04]), Err(FrameError::Size(65_537)));
    let whole = |body: &[u8]| [&[u8::try_from(body.len()).unwrap()], body].concat();
    // An unknown kind, two kinds, none, a bare text, a byte too many.
    for body in [
        &b"\xA1\x64oops\xA0"[..],
        b"\xA2\x64done\xA0\x64need\xA1\x64tips\x80",
        b"\xA0",
        b"\x64done",
        b"\xA1\x64done\xA0\x00",
        b"\xFF",
    ] {
        let error = read(&whole(body)).unwrap_err();
        assert!(matches!(error, FrameError::Decode(_)), "{body:x?}: {error}");
    }
    // Unknown fields inside a kind are ignored.
    let done = read(&whole(b"\xA1\x64done\xA1\x63new\x01")).unwrap();
    assert_eq!(done, IntroductionFrame::Done(Done {}));
}

#[test]
fn one_direction_is_bounded() {
    let slice = Versions { data: vec![7; INTRODUCTION_SLICE_BYTES], more: true };
    let bytes = encode_frame(&IntroductionFrame::Versions(slice)).unwrap();
    let mut reader = FrameReader::new();
    let mut taken = 0;
    let error = loop {
        match read_frame(&mut reader, &mut bytes.as_slice(), 1_000_000) {
            Ok(_) => taken += bytes.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error, FrameError::TooMuch);
    assert!(taken <= INTRODUCTION_BYTES_MAX && taken + bytes.len() > INTRODUCTION_BYTES_MAX);
    let oversized = Versions { data: vec![7; 65_536], more: true };
    assert!(matches!(encode_frame(&IntroductionFrame::Versions(oversized)), Err(FrameError::Size(_))));
}

#[test]
fn a_hello_out_of_form_is_a_violation() {
    let federation = Federation::new(1, &CODES, 1);
    let [br, sg] = ["BR", "SG"].map(|code| presence(federation.trust(), federation.unit(code)));
    let breaks: [fn(&mut Hello); 7] = [
        |hello| hello.tips.push(hello.tips[0]),
        |hello| hello.wire.clear(),
        |hello| hello.wire = vec![2, 1],
        |hello| hello.key_sets = vec![hello.key_sets[0].clone(); 15],
        |hello| hello.record = Some(hello.key_sets[0].clone()),
        |hello| hello.body = Some(serde_bytes::ByteBuf::new()),
        |hello| {
            hello.record = Some(hello.key_sets[0].clone());
            hello.body = Some(serde_bytes::ByteBuf::from(vec![0; 16 * 1024 + 1]));
        },
    ];
    for breaks in breaks {
        let (_, frame) = Introduction::dial(Arc::clone(&sg), br.node, FOUNDED);
        let IntroductionFrame::Hello(mut hello) = frame else { panic!("no hello") };
        breaks(&mut hello);
        let mut listener = Introduction::listen(Arc::clone(&br), sg.node, FOUNDED);
        let step = listener.handle(IntroductionFrame::Hello(hello));
        assert!(matches!(step, Step::Violation(IntroductionError::Form(_))), "{step:?}");
    }
}

proptest! {
    #[test]
    fn garbage_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), piece in 1_usize..9) {
        let mut reader = FrameReader::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() && read_frame(&mut reader, &mut rest, piece).is_ok() {}
    }
}

/// Reads one frame in pieces, leaving what follows it in `rest`.
pub(super) fn read_frame(
    reader: &mut FrameReader,
    rest: &mut &[u8],
    piece: usize,
) -> Result<IntroductionFrame, FrameError> {
    loop {
        let (now, later) = rest.split_at(reader.wants().min(piece).min(rest.len()));
        *rest = later;
        match reader.push(now)? {
            Some(frame) => return Ok(frame),
            None if rest.is_empty() => return Err(FrameError::Size(0)),
            None => {}
        }
    }
}
