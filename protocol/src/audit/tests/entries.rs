//! Bundles with the entries of a journal.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    heads::JournalPosition,
    storage::{Change, Table},
};

impl World {
    /// With KE's journal and all its entries; after so many events two members cosigned it.
    fn with_entries_of(
        &self,
        events: &[Event],
        cosigned_at: Option<usize>,
        change: &dyn Fn(&mut Vec<Vec<u8>>),
    ) -> String {
        let Exporter { federation, member, node } = self.exporter();
        let key = &self.ke().nodes[0];
        let (mut journal, mut changes) = Journal::begin(FOUNDED, None, 0).unwrap();
        let mut cosigned = None;
        for (at, event) in (1..).zip(events) {
            let event = NumberedEvent { number: at, at: FOUNDED, event: event.clone() };
            changes.extend(journal.follow([event]).unwrap());
            if cosigned_at.is_some_and(|place| place as u64 == at) {
                let mut note = journal.checkpoint((federation, member.clone(), node), key, MADE);
                for unit in
                    self.federation.units.iter().filter(|unit| ["BR", "FR"].contains(&unit.code.as_str()))
                {
                    let node = node_key(&unit.nodes[0]);
                    let name = witness::WitnessName { federation, member: unit.code.clone(), node };
                    note.signatures.push(note.cosign(&name.to_string(), &unit.nodes[0], 1_800_000_000));
                }
                cosigned = Some(note);
            }
        }
        let mut leaves: Vec<_> = changes
            .into_iter()
            .filter(|change| change.table == Table::Journal)
            .filter_map(|change| change.value)
            .collect();
        change(&mut leaves);
        let text = with_journal(
            self.federation.id,
            self.ke(),
            &self.documents,
            Some(&journal.checkpoint((federation, member, node), key, MADE)),
        );
        let (lines, _) = text.split_once("\n\n").unwrap();
        let mut lines = lines.to_owned();
        cosigned
            .iter()
            .for_each(|note| lines.push_str(&format!("\ncosigned {}", STANDARD.encode(note.to_string()))));
        leaves.iter().for_each(|leaf| lines.push_str(&format!("\nentry {}", STANDARD.encode(leaf))));
        signed_anew(&format!("{lines}\n\n"), &self.exporter(), key)
    }
}

#[test]
fn a_journals_entries_are_its_own_and_show_that_it_was_rewritten_and_has_grown() {
    let world = world();
    let clock = |offset_millis| Event::ClockJudged { right: true, offset_millis };
    let of = |events: &[Event], cosigned_at: Option<usize>, change: &dyn Fn(&mut Vec<Vec<u8>>)| {
        world.audit(&world.with_entries_of(events, cosigned_at, change))
    };
    let same = |_: &mut Vec<Vec<u8>>| {};
    let short = of(&[clock(1), clock(2)], None, &same).unwrap();
    let entries = short.entries.as_ref().unwrap();
    assert_eq!((entries.messages, entries.unread, entries.cosigned.clone()), (0, 0, None));
    assert_eq!((entries.follows, entries.witnessed.clone()), (None, None));
    // Of two members the first two entries are cosigned.
    let grown = of(&[clock(1), clock(2), Event::TwinSeen], Some(1), &same).unwrap();
    let cosigned = grown.entries.as_ref().unwrap().cosigned.clone().unwrap();
    assert_eq!((cosigned.size, cosigned.by.len()), (2, 2));
    assert!(compare(&short, &grown).is_same());
    let rewritten = of(&[clock(1), clock(3), Event::TwinSeen], None, &same).unwrap();
    for (a, b) in [(&short, &rewritten), (&rewritten, &short)] {
        let fork = compare(a, b).journal.unwrap();
        assert!(fork.size == 3 && fork.roots[0] != fork.roots[1], "at the shorter one's end");
    }
    let bad = |change: &dyn Fn(&mut Vec<Vec<u8>>)| rules(of(&[clock(1), clock(2)], Some(1), change));
    for wrong in [
        bad(&|leaves| drop(leaves.pop())),
        bad(&|leaves| leaves.push(vec![1])),
        bad(&|leaves| leaves[1].push(0)),
        bad(&|leaves| leaves.swap(1, 2)),
        bad(&|leaves| leaves.clear()),
    ] {
        assert_eq!(wrong, ["AU-11"]);
    }
    // Another past cosigned than the one that is told.
    let text = world.with_entries_of(&[clock(1), clock(2)], Some(1), &same);
    let other = world.with_entries_of(&[clock(9), clock(2)], Some(1), &same);
    let line = |text: &str| text.lines().find(|line| line.starts_with("cosigned ")).unwrap().to_owned();
    let swapped =
        signed_anew(&text.replace(&line(&text), &line(&other)), &world.exporter(), &world.ke().nodes[0]);
    assert_eq!(rules(world.audit(&swapped)), ["AU-11"]);
    let entry = text.lines().rfind(|line| line.starts_with("entry ")).unwrap();
    let twisted = text.replace(entry, &entry.replacen("entry ", "entri ", 1));
    assert_eq!(
        rules(world.audit(&signed_anew(&twisted, &world.exporter(), &world.ke().nodes[0]))),
        ["AU-11"]
    );
}

