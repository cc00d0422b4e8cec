//! Witnesses that never cosigned a journal, and go by its node's heads.

use super::*;
use crate::limits::{CLOCK_SKEW_MAX, HEAD_SILENCE, HEARD_JOURNALS_MAX};

const KE: u8 = 7;

fn node(count: u64, story: u64) -> Node {
    let mut node = Node::new("KE", KE, START, None);
    node.lives(count, story);
    node
}

fn hear(desk: &Desk, now: Timestamp, node: &Node) {
    desk.heard.borrow_mut().hear(now, &node.head(now));
}

fn asking(node: &Node, now: Timestamp) -> Asking {
    Asking::new(node.member.clone(), node.node(), now)
}

/// Whose cosignatures a round had, and what it lost.
fn asked(node: &Node, now: Timestamp, desk: &Desk) -> (usize, Option<JournalPosition>) {
    let (over, _) = round(&mut asking(node, now), now, node, &[desk]);
    (over.cosigned.len(), over.lost.map(|(_, lost)| lost))
}

#[test]
fn a_past_that_was_rewritten_is_not_cosigned_by_who_never_cosigned_the_one_before() {
    let honest = node(99, 0);
    let others: Vec<_> =
        ["FR", "BR", "SG"].iter().zip(30..).map(|(code, seed)| Desk::new(code, seed)).collect();
    // They never cosigned it, and heard its heads as all do.
    others.iter().for_each(|desk| hear(desk, later(60), &honest));
    let mut rewritten = node(50, 0);
    rewritten.lives(50, 1);
    assert_eq!(rewritten.journal.stands().size, honest.journal.stands().size + 1);
    let connected: Vec<_> = others.iter().collect();
    let (over, _) = round(&mut asking(&rewritten, later(70)), later(70), &rewritten, &connected);
    assert_eq!(over.cosigned, [], "as if it had never been");
    for desk in &others {
        let head = CosignAnswer::Heard(Box::new(honest.head(later(60)).envelope().as_ref().clone()));
        assert_eq!(desk.answer(later(80), &rewritten, &rewritten.request(0, later(80))), head);
        // From where it stood by the head: the proof shows another past, which is kept and told with that head.
        let request = rewritten.request(100, later(80));
        let Ok(Judged::Refuted { row, doubt, answer }) = desk.judge(later(80), &rewritten, &request) else {
            panic!()
        };
        assert_eq!((doubt, &answer, &row.newest), (Doubt::Inconsistent, &head, &None));
        assert!(!row.refuted[0].held.is_empty() && row.refuted[0].refused == request.checkpoint);
        assert_eq!(desk.judge(later(81), &rewritten, &request), Ok(Judged::Answer(head.clone())), "once");
        let mut as_many = node(50, 0);
        as_many.lives(49, 1);
        let forked = desk.judge(later(82), &as_many, &as_many.request(0, later(82)));
        assert!(matches!(forked, Ok(Judged::Refuted { doubt: Doubt::Forked, .. })), "{forked:?}");
        let fewer = node(20, 1);
        assert_eq!(desk.judge(later(83), &fewer, &fewer.request(0, later(83))), Ok(Judged::Answer(head)));
    }
    // The honest past is cosigned, and the journal that follows one that was lost.
    let mut honest = honest;
    honest.lives(7, 0);
    for desk in &others {
        assert_eq!(asked(&honest, later(90), desk), (1, None));
    }
}

#[test]
fn a_new_journal_of_a_node_that_was_a_witnesss_is_held_against_its_heads_too() {
    let desk = Desk::new("FR", 30);
    let old = node(5, 0);
    assert_eq!(asked(&old, later(60), &desk), (1, None));
    let begun = |count, story| {
        let mut node = Node::new("KE", KE, later(100), Some(old.journal.stands()));
        node.lives(count, story);
        node
    };
    hear(&desk, later(200), &begun(8, 0));
    assert_eq!(asked(&begun(9, 1), later(300), &desk).0, 0);
    let mut honest = begun(8, 0);
    honest.lives(1, 0);
    assert_eq!(asked(&honest, later(300), &desk), (1, None));
    assert_eq!(desk.row(honest.node()).ended.len(), 1);
    // What was ended by heads is ended.
    let other = Desk::new("BR", 31);
    hear(&other, later(300), &honest);
    let answer = other.answer(later(301), &old, &old.request(0, later(301)));
    assert!(matches!(answer, CosignAnswer::Heard(_)), "{answer:?}");
}

