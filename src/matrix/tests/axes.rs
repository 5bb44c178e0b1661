//! The parts of tags that axes define for their values.

use super::{error, parsed};

fn text(axes: &str) -> String {
    format!("[image]\nrepository = \"a\"\ndockerfile = \"d\"\n[axes]\n{axes}")
}

/// Returns the names of the variants.
fn names(axes: &str) -> String {
    let matrix = parsed(&text(axes));
    matrix.variants.iter().map(|variant| variant.name.as_str()).collect::<Vec<_>>().join(" ")
}

#[test]
fn an_axis_defines_the_parts_of_tags() {
    for (axes, expected) in [
        (
            "torch = { tag = \"torch{{value}}\", values = [false, \"2.8\"] }\npython = [\"3.9\"]\n",
            "3.9 torch2.8-3.9",
        ),
        (
            "cuda = { tag = 'cu{{replace value \".\" \"\"}}', values = [\"12.8\", \"13.0\"] }\n",
            "cu128 cu130",
        ),
        (
            "live_reload = { tag = \"with-{{value}}\", values = [false, true] }\n",
            " with-live-reload",
        ),
        (
            "gpu = { tag = \"cuda{{cuda}}\", values = [{ value = true, variables = { cuda = \"12.8\" } }, { value = \"rocm\", tag = \"rocm\" }] }\n",
            "cuda12.8 rocm",
        ),
        ("gpu = [{ value = true, tag = \"cuda{{cuda}}\", variables = { cuda = 12 } }]\n", "cuda12"),
    ] {
        assert_eq!(names(axes), expected, "{axes}");
    }
    let extra = "[[extra]]\naxes = { torch = \"2.9\" }\n";
    let axes = format!("torch = {{ tag = \"torch{{{{value}}}}\", values = [\"2.8\"] }}\n{extra}");
    assert_eq!(names(&axes), "torch2.8 torch2.9");
}

#[test]
fn invalid_parts_of_tags_are_refused() {
    let axes = [
        "torch = { tag = \"torch{{valeu}}\", values = [\"2.8\"] }",
        "torch = { tag = \"torch{{value\", values = [\"2.8\"] }",
        "torch = { tag = \"torch {{value}}\", values = [\"2.8\"] }",
        "torch = { tag = \"{{value | nodots}}\", values = [\"2.8\"] }",
        "torch = { tag = \"{{list}}\", values = [{ value = \"2.8\", variables = { list = [1] } }] }",
        "torch = { tag = \"{{value}}\" }",
        "torch = { value = [\"2.8\"] }",
        "torch = { values = [] }",
        "torch = \"2.8\"",
    ];
    insta::assert_snapshot!(axes.map(|axes| error(&text(axes))).join("\n\n"));
}
