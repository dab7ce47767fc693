//! The command line.

use std::ffi::OsString;
use std::num::NonZero;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use offsite::cms::keygen::KeyType;
use offsite::cms::{Profile, limits};
use offsite::files::Place;
use offsite::names::{HostName, NameError, SetName};
use offsite::operations::backups::Which;
use offsite::operations::verify::{FindingId, NotAFindingId};
use offsite::plan::StreamName;
use offsite::receipt;
use offsite::store::Location;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Encrypted off-site backups that only the key in the safe can open, and any OpenSSL can.
#[derive(Parser)]
#[command(name = "offsite", version, propagate_version = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    Keygen(Keygen),
    Encrypt(Encrypt),
    Decrypt(Decrypt),
    Inspect(Inspect),
    Backup(Backup),
    Restore(Restore),
    List(List),
    Files(Files),
    Verify(Verify),
    Drill(Drill),
    Prune(Prune),
    Doctor(Doctor),
    /// Print RECOVER.sh, which restores a backup without offsite
    ///
    /// It needs the private key, a copy of the set's folder, openssl (3.0 or later), zstd and tar. `keygen`
    /// writes it beside the private key; the same script serves everyone.
    #[command(after_help = "Examples:
  offsite recovery-script >RECOVER.sh
  sh RECOVER.sh acme-PRIVATE.pem copy/data/web-1/default/20261123T074500Z-7f3a9c01 restored")]
    RecoveryScript,
}

/// Make a key pair: a private key for the safe, a certificate for the servers
///
/// Writes PREFIX-PRIVATE.pem, which holds the private key and its certificate; PREFIX-cert.pem, the
/// certificate alone; and PREFIX-RECOVER.sh, which restores backups without offsite. None of them
/// may exist yet.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite keygen -o acme                        asks for a passphrase
  offsite keygen -o acme --type p384 --no-passphrase

Keep PREFIX-PRIVATE.pem in a safe place, off every server: whoever has it and its passphrase reads
every backup, and without it nobody does. PREFIX-RECOVER.sh belongs beside it. Copy PREFIX-cert.pem
to the servers.")]
pub(crate) struct Keygen {
    /// What the files' names begin with
    #[arg(short, long, value_name = "PREFIX", default_value = "offsite")]
    pub(crate) output: PathBuf,
    /// Kind of key
    #[arg(long = "type", value_name = "TYPE", value_enum, default_value = "rsa4096")]
    pub(crate) key_type: KeyTypeName,
    /// Days that the certificate is valid
    #[arg(long, default_value = "100000", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) days: u32,
    /// Name in the certificate [default: the PREFIX, without folders]
    #[arg(long, value_name = "CN")]
    pub(crate) name: Option<String>,
    /// Protect the private key by the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with = "no_passphrase")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Leave the private key unprotected
    #[arg(long)]
    pub(crate) no_passphrase: bool,
}

/// Encrypt a file or a pipe to one or more certificates
///
/// The output is a standard CMS message, or a row of them ('slices') where it is longer than the
/// slice size. `offsite decrypt` opens it, and so does `openssl cms -decrypt` (3.0 or later).
#[derive(Args)]
#[command(after_help = "Examples:
  offsite encrypt -r acme-cert.pem -o dump.sql.p7m dump.sql
  tar cz /etc | offsite encrypt -r acme-cert.pem -r failsafe-cert.pem >etc.tgz.p7m

Without offsite, the file opens with (PASS holds the passphrase):
  while openssl cms -decrypt -inform DER -inkey acme-PRIVATE.pem \\
      -recip acme-PRIVATE.pem -passin env:PASS; do :; done <dump.sql.p7m")]
pub(crate) struct Encrypt {
    /// Certificate to encrypt to; repeat it for several recipients, each of whom can decrypt alone.
    /// Without it OFFSITE_RECIPIENTS counts: names of files, one a line, or PEM text
    #[arg(short, long = "recipient", value_name = "CERT")]
    pub(crate) recipients: Vec<PathBuf>,
    /// Which readers the message is for
    #[arg(long, value_enum, default_value = "cms")]
    pub(crate) profile: ProfileName,
    /// Length of each slice but the last, from 1M to 512M; offsite needs up to four times as much
    /// memory, stock OpenSSL some three times. The smime profile has slices only with --split
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = slice_size)]
    pub(crate) slice_size: usize,
    /// Write each slice to a file of its own: OUT.000000, OUT.000001, …; `cat OUT.*` puts the cms
    /// profile's together again
    #[arg(long, requires = "output")]
    pub(crate) split: bool,
    #[command(flatten)]
    pub(crate) files: InputOutput,
}