#[test]
fn who_has_heard_nothing_of_an_old_journal_waits_for_a_head() {
    let mut ke = node(5, 0);
    let young = START.after(HEAD_SILENCE);
    assert_eq!(asked(&ke, young, &Desk::new("FR", 30)), (1, None));
    let desk = Desk::new("FR", 30);
    let old = young.after(Duration::from_secs(60));
    let refused = CosignAnswer::Refused(CosignRefusal::NotHeard);
    assert_eq!(desk.answer(old, &ke, &ke.request(0, old)), refused);
    // Nor is a head of an earlier journal, or one that says nothing of it, of any use.
    let earlier = Node::new("KE", KE, Timestamp::from_millis(START.as_millis() - 1), None);
    hear(&desk, old, &earlier);
    assert_eq!(desk.answer(old, &ke, &ke.request(0, old)), refused);
    hear(&desk, old, &ke);
    ke.lives(3, 0);
    assert_eq!(asked(&ke, old, &desk), (1, None));
}

#[test]
fn a_head_that_overtakes_a_checkpoint_costs_one_round_and_is_no_loss() {
    let desk = Desk::new("FR", 30);
    let mut ke = node(5, 0);
    let mut asking = asking(&ke, later(60));
    let checkpoint = Box::new(ke.checkpoint(later(60)));
    let begin = AskInput::Begin { checkpoint, connected: vec![desk.candidate()] };
    let AskEffect::Ask { request, .. } = asking.handle(later(60), begin, &ke).remove(0) else { panic!() };
    ke.lives(3, 0);
    hear(&desk, later(61), &ke);
    let answer = Some(desk.answer(later(61), &ke, &request));
    assert!(matches!(answer, Some(CosignAnswer::Heard(_))));
    let answered = AskInput::Answered { from: desk.candidate().node, answer };
    let AskEffect::Over(over) = asking.handle(later(61), answered, &ke).remove(0) else { panic!() };
    assert_eq!((over.refused, over.lost), (vec![(desk.candidate(), Unproven::Overtaken)], None));
    let (over, _) = round(&mut asking, later(700), &ke, &[&desk]);
    assert_eq!((over.cosigned.len(), over.lost), (1, None));
}

#[test]
fn a_disk_that_was_rolled_back_is_told_by_the_nodes_own_head_and_by_no_other() {
    let (desk, ke) = (Desk::new("FR", 30), node(9, 0));
    hear(&desk, later(60), &ke);
    let lost = Some(ke.journal.stands());
    for rolled_back in [node(4, 0), node(9, 3), node(20, 3)] {
        assert_eq!(asked(&rolled_back, later(90), &desk), (0, lost));
    }
    let new = Node::new("KE", KE, later(100), lost);
    assert_eq!(asked(&new, later(110), &desk), (1, None));
    // A witness that lies: another node's head, another member's, none of a journal, and one of an ended journal.
    let stranger = Node::new("KE", 8, later(100), None).head(later(120));
    let other = Node { member: member("BR"), ..new.clone() }.head(later(120));
    let silent = Head { journal: None, ..new.head(later(120)).payload().clone() };
    let silent = sign(&silent, Some(FEDERATION), &[&new.key]).unwrap();
    let envelope = |head: &Verified<Head>| head.envelope().as_ref().clone();
    for head in [envelope(&stranger), envelope(&other), silent] {
        let mut asking = asking(&new, later(120));
        let checkpoint = Box::new(new.checkpoint(later(120)));
        let begin = AskInput::Begin { checkpoint, connected: vec![desk.candidate()] };
        asking.handle(later(120), begin, &new);
        let answer = Some(CosignAnswer::Heard(Box::new(head)));
        let answered = AskInput::Answered { from: desk.candidate().node, answer };
        let AskEffect::Over(over) = asking.handle(later(121), answered, &new).remove(0) else { panic!() };
        assert_eq!((over.refused, over.lost), (vec![(desk.candidate(), Unproven::Wrong)], None));
    }
}

#[test]
fn a_journal_that_was_dated_ahead_keeps_no_later_one_from_being_cosigned() {
    let desk = Desk::new("FR", 30);
    let ahead = Node::new("KE", KE, START.after(Duration::from_secs(86_400 * 365)), None);
    // Also of a witness whose own clock was wrong when it heard of it.
    for heard_at in [START, ahead.journal.stands().began] {
        hear(&desk, heard_at, &ahead);
        assert!(desk.heard.borrow().of(START, &ahead.node()).is_none());
        let ke = node(3, 0);
        hear(&desk, later(60), &ke);
        assert_eq!(asked(&ke, later(61), &desk), (1, None));
        desk.rows.borrow_mut().clear();
    }
    let edge = Node::new("KE", KE, START.after(CLOCK_SKEW_MAX), None);
    hear(&desk, START, &edge);
    assert_eq!(desk.heard.borrow().of(START, &edge.node()).unwrap().position(), edge.journal.stands());
}

