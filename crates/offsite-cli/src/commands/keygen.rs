//! `offsite keygen`

use std::path::Path;

use offsite::operations::{self, Keygen, NewFiles};
use offsite::shown;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::arguments;
use crate::commands::Failure;
use crate::terminal;

pub(crate) fn run(arguments: &arguments::Keygen) -> Result<(), Failure> {
    let Some(base) = arguments.output.file_name() else {
        let text = format!("{} is a folder, not the beginning of a file name", shown(&arguments.output));
        return Err(Failure::Usage { text, hint: "for example: offsite keygen -o backup-key" });
    };
    // Before a passphrase is chosen, not after.
    NewFiles::of(&arguments.output, arguments.paper).check_absent()?;
    let passphrase = passphrase(arguments)?;
    let name = base.to_string_lossy();
    let files = operations::keygen(&Keygen {
        prefix: &arguments.output,
        key_type: arguments.key_type.into(),
        common_name: arguments.name.as_deref().unwrap_or(&name),
        now: OffsetDateTime::now_utc(),
        days: arguments.days,
        passphrase: passphrase.as_deref().map(Vec::as_slice),
        paper: arguments.paper,
    })?;
    terminal::note(&format!(
        "private key: {}: it belongs in a safe, in more than one copy, and on no server",
        shown(&files.private)
    ));
    terminal::note(&format!("certificate: {}: for every server", shown(&files.certificate)));
    terminal::note(&format!(
        "recovery script: {}: it belongs with the private key, and restores backups without offsite",
        shown(&files.script)
    ));
    if let Some(paper) = &files.paper {
        terminal::note(&format!(
            "page to print: {}: it holds the private key; remove the file when it is on paper",
            shown(paper)
        ));
    }
    let certificate = files.certificate.file_name().map_or(files.certificate.as_path(), Path::new);
    terminal::note(&format!("next, on each server: offsite backup -r {} --to STORE PATH…", shown(certificate)));
    Ok(())
}

fn passphrase(arguments: &arguments::Keygen) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    if arguments.no_passphrase {
        return Ok(None);
    }
    if let Some(path) = &arguments.passphrase_file {
        return Ok(Some(terminal::passphrase_from(path)?));
    }
    if !terminal::can_ask() {
        let text = "there is no terminal to ask for a passphrase on".to_owned();
        return Err(Failure::Usage { text, hint: "give --passphrase-file FILE or --no-passphrase" });
    }
    let failed = |error: std::io::Error| offsite::Error::Passphrase(format!("cannot ask for a passphrase: {error}"));
    let first = terminal::ask("new passphrase").map_err(failed)?;
    if first.is_empty() {
        let text = "the passphrase is empty".to_owned();
        return Err(Failure::Usage { text, hint: "--no-passphrase leaves the private key unprotected" });
    }
    if first.len() > offsite::cms::limits::PASSPHRASE {
        return Err(offsite::Error::Passphrase("a passphrase has at most 1024 bytes".to_owned()).into());
    }
    let second = terminal::ask("the same passphrase again").map_err(failed)?;
    if first != second {
        return Err(offsite::Error::Passphrase("the two passphrases differ; nothing was written".to_owned()).into());
    }
    Ok(Some(first))
}
