//! The reader of introduction frames: the same frames in whatever pieces they come, and never a byte too many.

use refpoint_protocol::{
    introduction::{FrameError, FrameReader, encode_frame, frame::IntroductionFrame},
    limits::INTRODUCTION_FRAME_BYTES_MAX,
};

pub(crate) fn run(bytes: &[u8]) {
    let (whole, end) = read(bytes, usize::MAX);
    let (single, same_end) = read(bytes, 1);
    assert!(whole == single && end == same_end, "pieces change what is read");
    let written =
        whole.iter().map(|frame| encode_frame(frame).expect("a frame that was read is written").len());
    // Unknown fields fall away, so the frames may become shorter, never longer.
    assert!(written.sum::<usize>() <= bytes.len());
}

fn read(mut bytes: &[u8], piece: usize) -> (Vec<IntroductionFrame>, Option<FrameError>) {
    let (mut reader, mut frames) = (FrameReader::new(), Vec::new());
    while !bytes.is_empty() {
        let wanted = reader.wants();
        assert!((1..=INTRODUCTION_FRAME_BYTES_MAX).contains(&wanted));
        let (now, rest) = bytes.split_at(wanted.min(bytes.len()).min(piece));
        match reader.push(now) {
            Ok(frame) => frames.extend(frame),
            Err(error) => return (frames, Some(error)),
        }
        bytes = rest;
    }
    (frames, None)
}
