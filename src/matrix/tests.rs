//! Loading, validating and selecting, on whole matrix files.

use std::collections::BTreeSet;
use std::path::Path;

use super::validate::RESERVED;
use super::{CheckCommand, Matrix, Selection, Term, Variant, parse};
use crate::error::Report;

mod axes;
mod conditions;
mod dockerfile;
mod files;
mod publishing;
mod types;

const BASE: &str = r#"
[image]
repository = "acme/{{job_type}}-base"
dockerfile = "Dockerfile.hbs"
platforms = ["linux/amd64", "linux/arm64"]

[axes]
python = ["3.9", "3.10", "3.11"]
gpu = [false, true]
job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]
"#;

/// Returns the matrix of a whole file.
fn parsed(text: &str) -> Matrix {
    match parse(Path::new("matrix.toml"), text) {
        Ok(matrix) => matrix,
        Err(error) => panic!("{error}"),
    }
}

/// Returns the matrix of the base file with `more` appended.
fn matrix(more: &str) -> Matrix {
    parsed(&format!("{BASE}{more}"))
}

/// Returns the error for a whole file.
fn error(text: &str) -> String {
    let error = parse(Path::new("matrix.toml"), text).expect_err("an invalid file");
    Report::from(error).to_string()
}

/// Returns the error for the base file with `more` appended.
fn error_with(more: &str) -> String {
    error(&format!("{}{more}", BASE.trim_start()))
}

fn variant<'m>(matrix: &'m Matrix, id: &str) -> &'m Variant {
    matrix.variants.iter().find(|variant| variant.id == id).expect(id)
}

fn ids(matrix: &Matrix) -> Vec<&str> {
    matrix.variants.iter().map(|variant| variant.id.as_str()).collect()
}

fn only(terms: &[(&str, &str)]) -> Selection {
    Selection { only: terms.iter().map(term).collect(), ..Selection::default() }
}

fn term((axis, condition): &(&str, &str)) -> Term {
    Term { axis: (*axis).to_owned(), condition: (*condition).to_owned() }
}

fn chosen(matrix: &Matrix, selection: &Selection) -> Vec<String> {
    let selected = matrix.select(selection).expect("a selection");
    selected.variants.iter().map(|variant| variant.id.clone()).collect()
}

fn refusal(matrix: &Matrix, selection: &Selection) -> String {
    Report::from(matrix.select(selection).expect_err("nothing to choose")).to_string()
}

