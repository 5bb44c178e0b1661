//! More builds than one connection carries streams for, in one run.

use crate::harness::testbed;

/// The most memory that the command may ever take, in kB.
const MEMORY: usize = 100_000;

/// How many builds: enough for a session that is not closed to show, or as many as a variable
/// says. One connection carries about 250 streams, and a build has up to four.
fn count() -> usize {
    let count = std::env::var("BASEGEN_TEST_BUILDS").ok();
    count.and_then(|count| count.parse().ok()).unwrap_or(100)
}

#[test]
fn many_builds_in_one_run_all_go_through_in_little_memory() {
    let folder = tempfile::tempdir().expect("a folder");
    let words: Vec<String> = (0..count()).map(|number| format!("\"n{number}\"")).collect();
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
        memory = memory.max(most_memory(child.id()));
        match child.try_wait().expect("a status") {
            Some(status) => break status,
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    };
    assert!(status.success(), "{status}");
    assert!(memory < MEMORY, "{memory} kB");
    let printed = fs_err::read_to_string(printed).expect("what it printed");
    assert_eq!(printed.lines().count(), count());
}

/// The most memory that a process ever took, in kB, as Linux tells it.
fn most_memory(process: u32) -> usize {
    let status = fs_err::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
