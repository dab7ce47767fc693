//! What a person sees and types: messages, progress, passphrases.
//!
//! - Everything here goes to standard error or the terminal itself, never to standard output.
//! - Messages begin with `offsite:`, are lower case, and end without a full stop. Or each is an object of JSON on
//!   a line of its own, and then nothing else is written.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use offsite::archive::unpack::{Attribute, Problem, Report};
use offsite::files::Place;
use offsite::operations::restore::{self, Watch};
use offsite::receipt::{NoPrevious, rfc_3339};
use offsite::store::Notice;
use offsite::{Damage, Events, Warning};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{notify, words};

/// Whether messages are objects of JSON.
static JSON: AtomicBool = AtomicBool::new(false);

/// From here on messages are objects of JSON, those of a panic as well.
pub(crate) fn log_json() {
    JSON.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|panic| error(&panic.to_string())));
}

/// Whether messages are objects of JSON.
pub(crate) fn logs_json() -> bool {
    JSON.load(Ordering::Relaxed)
}

/// A message as an object of JSON. Keys are only ever added.
#[derive(Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// The program that said it, if not this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    program: Option<&'a str>,
    /// What a command prints with `--json`, where standard output is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<Value>,
}

impl<'a> Line<'a> {
    fn new(level: &'static str, message: &'a str) -> Self {
        let time = rfc_3339(OffsetDateTime::now_utc());
        Self { time, level, message, hint: None, program: None, summary: None }
    }

    fn write(&self) {
        // Strings and numbers: nothing that JSON could refuse.
        write(&serde_json::to_string(self).unwrap_or_default());
    }
}

/// Nobody is left to tell where standard error cannot be written.
fn write(line: &str) {
    let _ = io::stderr().write_all(format!("{line}\n").as_bytes());
}

fn say(kind: &'static str, text: &str) {
    if logs_json() {
        Line::new(kind, text).write();
    } else {
        write(&format!("offsite: {kind}: {text}"));
    }
}

pub(crate) fn error(text: &str) {
    say("error", text);
}

/// An error, and what can be done about it.
pub(crate) fn error_with(text: &str, advice: Option<&str>) {
    if logs_json() {
        Line { hint: advice, ..Line::new("error", text) }.write();
        return;
    }
    error(text);
    advice.into_iter().for_each(hint);
}

pub(crate) fn hint(text: &str) {
    say("hint", text);
}

pub(crate) fn warning(text: &str) {
    say("warning", text);
}

/// A line that tells what was done, for a person only: nothing in scripts. A log has it all.
pub(crate) fn note(text: &str) {
    if logs_json() {
        say("info", text);
    } else if io::stderr().is_terminal() {
        write(&format!("offsite: {text}"));
    }
}

/// What `--json` prints, where standard output is taken.
pub(crate) fn summary(summary: &impl Serialize) {
    if logs_json() {
        let summary = serde_json::to_value(summary).ok();
        Line { summary, ..Line::new("info", "summary") }.write();
    } else {
        write(&serde_json::to_string_pretty(summary).unwrap_or_default());
    }
}

/// Longest line of another program that is kept together, in bytes.
const LONGEST_LINE: u64 = 64 << 10;

/// How long the last words of another program are waited for: who inherited its standard error may keep it open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What another program says becomes messages. Dropping this waits for its last words.
pub(crate) struct Words(Receiver<()>);

impl Drop for Words {
    fn drop(&mut self) {
        // Nothing is ever sent: it waits for the other end to go.
        let _ = self.0.recv_timeout(LAST_WORDS);
    }
}

/// Where another program may say what it likes: it goes to standard error as it is, or becomes messages.
pub(crate) fn words_of(program: &str) -> io::Result<(Stdio, Option<Words>)> {
    if !logs_json() {
        return Ok((Stdio::inherit(), None));
    }
    let (ours, its) = io::pipe()?;
    let (goes_with_it, ended) = sync_channel(0);
    let program = program.to_owned();
    thread::Builder::new().name("words".to_owned()).spawn(move || {
        let _goes_with_it: SyncSender<()> = goes_with_it;
        let mut ours = BufReader::new(ours);
        let mut line = Vec::new();
        while let Ok(1..) = ours.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(line.trim_ascii_end());
            Line { program: Some(&program), ..Line::new("info", &text) }.write();
            line.clear();
        }
    })?;
    Ok((its.into(), Some(Words(ended))))
}

/// Says what the command waits for, where that is the user.
pub(crate) fn note_if_typed(input: &Place) {
    if *input == Place::Standard && io::stdin().is_terminal() {
        note("reading what is typed on this terminal; name a file or use a pipe for anything else");
    }
}

/// A bar on a terminal, silence elsewhere.
pub(crate) struct Progress {
    bar: ProgressBar,
    /// Whether something in a store was wrong.
    damaged: AtomicBool,
    /// Whether a signer was not trusted.
    distrusted: AtomicBool,
    /// How many things could not be made or set.
    problems: AtomicU64,
    /// Of these, owners that a plain user may not set.
    owners: AtomicU64,
}

