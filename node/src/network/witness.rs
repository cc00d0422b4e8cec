//! The codec of witnessing: one request, one answer, each one small frame of canonical CBOR, read to the end.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{
    StreamProtocol,
    request_response::{Codec, ResponseChannel},
};
use refpoint_protocol::{
    audit::witness::{CosignAnswer, CosignRequest},
    document::{DecodeError, decode, encode},
    ids::NodeKey,
    limits::WITNESS_FRAME_BYTES_MAX,
};
use serde::{Serialize, de::DeserializeOwned};

use super::framing::{FrameError, read_only_frame, write_frame};

/// Reads and writes requests to cosign and their answers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WitnessCodec;

/// What came on a request's stream: see [`super::repair::Asked`].
#[derive(Debug)]
pub(super) enum Asked {
    /// A request.
    Request(Box<CosignRequest>),
    /// Bytes that are none, and why; never written.
    Broken(String),
}

/// A node's request to cosign where its journal stands.
#[derive(Debug)]
pub struct CosignAsked {
    /// The node.
    pub from: NodeKey,
    /// What it asks.
    pub request: Box<CosignRequest>,
    /// The way back. Dropped unanswered, the asker sees a failure at once.
    pub token: CosignToken,
}

/// The way back to whoever asked.
#[derive(Debug)]
pub struct CosignToken(pub(super) ResponseChannel<CosignAnswer>);

impl Codec for WitnessCodec {
    type Protocol = StreamProtocol;
    type Request = Asked;
    type Response = CosignAnswer;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read(io).await {
            Ok(request) => Ok(Asked::Request(Box::new(request))),
            Err(ReadError::Broken(why)) => Ok(Asked::Broken(why)),
            Err(ReadError::Io(error)) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<CosignAnswer>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await.map_err(|error| match error {
            ReadError::Broken(why) => io::Error::new(io::ErrorKind::InvalidData, why),
            ReadError::Io(error) => error,
        })
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Asked) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Asked::Request(request) => write(io, request.as_ref()).await,
            Asked::Broken(why) => Err(io::Error::new(io::ErrorKind::InvalidInput, why)),
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        answer: CosignAnswer,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &answer).await
    }
}

/// Why nothing was read.
enum ReadError {
    Broken(String),
    Io(io::Error),
}

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin + Send)) -> Result<T, ReadError> {
    let bytes = read_only_frame(io, WITNESS_FRAME_BYTES_MAX).await.map_err(|error| match error {
        FrameError::Io(error) => ReadError::Io(error),
        FrameError::Truncated => ReadError::Io(io::ErrorKind::UnexpectedEof.into()),
        other => ReadError::Broken(other.to_string()),
    })?;
    decode(&bytes, WITNESS_FRAME_BYTES_MAX).map_err(|error: DecodeError| ReadError::Broken(error.to_string()))
}

async fn write<T: Serialize>(io: &mut (impl AsyncWrite + Unpin + Send), value: &T) -> io::Result<()> {
    write_frame(io, &encode(value).map_err(io::Error::other)?).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::{executor::block_on, io::Cursor};
    use refpoint_protocol::{ids::TreeRoot, limits::WITNESS_PROOF_MAX};

    use super::*;
    use crate::network::framing::length_prefix;

    fn read_request(bytes: Vec<u8>) -> io::Result<Asked> {
        block_on(WitnessCodec.read_request(&StreamProtocol::new("/x"), &mut Cursor::new(bytes)))
    }

    #[test]
    fn the_longest_request_round_trips_and_what_breaks_a_rule_is_told() {
        let proof = vec![TreeRoot::from_bytes([7; 32]); WITNESS_PROOF_MAX];
        let request = CosignRequest { old: u64::from(u32::MAX), checkpoint: "x".repeat(1_024), proof };
        let mut io = Cursor::new(Vec::new());
        let asked = Asked::Request(Box::new(request.clone()));
        block_on(WitnessCodec.write_request(&StreamProtocol::new("/x"), &mut io, asked)).unwrap();
        let good = io.into_inner();
        assert!(matches!(read_request(good.clone()), Ok(Asked::Request(read)) if *read == request));
        let is_broken = |bytes: Vec<u8>| matches!(read_request(bytes), Ok(Asked::Broken(_)));
        assert!(is_broken([good.as_slice(), &[0]].concat()));
        assert!(is_broken(length_prefix(WITNESS_FRAME_BYTES_MAX + 1)), "nothing is allocated for it");
        assert!(is_broken(vec![1, 0xA0]));
        for end in [0, 1, 2, good.len() - 1] {
            assert!(read_request(good[..end].to_vec()).is_err(), "cut after {end}");
        }
    }
}
