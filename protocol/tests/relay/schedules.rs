//! Random schedules of loss, doubling, cut links, crashes between effects and restored disks: every message ends
//! delivered once, or its sender knows why not.

use std::time::Duration;

use proptest::prelude::*;
use refpoint_protocol::{
    message::{body::Word, header::Precedence},
    relay::views::RecipientState,
    storage::Table,
};

use super::world::World;

const NAMES: [&str; 4] = ["BR", "JO", "KE1", "KE2"];

#[derive(Clone, Debug)]
enum Step {
    Submit { from: usize, to: usize, precedence: usize },
    Acknowledge { at: usize },
    Connect { a: usize, b: usize },
    Disconnect { a: usize, b: usize },
    Kill { at: usize },
    Start { at: usize },
    RestoreBackup { at: usize },
    NewKey { at: usize },
    Wait { seconds: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0..NAMES.len();
    prop_oneof![
        4 => (node.clone(), 0..3_usize, 0..4_usize).prop_map(|(from, to, precedence)| Step::Submit { from, to, precedence }),
        1 => node.clone().prop_map(|at| Step::Acknowledge { at }),
        4 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Connect { a, b }),
        2 => (node.clone(), node.clone()).prop_map(|(a, b)| Step::Disconnect { a, b }),
        1 => node.clone().prop_map(|at| Step::Kill { at }),
        2 => node.clone().prop_map(|at| Step::Start { at }),
        1 => node.clone().prop_map(|at| Step::RestoreBackup { at }),
        1 => node.prop_map(|at| Step::NewKey { at }),
        4 => (0..40_u64).prop_map(|seconds| Step::Wait { seconds }),
    ]
}

fn take(world: &mut World, backups: &mut [Option<super::world::Disk>; 4], step: &Step) {
    let members = ["BR", "JO", "KE"];
    match *step {
        Step::Submit { from, to, precedence } => {
            if world.is_up(NAMES[from]) && !NAMES[from].starts_with(members[to]) {
                world.submit(NAMES[from], &[members[to]], Precedence::ALL[precedence]);
            }
        }
        Step::Acknowledge { at } => {
            if world.is_up(NAMES[at])
                && let Some(view) = world.relay(NAMES[at]).inbox().first()
            {
                world.state(NAMES[at], view.id, Word::Acknowledged);
            }
        }
        Step::Connect { a, b } if a != b => world.connect(NAMES[a], NAMES[b]),
        Step::Disconnect { a, b } if a != b => world.disconnect(NAMES[a], NAMES[b]),
        Step::Connect { .. } | Step::Disconnect { .. } => {}
        Step::Kill { at } => {
            backups[at] = Some(world.nodes[NAMES[at]].disk.clone());
            world.kill(NAMES[at]);
        }
        Step::Start { at } => {
            if !world.is_up(NAMES[at]) {
                world.start(NAMES[at]);
            }
        }
        Step::RestoreBackup { at } => {
            // A recipient alone: a sender that loses its own outbox has lost what only it knew.
            if NAMES[at].starts_with("KE")
                && let Some(disk) = backups[at].take()
            {
                world.kill(NAMES[at]);
                world.restore_received(NAMES[at], &disk);
                world.start(NAMES[at]);
            }
        }
        Step::NewKey { at } => world.new_sealing_key(NAMES[at]),
        Step::Wait { seconds } => world.run(Duration::from_secs(seconds)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_message_is_delivered_once_or_its_sender_knows_why_not(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(seed, &NAMES);
        let mut backups = [None, None, None, None];
        (world.loss_percent, world.doubling_percent, world.crash_percent) = (20, 20, 10);
        for step in &steps {
            take(&mut world, &mut backups, step);
        }
        // The network heals: everybody is up and connected, and nothing is lost any more.
        (world.loss_percent, world.doubling_percent, world.crash_percent) = (0, 0, 0);
        for name in NAMES {
            if !world.is_up(name) {
                world.start(name);
            }
        }
        world.connect_all();
        world.run(Duration::from_secs(1_200));
        for name in NAMES {
            for view in world.relay(name).outbox() {
                for recipient in &view.recipients {
                    // Within hours nothing expires, nobody is suspended and nothing is taken back.
                    prop_assert_eq!(recipient.state, RecipientState::Delivered, "{} {:?}", name, view);
                }
                if view.statement.is_some() {
                    continue;
                }
                for other in NAMES.iter().filter(|other| view.recipients.iter().any(|r| other.starts_with(r.member.as_str()))) {
                    prop_assert!(world.has(other, view.id), "{} lacks it", other);
                }
            }
            let rows = world.nodes[name].disk.keys().filter(|(table, _)| *table == Table::Inbox).count();
            prop_assert_eq!(rows, world.relay(name).inbox().len(), "memory and disk of {}", name);
        }
    }
}
