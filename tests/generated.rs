//! Compares generated files with the current output of their generators.
//!
//! `make generate` writes the files: it runs these tests with `BASEGEN_GENERATE=1`.

use std::path::Path;
use std::process::Command;

use basegen::matrix::Selection;
use basegen::plan::{Plan, PlanRequest, with_readme};
use clap::CommandFactory as _;

/// Returns the output of `basegen`.
fn basegen(arguments: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_basegen"));
    command.args(arguments).env_clear().current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = command.output().expect("the command runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Compares the file at `path` with its expected content, or writes it.
fn compare_or_write(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BASEGEN_GENERATE").is_some() {
        fs_err::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        fs_err::write(&file, expected).expect("a file");
        return;
    }
    let found = fs_err::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "`{path}` is outdated: run `make generate`");
}

#[test]
fn the_schema_is_current() {
    compare_or_write("matrix.schema.json", &basegen(&["schema"]));
}

/// Adds the help of all commands below `command`, without the options that they have in common with `root`.
fn command_pages(root: &clap::Command, command: &clap::Command, pages: &mut Vec<String>) {
    let is_shared = |argument: &clap::Arg| {
        let same = root.get_arguments().find(|other| other.get_id() == argument.get_id());
        same.is_some_and(|other| other.get_help() == argument.get_help())
    };
    for command in command.get_subcommands() {
        let hide = |argument: clap::Arg| {
            if is_shared(&argument) { argument.hide(true) } else { argument }
        };
        let help = command.clone().term_width(100).mut_args(hide).render_long_help().to_string();
        let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
        let name = command.get_bin_name().expect("a built command");
        pages.push(format!("\n## `{name}`\n\n```text\n{}\n```\n", lines.join("\n")));
        let shared: Vec<String> = command
            .get_arguments()
            .filter(|argument| is_shared(argument) && !argument.is_global_set())
            .filter(|argument| !argument.is_hide_set())
            .filter_map(|argument| Some(format!("`--{}`", argument.get_long()?)))
            .filter(|flag| flag != "`--help`")
            .collect();
        if !shared.is_empty() {
            pages.push(format!("\nAs for [`basegen`](#basegen): {}.\n", shared.join(", ")));
        }
        command_pages(root, command, pages);
    }
}

#[test]
fn the_command_line_reference_is_current() {
    let help = basegen(&["--help"]);
    let lines: Vec<&str> = help.trim_end().lines().map(str::trim_end).collect();
    let mut pages = vec![format!("\n## `basegen`\n\n```text\n{}\n```\n", lines.join("\n"))];
    let mut root = basegen::cli::Cli::command();
    root.build();
    command_pages(&root, &root, &mut pages);
    let purpose = "After this page you can look up every option of every command, and the exit codes. \
                   `make generate` writes it from `--help`.\n\n\
                   The first five options of `basegen`, from `--file` to `--verbose`, are options of all commands.";
    let page = format!("# The command line\n\n{purpose}\n{}", pages.concat());
    compare_or_write("docs/cli.md", &page);
}

#[test]
fn the_image_table_in_the_readme_is_current() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let matrix = basegen::matrix::load(&root.join("matrix.toml")).expect("the matrix");
    let table = matrix.version.as_ref().expect("a version");
    let version = basegen::version::read(table, &matrix.checkout).expect("a version");
    let request = PlanRequest { version: Some(version), ..PlanRequest::default() };
    let selected = matrix.select(&Selection::default()).expect("all variants");
    let plan = Plan::new(&matrix, &selected, request).expect("a plan");
    let edits =
        with_readme(&plan, &plan.matrix.checkout, Vec::new()).expect("a place for the table");
    if std::env::var_os("BASEGEN_GENERATE").is_some() {
        basegen::version::write(&matrix.checkout, &edits).expect("written");
    } else {
        assert!(edits.is_empty(), "the table in the README is outdated: run `make generate`");
    }
}

#[test]
fn the_rule_table_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/platforms.md");
    let page = fs_err::read_to_string(&path).expect("the page");
    let (begin, end) = ("<!-- rules: by `make generate` -->\n", "<!-- end of rules -->\n");
    let (before, rest) = page.split_once(begin).expect("the begin of the table");
    let (_, after) = rest.split_once(end).expect("the end of the table");
    let table = basegen::contracts::table();
    compare_or_write("docs/platforms.md", &format!("{before}{begin}\n{table}\n{end}{after}"));
}

/// The job `check` is that of `basegen init`, with the folder of the matrix in Truss' repository. The jobs after it build each platform on
/// a runner of its own.
#[test]
fn the_workflow_of_the_truss_example_is_current() {
    const FOLDER: &str = "docker/base_images";
    const PATH: &str = "examples/truss/.github/workflows/base-images.yml";
    let clone = tempfile::tempdir().expect("a folder");
    fs_err::create_dir(clone.path().join(".git")).expect("a folder");
    basegen(&["init", clone.path().to_str().expect("UTF-8")]);
    let workflow = clone.path().join(".github/workflows/base-images.yml");
    let workflow = fs_err::read_to_string(workflow).expect("a workflow");
    let (checks, _) = workflow.split_once("  publish:\n").expect("the job `publish`");
    let mut checks = checks.to_owned();
    let release = format!("# v{}", env!("CARGO_PKG_VERSION"));
    let directory =
        format!("permissions: {{}}\n\ndefaults:\n  run:\n    working-directory: {FOLDER}\n");
    for (from, to) in [(release.as_str(), "# vVERSION"), ("permissions: {}\n", &directory)] {
        assert_eq!(checks.matches(from).count(), 1, "{from}");
        checks = checks.replace(from, to);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PATH);
    let example = fs_err::read_to_string(path).expect("the workflow");
    let jobs = example.find("  # Pushes the images of each platform").expect("the job `stage`");
    compare_or_write(PATH, &(checks + &example[jobs..]));
}
