//! Texts that are generated from the code: the schema, completions, the manual page.

use std::path::Path;

use clap::CommandFactory as _;

use crate::error::{ExitCode, FileError, Report};
use crate::matrix;
use crate::report::Printer;

use super::args::Cli;

/// The table of exit codes, as help shows it.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0    success
  1    a file cannot be read or written, or the environment is wrong
  2    the command line is wrong
  3    matrix.toml, the version constant or a template is wrong
  4    the selection matches nothing in the matrix
  5    no engine can be reached, or it lacks a feature
  6    at least one variant failed to build
  7    a variant was built, but could not be pushed or written
  8    `--check`, `status` or `changed` found a difference
  9    a registry rejected a request, or cannot be reached
  10   an image failed a check
  11   a version tag already points to a different image
  12   `basegen check` found a problem
  13   the forge rejected the pull request, or cannot be reached
  130  interrupted";

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
    fn help_shows_the_table_of_exit_codes() {
        let rows = ExitCode::TABLE.map(|(_, number, meaning)| format!("  {number:<3}  {meaning}"));
        assert_eq!(EXIT_CODES, format!("Exit codes:\n{}", rows.join("\n")));
    }

    #[test]
    fn the_arguments_hold_together() {
        Cli::command().debug_assert();
    }
}
