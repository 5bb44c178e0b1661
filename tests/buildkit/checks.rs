//! Checks of images, on the engine that builds them.

use std::sync::Arc;

use basegen::engine::{Destination, Engine, JobDependencies};
use basegen::event::FailureKind;
use basegen::matrix::{Check, CheckCommand};

use crate::harness::registry::FakeRegistry;
use crate::harness::{project, testbed};

fn check(name: &str, command: CheckCommand) -> Check {
    Check { name: name.to_owned(), command }
}

fn exec(words: &[&str]) -> CheckCommand {
    CheckCommand::Exec(words.iter().map(ToString::to_string).collect())
}

fn dockerfile() -> String {
    let word = testbed::unique();
    format!("FROM python:3.11-slim-bookworm\nRUN echo {word} >/word\nENV WORD={word}\nUSER 1234\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_run_in_the_image_and_do_not_change_it() {
    let builder = testbed::builder(Destination::Registry).await;
    let mut job = testbed::job("verified", &dockerfile(), &[]);
    let image = testbed::build(&builder, &job).await.expect("an image");
    job.checks = vec![
        check("environment", CheckCommand::Shell("[ \"$WORD\" = \"$(cat /word)\" ]".to_owned())),
        check("user", CheckCommand::Shell("[ \"$(id -u)\" = 1234 ]".to_owned())),
        check(
            "version",
            exec(&["python", "-c", "import sys; assert sys.version_info[:2] == (3, 11)"]),
        ),
        check("no network", CheckCommand::Shell("! ls /sys/class/net | grep -qv lo".to_owned())),
    ];
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let checked =
        builder.build(&job, &recorded.events(), JobDependencies::none()).await.expect("an image");
    assert_eq!(checked.digest, image.digest);
    assert!(recorded.to_json().contains("basegen-verify 1/1"), "{}", recorded.to_json());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_fails_a_check_is_not_pushed() {
    let builder = testbed::builder(Destination::Registry).await;
    let name = format!("wrong-{}", testbed::unique());
    let mut job = testbed::job(&name, &dockerfile(), &[]);
    job.checks = vec![
        check("shell", CheckCommand::Shell("true".to_owned())),
        check(
            "python",
            exec(&["python", "-c", "import sys; assert sys.version_info[1] == 12, 'not 3.12'"]),
        ),
    ];
    let failure = testbed::build(&builder, &job).await.expect_err("a refusal");
    assert_eq!(failure.kind, FailureKind::Verify, "{failure:?}");
    assert!(failure.message.contains("the image fails the check `python`"), "{failure:?}");
    assert_eq!(failure.exit_code, Some(1));
    assert_eq!(failure.source, None);
    assert!(!testbed::has_repository(&job).await);
    job.checks.pop();
    testbed::build(&builder, &job).await.expect("an image");
    assert!(testbed::has_repository(&job).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_checks_run_and_the_failure_names_the_failed_ones() {
    let builder = testbed::builder(Destination::Registry).await;
    let mut job = testbed::job(&format!("wrong-{}", testbed::unique()), &dockerfile(), &[]);
    job.checks = vec![
        check("shell", CheckCommand::Shell("echo seen && exit 7".to_owned())),
        check("user", CheckCommand::Shell("[ \"$(id -u)\" = 1234 ]".to_owned())),
        check("python", exec(&["python", "-c", "raise SystemExit(8)"])),
    ];
    let recorded = Arc::new(testbed::RecordedEvents::default());
    let built = builder.build(&job, &recorded.events(), JobDependencies::none()).await;
    let failure = built.expect_err("a refusal");
    assert_eq!(failure.kind, FailureKind::Verify, "{failure:?}");
    assert_eq!(failure.message, "the image fails 2 checks: `shell`, `python`");
    assert_eq!(failure.exit_code, Some(1));
    let lines = [
        "seen",
        "the check `shell` failed with exit code 7",
        "the check `python` failed with exit code 8",
    ];
    assert_eq!(recorded.log_lines(), lines);
    assert!(!testbed::has_repository(&job).await);
    job.checks.pop();
    let failure = testbed::build(&builder, &job).await.expect_err("a refusal");
    assert_eq!(failure.message, "the image fails the check `shell`: exit code 7");
    assert_eq!(failure.exit_code, Some(7));
}

/// The content of a download changes between the checks and the push.
#[tokio::test(flavor = "multi_thread")]
async fn the_pushed_image_is_the_checked_one() {
    let registry = FakeRegistry::start().await;
    let words = [testbed::unique(), testbed::unique()];
    let serve = |word: &str| registry.add_manifest("acme/word", "1", "text/plain", word.to_owned());
    serve(&words[0]);
    let source = format!("{}/v2/acme/word/manifests/1", registry.origin());
    let dockerfile = format!("FROM python:3.11-slim-bookworm\nADD {source} /word\n");
    let mut job = testbed::job("checked", &dockerfile, &[]);
    job.checks = vec![check("look", CheckCommand::Shell("cat /word && echo".to_owned()))];
    let (recorded, builder) = (Arc::default(), testbed::builder(Destination::Registry).await);
    let events = testbed::RecordedEvents::events(&recorded);
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    let dependencies = JobDependencies::none().before_upload(async {
        arrived.send(()).expect("a receiver");
    });
    let build = builder.build(&job, &events, dependencies);
    let (image, ()) = tokio::join!(build, async {
        arrival.await.expect("a built image");
        serve(&words[1]);
    });
    let image = image.expect("an image");
    assert_eq!(recorded.log_lines(), words[..1]);
    let other = testbed::build(&builder, &job).await.expect("an image of the other word");
    assert_ne!(other.digest, image.digest);
    serve(&words[0]);
    let same = testbed::build(&builder, &job).await.expect("an image of the first word");
    assert_eq!(same.digest, image.digest);
}

/// A folder with a matrix of two variants, which have a new repository, and a version.
struct Project {
    folder: tempfile::TempDir,
    matrix: String,
}

impl Project {
    fn new(registry: Option<&str>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let registry = registry.map(|host| format!("registry = \"{host}\"\n")).unwrap_or_default();
        let word = testbed::unique();
        let matrix = format!(
            "[image]\n{registry}repository = \"basegen-test/checks-{word}\"\n\
             dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
             [axes]\nword = [\"one\", \"two\"]\n[version]\nfile = \"VERSION\"\n"
        );
        let project = Self { folder, matrix };
        let dockerfile = format!(
            "FROM python:3.11-slim-bookworm\nRUN echo {{{{word}}}} {word} >/word\nUSER 1234\n"
        );
        project.file("dockerfiles/Dockerfile.hbs", &dockerfile);
        project.file("VERSION", "v1\n");
        project
    }

    fn file(&self, path: &str, text: &str) {
        project::write(self.folder.path(), path, text);
    }

    /// Runs basegen with the check `run`. Returns its exit code, the lines on stdout, and stderr.
    async fn run(&self, run: &str, arguments: &[&str]) -> (Option<i32>, Vec<String>, String) {
        let check = format!("[[verify]]\nname = \"word\"\nrun = {run}\n");
        self.file("matrix.toml", &format!("{}{check}", self.matrix));
        let mut command = tokio::process::Command::from(testbed::basegen(self.folder.path()));
        command.args(arguments);
        let output = command.output().await.expect("the command runs");
        let printed = String::from_utf8(output.stdout).expect("UTF-8");
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code(), printed.lines().map(str::to_owned).collect(), stderr)
    }
}

const FAILS: &str = "[\"false\"]";
const PASSES: &str = "[\"grep\", \"{{word}}\", \"/word\"]";

/// Returns the digests of the printed images.
fn digests(printed: &[String]) -> Vec<&str> {
    printed.iter().filter_map(|line| Some(line.split_once('@')?.1)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_check_runs_in_the_published_image_before_the_next_version() {
    let project = Project::new(Some(&testbed::registry()));
    let (code, first, stderr) = project.run("[\"true\"]", &["--push"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    project.file("VERSION", "v2\n");
    let (code, printed, stderr) = project.run(FAILS, &["--push"]).await;
    assert_eq!((code, printed.len()), (Some(10), 0), "{stderr}");
    assert!(stderr.contains("the image fails the check `word`"), "{stderr}");
    assert!(stderr.contains("no tags were set"), "{stderr}");
    let (_, planned, _) = project.run(PASSES, &["plan"]).await;
    let why = "its checks have not run on its image";
    assert_eq!(planned.iter().filter(|line| line.contains(why)).count(), 2, "{planned:?}");
    assert_eq!(planned.iter().filter(|line| line.ends_with("  retag")).count(), 2, "{planned:?}");
    let (code, second, stderr) = project.run(PASSES, &["--push"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stderr.contains("2 images unchanged (2 checked), 2 checks passed, 2 tags set"),
        "{stderr}"
    );
    assert_eq!(digests(&second), digests(&first));
    let (code, _, stderr) = project.run(PASSES, &["--push"]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("Nothing to do: all 2 images are already published"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_check_runs_in_the_image_of_the_engine_before_the_next_version() {
    let project = Project::new(None);
    let (code, first, stderr) = project.run("[\"true\"]", &[]).await;
    assert_eq!(code, Some(0), "{stderr}");
    project.file("VERSION", "v2\n");
    let (code, printed, stderr) = project.run(FAILS, &[]).await;
    assert_eq!((code, printed.len()), (Some(10), 0), "{stderr}");
    assert!(stderr.contains("the image fails the check `word`"), "{stderr}");
    let names = async || {
        let names = first.iter().filter_map(|line| line.split_once('@'));
        let names: Vec<String> = names.map(|(name, _)| name.replace("-v1", "-v2")).collect();
        let docker = testbed::docker();
        let mut found = Vec::new();
        for name in &names {
            found.extend(docker.inspect_image(name).await.ok().and_then(|image| image.id));
        }
        found
    };
    assert_eq!(names().await, [""; 0]);
    for _ in 0..2 {
        let (code, second, stderr) = project.run(PASSES, &[]).await;
        assert_eq!(code, Some(0), "{stderr}");
        assert!(stderr.contains("2 images unchanged (2 checked)"), "{stderr}");
        assert_eq!(digests(&second), digests(&first));
    }
    assert_eq!(names().await, digests(&first));
    for line in &first {
        let (name, _) = line.split_once('@').expect("an image");
        for name in [name.to_owned(), name.replace("-v1", "-v2")] {
            let options = None::<bollard::query_parameters::RemoveImageOptions>;
            testbed::docker().remove_image(&name, options, None).await.expect("removed");
        }
    }
}
