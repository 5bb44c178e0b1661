//! Files that would exhaust the machine. The error names the file and the limit.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::project::{MATRIX, Project};

/// Returns the output of a command with a timeout and a limit of 4 GB of memory.
fn run(project: &Project, arguments: &str) -> String {
    let plain = project.basegen(arguments);
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -v 4000000 && exec timeout 60 \"$@\"", "bash"]);
    command.arg(plain.get_program()).args(plain.get_args());
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let output = command.current_dir(project.path()).output().expect("the command runs");
    let printed = [output.stdout, output.stderr].concat();
    let printed =
        String::from_utf8_lossy(&printed).replace(&*project.path().to_string_lossy(), ".");
    let mut shown = String::new();
    for line in printed.lines() {
        let end = line.char_indices().nth(110).map_or(line.len(), |(at, _)| at);
        writeln!(shown, "{}", &line[..end]).expect("memory");
    }
    format!(
        "{}: {shown}",
        output.status.code().map_or("killed".to_owned(), |code| code.to_string())
    )
}

/// Renders a template with partials, and returns the output.
fn render(template: &str, partials: &[(String, String)]) -> String {
    let project = Project::new();
    let list = "[\"0\", \"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]";
    project.write("matrix.toml", &format!("{MATRIX}\n[variables]\nlist = {list}\n"));
    project.write("dockerfiles/Dockerfile.hbs", template);
    for (name, text) in partials {
        project.write(&format!("dockerfiles/partials/{name}.hbs"), text);
    }
    run(&project, "render --variant 3.9-server")
}

/// Returns partials that include each other: `text` returns the content for the number of the next one. The last contains
/// `last`.
fn chain(count: usize, text: impl Fn(usize) -> String, last: &str) -> Vec<(String, String)> {
    let mut partials: Vec<_> = (0..count).map(|at| (format!("p{at}"), text(at + 1))).collect();
    partials.push((format!("p{count}"), last.to_owned()));
    partials
}

/// Returns `inner` between `count` repetitions of `open` and of `close`.
fn nested(open: &str, inner: &str, close: &str, count: usize) -> String {
    format!("{}{inner}{}", open.repeat(count), close.repeat(count))
}

#[test]
fn rejects_templates_that_would_exhaust_the_machine() {
    let template = |text: &str| render(&format!("FROM a\n{text}\n"), &[]);
    let partials = |chain: &[(String, String)]| render("FROM a\n{{> p0}}\n", chain);
    let blocks = |count: usize| template(&nested("{{#if gpu}}", "x", "{{/if}}", count));
    let loops = |inner: &str, count: usize| {
        template(&nested("{{#each @root.list}}", inner, "{{/each}}", count))
    };
    let alternatives = "{{else if gpu}}x".repeat(60);
    let calls = nested("(not ", "gpu", ")", 19_000);
    let lists = nested("[", "1", "]", 19_000);
    let once = |at: usize| format!("{{{{> p{at}}}}}");
    let twice = |at: usize| once(at).repeat(2);
    let names = |at: usize| format!("{{{{> p{at} a{at}=\"x\"}}}}{{{{> p{at} b{at}=\"x\"}}}}");
    let copies = |at: usize| {
        format!("{{{{#> p{at}}}}}{{{{> @partial-block}}}}{{{{> @partial-block}}}}{{{{/p{at}}}}}")
    };
    let copies = chain(30, copies, "{{> @partial-block}}");
    let cycle = "{{#*inline \"a\"}}{{#if true}}{{> b}}{{/if}}{{/inline}}{{#*inline \"b\"}}{{> a}}{{/inline}}{{> a}}";
    let all = [
        ("20,000 nested blocks", blocks(20_000)),
        ("60 nested blocks", blocks(60)),
        ("60 alternatives", template(&format!("{{{{#if gpu}}}}x{alternatives}{{{{/if}}}}"))),
        ("19,000 nested calls", template(&format!("{{{{#if {calls}}}}}x{{{{/if}}}}"))),
        ("19,000 nested lists", template(&format!("{{{{#each {lists}}}}}x{{{{/each}}}}"))),
        ("5,000 chained partials", partials(&chain(5_000, once, "x"))),
        ("2^30 partials", partials(&chain(30, twice, "x"))),
        ("2^30 partials without a text", partials(&chain(30, twice, ""))),
        ("2^30 ways to use partials", partials(&chain(30, names, ""))),
        ("10^9 iterations", loops("", 9)),
        ("2^30 copies of a block", render("FROM a\n{{#> p0}}xxxx{{/p0}}\n", &copies)),
        ("a partial that includes itself", template(cycle)),
        ("10,000 times 1,000 characters", loops(&"x".repeat(1000), 4)),
        ("a template of more than 256 KiB", template(&format!("#{}", "x".repeat(1 << 20)))),
    ];
    insta::assert_snapshot!(all.map(|(what, printed)| format!("{what}\n{printed}")).join("\n"));
}

#[test]
fn accepts_deeply_nested_templates() {
    let blocks = nested("{{#unless gpu}}", "x", "{{/unless}}", 45);
    let printed = render(&format!("FROM a\n# {blocks}\n"), &[]);
    assert!(printed.starts_with("0: "), "{printed}");
    let partials = chain(
        40,
        |at| format!("{{{{#if python}}}}{{{{#if python}}}}{{{{> p{at}}}}}{{{{/if}}}}{{{{/if}}}}"),
        "x",
    );
    let printed = render("FROM a\n# {{> p0}}\n", &partials);
    assert!(printed.starts_with("0: "), "{printed}");
}

#[test]
fn rejects_pipes_devices_and_large_files() {
    let mut all = String::new();
    let mut reject = |what: &str, path: &str, command: &str, keys: &str| {
        let project = Project::new();
        project.write("matrix.toml", &MATRIX.replace("[version]\nfile = \"VERSION\"", keys));
        project.write("Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.0.0\"\n");
        let at = project.path().join(path);
        fs_err::create_dir_all(at.parent().expect("a folder")).expect("a folder");
        if at.exists() {
            fs_err::remove_file(&at).expect("removed");
        }
        let created = Command::new("mkfifo").arg(&at).status().expect("mkfifo");
        assert!(created.success());
        writeln!(all, "{what}\n{}", run(&project, command)).expect("a string");
    };
    let version = "[version]\nfile = \"VERSION\"";
    reject("matrix", "matrix.toml", "list", version);
    reject("version", "VERSION", "list", version);
    reject("template", "dockerfiles/Dockerfile.hbs", "render", version);
    reject("partial", "dockerfiles/partials/x.hbs", "render", version);
    reject("copied file", "dockerfiles/server.txt", "render", version);
    reject("lock", "basegen.lock", "render", version);
    reject("schema", "matrix.schema.json", "check --offline", version);
    reject(
        "readme",
        "README.md",
        "check --offline",
        &format!("{version}\n[generated]\nreadme = \"README.md\""),
    );
    reject("metadata", "job.json", "merge job.json", version);
    let cargo = "[version]\nfile = \"Cargo.toml\"\nkey = \"package.version\"";
    reject("Cargo.lock", "Cargo.lock", "bump minor", cargo);
    reject(
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
fn locates_bytes_that_are_not_utf_8() {
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
