//! The patterns of a `.dockerignore`, as `docker build` applies them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use basegen::files::IgnoreRules;

use crate::harness::testbed;

/// The files of every context.
const FILES: [&str; 26] = [
    "a",
    "ab",
    "a.md",
    "README.md",
    "README-secret.md",
    "b/a",
    "b/a.md",
    "b/c/a.md",
    "b/c/d/x.go",
    "temp",
    "tempa",
    "b/temporary/x",
    "node_modules/x",
    "b/node_modules/y/z",
    "my_node_modules/x",
    "catalog",
    "b/backlog",
    "src/main.py",
    "src/main.pyc",
    "src/deep/__pycache__/x.pyc",
    "-x",
    "*x",
    "a^b",
    "é1",
    "# comment",
    "d1/d2/d3/d4",
];

/// Each of these is the content of a `.dockerignore`.
const PATTERNS: [&str; 48] = [
    "",
    "a",
    "/a",
    "./a/",
    "b",
    "b/",
    "b/..",
    "b/../a",
    "../a",
    ".",
    "/",
    "*",
    "*/",
    "**",
    "**/",
    "*.md",
    "*/*.md",
    "**/*.md",
    "*.md\n!README.md",
    "*.md\n!README*.md\nREADME-secret.md",
    "*.md\nREADME-secret.md\n!README*.md",
    "temp?",
    "*/temp*",
    "**/temp*",
    "**/node_modules",
    "node_modules",
    "**log",
    "**/log",
    "b/**",
    "b/**/a.md",
    "b**",
    "b/*/d",
    "[a-c]",
    "[^a]*",
    "[!a]*",
    "[a-b]?",
    "\\*x",
    "\\a",
    "a^b",
    "é?",
    "# comment",
    " # comment",
    "*\n!src",
    "*\n!src\n**/*.pyc",
    "*\n!src/**/__pycache__",
    "d1\n!d1/d2/d3",
    "*/a\n!b",
    "**/d3\n!d1/d2\n  a  \r\n\n!  ab ",
];

#[test]
fn ignores_the_same_files_as_docker_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command =
        testbed::docker_command(&["buildx", "build", "--output", "type=local,dest=out"]);
    // Each named context has its own `.dockerignore`, so one build compares them all.
    let mut dockerfile = "FROM scratch\n".to_owned();
    for (number, patterns) in PATTERNS.iter().enumerate() {
        let context = folder.path().join(number.to_string());
        for path in FILES {
            let path = context.join(path);
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs_err::write(path, "x").expect("a file");
        }
        fs_err::write(context.join(".dockerignore"), patterns).expect("a file");
        command.args(["--build-context", &format!("c{number}={number}")]);
        writeln!(dockerfile, "COPY --from=c{number} . /{number}/").expect("a text");
    }
    fs_err::write(folder.path().join("Dockerfile"), dockerfile).expect("a file");
    fs_err::create_dir(folder.path().join("main")).expect("a folder");
    command.args(["-f", "Dockerfile", "main"]).current_dir(folder.path());
    let output = command.output().expect("docker runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for (number, patterns) in PATTERNS.iter().enumerate() {
        let out = folder.path().join("out").join(number.to_string());
        let copied: BTreeSet<&str> =
            FILES.into_iter().filter(|path| out.join(path).symlink_metadata().is_ok()).collect();
        let rules = IgnoreRules::parse(patterns, ".dockerignore").expect(patterns);
        let ours: BTreeSet<&str> =
            FILES.into_iter().filter(|path| rules.ignored(path).is_none()).collect();
        assert_eq!(ours, copied, "{patterns:?}");
    }
}

#[test]
fn rejects_the_same_patterns_as_docker_build() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |path: &str, text: &str| {
        fs_err::write(folder.path().join(path), text).expect("a file");
    };
    write("Dockerfile", "FROM scratch\nCOPY . /\n");
    write("a", "");
    for patterns in ["!", "[", "a[b", "[]a]", "[a-]", "x\\", "[z-a]"] {
        write(".dockerignore", patterns);
        let mut command =
            testbed::docker_command(&["buildx", "build", "--output", "type=local,dest=out", "."]);
        let output = command.current_dir(Path::new(folder.path())).output().expect("docker runs");
        assert!(!output.status.success(), "{patterns:?}");
        assert!(IgnoreRules::parse(patterns, ".dockerignore").is_err(), "{patterns:?}");
    }
}
