//! Files of a checkout that are made to exhaust a machine: each ends in an error that names the file and the limit.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::project::{MATRIX, Project};

/// What a command prints, in a process that may not hang and has 4 GB of memory.
fn run(project: &Project, arguments: &str) -> String {
    let plain = project.basegen(arguments);
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 4000000 && exec timeout 60 \"$@\"", "bash"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.current_dir(project.path()).output().expect("the command runs");
    let told = [output.stdout, output.stderr].concat();
    let told = String::from_utf8_lossy(&told).replace(&*project.path().to_string_lossy(), ".");
    let mut shown = String::new();
    for line in told.lines() {
        let end = line.char_indices().nth(110).map_or(line.len(), |(at, _)| at);
        writeln!(shown, "{}", &line[..end]).expect("memory");
    }
    format!(
        "{}: {shown}",
        output.status.code().map_or("killed".to_owned(), |code| code.to_string())
    )
}

/// What is said of a template and partials, by their names.
fn rendered(template: &str, partials: &[(String, String)]) -> String {
    let project = Project::new();
    let list = "[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
    project.write("matrix.toml", &format!("{MATRIX}\n[variables]\nlist = {list}\n"));
    project.write("dockerfiles/Dockerfile.hbs", template);
    for (name, text) in partials {
        project.write(&format!("dockerfiles/partials/{name}.hbs"), text);
    }
    run(&project, "render --variant 3.9-server")
}

/// Partials of which each is made of the next by `text`, and the last of which is `last`.
fn chain(count: usize, text: impl Fn(usize) -> String, last: &str) -> Vec<(String, String)> {
    let mut partials: Vec<_> = (0..count).map(|at| (format!("p{at}"), text(at + 1))).collect();
    partials.push((format!("p{count}"), last.to_owned()));
    partials
}

#[test]
fn templates_that_are_made_to_exhaust_a_machine_are_refused() {
    let nested = |open: &str, inner: &str, close: &str, count: usize| {
        format!("FROM a\n{}{inner}{}\n", open.repeat(count), close.repeat(count))
    };
    let twice = |at: usize| format!("{{{{> p{at}}}}}{{{{> p{at}}}}}");
    let names = |at: usize| format!("{{{{> p{at} a{at}=\"x\"}}}}{{{{> p{at} b{at}=\"x\"}}}}");
    let blocks = |at: usize| {
        format!("{{{{#> p{at}}}}}{{{{> @partial-block}}}}{{{{> @partial-block}}}}{{{{/p{at}}}}}")
    };
    let start = "FROM a\n{{> p0}}\n";
    let all = [
        ("20,000 nested blocks", rendered(&nested("{{#if gpu}}", "x", "{{/if}}", 20_000), &[])),
        ("60 nested blocks", rendered(&nested("{{#if gpu}}", "x", "{{/if}}", 60), &[])),
        (
            "60 alternatives",
            rendered(
                &format!("FROM a\n{{{{#if gpu}}}}x{}{{{{/if}}}}\n", "{{else if gpu}}x".repeat(60)),
                &[],
            ),
        ),
        (
            "19,000 nested calls",
            rendered(
                &format!(
                    "FROM a\n{{{{#if {}gpu{}}}}}x{{{{/if}}}}\n",
                    "(not ".repeat(19_000),
                    ")".repeat(19_000)
                ),
                &[],
            ),
        ),
        (
            "19,000 nested lists",
            rendered(
                &format!(
                    "FROM a\n{{{{#each {}1{}}}}}x{{{{/each}}}}\n",
                    "[".repeat(19_000),
                    "]".repeat(19_000)
                ),
                &[],
            ),
        ),
        (
            "5,000 chained partials",
            rendered(start, &chain(5_000, |at| format!("{{{{> p{at}}}}}"), "x")),
        ),
        ("2^30 partials", rendered(start, &chain(30, twice, "x"))),
        ("2^30 partials without a text", rendered(start, &chain(30, twice, ""))),
        ("2^30 ways to use partials", rendered(start, &chain(30, names, ""))),
        ("10^9 iterations", rendered(&nested("{{#each @root.list}}", "", "{{/each}}", 9), &[])),
        (
            "2^30 copies of a block",
            rendered("FROM a\n{{#> p0}}xxxx{{/p0}}\n", &chain(30, blocks, "{{> @partial-block}}")),
        ),
        (
            "a partial that includes itself",
            rendered(
                "FROM a\n{{#*inline \"a\"}}{{#if true}}{{> b}}{{/if}}{{/inline}}{{#*inline \"b\"}}{{> a}}{{/inline}}{{> a}}\n",
                &[],
            ),
        ),
        (
            "10,000 times 1,000 characters",
            rendered(
                &format!(
                    "FROM a\n{}{}{}\n",
                    "{{#each @root.list}}".repeat(4),
                    "x".repeat(1000),
                    "{{/each}}".repeat(4)
                ),
                &[],
            ),
        ),
        (
            "a template of more than 256 KiB",
            rendered(&format!("FROM a\n#{}\n", "x".repeat(1 << 20)), &[]),
        ),
    ];
    insta::assert_snapshot!(all.map(|(what, told)| format!("{what}\n{told}")).join("\n"));
}

