//! The command as a whole on a real engine: where images go, and how a run ends.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use hyper_util::rt::TokioIo;

use crate::harness::testbed;

/// A folder with a matrix of two variants and this Dockerfile.
fn project(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| {
        let path = folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    };
    file(
        "matrix.toml",
        "[image]\nrepository = \"basegen-test/command\"\ndockerfile = \"Dockerfile.hbs\"\n\
         platforms = [\"linux/amd64\"]\naliases = [\"{{variant}}-latest\"]\n\
         [axes]\nword = [\"one\", \"two\"]\n[version]\nfile = \"VERSION\"\n",
    );
    file("VERSION", "v1\n");
    file("dockerfiles/Dockerfile.hbs", dockerfile);
    folder
}

fn run(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = testbed::basegen(folder);
    command.args(arguments);
    command
}

fn stdout(mut command: Command) -> String {
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Arguments that push to a repository which nobody used before.
fn push() -> [String; 5] {
    let repository = format!("basegen-test/command-{}", testbed::unique());
    let [push, registry, option] = ["--push", "--registry", "--repository"].map(str::to_owned);
    [push, registry, testbed::registry(), option, repository]
}

/// The references in what a run printed, without their digests.
fn references(printed: &str) -> Vec<&str> {
    printed.lines().filter_map(|line| line.split_once('@')).map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_names_its_line_of_the_template() {
    let dockerfile = "FROM python:3.11-slim-bookworm\n{{#if (eq word \"two\")}}\nRUN true\n{{/if}}\n\
                      {{> fails}}\n";
    let folder = project(dockerfile);
    let partial = format!("# {}\n\nRUN exit 7\n", testbed::unique());
    fs_err::create_dir(folder.path().join("dockerfiles/partials")).expect("a folder");
    fs_err::write(folder.path().join("dockerfiles/partials/fails.hbs"), partial).expect("a file");
    let output = run(folder.path(), &[]).output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(6), "{errors}");
    assert!(errors.contains("  at         dockerfiles/partials/fails.hbs:3:1\n"), "{errors}");
}

/// A server that answers everything with `a`.
async fn server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let answer = |request: http::Request<hyper::body::Incoming>| async move {
        let body = if request.method() == http::Method::HEAD { "" } else { "a" };
        let response = http::Response::builder().header("content-length", 1);
        response.body(http_body_util::Full::<bytes::Bytes>::from(body))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(answer);
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_url_brings_without_a_checksum_is_never_unchanged() {
    let port = server().await;
    let url = format!("http://127.0.0.1:{port}/a");
    let push = push();
    let published = |add: &str| {
        let folder =
            project(&format!("FROM scratch\n\n{{{{#if word}}}}\n  {add} /a\n{{{{/if}}}}\n"));
        let mut told = String::new();
        for version in ["v1", "v2"] {
            fs_err::write(folder.path().join("VERSION"), format!("{version}\n")).expect("a file");
            let mut command = run(folder.path(), &[]);
            command.args(&push).args(["--overwrite"]);
            let output = command.output().expect("the command runs");
            told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{told}");
        }
        told
    };
    let told = published(&format!("ADD {url}"));
    let warning = format!(
        "warning: dockerfiles/Dockerfile.hbs:4:3: `ADD {url}` has no checksum: images with it are \
         rebuilt on every run"
    );
    assert!(told.contains(&warning) && told.contains("Built and pushed 2 images"), "{told}");
    let digest = basegen::image::Digest::of(b"a");
    let told = published(&format!("ADD --checksum={digest} {url}"));
    assert!(!told.contains("warning") && told.contains("2 images unchanged"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_takes_all_variants_and_holds_their_blobs_once() {
    let folder = project("FROM python:3.11-slim-bookworm\nRUN echo {{word}} > /word\n");
    if testbed::has_graph_driver().await {
        let output = run(folder.path(), &["--output", "oci:layout"]).output();
        let output = output.expect("the command runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{errors}");
        assert!(errors.contains("hint: enable Docker's containerd image store"), "{errors}");
        assert!(!folder.path().join("layout").exists());
        return;
    }
    let printed = stdout(run(folder.path(), &["--output", "oci:layout"]));
    assert_eq!(printed.lines().count(), 4, "{printed}");
    let layout = folder.path().join("layout");
    let index = fs_err::read_to_string(layout.join("index.json")).expect("an index");
    for line in printed.lines() {
        let digest = line.rsplit_once("sha256:").expect("a digest").1;
        assert!(index.contains(digest) && layout.join("blobs/sha256").join(digest).is_file());
    }
    // Two manifests, two configurations, a layer of each variant, and the layers of the base.
    let blobs = fs_err::read_dir(layout.join("blobs/sha256")).expect("blobs").count();
    assert!(blobs < 2 * 3 + 6, "{blobs} blobs");
}

#[test]
fn upstreams_are_pinned_to_what_the_engine_builds_on() {
    let folder = project("FROM python:3.11-slim-bookworm\nRUN echo {{word}} > /word\n");
    let told = stdout(run(folder.path(), &["update"]));
    assert!(told.starts_with("python:3.11-slim-bookworm  added at sha256:"), "{told}");
    stdout(run(folder.path(), &["update", "--check"]));
    let rendered = stdout(run(folder.path(), &["render", "--only", "word=one"]));
    assert!(rendered.starts_with("FROM python:3.11-slim-bookworm@sha256:"), "{rendered}");
    // The engine finds these bytes where it looks for the tag.
    fs_err::write(folder.path().join("dockerfiles/Dockerfile.hbs"), rendered).expect("a file");
    let push = push();
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    stdout(run(folder.path(), &[&push[..], &["--only", "word=one"]].concat()));
}

#[test]
fn aliases_move_with_the_whole_matrix_only() {
    let folder = project("FROM scratch\nCOPY x-{{word}} /\n");
    for word in ["one", "two"] {
        fs_err::write(folder.path().join(format!("dockerfiles/x-{word}")), word).expect("a file");
    }
    let push = push();
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    let (registry, repository) = (push[2], push[4]);
    let part = stdout(run(folder.path(), &[&push[..], &["--only", "word=one"]].concat()));
    let name = |tag: &str| format!("{registry}/{repository}:{tag}");
    assert_eq!(references(&part), [name("one-v1")]);
    let custom = stdout(run(folder.path(), &[&push[..], &["--version-tag", "my-test"]].concat()));
    assert_eq!(references(&custom), [name("one-my-test"), name("two-my-test")]);
    let whole = stdout(run(folder.path(), &push));
    let expected = ["one-v1", "one-latest", "two-v1", "two-latest"].map(name);
    assert_eq!(references(&whole), expected);
}

#[test]
fn a_secret_reaches_its_step_from_the_environment() {
    let canary = format!("canary-{}", testbed::unique());
    let sum = basegen::image::Digest::of(canary.as_bytes()).hex();
    let folder = project(&format!(
        "FROM python:3.11-slim-bookworm\nRUN --mount=type=secret,id=token \\\n    \
         echo {sum}  /run/secrets/token | sha256sum --check && echo {{{{word}}}}\n"
    ));
    let mut command =
        run(folder.path(), &["--secret", "id=token,env=THE_TOKEN", "-v", "--log-dir", "logs"]);
    command.args(push());
    command.env("THE_TOKEN", &canary);
    let output = command.output().expect("the command runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains(&canary));
    let found = Command::new("grep")
        .args(["--recursive", "--files-with-matches", &canary])
        .current_dir(folder.path())
        .output()
        .expect("grep runs");
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "the secret is nowhere on disk");
}

#[test]
fn an_interrupt_stops_the_builds_and_says_so() {
    let word = testbed::unique();
    let folder = project(&format!(
        "FROM python:3.11-slim-bookworm\nRUN echo {word} && sleep 600 && echo {{{{word}}}}\n"
    ));
    let mut child = run(folder.path(), &["-v", "--progress", "plain"])
        .args(push())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let runs = lines.by_ref().map_while(Result::ok).any(|line| line.ends_with(&word));
    assert!(runs, "the step runs");
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
    assert!(sent.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("2 cancelled")), "{rest:#?}");
    // The engine ends the step's process a moment after it was told to.
    let is_gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        !is_running(&word)
    });
    assert!(is_gone, "the step was stopped");
}

#[test]
fn an_interrupt_ends_the_wait_for_an_engine_that_does_not_answer() {
    let folder = project("FROM scratch\nCOPY a /{{word}}\n");
    fs_err::write(folder.path().join("dockerfiles/a"), testbed::unique()).expect("a file");
    let socket = folder.path().join("mute.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let builder = format!("unix://{}", socket.display());
    let push = push();
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    for arguments in [&[][..], &push] {
        let mut child = run(folder.path(), &["--builder", &builder])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let (mut connection, _) = listener.accept().expect("a connection");
        connection.read_exact(&mut [0]).expect("a question");
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(sent.success());
        let mut told = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut told).expect("what it tells");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{arguments:?}: {told}");
    }
}

/// Whether any process has `word` among its arguments.
fn is_running(word: &str) -> bool {
    let processes = Command::new("ps").args(["ax", "-o", "args"]).output().expect("ps runs");
    String::from_utf8_lossy(&processes.stdout).lines().any(|line| line.contains(word))
}
