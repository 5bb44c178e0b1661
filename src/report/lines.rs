//! Lines that several displays share: the start of a run, and the end of a variant.

use std::time::Duration;

use crate::event::{CancelReason, Event, Failure};
use crate::image::{Digest, Size};

use super::command::line;
use super::format;
use super::style::Style;
use super::text::clean;

/// The maximum width to which the names of targets are aligned.
const MAX_NAME: usize = 40;

/// The number of digits in a short digest.
const SHORT_DIGEST: usize = 12;

/// Returns the line for the start of a run, such as `48 variants, 8 at a time, on Docker Engine …`, for a warning, or for a
/// copy to another registry. Returns `None` for other events.
pub(super) fn of_run(event: &Event, style: Style) -> Option<String> {
    match event {
        Event::RunStarted { targets, engine, jobs } => {
            let variants = format::count(targets.len(), "variant");
            Some(format!("{variants}, {jobs} at a time, on {}", clean(engine)))
        }
        Event::Warning { target, message } => Some(warning(target.as_deref(), message, style)),
        Event::ImageCopied { target, repository, bytes, elapsed } => {
            let (target, repository) = (clean(target), clean(repository));
            let (size, elapsed) = (Size(*bytes), format::duration(*elapsed));
            Some(format!("{target}: copied to {repository}  {size}  {elapsed}"))
        }
        _ => None,
    }
}

/// Returns the width of the longest target of a run, at most [`MAX_NAME`] columns.
pub(super) fn name_width(targets: &[String]) -> usize {
    let widths = targets.iter().map(|target| console::measure_text_width(target));
    widths.max().unwrap_or(0).min(MAX_NAME)
}

/// Returns the mark and the text for the end of a target, or `None` for other events.
pub(super) fn ending(event: &Event, style: Style) -> Option<(String, String)> {
    match event {
        Event::TargetFinished { digest, cached, elapsed, .. } => {
            let cached = if *cached { style.dim("  cached") } else { String::new() };
            let elapsed = format::duration(*elapsed);
            let text = format!("{}  {elapsed}{cached}", style.dim(short(digest)));
            Some((style.good("✓"), text))
        }
        Event::TargetChecked { digest, elapsed, .. } => {
            let elapsed = format::duration(*elapsed);
            let text = format!("{}  {elapsed}{}", style.dim(short(digest)), style.dim("  checked"));
            Some((style.good("✓"), text))
        }
        Event::TargetFailed { failure, elapsed, .. } => {
            Some((style.bad("✗"), failed(failure, *elapsed)))
        }
        Event::TargetCancelled { reason, .. } => {
            Some((style.warn("-"), cancelled(*reason).to_owned()))
        }
        _ => None,
    }
}

/// Shortens a digest to `sha256:` and twelve digits.
pub(super) fn short(digest: &Digest) -> String {
    format!("sha256:{}…", &digest.hex()[..SHORT_DIGEST])
}

/// Returns a line with a warning and the target that it is about.
pub(super) fn warning(target: Option<&str>, message: &str, style: Style) -> String {
    let target = target.map(|target| format!("{}: ", clean(target)));
    let target = target.unwrap_or_default();
    format!("{} {target}{}", style.warn("warning:"), clean(message))
}

/// Returns the text for the reason of a cancellation.
pub(super) fn cancelled(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Interrupted => "cancelled: interrupted",
        CancelReason::FailFast => "cancelled: another variant failed",
        CancelReason::ParentFailed => "cancelled: its base image failed",
    }
}

fn failed(failure: &Failure, elapsed: Duration) -> String {
    let elapsed = format::duration(elapsed);
    let what = match (&failure.step, failure.exit_code) {
        (Some(step), Some(code)) => format!("{}: exit code {code}", line(step)),
        (Some(step), None) => format!("{}: {}", line(step), failure.message),
        (None, _) => failure.message.clone(),
    };
    format!("failed after {elapsed}: {}", clean(&what))
}
