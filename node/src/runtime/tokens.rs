//! Stands numbers in for the network's own tokens, which the machine cannot hold.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A bounded table from the machine's number to the network's token.
#[derive(Debug)]
pub(super) struct Tokens<N, T> {
    table: Arc<Mutex<Table<N, T>>>,
    make: fn(u64) -> N,
}

#[derive(Debug)]
struct Table<N, T> {
    next: u64,
    held: BTreeMap<N, T>,
}

impl<N: Ord + Copy, T> Tokens<N, T> {
    /// An empty table whose numbers are made by `make`.
    pub(super) fn new(make: fn(u64) -> N) -> Self {
        let table = Table { next: 0, held: BTreeMap::new() };
        Self { table: Arc::new(Mutex::new(table)), make }
    }

    /// Holds a token and names it. The oldest is dropped when too many wait: the network treats it as
    /// unanswered.
    pub(super) fn hold(&self, token: T) -> N {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.next += 1;
        let number = (self.make)(table.next);
        table.held.insert(number, token);
        while table.held.len() > HELD_MAX {
            table.held.pop_first();
        }
        number
    }

    /// Takes a token out.
    pub(super) fn take(&self, number: N) -> Option<T> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&number)
    }
}

impl<N, T> Clone for Tokens<N, T> {
    fn clone(&self) -> Self {
        Self { table: Arc::clone(&self.table), make: self.make }
    }
}

/// Tokens that may wait: gossip and repair requests of 256 peers, several each.
const HELD_MAX: usize = 4_096;