/// Decrypt what offsite or `openssl smime|cms -encrypt` wrote, of any size
///
/// Reads DER, BER, PEM and S/MIME; AES-GCM, AES-CBC and 3DES-CBC; RSA and elliptic-curve keys.
/// Nothing of an authenticated message comes out before it is verified.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite decrypt -k acme-PRIVATE.pem -o dump.sql dump.sql.p7m
  offsite decrypt -k acme-PRIVATE.pem <etc.tgz.p7m | tar xz")]
pub(crate) struct Decrypt {
    #[command(flatten)]
    pub(crate) key: Key,
    /// Refuse messages without an integrity check
    #[arg(long)]
    pub(crate) strict: bool,
    #[command(flatten)]
    pub(crate) files: InputOutput,
}

/// Show what a message is: recipients, algorithms, slices; needs no key and proves nothing
///
/// Exits with 1 where something is visibly wrong, such as a missing slice.
#[derive(Args)]
#[command(after_help = "Example:
  offsite inspect dump.sql.p7m")]
pub(crate) struct Inspect {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// File to read; standard input without it
    #[arg(value_name = "IN", value_parser = place())]
    pub(crate) input: Option<PlaceArgument>,
}

/// Back up files, or a stream, to a store
///
/// Everything is encrypted to the certificates: this host cannot read what it has stored. Paths are
/// stored as given, without the leading slash. What cannot be read is named, the rest is backed up
/// all the same, and the exit code is 3. The first backup of a set stores everything, each later one what
/// has changed; an interrupted one is none, and the next uses what it has put.
///
/// The host keeps a state and a signing key, which is made by the first backup:
/// /var/lib/offsite and /etc/offsite/signing-key.pem for root, else below ~/.local/state and
/// ~/.config. OFFSITE_STATE_DIR and OFFSITE_SIGNING_KEY name others.
#[derive(Args)]
#[command(override_usage = "offsite backup [OPTIONS] -r <CERT> --to <STORE> <PATH>...
       offsite backup [OPTIONS] -r <CERT> --to <STORE> --stdin <NAME>
       offsite backup [OPTIONS] -r <CERT> --to <STORE> --exec <NAME> -- <COMMAND>...")]
#[command(after_help = "Examples:
  offsite backup -r acme-cert.pem -r failsafe-cert.pem --to /mnt/disk/backups /etc /srv
  offsite backup -r acme-cert.pem --to /mnt/disk/backups --set db --exec db.sql -- pg_dumpall

A command that fails leaves no backup. The exit code of what writes into --stdin is not seen.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something could not be read.")]
pub(crate) struct Backup {
    #[command(flatten)]
    pub(crate) store: ToStore,
    /// Back up standard input, as a file of this name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["exec", "arguments"])]
    pub(crate) stdin: Option<StreamName>,
    /// Back up what a command writes to its standard output, as a file of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) exec: Option<StreamName>,
    /// Leave out what matches (gitignore syntax; a leading slash stands for the root)
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Leave out what matches a line of this file
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Store folders with a CACHEDIR.TAG empty
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Store folders that hold something of this name empty
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<OsString>,
    /// Do not enter other file systems than those of the paths
    #[arg(long)]
    pub(crate) one_file_system: bool,
    /// Read paths from this file, each ended by a NUL; '-' is standard input
    #[arg(long, value_name = "FILE", value_parser = place(), conflicts_with_all = ["stdin", "exec", "arguments"])]
    pub(crate) files_from0: Option<PlaceArgument>,
    /// Store everything again, whatever earlier backups hold. Makes these paths the set's, if it had
    /// others
    #[arg(long)]
    pub(crate) full: bool,
    /// Do not take a file for changed because its ctime did, where a file system does not keep it
    #[arg(long)]
    pub(crate) ignore_ctime: bool,
    /// Do not take a file for changed because its inode number did, as on network file systems
    #[arg(long)]
    pub(crate) ignore_inode: bool,
    /// No object that a backup needs is older than this: 90d, 12w. What has not changed is stored again,
    /// a little with each run, before it is older
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration)]
    pub(crate) reuse_for: u64,
    /// Length of each stored object, from 1M to 512M
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = slice_size)]
    pub(crate) slice_size: usize,
    /// Send at most so many bytes a second: 500K, 10M. A store in a directory takes no notice
    #[arg(long, value_name = "RATE", value_parser = rate)]
    pub(crate) limit_upload: Option<NonZero<u64>>,
    /// Only tell how much would be backed up; put nothing
    #[arg(short = 'n', long, conflicts_with_all = ["stdin", "exec"])]
    pub(crate) dry_run: bool,
    /// Wait while another backup of the set is running
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print a summary as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// What to back up; with --exec the command
    #[arg(value_name = "PATH", required_unless_present_any = ["stdin", "exec", "files_from0"])]
    pub(crate) arguments: Vec<OsString>,
}

