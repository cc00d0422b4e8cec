//! The form of charters, key sets and joining requests: each rule broken once, and the way to bytes and back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::{
    charter::{Charter, MemberEntry, MemberKind, MemberStatus, Refounded, WorkingGroup, root_hash},
    key_set::{KeySet, NodeEntry, NodeState, Opening, Rotation},
    request::JoiningRequest,
};
use crate::{
    document::{Payload, decode, encode},
    ids::{
        CharterId, CharterVersion, ContentHash, Epoch, FederationId, Generation, Incarnation, KeySetId,
        NodeKey, RootKey,
    },
    testing::{FOUNDED, Federation, node_key},
    time::Timestamp,
};

fn tips_of(charter: &mut Charter) -> &mut Vec<CharterId> {
    &mut charter.refounds.as_mut().unwrap().tips
}

/// A rule, and what breaks it.
type Break<T> = (&'static str, fn(&mut T));

#[test]
fn charters_out_of_form_are_refused() {
    let founding = Federation::new(1, &["BR", "FR", "JO", "KE"], 1).founding.payload().clone();
    assert_eq!(founding.check_form(), Ok(()));
    let mut again = founding.clone();
    let tips = [1, 2].map(|byte| CharterId::from_bytes([byte; 32])).to_vec();
    again.refounds = Some(Refounded { federation: FederationId::from_bytes([3; 32]), tips });
    assert_eq!(again.check_form(), Ok(()));
    let again_breaks: [Break<Charter>; 4] = [
        ("CH-02", |c| tips_of(c).reverse()),
        ("CH-02", |c| tips_of(c).clear()),
        ("CH-02", |c| *tips_of(c) = vec![CharterId::from_bytes([1; 32]); 2]),
        ("CH-02", |c| *tips_of(c) = (0..17).map(|byte| CharterId::from_bytes([byte; 32])).collect()),
    ];
    for (rule, breaks) in again_breaks {
        broken(&again, rule, breaks);
    }
    let mut second = founding.clone();
    second.version = CharterVersion(2);
    second.nonce = None;
    second.parents = vec![CharterId::from_bytes([1; 32])];
    assert_eq!(second.check_form(), Ok(()));

    let founding_breaks: [Break<Charter>; 15] = [
        ("CH-01", |c| c.version = CharterVersion(0)),
        ("CH-01", |c| c.nonce = None),
        ("CH-01", |c| c.parents = vec![CharterId::from_bytes([1; 32])]),
        ("CH-01", |c| c.version = CharterVersion(2)),
        ("CH-03", |c| c.members.swap(0, 1)),
        ("CH-03", |c| c.members.clear()),
        ("CH-04", |c| c.members[1].root = c.members[0].root),
        ("CH-05", |c| c.members[3].alg = 2),
        ("CH-06", |c| c.members[3].kind = MemberKind::Bureau),
        ("CH-07", |c| c.members[3].next = root_hash(&c.members[3].root)),
        ("CH-10", |c| c.members[3].incarnation = Incarnation(1)),
        ("CH-10", |c| c.members[3].status = MemberStatus::Suspended),
        ("CH-08", |c| c.stewards.swap(0, 1)),
        ("CH-08", |c| c.stewards.truncate(2)),
        ("CH-08", |c| c.stewards[2] = "ZZ".parse().unwrap()),
    ];
    for (rule, breaks) in founding_breaks {
        broken(&founding, rule, breaks);
    }
    let second_breaks: [Break<Charter>; 6] = [
        ("CH-01", |c| {
            let (federation, tips) = (FederationId::from_bytes([3; 32]), c.parents.clone());
            c.refounds = Some(Refounded { federation, tips });
        }),
        ("CH-02", |c| c.parents = [2, 1].map(|byte| CharterId::from_bytes([byte; 32])).to_vec()),
        ("CH-02", |c| c.parents.push(c.parents[0])),
        ("CH-02", |c| c.parents = (0..17).map(|byte| CharterId::from_bytes([byte; 32])).collect()),
        ("CH-03", |c| c.members.push(c.members[3].clone())),
        ("CH-08", |c| c.members[0].status = MemberStatus::Suspended),
    ];
    for (rule, breaks) in second_breaks {
        broken(&second, rule, breaks);
    }
}

#[test]
fn a_threshold_is_a_true_majority_and_not_everybody() {
    let mut charter = Federation::new(1, &["BR", "FR", "JO", "KE", "SG"], 1).founding.payload().clone();
    let allowed = |charter: &mut Charter, stewards: usize| {
        charter.stewards = charter.members.iter().take(stewards).map(|entry| entry.code.clone()).collect();
        let mut allowed = Vec::new();
        for threshold in 0..8 {
            charter.threshold = threshold;
            match charter.check_form() {
                Ok(()) => allowed.push(threshold),
                Err(error) => assert_eq!(error.rule, "CH-09"),
            }
        }
        allowed
    };
    assert_eq!(allowed(&mut charter, 3), [2]);
    assert_eq!(allowed(&mut charter, 4), [3]);
    assert_eq!(allowed(&mut charter, 5), [3, 4]);
}

#[test]
fn one_key_under_two_codes_is_refused() {
    let mut charter = Federation::new(1, &["BR", "FR", "JO", "KE"], 1).founding.payload().clone();
    charter.members[3].root = charter.members[1].root;
    assert_eq!(charter.check_form().unwrap_err().rule, "CH-04");
}

#[test]
fn key_sets_out_of_form_are_refused() {
    let federation = Federation::new(1, &["BR", "FR", "JO"], 2);
    let first = federation.unit("BR").key_set.payload().clone();
    assert_eq!(first.check_form(), Ok(()));
    let breaks: [Break<KeySet>; 19] = [
        ("KS-07", |s| s.generation = Generation(7)),
        ("KS-07", |s| s.rotation = Some(Rotation::Follows(KeySetId::from_bytes([1; 32])))),
        ("KS-07", |s| s.rotation = Some(Rotation::Opens(opening()))),
        ("KS-01", |s| s.nodes.swap(0, 1)),
        ("KS-01", |s| s.nodes[1] = s.nodes[0].clone()),
        ("KS-01", |s| s.nodes = vec![s.nodes[0].clone(); 9]),
        ("KS-02", |s| s.nodes[0].alg = 9),
        ("KS-03", |s| s.nodes[0].since = Some(FOUNDED)),
        ("KS-03", |s| s.nodes[0].state = NodeState::Retired),
        ("KS-03", |s| s.nodes[0].state = NodeState::Compromised),
        ("KS-04", |s| s.ancestors = ids(385)),
        ("KS-04", |s| s.ancestors = vec![KeySetId::from_bytes([1; 32]); 2]),
        ("KS-05", |s| s.epoch = Epoch(1)),
        ("KS-05", |s| s.ancestors = ids(1)),
        ("KS-05", |s| (s.epoch, s.ancestors) = (Epoch(3), ids(2))),
        ("KS-06", |s| s.review = s.issued.before(core::time::Duration::from_secs(1))),
        ("KS-07", |s| s.generation = Generation(1)),
        ("KS-05", |s| (s.epoch, s.ancestors) = (Epoch(0), ids(2))),
        ("KS-04", |s| (s.epoch, s.ancestors) = (Epoch(2), ids(2).into_iter().rev().collect())),
    ];
    for (rule, breaks) in breaks {
        broken(&first, rule, breaks);
    }
    let mut rotated = first.clone();
    (rotated.generation, rotated.rotation) = (Generation(1), Some(Rotation::Opens(opening())));
    assert_eq!(rotated.check_form(), Ok(()));
    let rotation_breaks: [Break<KeySet>; 6] = [
        ("KS-07", |s| s.generation = Generation(2)),
        ("KS-07", |s| (s.epoch, s.ancestors) = (Epoch(1), ids(1))),
        ("KS-07", |s| s.rotation = Some(Rotation::Follows(KeySetId::from_bytes([0; 32])))),
        ("KS-07", |s| {
            s.rotation = Some(Rotation::Opens(Opening {
                after: s.ancestors.first().copied().or(Some(KeySetId::from_bytes([1; 32]))),
                ..opening()
            }))
        }),
        ("KS-07", |s| {
            s.rotation = Some(Rotation::Opens(Opening { next: root_hash(&opening().root), ..opening() }))
        }),
        ("KS-02", |s| s.rotation = Some(Rotation::Opens(Opening { alg: 9, ..opening() }))),
    ];
    for (rule, breaks) in rotation_breaks {
        broken(&rotated, rule, breaks);
    }
    (rotated.epoch, rotated.ancestors) = (Epoch(1), ids(1));
    rotated.rotation = Some(Rotation::Follows(ids(1)[0]));
    assert_eq!(rotated.check_form(), Ok(()));
    broken(&rotated, "KS-07", |s| s.generation = Generation(0));
    broken(&rotated, "KS-05", |s| s.epoch = Epoch(0));
    rotated.rotation = Some(Rotation::Follows(KeySetId::from_bytes([9; 32])));
    assert_eq!(rotated.check_form().unwrap_err().rule, "KS-07", "a rotation is a named ancestor");
    let mut later = first;
    (later.epoch, later.ancestors) = (Epoch(2), ids(3));
    assert_eq!(later.check_form(), Ok(()), "more than one key set of an epoch may be named");
}

fn opening() -> Opening {
    let (alg, root, next) =
        (1, crate::ids::RootKey::from_bytes([3; 32]), crate::ids::ContentHash::from_bytes([4; 32]));
    Opening { alg, root, next, after: None, base: None }
}

#[test]
fn joining_requests_out_of_form_are_refused() {
    let federation = Federation::new(1, &["BR", "FR", "JO"], 1);
    let unit = federation.unit("BR");
    let entry = federation.first_entry(&unit.code);
    let good = JoiningRequest {
        member: unit.code.clone(),
        kind: entry.kind,
        group: entry.group,
        alg: entry.alg,
        root: entry.root,
        next: entry.next,
        node: node_key(&unit.nodes[0]),
        addresses: vec!["node.br.example:4001".into(), "[2001:db8::1]:4001".into()],
        created: FOUNDED,
    };
    assert_eq!(good.check_form(), Ok(()));
    let breaks: [Break<JoiningRequest>; 9] = [
        ("JR-01", |r| r.kind = MemberKind::Bureau),
        ("JR-02", |r| r.alg = 2),
        ("JR-03", |r| r.next = root_hash(&r.root)),
        ("JR-04", |r| r.node = NodeKey::from_bytes(*r.root.as_bytes())),
        ("JR-05", |r| r.addresses = vec!["a:1".into(); 9]),
        ("JR-05", |r| r.addresses = vec!["no-port".into()]),
        ("JR-05", |r| r.addresses = vec![":4001".into()]),
        ("JR-05", |r| r.addresses = vec!["host:65536".into()]),
        ("JR-05", |r| r.addresses = vec!["host name:1".into()]),
    ];
    for (rule, breaks) in breaks {
        broken(&good, rule, breaks);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn charters_survive_the_way_to_bytes_and_back(charter in charters()) {
        let bytes = encode(&charter).unwrap();
        prop_assert_eq!(decode::<Charter>(&bytes, Charter::BYTES_MAX), Ok(charter));
    }

    #[test]
    fn key_sets_survive_the_way_to_bytes_and_back(set in key_sets()) {
        let bytes = encode(&set).unwrap();
        prop_assert_eq!(decode::<KeySet>(&bytes, KeySet::BYTES_MAX), Ok(set));
    }

    #[test]
    fn forms_are_checked_without_a_panic(charter in charters(), set in key_sets()) {
        let _ = (charter.check_form(), set.check_form());
    }
}

fn broken<T: Payload + Clone + std::fmt::Debug>(good: &T, rule: &str, breaks: fn(&mut T)) {
    let mut bad = good.clone();
    breaks(&mut bad);
    assert_eq!(bad.check_form().map_err(|error| error.rule), Err(rule), "{bad:?}");
}

fn ids(count: u64) -> Vec<KeySetId> {
    let id = |index: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&index.to_be_bytes());
        KeySetId::from_bytes(bytes)
    };
    (0..count).map(id).collect()
}

