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
    type Request = RepairRequest;
    type Response = RepairResponse;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<RepairRequest>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<RepairResponse>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        request: RepairRequest,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
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

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<T> {
    let fault = |fault| io::Error::new(io::ErrorKind::InvalidData, fault);
    let bytes = read_only_frame(io, REPAIR_BYTES_MAX).await.map_err(|error| match error {
        FrameError::Io(error) => error,
        FrameError::Truncated => io::ErrorKind::UnexpectedEof.into(),
        other => fault(RepairFault::Frame(other)),
    })?;
    decode(&bytes, REPAIR_BYTES_MAX).map_err(|error| fault(RepairFault::Content(error)))
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
        block_on(RepairCodec.write_request(&StreamProtocol::new("/x"), &mut io, request)).unwrap();
        io.into_inner()
    }

    fn read_request(bytes: Vec<u8>) -> io::Result<RepairRequest> {
        block_on(RepairCodec.read_request(&StreamProtocol::new("/x"), &mut Cursor::new(bytes)))
    }

    #[test]
    fn a_request_round_trips() {
        let request = RepairRequest::Fetch(Fetch { documents: vec![], bodies: vec![], broken: vec![] });
        assert_eq!(read_request(written(request.clone())).unwrap(), request);
    }

    #[test]
    fn what_breaks_a_rule_is_a_fault_and_what_ends_early_is_not() {
        let good = written(RepairRequest::Fetch(Fetch { documents: vec![], bodies: vec![], broken: vec![] }));
        let fault = |bytes: Vec<u8>| RepairFault::find(&read_request(bytes).unwrap_err()).is_some();
        let mut trailing = good.clone();
        trailing.push(0);
        assert!(fault(trailing));
        assert!(fault(length_prefix(REPAIR_BYTES_MAX + 1)));
        assert!(fault(vec![0x80, 0x00]));
        assert!(fault(vec![0x02, 0xF6, 0xF6]));
        let response = encode(&RepairResponse::Taken(Taken {})).unwrap();
        assert!(fault([length_prefix(response.len()), response].concat()), "another type's bytes");
        for end in 0..good.len() {
            assert!(!fault(good[..end].to_vec()), "cut after {end}");
        }
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
