//! What is baked in as the defaults of options: below the command line and the environment, and above the program's
//! own.

use clap::{Arg, Command};
use offsite::baked::Settings;

use crate::arguments::backup;

/// Gives the commands these defaults. Help tells them, as any others.
pub(super) fn baked(command: Command, settings: &Settings) -> Command {
    command.mut_subcommands(|command| match command.get_name() {
        // Of what is baked in nothing is taken over.
        "bake" => command,
        "backup" => {
            let recipients = if settings.recipients.is_empty() { "-r <CERT> " } else { "" };
            let store = if settings.store.is_none() { "--to <STORE> " } else { "" };
            let usage = backup::usage(&format!("{recipients}{store}"));
            of_command(command, settings).override_usage(usage)
        }
        _ => baked(of_command(command, settings), settings),
    })
}

fn of_command(command: Command, settings: &Settings) -> Command {
    // What is said of backups to come does not narrow down which are read.
    let puts = matches!(command.get_name(), "backup" | "doctor");
    command.mut_args(|argument| match (argument.get_long(), &settings.store) {
        (Some("to" | "from"), Some(store)) => with_default(argument, std::slice::from_ref(store)),
        (Some("recipient"), _) if !settings.recipients.is_empty() => with_recipients(argument, settings),
        (Some(name), _) if puts => match settings.options.get(name) {
            Some(values) => with_default(argument, values),
            None => argument,
        },
        _ => argument,
    })
}

fn with_default(argument: Arg, values: &[String]) -> Arg {
    argument.required(false).default_values(values.iter().cloned())
}

/// They are no files, so that they cannot be the option's default.
fn with_recipients(argument: Arg, settings: &Settings) -> Arg {
    let names: Vec<String> = settings.recipients.iter().map(|recipient| recipient.name()).collect();
    let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
    argument.help(format!("{help} [baked in: {}]", names.join("; ")))
}