/// List the backups in a store, from their signed receipts; needs no key
///
/// The oldest comes first within each host and set. Exits with 4 where something in the store is
/// damaged, or signed by somebody who is not trusted; what is sound is listed all the same.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite list --from /mnt/backups
  offsite list --from /mnt/backups --host web-1 --signer web-1-signer.pem --json")]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Verify that a store holds what its backups need; needs no key
///
/// Looks at every receipt: its signature, its signer, and the one before it, which it names. Compares what they
/// list with what the store holds: presence and length, and with --data the bytes. One line tells each finding; the
/// exit code is then 4. Run it regularly, away from the servers that are backed up, with a --signer for each.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite verify --from /mnt/backups --signer signers/ --max-age 26h
  offsite verify --from s3://acme-backups --signer signers/ --retention 180d --data 5 --json
  offsite verify --from s3://acme-backups --seen seen.json --max-age 26h
  offsite verify --from s3://acme-backups --seen seen.json --accept 3f0a96c11d27

Exit codes: 0 nothing found, 1 failed, 2 wrong usage, 4 something is wrong in the store.")]
pub(crate) struct Verify {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// The latest backup of each set must not be older than this: 26h, 8d, 2w
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) max_age: Option<u64>,
    /// Backups older than this may have been removed by rule: what is missing of them is no finding
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) retention: Option<u64>,
    /// Get so many percent of the objects, chosen at random, and compare their SHA-256; all of them without a
    /// number
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100",
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) data: Option<u8>,
    /// Remember in FILE what is there, and find what vanishes or becomes another; it is made where there is none.
    /// Without --signer those who signed what was seen are trusted. A finding is told again until it is accepted
    #[arg(long, value_name = "FILE")]
    pub(crate) seen: Option<PathBuf>,
    /// A finding that is known and dealt with, by its id; or all
    #[arg(long, value_name = "ID", requires = "seen")]
    pub(crate) accept: Vec<Accept>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which findings are accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accept {
    All,
    Finding(FindingId),
}

impl FromStr for Accept {
    type Err = NotAFindingId;

    fn from_str(text: &str) -> Result<Self, NotAFindingId> {
        if text == "all" { Ok(Self::All) } else { text.parse().map(Self::Finding) }
    }
}

/// Prove that backups can be restored, and report it; always needs a key
///
/// Restores the latest backup of each host and set into nothing, or into a folder: everything is read, verified
/// and compared with the index, and the plan for stock tools with both. --quick takes seconds: each key opens one
/// object of everything that a restore needs. The report, fit for an auditor, says what was proven, what was
/// not, and for which recipients. A backup that fails does not keep the others from being drilled.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite drill --from /mnt/backups -k acme-PRIVATE.pem --signer signers/ --report drills/
  offsite drill --from /mnt/backups -k acme-PRIVATE.pem -k failsafe-PRIVATE.pem --signer signers/ --quick

