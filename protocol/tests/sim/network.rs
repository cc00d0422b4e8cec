//! The links between nodes, and what goes wrong on them: delay, loss, doubles, reordering, partitions.
//!
//! It decides whether and when something arrives. Who is let in is the introduction's to say.

use std::collections::{BTreeMap, BTreeSet};

use super::draw::Draw;

/// A connection of two nodes, of which each side has its own idea.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    /// Whether the lower and the higher node hold it to be up.
    pub(crate) up: [bool; 2],
    /// Whether nothing goes through any more, whatever the sides believe.
    pub(crate) broken: bool,
    /// When the last of what was sent in order arrives: by direction and class.
    last: [[u64; 2]; 2],
    latency: u64,
}

/// A cut that lasts until it is taken away.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) kind: &'static str,
    /// From these nodes…
    from: BTreeSet<usize>,
    /// …nothing reaches others, and nothing comes back unless it is one-way…
    one_way: bool,
    /// …but for these, whom the cut leaves alone.
    except: BTreeSet<usize>,
}

/// How often what is sent goes astray, in 10,000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) reordered: u64,
    pub(crate) delayed: u64,
}

/// What becomes of something sent: when it arrives (never, once or twice), and what went wrong on its way.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    pub(crate) arrivals: Vec<u64>,
    pub(crate) faults: Vec<&'static str>,
    /// Whether the connection does not survive it.
    pub(crate) breaks: bool,
}

/// How something is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// On a lane (0 or 1); lost with the connection only. Some is doubled or taken out of its order, as a
    /// sender that sends it anew would have it.
    Stream(usize),
    /// On a lane, once, in its order: what makes sense in no other way.
    Strict(usize),
    /// By itself.
    Single,
}

/// All links.
#[derive(Default)]
pub(crate) struct Network {
    links: BTreeMap<(usize, usize), Link>,
    pub(crate) cuts: Vec<Cut>,
    pub(crate) weather: Weather,
    ids: u64,
}

impl Network {
    pub(crate) fn link(&self, a: usize, b: usize) -> Option<&Link> {
        self.links.get(&pair(a, b))
    }

    pub(crate) fn link_mut(&mut self, a: usize, b: usize) -> Option<&mut Link> {
        self.links.get_mut(&pair(a, b))
    }

    /// Whether `at` holds its connection with `other` to be up.
    pub(crate) fn believes(&self, at: usize, other: usize) -> bool {
        self.link(at, other).is_some_and(|link| link.up[side(at, other)])
    }

    /// Makes a new connection; an older one is forgotten.
    pub(crate) fn join(&mut self, a: usize, b: usize, draw: &mut Draw) -> u64 {
        self.ids += 1;
        let link = Link {
            id: self.ids,
            up: [true, true],
            broken: false,
            last: [[0; 2]; 2],
            latency: draw.within(2..120),
        };
        self.links.insert(pair(a, b), link);
        self.ids
    }

    /// One side noticed that a connection is gone; `true` if that is news.
    pub(crate) fn notice(&mut self, at: usize, other: usize, id: u64) -> bool {
        let Some(link) = self.links.get_mut(&pair(at, other)).filter(|link| link.id == id) else {
            return false;
        };
        let was = std::mem::replace(&mut link.up[side(at, other)], false);
        if link.up == [false, false] {
            self.links.remove(&pair(at, other));
        }
        was
    }

    /// The nodes that `at` holds to be connected.
    pub(crate) fn peers(&self, at: usize, count: usize) -> Vec<usize> {
        (0..count).filter(|other| *other != at && self.believes(at, *other)).collect()
    }

    pub(crate) fn blocked(&self, from: usize, to: usize) -> bool {
        self.cuts.iter().any(|cut| {
            if cut.except.contains(&from) || cut.except.contains(&to) {
                return false;
            }
            let (out, back) = (cut.from.contains(&from), cut.from.contains(&to));
            (out && !back) || (!cut.one_way && back && !out)
        })
    }

    /// Cuts the network; returns the pairs whose connection that breaks.
    pub(crate) fn cut(
        &mut self,
        kind: &'static str,
        from: BTreeSet<usize>,
        except: BTreeSet<usize>,
    ) -> Vec<(usize, usize)> {
        let crossing = |(a, b): &&(usize, usize)| {
            from.contains(a) != from.contains(b) && !except.contains(a) && !except.contains(b)
        };
        let broken: Vec<_> = self.links.keys().filter(crossing).copied().collect();
        self.cuts.push(Cut { kind, from, one_way: kind == "partition-one-way", except });
        broken
    }

    /// Decides what becomes of something sent at `now` by `from` to `to`, who are connected.
    pub(crate) fn send(&mut self, now: u64, from: usize, to: usize, way: Way, draw: &mut Draw) -> Fate {
        let blocked = self.blocked(from, to);
        let weather = self.weather;
        let Some(link) = self.links.get_mut(&pair(from, to)) else { return Fate::default() };
        let mut fate = Fate::default();
        if link.broken || blocked {
            return fate;
        }
        if draw.chance(weather.lost, 10_000) {
            fate.faults.push("loss");
            // A stream loses nothing but with its connection.
            fate.breaks = way != Way::Single;
            return fate;
        }
        let mut at = now + link.latency + draw.within(0..link.latency / 4 + 2);
        if draw.chance(weather.delayed, 10_000) {
            fate.faults.push("delay");
            at += draw.within(800..8_000);
        }
        let strict = matches!(way, Way::Strict(_));
        let reordered = draw.chance(weather.reordered, 10_000) && !strict;
        if reordered {
            fate.faults.push("reordering");
            at += draw.within(50..3_000);
        }
        if let Way::Stream(lane) | Way::Strict(lane) = way {
            let last = &mut link.last[side(from, to)][lane];
            at = at.max(*last);
            // What is taken out of its order does not hold up the rest.
            if !reordered {
                *last = at;
            }
        }
        fate.arrivals.push(at);
        if draw.chance(weather.doubled, 10_000) && !strict {
            fate.faults.push("duplication");
            fate.arrivals.push(at + draw.within(1..20_000));
        }
        fate
    }
}

/// A pair in the order of its nodes.
pub(crate) fn pair(a: usize, b: usize) -> (usize, usize) {
    (a.min(b), a.max(b))
}

/// Which side of its link with `other` a node is.
pub(crate) fn side(at: usize, other: usize) -> usize {
    usize::from(at > other)
}
