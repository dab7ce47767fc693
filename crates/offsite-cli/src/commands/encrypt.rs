//! `offsite encrypt`

use offsite::files::Place;
use offsite::operations::{self, Encrypt};
use time::OffsetDateTime;

use crate::arguments;
use crate::commands::{Failure, input_length, recipients};
use crate::terminal::{self, Progress};

pub(crate) fn run(arguments: &arguments::Encrypt) -> Result<(), Failure> {
    let (input, output) = (arguments.files.input(), arguments.files.output());
    if arguments.split && output == Place::Standard {
        let text = "--split writes several files, not to standard output".to_owned();
        return Err(Failure::Usage { text, hint: "name the files with -o: OUT becomes OUT.000000, OUT.000001, …" });
    }
    super::refuse_terminal(&output, "name a file with -o, or use a pipe")?;
    terminal::note_if_typed(&input);
    let progress = Progress::new(input_length(&input), Some(&output));
    let recipients = recipients(&arguments.recipients, &progress);
    let done = recipients.and_then(|recipients| {
        let what = Encrypt {
            input: &input,
            output: &output,
            replace: arguments.files.force,
            profile: arguments.profile.into(),
            slice_size: arguments.slice_size,
            threads: arguments.threads.number(),
            split: arguments.split,
            now: OffsetDateTime::now_utc(),
        };
        operations::encrypt(&what, &recipients, &progress)
    });
    progress.clear();
    done?;
    Ok(())
}
