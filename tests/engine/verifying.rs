//! Checks of images, on the engine that builds them.

use std::sync::Arc;

use basegen::engine::{Destination, Engine, Peers};
use basegen::event::FailureKind;
use basegen::matrix::{Check, CheckCommand};

use crate::bed;
use crate::fake::FakeRegistry;

fn check(name: &str, command: CheckCommand) -> Check {
    Check { name: name.to_owned(), command }
}

fn exec(words: &[&str]) -> CheckCommand {
    CheckCommand::Exec(words.iter().map(ToString::to_string).collect())
}

fn dockerfile() -> String {
    let word = bed::unique();
    format!("FROM python:3.11-slim-bookworm\nRUN echo {word} >/word\nENV WORD={word}\nUSER 1234\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_run_as_the_image_and_leave_no_trace_in_it() {
    let builder = bed::builder(Destination::Registry).await;
    let mut job = bed::job("verified", &dockerfile(), &[]);
    let image = bed::build(&builder, &job).await.expect("an image");
    job.checks = vec![
        check("environment", CheckCommand::Shell("[ \"$WORD\" = \"$(cat /word)\" ]".to_owned())),
        check("user", CheckCommand::Shell("[ \"$(id -u)\" = 1234 ]".to_owned())),
        check(
            "version",
            exec(&["python", "-c", "import sys; assert sys.version_info[:2] == (3, 11)"]),
        ),
        check("no network", CheckCommand::Shell("! ls /sys/class/net | grep -qv lo".to_owned())),
    ];
    let heard = Arc::new(bed::Heard::default());
    let checked = builder.build(&job, &heard.events(), Peers::none()).await.expect("an image");
    assert_eq!(checked.digest, image.digest);
    assert!(heard.json().contains("basegen-verify 4/4"), "{}", heard.json());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_fails_a_check_reaches_no_registry() {
    let builder = bed::builder(Destination::Registry).await;
    let name = format!("wrong-{}", bed::unique());
    let mut job = bed::job(&name, &dockerfile(), &[]);
    job.checks = vec![
        check("shell", CheckCommand::Shell("true".to_owned())),
        check(
            "python",
            exec(&["python", "-c", "import sys; assert sys.version_info[1] == 12, 'not 3.12'"]),
        ),
    ];
    let failure = bed::build(&builder, &job).await.expect_err("a refusal");
    assert_eq!(failure.kind, FailureKind::Verify, "{failure:?}");
    assert!(failure.message.contains("the image fails the check `python`"), "{failure:?}");
    assert_eq!(failure.exit_code, Some(1));
    assert_eq!(failure.source, None);
    assert!(!bed::knows(&job).await);
    job.checks.pop();
    bed::build(&builder, &job).await.expect("an image");
    assert!(bed::knows(&job).await);
}

/// What a step fetches changes between the checks and the push.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_checked_is_what_is_pushed() {
    let registry = FakeRegistry::start().await;
    let words = [bed::unique(), bed::unique()];
    let serve = |word: &str| registry.add_manifest("acme/word", "1", "text/plain", word.to_owned());
    serve(&words[0]);
    let source = format!("{}/v2/acme/word/manifests/1", registry.origin());
    let dockerfile = format!("FROM python:3.11-slim-bookworm\nADD {source} /word\n");
    let mut job = bed::job("checked", &dockerfile, &[]);
    job.checks = vec![check("look", CheckCommand::Shell("cat /word && echo".to_owned()))];
    let (heard, builder) = (Arc::default(), bed::builder(Destination::Registry).await);
    let events = bed::Heard::events(&heard);
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let peers = Peers::none().beginning_with(async {
        arrived.send(()).expect("someone waits for it");
    });
    let build = builder.build(&job, &events, peers);
    let (image, ()) = tokio::join!(build, async {
        arrival.await.expect("it is built");
        serve(&words[1]);
    });
    let image = image.expect("an image");
    assert_eq!(heard.lines(), words[..1]);
    let other = bed::build(&builder, &job).await.expect("an image of the other word");
    assert_ne!(other.digest, image.digest);
    serve(&words[0]);
    let same = bed::build(&builder, &job).await.expect("an image of the first word");
    assert_eq!(same.digest, image.digest);
}
