//! `basegen check`: prints the findings.

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    check::{CheckRequest, CheckResult},
};

use super::args::CheckArgs;
use super::{Session, findings};

pub(super) fn run(args: &CheckArgs, session: &Session) -> Result<ExitCode, Report> {
    let context = &session.context;
    let CheckArgs { offline, fix, strict, released, allow_unbumped, format } = *args;
    let request = CheckRequest { offline, fix, strict, released, allow_unbumped };
    let CheckResult { findings, lookup_error } =
        context.block_on(ops::check::run(context, request))?;
    findings::print(&findings, lookup_error.is_none(), format, session);
    match lookup_error {
        Some(error) => Err(error),
        None => Ok(findings::conclude(&findings, session)),
    }
}
