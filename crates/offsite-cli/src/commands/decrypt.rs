//! `offsite decrypt`

use offsite::operations::{self, Decrypt};
use offsite::shown;

use crate::arguments;
use crate::commands::{Failure, input_length};
use crate::terminal::{self, Progress};

/// How often a passphrase may be typed.
const ATTEMPTS: u32 = 3;

pub(crate) fn run(arguments: &arguments::Decrypt) -> Result<(), Failure> {
    let (input, output) = (arguments.files.input(), arguments.files.output());
    let mut passphrase = |attempt: u32| match &arguments.passphrase_file {
        Some(path) if attempt == 0 => terminal::passphrase_from(path).map(Some),
        None if attempt < ATTEMPTS && terminal::can_ask() => {
            if attempt > 0 {
                terminal::note("wrong passphrase, try again");
            }
            let asked = terminal::ask(&format!("passphrase of {}", shown(&arguments.key)));
            asked.map(Some).map_err(|error| offsite::Error::Passphrase(format!("cannot ask for a passphrase: {error}")))
        }
        _ => Ok(None),
    };
    let key = operations::read_private_key(&arguments.key, &mut passphrase)?;
    terminal::note_if_typed(&input);
    let progress = Progress::new(input_length(&input), Some(&output));
    let what = Decrypt { input: &input, output: &output, replace: arguments.files.force, strict: arguments.strict };
    let done = operations::decrypt(&what, &key, &progress);
    progress.clear();
    done?;
    Ok(())
}
