//! Heads: signed as a node's own parts sign them, passed on by gossip, and counted by their bytes.

use refpoint_protocol::{
    document::{Envelope, Kind, encode, sign},
    evidence::{push::Pushed, repair::Documents},
    heads::Head,
    machine::Input,
};

use super::{HOUR, Sim, event::Gossip, invariants};

impl Sim {
    /// Signs a head with the node's key, and hands it to the machine, which tells it to all.
    pub(crate) fn sign_head(&mut self, at: usize, head: &Head) {
        let envelope = sign(head, Some(self.federation), &[&self.nodes[at].signing]).unwrap();
        invariants::settlement::on_head_signed(self, at, head, envelope.id(Some(self.federation)));
        self.counts.add("head");
        self.hand(at, 0, Input::HeadSigned { envelope });
    }

    /// Counts a head that goes over a link, once the first hour is over: in that one everybody has just started.
    pub(crate) fn count_head(&mut self, gossip: &Gossip) {
        if let Some(bytes) = gossip.head_bytes.filter(|_| self.passed() >= HOUR) {
            self.counts.head_bytes += bytes;
        }
    }

    /// Counts the certificates among what a node hands out in a repair.
    pub(crate) fn count_certificates(&mut self, handed_out: &Documents) {
        for certificate in handed_out.envelopes.iter().filter(|it| it.kind == Kind::Settlement.name()) {
            self.counts.add("certificate-in-repair");
            self.count_certificate(certificate);
        }
    }

    /// Counts a certificate that goes over a link, as a head is.
    pub(crate) fn count_certificate(&mut self, certificate: &Envelope) {
        if self.passed() >= HOUR {
            self.counts.certificate_bytes += certificate.size() as u64;
        }
    }
}

/// Bytes of the gossip that carries a head; `None` of anything else.
pub(crate) fn pushed_bytes(document: &Envelope) -> Option<u64> {
    (document.kind == Kind::Head.name()).then(|| {
        let pushed = Pushed { document: document.clone(), body: None };
        encode(&pushed).unwrap().len() as u64
    })
}
