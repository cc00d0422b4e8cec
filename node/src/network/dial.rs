//! Whom to dial, where and when: a pure function of targets, outcomes, the time and given randomness.
//!
//! The lower node dials at once, the higher only after a jittered delay (where both dialled at once,
//! pairs ended with no connection). Addresses are tried in turn; after a round of failures comes a pause
//! that doubles and is drawn evenly below its bound, so that nobody's return is met by everyone at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use refpoint_protocol::{
    ids::{MemberCode, NodeKey},
    limits::CONNECTED_NODES_MAX,
    membership::charter::WorkingGroup,
};
use sha2::{Digest, Sha256};

use super::{HintRow, address::Address};

/// A node to be connected with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: NodeKey,
    /// Its member.
    pub member: MemberCode,
    /// Its member's working group; `None` for this member's own other nodes, which are never left out.
    pub group: Option<WorkingGroup>,
    /// Where it can be dialled, by preference; none if it only dials out.
    pub addresses: Vec<Address>,
}

/// How dials are paced.
#[derive(Clone, Copy, Debug)]
pub struct DialLimits {
    /// Dials at once: each costs a handshake of about two milliseconds.
    pub concurrent_max: usize,
    /// Nodes dialled; past it a set spread over the working groups.
    pub targets_max: usize,
    /// The bound of the first pause after a failed round.
    pub pause_min: Duration,
    /// The bound of the longest pause.
    pub pause_max: Duration,
    /// The shortest time that the higher node leaves the lower one to dial.
    pub yield_min: Duration,
    /// The longest such time.
    pub yield_max: Duration,
    /// A connection that lived this long was a success: the next pause is short again.
    pub stable_after: Duration,
}

impl Default for DialLimits {
    fn default() -> Self {
        Self {
            concurrent_max: 16,
            targets_max: CONNECTED_NODES_MAX,
            pause_min: Duration::from_secs(1),
            pause_max: Duration::from_secs(300),
            yield_min: Duration::from_secs(3),
            yield_max: Duration::from_secs(8),
            stable_after: Duration::from_secs(60),
        }
    }
}

/// Names a dial that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AttemptId(u64);

/// A dial to start now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Names it in its outcome.
    pub attempt: AttemptId,
    /// The node that is looked for; `None` for a hint.
    pub node: Option<NodeKey>,
    /// The address.
    pub address: Address,
}

/// Decides on dials. Every draw is a uniform 64-bit number.
#[derive(Debug)]
pub struct Dialler {
    me: NodeKey,
    limits: DialLimits,
    /// Whether others can dial this node: only then does it leave the first move to lower ones.
    reachable: bool,
    routes: BTreeMap<Route, State>,
    attempts: BTreeMap<AttemptId, (Route, Address)>,
    connected: BTreeMap<NodeKey, Instant>,
    next_attempt: u64,
    /// Set while nothing was due when last asked: when something is, if nothing else happens before. The swarm's
    /// task asks after every event, and at rest thousands of pings change nothing here.
    quiet: Option<Quiet>,
}

/// Nothing is due.
#[derive(Clone, Copy, Debug)]
enum Quiet {
    /// Before then.
    Until(Instant),
    /// Until something happens.
    UntilAnything,
}

/// What is dialled: a node at its addresses, or an address whose node is not known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Route {
    Node(NodeKey),
    Hint(Address),
}

#[derive(Debug)]
struct State {
    /// Drawn: of what is due together the lowest goes first. By their keys, all nodes that start at once would
    /// meet at one node, which turns most of them away.
    order: u64,
    addresses: Vec<Address>,
    /// The next address of the round.
    cursor: usize,
    /// Rounds that failed in a row.
    failures: u32,
    due: Option<Instant>,
    under_way: bool,
    /// For a hint: the node that answered there.
    answered: Option<NodeKey>,
    last_failure: Option<String>,
}

