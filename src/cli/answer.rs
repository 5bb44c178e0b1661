//! Writes outputs of a step of GitHub Actions.

use crate::error::{FileError, Report};
use crate::report::Outputs;

use super::Session;
use crate::ops::Context;

/// Fails if outputs cannot be written. Call this before an operation with side effects.
pub(super) fn check(context: &Context) -> Result<(), Report> {
    match &context.settings.github.output {
        Some(path) => Ok(Outputs::default().append(path).map_err(FileError::outputs)?),
        None => Ok(()),
    }
}

/// Appends `outputs` to the file of `GITHUB_OUTPUT` and prints `text`. Outside of GitHub Actions, prints the outputs.
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
