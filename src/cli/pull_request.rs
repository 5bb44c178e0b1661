//! The pull request of a release, as arguments ask for it and as text.

use crate::error::{ExitCode, Report};
use crate::forge::{Opened, Proposal};
use crate::ops::Context;
use crate::ops::pull_request::{
    PullRequest, PullRequestError, PullRequestOptions, PullRequestOutcome,
};
use crate::plan::Plan;
use crate::report::Printer;

use super::Session;

/// Checks everything that can be checked before the release.
pub(super) fn prepare<'a>(
    plan: &'a Plan<'a>,
    options: PullRequestOptions,
    context: &'a Context,
) -> Result<PullRequest<'a>, Report> {
    let prepared = PullRequest::prepare(context, plan, options);
    context.block_on_cancellable(prepared)?.ok_or_else(|| PullRequestError::Interrupted.into())
}

/// Opens or updates the pull request, and prints the result.
pub(super) fn open(pull_request: &PullRequest<'_>, session: &Session) -> Result<ExitCode, Report> {
    let printer = &session.printer;
    let Some(outcome) = session.context.block_on_cancellable(pull_request.open())? else {
        return Err(PullRequestError::Interrupted.into());
    };
    match outcome {
        PullRequestOutcome::UpToDate { branch, version } => {
            printer.done(&format!("nothing to do: `{branch}` already has {version}"));
        }
        PullRequestOutcome::AlreadyMerged { branch } => {
            printer.done(&format!("nothing to do: `{branch}` has all of it already"));
        }
        PullRequestOutcome::Preview(text) => printer.result(&text),
        PullRequestOutcome::Opened(opened) => print(&opened, printer),
    }
    Ok(ExitCode::Success)
}

fn print(opened: &Opened, printer: &Printer) {
    let pull = &opened.pull_request;
    let done = match opened.proposal {
        Proposal::Opened => "opened",
        Proposal::Updated => "updated",
        Proposal::Unchanged => "unchanged:",
    };
    printer.result(&format!("{done} pull request #{}: {}", pull.number, pull.url));
    for refused in &opened.refused {
        printer.message(&format!("warning: {refused}"));
    }
    if pull.is_by_actions() {
        printer.message(
            "warning: the pull request was opened with the token of Actions: its workflows wait for \
             approval\n\
             hint: select \"Approve workflows to run\" in the pull request, or use the token of a \
             GitHub App (BASEGEN_APP_ID, BASEGEN_APP_PRIVATE_KEY). On an older GitHub Enterprise \
             Server the workflows start only after the pull request is closed and reopened",
        );
    }
}
