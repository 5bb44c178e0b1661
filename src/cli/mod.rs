//! The command line: arguments become a request of an operation, and its outcome becomes text and an exit code.
//!
//! Only this room uses clap and reads the environment. Each subcommand has a file of its own; `basegen` without a
//! subcommand builds. Start reading at [`run`]; each command gets its arguments and a `Session`.

mod allow;
mod answer;
mod args;
mod auth;
mod build;
mod bump;
mod changed;
mod check;
mod dry_run;
mod environment;
mod explain;
mod export;
mod findings;
mod generate;
mod init;
mod jobs;
mod lint;
mod merge;
mod planned;
mod progress;
mod prune;
mod pull_request;
mod release;
mod render;
mod selection;
mod status;
mod update;
mod use_image;

pub use args::Cli;
pub use environment::Environment;

use std::ffi::OsString;
use std::sync::Arc;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgMatches, CommandFactory, FromArgMatches};

use crate::error::{ExitCode, FileError, Queries, Report, redact_queries};
use crate::ops::{self, Context, Messages};
use crate::report::{Display, Printer, Style, github};
use args::{AuthCommand, Command, GlobalArgs};

/// Runs `basegen` with `arguments`, its own name the first of them, and says how it ended.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    environment: &Environment,
    printer: &Printer,
) -> ExitCode {
    let (out, err) = environment.guards();
    let printer = &printer.guarded(out, err);
    printer.mask(&ops::inputs::proxy_mask(&environment.build_proxies()));
    let code = match parse(arguments) {
        Ok(cli) => match execute(cli, environment, printer) {
            Ok(code) => code,
            Err(error) => {
                let text = error.to_string();
                let text = redact_queries(&text, Queries::All).unwrap_or(text);
                if environment.is_actions() {
                    printer.err.commands(&[github::failure(&text)]);
                } else {
                    printer.message(&text);
                }
                error.exit_code()
            }
        },
        Err(error) => refuse(&error, environment, printer),
    };
    match printer.finish() {
        Err(source) if code == ExitCode::Success => {
            let error = Report::from(FileError::failed_to("write the output")(source));
            printer.message(&error.to_string());
            error.exit_code()
        }
        _ => code,
    }
}

fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut command = Cli::command();
    let matches = command.try_get_matches_from_mut(arguments).map_err(point_to_main_call)?;
    if let Some((name, _)) = matches.subcommand()
        && let Some(stray) = stray_argument(&command, &matches)
    {
        let message = format!("`{stray}` belongs behind `{name}`: basegen {name} {stray} …");
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    if let Some(("init", given)) = matches.subcommand()
        && given.value_source("file") == Some(clap::parser::ValueSource::CommandLine)
    {
        let message = "`init` writes matrix.toml into a folder: basegen init DIR, without --file";
        return Err(command.error(ErrorKind::ArgumentConflict, message));
    }
    Cli::from_arg_matches(&matches)
}

/// Points users of `build`, `push` and `publish` to the main call.
fn point_to_main_call(mut error: clap::Error) -> clap::Error {
    let call = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(name)) if name == "build" => "basegen",
        Some(ContextValue::String(name)) if matches!(&**name, "push" | "publish") => {
            "basegen --push"
        }
        _ => return error,
    };
    let hint = format!("`{call}` without a subcommand does that").into();
    error.remove(ContextKind::SuggestedSubcommand);
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint]));
    error
}

/// Returns an argument of the main call before a subcommand, which would ignore it.
fn stray_argument(command: &clap::Command, matches: &ArgMatches) -> Option<String> {
    let arguments = command.get_arguments().filter(|argument| !argument.is_global_set());
    let is_given = |argument: &&clap::Arg| {
        let source = matches.value_source(argument.get_id().as_str());
        source == Some(clap::parser::ValueSource::CommandLine)
    };
    let stray = arguments.filter(is_given).find_map(|argument| argument.get_long());
    stray.map(|long| format!("--{long}"))
}

/// The context and the printer of a command.
struct Session {
    context: Context,
    printer: Printer,
    /// How a run is displayed unless its arguments say so.
    display: Display,
    style: Style,
}

impl Session {
    fn new(global: &GlobalArgs, environment: &Environment, printer: &Printer) -> Self {
        let printer = Printer { quiet: global.quiet, ..printer.clone() };
        let context = Context::new(environment.settings(global), Arc::new(printer.clone()));
        let (display, style) = (environment.display(), environment.style(global));
        Self { context, printer, display, style }
    }
}

impl Messages for Printer {
    fn note(&self, text: &str) {
        Printer::note(self, text);
    }

    fn message(&self, text: &str) {
        Printer::message(self, text);
    }
}

fn execute(cli: Cli, environment: &Environment, printer: &Printer) -> Result<ExitCode, Report> {
    let session = &Session::new(&cli.global, environment, printer);
    match cli.command {
        None => build::run(&cli.build, session),
        Some(Command::Plan(args)) => planned::plan(&args, session),
        Some(Command::List(args)) => planned::list(&args, session),
        Some(Command::Render(args)) => render::run(&args, session),
        Some(Command::Merge(args)) => merge::run(&args, session),
        Some(Command::Status(args)) => status::run(&args, session),
        Some(Command::Prune(args)) => prune::run(&args, session),
        Some(Command::Update(args)) => update::run(&args, session),
        Some(Command::Init(args)) => init::run(&args, &session.printer),
        Some(Command::Export { command }) => export::run(&command, session),
        Some(Command::Use(args)) => use_image::run(&args, session),
        Some(Command::Explain(args)) => explain::run(&args, session),
        Some(Command::Auth { command: AuthCommand::Check(args) }) => auth::run(&args, session),
        Some(Command::Release(args)) => release::run(*args, session),
        Some(Command::Bump(args)) => bump::run(&args, session),
        Some(Command::Check(args)) => check::run(&args, session),
        Some(Command::Lint(args)) => lint::run(&args, session),
        Some(Command::Changed(args)) => changed::run(&args, session),
        Some(Command::Schema) => Ok(generate::schema(&session.printer)),
        Some(Command::Completions { shell }) => Ok(generate::completions(shell, &session.printer)),
        Some(Command::Man { folder }) => generate::man(folder.as_deref(), &session.printer),
    }
}

/// Prints help and the version to stdout and succeeds; prints usage errors to stderr.
fn refuse(error: &clap::Error, environment: &Environment, printer: &Printer) -> ExitCode {
    let text = error.render();
    let is_help = !error.use_stderr();
    let color = if is_help { environment.stdout_color() } else { environment.stderr_color() };
    let text = if color { text.ansi().to_string() } else { text.to_string() };
    if is_help {
        printer.result(&text);
        return ExitCode::Success;
    }
    printer.message(&text);
    ExitCode::Usage
}
