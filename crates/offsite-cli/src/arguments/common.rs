//! What several commands take.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::thread;

use clap::{Arg, Args};
use offsite::files::Place;
use offsite::names::{HostName, SetName};
use offsite::operations::backups::Which;
use offsite::store::Location;
use time::OffsetDateTime;

use crate::arguments::values::{PlaceArgument, day_or_moment, moment, period, place, store, threads, which};

/// A store to put into, as whom and for whom.
#[derive(Args)]
pub(crate) struct ToStore {
    /// Certificate to encrypt to; repeat it for several recipients, each of whom can decrypt alone.
    /// Without it OFFSITE_RECIPIENTS counts: names of files, one a line, or PEM text; then what is baked in
    #[arg(short, long = "recipient", value_name = "CERT")]
    pub(crate) recipients: Vec<PathBuf>,
    /// Where to: a directory, s3://BUCKET/PREFIX or sftp://USER@HOST/PATH. Of a directory's path only the last part is
    /// made where it is missing. A bucket elsewhere than at Amazon has its service's address after it,
    /// 's3://BUCKET/PREFIX?endpoint=https://HOST:PORT'
    #[arg(long, value_name = "STORE", env = "OFFSITE_STORE", value_parser = store())]
    pub(crate) to: Location,
    /// Whose backups these are, in the store [default: this machine's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) host: Option<HostName>,
    /// Series of backups
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) set: SetName,
}

/// A store to read from, and what of it.
#[derive(Args)]
pub(crate) struct FromStore {
    /// Store to read from: a directory, s3://BUCKET/PREFIX or sftp://USER@HOST/PATH. A bucket elsewhere than at Amazon
    /// has its service's address after it, 's3://BUCKET/PREFIX?endpoint=https://HOST:PORT'
    #[arg(long, value_name = "STORE", env = "OFFSITE_STORE", hide_env_values = true)]
    pub(crate) from: OsString,
    /// Only backups of this host
    #[arg(long)]
    pub(crate) host: Option<HostName>,
    /// Only backups of this set
    #[arg(long)]
    pub(crate) set: Option<SetName>,
    /// Whose backups to trust: a folder with a HOST.pem for each host; or, with --host, a file of
    /// certificates or sha256:FINGERPRINT. Repeat it for several. Without it OFFSITE_SIGNERS counts,
    /// one a line
    #[arg(long = "signer", value_name = "SIGNER")]
    pub(crate) signers: Vec<OsString>,
    /// Read what a bucket with versions held at that time, such as 2026-11-23T07:45, in UTC unless a zone follows
    /// (+01:00), or 2026-11-23 for the first moment of that day: what was put later is not there
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) store_as_of: Option<OffsetDateTime>,
}

/// What a store must hold.
#[derive(Args)]
pub(crate) struct Expected {
    /// The latest backup of each set must not be older than this: 26h, 8d, 2w
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) max_age: Option<u64>,
    /// Backups older than this may have been removed by rule: what is missing of them is no finding. What is there
    /// must be right
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) retention: Option<u64>,
}

/// The words of `--host` and `--set` for a command that is about one set.
pub(super) fn of_one_set(argument: Arg) -> Arg {
    match argument.get_id().as_str() {
        "host" => argument.help("Whose backup is meant; must be given where the store holds those of several hosts"),
        "set" => argument.help("Of which set; must be given where there are several"),
        _ => argument,
    }
}

/// One backup of a store, and the key that opens it.
#[derive(Args)]
#[command(mut_args(of_one_set))]
pub(crate) struct OneBackup {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) key: Key,
    /// Which backup: an id, as `offsite list` shows them, or latest
    #[arg(long, value_name = "ID", default_value = "latest", value_parser = which)]
    backup: Which,
    /// Instead: the latest backup of that time or earlier, such as 2026-11-23T07:45, in UTC unless a zone follows
    /// (+01:00), or 2026-11-23 for the end of that day. A backup is of the time when it started, or when the store says
    /// that it was put if that is earlier
    #[arg(long, value_name = "TIME", value_parser = day_or_moment, conflicts_with = "backup")]
    as_of: Option<OffsetDateTime>,
}

impl OneBackup {
    pub(crate) fn which(&self) -> Which {
        self.as_of.map_or(self.backup, Which::AsOf)
    }
}

/// A private key.
#[derive(Args)]
pub(crate) struct Key {
    /// File with the private key, with or without its certificate
    #[arg(short, long, value_name = "PRIVATE")]
    pub(crate) key: PathBuf,
    /// Unlock the private key by the first line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
}

/// How much of the machine is used.
#[derive(Args)]
pub(crate) struct Threads {
    /// How many threads share the work, from 1 to 64; each takes memory [default: as many as this process
    /// has cores, up to 8]
    #[arg(long, value_name = "N", value_parser = threads)]
    threads: Option<NonZero<usize>>,
}

impl Threads {
    /// Unless it is asked for, no more than 8: others on the machine want memory, too.
    pub(crate) fn number(&self) -> NonZero<usize> {
        const MOST: NonZero<usize> = NonZero::new(8).expect("8 is not 0");
        let cores = || thread::available_parallelism().map_or(NonZero::<usize>::MIN, |cores| cores.min(MOST));
        self.threads.unwrap_or_else(cores)
    }
}

/// Who watches for runs.
#[derive(Args)]
pub(crate) struct Ping {
    /// Tell a service such as healthchecks.io: POST to URL/start when it begins, and at its end to URL, to URL/fail
    /// if it failed, or to URL/3 or URL/4 as the exit code is. It is sent counts and no names. Who knows the URL can
    /// report in your name, and other users see options: OFFSITE_PING serves as well
    #[arg(long, value_name = "URL", env = "OFFSITE_PING", hide_env = true)]
    pub(crate) ping: Option<OsString>,
}

/// What is read and written.
#[derive(Args)]
pub(crate) struct InputOutput {
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
    /// File to write; standard output without it
    #[arg(short, long, value_name = "OUT", value_parser = place())]
    output: Option<PlaceArgument>,
    /// File to read; standard input without it
    #[arg(value_name = "IN", value_parser = place())]
    input: Option<PlaceArgument>,
}

impl InputOutput {
    pub(crate) fn input(&self) -> Place {
        PlaceArgument::or_standard(self.input.as_ref())
    }

    pub(crate) fn output(&self) -> Place {
        PlaceArgument::or_standard(self.output.as_ref())
    }
}
