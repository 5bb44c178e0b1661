//! `basegen lint`: prints what breaks a rule of a contract.

use crate::error::{ExitCode, Report};
use crate::ops;

use super::args::LintArgs;
use super::{Session, findings};

pub(super) fn run(args: &LintArgs, session: &Session) -> Result<ExitCode, Report> {
    let found = ops::lint::run(&session.context)?;
    findings::print(&found, true, args.format, session);
    Ok(findings::conclude(&found, session))
}
