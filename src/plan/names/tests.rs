use std::path::Path;

use crate::error::Report;
use crate::matrix::{Selection, parse};
use crate::plan::{Plan, PlanRequest};

const BASE: &str = r#"
[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"

[axes]
python = ["3.13", "3.14"]
gpu = [false, { value = true, platforms = ["linux/amd64"], variables = { cuda = "12.8" } }]
"#;

/// Returns the images of a matrix, or its error.
fn planned(text: &str) -> String {
    planned_with(text, |_| {})
}

fn planned_with(text: &str, change: impl FnOnce(&mut PlanRequest)) -> String {
    let mut request = PlanRequest {
        version: "v1.2.0".parse().ok(),
        commit: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
        date: Some("2026-11-29".to_owned()),
        ..PlanRequest::default()
    };
    change(&mut request);
    let matrix = match parse(Path::new("matrix.toml"), text.trim_start()) {
        Ok(matrix) => matrix,
        Err(error) => return Report::from(error).to_string(),
    };
    let selected = matrix.select(&Selection::default()).expect("all variants");
    let plan = match Plan::new(&matrix, &selected, request) {
        Ok(plan) => plan,
        Err(error) => return Report::from(error).to_string(),
    };
    let lines = plan.targets.iter().map(|target| {
        let names: Vec<String> = target.references().map(|name| name.to_string()).collect();
        format!(
            "{}: {}\n  {} {} {:?} {:?}",
            target.id(),
            names.join(" "),
            target.dockerfile.as_deref().unwrap_or_default(),
            crate::image::Platform::list(&target.platforms),
            target.labels,
            target.compression.algorithm,
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn later_tables_override_settings() {
    let more = r#"
[image.labels]
vendor = "acme"
cuda = "none"

[[set]]
when = { gpu = true }
repository = "acme/cuda{{cuda}}"
labels = { cuda = "{{cuda}}" }
compression = "gzip"

[[set]]
when = { python = "3.14" }
tag = "{{variant}}-preview-{{version}}"
platforms = ["linux/amd64", "linux/arm64"]

[[extra]]
axes = { python = { value = "3.15", dockerfile = "next.Dockerfile.hbs" }, gpu = true }
tag = "next"
compression = "estargz"
labels = { vendor = "nobody" }
variables = { cuda = "13.0" }
"#;
    insta::assert_snapshot!(planned(&format!("{BASE}{more}")));
}

#[test]
fn images_for_the_engine_are_planned_for_its_own_platform() {
    let both = "dockerfile = \"Dockerfile.hbs\"\nplatforms = [\"linux/amd64\", \"linux/arm64\"]";
    let text = BASE.replace("dockerfile = \"Dockerfile.hbs\"", both);
    let of_native =
        |native: &str| planned_with(&text, |request| request.native = native.parse().ok());
    let [arm64, other] = ["linux/arm64", "linux/s390x"].map(of_native);
    // The images for GPUs are never for arm64.
    assert_eq!(arm64.matches(" linux/arm64 {").count(), 2, "{arm64}");
    assert_eq!(arm64.matches(" linux/amd64 {").count(), 2, "{arm64}");
    assert_eq!(other, planned(&text));
    let requested = planned_with(&text, |request| {
        request.native = "linux/arm64".parse().ok();
        request.platforms = ["linux/amd64"].map(|name| name.parse().expect("a platform")).into();
    });
    assert_eq!(requested.matches(" linux/amd64 {").count(), 4, "{requested}");
}

const ALIASES: &str = r#"
[image]
repository = "acme/base"
dockerfile = "Dockerfile.hbs"
aliases = [
  "{{variant}}-latest",
  { tag = "latest", when = { python = "3.14", gpu = false } },
  { tag = "cuda{{cuda}}", when = { python = "3.14", gpu = true } },
  "{{variant}}-{{major}}",
  "{{variant}}-{{major}}.{{minor}}",
  { tag = "{{variant}}-sha-{{git.short_sha}}", moved_by = ["release", "version-tag"] },
  { tag = "{{variant}}-{{date}}", moved_by = ["version-tag"] },
]

[axes]
python = ["3.13", "3.14"]
gpu = [false, { value = true, variables = { cuda = "12.8" } }]
"#;

#[test]
fn aliases_depend_on_the_variant_and_the_run() {
    use crate::version::Version;
    let release = planned(ALIASES);
    let prerelease = planned_with(ALIASES, |request| request.version = "v1.3.0-rc.1".parse().ok());
    let custom = planned_with(ALIASES, |request| {
        request.version = Version::custom("nightly").ok();
        request.is_custom = true;
    });
    let pull_request = planned_with(ALIASES, |request| {
        request.tag = Some("pr-7-{{variant}}-{{git.sha}}".to_owned());
    });
    insta::assert_snapshot!([release, prerelease, custom, pull_request].join("\n\n"));
}

#[test]
fn aliases_are_equal_only_beside_a_tag_of_the_request() {
    let aliases = "acme/{{python}}\"\naliases = [\"latest-{{gpu}}\"]";
    let text = BASE.replace("acme/base\"", aliases);
    let staged = |tag: Option<&str>| {
        planned_with(&text, |request| {
            request.repository = Some("acme/staging".to_owned());
            request.tag = tag.map(str::to_owned);
        })
    };
    let tags = [None, Some("7-{{variant}}"), Some("latest-{{gpu}}")];
    insta::assert_snapshot!(tags.map(staged).join("\n\n"));
}

#[test]
fn aliases_are_validated() {
    let with = |alias: &str| {
        let text = ALIASES.replace("\"{{variant}}-latest\"", alias);
        planned(&text)
    };
    let aliases = [
        // The alias applies to two variants.
        "{ tag = \"x\", when = { python = \"3.14\" } }",
        "{ tag = \"latest\", when = { python = \"3.14\", gpu = false } }",
        "{ tag = \"{{variant}}-v1.2.0\" }",
        "{ tag = \"x\", when = { python = \"3.15\" } }",
        "{ tag = \"x\", moved_by = [] }",
        "{ tag = \"x\", moved_by = [\"nightly\"] }",
        "{ when = { python = \"3.14\" } }",
        "\"{{variant}}-{{git.sah}}\"",
        "\"{{variant}}-{{cuda}}\"",
        "3",
    ];
    let excluded = "[[exclude]]\nwhen = { python = \"3.14\", gpu = false }\nreason = \"x\"\n";
    let unused = planned(&format!("{ALIASES}{excluded}"));
    let in_tag = planned(&ALIASES.replace("aliases =", "tag = \"{{date}}\"\naliases ="));
    let faults = aliases.map(with).into_iter().chain([unused, in_tag]);
    insta::assert_snapshot!(faults.collect::<Vec<_>>().join("\n\n"));
}

#[test]
fn printed_aliases_have_the_values_of_the_variant_and_the_run() {
    let aliases = r#"
[[alias]]
run = "python --version"
[[alias]]
run = "python --version"
tag = "{{gpu}}-{{python}}-{{output}}-{{minor}}"
[[alias]]
run = "uname -r # {{python}}"
tag = "{{output}}-{{date}}"
moved_by = ["version-tag"]
when = { gpu = true }
"#;
    let text = format!("{BASE}{aliases}");
    let printed = |text: &str, is_custom: bool| {
        let matrix = parse(Path::new("matrix.toml"), text.trim_start()).expect("a matrix");
        let selected = matrix.select(&Selection::default()).expect("all variants");
        let date = Some("2026-11-29".to_owned());
        let version = "v1.2.0".parse().ok();
        let request = PlanRequest { version, is_custom, date, ..PlanRequest::default() };
        let plan = match Plan::new(&matrix, &selected, request) {
            Ok(plan) => plan,
            Err(error) => return Report::from(error).to_string(),
        };
        let lines = plan.targets.iter().map(|target| {
            let tags = target.printed_tags.iter();
            let tags = tags.map(|tag| format!("{}={}", tag.command, tag.template()));
            let tags: Vec<String> = tags.collect();
            format!("{}: {:?} {}", target.id(), target.alias_commands, tags.join(" "))
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let invalid = text.replace("{{output}}-{{minor}}", "{{output}} {{minor}}");
    insta::assert_snapshot!(
        [printed(&text, false), printed(&text, true), printed(&invalid, false)].join("\n\n")
    );
}

#[test]
fn placeholders_need_values() {
    let texts = [
        // Only variants with a GPU have the variable.
        BASE.replace("acme/base", "acme/{{cuda}}"),
        BASE.replace("acme/base", "acme/{{cuad}}"),
        format!("{BASE}[variables]\ncuda = [\"12.8\"]\n[image.labels]\ncuda = \"{{{{cuda}}}}\"\n"),
        format!("{BASE}[[verify]]\nname = \"cuda\"\nrun = \"test {{{{cuda}}}} = x\"\n"),
        format!(
            "{BASE}[[verify]]\nname = \"cuda\"\nwhen = {{ gpu = true }}\nrun = \"test {{{{cuda}}}} = x\"\n"
        ),
        BASE.replace("Dockerfile.hbs\"", "{{folder}}/Dockerfile.hbs\"")
            + "[variables]\nfolder = \"../secrets\"\n",
    ];
    insta::assert_snapshot!(texts.map(|text| planned(&text)).join("\n\n"));
}

#[test]
fn parts_of_tags_are_placeholders() {
    let axes = r#"python = [{ value = "3.13", tag = "" }, { value = "3.14", tag = "py3.14" }]"#;
    let with = |tag: &str| {
        let text = BASE.replace("python = [\"3.13\", \"3.14\"]", axes);
        planned(&text.replace("[axes]", &format!("tag = \"{tag}\"\n[axes]")))
    };
    let named = with("{{python.tag}}-{{version}}-{{gpu.tag}}");
    let unknown = ["{{pyton.tag}}", "{{python.value}}"].map(with);
    let requested = ["{{python.tag}}-{{gpu}}", "{{python.value}}"]
        .map(|tag| planned_with(BASE, |request| request.tag = Some(tag.to_owned())));
    insta::assert_snapshot!([&[named][..], &unknown, &requested].concat().join("\n\n"));
}

#[test]
fn missing_settings_are_explained() {
    let texts = ["repository = \"acme/base\"\n", "dockerfile = \"Dockerfile.hbs\"\n"];
    insta::assert_snapshot!(texts.map(|text| planned(&BASE.replace(text, ""))).join("\n\n"));
}

#[test]
fn each_registry_has_a_path_of_its_own() {
    let image = |registries: &str| {
        format!("[image]\nregistry = {registries}\nrepository = \"base\"\ndockerfile = \"d\"\n")
    };
    let aliases = "aliases = [\"{{variant}}-latest\"]\n";
    let axes = "[axes]\npython = [\"3.13\", \"3.14\"]\n";
    let paths = image("[\"ghcr.io/acme\", \"registry.acme.example:5000/images/python\"]");
    let of_matrix = planned(&format!("{paths}{aliases}{axes}"));
    let requested = |registries: &[&str]| {
        let registries = registries.iter().map(|&name| name.to_owned()).collect();
        planned_with(&format!("{paths}{axes}"), |request| request.registries = registries)
    };
    let replaced = requested(&["ghcr.io/mirror", "quay.io", "ghcr.io/mirror"]);
    let twice = requested(&["ghcr.io/a", "ghcr.io/b"]);
    // The repository of one image equals that of the other in its second registry.
    let set = "[[set]]\nwhen = { python = \"3.14\" }\nrepository = \"ghcr.io/acme/base\"\n";
    let hub = image("[\"docker.io/acme\", \"ghcr.io/acme\"]\ntag = \"{{version}}\"");
    let clash = planned(&format!("{hub}{axes}{set}"));
    insta::assert_snapshot!([of_matrix, replaced, twice, clash].join("\n\n"));
}
