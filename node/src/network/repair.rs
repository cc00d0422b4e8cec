//! The codec of repair: one request, one response, each one frame of canonical CBOR, read to the end.

use std::io;

use futures::{AsyncRead, AsyncWrite};
use libp2p::{StreamProtocol, request_response::Codec};
use refpoint_protocol::{
    document::{DecodeError, decode, encode},
    evidence::repair::{RepairRequest, RepairResponse},
    limits::REPAIR_BYTES_MAX,
};
use serde::{Serialize, de::DeserializeOwned};

use super::framing::{FrameError, read_only_frame, write_frame};

/// Reads and writes requests and responses of repair.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RepairCodec;

/// What came on a request's stream. libp2p reports a request that cannot be read to nobody, so what broke
/// a rule passes as a request too, and names its sender.
#[derive(Debug)]
pub(super) enum Asked {
    /// A request.
    Request(RepairRequest),
    /// Bytes that are none; never written.
    Broken(RepairFault),
}

/// The bytes broke a rule: found inside the `io::Error` that libp2p carries.
#[derive(Debug, thiserror::Error)]
pub(super) enum RepairFault {
    #[error(transparent)]
    Frame(FrameError),
    #[error(transparent)]
    Content(DecodeError),
}

impl RepairFault {
    /// Finds it in what libp2p reports.
    pub(super) fn find(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl Codec for RepairCodec {
    type Protocol = StreamProtocol;
    type Request = Asked;
    type Response = RepairResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Asked>
    where
        T: AsyncRead + Unpin + Send,
    {
        match read(io).await {
            Ok(request) => Ok(Asked::Request(request)),
            Err(ReadError::Broken(fault)) => Ok(Asked::Broken(fault)),
            Err(ReadError::Io(error)) => Err(error),
        }
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<RepairResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await.map_err(|error| match error {
            ReadError::Broken(fault) => io::Error::new(io::ErrorKind::InvalidData, fault),
            ReadError::Io(error) => error,
        })
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Asked) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        match request {
            Asked::Request(request) => write(io, &request).await,
            Asked::Broken(fault) => Err(io::Error::new(io::ErrorKind::InvalidInput, fault)),
        }
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: RepairResponse,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

/// Why nothing was read.
enum ReadError {
    Broken(RepairFault),
    Io(io::Error),
}

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin + Send)) -> Result<T, ReadError> {
    let bytes = read_only_frame(io, REPAIR_BYTES_MAX).await.map_err(|error| match error {
        FrameError::Io(error) => ReadError::Io(error),
        FrameError::Truncated => ReadError::Io(io::ErrorKind::UnexpectedEof.into()),
        other => ReadError::Broken(RepairFault::Frame(other)),
    })?;
    decode(&bytes, REPAIR_BYTES_MAX).map_err(|error| ReadError::Broken(RepairFault::Content(error)))
}

async fn write<T: Serialize>(io: &mut (impl AsyncWrite + Unpin + Send), value: &T) -> io::Result<()> {
    let bytes = encode(value).map_err(io::Error::other)?;
    if bytes.len() > REPAIR_BYTES_MAX {
        let (max, got) = (REPAIR_BYTES_MAX, bytes.len());
        return Err(io::Error::other(FrameError::TooLong { max, got }));
    }
    write_frame(io, &bytes).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::{executor::block_on, io::Cursor};
    use refpoint_protocol::evidence::repair::{Documents, Fetch, Taken};

    use super::*;
    use crate::network::framing::length_prefix;

    fn written(request: RepairRequest) -> Vec<u8> {
        let mut io = Cursor::new(Vec::new());
        let request = Asked::Request(request);
        block_on(RepairCodec.write_request(&StreamProtocol::new("/x"), &mut io, request)).unwrap();
        io.into_inner()
    }

    fn read_request(bytes: Vec<u8>) -> io::Result<Asked> {
        block_on(RepairCodec.read_request(&StreamProtocol::new("/x"), &mut Cursor::new(bytes)))
    }

    #[test]
    fn a_request_round_trips() {
        let request = RepairRequest::Fetch(Fetch::default());
        let Asked::Request(read) = read_request(written(request.clone())).unwrap() else { panic!() };
        assert_eq!(read, request);
    }

    #[test]
    fn what_breaks_a_rule_is_a_fault_and_what_ends_early_is_not() {
        let good = written(RepairRequest::Fetch(Fetch::default()));
        let fault = |bytes: Vec<u8>| matches!(read_request(bytes), Ok(Asked::Broken(_)));
        let mut trailing = good.clone();
        trailing.push(0);
        assert!(fault(trailing));
        assert!(fault(length_prefix(REPAIR_BYTES_MAX + 1)));
        assert!(fault(vec![0x80, 0x00]));
        assert!(fault(vec![0x02, 0xF6, 0xF6]));
        let response = encode(&RepairResponse::Taken(Taken {})).unwrap();
        assert!(fault([length_prefix(response.len()), response].concat()), "another type's bytes");
        for end in 0..good.len() {
            assert!(read_request(good[..end].to_vec()).is_err(), "cut after {end}");
        }
    }

    #[test]
    fn a_broken_response_carries_its_fault() {
        let bytes = vec![0x02, 0xF6, 0xF6];
        let read = block_on(RepairCodec.read_response(&StreamProtocol::new("/x"), &mut Cursor::new(bytes)));
        assert!(RepairFault::find(&read.unwrap_err()).is_some());
    }

    #[test]
    fn a_response_past_the_bound_is_not_sent() {
        let bodies = vec![serde_bytes_of(vec![0; REPAIR_BYTES_MAX])];
        let response = RepairResponse::Documents(Documents { envelopes: vec![], bodies });
        let mut io = Cursor::new(Vec::new());
        let result = block_on(RepairCodec.write_response(&StreamProtocol::new("/x"), &mut io, response));
        assert!(result.is_err());
        assert!(io.into_inner().is_empty());
    }

    fn serde_bytes_of<T: From<Vec<u8>>>(bytes: Vec<u8>) -> T {
        T::from(bytes)
    }
}
