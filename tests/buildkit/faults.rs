//! Lost connections to engines and registries, and full disks.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use tokio::io::copy_bidirectional;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use crate::harness::registry::{FakeRegistry, Fault, Rule};
use crate::harness::{project, testbed};

/// Starts a proxy for the test bed's engine on a Unix socket. If the task is aborted, its connections close.
fn engine_proxy(path: &Path) -> JoinHandle<()> {
    let listener = UnixListener::bind(path).expect("a socket");
    tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((mut client, _)) = listener.accept().await {
            connections.spawn(async move {
                let mut engine = UnixStream::connect(testbed::socket()).await.expect("the engine");
                let _ended = copy_bidirectional(&mut client, &mut engine).await;
            });
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_engine_fails_running_builds_and_keeps_finished_images() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let proxy = engine_proxy(&socket);
    let file = |path: &str, text: &str| project::write(folder.path(), path, text);
    file(
        "matrix.toml",
        "[image]\nrepository = \"basegen-test/lost\"\ntag = \"{{variant}}\"\n\
         dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
         [axes]\nlast = [\"0\", \"600\", \"601\"]\n",
    );
    let word = testbed::unique();
    let dockerfile = "FROM python:3.11-slim-bookworm\nRUN echo WORD {{last}} && sleep {{last}}\n";
    file("dockerfiles/Dockerfile.hbs", &dockerfile.replace("WORD", &word));
    let mut command = testbed::basegen(folder.path());
    command.args(["--log-dir", "logs"]);
    command.args(["--jobs", "2"]).env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let log = folder.path().join("log");
    command.stderr(fs_err::File::create(&log).expect("a file").into_file());
    let child = command.stdout(Stdio::piped()).spawn().expect("the command runs");
    // The builds of these variants sleep; the first has ended.
    let runs = |last: &str| {
        let stderr = fs_err::read_to_string(&log).expect("the output");
        stderr.lines().any(|line| line.starts_with(last) && line.contains("RUN echo"))
    };
    for _ in 0..600 {
        if runs("600") && runs("601") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(runs("600") && runs("601"), "{}", fs_err::read_to_string(&log).expect("the output"));
    proxy.abort();
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await;
    let output = output.expect("the command ends").expect("the command ends");
    let stderr = fs_err::read_to_string(&log).expect("the output");
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(
        String::from_utf8_lossy(&output.stdout).starts_with("basegen-test/lost:0@"),
        "{stderr}"
    );
    for part in ["lost the connection to the engine", "Built 1 image", "2 failed"] {
        assert!(stderr.contains(part), "no `{part}` in:\n{stderr}");
    }
    let options = None::<bollard::query_parameters::RemoveImageOptions>;
    let removed = testbed::docker().remove_image("basegen-test/lost:0", options, None).await;
    removed.expect("the finished image");
}

/// Runs a command with a disk of 1 MB, and then lists the files that it left there.
const IN_A_MEGABYTE: &str = r#"
mount -t tmpfs -o size=1m none "$1" && shift
listed=$1 && shift
"$@"
code=$?
ls "$listed"
exit $code
"#;

/// Creates a project whose image contains a file of 4 MB.
fn large_project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let templates = folder.path().join("dockerfiles");
    fs_err::create_dir(&templates).expect("a folder");
    fs_err::create_dir(folder.path().join("layout")).expect("a folder");
    let matrix = "[image]\nrepository = \"basegen-test/full\"\ntag = \"{{variant}}\"\n\
                  dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
                  [axes]\nword = [\"one\"]\n";
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    fs_err::write(templates.join("Dockerfile.hbs"), "FROM scratch\nCOPY large /\n")
        .expect("a file");
    let random: Vec<u8> = (0..4 << 20).map(|_| rand::random()).collect();
    fs_err::write(templates.join("large"), random).expect("a file");
    folder
}

/// Returns a command that runs basegen with a disk of 1 MB in the folder `layout`, and then lists the folder `listed`.
fn in_a_megabyte(folder: &Path, listed: &str) -> Command {
    let is_root = std::fs::metadata("/proc/self").expect("a process").uid() == 0;
    let mut command = Command::new("unshare");
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.args(["sh", "-c", IN_A_MEGABYTE, "sh", "layout", listed]);
    command.arg(env!("CARGO_BIN_EXE_basegen")).current_dir(folder);
    command
}

#[tokio::test]
async fn render_reports_a_full_disk_and_leaves_no_partial_file() {
    let folder = large_project();
    let mut command = in_a_megabyte(folder.path(), "layout/one");
    command.args(["render", "-o", "layout"]);
    let output = command.output().expect("unshare runs, as root or in a user namespace");
    let (left, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for part in ["No space left on device", "hint: a disk of this machine is full"] {
        assert!(stderr.contains(part), "no `{part}` in:\n{stderr}");
    }
    assert!(!left.contains("large"), "{left}");
}

#[tokio::test]
async fn a_build_reports_a_full_disk_and_leaves_no_partial_blob() {
    let folder = large_project();
    let mut command = in_a_megabyte(folder.path(), "layout/blobs/sha256");
    command.args(["--output", "oci:layout", "--log-dir", "logs"]);
    let output = command.output().expect("unshare runs, as root or in a user namespace");
    let (left, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if testbed::has_graph_driver().await {
        assert_eq!(
            output.status.code(),
            Some(5),
            "a graph driver has no exporter for layouts: {stderr}"
        );
        return;
    }
    assert_eq!(output.status.code(), Some(7), "{stderr}");
    for part in ["No space left on device", "free some space on the disk of the OCI layout"] {
        assert!(stderr.contains(part), "no `{part}` in:\n{stderr}");
    }
    let is_whole = |name: &str| name.len() == 64;
    assert!(left.lines().all(is_whole), "{left}");
}

/// Pushes one checked image to `registry`. Returns the exit code and stderr.
async fn push_checked(registry: &FakeRegistry) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let matrix = "[image]\nrepository = \"basegen-test/faulty\"\ntag = \"{{variant}}-v1\"\n\
                  dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\"]\n\
                  [axes]\nword = [\"one\"]\n\
                  [[verify]]\nname = \"word\"\nrun = [\"cat\", \"/word\"]\n";
    let dockerfile =
        format!("FROM python:3.11-slim-bookworm\nRUN echo {} >/word\n", testbed::unique());
    fs_err::create_dir(folder.path().join("dockerfiles")).expect("a folder");
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    fs_err::write(folder.path().join("dockerfiles/Dockerfile.hbs"), dockerfile).expect("a file");
    let mut command = tokio::process::Command::from(testbed::basegen(folder.path()));
    command.args(["--push", "--registry", &registry.host()]);
    let output = command.output().await.expect("the command runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_retried_after_network_errors() {
    let registry = FakeRegistry::start().await;
    // The engine itself makes fewer attempts.
    let rule = Rule::every("PUT", "*/basegen-test/faulty/manifests/*", Fault::Drop).times(5);
    let faults = registry.fail(rule);
    let (code, stderr) = push_checked(&registry).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(faults.use_count(), 5);
    if !testbed::has_graph_driver().await {
        // A Docker Engine with a graph driver makes enough attempts itself.
        assert!(stderr.contains("retrying after a network error: failed to push"), "{stderr}");
    }
    assert!(registry.manifest("basegen-test/faulty", "one-v1").is_some(), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_push_is_not_retried() {
    let registry = FakeRegistry::start().await;
    let refusal = Fault::error(403, "DENIED", "requested access to the resource is denied");
    registry.fail(Rule::every("PUT", "*/basegen-test/faulty/manifests/*", refusal));
    let (code, stderr) = push_checked(&registry).await;
    assert_eq!(code, Some(7), "{stderr}");
    assert_eq!(registry.count("PUT", "*/basegen-test/faulty/manifests/*"), 1, "{stderr}");
}
