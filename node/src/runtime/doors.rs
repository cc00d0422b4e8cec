//! The ways into the loop, and whose turn it is: the most urgent first, and nobody without end. What is due goes by turns
//! with what comes in, so that doors that are never empty do not stop the time.

use std::{sync::Arc, time::Duration};

use refpoint_protocol::{
    machine::{Command, Input, Machine},
    relay::parcel::Class,
    time::Timestamp,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::Instant,
};

use super::carry::CommandResult;

/// What the loop is handed.
pub(super) enum Order {
    /// Something happened.
    Input(Input),
    /// The operator asks.
    Command {
        /// What.
        command: Command,
        /// Where the answer goes.
        answer: oneshot::Sender<CommandResult>,
    },
    /// Somebody looks at the machine's views.
    Query(Look),
}

/// A look at the machine between two inputs.
pub(super) type Look = Box<dyn FnOnce(&mut Machine, Timestamp) + Send>;

/// The ways into the loop, the most urgent first.
#[derive(Clone)]
pub(super) struct Doors {
    /// From the node's own parts; bounded by what they carry out, so that they never wait for the loop.
    pub(super) inner: mpsc::UnboundedSender<Order>,
    /// Whoever looks: answered also while the machine waits for storage.
    pub(super) looks: mpsc::Sender<Look>,
    /// Urgent messages, their receipts, and commands.
    pub(super) urgent: mpsc::Sender<Order>,
    /// Everything else.
    pub(super) normal: mpsc::Sender<Order>,
}

/// The other ends of [`Doors`].
pub(super) struct Entrance {
    inner: mpsc::UnboundedReceiver<Order>,
    looks: mpsc::Receiver<Look>,
    urgent: mpsc::Receiver<Order>,
    normal: mpsc::Receiver<Order>,
    has_woken: bool,
    looks_in_a_row: u32,
    urgent_in_a_row: u32,
    patience: Patience,
    turns: Arc<Semaphore>,
}

/// For how long normal orders stand back after an urgent one. Its way leads through many hands, and behind other work
/// it would wait for each; but who sends urgent messages without end holds nobody up for more than half of the time.
struct Patience {
    until: Instant,
    left: Duration,
    since: Instant,
}

impl Patience {
    const fn new(now: Instant) -> Self {
        Self { until: now, left: PATIENCE_MAX, since: now }
    }

    fn on_urgent(&mut self, now: Instant) {
        let earned = now.duration_since(self.since) / 2;
        self.left = (self.left + earned).min(PATIENCE_MAX);
        self.since = now;
        let from = self.until.max(now);
        let longer = (now + STAND_BACK).duration_since(from);
        // Of less than was asked for, timers that ring late would make all of it: between two, normal orders have theirs.
        if let Some(left) = self.left.checked_sub(longer) {
            self.left = left;
            self.until = from + longer;
        }
    }
}

/// What an order that was not urgent holds until all that came of it is carried out.
pub(super) type Turn = Option<OwnedSemaphorePermit>;

impl Doors {
    /// Makes both ends.
    pub(super) fn new() -> (Self, Entrance) {
        let (inner, inner_end) = mpsc::unbounded_channel();
        let (looks, looks_end) = mpsc::channel(LOOKS_MAX);
        let (urgent, urgent_end) = mpsc::channel(DOOR_MAX);
        let (normal, normal_end) = mpsc::channel(DOOR_MAX);
        let entrance = Entrance {
            inner: inner_end,
            looks: looks_end,
            urgent: urgent_end,
            normal: normal_end,
            has_woken: false,
            looks_in_a_row: 0,
            urgent_in_a_row: 0,
            patience: Patience::new(Instant::now()),
            turns: Arc::new(Semaphore::new(TURNS)),
        };
        (Self { inner, looks, urgent, normal }, entrance)
    }

    /// The door for a class of message.
    pub(super) const fn of(&self, class: Class) -> &mpsc::Sender<Order> {
        match class {
            Class::Urgent => &self.urgent,
            Class::Normal => &self.normal,
        }
    }

    /// Hands in an input from one of the pool's threads, which may wait.
    pub(super) fn hand_in(&self, class: Class, input: Input) {
        if self.of(class).blocking_send(Order::Input(input)).is_err() {
            tracing::debug!("the machine had stopped");
        }
    }
}

