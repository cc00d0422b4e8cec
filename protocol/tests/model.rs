//! The rules of charters and key sets, checked in every state that can be reached: three members, all of them
//! stewards, two of whom must sign, three charter versions, certificates that settle them, and one thief who has a
//! steward's root key and another member's node key.
//!
//! A state is what one node holds, and so what it believes: the real [`Evidence`], given every choice of documents
//! in every order that an adversary who carries them could pick. Honest owners sign what the pool says and at most
//! one successor of a version each; the thief signs anything, as often as he likes. What must never be accepted is
//! handed in in every state.

mod pool;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

use refpoint_protocol::{
    document::Kind,
    evidence::{Bearer, Evidence},
};
use stateright::{Checker as _, Model, Property};

use self::pool::{Pool, Signed};

/// What one node holds.
#[derive(Clone)]
struct Node {
    /// Which documents of the pool it was given.
    given: BTreeSet<usize>,
    evidence: Evidence,
    /// What it believes, in words: the same for the same view.
    view: String,
}

impl Node {
    fn new(pool: &Pool) -> Self {
        let mut node =
            Self { given: BTreeSet::new(), evidence: Evidence::new(pool.federation.id), view: String::new() };
        for document in pool.founding() {
            let outcome = node.evidence.accept(Bearer::Local, document);
            assert_eq!((outcome.rejected.len(), outcome.accepted.len()), (0, 1));
        }
        node.look();
        node
    }

    /// Gives it a document; whether that was refused as invalid.
    fn give(&mut self, pool: &Pool, at: usize) -> bool {
        self.given.insert(at);
        let outcome = self.evidence.accept(Bearer::Local, pool.documents[at].document.clone());
        self.look();
        !outcome.rejected.is_empty()
    }

    fn look(&mut self) {
        let positions: Vec<_> =
            Kind::EVIDENCE.into_iter().flat_map(|kind| self.evidence.positions(kind)).collect();
        self.view = format!("{:?} {positions:?}", self.evidence.membership());
    }
}

// The evidence is a function of what was given, as far as anybody can see: that is one of the properties, so that
// two orders which lead to different views are two states.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        (&self.given, &self.view) == (&other.given, &other.view)
    }
}

impl Eq for Node {}

impl Hash for Node {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.given, &self.view).hash(state);
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.given)
    }
}

struct Federation {
    pool: Pool,
    /// The view of each choice of documents, given in the order of the pool.
    views: Mutex<BTreeMap<BTreeSet<usize>, String>>,
}

impl Federation {
    fn new() -> Self {
        Self { pool: Pool::new(), views: Mutex::default() }
    }

    fn names(&self, node: &Node) -> BTreeSet<&'static str> {
        node.given.iter().map(|at| self.pool.documents[*at].name).collect()
    }

    fn holds(&self, node: &Node, name: &str) -> bool {
        let at = self.pool.at(name);
        node.given.contains(&at) && self.pool.is_held(&node.evidence, at)
    }

    fn is_settled(&self, node: &Node, version: &str) -> bool {
        node.evidence.membership().settled() == Some(self.pool.version(version))
    }
}

impl Model for Federation {
    type State = Node;
    type Action = usize;

    fn init_states(&self) -> Vec<Node> {
        vec![Node::new(&self.pool)]
    }

    fn actions(&self, node: &Node, actions: &mut Vec<usize>) {
        let possible = |at: &usize| !node.given.contains(at) && self.pool.may_exist(*at, &node.given);
        actions.extend(self.pool.good().filter(possible));
    }

    fn next_state(&self, node: &Node, at: usize) -> Option<Node> {
        let mut node = node.clone();
        let refused = node.give(&self.pool, at);
        assert!(!refused, "{} is refused after {:?}", self.pool.documents[at].name, self.names(&node));
        Some(node)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no version counts that fewer than two of its parent's stewards signed", enough),
            Property::always("what must not be accepted is not", bad_is_refused),
            Property::always("the membership is what stewards together made it", nothing_alone),
            Property::always("no revoked key is accepted", no_revoked_key),
            Property::always("what is settled stays so, and nothing beside it counts", settled_stays),
            Property::always("the view is a function of what is held", one_view),
            // The model would prove nothing if it reached none of these.
            Property::sometimes("the thief's own key counts for a while", |model: &Self, node: &Node| {
                model.pool.is_active(&node.evidence, "thief")
            }),
            Property::sometimes("the charter forks", |_, node: &Node| {
                node.evidence.membership().tips().len() > 1
            }),
            Property::sometimes("a fork is merged", |model: &Self, node: &Node| {
                model.holds(node, "merge") && node.evidence.membership().tips().len() == 1
            }),
            Property::sometimes("one side of a fork is settled", |model: &Self, node: &Node| {
                model.is_settled(node, "with brazil") && model.holds(node, "suspend on the other side")
            }),
            Property::sometimes("a version after a settled one is settled", |model: &Self, node: &Node| {
                model.is_settled(node, "suspend after")
            }),
            Property::sometimes("a third version replaces a root", |model: &Self, node: &Node| {
                model.holds(node, "replace the root of the suspended")
            }),
            Property::sometimes("a rotation ends what the thief lists", |model: &Self, node: &Node| {
                model.holds(node, "thief lists") && model.holds(node, "rotation")
            }),
            Property::sometimes(
                "a revoked node key is given its old key set again",
                |model: &Self, node: &Node| {
                    model.holds(node, "revokes") && !model.pool.is_active(&node.evidence, "stolen node")
                },
            ),
        ]
    }
}