Exit codes: 0 everything is proven, 1 failed, 2 wrong usage, 3 something could not be made or set in DIR
though all data are right, 4 something is damaged, not trusted, or does not open.")]
pub(crate) struct Drill {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// File with the private key, with or without its certificate. Repeat it to prove more keys: each must open
    /// everything; the first that does restores
    #[arg(short, long = "key", value_name = "PRIVATE", required = true)]
    pub(crate) keys: Vec<PathBuf>,
    /// Unlock the private keys by the first line of this file; or give one file for each key, in their order
    #[arg(long = "passphrase-file", value_name = "FILE")]
    pub(crate) passphrase_files: Vec<PathBuf>,
    /// Which backup: an id, as `offsite list` shows them, of one set; or of each set the latest
    #[arg(long, value_name = "ID", default_value = "latest", value_parser = which)]
    pub(crate) backup: Which,
    /// Prove only that the keys open the backups; not that all data are there
    #[arg(long)]
    pub(crate) quick: bool,
    /// Restore into DIR/HOST/SET instead of into nothing; DIR is made, or empty
    #[arg(long, value_name = "DIR", conflicts_with = "quick")]
    pub(crate) into: Option<PathBuf>,
    /// Write the report to this file (Markdown), and beside it as JSON: drill.md and drill.json. Neither may
    /// exist. In a folder their names hold the time: drill-20261123T074500Z.md. Without it the report goes to
    /// standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Remove old backups, and what nothing needs any more; needs no key
///
/// Only tells what it would do, unless --confirm is given. Keeps every backup that any rule keeps, and in any case
/// the latest and the newest whole one of each set; of everything else what a kept backup needs, and what is younger
/// than --reuse-for of its backups and a week. Ages are those that the store tells. Where anything among the receipts
/// of a set is not as it must be, nothing of this set is removed. Run it away from the servers that are backed up,
/// with a --signer for each, by a credential that they do not have.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite prune --from /mnt/backups --signer signers/ --keep-within 30d
  offsite prune --from s3://acme-backups --signer signers/ --keep-within 30d --keep-weekly 8 --keep-monthly 12 --confirm

Days, weeks and so on are those of UTC, and only those count in which there is a backup; the newest whole one of
each is kept.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the store did not let everything go, 4 something is wrong in the
store, and the sets that are named are left as they are.")]
pub(crate) struct Prune {
    #[command(flatten)]
    pub(crate) store: FromStore,
    /// Keep all backups that are not older: 26h, 30d, 12w. The other rules can be filled with backups of their own
    /// making by whoever can put
    #[arg(long, value_name = "TIME", value_parser = period)]
    pub(crate) keep_within: u64,
    /// Keep so many of the newest
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_last: u32,
    /// Keep one of each of the last N days
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_daily: u32,
    /// Keep one of each of the last N weeks
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_weekly: u32,
    /// Keep one of each of the last N months
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_monthly: u32,
    /// Keep one of each of the last N years
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    pub(crate) keep_yearly: u32,
    /// Remove, and not only tell
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// List the files in a backup
///
/// One line an entry: permissions, owner, group, size, time (UTC), path. Exits with 4 where something
/// in the store is damaged.
#[derive(Args)]
#[command(after_help = "Examples:
  offsite files --from /mnt/backups -k acme-PRIVATE.pem
  offsite files --from /mnt/backups -k acme-PRIVATE.pem --backup 20261123T074500Z-7f3a9c01 /etc/ssh")]
pub(crate) struct Files {
    #[command(flatten)]
    pub(crate) of: OneBackup,
    /// Print JSON: an array, in which names have their bytes that are not UTF-8, and %, as %XX
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these paths and what lies below them; all without it
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}

/// Restore a backup, or some of it
///
/// Everything is verified before it is used. A whole backup is compared with its own plan first.
#[derive(Args)]
#[command(group(ArgGroup::new("to").required(true).args(["into", "tar", "stdout", "dry_run"])))]
#[command(after_help = "Examples:
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into /srv/restored
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --into /srv/restored /etc/ssh /home/ann
  offsite restore --from /mnt/backups -k acme-PRIVATE.pem --set db --stdout | psql

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 something could not be made or set here though all
data are right, 4 something in the store is damaged.")]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) of: OneBackup,
    /// Restore into this folder; it is made, or empty
    #[arg(long, value_name = "DIR", group = "output")]
    pub(crate) into: Option<PathBuf>,
    /// Write a tar to this file; '-' is standard output
    #[arg(long, value_name = "OUT", value_parser = place(), group = "output")]
    pub(crate) tar: Option<PlaceArgument>,
    /// Write a stream, or the content of the one file that is named, to standard output
    #[arg(long, group = "output")]
    pub(crate) stdout: bool,
    /// Go on with a restore: keep files in DIR whose size and time are right
    #[arg(long, requires = "into", conflicts_with = "overwrite")]
    pub(crate) resume: bool,
    /// Replace what is in DIR, folders aside
    #[arg(long, requires = "into")]
    pub(crate) overwrite: bool,
    /// Read and verify everything, and write nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Restore what is whole where something is damaged, and tell what is lost
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Print a summary as JSON; to standard error beside other output
    #[arg(long)]
    pub(crate) json: bool,
    /// Only these paths and what lies below them; all without it
    #[arg(value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
}

/// Try what this machine can and cannot do to a store
///
/// Looks at what backups need, and tries on objects of its own what a thief of this machine's credential
/// could do: overwrite, read, list, delete, put among other hosts' backups. Whatever else reads the store
/// passes over these objects; where nothing may be deleted, as it should be, a few bytes stay.
#[derive(Args)]
#[command(after_help = "Example:
  offsite doctor -r acme-cert.pem -r failsafe-cert.pem --to s3://acme-backups

Exit codes: 0 nothing found, 1 objects cannot be put, or something else is missing, 2 wrong usage,
4 the credential can do what no backup needs.")]
pub(crate) struct Doctor {
    #[command(flatten)]
    pub(crate) store: ToStore,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A store to put into, as whom and for whom.
#[derive(Args)]
pub(crate) struct ToStore {
    /// Certificate to encrypt to; repeat it for several recipients, each of whom can decrypt alone.
    /// Without it OFFSITE_RECIPIENTS counts: names of files, one a line, or PEM text
    #[arg(short, long = "recipient", value_name = "CERT")]
    pub(crate) recipients: Vec<PathBuf>,
    /// Where to: a directory, s3://BUCKET/PREFIX or sftp://USER@HOST/PATH. Of a directory's path only the last part is
    /// made where it is missing
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
    /// Store to read from: a directory, s3://BUCKET/PREFIX or sftp://USER@HOST/PATH
    #[arg(long, value_name = "STORE", env = "OFFSITE_STORE", hide_env_values = true)]
    pub(crate) from: OsString,
    /// Only backups of this host; must be given where the store holds several, but for a list
    #[arg(long)]
    pub(crate) host: Option<HostName>,
    /// Only backups of this set; must be given where the store holds several, but for a list
    #[arg(long)]
    pub(crate) set: Option<SetName>,
    /// Whose backups to trust: a folder with a HOST.pem for each host; or, with --host, a file of
    /// certificates or sha256:FINGERPRINT. Repeat it for several. Without it OFFSITE_SIGNERS counts,
    /// one a line
    #[arg(long = "signer", value_name = "SIGNER")]
    pub(crate) signers: Vec<OsString>,
    /// Read what a bucket with versions held at that time, such as 2026-11-23 or
    /// 2026-11-23T07:45:00Z: what was put later is not there
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) store_as_of: Option<OffsetDateTime>,
}

/// One backup of a store, and the key that opens it.
#[derive(Args)]
pub(crate) struct OneBackup {
    #[command(flatten)]
    pub(crate) store: FromStore,
    #[command(flatten)]
    pub(crate) key: Key,
    /// Which backup: an id, as `offsite list` shows them, or latest
    #[arg(long, value_name = "ID", default_value = "latest", value_parser = which)]
    pub(crate) backup: Which,
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

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum KeyTypeName {
    Rsa2048,
    Rsa3072,
    Rsa4096,
    P256,
    P384,
    P521,
}

impl From<KeyTypeName> for KeyType {
    fn from(name: KeyTypeName) -> Self {
        match name {
            KeyTypeName::Rsa2048 => Self::Rsa2048,
            KeyTypeName::Rsa3072 => Self::Rsa3072,
            KeyTypeName::Rsa4096 => Self::Rsa4096,
            KeyTypeName::P256 => Self::P256,
            KeyTypeName::P384 => Self::P384,
            KeyTypeName::P521 => Self::P521,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum ProfileName {
    /// Authenticated; for `openssl cms` 3.0 and later
    Cms,
    /// Unauthenticated; for `openssl smime` of any age; RSA keys only
    Smime,
}

impl From<ProfileName> for Profile {
    fn from(name: ProfileName) -> Self {
        match name {
            ProfileName::Cms => Self::Cms,
            ProfileName::Smime => Self::Smime,
        }
    }
}

/// A [`Place`] that clap can hold.
#[derive(Clone)]
pub(crate) struct PlaceArgument(Place);

impl PlaceArgument {
    /// `-` and nothing are standard input or output.
    pub(crate) fn or_standard(argument: Option<&Self>) -> Place {
        argument.map_or(Place::Standard, |argument| argument.0.clone())
    }
}

/// Names of files need not be UTF-8.
fn place() -> impl TypedValueParser<Value = PlaceArgument> {
    OsStringValueParser::new()
        .map(|text| PlaceArgument(if text == "-" { Place::Standard } else { Place::Path(text.into()) }))
}

/// Where a store is.
fn store() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| Location::parse(&text))
}

/// A time (RFC 3339), or the first moment of a date in UTC.
fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let whole = if text.contains(['T', 't']) { text.to_owned() } else { format!("{text}T00:00:00Z") };
    OffsetDateTime::parse(&whole, &Rfc3339).map_err(|_| "not a time such as 2026-11-23T07:45:00Z".to_owned())
}

/// A day or more, in seconds.
fn duration(text: &str) -> Result<u64, String> {
    let seconds = period(text)?;
    if seconds >= DAY { Ok(seconds) } else { Err("at least a day".to_owned()) }
}

/// Hours, days or weeks, in seconds.
fn period(text: &str) -> Result<u64, String> {
    let wrong = || "not a time, such as 26h, 90d or 12w".to_owned();
    let units = [('h', DAY / 24), ('d', DAY), ('w', 7 * DAY)];
    let unit = units.iter().find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)));
    let (digits, unit) = unit.ok_or_else(wrong)?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(*unit).filter(|seconds| *seconds <= receipt::limits::REUSE_FOR);
    seconds.filter(|seconds| *seconds > 0).ok_or_else(|| "more than nothing, at most a hundred years".to_owned())
}

