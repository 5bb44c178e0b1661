//! The helpers of templates, and their documentation.

use std::collections::BTreeSet;

use handlebars::Handlebars;

use super::super::helpers::{self, HELPERS};
use super::{Project, error_of, errors_of};

/// Evaluates conditions for the variant of Python 3.9 without a GPU.
fn conditions(conditions: &[&str]) -> Vec<bool> {
    let lines = conditions
        .iter()
        .map(|condition| format!("RUN {{{{#if {condition}}}}}yes{{{{else}}}}no{{{{/if}}}}\n"));
    let text = format!("FROM a\n{}", lines.collect::<String>());
    let project = Project::new(&[("Dockerfile.hbs", &text)]);
    let dockerfile = project.contexts()[0].dockerfile.clone();
    dockerfile.lines().skip(1).map(|line| line == "RUN yes").collect()
}

#[test]
fn comparisons_compare_versions_and_numbers_as_such() {
    for (condition, expected) in [
        (r#"(gt "3.9" "3.10")"#, false),
        (r#"(gt "3.10" "3.9")"#, true),
        (r#"(lt python "3.10")"#, true),
        (r#"(gte python "3.9")"#, true),
        (r#"(lte python "3.9.0")"#, true),
        (r#"(eq "3.9" "3.9.0")"#, true),
        (r#"(eq "3.1" "3.10")"#, false),
        (r#"(lt "1.0.0-rc.1" "1.0.0")"#, true),
        (r#"(gt "2.1.0+cu128" "2.1.0")"#, true),
        ("(gt 10 9)", true),
        ("(lt 1.5 2)", true),
        ("(eq 2 2.0)", true),
        (r#"(eq "server" "server")"#, true),
        (r#"(eq "server" "3.9")"#, false),
        (r#"(ne "server" "training")"#, true),
        ("(eq gpu false)", true),
        ("(ne gpu true)", true),
        (r#"(and gpu (eq "a" "b"))"#, false),
        ("(and gpu cuda)", false),
        ("(or (not gpu) cuda)", true),
        (r#"(and (not gpu) (gt python "3.8"))"#, true),
        ("(gt (len packages) 1)", true),
        (r#"(eq (len "äö") 2)"#, true),
        (r#"(matches python ">=3.9")"#, true),
        (r#"(matches python ">=3.9.1,<4")"#, false),
        (r#"(matches python "3.10" "3.*")"#, true),
        (r#"(matches python "3.10" ">=3.14")"#, false),
        (r#"(matches gpu ">=1")"#, false),
        ("(matches gpu false)", true),
        (r#"(not (matches "server" "serv*r"))"#, false),
    ] {
        assert_eq!(conditions(&[condition]), [expected], "{condition}");
    }
}

#[test]
fn comparisons_can_be_blocks_and_text() {
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM a\n{{#gt python \"3.10\"}}\nRUN new\n{{else}}\nRUN old\n{{/gt}}\nRUN {{eq python \"3.9\"}}\n",
    )]);
    let contexts = project.contexts();
    assert_eq!(contexts[0].dockerfile, "FROM a\nRUN old\nRUN true\n");
    assert_eq!(contexts[2].dockerfile, "FROM a\nRUN new\nRUN false\n");
}

#[test]
fn incomparable_values_are_refused() {
    insta::assert_snapshot!(errors_of(&[
        "RUN x {{#if (gt python \"bookworm\")}}{{/if}}",
        "{{#if (gt \"bookworm\" python)}}{{/if}}",
        "{{#if (gt python 3.10)}}{{/if}}",
        "{{#if (lt 3 python)}}{{/if}}",
        "{{#if (eq gpu \"true\")}}{{/if}}",
        "{{#if (gte gpu true)}}{{/if}}",
        "{{#if (lt packages packages)}}{{/if}}",
        "{{#if (eq packages \"curl\")}}{{/if}}",
        "{{#if (eq cuda \"12.8\")}}{{/if}}",
        "{{#if (not cuda)}}{{/if}}",
        "{{#if (or gpu cuda)}}{{/if}}",
        "{{#if (gt python)}}{{/if}}",
        "RUN {{len gpu}}",
        "{{#if (matches python)}}{{/if}}",
        "{{#if (matches packages \"curl\")}}{{/if}}",
        "{{#if (matches \"server\" \">=3\")}}{{/if}}",
        "{{#if (matches python \">= three\")}}{{/if}}",
        "{{#if (matches python packages)}}{{/if}}",
        "{{#if (matches cuda \">=12\")}}{{/if}}",
    ]));
}

#[test]
fn the_log_helper_does_not_exist() {
    insta::assert_snapshot!(error_of("RUN {{log \"python\"}}"));
}

/// Returns the names in the first column of the table below `heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let docs = include_str!("../../../docs/templates.md");
    let section = docs.split(&format!("\n{heading}\n")).nth(1).expect(heading);
    let rows = section.split("\n#").next().unwrap_or_default().lines();
    let cells = rows.filter_map(|row| row.strip_prefix("| `")?.split(" |").next());
    let names = cells.flat_map(|cell| cell.split('`').step_by(2));
    names.map(str::to_owned).collect()
}

#[test]
fn every_helper_is_documented() {
    let mut handlebars = Handlebars::new();
    helpers::register(&mut handlebars);
    let shown = format!("{handlebars:?}");
    let registered = shown.split("helpers: [").nth(1).and_then(|rest| rest.split(']').next());
    let registered = registered.expect("handlebars lists its helpers").split('"');
    let registered: BTreeSet<&str> =
        registered.skip(1).step_by(2).filter(|name| !name.starts_with(' ')).collect();
    assert_eq!(registered, HELPERS.into());
    let documented = documented("## Helpers");
    assert_eq!(documented.iter().map(String::as_str).collect::<BTreeSet<_>>(), HELPERS.into());
}
