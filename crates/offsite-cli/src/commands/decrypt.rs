//! `offsite decrypt`

use offsite::operations::{self, Decrypt};

use crate::arguments;
use crate::commands::{Failure, input_length, private_key};
use crate::terminal::{self, Progress};

pub(crate) fn run(arguments: &arguments::Decrypt) -> Result<(), Failure> {
    let (input, output) = (arguments.files.input(), arguments.files.output());
    let key = private_key(&arguments.key)?;
    terminal::note_if_typed(&input);
    let progress = Progress::new(input_length(&input), Some(&output));
    let what = Decrypt {
        input: &input,
        output: &output,
        replace: arguments.files.force,
        strict: arguments.strict,
        threads: arguments.threads.number(),
    };
    let done = operations::decrypt(&what, &key, &progress);
    progress.clear();
    done?;
    Ok(())
}
