//! The `basegen` command: arguments in, exit code out.

use std::process::ExitCode;

use basegen::cli::{self, Environment};
use basegen::report::Printer;

fn main() -> ExitCode {
    cli::run(std::env::args_os(), &Environment::of_process(), &Printer::standard()).into()
}