/// Counted from who signed in truth, by a list of the pool that the protocol never sees.
fn enough(model: &Federation, node: &Node) -> bool {
    model.pool.charters().all(|(at, signed)| {
        let Signed { parents, by, .. } = signed;
        let enough = parents.iter().all(|parent| {
            let stewards = model.pool.stewards_of(parent);
            by.iter().collect::<BTreeSet<_>>().iter().filter(|root| stewards.contains(**root)).count() >= 2
        });
        enough || !model.pool.is_held(&node.evidence, at)
    })
}

fn bad_is_refused(model: &Federation, node: &Node) -> bool {
    model.pool.bad().all(|at| {
        let mut node = node.clone();
        let before = node.view.clone();
        node.give(&model.pool, at);
        !model.pool.is_held(&node.evidence, at) && node.view == before
    })
}

/// Of honest members nobody is suspended and no root replaced, and nobody is admitted but with the suspension that two
/// stewards signed: nothing else did.
fn nothing_alone(model: &Federation, node: &Node) -> bool {
    let membership = node.evidence.membership();
    let codes: BTreeSet<_> = membership.members().map(|member| member.code.as_str().to_owned()).collect();
    let suspended = ["suspend", "suspend after", "suspend on the other side"];
    let admitted = suspended.into_iter().any(|name| model.holds(node, name));
    let known =
        codes.iter().all(|code| ["BR", "FR", "KE"].contains(&code.as_str()) || (code == "JO" && admitted));
    let honest = ["BR", "FR"].into_iter().all(|code| {
        let unit = model.pool.federation.unit(code);
        let member = membership.member(&unit.code);
        member.is_some_and(|it| it.is_active() && it.root == Some(pool::root_of(unit)))
    });
    known && honest && codes.len() >= 3 && membership.threshold() == 2
}

/// Counted from what was given: a version and a certificate of all three members for it.
fn settled_stays(model: &Federation, node: &Node) -> bool {
    let given = |name| node.given.contains(&model.pool.at(name));
    let first = given("with brazil") && (given("all settle") || given("all with the thief settle"));
    let second = first && given("suspend after") && given("all settle after");
    let settled = match (first, second) {
        (_, true) => "suspend after",
        (true, false) => "with brazil",
        (false, false) => "founding",
    };
    let beside = ["with france", "suspend on the other side", "merge"];
    let membership = node.evidence.membership();
    let tips = membership.tips();
    let counts = |name: &str| tips.contains(&model.pool.version(name));
    match settled {
        "founding" => membership.settled() == Some(model.pool.federation.founding.id().into()),
        _ => model.is_settled(node, settled) && !beside.into_iter().any(counts),
    }
}

fn no_revoked_key(model: &Federation, node: &Node) -> bool {
    let active = |name| model.pool.is_active(&node.evidence, name);
    let holds = |name| model.holds(node, name);
    // A member's node key that was stolen, once its owner has said so.
    let stolen = !holds("revokes") || !active("stolen node");
    // Everything under a root that was replaced, and everything of a member that is suspended.
    let replaced = holds("replace the root") || holds("replace the root of the suspended");
    let suspended = (holds("suspend") && !holds("reinstate") && !replaced)
        || holds("suspend after")
        // What stands beside a settled version takes nobody's seat, and gives none.
        || (holds("suspend on the other side") && !model.is_settled(node, "with brazil"));
    let under_old_root = ["kenya 0", "kenya 1", "thief"].into_iter().any(active);
    let under_new_root = active("kenya 2");
    // What the thief lists beside the base that the owner's rotation names.
    let voided = !holds("rotation") || !active("thief");
    // The owner's own first key, once a rotation or two key sets that differ about it have left it out.
    let left_out = !holds("rotation") || !active("kenya 0");
    stolen
        && !(replaced && under_old_root)
        && !(suspended && (under_old_root || under_new_root))
        && voided
        && left_out
}

fn one_view(model: &Federation, node: &Node) -> bool {
    let mut views = model.views.lock().unwrap_or_else(PoisonError::into_inner);
    let view = views.entry(node.given.clone()).or_insert_with(|| {
        let mut canonical = Node::new(&model.pool);
        for at in &node.given {
            canonical.give(&model.pool, *at);
        }
        canonical.view
    });
    *view == node.view
}

/// All of it, which takes an optimised build: `scripts/model`.
#[test]
#[ignore = "minutes in a development build: scripts/model runs it"]
fn every_reachable_state_keeps_the_rules() {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = Federation::new().checker().threads(threads).spawn_bfs().join();
    println!(
        "{}",
        serde_json::json!({
            "documents": Pool::new().documents.len(),
            "states": checker.unique_state_count(),
            "transitions": checker.state_count(),
            "deepest": checker.max_depth(),
            "done": checker.is_done(),
            "violations": checker.discoveries().keys().filter(|name| !SOMETIMES.contains(name)).count(),
        })
    );
    checker.assert_properties();
}

/// The properties that are to be found rather than never to be.
const SOMETIMES: [&str; 8] = [
    "the thief's own key counts for a while",
    "the charter forks",
    "a fork is merged",
    "one side of a fork is settled",
    "a version after a settled one is settled",
    "a third version replaces a root",
    "a rotation ends what the thief lists",
    "a revoked node key is given its old key set again",
];