#[test]
fn a_template_may_be_nested_as_deep_as_anybody_needs() {
    let nested = |count: usize| {
        format!("{}x{}", "{{#unless gpu}}".repeat(count), "{{/unless}}".repeat(count))
    };
    let told = rendered(&format!("FROM a\n# {}\n", nested(45)), &[]);
    assert!(told.starts_with("0: "), "{told}");
    let partials = chain(
        40,
        |at| format!("{{{{#if python}}}}{{{{#if python}}}}{{{{> p{at}}}}}{{{{/if}}}}{{{{/if}}}}"),
        "x",
    );
    let told = rendered("FROM a\n# {{> p0}}\n", &partials);
    assert!(told.starts_with("0: "), "{told}");
}

#[test]
fn what_is_no_file_is_not_opened() {
    let mut all = String::new();
    let mut refused = |what: &str, path: &str, command: &str, keys: &str| {
        let project = Project::new();
        project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"", keys));
        project.write("Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.0\"\n");
        let at = project.path().join(path);
        fs_err::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        if at.exists() {
            fs_err::remove_file(&at).expect("removed");
        }
        let made = Command::new("mkfifo").arg(&at).status().expect("mkfifo");
        assert!(made.success());
        writeln!(all, "{what}\n{}", run(&project, command)).expect("a string");
    };
    let version = "[version]\nfile = \"VERSION\"";
    refused("matrix", "matrix.toml", "list", version);
    refused("version", "VERSION", "list", version);
    refused("template", "dockerfiles/Dockerfile.hbs", "render", version);
    refused("partial", "dockerfiles/partials/x.hbs", "render", version);
    refused("copied file", "dockerfiles/server.txt", "render", version);
    refused("lock", "basegen.lock", "render", version);
    refused("schema", "matrix.schema.json", "check --offline", version);
    refused(
        "readme",
        "README.md",
        "check --offline",
        &format!("{version}\n[generated]\nreadme = \"README.md\""),
    );
    refused("metadata", "job.json", "merge job.json", version);
    let cargo = "[version]\nfile = \"Cargo.toml\"\nkey = \"package.version\"";
    refused("Cargo.lock", "Cargo.lock", "bump minor", cargo);
    refused(
        "certificates",
        "ca.pem",
        "status",
        &format!("{version}\n[build]\nca_certificates = \"ca.pem\""),
    );
    let project = Project::new();
    writeln!(all, "a device as a matrix\n{}", run(&project, "list -f /dev/zero"))
        .expect("a string");
    writeln!(all, "a device as metadata\n{}", run(&project, "merge /dev/zero")).expect("a string");
    project.write("matrix.toml", &format!("{MATRIX}#{}\n", "x".repeat(4 << 20)));
    writeln!(all, "a matrix of more than 4 MiB\n{}", run(&project, "list")).expect("a string");
    insta::assert_snapshot!(all);
}

#[test]
fn a_file_that_is_not_utf_8_has_a_location() {
    let project = Project::new();
    let utf_16: Vec<u8> = MATRIX.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&[0xff, 0xfe], utf_16.as_slice()].concat();
    fs_err::write(project.path().join("matrix.toml"), marked).expect("a file");
    let mut all = run(&project, "list");
    fs_err::write(project.path().join("matrix.toml"), b"[image]\n# caf\xe9\n").expect("a file");
    all += &run(&project, "list");
    project.write("matrix.toml", MATRIX);
    fs_err::write(project.path().join("VERSION"), b"v1.2\xff\n").expect("a file");
    all += &run(&project, "list");
    insta::assert_snapshot!(all);
}