impl Progress {
    /// For an input of `length` bytes, if that is known. None beside output on the same terminal.
    pub(crate) fn new(length: Option<u64>, output: Option<&Place>) -> Self {
        let progress = Self::silent();
        progress.show(length, output);
        progress
    }

    /// Shows the bar, as [`Self::new`]: what is asked of the user comes before.
    pub(crate) fn show(&self, length: Option<u64>, output: Option<&Place>) {
        let shares_terminal = output == Some(&Place::Standard) && io::stdout().is_terminal();
        if !io::stderr().is_terminal() || shares_terminal || logs_json() {
            return;
        }
        let template = match length {
            Some(length) => {
                self.bar.set_length(length);
                "{bar:30} {percent}%  {binary_bytes} of {binary_total_bytes}  {binary_bytes_per_sec}  {eta} left"
            }
            None => "{spinner} {binary_bytes}  {binary_bytes_per_sec}  {elapsed}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// No bar, words only.
    pub(crate) fn silent() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            damaged: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
            problems: AtomicU64::new(0),
            owners: AtomicU64::new(0),
        }
    }

    /// What tells the user that a store cannot be reached for now.
    pub(crate) fn notice(&self) -> Notice {
        let bar = self.bar.clone();
        Arc::new(move |error, time| {
            bar.suspend(|| warning(&format!("{error}; trying again for about {}", words::minutes(time))));
        })
    }

    /// Whether something in a store was wrong; it has been said.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Whether a signer was not trusted; it has been said.
    pub(crate) fn has_distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Relaxed)
    }

    /// How many owners could not be set, since only root can. They have not been said one by one: a
    /// plain user would read nothing else.
    pub(crate) fn owners(&self) -> u64 {
        self.owners.load(Ordering::Relaxed)
    }

    /// How many things could not be made or set; all but owners have been said.
    pub(crate) fn problems(&self) -> u64 {
        self.problems.load(Ordering::Relaxed)
    }

    /// Takes the bar off the screen.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Events for Progress {
    fn progress(&self, bytes: u64) {
        self.bar.inc(bytes);
        notify::progress(bytes);
    }

    fn warn(&self, event: Warning) {
        // What every first backup comes to is nothing that cron should tell of.
        let tell = if matches!(event, Warning::ChainBroken(NoPrevious::NoState)) { note } else { warning };
        self.bar.suspend(|| tell(&words::of_warning(&event)));
    }

    fn damage(&self, damage: &Damage) {
        self.damaged.store(true, Ordering::Relaxed);
        let distrusted = matches!(damage.problem, offsite::damage::Problem::NotPinned(_));
        self.distrusted.fetch_or(distrusted, Ordering::Relaxed);
        self.bar.suspend(|| error(&damage.to_string()));
    }
}

impl Report for Progress {
    fn problem(&self, problem: Problem) {
        self.problems.fetch_add(1, Ordering::Relaxed);
        let is_owner = matches!(problem, Problem::NotSet { attribute: Attribute::Owner, .. });
        if is_owner && !rustix::process::geteuid().is_root() {
            self.owners.fetch_add(1, Ordering::Relaxed);
            return;
        }
        self.bar.suspend(|| warning(&problem.to_string()));
    }
}

impl Watch for Progress {
    fn lost(&self, path: &[u8], cause: &restore::Error) {
        self.damaged.fetch_or(cause.is_damage(), Ordering::Relaxed);
        let path = match path {
            b"" => "the end of the tar".to_owned(),
            path => offsite::shown(Path::new(OsStr::from_bytes(path))),
        };
        self.bar.suspend(|| error(&format!("lost: {path}: {cause}")));
    }
}

/// Whether there is a person to ask: a terminal, even where the standard streams are redirected.
pub(crate) fn can_ask() -> bool {
    File::options().read(true).write(true).open("/dev/tty").is_ok()
}

/// Asks for a passphrase, unseen.
pub(crate) fn ask(question: &str) -> io::Result<Zeroizing<Vec<u8>>> {
    rpassword::prompt_password(format!("{question}: ")).map(|text| Zeroizing::new(text.into_bytes()))
}

/// The first line of a file.
pub(crate) fn passphrase_from(path: &Path) -> Result<Zeroizing<Vec<u8>>, offsite::Error> {
    let contents = offsite::files::read_key_file(path)?;
    let line = contents.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() {
        return Err(offsite::Error::Passphrase(format!("{}: the first line is empty", offsite::shown(path))));
    }
    if line.len() > offsite::cms::limits::PASSPHRASE {
        return Err(offsite::Error::Passphrase(format!(
            "{}: a passphrase has at most 1024 bytes",
            offsite::shown(path)
        )));
    }
    Ok(Zeroizing::new(line.to_vec()))
}