#[test]
fn the_product_is_in_file_order() {
    insta::assert_snapshot!(ids(&matrix("")).join("\n"), @r"
    3.9-server
    3.9-training
    3.9-gpu-server
    3.9-gpu-training
    3.10-server
    3.10-training
    3.10-gpu-server
    3.10-gpu-training
    3.11-server
    3.11-training
    3.11-gpu-server
    3.11-gpu-training
    ");
}

#[test]
fn exclude_set_and_extra_change_the_product() {
    let matrix = matrix(
        r#"
[variables]
level = 1
[[exclude]]
when = { python = "<3.11", gpu = true }
reason = "CUDA 12.8 needs Python 3.11"
[[set]]
when = { gpu = true }
variables = { level = 2, cuda = "12.8" }
[[extra]]
axes = { python = "3.12", gpu = true, job_type = "server" }
variables = { level = 3 }
"#,
    );
    assert_eq!(matrix.variants.len(), 9);
    let level = |id: &str| matrix.variables(variant(&matrix, id))["level"].to_string();
    assert_eq!(level("3.9-server"), "1");
    assert_eq!(level("3.11-gpu-server"), "2");
    assert_eq!(level("3.12-gpu-server"), "3");
    assert_eq!(matrix.known_names(), ["cuda", "gpu", "job_type", "level", "python"]);
}

#[test]
fn an_extra_adds_an_excluded_combination() {
    let matrix = matrix(
        r#"
[[exclude]]
when = { gpu = true }
reason = "few images have a GPU"
[[extra]]
axes = { python = "3.10", gpu = true, job_type = "server" }
"#,
    );
    let with_gpu: Vec<&str> = ids(&matrix).into_iter().filter(|id| id.contains("gpu")).collect();
    assert_eq!(with_gpu, ["3.10-gpu-server"]);
}

#[test]
fn a_set_overrides_the_limits_of_all_images() {
    let text =
        BASE.replace("dockerfile =", "max_size = \"500 MB\"\nrequire_sm = [\"80\"]\ndockerfile =");
    let sets = "[[set]]\nwhen = { gpu = true }\nmax_size = \"2.6 GB\"\ndrop_sm = [\"50\", \"90a\"]\n\
                [[set]]\nwhen = { python = \"3.9\" }\nrequire_sm = []\n";
    let matrix = parsed(&format!("{text}{sets}"));
    let limits = |id: &str| {
        let settings = matrix.settings(variant(&matrix, id));
        let size = settings.last(|settings| settings.max_size.as_ref()).expect("a size");
        let required = settings.last(|settings| settings.require_sm.as_ref());
        let required: Vec<u16> = required.into_iter().flatten().map(|sm| **sm).collect();
        let dropped = settings.last(|settings| settings.drop_sm.as_ref());
        (size.to_string(), required, dropped.cloned().unwrap_or_default())
    };
    assert_eq!(limits("3.11-server"), ("500.0 MB".to_owned(), vec![80], vec![]));
    let dropped = vec!["50".to_owned(), "90a".to_owned()];
    assert_eq!(limits("3.11-gpu-server"), ("2.6 GB".to_owned(), vec![80], dropped.clone()));
    assert_eq!(limits("3.9-gpu-server"), ("2.6 GB".to_owned(), vec![], dropped));
}

#[test]
fn invalid_limits_are_refused() {
    insta::assert_snapshot!(error_with(
        r#"
[[set]]
when = { gpu = true }
require_sm = ["sm_90", "90a", "080", "9"]
drop_sm = ["50", "90b"]
max_size = "2.6 GiB"
[[set]]
when = { gpu = true }
"#
    ));
}

#[test]
fn checks_see_values_instead_of_tag_parts() {
    let text = BASE.replace("[false, true]", "[false, { value = true, tag = \"cuda\" }]");
    let check = "[[verify]]\nname = \"gpu\"\nrun = [\"{{python}} {{gpu}}\", \"{{variant}} {{job_type}}\"]\n";
    let matrix = parsed(&format!("{text}{check}"));
    let commands = |id: &str| {
        let checks = matrix.checks(variant(&matrix, id)).into_iter().map(|check| check.command);
        checks.collect::<Vec<_>>()
    };
    let exec = |words: [&str; 2]| vec![CheckCommand::Exec(words.map(str::to_owned).to_vec())];
    assert_eq!(commands("3.9-server"), exec(["3.9 false", "3.9 server"]));
    assert_eq!(commands("3.11-cuda-training"), exec(["3.11 true", "3.11-cuda training"]));
}

#[test]
fn platforms_are_common_to_all_values() {
    let text =
        BASE.replace("[false, true]", "[false, { value = true, platforms = [\"linux/amd64\"] }]");
    let matrix = parsed(&text);
    let platforms = |id: &str| {
        variant(&matrix, id).platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(platforms("3.9-server"), "linux/amd64 linux/arm64");
    assert_eq!(platforms("3.9-gpu-server"), "linux/amd64");
}

#[test]
fn unknown_keys_suggest_the_nearest() {
    insta::assert_snapshot!(error(&BASE.replace("repository", "repositry")));
    insta::assert_snapshot!(error_with(
        "[[exclude]]\nwhen = { pyton = \"3.9\" }\nreason = \"x\"\n"
    ));
    insta::assert_snapshot!(error_with("[versions]\nfile = \"x\"\n"));
}

#[test]
fn numbers_without_quotes_are_explained() {
    insta::assert_snapshot!(error(&BASE.replace("\"3.10\"", "3.10")));
}

#[test]
fn toml_syntax_errors_have_a_location() {
    insta::assert_snapshot!(error(&BASE.replace("[axes]", "[axes")));
    let array = "[axes]\nlist = [[\"a\"], \"b\"\nother = [\"c\"]";
    insta::assert_snapshot!(error(&BASE.replace("[axes]", array)));
}

#[test]
fn unknown_names_in_arguments_of_checks_have_a_location() {
    insta::assert_snapshot!(error_with(
        "[[verify]]\nname = \"x\"\nrun = [\"python\", \"-c\", \"assert '{{pyton}}'\"]\n"
    ));
}

#[test]
fn all_errors_are_reported_at_once() {
    insta::assert_snapshot!(error_with(
        r#"
[[exclude]]
when = { python = ">=4" }
reason = ""
[[set]]
when = { job_type = ">=3", gpu = [true, "maybe"] }
variables = { python = "3", Cuda = "a\nRUN id" }
[[extra]]
axes = { python = "3.9", gpu = false }
"#
    ));
}

#[test]
fn rules_that_match_nothing_are_refused() {
    insta::assert_snapshot!(error_with(
        r#"
[[exclude]]
when = { python = "3.9" }
reason = "too old"
[[set]]
when = { python = "3.9", gpu = true }
variables = { a = "b" }
"#
    ));
}

#[test]
fn booleans_in_quotes_are_explained() {
    insta::assert_snapshot!(error_with(
        r#"
[[exclude]]
when = { gpu = "true", job_type = [true] }
reason = "a"
[[exclude]]
when = { gpu = ["false"] }
reason = "b"
"#
    ));
    let text = BASE.replace("[false, true]", "[\"false\", \"true\"]");
    insta::assert_snapshot!(error(&format!(
        "{}[[exclude]]\nwhen = {{ gpu = true }}\nreason = \"a\"\n",
        text.trim_start()
    )));
}

#[test]
fn duplicate_and_empty_axes_are_refused() {
    insta::assert_snapshot!(error(&BASE.replace("\"3.10\"", "\"3.9\"")));
    insta::assert_snapshot!(error(&BASE.replace("[false, true]", "[]")));
    insta::assert_snapshot!(error(&BASE.replace("gpu =", "python =")));
}

#[test]
fn names_in_patterns_are_checked() {
    insta::assert_snapshot!(error(&BASE.replace("{{job_type}}", "{{jobtype}}")));
    insta::assert_snapshot!(error(&BASE.replace("{{job_type}}", "{{version}}")));
    insta::assert_snapshot!(error(&BASE.replace("{{job_type}}", "{{#if gpu}}x{{/if}}")));
}

#[test]
fn too_large_matrices_are_refused_before_expansion() {
    let values: Vec<String> = (0..1000).map(|value| format!("\"v{value}\"")).collect();
    let values = values.join(", ");
    let text =
        BASE.replace("[false, true]", "[false, true]\na = [VALUES]\nb = [VALUES]\nc = [VALUES]");
    let error = error(&text.replace("VALUES", &values));
    assert!(
        error.contains("the axes produce 12000000000 variants, the limit is 100000"),
        "{error}"
    );
}

#[test]
fn unsafe_paths_and_values_are_refused() {
    insta::assert_snapshot!(error(&BASE.replace("\"Dockerfile.hbs\"", "\"../Dockerfile.hbs\"")));
    insta::assert_snapshot!(error(&BASE.replace("\"3.10\"", "\"3.10\\nRUN id\"")));
}

#[test]
fn two_axes_cannot_set_one_variable() {
    let text = BASE.replace("[false, true]", "[false, { value = true, variables = { x = 1 } }]");
    insta::assert_snapshot!(error(&text.replace(
        "{ value = \"server\", tag = \"\" }",
        "{ value = \"server\", tag = \"\", variables = { x = 2 } }"
    )));
}

#[test]
fn reserved_names_are_refused_and_documented() {
    let text = BASE.trim_start().replace("gpu =", "version =");
    insta::assert_snapshot!(error(&format!("{text}[variables]\nif = \"x\"\nlog = \"x\"\n")));
    let docs = include_str!("../../docs/matrix.md");
    let list = docs.split("the name of an axis or a variable:").nth(1).expect("the reserved names");
    let list = list.split(".\n").next().unwrap_or_default();
    let documented: BTreeSet<&str> = list.split('`').skip(1).step_by(2).collect();
    assert_eq!(documented, BTreeSet::from(RESERVED));
}

#[test]
fn reserved_labels_are_refused() {
    insta::assert_snapshot!(error_with("[image.labels]\n\"dev.basegen.fingerprint\" = \"x\"\n"));
}

#[test]
fn matching_ignores_terms_without_a_match() {
    let matrix = matrix("");
    let matching = |terms: &[(&str, &str)]| -> Vec<&str> {
        matrix.matching(&only(terms)).into_iter().map(|variant| variant.id.as_str()).collect()
    };
    let of_python = matching(&[("python", "3.9")]);
    assert!(!of_python.is_empty() && of_python.iter().all(|id| id.starts_with("3.9")));
    assert_eq!(matching(&[("python", "3.9"), ("python", "2.7")]), of_python);
    assert_eq!(matching(&[("python", "2.7")]), [""; 0]);
    assert_eq!(matching(&[("torch", "2.4")]), [""; 0]);
    assert_eq!(matching(&[]).len(), matrix.variants.len());
    let without = Selection { without: vec![vec![term(&("torch", "2"))]], ..Selection::default() };
    assert_eq!(matrix.matching(&without).len(), matrix.variants.len());
}

#[test]
fn terms_mean_or_within_an_axis_and_and_between_axes() {
    let matrix = matrix("");
    let selection =
        only(&[("python", "3.9"), ("python", ">=3.11"), ("gpu", "y"), ("job_type", "server")]);
    assert_eq!(chosen(&matrix, &selection), ["3.9-gpu-server", "3.11-gpu-server"]);
    let selection = Selection {
        only: vec![term(&("python", "3.9"))],
        without: vec![vec![term(&("gpu", "true")), term(&("job_type", "training"))]],
        ..Selection::default()
    };
    assert_eq!(chosen(&matrix, &selection), ["3.9-server", "3.9-training", "3.9-gpu-server"]);
    assert!(!matrix.select(&selection).expect("a selection").whole);
    assert!(matrix.select(&Selection::default()).expect("a selection").whole);
}

#[test]
fn variants_are_selected_by_their_ids() {
    let matrix = matrix("");
    let by_id = |ids: &[&str], only: Vec<Term>| Selection {
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        only,
        ..Selection::default()
    };
    let both = by_id(&["3.11-gpu-server", "3.9-server", "3.9-server"], Vec::new());
    assert_eq!(chosen(&matrix, &both), ["3.9-server", "3.11-gpu-server"]);
    assert!(!both.is_empty());
    let refused = [
        by_id(&["3.9-server", "3.9-gpu-serve"], Vec::new()),
        by_id(&["3.9-server", "3.11-server"], vec![term(&("python", "3.9"))]),
    ];
    let refused =
        refused.map(|selection| Report::from(matrix.select(&selection).expect_err("refused")));
    insta::assert_snapshot!(refused.map(|report| report.to_string()).join("\n\n"), @r"
    error: the matrix has no variant `3.9-gpu-serve`

    hint: did you mean `3.9-gpu-server`?

    error: the variant `3.11-server` does not match the other selection flags
    ");
}

#[test]
fn selections_without_a_match_are_refused_with_a_suggestion() {
    let matrix = matrix(
        "[[exclude]]\nwhen = { python = \"3.9\", gpu = true }\nreason = \"CUDA 12.8 needs Python 3.10\"\n",
    );
    insta::assert_snapshot!(refusal(&matrix, &only(&[("pyton", "3.9")])), @r"
    error: the matrix has no axis `pyton`; its axes are `python`, `gpu` and `job_type`

    hint: did you mean `python`?
    ");
    insta::assert_snapshot!(refusal(&matrix, &only(&[("python", "3.8")])), @r"
    error: axis `python` has no value `3.8`; it has `3.9`, `3.10` and `3.11`
    ");
    insta::assert_snapshot!(refusal(&matrix, &only(&[("job_type", "sever")])), @r"
    error: axis `job_type` has no value `sever`; it has `server` and `training`

    hint: did you mean `server`?
    ");
    insta::assert_snapshot!(refusal(&matrix, &only(&[("python", ">=4")])), @"error: axis `python` has no value `>=4`; it has `3.9`, `3.10` and `3.11`");
    insta::assert_snapshot!(refusal(&matrix, &only(&[("python", ">=")])));
    insta::assert_snapshot!(refusal(&matrix, &only(&[("gpu", "true"), ("python", "3.9")])), @r"
    error: no variant has python 3.9, gpu true
      excluded at matrix.toml:11: CUDA 12.8 needs Python 3.10

    hint: similar variants are `3.9-server`, `3.9-training` and `3.10-gpu-server`
    ");
    let mut contradiction = only(&[("gpu", "true")]);
    contradiction.without = vec![vec![term(&("gpu", "true"))]];
    insta::assert_snapshot!(refusal(&matrix, &contradiction), @"error: `--exclude` removes every variant with gpu true");
    // 3.11-gpu exists, but 3.9 is also selected and must not be ignored.
    let both = only(&[("gpu", "true"), ("python", "3.9"), ("python", "3.11")]);
    assert!(refusal(&matrix, &both).contains("no variant has python 3.9, gpu true"));
}

#[test]
fn invalid_tag_prefixes_are_refused() {
    insta::assert_snapshot!(error_with(
        "[version]\nfile = \"x\"\nprefix = \"-v\"\n[[version.also]]\nfile = \"y\"\nprefix = \"v+\"\n\
         [[version.also]]\nfile = \"z\"\nprefix = \"\"\n"
    ));
}

#[test]
fn a_version_place_has_one_kind() {
    insta::assert_snapshot!(error_with(
        "[version]\nfile = \"x\"\nkey = \"a\"\nconstant = \"A\"\n[[version.also]]\nfile = \"y\"\npattern = \"(\"\n\
         [[version.also]]\nfile = \"y\"\npattern = 'v(\\d+)'\n[[version.also]]\nfile = \"y\"\nkeys = \"a\"\n"
    ));
    insta::assert_snapshot!(error_with(
        "[version]\nfile = \"x\"\nkey = \"a\"\nconstant = \"A\"\n[[version.also]]\nfile = \"y\"\npattern = \"(\"\n\
         [[version.also]]\nfile = \"y\"\npattern = 'v(\\d+)'\n"
    ));
    insta::assert_snapshot!(error_with(
        "[generated]\nreadme = \"../README.md\"\nrendered = \"/tmp\"\n"
    ));
}

#[test]
fn contracts_and_exceptions_are_validated() {
    let base = |image: &str, more: &str| {
        error(&format!(
            "{}{more}",
            BASE.trim_start().replace("\n[axes]", &format!("{image}\n[axes]"))
        ))
    };
    let errors = [
        base("contracts = [\"basten\"]\n", ""),
        base("port = 70000\nbaseten = { run_as_user_id = 60000 }\n", ""),
        base("fal = { release = \"1\" }\n", ""),
        error_with(
            "[[waive]]\nrule = \"baseten/port\"\nreason = \" \"\nwhen = { gpu = true, word = \"a\" }\n",
        ),
        error_with("[[waive]]\nrule = \"baseten/port\"\n"),
        error_with("[[set]]\nwhen = { gpu = true }\n"),
    ];
    insta::assert_snapshot!(errors.join("\n\n"));
}
