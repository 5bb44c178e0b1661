//! Answers as outputs of a step of GitHub Actions.

use crate::error::{FileError, Report};
use crate::report::Outputs;

use super::Session;
use crate::ops::Context;

/// Makes sure that outputs can be written, before something is done that they are to tell of.
pub(super) fn check(context: &Context) -> Result<(), Report> {
    match &context.settings.github.output {
        Some(path) => Ok(Outputs::default().append(path).map_err(FileError::outputs)?),
        None => Ok(()),
    }
}

/// Appends `outputs` to the file that `GITHUB_OUTPUT` names, and tells the same as `text`; where it names
/// none, the outputs are printed.
pub(super) fn hand_on(outputs: &Outputs, text: &str, session: &Session) -> Result<(), Report> {
    let Session { context, printer, .. } = session;
    match &context.settings.github.output {
        Some(path) => {
            outputs.append(path).map_err(FileError::outputs)?;
            printer.done(text);
        }
        None => printer.result(&outputs.to_string()),
    }
    Ok(())
}
