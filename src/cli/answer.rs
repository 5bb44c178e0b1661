//! Answers as outputs of a step of GitHub Actions.

use crate::error::{FileError, Report};
use crate::report::{Outputs, Printer};

use super::Environment;

/// Makes sure that outputs can be written, before something is done that they are to tell of.
pub(super) fn check(environment: &Environment) -> Result<(), Report> {
    match environment.path("GITHUB_OUTPUT") {
        Some(path) => Ok(Outputs::new().append(&path).map_err(FileError::outputs)?),
        None => Ok(()),
    }
}

/// Appends `outputs` to the file that `GITHUB_OUTPUT` names, and tells the same as `text`; where it names
/// none, the outputs are printed.
pub(super) fn hand_on(
    outputs: &Outputs,
    text: &str,
    environment: &Environment,
    printer: &Printer,
) -> Result<(), Report> {
    match environment.path("GITHUB_OUTPUT") {
        Some(path) => {
            outputs.append(&path).map_err(FileError::outputs)?;
            printer.done(text);
        }
        None => printer.result(&outputs.to_string()),
    }
    Ok(())
}
