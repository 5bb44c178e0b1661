//! Every static rule with Dockerfiles that break it, and `[[waive]]`.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::error::Report;
use crate::matrix::parse;
use crate::render::TemplateLine;

/// A Dockerfile that breaks rules, with settings of `[image]`.
struct Example {
    rule: &'static str,
    settings: &'static str,
    dockerfile: &'static str,
}

const fn example(rule: &'static str, dockerfile: &'static str) -> Example {
    Example { rule, settings: "", dockerfile }
}

const EXAMPLES: &[Example] = &[
    example("baseten/debian", "FROM python:3.12-alpine3.20"),
    example("baseten/debian", "FROM nvidia/cuda:12.8.1-runtime-ubi9"),
    example("baseten/debian", "FROM debian:12 AS tools\nFROM scratch"),
    example("baseten/python", "ARG V=3.8\nFROM python:$V-slim"),
    example("baseten/python", "FROM python:3.15-slim"),
    example("baseten/reserved-env", "FROM python:3.12\nENV A=1 \\\n  PORT=8000 \\\n  \"HOST\"=x"),
    example(
        "baseten/reserved-env",
        "FROM python:3.12 AS base\nENV PATH /a:$PATH\nFROM base\nENV X_SERVICE_PORT_HTTP=1 X_SERVICE_HOST=a",
    ),
    example("baseten/injected-env", "FROM python:3.12\nENV HOME=/home/me APP_HOME=/app"),
    example("baseten/port", "FROM python:3.12\nEXPOSE 80 8080/tcp 8000-9000"),
    example(
        "baseten/port",
        "FROM python:3.12\nENTRYPOINT [\"uvicorn\", \"main:app\"]\nCMD [\"--port\", \"8080\"]",
    ),
    example("baseten/port", "FROM python:3.12\nCMD gunicorn -b 0.0.0.0:8080 main:app"),
    example("baseten/port", "FROM python:3.12\nCMD [\"sh\", \"-c\", \"serve --http-port=8080\"]"),
    example("baseten/user", "FROM python:3.12\nRUN a && useradd -u 60000 -m me"),
    example(
        "baseten/user",
        "FROM python:3.12\nRUN <<EOF\nadduser --uid 5000 \\\n  app\nEOF\nUSER app:app",
    ),
    Example {
        rule: "baseten/user",
        settings: "baseten = { run_as_user_id = 1000 }",
        dockerfile: "FROM python:3.12\nUSER 1001",
    },
    example(
        "baseten/inherited-env",
        "FROM python:3.12\nENV PIP_CONSTRAINT=/c.txt UV_SYSTEM_PYTHON=1",
    ),
    example("baseten-no-build/command", "FROM python:3.12"),
    example("baseten-no-build/user", "FROM python:3.12\nUSER nobody\nCMD serve"),
    Example {
        rule: "baseten-no-build/user",
        settings: "baseten = { run_as_user_id = 1000 }",
        dockerfile: "FROM python:3.12\nUSER 1001:1001\nCMD serve",
    },
    example("fal/curl", "FROM python:3.12-slim\nRUN pip install numpy==2.1.0"),
    example("cerebrium/base", "FROM quay.io/rockylinux/rockylinux:9"),
    example("cerebrium/python", "FROM python:3.9-slim"),
    Example {
        rule: "cerebrium/port",
        settings: "port = 8000",
        dockerfile: "FROM python:3.12\nCMD [\"uvicorn\", \"main:app\", \"--port\", \"8080\"]",
    },
    example("lint/secrets", "ARG NPM_TOKEN\nFROM python:3.12\nENV DB_PASSWORD=hunter2"),
    example("lint/secrets", "FROM python:3.12\nENV WHERE=https://x?k=hf_abcdefghij0123456789abcd"),
    example("lint/tagged-bases", "FROM python AS one\nFROM ghcr.io/acme/base:latest"),
    example(
        "lint/pinned-conda-packages",
        "FROM mambaorg/micromamba:2\nRUN micromamba install -y -p /opt/conda -c conda-forge numpy 'scipy>=1' python=3.12",
    ),
    example(
        "lint/pinned-packages",
        "FROM python:3.12\nRUN pip install -U pip && pip3 install -i https://x.example.org/ 'numpy>=2' torch==2.9.1",
    ),
    example(
        "lint/pinned-packages",
        "FROM python:3.12\nRUN --mount=type=cache,target=/c python -m pip install --no-cache-dir fal",
    ),
    example(
        "lint/pinned-packages",
        "FROM python:3.12\nRUN <<EOF\nuv pip install --system a==1 b==2.*\nEOF",
    ),
    example(
        "lint/pinned-system-packages",
        "FROM debian:12\nRUN apt-get -qq install -y --no-install-recommends curl git=1:2.39 jq",
    ),
    example(
        "lint/apt-lists",
        "FROM debian:12\nRUN apt-get update \\\n && apt-get install -y curl=7\nRUN rm -rf /var/lib/apt/lists/*",
    ),
    example(
        "lint/add-checksum",
        "FROM debian:12\nADD https://example.org/a.tar /a.tar\nADD https://github.com/acme/b.git#main /b",
    ),
];

