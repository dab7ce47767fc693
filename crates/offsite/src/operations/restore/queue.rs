//! Work for several threads, in order, and no more of it at a time than fits.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue whose items have weights.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    most: usize,
}

struct State<T> {
    items: VecDeque<(T, usize)>,
    weight: usize,
    /// Nothing more comes.
    ended: bool,
}

impl<T> Queue<T> {
    /// Holds items of `most` weight together, or one.
    pub(super) fn new(most: usize) -> Self {
        let state = State { items: VecDeque::new(), weight: 0, ended: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), most }
    }

    /// Adds an item once there is room; false where nobody takes it any more.
    pub(super) fn push(&self, item: T, weight: usize) -> bool {
        let mut state = self.lock();
        while !state.ended && !state.items.is_empty() && state.weight + weight > self.most {
            state = self.wait(state);
        }
        if state.ended {
            return false;
        }
        state.weight += weight;
        state.items.push_back((item, weight));
        drop(state);
        self.changed.notify_all();
        true
    }

    /// The next item, or None once there will be none.
    pub(super) fn pop(&self) -> Option<T> {
        let mut state = self.lock();
        loop {
            if let Some((item, weight)) = state.items.pop_front() {
                state.weight -= weight;
                drop(state);
                self.changed.notify_all();
                return Some(item);
            }
            if state.ended {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Nothing more comes.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Nothing more comes, and what is there goes.
    pub(super) fn stop(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.weight = 0;
        let items = std::mem::take(&mut state.items);
        drop(state);
        drop(items);
        self.changed.notify_all();
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