impl Dialler {
    /// Starts with nobody to dial.
    #[must_use]
    pub fn new(me: NodeKey, limits: DialLimits, reachable: bool) -> Self {
        Self {
            me,
            limits,
            reachable,
            routes: BTreeMap::new(),
            attempts: BTreeMap::new(),
            connected: BTreeMap::new(),
            next_attempt: 0,
            quiet: None,
        }
    }

    /// Replaces the targets and hints. What is known of a target that stays is kept; one whose addresses
    /// changed starts a new round at once.
    pub fn aim(
        &mut self,
        targets: &[Target],
        hints: &[Address],
        now: Instant,
        mut draw: impl FnMut() -> u64,
    ) {
        self.quiet = None;
        let chosen = choose(self.me, targets, self.limits.targets_max);
        let known: BTreeSet<&Address> = chosen.iter().flat_map(|target| &target.addresses).collect();
        let mut wanted: BTreeMap<Route, Vec<Address>> =
            chosen.iter().map(|target| (Route::Node(target.node), target.addresses.clone())).collect();
        for hint in hints.iter().filter(|hint| !known.contains(hint)).take(HINTS_MAX) {
            wanted.insert(Route::Hint(hint.clone()), vec![hint.clone()]);
        }
        self.routes.retain(|route, _| wanted.contains_key(route));
        for (route, addresses) in wanted {
            let drawn = draw();
            let first_due = self.first_due(&route, now, drawn);
            let state = self.routes.entry(route).or_insert_with(|| State {
                order: drawn,
                addresses: Vec::new(),
                cursor: 0,
                failures: 0,
                due: None,
                under_way: false,
                answered: None,
                last_failure: None,
            });
            if state.addresses != addresses {
                state.due = if addresses.is_empty() { None } else { Some(first_due) };
                state.addresses = addresses;
                state.cursor = 0;
                state.failures = 0;
            }
        }
    }

    /// The next dial that is due, if the cap on dials at once allows one.
    pub fn next(&mut self, now: Instant) -> Option<Dial> {
        let is_quiet = match self.quiet {
            None => false,
            Some(Quiet::Until(due)) => now < due,
            Some(Quiet::UntilAnything) => true,
        };
        if is_quiet || self.attempts.len() >= self.limits.concurrent_max {
            return None;
        }
        let first = self.waiting().min_by_key(|(_, state, due)| (*due, state.order));
        let due = first.map(|(_, _, due)| due);
        let Some((route, state, _)) = first.filter(|(_, _, due)| *due <= now) else {
            self.quiet = Some(due.map_or(Quiet::UntilAnything, Quiet::Until));
            return None;
        };
        let (route, address) = (route.clone(), state.addresses.get(state.cursor)?.clone());
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        let node = match &route {
            Route::Node(node) => Some(*node),
            Route::Hint(_) => None,
        };
        self.quiet = None;
        if let Some(state) = self.routes.get_mut(&route) {
            state.under_way = true;
        }
        self.attempts.insert(attempt, (route, address.clone()));
        Some(Dial { attempt, node, address })
    }