/// Dockerfiles that keep all rules.
const SOUND: [&str; 6] = [
    "FROM python:3.12-slim\nRUN apt-get update && apt-get install -y curl=7.88 && rm -rf /var/lib/apt/lists/*\n\
     ENV PYTHONPATH=/a MY_SERVER_PORT=8000 CUDA_PATH=/usr SERVICE_HOSTS=a\nEXPOSE 8000\n\
     CMD [\"uvicorn\", \"main:app\", \"--host\", \"0.0.0.0\", \"--port\", \"8000\"]",
    "FROM nvidia/cuda:12.8.1-runtime-ubuntu22.04\nRUN apt-get install -y curl=7 && useradd -u 1000 me\nUSER root\nCMD a",
    "FROM golang:1.23-alpine AS tool\nENV PORT=1\nRUN apk add curl && pip install x==1 2>/dev/null\n\
     FROM python:3.12-slim\nCOPY --from=tool /curl /usr/bin/\nCMD a",
    "FROM python:3.12@sha256:1111111111111111111111111111111111111111111111111111111111111111\n\
     RUN --mount=type=cache,target=/var/lib/apt apt-get update\nRUN pip install -r a.txt ./b https://x/c.whl d@git+https://e \"$F\" -c c.txt g\nCMD a",
    "FROM python:3.12-slim\nARG TARGETARCH\nARG PUBLIC_KEY=a\nENV TOKENIZERS_PARALLELISM=1 HF_TOKEN=\nRUN sh /run/install curl\nCMD a",
    "FROM python:3.12\nADD --checksum=sha256:1111111111111111111111111111111111111111111111111111111111111111 https://example.org/a /\nCMD a",
];

fn matrix(settings: &str, more: &str) -> Matrix {
    let text = format!(
        "[image]\nrepository = \"a\"\ndockerfile = \"d\"\nplatforms = [\"linux/amd64\"]\n\
         contracts = [\"baseten\", \"baseten-no-build\", \"fal\", \"cerebrium\"]\n{settings}\n\
         [axes]\nword = [\"one\", \"two\"]\n{more}"
    );
    parse(Path::new("matrix.toml"), &text).unwrap_or_else(|error| panic!("{error}"))
}

/// A context whose lines are those of a template, each indented by the number of the line.
fn context(dockerfile: &str) -> BuildContext {
    let file: Arc<str> = "dockerfiles/a.hbs".into();
    let lines = (1..=dockerfile.lines().count()).map(|line| TemplateLine {
        file: Arc::clone(&file),
        line: line + 10,
        column: line,
    });
    let upstreams =
        crate::render::Upstream { name: "https://x".to_owned(), reference: None, digest: None };
    BuildContext {
        dockerfile: dockerfile.to_owned(),
        dockerfile_name: "Dockerfile".to_owned(),
        lines: lines.collect(),
        upstreams: vec![upstreams],
        ..BuildContext::default()
    }
}

fn found(matrix: &Matrix, dockerfile: &str) -> Vec<Finding> {
    let context = context(dockerfile);
    inspect(matrix, &[(&matrix.variants[0], &context)], Scope::Contracts)
}

