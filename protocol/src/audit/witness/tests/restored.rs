//! Nodes whose disks hold less than a witness saw.

use super::*;
use crate::{audit::journal::Entry, relay::rows::decode_row};

#[test]
fn a_node_whose_disk_was_rolled_back_learns_it_from_its_witness() {
    let desk = Desk::new("FR", 9);
    let mut node = Node::new("KE", 7, START, None);
    node.lives(8, 0);
    let mut asking = Asking::new(node.member.clone(), node.node(), START);
    let (over, _) = round(&mut asking, later(60), &node, &[&desk]);
    assert_eq!((over.cosigned.len(), over.lost), (1, None));
    let cosigned = node.journal.stands();
    for count in [2, 8, 20] {
        let mut rolled_back = Node::new("KE", 7, START, None);
        rolled_back.lives(count, 3);
        let mut asking = Asking::new(node.member.clone(), node.node(), later(100));
        let (over, _) = round(&mut asking, later(200), &rolled_back, &[&desk]);
        assert_eq!(over.lost, Some((desk.candidate(), cosigned)), "{count}");
        assert_eq!(over.refused, [(desk.candidate(), Unproven::OtherPast)]);
    }
    // The journal that follows names what was cosigned, and is cosigned itself.
    let new = Node::new("KE", 7, later(300), Some(cosigned));
    let (over, _) = round(&mut asking, later(400), &new, &[&desk]);
    assert_eq!((over.cosigned.len(), over.lost), (1, None));
}

#[test]
fn after_a_restore_the_new_journal_names_how_far_a_witness_saw_the_one_before() {
    let desks = [Desk::new("FR", 9), Desk::new("BR", 10)];
    let mut node = Node::new("KE", 7, START, None);
    node.lives(2, 0);
    let backup = node.journal.stands();
    let mut asking = Asking::new(node.member.clone(), node.node(), START);
    // The one saw more of it than the other, and both more than the backup has.
    for (events, seen_by) in [(3, &desks[..]), (4, &desks[..1])] {
        node.lives(events, 0);
        let connected: Vec<_> = seen_by.iter().collect();
        let (over, _) = round(&mut asking, later(60), &node, &connected);
        assert_eq!((over.cosigned.len(), over.before), (seen_by.len(), None));
    }
    let furthest = node.journal.stands();
    let mut restored = Node::new("KE", 7, later(100), Some(backup));
    let all: Vec<_> = desks.iter().collect();
    for at in [200, 300] {
        let (over, _) = round(&mut asking, later(at), &restored, &all);
        assert_eq!((over.lost, over.before), (None, Some((desks[0].candidate(), furthest))), "each time");
    }
    let noted = restored.journal.witnessed(later(200), member("FR"), furthest).unwrap();
    restored.keep(noted.clone());
    let entry = noted.iter().find(|change| change.table == Table::Journal).unwrap();
    let entry: Entry = decode_row(entry.value.as_ref().unwrap()).unwrap();
    assert_eq!(entry, Entry::Witnessed { at: later(200), by: member("FR"), before: furthest });
    let kept = noted.iter().find(|change| change.table == Table::OwnState).unwrap();
    assert_eq!(Journal::restore(kept.value.as_ref().unwrap()).unwrap(), restored.journal);
    // What is known already, or less, or of this journal itself, is not noted again.
    let own = restored.journal.stands();
    for known in [furthest, backup, own] {
        assert!(restored.journal.witnessed(later(300), member("BR"), known).unwrap().is_empty());
    }
    // A note that is none of this node's earlier journals says nothing.
    let stranger = Node::new("KE", 8, START, None).checkpoint(START).to_string();
    for lie in [stranger, restored.checkpoint(START).to_string(), "a letter".to_owned()] {
        desks.iter().for_each(|desk| {
            desk.rows.borrow_mut().values_mut().for_each(|row| row.ended = vec![lie.clone()]);
        });
        let (over, _) = round(&mut asking, later(400), &restored, &all);
        assert_eq!((over.cosigned.len(), over.before), (2, None));
    }
}