#[test]
fn a_checkpoint_that_is_called_cosigned_is_that_and_by_each_witness_once() {
    let world = world();
    let clock = |offset_millis| Event::ClockJudged { right: true, offset_millis };
    let text = world.with_entries_of(&[clock(1), clock(2)], Some(1), &|_| {});
    let line = text.lines().find(|line| line.starts_with("cosigned ")).unwrap();
    let note = STANDARD.decode(line.strip_prefix("cosigned ").unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut note::Note)| {
        let mut note = note::Note::parse(&note).unwrap();
        change(&mut note);
        let changed = text.replace(line, &format!("cosigned {}", STANDARD.encode(note.to_string())));
        world.audit(&signed_anew(&changed, &world.exporter(), &world.ke().nodes[0]))
    };
    assert!(with(&|_| {}).is_ok());
    // The exporter alone; one witness three times; one witness at two times.
    assert_eq!(rules(with(&|note| note.signatures.truncate(1))), ["AU-11"]);
    assert_eq!(rules(with(&|note| note.signatures.extend(vec![note.signatures[1].clone(); 2]))), ["AU-11"]);
    let again = |note: &mut note::Note| {
        let fr = world.federation.unit("FR");
        let name = note.signatures.last().unwrap().name.clone();
        assert!(name.contains("/FR/"));
        note.signatures.push(note.cosign(&name, &fr.nodes[0], 1_800_000_001));
    };
    assert_eq!(rules(with(&again)), ["AU-11"]);
}

impl World {
    /// KE's journal at a checkpoint: with its entries, or without.
    fn with(&self, journal: &(Journal, Vec<Change>), made: Timestamp, has_entries: bool) -> Audited {
        let Exporter { federation, member, node } = self.exporter();
        let key = &self.ke().nodes[0];
        let checkpoint = journal.0.checkpoint((federation, member, node), key, made);
        let text = with_journal(federation, self.ke(), &self.documents, Some(&checkpoint));
        let (lines, _) = text.split_once("\n\n").unwrap();
        let leaves = journal.1.iter().filter(|change| has_entries && change.table == Table::Journal);
        let entries = leaves.map(|leaf| format!("\nentry {}", STANDARD.encode(leaf.value.as_ref().unwrap())));
        let text = signed_anew(&format!("{lines}{}\n\n", entries.collect::<String>()), &self.exporter(), key);
        self.audit(&text).unwrap()
    }
}

/// A journal that began then, follows that one, and has so many entries; `story` tells one past from another.
fn kept(began: u64, follows: Option<JournalPosition>, count: u64, story: i64) -> (Journal, Vec<Change>) {
    let began = FOUNDED.after(Duration::from_secs(began));
    let (mut journal, mut changes) = Journal::begin(began, follows, 0).unwrap();
    let events = (1..count).map(|number| {
        let event = Event::ClockJudged { right: true, offset_millis: story };
        NumberedEvent { number, at: FOUNDED, event }
    });
    changes.extend(journal.follow(events).unwrap());
    (journal, changes)
}

