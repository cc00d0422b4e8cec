//! Charters and key sets with the state that follows from each set of them.

use std::sync::Arc;

use refpoint_protocol::{
    document::Verified,
    evidence::AnyDocument,
    ids::{Generation, Incarnation, KeySetId},
    membership::{
        KeyState, Membership, SignerStanding, Trust,
        charter::{Charter, MemberStatus, root_hash},
        key_set::{KeySet, NodeState, Opening, Rotation},
    },
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    cast::{Cast, at, entry, key, listing, member, named, node, public, root, root_key},
    settlements,
};

/// Documents, and what some of them together mean.
pub(super) fn vectors() -> Value {
    let cast = Cast::new();
    let documents = documents(&cast);
    let states: Vec<Value> = STATES
        .iter()
        .map(|(name, rules, held)| {
            let trust = holding(&cast, &documents, held);
            state(name, rules, held, &trust)
        })
        .collect();
    json!({
        "about": "Documents by name, and the state of a node that holds some of them, in whatever order they came. A \
                  node key's `state` is what its member's key sets and the charter say; `worth` is what its signature \
                  under something created at that time is worth.",
        "federation": cast.federation,
        "documents": documents.iter().map(|(name, document)| named(name, document.id(), document.envelope())).collect::<Vec<_>>(),
        "states": states,
        "refused": [refused(&cast, &documents), misplaced(&cast, &documents)],
    })
}