prop_compose! {
    fn entries()(
        code in "[A-Z]{2}|X-[A-Z0-9-]{1,16}",
        bytes in any::<([u8; 32], [u8; 32])>(),
        numbers in (0_u64..9, 0_u64..4, 0_usize..3, 0_usize..4, any::<bool>()),
    ) -> MemberEntry {
        let statuses = [MemberStatus::Active, MemberStatus::Suspended, MemberStatus::Withdrawn];
        let groups =
            [WorkingGroup::Africa, WorkingGroup::Americas, WorkingGroup::Eurasia, WorkingGroup::Mena];
        MemberEntry {
            code: code.parse().unwrap(),
            kind: if numbers.4 { MemberKind::Country } else { MemberKind::Bureau },
            incarnation: Incarnation(numbers.0),
            alg: numbers.1,
            root: RootKey::from_bytes(bytes.0),
            next: ContentHash::from_bytes(bytes.1),
            status: statuses[numbers.2],
            group: groups[numbers.3],
        }
    }
}

prop_compose! {
    fn charters()(
        version in 0_u64..1 << 53,
        nonce in any::<Option<[u8; 32]>>(),
        refounds in any::<Option<([u8; 32], Vec<[u8; 32]>)>>(),
        parents in proptest::collection::vec(any::<[u8; 32]>(), 0..4),
        threshold in 0_u64..1 << 53,
        members in proptest::collection::vec(entries(), 0..6),
        stewards in 0_usize..6,
    ) -> Charter {
        Charter {
            version: CharterVersion(version),
            nonce: nonce.map(ContentHash::from_bytes),
            refounds: refounds.map(|(federation, tips)| Refounded {
                federation: FederationId::from_bytes(federation),
                tips: tips.into_iter().map(CharterId::from_bytes).collect(),
            }),
            parents: parents.into_iter().map(CharterId::from_bytes).collect(),
            threshold,
            stewards: members.iter().take(stewards).map(|entry| entry.code.clone()).collect(),
            members,
        }
    }
}

