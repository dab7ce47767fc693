//! A large member, of which several threads have parts.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use super::entry::Entry;
use crate::archive::read::Member;
use crate::archive::unpack::NewFile;

/// What the threads that have parts of a member share.
pub(super) struct Large<'u> {
    pub(super) entry: Entry,
    /// The file that a bare stream would be: there is no header then.
    pub(super) stream: Option<Member>,
    head: Mutex<Head<'u>>,
    known: Condvar,
    lost: AtomicBool,
}

enum Head<'u> {
    /// The thread that has the first part is still at it.
    Awaited,
    Known(Arc<Known<'u>>),
    /// It could not be read.
    Lost,
}

/// What the first part of a member tells the threads that have the others.
pub(super) struct Known<'u> {
    pub(super) member: Member,
    /// How many bytes stand before the content.
    pub(super) header: u64,
    /// Where the content goes, unless it is kept, or goes elsewhere.
    pub(super) file: Option<NewFile<'u>>,
    /// Whether it is there already.
    pub(super) kept: bool,
}

impl<'u> Large<'u> {
    pub(super) fn new(entry: Entry, stream: Option<Member>) -> Self {
        Self { entry, stream, head: Mutex::new(Head::Awaited), known: Condvar::new(), lost: AtomicBool::new(false) }
    }

    /// Notes what the first part told.
    pub(super) fn tell(&self, known: Known<'u>) -> Arc<Known<'u>> {
        let known = Arc::new(known);
        self.set(Head::Known(known.clone()));
        known
    }

    fn set(&self, head: Head<'u>) {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner) = head;
        self.known.notify_all();
    }

    /// What the first part told, once it has; None where it could not. The first part was given out
    /// first, so some thread has it.
    pub(super) fn head(&self) -> Option<Arc<Known<'u>>> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*head {
                Head::Known(known) => return Some(known.clone()),
                Head::Lost => return None,
                Head::Awaited => head = self.known.wait(head).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Notes that the member is lost; true for the first to say so.
    pub(super) fn lose(&self) -> bool {
        !self.lost.swap(true, Ordering::Relaxed)
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    /// Finishes the file, once no thread has a part any more.
    pub(super) fn finish(self) {
        let is_lost = self.is_lost();
        if let Head::Known(known) = self.head.into_inner().unwrap_or_else(PoisonError::into_inner)
            && let Some(Known { file: Some(file), .. }) = Arc::into_inner(known)
            && !is_lost
        {
            file.finish();
        }
    }
}

/// Held by the thread that has the first part: however that ends, the others do not wait for ever.
pub(super) struct First<'l, 'u>(pub(super) &'l Large<'u>);

impl Drop for First<'_, '_> {
    fn drop(&mut self) {
        let head = self.0.head.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*head, Head::Awaited) {
            drop(head);
            self.0.set(Head::Lost);
        }
    }
}
