//! The command with a real engine: destinations, pins, aliases, secrets and interrupts.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use hyper_util::rt::TokioIo;

use crate::harness::{project, testbed};

/// Creates a folder with a matrix of two variants and this Dockerfile.
fn project(dockerfile: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
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

/// Returns arguments that push to a new repository.
fn push_arguments() -> [String; 5] {
    let repository = format!("basegen-test/command-{}", testbed::unique());
    let [push, registry, option] = ["--push", "--registry", "--repository"].map(str::to_owned);
    [push, registry, testbed::registry(), option, repository]
}

/// Returns the references in the output of a run, without their digests.
fn references(printed: &str) -> Vec<&str> {
    printed.lines().filter_map(|line| line.split_once('@')).map(|(name, _)| name).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_reported_with_its_line_in_the_template() {
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

/// Starts an HTTP server that answers every request with `a`. Returns its port.
async fn server() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let respond = |request: http::Request<hyper::body::Incoming>| async move {
        let body = if request.method() == http::Method::HEAD { "" } else { "a" };
        let response = http::Response::builder().header("content-length", 1);
        response.body(http_body_util::Full::<bytes::Bytes>::from(body))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper::service::service_fn(respond);
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(stream), service));
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn images_with_a_download_without_a_checksum_are_always_rebuilt() {
    let port = server().await;
    let url = format!("http://127.0.0.1:{port}/a");
    let push = push_arguments();
    let published = |add: &str| {
        let folder =
            project(&format!("FROM scratch\n\n{{{{#if word}}}}\n  {add} /a\n{{{{/if}}}}\n"));
        let mut stderr = String::new();
        for version in ["v1", "v2"] {
            fs_err::write(folder.path().join("VERSION"), format!("{version}\n")).expect("a file");
            let mut command = run(folder.path(), &[]);
            command.args(&push).args(["--overwrite"]);
            let output = command.output().expect("the command runs");
            stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{stderr}");
        }
        stderr
    };
    let stderr = published(&format!("ADD {url}"));
    let warning = format!(
        "warning: dockerfiles/Dockerfile.hbs:4:3: `ADD {url}` has no checksum: images with it are \
         rebuilt on every run"
    );
    assert!(stderr.contains(&warning) && stderr.contains("Built and pushed 2 images"), "{stderr}");
    let digest = basegen::image::Digest::of(b"a");
    let stderr = published(&format!("ADD --checksum={digest} {url}"));
    assert!(!stderr.contains("warning") && stderr.contains("2 images unchanged"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_layout_contains_all_variants_and_each_blob_once() {
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
fn update_pins_the_digests_that_the_engine_uses() {
    let folder = project("FROM python:3.11-slim-bookworm\nRUN echo {{word}} > /word\n");
    let updated = stdout(run(folder.path(), &["update"]));
    assert!(updated.starts_with("python:3.11-slim-bookworm  added at sha256:"), "{updated}");
    stdout(run(folder.path(), &["update", "--check"]));
    let rendered = stdout(run(folder.path(), &["render", "--only", "word=one"]));
    assert!(rendered.starts_with("FROM python:3.11-slim-bookworm@sha256:"), "{rendered}");
    // The engine can pull the digest.
    fs_err::write(folder.path().join("dockerfiles/Dockerfile.hbs"), rendered).expect("a file");
    let push = push_arguments();
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    stdout(run(folder.path(), &[&push[..], &["--only", "word=one"]].concat()));
}

#[test]
fn aliases_move_only_with_a_whole_release() {
    let folder = project("FROM scratch\nCOPY x-{{word}} /\n");
    for word in ["one", "two"] {
        fs_err::write(folder.path().join(format!("dockerfiles/x-{word}")), word).expect("a file");
    }
    let push = push_arguments();
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
fn a_secret_from_the_environment_reaches_its_step_only() {
    let canary = format!("canary-{}", testbed::unique());
    let sum = basegen::image::Digest::of(canary.as_bytes()).hex();
    let folder = project(&format!(
        "FROM python:3.11-slim-bookworm\nRUN --mount=type=secret,id=token \\\n    \
         echo {sum}  /run/secrets/token | sha256sum --check && echo {{{{word}}}}\n"
    ));
    let mut command =
        run(folder.path(), &["--secret", "id=token,env=THE_TOKEN", "-v", "--log-dir", "logs"]);
    command.args(push_arguments());
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
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "files that contain the secret");
}

#[test]
fn an_interrupt_cancels_the_builds() {
    let word = testbed::unique();
    let folder = project(&format!(
        "FROM python:3.11-slim-bookworm\nRUN echo {word} && sleep 600 && echo {{{{word}}}}\n"
    ));
    let mut child = run(folder.path(), &["-v", "--progress", "plain"])
        .args(push_arguments())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let runs = lines.by_ref().map_while(Result::ok).any(|line| line.ends_with(&word));
    assert!(runs, "the step did not start");
    let id = child.id().to_string();
    let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
    assert!(sent.success());
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{rest:#?}");
    assert!(rest.iter().any(|line| line.contains("2 cancelled")), "{rest:#?}");
    // The engine ends the process of the step shortly after the cancellation.
    let is_gone = (0..100).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        !is_running(&word)
    });
    assert!(is_gone, "the step still runs");
}

#[test]
fn an_interrupt_stops_waiting_for_an_engine_that_does_not_answer() {
    let folder = project("FROM scratch\nCOPY a /{{word}}\n");
    fs_err::write(folder.path().join("dockerfiles/a"), testbed::unique()).expect("a file");
    let socket = folder.path().join("silent.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let builder = format!("unix://{}", socket.display());
    let push = push_arguments();
    let push: Vec<&str> = push.iter().map(String::as_str).collect();
    for arguments in [&[][..], &push] {
        let mut child = run(folder.path(), &["--builder", &builder])
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        let (mut connection, _) = listener.accept().expect("a connection");
        connection.read_exact(&mut [0]).expect("a request");
        let id = child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &id]).status().expect("kill runs");
        assert!(sent.success());
        let mut errors = String::new();
        let mut stderr = child.stderr.take().expect("a pipe");
        stderr.read_to_string(&mut errors).expect("stderr");
        assert_eq!(child.wait().expect("it ends").code(), Some(130), "{arguments:?}: {errors}");
    }
}

/// Returns true if a process has `word` in its arguments.
fn is_running(word: &str) -> bool {
    let processes = Command::new("ps").args(["ax", "-o", "args"]).output().expect("ps runs");
    String::from_utf8_lossy(&processes.stdout).lines().any(|line| line.contains(word))
}
