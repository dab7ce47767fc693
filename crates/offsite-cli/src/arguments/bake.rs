//! `offsite bake`

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use offsite::names::{HostName, SetName};
use offsite::store::Location;

use crate::arguments::values::{PlaceArgument, duration, place, rate, slice_size};

/// Write a copy of this program with recipients, a store and options in it
///
/// On a server `OUT backup PATH…` is then enough: one file to copy, and nothing to set up. An option counts before the
/// environment, that before what is baked in, and that before the program's own default. The store also counts for
/// --from, and the recipients for `encrypt`. Of what this program has baked in itself nothing is taken over; with none of these
/// options the copy is as the program was before anything was baked in, byte for byte.
///
/// No secret is baked in, and none may be: whoever has the file can read what is in it, by `OUT version`.
#[derive(Args)]
#[command(after_help = "Example:
  offsite bake -r acme-cert.pem -r failsafe-cert.pem --to s3://acme-backups \\
      -o offsite-acme
  scp offsite-acme web-1:/usr/local/bin/
  ssh web-1 offsite-acme backup /etc /srv")]
pub(crate) struct Bake {
    /// Certificate to encrypt to; repeat it for several recipients, each of whom can decrypt alone
    #[arg(short, long = "recipient", value_name = "CERT")]
    pub(crate) recipients: Vec<PathBuf>,
    /// The store: a directory by its whole path, s3://BUCKET/PREFIX or sftp://USER@HOST/PATH
    #[arg(long, value_name = "STORE", value_parser = location)]
    pub(crate) to: Option<String>,
    /// Whose backups these are; without it each machine's own name counts, where the copy runs
    #[arg(long, value_name = "NAME", value_parser = text::<HostName>)]
    pub(crate) host: Option<String>,
    /// Series of backups
    #[arg(long, value_name = "NAME", value_parser = text::<SetName>)]
    pub(crate) set: Option<String>,
    /// Leave out what matches (gitignore syntax). On a command line --exclude replaces these
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,
    /// Store folders that hold something of this name empty
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<String>,
    /// No object that a backup needs is older than this: 90d, 12w
    #[arg(long, value_name = "TIME", value_parser = |value: &str| as_text(value, duration(value)))]
    pub(crate) reuse_for: Option<String>,
    /// Length of each stored object, from 1M to 512M
    #[arg(long, value_name = "SIZE", value_parser = |value: &str| as_text(value, slice_size(value)))]
    pub(crate) slice_size: Option<String>,
    /// Send at most so many bytes a second: 500K, 10M
    #[arg(long, value_name = "RATE", value_parser = |value: &str| as_text(value, rate(value)))]
    pub(crate) limit_upload: Option<String>,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) force: bool,
    /// File to write
    #[arg(short, long, value_name = "OUT", value_parser = place())]
    pub(crate) output: PlaceArgument,
}

impl Bake {
    /// The values of `backup`'s options, by their names.
    pub(crate) fn options(&self) -> BTreeMap<String, Vec<String>> {
        let one = |value: &Option<String>| value.iter().cloned().collect();
        let all = [
            ("host", one(&self.host)),
            ("set", one(&self.set)),
            ("exclude", self.exclude.clone()),
            ("exclude-if-present", self.exclude_if_present.clone()),
            ("reuse-for", one(&self.reuse_for)),
            ("slice-size", one(&self.slice_size)),
            ("limit-upload", one(&self.limit_upload)),
        ];
        let given = all.into_iter().filter(|(_, values): &(_, Vec<String>)| !values.is_empty());
        given.map(|(name, values)| (name.to_owned(), values)).collect()
    }
}

/// A value that is checked when it is baked in, and kept as it is written.
fn as_text<T, E>(value: &str, parsed: Result<T, E>) -> Result<String, E> {
    parsed.map(|_| value.to_owned())
}

fn text<T: FromStr<Err: Display>>(value: &str) -> Result<String, String> {
    as_text(value, value.parse::<T>().map_err(|error| error.to_string()))
}

fn location(value: &str) -> Result<String, String> {
    as_text(value, Location::parse(value.as_ref()).map_err(|error| error.to_string()))
}
