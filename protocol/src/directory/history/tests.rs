//! Tests of the history: what is told of an entry that was renewed, changed, let go, lacking or disputed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use core::time::Duration;

use super::*;
use crate::{
    evidence::{AnyDocument, Bearer, Evidence},
    limits::BODIES_PER_CHAIN_MAX,
    testing::{
        FOUNDED, Federation,
        chains::{ChainWriter, IntoAny, body, reference_point},
    },
};

const MINUTE: Duration = Duration::from_secs(60);

struct Scene {
    federation: Federation,
    evidence: Evidence,
    member: MemberCode,
}

impl Scene {
    fn new() -> Self {
        let federation = Federation::new(6, &["BR", "FR", "KE", "SG"], 2);
        let member = federation.unit("FR").code.clone();
        let mut scene = Self { evidence: Evidence::new(federation.id), federation, member };
        let documents = [scene.federation.founding.any(), scene.federation.unit("FR").key_set.any()];
        documents.into_iter().for_each(|document| scene.take(document));
        scene
    }

    fn take(&mut self, document: AnyDocument) {
        assert_eq!(self.evidence.accept(Bearer::Local, document).rejected, []);
    }

    fn writer(&self, node: usize) -> ChainWriter {
        ChainWriter::new(&self.federation, self.federation.unit("FR"), node, ChainKind::ReferencePoint)
    }

    /// Writes headers a minute apart, each with the entry of that number.
    fn publish(&mut self, writer: &mut ChainWriter, numbers: &[u8]) {
        for number in numbers {
            let bytes = body(&reference_point(*number));
            self.take(writer.write(&bytes));
            drop(self.evidence.accept_body(&bytes));
        }
    }

    fn history(&self) -> Vec<ChainHistory> {
        of_member(self.evidence.trust(), self.evidence.chains(), &self.member)
    }

    /// The number of the entry at so many minutes after the founding.
    fn number_at(&self, minutes: u32) -> Option<u8> {
        match self.at(minutes)?.content {
            Content::Held(entry) => Some(entry.salt[0]),
            other => panic!("the content is {other:?}"),
        }
    }

    fn at(&self, minutes: u32) -> Option<EntryThen> {
        at(self.evidence.trust(), self.evidence.chains(), &self.member, FOUNDED.after(MINUTE * minutes))
    }
}

fn places(runs: &[Run]) -> Vec<(u64, u64)> {
    runs.iter().map(|run| (run.first.sequence.0, run.last.sequence.0)).collect()
}

#[test]
fn renewals_without_change_are_one_run_and_the_time_says_which_counted() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0);
    scene.publish(&mut writer, &[1, 1, 1, 2, 1]);
    let history = scene.history();
    assert_eq!(places(&history[0].runs), [(0, 2), (3, 3), (4, 4)]);
    assert_eq!((history[0].gaps.len(), history[0].disputed_from), (0, None));
    let numbers: Vec<_> = (0..6).map(|minutes| scene.number_at(minutes)).collect();
    assert_eq!(numbers, [Some(1), Some(1), Some(1), Some(2), Some(1), Some(1)]);
    let before = Timestamp::from_millis(FOUNDED.as_millis() - 1);
    assert_eq!(at(scene.evidence.trust(), scene.evidence.chains(), &scene.member, before), None);
}

#[test]
fn contents_past_the_policy_are_said_to_be_let_go() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0);
    let count = BODIES_PER_CHAIN_MAX as u8 + 2;
    scene.publish(&mut writer, &(1..=count).collect::<Vec<_>>());
    let runs = scene.history().remove(0).runs;
    let held = runs.iter().map(|run| matches!(run.content, Content::Held(_))).collect::<Vec<_>>();
    assert_eq!(held, [[false; 2].as_slice(), &[true; BODIES_PER_CHAIN_MAX]].concat());
    assert_eq!((&runs[0].content, scene.at(1).unwrap().content), (&Content::LetGo, Content::LetGo));
    let hash = runs[6].first.body.hash;
    assert!(scene.evidence.erase_body(hash));
    assert_eq!(scene.at(60).unwrap().content, Content::Erased);
}

#[test]
fn a_gap_is_named_and_makes_the_answer_uncertain_where_it_lies() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0);
    scene.publish(&mut writer, &[1, 1]);
    drop(writer.write(&body(&reference_point(2))));
    scene.publish(&mut writer, &[1, 1]);
    let history = scene.history();
    assert_eq!(places(&history[0].runs), [(0, 1), (3, 4)]);
    assert_eq!(history[0].gaps, [(Sequence(2), Sequence(2))]);
    let uncertain: Vec<bool> = (0..5).map(|minutes| scene.at(minutes).unwrap().may_be_older).collect();
    assert_eq!(uncertain, [false, true, true, false, false]);
}

#[test]
fn a_fork_ends_what_is_told_and_is_named() {
    let mut scene = Scene::new();
    let mut writer = scene.writer(0);
    scene.publish(&mut writer, &[1, 2]);
    let mut twin = writer.clone();
    scene.publish(&mut writer, &[3]);
    scene.publish(&mut twin, &[4]);
    let history = scene.history();
    assert_eq!(
        (places(&history[0].runs), history[0].disputed_from),
        (vec![(0, 0), (1, 1)], Some(Sequence(2)))
    );
    assert_eq!(scene.number_at(60), Some(2));
}

#[test]
fn the_rank_and_the_key_set_of_that_time_decide_whose_entry_it_was() {
    let mut scene = Scene::new();
    let (mut first, mut second) = (scene.writer(0), scene.writer(1));
    second.issued = FOUNDED.after(MINUTE * 5);
    scene.publish(&mut second, &[2]);
    scene.publish(&mut first, &[1]);
    assert_eq!((scene.number_at(1), scene.number_at(9)), (Some(1), Some(1)), "the lower rank is recent");
    // The next key set, an hour later, lists the second node alone.
    let unit = scene.federation.unit("FR").clone();
    let left = crate::testing::node_key(&unit.nodes[1]);
    let next = scene.federation.next_key_set(
        &[&unit.key_set],
        |set| set.nodes.retain(|entry| entry.key == left),
        &unit.root,
    );
    scene.take(next.any());
    assert_eq!((scene.number_at(59), scene.number_at(60)), (Some(1), Some(2)), "its old entry counts on");
    let mut third = ChainWriter::under(&scene.federation, &next, &unit.nodes[1], ChainKind::ReferencePoint);
    third.issued = FOUNDED.after(MINUTE * 90);
    scene.publish(&mut third, &[3]);
    assert_eq!((scene.number_at(89), scene.number_at(90)), (Some(2), Some(3)));
    assert_eq!(scene.history().iter().map(|chain| chain.epoch.0).collect::<Vec<_>>(), [0, 0, 1]);
}
