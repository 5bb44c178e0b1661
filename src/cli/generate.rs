//! Texts that are generated from the code: the schema, completions, the manual page.

use std::path::Path;

use clap::CommandFactory as _;

use crate::error::{ExitCode, FileError, Report};
use crate::matrix;
use crate::report::Printer;

use super::args::Cli;

pub(super) fn schema(printer: &Printer) -> ExitCode {
    printer.result(&matrix::json_schema());
    ExitCode::Success
}

pub(super) fn completions(shell: clap_complete::Shell, printer: &Printer) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "basegen", &mut script);
    printer.result(&String::from_utf8_lossy(&script));
    ExitCode::Success
}

/// Prints the page of `basegen`, or writes that of each command to `folder`.
pub(super) fn man(folder: Option<&Path>, printer: &Printer) -> Result<ExitCode, Report> {
    if let Some(folder) = folder {
        let written = fs_err::create_dir_all(folder)
            .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
        written.map_err(FileError::failed_to("write the manual pages"))?;
        return Ok(ExitCode::Success);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(Cli::command())
        .render(&mut page)
        .expect("writing to memory does not fail");
    printer.result(&String::from_utf8_lossy(&page));
    Ok(ExitCode::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_hold_together() {
        Cli::command().debug_assert();
    }
}