impl Entrance {
    /// The next order, or that it is time to wake, `wakeup` from now. What they lead to is stored in order with
    /// everything else, so only a few normal ones may be on their way to the disk: an urgent one waits for those.
    pub(super) async fn next(&mut self, wakeup: Duration) -> Option<(Order, Turn)> {
        let order = if wakeup.is_zero() && !self.has_woken {
            None
        } else if let Some(order) = self.whose_turn_it_is() {
            Some((order, None))
        } else {
            tokio::select! {
                biased;
                order = self.first() => Some(order?),
                () = tokio::time::sleep(wakeup) => None,
            }
        };
        self.has_woken = order.is_none();
        Some(order.unwrap_or((Order::Input(Input::Woke), None)))
    }

    /// An order that waits behind a door that had its row.
    fn whose_turn_it_is(&mut self) -> Option<Order> {
        if self.looks_in_a_row >= LOOKS_IN_A_ROW_MAX {
            self.looks_in_a_row = 0;
            if let Ok(order) = self.urgent.try_recv() {
                self.on_urgent();
                return Some(order);
            }
            return self.normal.try_recv().ok();
        }
        if self.urgent_in_a_row >= URGENT_IN_A_ROW_MAX {
            self.urgent_in_a_row = 0;
            return self.normal.try_recv().ok();
        }
        None
    }

    /// The first order by the rank of its door; normal ones stand back for a moment after each urgent one. `None` where
    /// all doors are closed.
    async fn first(&mut self) -> Option<(Order, Turn)> {
        let (turns, normal, stands_back_until) = (&self.turns, &mut self.normal, self.patience.until);
        let normal = async {
            if stands_back_until > Instant::now() {
                tokio::time::sleep_until(stands_back_until).await;
            }
            // On a disk that stands still it goes on without a turn, as everything does until all places are taken.
            let turn = tokio::time::timeout(TURN_WAIT, Arc::clone(turns).acquire_owned()).await;
            Some((normal.recv().await?, turn.ok().and_then(Result::ok)))
        };
        tokio::select! {
            biased;
            Some(order) = self.inner.recv() => Some((order, None)),
            Some(look) = self.looks.recv() => {
                self.looks_in_a_row += 1;
                Some((Order::Query(look), None))
            }
            Some(order) = self.urgent.recv() => {
                self.on_urgent();
                Some((order, None))
            }
            Some(order) = normal => {
                (self.looks_in_a_row, self.urgent_in_a_row) = (0, 0);
                Some(order)
            }
            else => None,
        }
    }

    fn on_urgent(&mut self) {
        self.looks_in_a_row = 0;
        self.urgent_in_a_row += 1;
        self.patience.on_urgent(Instant::now());
    }

    /// The next who looks: answered also while the loop waits for storage.
    pub(super) async fn next_look(&mut self) -> Option<Look> {
        self.looks.recv().await
    }
}

/// Orders that may wait at one door: with this many the network's readers wait too.
const DOOR_MAX: usize = 1_024;

/// People and programs who may wait for a look at once.
const LOOKS_MAX: usize = 64;

/// Looks answered before a waiting order has its turn. A look is short, and whoever looks waits for it.
const LOOKS_IN_A_ROW_MAX: u32 = 8;

/// Urgent orders taken before a waiting normal one has its turn.
const URGENT_IN_A_ROW_MAX: u32 = 7;

/// Normal orders whose batches are on their way to the disk: enough for syncs to be shared, few enough that an urgent
/// message does not wait behind a queue.
const TURNS: usize = 8;

/// How long normal orders stand back after an urgent one: the next step of an urgent message comes within it, and finds
/// the processors free.
const STAND_BACK: Duration = Duration::from_millis(3);

/// How long normal orders stand back at most in a row: a few hundred urgent messages, one after the other.
const PATIENCE_MAX: Duration = Duration::from_secs(1);