prop_compose! {
    fn key_sets()(
        member in "[A-Z]{2}",
        charter in any::<[u8; 32]>(),
        numbers in (0_u64..5, 0_u64..5, 0_u64..5, 0_u64..1 << 53, 0_u64..1 << 53),
        ancestors in proptest::collection::vec(any::<[u8; 32]>(), 0..5),
        nodes in proptest::collection::vec(
            (any::<[u8; 32]>(), 0_u64..9, 0_usize..3, any::<Option<u32>>(), any::<Option<[u8; 32]>>()),
            0..5,
        ),
    ) -> KeySet {
        let states = [NodeState::Active, NodeState::Retired, NodeState::Compromised];
        let entry = |(key, rank, state, since, header): (_, _, usize, Option<u32>, Option<[u8; 32]>)| NodeEntry {
            alg: 1,
            key: NodeKey::from_bytes(key),
            rank,
            state: states[state],
            since: since.map(|since| Timestamp::from_millis(since.into())),
            node_record: header.map(crate::ids::HeaderId::from_bytes),
            reference_point: None,
        };
        KeySet {
            member: member.parse().unwrap(),
            charter: CharterId::from_bytes(charter),
            incarnation: Incarnation(numbers.0),
            generation: Generation(numbers.1),
            epoch: Epoch(numbers.2),
            ancestors: ancestors.into_iter().map(KeySetId::from_bytes).collect(),
            issued: Timestamp::from_millis(numbers.3),
            review: Timestamp::from_millis(numbers.4),
            nodes: nodes.into_iter().map(entry).collect(),
            rotation: None,
        }
    }
}
