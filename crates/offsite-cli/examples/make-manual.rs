//! Makes the manual pages and completions of `offsite` from its commands, for `scripts/package`:
//!
//! ```text
//! cargo run --release -p offsite-cli --example make-manual DIR [DATE]
//! ```
//!
//! An example, so that the binary holds nothing of it. There is no list of commands: each that is not hidden gets a
//! page, whose text is its `--help`. What environment and exit codes mean is read from the README's tables.

use std::env;
use std::error::Error;
use std::fs;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// The binary's own modules, which no other crate can see. This form of `path` leaves the folder of `arguments.rs`
/// where it is.
#[path = "../src"]
mod src {
    #[expect(dead_code, unused_imports, reason = "only the definitions count here, no values")]
    pub(crate) mod arguments;
}
// As the modules name each other.
use src::arguments;

const README: &str = include_str!("../../../README.md");

/// Where the binary and its package keep things.
const FILES: [(&str, &str); 5] = [
    ("/etc/offsite/signing-key.pem", "the host's signing key, made by the first backup of root"),
    ("~/.config/offsite/signing-key.pem", "the same for another user"),
    (
        "/var/lib/offsite",
        "what root's next backup must know of the last; it may be deleted, for the price of a full one",
    ),
    ("~/.local/state/offsite", "the same for another user"),
    ("/etc/default/offsite", "what offsite.service backs up, and where to"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let folder = arguments.next().ok_or("usage: make-manual DIR [DATE]")?;
    let folder = Path::new(&folder);
    let date = arguments.next().and_then(|date| date.into_string().ok()).unwrap_or_default();

    let mut offsite = arguments::Arguments::command();
    let completions = folder.join("completions");
    fs::create_dir_all(&completions)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut offsite, "offsite", &completions)?;
    }
    // Pages take the place of `offsite help`; but the completions know it.
    let mut offsite = arguments::Arguments::command().disable_help_subcommand(true);
    // Gives commands below others their whole names.
    offsite.build();
    let pages = folder.join("man1");
    fs::create_dir_all(&pages)?;
    let names = names(&offsite);
    write_pages(&offsite, &names, &date, &pages)
}

/// The names of all pages: of the command, and of those below it.
fn names(command: &Command) -> Vec<String> {
    let below = visible(command).flat_map(names);
    [page_name(command)].into_iter().chain(below).collect()
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set())
}

/// Writes the page of a command and of those below it.
fn write_pages(command: &Command, all: &[String], date: &str, folder: &Path) -> Result<(), Box<dyn Error>> {
    let name = page_name(command);
    fs::write(folder.join(format!("{name}.1")), page(command, all, date)?)?;
    visible(command).try_for_each(|command| write_pages(command, all, date, folder))
}

fn page(command: &Command, all: &[String], date: &str) -> Result<String, Box<dyn Error>> {
    let name = page_name(command);
    let is_top = command.has_subcommands() && !name.contains('-');
    let version = command.get_version().unwrap_or_default();
    // As --help has it: the options' names all in a row say little.
    let usage = command.clone().render_usage().to_string().trim_start_matches("Usage: ").to_owned();
    let command = &command.clone().override_usage(usage).long_about(description(command));
    let man = Man::new(command.clone()).title(name.to_uppercase()).date(date);
    let man = man.source(format!("offsite {version}")).manual("offsite");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    // Neither words nor options are divided, nor lines stretched.
    Roff::new().control("nh", []).control("ad", ["l"]).to_writer(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut text)?;
    }
    man.render_options_section(&mut text)?;

    let help = AfterHelp::of(command);
    let mut rest = Roff::new();
    if !help.examples.is_empty() {
        rest.control("SH", ["EXAMPLES"]);
        for (number, part) in help.examples.iter().enumerate() {
            if number > 0 {
                rest.control("PP", []);
            }
            lines(&mut rest, part);
        }
    }
    rest.control("SH", ["EXIT STATUS"]);
    match help.exit_codes {
        Some(codes) => lines(&mut rest, &format!("{codes} 130 interrupted. Any other code means failure, too.")),
        None => definitions(&mut rest, &table("exit code")?),
    }
    rest.control("SH", ["ENVIRONMENT"]);
    let mut variables = table("environment")?;
    if !is_top {
        rest.text([roman("offsite(1) has all variables, also those of stores.")]);
        let said = command.clone().render_long_help().to_string();
        variables.retain(|(variable, _)| said.contains(variable.trim_matches('`')));
    }
    definitions(&mut rest, &variables);
    if is_top || command.get_arguments().any(|argument| argument.get_id() == "to") {
        rest.control("SH", ["FILES"]);
        definitions(&mut rest, &FILES.map(|(path, what)| (path.to_owned(), what.to_owned())));
    }
    rest.control("SH", ["SEE ALSO"]);
    let others = all.iter().filter(|other| **other != name).map(|other| format!("{other}(1)"));
    let others: Vec<_> = others.chain(["openssl-cms(1ssl)".to_owned()]).collect();
    rest.text([roman(others.join(", "))]);
    rest.to_writer(&mut text)?;
    // Above possible values clap_mangen has a line too many for mandoc.
    Ok(in_bold(&String::from_utf8(text)?.replace(".br\n\n.br\n", ".sp\n")))
}

