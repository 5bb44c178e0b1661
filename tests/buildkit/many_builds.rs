//! A run with more builds than one connection has streams.

use crate::harness::testbed;

/// The limit for the peak memory of the command, in kB.
const MEMORY_LIMIT: usize = 100_000;

/// Returns the number of builds: `BASEGEN_TEST_BUILDS`, or 100, which is enough to find sessions that are not closed. One
/// connection has about 250 streams, and a build uses up to four.
fn build_count() -> usize {
    let count = std::env::var("BASEGEN_TEST_BUILDS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(100)
}

#[test]
fn one_run_completes_many_builds_within_the_memory_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let words: Vec<String> = (0..build_count()).map(|number| format!("\"n{number}\"")).collect();
    let matrix = format!(
        "[image]\nrepository = \"basegen-test/many\"\ndockerfile = \"Dockerfile.hbs\"\n\
         platforms = [\"linux/amd64\"]\n[axes]\nnumber = [{}]\n",
        words.join(", ")
    );
    fs_err::create_dir(folder.path().join("dockerfiles")).expect("a folder");
    fs_err::write(folder.path().join("matrix.toml"), matrix).expect("a file");
    let templates = folder.path().join("dockerfiles");
    let template = "FROM scratch\nCOPY own /own\n";
    fs_err::write(templates.join("Dockerfile.hbs"), template).expect("a file");
    let own = format!("{} {{{{number}}}}\n", testbed::unique());
    fs_err::write(templates.join("own.hbs"), own).expect("a file");

    let printed = folder.path().join("printed");
    let mut child = testbed::basegen(folder.path())
        .args(["--push", "--registry", &testbed::registry(), "--version-tag", &testbed::unique()])
        .args(["--jobs", "32", "--quiet", "--log-dir", "logs"])
        .stdout(fs_err::File::create(&printed).expect("a file").into_file())
        .spawn()
        .expect("the command runs");
    let mut memory = 0;
    let status = loop {
        memory = memory.max(peak_memory(child.id()));
        match child.try_wait().expect("a status") {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    assert!(status.success(), "{status}");
    assert!(memory < MEMORY_LIMIT, "{memory} kB");
    let printed = fs_err::read_to_string(printed).expect("the output");
    assert_eq!(printed.lines().count(), build_count());
}

/// Returns the peak memory of a process in kB, from Linux' `/proc`.
fn peak_memory(process: u32) -> usize {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