#[test]
fn a_dockerfile_that_breaks_a_rule_is_reported_with_its_place() {
    let mut shown = Vec::new();
    for Example { rule, settings, dockerfile } in EXAMPLES {
        let findings = found(&matrix(settings, ""), dockerfile).into_iter();
        let lines: Vec<String> = findings
            .filter(|finding| finding.rule.id == *rule)
            .map(|Finding { file, line, column, what, rule, .. }| {
                format!("  {file}:{line}:{column}: {what} ({})", rule.fix)
            })
            .collect();
        assert!(!lines.is_empty(), "{rule} does not see {dockerfile:?}");
        shown.push(format!("{rule}: {}\n{}", dockerfile.replace('\n', "⏎"), lines.join("\n")));
    }
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn sound_dockerfiles_break_no_rule() {
    for dockerfile in SOUND {
        let findings: Vec<String> = found(&matrix("", ""), dockerfile)
            .into_iter()
            .map(|finding| format!("{}: {}", finding.rule.id, finding.what))
            .collect();
        assert_eq!(findings, [""; 0], "{dockerfile}");
    }
}

#[test]
fn every_static_rule_has_an_example() {
    let examples: BTreeSet<&str> = EXAMPLES.iter().map(|example| example.rule).collect();
    let rules = all_rules().filter(|(_, rule)| rule.inspection().is_some());
    let rules: BTreeSet<&str> = rules.map(|(_, rule)| rule.id).collect();
    assert_eq!(examples, rules);
}

#[test]
fn rules_are_named_after_their_contract() {
    let mut seen = BTreeSet::new();
    for (contract, rule) in all_rules() {
        assert_eq!(rule.id.split('/').next(), Some(contract.to_string().as_str()));
        assert!(seen.insert(rule.id), "{} is there twice", rule.id);
        assert!(!rule.requirement.ends_with('.') && !rule.fix.ends_with('.'), "{}", rule.id);
    }
}

#[test]
fn a_waived_rule_reports_nothing_and_adds_no_check() {
    let dockerfile = "FROM python:3.12\nENV PORT=1\nCMD a";
    let waive = "[[waive]]\nrule = \"baseten/reserved-env\"\nreason = \"an example\"\nwhen = { word = \"one\" }\n\
                 [[waive]]\nrule = \"fal/curl\"\nreason = \"an example\"\n";
    let matrix = matrix("", waive);
    let context = context(dockerfile);
    let ids = |index: usize| -> Vec<&str> {
        let found = inspect(&matrix, &[(&matrix.variants[index], &context)], Scope::Contracts);
        found.into_iter().map(|finding| finding.rule.id).collect()
    };
    assert_eq!(ids(0), [""; 0]);
    assert_eq!(ids(1), ["baseten/reserved-env"]);
    let checks = checks(&matrix, &matrix.variants[0]);
    assert!(checks.iter().all(|check| check.name != "fal/curl"));
    assert!(checks.iter().any(|check| check.name == "baseten/user"));
    let rows: Vec<_> = matrix.variants.iter().map(|variant| (variant, &context)).collect();
    assert!(unused_waives(&matrix, &rows).is_empty());
}

#[test]
fn contracts_of_a_set_replace_those_of_the_image() {
    let more = "[[set]]\nwhen = { word = \"two\" }\ncontracts = [\"baseten-no-build\"]\n\
                [[waive]]\nrule = \"baseten-no-build/command\"\nreason = \"an example\"\n";
    let matrix = matrix("", more);
    let names = |index: usize| {
        let checks = checks(&matrix, &matrix.variants[index]);
        checks.into_iter().map(|check| check.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        names(0),
        "baseten/debian baseten/python baseten/port baseten/user baseten/writable-paths baseten/inherited-env \
         fal/curl fal/packages cerebrium/base cerebrium/python cerebrium/cortex lint/dependencies"
    );
    assert_eq!(names(1), "");
    // A sound Dockerfile has no need of the exception.
    let context = context("FROM python:3.12\nCMD a");
    let rows: Vec<_> = matrix.variants.iter().map(|variant| (variant, &context)).collect();
    assert_eq!(unused_waives(&matrix, &rows), BTreeSet::from([0]));
}

#[test]
fn faults_of_a_matrix_file_are_shown_at_their_place() {
    let invalid = [
        ("", "[[waive]]\nrule = \"baseten/reservedenv\"\nreason = \"a\"\n"),
        (
            "",
            "[[waive]]\nrule = \"lint/secret\"\nreason = \"a\"\n[[waive]]\nrule = \"nonsense\"\nreason = \"b\"\n",
        ),
        (
            "",
            "[[set]]\nwhen = { word = \"two\" }\ncontracts = [\"fal\"]\n\
             [[waive]]\nrule = \"baseten/port\"\nreason = \"a\"\nwhen = { word = \"two\" }\n",
        ),
        ("port = 8080", ""),
        ("fal = { version = \"99.0\" }", ""),
    ];
    let shown = invalid.map(|(settings, more)| {
        let error = validate(&matrix(settings, more)).expect_err("a fault");
        Report::from(error).to_string()
    });
    insta::assert_snapshot!(shown.join("\n\n"));
}
