//! A running node under attack, as a process: what the harness of `scripts/attacks` does, each for a moment. Whatever
//! comes, the node lives, honest messages arrive, and a member that breaks rules is named.

#[path = "../examples/faults/arena.rs"]
mod arena;
#[expect(dead_code, reason = "its table is for the script alone")]
#[path = "../examples/faults/attacks.rs"]
mod catalog;
#[path = "../examples/faults/chain.rs"]
mod chain;
#[expect(dead_code, reason = "faults stop and freeze nodes, attacks do not")]
#[path = "../examples/faults/fleet.rs"]
mod fleet;
#[path = "../examples/faults/members.rs"]
mod members;
#[path = "../examples/faults/peer.rs"]
mod peer;
#[path = "../examples/faults/replays.rs"]
mod replays;

use std::{path::Path, time::Duration};

use self::{arena::Arena, catalog::Attack, replays::Replay};

async fn opened() -> (Arena, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let arena = Arena::open(Path::new(env!("CARGO_BIN_EXE_refpoint")), folder.path()).await;
    (arena.unwrap_or_else(|error| panic!("{error:#}")), folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_attack_lives_and_serves_and_names_the_member_that_breaks_rules() {
    let (mut arena, _folder) = opened().await;
    // That two nodes' contradictions end in one view takes repairs, each a minute: scripts/attacks waits for them.
    for attack in Attack::ALL.into_iter().filter(|attack| *attack != Attack::TwoNodes) {
        let before = arena.faults().await.unwrap();
        let attacked = arena.during(attack.run(&arena, Duration::from_secs(2))).await;
        let ((), measured) = attacked.unwrap_or_else(|error| panic!("{}: {error:#}", attack.name()));
        assert!(measured.delivered > 1, "{}", attack.name());
        assert!(measured.grown_megabytes < 64.0, "{}: {measured:?}", attack.name());
        let seen = attack.look(&arena, &before).await;
        seen.unwrap_or_else(|error| panic!("{}: {error:#}", attack.name()));
    }
    assert!(!arena.fleet.members_mut()[0].has_ended().unwrap());
    arena.fleet.stop_all().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn past_advisories_of_the_libraries_stop_no_node() {
    let (mut arena, _folder) = opened().await;
    for replay in Replay::ALL {
        let played = arena.during(replay.play(&arena)).await;
        let ((), measured) = played.unwrap_or_else(|error| panic!("{}: {error:#}", replay.name()));
        assert!(measured.delivered > 1, "{}", replay.name());
        assert!(measured.grown_megabytes < 64.0, "{}: {measured:?}", replay.name());
    }
    assert!(!arena.fleet.members_mut()[0].has_ended().unwrap());
    arena.fleet.stop_all().await.unwrap();
}

/// What the harness says of its progress: for whoever runs a test alone.
#[expect(clippy::print_stderr, reason = "a test's progress")]
fn say(what: &str) {
    eprintln!("{what}");
}
