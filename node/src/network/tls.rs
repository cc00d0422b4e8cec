//! TLS 1.3 as libp2p defines it: one certificate a node for as long as it runs, and nothing to resume.
//!
//! A certificate binds a key of the process to the node key and says nothing else, so one serves every
//! connection. Sessions are neither stored nor offered, by either side: each connection is a full handshake
//! and rests on both node keys. Secrets go to no key log, whatever `SSLKEYLOGFILE` says.

use std::{io, net::Ipv4Addr, sync::Arc};

use futures::{AsyncRead, AsyncWrite};
use futures_rustls::{
    TlsAcceptor, TlsConnector,
    pki_types::ServerName,
    rustls::{NoKeyLog, client::Resumption, server::NoServerSessionStorage},
};
use libp2p::{
    PeerId,
    identity::Keypair,
    tls::{self, TlsStream, certificate},
};

/// This node's side of every handshake. Cheap to use from many connections at once.
pub(super) struct Tls {
    connector: TlsConnector,
    acceptor: TlsAcceptor,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Another version, no common cipher, a bad signature, or the end of the stream.
    #[error("{0}")]
    Handshake(#[from] io::Error),
    /// The other side showed not exactly one certificate.
    #[error("it showed no certificate, or several")]
    Certificates,
    /// Its certificate is not what libp2p asks for.
    #[error("its certificate is not libp2p's: {0}")]
    Certificate(#[from] certificate::ParseError),
}

impl Tls {
    /// Makes the node's certificates: one for its calls and one for its callers.
    ///
    /// # Errors
    /// When the node key cannot sign, or the system gives no randomness.
    pub(super) fn new(keypair: &Keypair) -> Result<Self, certificate::GenError> {
        let mut client = tls::make_client_config(keypair, None)?;
        client.resumption = Resumption::disabled();
        client.key_log = Arc::new(NoKeyLog);
        let mut server = tls::make_server_config(keypair)?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.key_log = Arc::new(NoKeyLog);
        Ok(Self { connector: Arc::new(client).into(), acceptor: Arc::new(server).into() })
    }

    /// Shakes hands with whom this node dialled, and says who it is.
    pub(super) async fn call<C>(&self, io: C) -> Result<(PeerId, TlsStream<C>), TlsError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        // libp2p's clients send no name; rustls sends none for an address.
        let nobody = ServerName::from(std::net::IpAddr::from(Ipv4Addr::UNSPECIFIED));
        named(self.connector.connect(nobody, io).await?.into())
    }

    /// Shakes hands with a caller, and says who it is.
    pub(super) async fn answer<C>(&self, io: C) -> Result<(PeerId, TlsStream<C>), TlsError>
    where
        C: AsyncRead + AsyncWrite + Unpin,
    {
        named(self.acceptor.accept(io).await?.into())
    }
}

/// The node key's peer id, as the handshake proved it.
fn named<C>(stream: TlsStream<C>) -> Result<(PeerId, TlsStream<C>), TlsError> {
    let Some([shown]) = stream.get_ref().1.peer_certificates() else { return Err(TlsError::Certificates) };
    let peer = certificate::parse(shown)?.peer_id();
    Ok((peer, stream))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use futures::{AsyncReadExt as _, AsyncWriteExt as _};
    use futures_rustls::rustls::HandshakeKind;
    use tokio_util::compat::TokioAsyncReadCompatExt as _;

    use super::*;

    #[tokio::test]
    async fn every_connection_is_a_full_handshake_although_the_certificate_stays() {
        let (dialler, listener) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
        let (calls, answers) = (Tls::new(&dialler).unwrap(), Tls::new(&listener).unwrap());
        let mut certificates = Vec::new();
        for _ in 0..3 {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let (called, answered) = futures::join!(calls.call(near.compat()), answers.answer(far.compat()));
            let ((who_answered, mut near), (who_called, mut far)) = (called.unwrap(), answered.unwrap());
            assert_eq!(who_answered, listener.public().to_peer_id());
            assert_eq!(who_called, dialler.public().to_peer_id());
            // What would be kept for a resumption comes with the first bytes.
            say(&mut near, &mut far).await;
            say(&mut far, &mut near).await;
            for stream in [&near, &far] {
                assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            }
            certificates.push(near.get_ref().1.peer_certificates().unwrap()[0].clone());
        }
        certificates.dedup();
        assert_eq!(certificates.len(), 1);
    }

    async fn say<C: AsyncRead + AsyncWrite + Unpin>(from: &mut TlsStream<C>, to: &mut TlsStream<C>) {
        let mut heard = [0; 4];
        let (said, read) = futures::join!(
            async {
                from.write_all(b"word").await?;
                from.flush().await
            },
            to.read_exact(&mut heard)
        );
        said.unwrap();
        read.unwrap();
        assert_eq!(&heard, b"word");
    }
}