    /// When [`Dialler::next`] may have something: `None` while nothing waits or the cap is reached.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<Instant> {
        if self.attempts.len() >= self.limits.concurrent_max {
            return None;
        }
        match self.quiet {
            Some(Quiet::Until(due)) => Some(due),
            Some(Quiet::UntilAnything) => None,
            None => self.waiting().map(|(_, _, due)| due).min(),
        }
    }

    /// What is neither up nor under way, and when it is due.
    fn waiting(&self) -> impl Iterator<Item = (&Route, &State, Instant)> {
        let down = self.routes.iter().filter(|(route, state)| !is_up(route, state, &self.connected));
        let idle = down.filter(|(_, state)| !state.under_way && !state.addresses.is_empty());
        idle.filter_map(|(route, state)| Some((route, state, state.due?)))
    }

    /// Dials under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.attempts.len()
    }

    /// A dial failed: the next address of the round is due at once, or a pause begins.
    pub fn on_failed(&mut self, attempt: AttemptId, why: &str, now: Instant, draw: u64) {
        let Some((route, address)) = self.attempts.remove(&attempt) else {
            return;
        };
        self.quiet = None;
        let limits = self.limits;
        let Some(state) = self.routes.get_mut(&route) else {
            return;
        };
        state.under_way = false;
        state.last_failure = Some(format!("{address}: {why}"));
        // New addresses since the dial began have started a round of their own.
        if state.addresses.get(state.cursor) == Some(&address) {
            state.cursor += 1;
            if state.cursor < state.addresses.len() {
                state.due = Some(now);
            } else {
                state.rest(&limits, now, draw);
            }
        }
    }

    /// A dial of ours reached a node that was admitted and admitted us; not always the one looked for.
    pub fn on_reached(&mut self, attempt: AttemptId, node: NodeKey, now: Instant, draw: u64) {
        let looked_for = self.attempts.get(&attempt).map(|(route, _)| route.clone());
        match looked_for {
            Some(Route::Node(target)) if target != node => {
                self.on_failed(
                    attempt,
                    &format!("another node ({}) answered there", node.short()),
                    now,
                    draw,
                );
            }
            Some(route) => {
                self.quiet = None;
                self.attempts.remove(&attempt);
                if let Some(state) = self.routes.get_mut(&route) {
                    state.under_way = false;
                    state.cursor = 0;
                    state.due = Some(now);
                    if let Route::Hint(_) = route {
                        state.answered = Some(node);
                    }
                }
            }
            None => {}
        }
    }

    /// The address is this node's own: it is dialled again now and then, since another machine with this node's
    /// key may come to answer there (`network::twin`).
    pub fn on_self(&mut self, attempt: AttemptId, now: Instant) {
        if let Some((route, _)) = self.attempts.remove(&attempt)
            && let Some(state) = self.routes.get_mut(&route)
        {
            state.under_way = false;
            self.quiet = None;
            state.failures = state.failures.saturating_add(1);
            let again = if state.failures <= SELF_DIALS_SOON { SELF_AGAIN_SOON } else { SELF_AGAIN };
            state.due = Some(now + again);
            state.last_failure = Some("this node's own address".to_owned());
        }
    }

    /// The first connection with a node is up, whoever dialled.
    pub fn on_connected(&mut self, node: NodeKey, now: Instant) {
        self.quiet = None;
        self.connected.entry(node).or_insert(now);
    }

    /// The last connection with a node is gone.
    pub fn on_disconnected(&mut self, node: NodeKey, why: &str, now: Instant, draw: u64) {
        let Some(since) = self.connected.remove(&node) else {
            return;
        };
        self.quiet = None;
        let stable = now.duration_since(since) >= self.limits.stable_after;
        let limits = self.limits;
        let yields = self.yields_to(node);
        for (route, state) in &mut self.routes {
            let concerned = match route {
                Route::Node(target) => *target == node,
                Route::Hint(_) => state.answered == Some(node),
            };
            if !concerned || state.addresses.is_empty() {
                continue;
            }
            state.cursor = 0;
            state.last_failure = Some(why.to_owned());
            if stable {
                state.failures = 0;
            }
            state.rest(&limits, now, draw);
            if yields {
                let earliest = now + spread(limits.yield_min, limits.yield_max, draw);
                state.due = state.due.max(Some(earliest));
            }
        }
    }

    /// Whether a node is looked for.
    #[must_use]
    pub fn is_target(&self, node: NodeKey) -> bool {
        self.routes.contains_key(&Route::Node(node))
    }

    /// Where a node announces itself; none if it is not looked for.
    #[must_use]
    pub fn addresses(&self, node: NodeKey) -> &[Address] {
        self.routes.get(&Route::Node(node)).map_or(&[], |state| state.addresses.as_slice())
    }

    /// When a node is dialled next, and why the last dial or connection ended.
    #[must_use]
    pub fn outlook(&self, node: NodeKey) -> (Option<Instant>, Option<&str>) {
        match self.routes.get(&Route::Node(node)) {
            Some(state) if state.addresses.is_empty() => (
                None,
                Some(state.last_failure.as_deref().unwrap_or("it publishes no address; it must dial us")),
            ),
            Some(state) => (state.due, state.last_failure.as_deref()),
            None => (None, None),
        }
    }

    /// Every address that is dialled without knowing whose node is there.
    #[must_use]
    pub fn hints(&self, now: Instant) -> Vec<HintRow> {
        let row = |(route, state): (&Route, &State)| match route {
            Route::Node(_) => None,
            Route::Hint(address) => Some(HintRow {
                address: address.clone(),
                reason: state.last_failure.clone(),
                next_dial_in: state
                    .due
                    .filter(|_| !is_up(route, state, &self.connected))
                    .map(|due| due.saturating_duration_since(now)),
            }),
        };
        self.routes.iter().filter_map(row).collect()
    }

    fn yields_to(&self, node: NodeKey) -> bool {
        self.reachable && node < self.me
    }

    fn first_due(&self, route: &Route, now: Instant, draw: u64) -> Instant {
        match route {
            Route::Node(node) if self.yields_to(*node) => {
                now + spread(self.limits.yield_min, self.limits.yield_max, draw)
            }
            Route::Node(_) | Route::Hint(_) => now,
        }
    }
}

