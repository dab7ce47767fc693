//! The objects below a folder, in the order of their names, in constant memory.

use std::collections::BinaryHeap;
use std::ops::ControlFlow;

use time::OffsetDateTime;

use super::session::{Fault, Handle, Session};
use super::wire::{Attributes, Name, Status};
use crate::names::{Folder, ObjectName, is_component};
use crate::store::Listed;

/// Most names of one folder in memory: 5 MiB of the longest. A folder of more is read several times.
const PAGE: usize = 1 << 14;

/// How many questions for a folder's next names are under way at once.
const AHEAD: usize = 4;

pub(super) struct Walk<'a> {
    session: &'a Session,
    /// The path of the store.
    store: String,
    page: usize,
    each: &'a mut dyn FnMut(Listed) -> ControlFlow<()>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(session: &'a Session, store: String, each: &'a mut dyn FnMut(Listed) -> ControlFlow<()>) -> Self {
        Self { session, store, page: PAGE, each }
    }

    /// The same with fewer names in memory.
    #[cfg(test)]
    pub(super) fn with_page(self, page: usize) -> Self {
        Self { page, ..self }
    }

    /// Lists all below a folder of the store. One that is gone has nothing.
    pub(super) fn folder(&mut self, folder: &Folder) -> Result<ControlFlow<()>, Fault> {
        let mut after = None;
        loop {
            let entries = match self.page_of(folder, after.as_deref()) {
                Err(fault) if fault.is(Status::NO_SUCH_FILE) => return Ok(ControlFlow::Continue(())),
                entries => entries?,
            };
            for entry in &entries {
                if self.entry(folder, entry)?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            match entries.into_iter().next_back() {
                Some(last) => after = Some(last.name),
                None => return Ok(ControlFlow::Continue(())),
            }
        }
    }

    fn entry(&mut self, folder: &Folder, entry: &Entry) -> Result<ControlFlow<()>, Fault> {
        let Entry { name, size, changed } = entry;
        match name.strip_suffix('/') {
            // One too deep for an object has a name that is no folder's.
            Some(below) => match joined(folder, below).parse() {
                Ok(below) => self.folder(&below),
                Err(_) => Ok(ControlFlow::Continue(())),
            },
            None => Ok(match joined(folder, name).parse::<ObjectName>() {
                Ok(object) => (self.each)(Listed { object, size: *size, time: *changed, versions: 1, hidden: false }),
                Err(_) => ControlFlow::Continue(()),
            }),
        }
    }

    fn page_of(&self, folder: &Folder, after: Option<&str>) -> Result<Vec<Entry>, Fault> {
        let path = joined_path(&self.store, folder.as_str());
        let handle = self.session.open_folder(&path)?;
        let page = self.first_after(&path, &handle, after);
        drop(self.session.close(&handle));
        page
    }

    /// The first entries of a folder after a given name, those that may be objects or hold some.
    fn first_after(&self, path: &str, handle: &Handle, after: Option<&str>) -> Result<Vec<Entry>, Fault> {
        let mut first = BinaryHeap::with_capacity(self.page.min(64));
        let mut is_end = false;
        while !is_end {
            let asked: Vec<_> = (0..AHEAD).map(|_| self.session.read_folder(handle)).collect();
            for asked in asked {
                let Some(names) = asked.names()? else {
                    is_end = true;
                    continue;
                };
                // Whoever sends nothing, again and again, would keep us here for ever.
                is_end |= names.is_empty();
                for name in names {
                    let Some(entry) = self.read(path, name)? else { continue };
                    let wanted = first.len() < self.page || first.peek().is_some_and(|last| entry < *last);
                    if wanted && after.is_none_or(|after| *entry.name > *after) {
                        first.push(entry);
                        if first.len() > self.page {
                            first.pop();
                        }
                    }
                }
            }
        }
        let mut first = first.into_sorted_vec();
        // Only a server that lies has two of one name.
        first.dedup_by(|next, previous| next.name == previous.name);
        Ok(first)
    }

    fn read(&self, path: &str, name: Name) -> Result<Option<Entry>, Fault> {
        let Some(text) = String::from_utf8(name.name).ok().filter(|name| is_component(name)) else { return Ok(None) };
        let mut attributes = name.attributes;
        if attributes.mode.is_none() {
            let Some(found) = self.session.link_status(&format!("{path}/{text}"))? else { return Ok(None) };
            attributes = found;
        }
        Ok(Entry::new(text, &attributes))
    }
}

fn joined(folder: &Folder, name: &str) -> String {
    if folder.as_str().is_empty() { name.to_owned() } else { format!("{}/{name}", folder.as_str()) }
}

fn joined_path(store: &str, folder: &str) -> String {
    if folder.is_empty() { store.to_owned() } else { format!("{store}/{folder}") }
}

/// An entry of a folder. That of a folder has a slash at its end, and so sorts as all that lies
/// below it does: `a-b/c` before `a/c`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: String,
    size: u64,
    changed: OffsetDateTime,
}

impl Entry {
    /// None for what is neither a file nor a folder.
    fn new(name: String, attributes: &Attributes) -> Option<Self> {
        let changed = i64::from(attributes.changed.unwrap_or(0));
        let changed = OffsetDateTime::from_unix_timestamp(changed).expect("32 bits of seconds end in 2106");
        match attributes.size {
            _ if attributes.is_folder() => Some(Self { name: name + "/", size: 0, changed }),
            Some(size) if attributes.is_file() => Some(Self { name, size, changed }),
            _ => None,
        }
    }
}