type Documents = Vec<(&'static str, AnyDocument)>;

/// A state's name, the rules that it shows, and what is held.
type State = (&'static str, &'static [&'static str], &'static [&'static str]);

const STATES: [State; 20] = [
    ("a founding", &[], &["version 1"]),
    ("a founding with a key set", &[], &["version 1", "KE 0"]),
    ("an admission", &[], &["version 1", "version 2", "KE 0"]),
    (
        "two tips: KE is suspended by one, JO admitted and FR's root replaced by the other",
        &["CH-20", "CH-21"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "KE 0", "FR 0"],
    ),
    (
        "a merge ends it: FR's first key set counts no more",
        &["KS-14"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "version 4", "KE 0", "FR 0"],
    ),
    ("node 0 retired, node 1 in its place", &[], &["version 1", "KE 0", "KE 1 a"]),
    (
        "two key-set tips: only what both list alike is valid",
        &["KS-12"],
        &["version 1", "KE 0", "KE 1 a", "KE 1 b"],
    ),
    (
        "a key set that names both ends it; node 2 is left out",
        &["KS-13"],
        &["version 1", "KE 0", "KE 1 a", "KE 1 b", "KE 2"],
    ),
    (
        "the root is rotated on the base KE 1 a: what stands beside that is void",
        &["KS-17"],
        &["version 1", "KE 0", "KE 1 a", "KE 1 b", "KE rotated 0 a"],
    ),
    (
        "the revealed root signs the next key set",
        &["KS-17"],
        &["version 1", "KE 0", "KE 1 a", "KE rotated 0 a", "KE rotated 1"],
    ),
    (
        "two rotations of one generation: no key is valid",
        &["KS-18"],
        &["version 1", "KE 0", "KE 1 a", "KE rotated 0 a", "KE rotated 0 b"],
    ),
    (
        "eight key sets of which none names another: not broken, and node 0 is in all of them",
        &["KS-12"],
        &["version 1", "KE 0", "KE x0", "KE x1", "KE x2", "KE x3", "KE x4", "KE x5", "KE x6", "KE x7"],
    ),
    (
        "nine of them: the generation is broken and none of its keys valid",
        &["KS-11"],
        &[
            "version 1",
            "KE 0",
            "KE x0",
            "KE x1",
            "KE x2",
            "KE x3",
            "KE x4",
            "KE x5",
            "KE x6",
            "KE x7",
            "KE x8",
        ],
    ),
    (
        "broken by a key set that names another and not all that the other names",
        &["KS-11"],
        &["version 1", "KE 0", "KE 1 a", "KE forgetful"],
    ),
    (
        "broken by a key set with no higher epoch than one that it names",
        &["KS-11"],
        &["version 1", "KE 0", "KE 1 a", "KE level"],
    ),
    (
        "version 3 a is settled: 3 b, FR's key set by it, and the merge of both are evidence and not applied",
        &["SE-08"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "version 4", "KE 0", "FR 1", "3 a settled"],
    ),
    (
        "the merge is settled: both sides of it count",
        &["SE-08", "SE-11"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "version 4", "3 a settled", "4 settled"],
    ),
    (
        "members of version 3 b are counted, which is not settled",
        &["SE-09"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "version 4 b", "4 b settled by 3 b"],
    ),
    (
        "3 a and 3 b are settled, which contradicts: neither counts, and BR and FR are named",
        &["SE-10"],
        &["version 1", "version 2", "version 3 a", "version 3 b", "3 a settled", "3 b settled"],
    ),
    (
        "a settlement of version 2 says less than one of version 3 a",
        &["SE-11"],
        &["version 1", "version 2", "version 3 a", "2 settled", "3 a settled"],
    ),
];

fn documents(cast: &Cast) -> Documents {
    let [br, fr, sg] = ["BR", "FR", "SG"].map(root);
    let first = Arc::clone(&cast.founding);
    let second = cast.successor(&[&first], &[&br, &fr, &root("X-LO")], |charter| {
        charter.members.push(listing("X-LO"));
    });
    let third_a = cast.successor(&[&second], &[&br, &fr, &root("KE"), &sg], |charter| {
        charter.stewards = ["BR", "FR", "SG"].map(member).to_vec();
        entry_of(charter, "KE").status = MemberStatus::Suspended;
    });
    let new = key("FR new root");
    let third_b = cast.successor(&[&second], &[&br, &root("KE"), &root("JO"), &new], |charter| {
        charter.members.push(listing("JO"));
        let entry = entry_of(charter, "FR");
        entry.root = root_key(&new);
        entry.incarnation = Incarnation(1);
    });
    let merge =
        cast.successor(&[&third_a, &third_b], &[&br, &fr, &new, &root("KE"), &sg, &root("JO")], |charter| {
            charter.members.push(listing("JO"));
            let entry = entry_of(charter, "FR");
            entry.root = root_key(&new);
            entry.incarnation = Incarnation(1);
        });
    let fourth_b = cast.successor(&[&third_b], &[&br, &root("KE")], |_| {});
    let settles = |base: &Arc<Verified<Charter>>, version: &Arc<Verified<Charter>>, codes: &[&str]| {
        AnyDocument::Settlement(settlements::certificate(cast, base, version, codes))
    };
    let mut fr_one = cast.key_set("FR", &third_b);
    (fr_one.incarnation, fr_one.nodes) = (Incarnation(1), vec![entry(0, &node("FR", 1))]);
    let fr_one = cast.verified(&fr_one, &[&new]);
    let zero = cast.verified(&cast.key_set("KE", &first), &[&root("KE")]);
    let retired = |set: &mut KeySet, since: Timestamp| {
        set.nodes[0].state = NodeState::Retired;
        set.nodes[0].since = Some(since);
        set.nodes.push(entry(0, &node("KE", 1)));
    };
    let one_a = cast.next_key_set(&[&zero], |set| retired(set, at(3_600)));
    let one_b = cast.next_key_set(&[&zero], |set| {
        retired(set, at(7_200));
        set.nodes.push(entry(1, &node("KE", 2)));
    });
    let two = cast.next_key_set(&[&one_a, &one_b], |set| {
        set.nodes.retain(|entry| entry.key != public(&node("KE", 2)));
    });
    let charter = |document: &Arc<Verified<Charter>>| AnyDocument::Charter(Arc::clone(document));
    let key_set = |document: &Arc<Verified<KeySet>>| AnyDocument::KeySet(Arc::clone(document));
    let (rotated_a, rotated_b) = (cast.rotation("KE", &one_a, 1), cast.rotation("KE", &one_a, 2));
    let rotated_on = cast.after_rotation("KE", &rotated_a, 3);
    // Side by side: each names the first alone.
    let beside = (0..9).map(|number| {
        let next = cast.next_key_set(&[&zero], |set| set.issued = at(90_000 + number));
        (BESIDE[number as usize], key_set(&next))
    });
    // Two names, as its epoch asks for, and neither of them is the first key set's.
    let forgetful = cast.next_key_set(&[&one_a], |set| {
        set.ancestors = vec![one_a.id().into(), KeySetId::from_bytes([7; 32])];
        set.ancestors.sort_unstable();
    });
    let level = cast.next_key_set(&[&zero, &one_a], |set| set.epoch = one_a.payload().epoch);
    let mut documents = vec![
        ("version 1", charter(&first)),
        ("version 2", charter(&second)),
        ("version 3 a", charter(&third_a)),
        ("version 3 b", charter(&third_b)),
        ("version 4", charter(&merge)),
        ("KE 0", key_set(&zero)),
        ("KE 1 a", key_set(&one_a)),
        ("KE 1 b", key_set(&one_b)),
        ("KE 2", key_set(&two)),
        ("KE rotated 0 a", key_set(&rotated_a)),
        ("KE rotated 0 b", key_set(&rotated_b)),
        ("KE rotated 1", key_set(&rotated_on)),
        ("KE forgetful", key_set(&forgetful)),
        ("KE level", key_set(&level)),
        ("FR 0", key_set(&cast.verified(&cast.key_set("FR", &first), &[&root("FR")]))),
    ];
    documents.extend(beside);
    documents.extend([
        ("version 4 b", charter(&fourth_b)),
        ("FR 1", key_set(&fr_one)),
        ("2 settled", settles(&first, &second, &["BR", "FR", "SG"])),
        ("3 a settled", settles(&first, &third_a, &["BR", "FR", "SG"])),
        ("3 b settled", settles(&first, &third_b, &["BR", "FR", "KE"])),
        ("4 settled", settles(&first, &merge, &["BR", "FR", "SG"])),
        ("4 b settled by 3 b", settles(&third_b, &fourth_b, &["BR", "JO", "KE", "SG", "X-LO"])),
    ]);
    documents
}

/// A version that names two parents of which one descends from the other.
fn refused(cast: &Cast, documents: &Documents) -> Value {
    let held = ["version 1", "version 2"];
    let mut trust = holding(cast, documents, &held);
    let parents = held.map(|name| match &documents.iter().find(|(other, _)| *other == name).unwrap().1 {
        AnyDocument::Charter(charter) => Arc::clone(charter),
        _ => panic!("{name} is no charter version"),
    });
    let [br, fr, lo] = ["BR", "FR", "X-LO"].map(root);
    let version = cast.successor(&[&parents[0], &parents[1]], &[&br, &fr, &lo], |charter| {
        charter.members.push(listing("X-LO"));
    });
    let name = "a version that names version 2 and, beside it, version 1";
    let error = trust.accept_charter(Arc::clone(&version)).unwrap_err();
    assert_eq!(error.rule(), "CH-13");
    json!({
        "rule": "CH-13",
        "held": held,
        "document": named(name, version.id(), version.envelope()),
    })
}

/// A rotation to generation 2 whose named rotation is no rotation.
fn misplaced(cast: &Cast, documents: &Documents) -> Value {
    let held = ["version 1", "KE 0", "KE 1 a", "KE rotated 0 a", "KE rotated 1"];
    let mut trust = holding(cast, documents, &held);
    let key_set = |name: &str| match &documents.iter().find(|(other, _)| *other == name).unwrap().1 {
        AnyDocument::KeySet(set) => Arc::clone(set),
        _ => panic!("{name} is no key set"),
    };
    let third = key("KE third root");
    let mut set = key_set("KE rotated 0 a").payload().clone();
    set.generation = Generation(2);
    set.rotation = Some(Rotation::Opens(Opening {
        alg: refpoint_protocol::document::Signature::ED25519,
        root: root_key(&third),
        next: root_hash(&root_key(&key("KE fourth root"))),
        after: Some(key_set("KE rotated 1").id().into()),
        base: Some(key_set("KE rotated 1").id().into()),
    }));
    let rotation = cast.verified(&set, &[&third]);
    let error = trust.accept_key_set(Arc::clone(&rotation)).unwrap_err();
    assert_eq!(error.rule(), "KS-16");
    json!({
        "rule": "KS-16",
        "held": held,
        "document": named("a rotation that names as the one before what is none", rotation.id(), rotation.envelope()),
    })
}

const BESIDE: [&str; 9] = ["KE x0", "KE x1", "KE x2", "KE x3", "KE x4", "KE x5", "KE x6", "KE x7", "KE x8"];

fn entry_of<'a>(
    charter: &'a mut Charter,
    code: &str,
) -> &'a mut refpoint_protocol::membership::charter::MemberEntry {
    charter.members.iter_mut().find(|entry| entry.code.as_str() == code).unwrap()
}

fn holding(cast: &Cast, documents: &Documents, held: &[&str]) -> Trust {
    let mut trust = Trust::new(cast.federation);
    for name in held {
        let (_, document) = documents.iter().find(|(other, _)| other == name).unwrap();
        match document {
            AnyDocument::Charter(charter) => trust.accept_charter(Arc::clone(charter)).map(drop).unwrap(),
            AnyDocument::KeySet(set) => trust.accept_key_set(Arc::clone(set)).map(drop).unwrap(),
            AnyDocument::Settlement(it) => trust.accept_settlement(Arc::clone(it)).map(drop).unwrap(),
            AnyDocument::NodeRecord(_) | AnyDocument::ReferencePoint(_) => panic!("no headers here"),
        }
    }
    trust
}

fn state(name: &str, rules: &[&str], held: &[&str], trust: &Trust) -> Value {
    let view = trust.membership();
    let members: Vec<Value> = view
        .members()
        .map(|member| {
            json!({
                "code": member.code.as_str(),
                "status": member.status,
                "incarnation": member.incarnation,
                "root": member.root,
                "key_set_tips": member.key_sets,
                "generation": member.generation,
                "rotated_root": member.rotated_root,
            })
        })
        .collect();
    json!({
        "name": name,
        "rules": rules,
        "held": held,
        "broken": trust.broken_generations().map(|broken| broken.member.as_str().to_owned()).collect::<Vec<_>>(),
        "version": view.version(),
        "tips": view.tips(),
        "base": view.base(),
        "settled": view.settled(),
        "ignored": view.ignored(),
        "contradicting": view.contradicting(),
        "counted_for_several": trust.counted_for_several().iter().map(|code| code.as_str().to_owned()).collect::<Vec<_>>(),
        "settlements": trust.settlements().map(|held| held.span()).collect::<Vec<_>>(),
        "stewards": view.stewards().iter().map(|code| code.as_str()).collect::<Vec<_>>(),
        "threshold": view.threshold(),
        "double_signers": trust.double_signers().iter().map(|code| code.as_str().to_owned()).collect::<Vec<_>>(),
        "members": members,
        "nodes": (0..4).filter_map(|number| standing(&view, number)).collect::<Vec<_>>(),
    })
}

/// What is said of one of KE's nodes.
fn standing(view: &Membership, number: u8) -> Option<Value> {
    let (ke, key) = (member("KE"), public(&node("KE", number)));
    let standing = view.node_of(&ke, &key)?;
    let worth: Vec<Value> = [1_800, 90_000]
        .iter()
        .map(|seconds| json!({ "created": at(*seconds), "is": worth(view.signer_standing(&ke, &key, at(*seconds))) }))
        .collect();
    Some(json!({
        "member": "KE",
        "key": key,
        "state": state_name(standing.state),
        "key_set": KeySetId::from_bytes(*standing.key_set.as_bytes()),
        "worth": worth,
    }))
}

const fn state_name(state: KeyState) -> &'static str {
    match state {
        KeyState::Active => "active",
        KeyState::Retired { .. } => "retired",
        KeyState::LeftOut { .. } => "left out",
        KeyState::Compromised { .. } => "compromised",
        KeyState::Disputed => "disputed",
        KeyState::MemberSuspended => "member suspended",
        KeyState::MemberWithdrawn => "member withdrawn",
        KeyState::RootReplaced => "root replaced",
        KeyState::RootDisputed => "root disputed",
        KeyState::AwaitingAdmission => "awaiting admission",
    }
}

const fn worth(standing: SignerStanding) -> &'static str {
    match standing {
        SignerStanding::Accepted => "counts",
        SignerStanding::Unproven(_) => "unproven",
        SignerStanding::Rejected(_) => "does not count",
        SignerStanding::Unknown => "unknown",
    }
}