fn made(seconds: u64) -> Timestamp {
    MADE.after(Duration::from_secs(seconds))
}

#[test]
fn fewer_entries_later_contradict_and_earlier_do_not() {
    let world = world();
    let (long, short) = (kept(0, None, 100, 1), kept(0, None, 90, 1));
    for has_entries in [true, false] {
        let a = world.with(&long, made(0), has_entries);
        let later = world.with(&short, made(1), has_entries);
        for (a, b, sizes) in [(&a, &later, [100, 90]), (&later, &a, [90, 100])] {
            let comparison = compare(a, b);
            assert_eq!(comparison.rewound.as_ref().unwrap().sizes, sizes, "{has_entries}");
            assert!(!comparison.is_consistent() && comparison.journal.is_none());
        }
        let earlier = world.with(&short, made(0), has_entries);
        assert!(compare(&a, &earlier).is_same() && compare(&earlier, &a).is_same());
    }
}

#[test]
fn what_a_new_journal_says_of_the_one_before_is_compared_with_it() {
    let world = world();
    let (signed, other) = (kept(0, None, 100, 1), kept(0, None, 100, 2));
    let a = world.with(&signed, made(0), true);
    let after = |follows| world.with(&kept(50, follows, 3, 1), made(9), true);
    // It names all of it.
    let good = compare(&a, &after(Some(signed.0.stands())));
    assert!(good.is_same() && good.names_less.is_none(), "{good:?}");
    // Another past: as long, and shorter, of which only the entries tell.
    for follows in [other.0.stands(), kept(0, None, 80, 2).0.stands()] {
        let b = after(Some(follows));
        for (a, b, named) in [(&a, &b, 1), (&b, &a, 0)] {
            let fork = compare(a, b).journal.unwrap();
            assert_eq!((fork.size, fork.roots[named]), (follows.size, follows.root));
            assert_eq!(fork.origin.began, follows.began);
        }
    }
    // What the backup did not have is told, and is no contradiction; nor is what happened after the export.
    for (follows, named) in [(Some(kept(0, None, 80, 1).0.stands()), 80), (None, 0)] {
        let b = after(follows);
        for comparison in [compare(&a, &b), compare(&b, &a)] {
            assert!(comparison.is_same(), "{comparison:?}");
            let less = comparison.names_less.unwrap();
            assert_eq!((less.origin.began, less.signed, less.named), (FOUNDED, 100, named));
        }
    }
    let between = kept(20, Some(signed.0.stands()), 5, 1).0.stands();
    assert_eq!(
        compare(&a, &after(Some(between))).names_less,
        None,
        "it follows another, which is in neither"
    );
    assert!(compare(&a, &after(Some(kept(0, None, 120, 1).0.stands()))).is_same());
    // What a witness had cosigned of it counts like what the backup had.
    let mut told = kept(50, Some(kept(0, None, 80, 1).0.stands()), 3, 1);
    for (held, is_same) in [(signed.0.stands(), true), (kept(0, None, 101, 2).0.stands(), true)] {
        let noted = told.0.witnessed(MADE, "FR".parse().unwrap(), held).unwrap();
        told.1.extend(noted);
        let comparison = compare(&a, &world.with(&told, made(9), true));
        assert_eq!((comparison.is_same(), comparison.names_less), (is_same, None));
    }
    let mut lying = kept(50, Some(kept(0, None, 80, 1).0.stands()), 3, 1);
    let noted = lying.0.witnessed(MADE, "FR".parse().unwrap(), other.0.stands()).unwrap();
    lying.1.extend(noted);
    assert_eq!(compare(&a, &world.with(&lying, made(9), true)).journal.unwrap().size, 100);
}
