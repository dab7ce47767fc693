//! The command `offsite`: arguments, prompts, progress, words and exit codes.

mod arguments;
mod baked;
mod commands;
mod exit;
mod glibc;
mod host;
mod interrupt;
mod metrics;
mod monitor;
mod notify;
mod terminal;
mod words;

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit};

use crate::arguments::{Arguments, Command, KeyCommand, LogFormat};
use crate::commands::Failure;

fn main() -> ExitCode {
    glibc::set();
    let baked = baked::settings();
    let arguments = Arguments::read(baked.as_ref().ok());
    let log_json = || arguments::ask_for_json_log(std::env::args_os());
    if arguments.as_ref().map_or_else(|_| log_json(), |arguments| arguments.log_format == LogFormat::Json) {
        terminal::log_json();
    }
    if let Err(damage) = baked
        && arguments.as_ref().map_or_else(clap::Error::use_stderr, |arguments| arguments.command.has_defaults())
    {
        return Failure::from(offsite::Error::from(damage)).report().into();
    }
    let arguments = match arguments {
        Ok(arguments) => arguments,
        Err(error) => return exit::of_usage(&error),
    };
    // A core dump would put keys and plaintext on the disk. Where it cannot be ruled out, so be it.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    // A bundle of small files keeps the folders open that they lie in.
    let files = rustix::process::getrlimit(Resource::Nofile);
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
    if let Err(error) = interrupt::watch() {
        terminal::error(&format!("cannot watch for interrupts: {error}"));
        return exit::FAILED.into();
    }
    notify::begin();
    let code = run(arguments.command).map_or_else(|failure| failure.report(), |()| exit::DONE);
    monitor::end(code);
    notify::end();
    code.into()
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Keygen(arguments) => commands::keygen::run(&arguments),
        Command::Encrypt(arguments) => commands::encrypt::run(&arguments),
        Command::Decrypt(arguments) => commands::decrypt::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Backup(arguments) => commands::backup::run(arguments),
        Command::Restore(arguments) => commands::restore::run(&arguments),
        Command::List(arguments) => commands::list::run(&arguments),
        Command::Files(arguments) => commands::files::run(&arguments),
        Command::Find(arguments) => commands::find::run(&arguments),
        Command::Diff(arguments) => commands::diff::run(&arguments),
        Command::Verify(arguments) => commands::verify::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Prune(arguments) => commands::prune::run(&arguments),
        Command::Doctor(arguments) => commands::doctor::run(&arguments),
        Command::Drill(arguments) => commands::drill::run(&arguments),
        Command::RecoveryScript => commands::recovery_script::run(),
        Command::Key(KeyCommand::Check(arguments)) => commands::key_check::run(&arguments),
        Command::Bake(arguments) => commands::bake::run(&arguments),
        Command::Version(arguments) => commands::version::run(&arguments),
    }
}
