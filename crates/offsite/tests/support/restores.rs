//! Restoring with offsite what stock tools restore as well.

use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;

use offsite::archive::unpack::{Existing, Problem, Report};
use offsite::cms::KeyFile;
use offsite::names::BackupId;
use offsite::operations::backups::{Backup, Scope, Which, choose};
use offsite::operations::restore::{Error, Restore, Restored, To, Watch, restore_backup};
use offsite::pins::Pins;
use offsite::store::{Location, ReadSettings, open_for_read};
use offsite::{Damage, Events, Warning};

/// Keeps what is lost; nothing else may happen.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) lost: Mutex<Vec<String>>,
}

impl Events for Heard {
    fn progress(&self, _: u64) {}

    fn warn(&self, warning: Warning) {
        assert!(matches!(warning, Warning::OriginNotProven), "{warning:?}");
    }

    fn damage(&self, damage: &Damage) {
        panic!("{damage}");
    }
}

impl Report for Heard {
    fn problem(&self, problem: Problem) {
        panic!("{problem}");
    }
}

impl Watch for Heard {
    fn lost(&self, path: &[u8], error: &Error) {
        self.lost.lock().unwrap().push(format!("{}: {error}", String::from_utf8_lossy(path)));
    }
}

/// Restores a backup of a store with the private key in a file.
fn restore(store: &Path, private: &Path, backup: BackupId, to: To<'_>) -> Result<Restored, Error> {
    let key = KeyFile::read(&std::fs::read(private).unwrap()).unwrap().unlock(None).unwrap();
    let store =
        open_for_read(&Location::Directory(store.to_path_buf()), &ReadSettings::new()).map_err(offsite::Error::from)?;
    let heard = Heard::default();
    let found = choose(&*store, &Scope::default(), Which::Id(backup), &Pins::default(), &heard)?;
    let backup = Backup::open(&*store, &key, &found)?;
    let what = Restore {
        paths: &[],
        keep_going: false,
        folder: &std::env::temp_dir(),
        threads: NonZero::<usize>::MIN.saturating_add(1),
    };
    restore_backup(&what, to, &backup, &heard)
}

/// Its tar, or its stream.
pub(crate) fn writes(store: &Path, private: &Path, backup: BackupId) -> Result<Vec<u8>, Error> {
    let mut out = Vec::new();
    match restore(store, private, backup, To::Tar(&mut out)) {
        Err(Error::NoTar) => restore(store, private, backup, To::Content(&mut out)),
        restored => restored,
    }?;
    Ok(out)
}

/// Its files.
pub(crate) fn restores(store: &Path, private: &Path, backup: BackupId, path: &Path) -> Result<Restored, Error> {
    restore(store, private, backup, To::Folder { path, existing: Existing::Refuse })
}
