//! Conditions in `when` and in selections.

use super::{chosen, error, only, parsed, refusal};

const BASE: &str = r#"[image]
repository = "a"
dockerfile = "d"
[axes]
python = ["3.9", "3.11", "3.14"]
cuda = [false, "12.4", "12.8"]
distro = ["slim-bookworm", "slim-trixie", "alpine"]
"#;

fn with_rule(when: &str) -> String {
    format!("{BASE}[[set]]\nwhen = {when}\nvariables = {{ chosen = true }}\n")
}

/// Returns the ids of the variants that meet the conditions of a rule.
fn matches(when: &str) -> String {
    let matrix = parsed(&with_rule(when));
    let chosen = matrix.variants.iter().filter(|variant| {
        matrix.variables(variant).contains_key("chosen") && variant.id.ends_with("alpine")
    });
    chosen.map(|variant| variant.name.trim_end_matches("-alpine")).collect::<Vec<_>>().join(" ")
}

#[test]
fn conditions_are_values_ranges_patterns_and_their_opposites() {
    for (when, expected) in [
        ("{ cuda = \">=12.8\" }", "3.9-12.8 3.11-12.8 3.14-12.8"),
        ("{ python = [\"<3.10\", \">3.13\"], cuda = false }", "3.9 3.14"),
        (
            "{ python = [\"3.9\", \">3.13\"], cuda = [false, \">=12.8\"] }",
            "3.9 3.9-12.8 3.14 3.14-12.8",
        ),
        ("{ python = { not = \"3.11\" }, cuda = false }", "3.9 3.14"),
        ("{ python = \"3.9\", cuda = { not = [false, \">=12.8\"] } }", "3.9-12.4"),
        ("{ python = \"3.9\", cuda = { not = \">=12.8\" } }", "3.9 3.9-12.4"),
        ("{ python = \"3.9\", distro = \"al*\", cuda = \"*.8\" }", "3.9-12.8"),
        ("{ distro = { not = \"slim-*\" }, python = \"==3.9.*\", cuda = false }", "3.9"),
    ] {
        assert_eq!(matches(when), expected, "{when}");
    }
}

#[test]
fn one_of_several_alternatives_must_match() {
    for (when, expected) in [
        (
            "[{ python = \"3.9\", cuda = false }, { python = \"3.14\", cuda = \"12.8\" }]",
            "3.9 3.14-12.8",
        ),
        (
            "[{ cuda = \">=12.8\" }, { python = \"3.9\" }]",
            "3.9 3.9-12.4 3.9-12.8 3.11-12.8 3.14-12.8",
        ),
        ("[{ python = \"3.9\", cuda = { not = false } }]", "3.9-12.4 3.9-12.8"),
    ] {
        assert_eq!(matches(when), expected, "{when}");
    }
}

#[test]
fn alternatives_of_an_exclusion_explain_a_selection() {
    let matrix = parsed(&format!(
        "{BASE}[[exclude]]\nwhen = [{{ python = \"3.9\", cuda = \"12.8\" }}, {{ cuda = \"12.4\", distro = \"alpine\" }}]\n\
         reason = \"no wheels\"\n"
    ));
    insta::assert_snapshot!(refusal(&matrix, &only(&[("cuda", "12.4"), ("distro", "alpine")])), @r"
    error: no variant has cuda 12.4, distro alpine
      excluded at matrix.toml:8: no wheels

    hint: similar variants are `3.9-alpine`, `3.9-12.4-slim-bookworm` and `3.9-12.4-slim-trixie`
    ");
}

#[test]
fn alternatives_without_a_match_are_refused() {
    let excluded =
        "[[exclude]]\nwhen = { python = \"3.9\", cuda = \"12.8\" }\nreason = \"too old\"\n";
    let rules = [
        "[\n  { python = \"3.14\" },\n  { python = \"3.9\", cuda = \"12.8\" },\n]",
        "[{ python = \"3.9\", cuda = \"12.8\" }]",
        "[{ python = \"3.14\" }, { python = \"3.13\" }, { pyhton = \"3.9\" }]",
        "[{ python = \"3.14\" }, {}]",
        "{}",
        "[]",
        "[\"3.14\"]",
        "\"3.14\"",
    ];
    insta::assert_snapshot!(
        rules.map(|when| error(&format!("{}{excluded}", with_rule(when)))).join("\n\n")
    );
}

#[test]
fn conditions_without_a_match_are_refused() {
    let rules = [
        "{ cuda = \">=13\" }",
        "{ distro = \">=13\" }",
        "{ distro = \"slm-*\" }",
        "{ python = [\"3.9\", \">=4\"] }",
        "{ python = [] }",
        "{ python = { not = \"3.10\" } }",
        "{ python = { not = \">=3\" } }",
        "{ python = { not = \">= three\" } }",
        "{ python = { no = \"3.9\" } }",
        "{ python = { not = { not = \"3.9\" } } }",
        "{ python = 3 }",
    ];
    insta::assert_snapshot!(rules.map(|when| error(&with_rule(when))).join("\n\n"));
}

#[test]
fn selections_accept_patterns() {
    let matrix = parsed(BASE);
    let selected =
        chosen(&matrix, &only(&[("distro", "slim-*"), ("python", "3.9"), ("cuda", "12.*")]));
    assert_eq!(
        selected,
        [
            "3.9-12.4-slim-bookworm",
            "3.9-12.4-slim-trixie",
            "3.9-12.8-slim-bookworm",
            "3.9-12.8-slim-trixie"
        ]
    );
    insta::assert_snapshot!(
        refusal(&matrix, &only(&[("distro", "slm-*")])),
        @"error: axis `distro` has no value `slm-*`; it has `slim-bookworm`, `slim-trixie` and `alpine`"
    );
}