#[test]
fn what_is_heard_is_bounded_and_forgotten_with_the_key() {
    let mut heard = HeardJournals::default();
    let ke = node(3, 0);
    let of = |number: usize| {
        let key =
            SigningKey::from_bytes(&[number.to_le_bytes().as_slice(), &[9; 24]].concat().try_into().unwrap());
        Node { key, ..ke.clone() }
    };
    (0..=HEARD_JOURNALS_MAX).for_each(|number| heard.hear(START, &of(number).head(START)));
    assert!(
        heard.of(START, &of(0).node()).is_some() && heard.of(START, &of(HEARD_JOURNALS_MAX).node()).is_none()
    );
    heard.retain(|_, node| *node != of(0).node());
    assert!(heard.of(START, &of(0).node()).is_none());
    heard.hear(START, &of(HEARD_JOURNALS_MAX).head(START));
    assert!(heard.of(START, &of(HEARD_JOURNALS_MAX).node()).is_some());
}

/// What befalls an honest node and its witness.
#[derive(Clone, Debug)]
enum Step {
    /// The journal grows.
    Grow(u64),
    /// A head is signed; it comes at once, or later.
    Head { at_once: bool },
    /// Heads that are late come, in any order.
    LateHeads,
    /// The witness starts anew, and may have lost its rows.
    WitnessRestarts { lost_rows: bool },
    /// The node starts anew.
    Restart,
    /// Its disk is copied.
    Copy,
    /// The copy is put back as it should be: a new journal begins.
    Restore,
    /// The copy is put back behind the node's back.
    RollBack,
    /// It asks.
    Round,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..9).prop_map(Step::Grow),
        3 => any::<bool>().prop_map(|at_once| Step::Head { at_once }),
        1 => Just(Step::LateHeads),
        1 => any::<bool>().prop_map(|lost_rows| Step::WitnessRestarts { lost_rows }),
        1 => Just(Step::Restart),
        1 => Just(Step::Copy),
        1 => Just(Step::Restore),
        1 => Just(Step::RollBack),
        3 => Just(Step::Round),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever befalls an honest node: once a head of it comes through, three rounds are enough; and only one whose disk
    /// was rolled back ever contradicts itself or begins a journal anew for it.
    #[test]
    fn an_honest_journal_is_never_refused_for_ever(
        steps in prop::collection::vec((step(), 0_u64..90), 1..40),
    ) {
        let mut desk = Desk::new("FR", 30);
        let mut ke = node(3, 0);
        let mut run = asking(&ke, START);
        let (mut copy, mut late, mut now) = (ke.clone(), Vec::new(), START);
        let (mut rolled_back, mut story) = (false, 0);
        let succeed = |ke: &Node, now: Timestamp, held: JournalPosition| {
            let began = now.max(held.began.after(Duration::from_millis(1)));
            Node { events: ke.events, ..Node::new("KE", KE, began, Some(held)) }
        };
        let closing = [Step::Head { at_once: true }, Step::Round, Step::Round, Step::Round].map(|step| (step, 11));
        let count = steps.len();
        let mut cosigned = false;
        for (index, (step, minutes)) in steps.into_iter().chain(closing).enumerate() {
            now = now.after(Duration::from_secs(60 * minutes + 1));
            match step {
                Step::Grow(count) => ke.lives(count, story),
                Step::Head { at_once: true } => hear(&desk, now, &ke),
                Step::Head { at_once: false } => late.push(ke.head(now)),
                Step::LateHeads => {
                    late.drain(..).rev().for_each(|head| desk.heard.borrow_mut().hear(now, &head));
                }
                Step::WitnessRestarts { lost_rows } => {
                    desk.heard = RefCell::default();
                    if lost_rows {
                        desk.rows = RefCell::default();
                    }
                }
                Step::Restart => run = asking(&ke, now),
                Step::Copy => copy = ke.clone(),
                Step::Restore => {
                    ke = succeed(&ke, now, copy.journal.stands());
                    run = asking(&ke, now);
                }
                Step::RollBack => {
                    ke = copy.clone();
                    run = asking(&ke, now);
                    (rolled_back, story) = (true, story + 1);
                }
                Step::Round => {
                    let (over, _) = round(&mut run, now, &ke, &[&desk]);
                    cosigned |= index > count && over.cosigned.len() == 1;
                    if let Some((_, lost)) = over.lost {
                        prop_assert!(rolled_back, "nothing was lost");
                        ke = succeed(&ke, now, lost);
                    }
                }
            }
        }
        prop_assert!(cosigned);
        let row = desk.row(ke.node());
        prop_assert!(rolled_back || row.refuted.is_empty(), "{:?}", row.refuted);
    }
}
