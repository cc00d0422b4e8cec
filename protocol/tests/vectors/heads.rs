//! Heads among the documents: good ones, and bad ones with the rule that refuses each.

use refpoint_protocol::{
    document::{Verified, encode},
    heads::{Head, JournalPosition},
    ids::{HeadId, Sequence, TreeRoot},
    membership::charter::Charter,
};

use super::cast::{Cast, at, hash, member, node, public};

/// A head of Kenya's node.
pub(super) fn head(cast: &Cast, number: u64) -> Head {
    Head {
        member: member("KE"),
        node: public(&node("KE", 0)),
        run: at(0),
        number: Sequence(number),
        previous: (number > 0).then(|| HeadId::from_bytes([0x48; 32])),
        time: at(20 + 300 * number),
        charter: vec![cast.founding.id().into()],
        digest: hash(b"roots"),
        journal: (number > 0).then(|| JournalPosition {
            began: at(0),
            size: 12 * number,
            root: TreeRoot::from_bytes([0x4A; 32]),
        }),
    }
}

/// The head of a member's first node that names one version as its tip.
pub(super) fn head_of(cast: &Cast, code: &str, tip: &Verified<Charter>) -> Head {
    let (member, node) = (member(code), public(&node(code, 0)));
    Head { member, node, charter: vec![tip.id().into()], ..head(cast, 0) }
}

/// Bad ones: the rule, what is wrong, the envelope's bytes.
pub(super) fn bad(cast: &Cast) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let with = |rule, name, signer: &str, change: &dyn Fn(&mut Head)| {
        let mut head = head(cast, 7);
        change(&mut head);
        (rule, name, encode(&cast.signed(&head, &[&node(signer, 0)])).unwrap())
    };
    vec![
        with("HE-01", "a later head that names none before it", "KE", &|h| h.previous = None),
        with("HE-01", "a first head that names one before it", "KE", &|h| h.number = Sequence(0)),
        with("HE-02", "a charter tip twice", "KE", &|h| h.charter = vec![h.charter[0]; 2]),
        with("HE-02", "no charter tip", "KE", &|h| h.charter.clear()),
        with("HE-03", "signed before its run began", "KE", &|h| h.run = at(1_000_000)),
        with("HE-04", "signed by another node", "BR", &|_| {}),
    ]
}
