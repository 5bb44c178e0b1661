use basegen::engine::Destination;
use basegen::event::FailureKind;

use crate::harness::testbed;

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_is_told_with_its_line_and_exit_code() {
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
async fn a_long_dockerfile_loses_no_details() {
    // Errors bring the whole Dockerfile back, encoded twice, in one header.
    let comment = "# A comment that is here to be long, and is repeated many times over.\n";
    let dockerfile = format!("FROM scratch\n{}COPY gone /gone\n", comment.repeat(2000));
    let job = testbed::job("long", &dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    let source = failure.source.clone().unwrap_or_else(|| panic!("{failure:?}"));
    assert_eq!(source.line, 2002);
    assert_eq!(source.text, "COPY gone /gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_image_that_is_not_there_is_told_at_once() {
    let dockerfile = "FROM python:no-such-tag\nRUN true\n";
    let job = testbed::job("no-upstream", dockerfile, &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert!(failure.message.contains("no-such-tag"), "{failure:?}");
    assert_eq!(failure.source.expect("a line").line, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_that_is_wrong_is_told_by_line() {
    let job = testbed::job("syntax", "FROM scratch\nCOPPY a b\n", &[]);
    let builder = testbed::builder(Destination::Registry).await;
    let begun = std::time::Instant::now();
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Build, "{failure:?}");
    assert_eq!(failure.source.expect("a line").line, 2);
    assert!(begun.elapsed().as_secs() < 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_refuses_is_an_export_fault() {
    let mut job = testbed::job("refused", "FROM scratch\nCOPY a /a\n", &[("a", "a")]);
    job.references = vec![testbed::reference("127.0.0.1:1/base:1")];
    let builder = testbed::builder(Destination::Registry).await;
    let failure = testbed::build(&builder, &job).await.expect_err("a failure");
    assert_eq!(failure.kind, FailureKind::Export, "{failure:?}");
    assert!(failure.message.contains("127.0.0.1:1"), "{failure:?}");
}
