//! Failures of builds, with their step, line and exit code.

use basegen::engine::Destination;
use basegen::event::FailureKind;

use crate::harness::testbed;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_reported_with_its_line_and_exit_code() {
    let dockerfile = format!(
        "FROM python:3.11-slim-bookworm\n\n# A comment.\nRUN echo {} && \\\n    exit 7\n",
        testbed::unique()
    );
    let job = testbed::job("fails", &dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert_eq!(failure.exit_code, Some(7), "{failure:?}");
    let step = failure.step.expect("a step");
    assert!(step.name.starts_with("[2/2] RUN echo"), "{step:?}");
    let source = failure.source.expect("a line");
    assert_eq!(source.file, "fails.Dockerfile");
    assert_eq!(source.line, 4);
    assert!(source.text.starts_with("RUN echo"), "{source:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_in_a_long_dockerfile_have_a_line() {
    // The engine returns the whole Dockerfile with an error, encoded twice, in one header.
    let comment = "# A long comment, repeated until the Dockerfile is larger than most headers.\n";
    let dockerfile = format!("FROM scratch\n{}COPY gone /gone\n", comment.repeat(2000));
    let job = testbed::job("long", &dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    let source = failure.source.clone().unwrap_or_else(|| panic!("{failure:?}"));
    assert_eq!(source.line, 2002);
    assert_eq!(source.text, "COPY gone /gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_upstream_image_is_reported_with_its_line() {
    let dockerfile = "FROM python:no-such-tag\nRUN true\n";
    let job = testbed::job("no-upstream", dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert!(failure.message.contains("no-such-tag"), "{failure:?}");
    assert_eq!(failure.source.expect("a line").line, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_syntax_error_is_reported_with_its_line() {
    let job = testbed::job("syntax", "FROM scratch\nCOPPY a b\n", &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let start = std::time::Instant::now();
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert_eq!(failure.source.expect("a line").line, 2);
    assert!(start.elapsed().as_secs() < 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_registry_is_an_export_failure() {
    let mut job = testbed::job("refused", "FROM scratch\nCOPY a /a\n", &[("a", "a")]);
    job.references = vec![testbed::reference("127.0.0.1:1/base:1")];
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Export, "{failure:?}");
    assert!(failure.message.contains("127.0.0.1:1"), "{failure:?}");
}

/// A step that ends in its first container as if runc had not started that.
const NOT_STARTED: &str = "\
RUN --mount=type=cache,target=/state,id=STATE \\
    test -e /state/begun || { touch /state/begun; \\
    echo 'runc run failed: unable to start container process: read init-p: connection reset by peer'; exit 1; }
";

#[tokio::test(flavor = "multi_thread")]
async fn a_step_whose_container_did_not_start_runs_again() {
    let step = NOT_STARTED.replace("STATE", &testbed::unique());
    let dockerfile = format!("FROM python:3.11-slim-bookworm\n{step}");
    let job = testbed::job("not-started", &dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    testbed::build(&builder, &job).await.expect("an image");
}