/// How long a normal order waits for a turn.
const TURN_WAIT: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    const LATER: Duration = Duration::from_secs(3_600);

    #[test]
    fn normal_orders_stand_back_for_urgent_ones_and_never_for_more_than_half_of_the_time() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        assert!(patience.until <= start, "nobody waits for nothing");
        patience.on_urgent(start);
        assert_eq!(patience.until, start + STAND_BACK);
        // An urgent order each millisecond, for a minute.
        let (mut waited, minute) = (Duration::ZERO, 60_000);
        for millis in 1..=minute {
            let now = start + Duration::from_millis(millis);
            patience.on_urgent(now);
            waited += patience.until.saturating_duration_since(now).min(Duration::from_millis(1));
        }
        let half = Duration::from_millis(minute) / 2;
        assert!(waited > half && waited <= half + PATIENCE_MAX, "{waited:?}");
        // A quiet second, and there is patience again.
        let later = start + Duration::from_secs(70);
        patience.on_urgent(later);
        assert_eq!(patience.until, later + STAND_BACK);
    }

    #[test]
    fn with_urgent_orders_without_end_normal_ones_have_whole_moments() {
        // A timer rings up to a millisecond late, and then at the next whole one.
        let (start, late, every) = (Instant::now(), Duration::from_millis(2), Duration::from_millis(2));
        let (mut patience, mut free, count) = (Patience::new(start), Duration::ZERO, 30_000);
        for number in 0..count {
            let now = start + every * number;
            patience.on_urgent(now);
            let waits = patience.until > now;
            let until = if waits { patience.until + late } else { now };
            free += (now + every).saturating_duration_since(until);
        }
        assert!(free > every * count / 4, "{free:?} of {:?}", every * count);
    }

    #[tokio::test]
    async fn few_normal_orders_are_on_their_way_at_once_and_an_urgent_one_passes_the_rest() {
        let (doors, mut entrance) = Doors::new();
        for _ in 0..=TURNS + 1 {
            doors.normal.send(Order::Input(Input::Woke)).await.unwrap();
        }
        let mut turns = Vec::new();
        for _ in 0..TURNS {
            turns.push(entrance.next(LATER).await.unwrap().1.expect("a turn"));
        }
        doors.urgent.send(Order::Input(Input::TwinMet)).await.unwrap();
        let (order, turn) = entrance.next(LATER).await.unwrap();
        assert!(matches!(order, Order::Input(Input::TwinMet)) && turn.is_none());
        // As one of them is carried out, the next has its turn; on a disk that stands still it goes on without.
        turns.pop();
        turns.push(entrance.next(LATER).await.unwrap().1.expect("a turn"));
        assert!(entrance.next(LATER).await.unwrap().1.is_none());
    }

    #[tokio::test]
    async fn doors_that_are_never_empty_do_not_stop_the_time() {
        let (doors, mut entrance) = Doors::new();
        for _ in 0..10 {
            doors.inner.send(Order::Input(Input::TwinMet)).unwrap_or_else(|_| panic!("the door is open"));
            doors.looks.send(Box::new(|_, _| {})).await.unwrap();
        }
        let mut woken = 0;
        for _ in 0..20 {
            let (order, _) = entrance.next(Duration::ZERO).await.unwrap();
            woken += u32::from(matches!(order, Order::Input(Input::Woke)));
        }
        assert_eq!(woken, 10, "what is due and what comes in go by turns");
    }

    #[tokio::test]
    async fn who_looks_without_end_keeps_no_order_out() {
        let (doors, mut entrance) = Doors::new();
        doors.normal.send(Order::Input(Input::Woke)).await.unwrap();
        doors.urgent.send(Order::Input(Input::TwinMet)).await.unwrap();
        let mut served = Vec::new();
        for _ in 0..3 * LOOKS_IN_A_ROW_MAX {
            while doors.looks.try_send(Box::new(|_, _| {})).is_ok() {}
            served.push(entrance.next(LATER).await.unwrap().0);
        }
        let at = |wanted: fn(&Order) -> bool| served.iter().position(wanted);
        let row = LOOKS_IN_A_ROW_MAX as usize;
        assert_eq!(at(|order| matches!(order, Order::Input(Input::TwinMet))), Some(row));
        assert_eq!(at(|order| matches!(order, Order::Input(Input::Woke))), Some(2 * row + 1));
    }
}