impl State {
    /// Begins a pause: evenly drawn below a bound that doubles with every failed round.
    fn rest(&mut self, limits: &DialLimits, now: Instant, draw: u64) {
        let doubled = limits.pause_min.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        let bound = doubled.min(limits.pause_max);
        self.failures = self.failures.saturating_add(1);
        self.cursor = 0;
        self.due = Some(now + spread(Duration::ZERO, bound, draw));
    }
}

/// A hint is up while the node that answered there is.
fn is_up(route: &Route, state: &State, connected: &BTreeMap<NodeKey, Instant>) -> bool {
    match route {
        Route::Node(node) => connected.contains_key(node),
        Route::Hint(_) => state.answered.is_some_and(|node| connected.contains_key(&node)),
    }
}

/// Evenly between two durations.
fn spread(from: Duration, to: Duration, draw: u64) -> Duration {
    let span = u64::try_from(to.saturating_sub(from).as_millis()).unwrap_or(u64::MAX);
    // The high half of a product maps a draw evenly onto a range.
    let drawn = (u128::from(draw) * (u128::from(span) + 1)) >> 64;
    from + Duration::from_millis(u64::try_from(drawn).unwrap_or(u64::MAX))
}

/// All targets if they are few enough; else own nodes, then one of each working group in turn, in an order
/// that differs from node to node, so that the sets that are left out differ too.
fn choose(me: NodeKey, targets: &[Target], max: usize) -> Vec<&Target> {
    let others = targets.iter().filter(|target| target.node != me);
    if targets.len() <= max {
        return others.collect();
    }
    let mut groups: BTreeMap<Option<WorkingGroup>, BTreeMap<[u8; 32], &Target>> = BTreeMap::new();
    for target in others {
        let order = Sha256::new().chain_update(me.as_bytes()).chain_update(target.node.as_bytes()).finalize();
        groups.entry(target.group).or_default().insert(order.into(), target);
    }
    let own = groups.remove(&None).unwrap_or_default();
    let mut chosen: Vec<&Target> = own.into_values().take(max).collect();
    let mut queues: Vec<_> = groups.into_values().map(BTreeMap::into_values).collect();
    while chosen.len() < max && !queues.is_empty() {
        queues.retain_mut(|queue| match queue.next() {
            Some(target) if chosen.len() < max => {
                chosen.push(target);
                true
            }
            Some(_) | None => false,
        });
    }
    chosen
}

/// Dials of one's own address that follow each other soon: a twin is to be noticed soon after a start.
const SELF_DIALS_SOON: u32 = 2;

/// How soon; longer than a meeting with oneself takes to be settled.
const SELF_AGAIN_SOON: Duration = Duration::from_secs(15);

/// How often later: one handshake.
const SELF_AGAIN: Duration = Duration::from_secs(600);

/// Hints dialled: one for each member of the largest charter.
const HINTS_MAX: usize = 256;

#[cfg(test)]
mod tests;