/// In seconds.
const DAY: u64 = 86_400;

/// A backup of a set.
fn which(text: &str) -> Result<Which, NameError> {
    if text == "latest" { Ok(Which::Latest) } else { text.parse().map(Which::Id) }
}

/// A number of bytes; K, M and G are powers of 1024.
fn bytes(text: &str) -> Result<usize, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((end, 'K' | 'k')) => (&text[..end], 10),
        Some((end, 'M' | 'm')) => (&text[..end], 20),
        Some((end, 'G' | 'g')) => (&text[..end], 30),
        _ => (text, 0),
    };
    let number: usize = digits.parse().map_err(|_| "not a number of bytes, such as 16M".to_owned())?;
    let size = number.checked_shl(shift).filter(|size| size >> shift == number);
    size.ok_or_else(|| "too many bytes".to_owned())
}

fn slice_size(text: &str) -> Result<usize, String> {
    let allowed = limits::SLICE_SIZE_MIN..=limits::SLICE_SIZE_MAX;
    Some(bytes(text)?).filter(|size| allowed.contains(size)).ok_or_else(|| "a slice has between 1M and 512M".to_owned())
}

/// Bytes a second.
fn rate(text: &str) -> Result<NonZero<u64>, String> {
    let slowest = "at least 1K, for anything less would take for ever";
    let rate = bytes(text)?;
    NonZero::new(rate as u64).filter(|rate| rate.get() >= 1024).ok_or_else(|| slowest.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn durations() {
        assert_eq!(duration("90d"), Ok(90 * 86_400));
        assert_eq!(duration("2w"), Ok(14 * 86_400));
        assert_eq!((duration("26h"), period("26h")), (Ok(26 * 3600), Ok(26 * 3600)));
        for wrong in ["23h", "", "d", "90", "0d", "-1d", "1.5d", "36526d", "99999999999999999999d", "5217w6"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn moments() {
        let day = moment("2026-11-23").unwrap();
        assert_eq!(moment("2026-11-23T01:00:00+01:00"), Ok(day));
        for wrong in ["", "today", "2026-11-31", "2026-11-23T07:45", "20261123"] {
            assert!(moment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates() {
        assert_eq!(rate("500K").unwrap().get(), 500 << 10);
        for wrong in ["", "0", "1023", "-1M", "1.5M", "1M/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn slice_sizes() {
        assert_eq!(slice_size("1M"), Ok(1 << 20));
        assert_eq!(slice_size("2048k"), Ok(2 << 20));
        assert_eq!(slice_size("1048577"), Ok(1_048_577));
        for wrong in ["", "M", "1", "1G", "513M", "99999999999999999999", "18446744073709551615G", "1MM", "-1M"] {
            assert!(slice_size(wrong).is_err(), "{wrong}");
        }
    }
}