/// What a command's help says after its options.
struct AfterHelp {
    examples: Vec<String>,
    exit_codes: Option<String>,
}

impl AfterHelp {
    fn of(command: &Command) -> Self {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let text = text.trim_start_matches("Examples:\n").trim_start_matches("Example:\n");
        let (exit_codes, examples): (Vec<_>, Vec<_>) = text
            .split("\n\n")
            .filter(|part| !part.trim().is_empty())
            .map(str::to_owned)
            .partition(|part| part.starts_with("Exit codes:"));
        let exit_codes = exit_codes.first().map(|codes| codes.trim_start_matches("Exit codes:").trim().to_owned());
        Self { examples, exit_codes }
    }
}

/// What the help says before its options, but for the first line, which the page has as its name.
fn description(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let long = command.get_long_about().map(ToString::to_string).unwrap_or_default();
    let rest = long.strip_prefix(&about).unwrap_or(&long).trim();
    if rest.is_empty() { about } else { rest.to_owned() }
}

/// Text, of which lines that are indented are kept as they are.
fn lines(roff: &mut Roff, text: &str) {
    let mut verbatim = false;
    for line in text.lines() {
        if line.starts_with("  ") != verbatim {
            verbatim = !verbatim;
            roff.control(if verbatim { "nf" } else { "fi" }, []);
        }
        roff.text([roman(line)]);
    }
    if verbatim {
        roff.control("fi", []);
    }
}

fn definitions(roff: &mut Roff, rows: &[(String, String)]) {
    for (term, meaning) in rows {
        roff.control("TP", []);
        roff.text([bold(term.trim_matches('`'))]);
        roff.text([roman(meaning)]);
    }
}

/// The rows of the README's table with this heading.
fn table(heading: &str) -> Result<Vec<(String, String)>, String> {
    let lines = README.lines().skip_while(|line| !line.starts_with(&format!("| {heading} |")));
    let rows = lines.skip(2).map_while(|line| line.strip_prefix('|')?.strip_suffix('|')?.split_once('|'));
    let rows: Vec<_> = rows.map(|(term, meaning)| (term.trim().to_owned(), without_links(meaning.trim()))).collect();
    if rows.is_empty() { Err(format!("README.md has no table {heading:?}")) } else { Ok(rows) }
}

/// Of `[text](address)` the text.
fn without_links(markdown: &str) -> String {
    let mut text = String::new();
    let mut rest = markdown;
    while let Some((before, after)) = rest.split_once("](") {
        let (_, after) = after.split_once(')').unwrap_or(("", after));
        text.push_str(&before.replacen('[', "", 1));
        rest = after;
    }
    text + rest
}

/// What stands between backquotes in help and README, in bold.
fn in_bold(roff: &str) -> String {
    let mut parts = roff.split('`');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for (number, part) in parts.enumerate() {
        text.push_str(if number % 2 == 0 { "\\fB" } else { "\\fR" });
        text.push_str(part);
    }
    text
}
