pub(super) mod scripted;

use self::scripted::{Written, run_of_three};
use super::*;

fn report(display: Display, verbosity: Verbosity) -> (String, String) {
    let directory = tempfile::tempdir().expect("a directory");
    let (out, err) = (Written::default(), Written::default());
    let printer = Printer { out: out.stream(), err: err.stream(), quiet: false };
    let style = Style { verbosity, ..Style::default() };
    let request = ReportRequest {
        display,
        style,
        logs: directory.path().join("logs"),
        step_summary: Some(directory.path().join("summary.md")),
        mask: Mask::none(),
    };
    let report = RunReport::new(request, printer.clone());
    for event in run_of_three() {
        report.events().emit(&event);
    }
    let record = report.record();
    for image in &record.finished {
        printer.result(&published(&image.references, &image.digest));
    }
    report.conclude(true);
    let summary = fs_err::read_to_string(directory.path().join("summary.md"));
    assert!(summary.is_ok_and(|text| text.starts_with("### basegen")));
    let path = directory.path().display().to_string();
    (out.text(), err.text().replace(&path, "DIRECTORY"))
}

#[test]
fn results_go_to_stdout_and_progress_to_stderr() {
    let (out, err) = report(Display::Plain, Verbosity::Normal);
    insta::assert_snapshot!(format!("{out}---\n{err}"));
}

#[test]
fn quiet_shows_only_failures() {
    let (_, err) = report(Display::Plain, Verbosity::Quiet);
    insta::assert_snapshot!(err);
}

#[test]
fn json_output_contains_only_events() {
    let (_, err) = report(Display::Json, Verbosity::Normal);
    let is_object = |line: &str| line.starts_with("{\"schema\":1,\"time\":\"");
    assert!(err.lines().all(is_object), "{err}");
}

#[test]
fn annotations_for_github_are_printed_last() {
    let (_, err) = report(Display::GitHub, Verbosity::Normal);
    let last = err.lines().last().unwrap_or_default();
    assert!(last.starts_with("::error title=3.9-server failed,"), "{last}");
}

#[test]
fn the_default_display_depends_on_stderr() {
    let displays = [
        Display::automatic(true, Some("xterm"), false),
        Display::automatic(true, Some("dumb"), false),
        Display::automatic(false, None, false),
        Display::automatic(true, Some("xterm"), true),
    ];
    let expected = [Display::Terminal, Display::Plain, Display::Plain, Display::GitHub];
    assert_eq!(displays, expected);
}
