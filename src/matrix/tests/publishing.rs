//! Registries, mirrored images, printed aliases, and names of matrices.

use super::{BASE, error, error_with, matrix, parsed, variant};

fn with_image(line: &str) -> String {
    BASE.trim_start().replace("[image]\n", &format!("[image]\n{line}\n"))
}

#[test]
fn registries_are_hosts_or_paths_in_them() {
    let hosts = |text: &str| {
        let matrix = parsed(&with_image(text));
        matrix.image.registries.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(hosts(""), "");
    assert_eq!(hosts("registry = \"ghcr.io\""), "ghcr.io");
    assert_eq!(hosts("registry = [\"docker.io\", \"ghcr.io\"]"), "docker.io ghcr.io");
    assert_eq!(hosts("registry = \"ghcr.io/acme/images\""), "ghcr.io/acme/images");
    let refused = [
        "[]",
        "[\"ghcr.io\", \"ghcr.io\"]",
        "[\"index.docker.io\", \"docker.io/acme\"]",
        "[\"acme/images\"]",
        "\"ghcr.io/Acme\"",
        "5",
    ];
    let refused = refused.map(|hosts| error(&with_image(&format!("registry = {hosts}"))));
    insta::assert_snapshot!(refused.join("\n"));
    insta::assert_snapshot!(error(&with_image("registry = [\"https://ghcr.io\"]")));
}

#[test]
fn the_last_table_determines_whether_an_image_is_mirrored() {
    let matrix = matrix(
        r#"
[[set]]
when = { python = ["3.9", "3.10"] }
mirror = "vendor/{{job_type}}:{{python}}"
[[set]]
when = { python = "3.9", gpu = true }
dockerfile = "Dockerfile.hbs"
"#,
    );
    let mirrored = matrix.variants.iter().filter_map(|variant| {
        let image = matrix.mirror(variant)?.fill(|name| matrix.name_part(variant, name));
        Some(format!("{}: {image}", variant.id))
    });
    insta::assert_snapshot!(mirrored.collect::<Vec<_>>().join("\n"), @r"
    3.9-server: vendor/server:3.9
    3.9-training: vendor/training:3.9
    3.10-server: vendor/server:3.10
    3.10-training: vendor/training:3.10
    3.10-gpu-server: vendor/server:3.10
    3.10-gpu-training: vendor/training:3.10
    ");
}

#[test]
fn settings_of_builds_are_refused_with_a_mirror() {
    let set = |more: &str| {
        error_with(&format!("[[set]]\nwhen = {{ gpu = true }}\nmirror = \"a/b:1\"\n{more}\n"))
    };
    let keys = ["dockerfile = \"a\"", "labels = { a = \"b\" }", "platforms = [\"linux/arm64\"]"];
    insta::assert_snapshot!(keys.map(set).join("\n"));
}

#[test]
fn alias_commands_apply_to_the_images_of_their_condition() {
    let text =
        "[[alias]]\nrun = \"python -V | cut -d' ' -f2 # {{python}}\"\nwhen = { gpu = true }\n";
    let matrix = matrix(text);
    let commands = |id: &str| Vec::from_iter(matrix.printed_aliases(variant(&matrix, id)).commands);
    assert_eq!(commands("3.9-server"), [""; 0]);
    assert_eq!(commands("3.9-gpu-server"), ["python -V | cut -d' ' -f2 # 3.9"]);
    let refused = [
        "run = \"\"",
        "run = \"{{pyhton}}\"",
        "run = [\"a\"]",
        "when = { gpu = true }",
        "run = \"x\"\ntag = \"{{variant}}\"",
        "run = \"x\"\ntag = \"\"",
        "run = \"x\"\ntag = \"{{outptu}}\"",
        "run = \"x\"\ntag = \"{{output}}{{cuda}}\"",
        "run = \"x\"\nmoved_by = []",
        "run = \"{{output}}\"",
    ];
    insta::assert_snapshot!(
        refused.map(|keys| error_with(&format!("[[alias]]\n{keys}\n"))).join("\n")
    );
    let unused = "[[exclude]]\nwhen = { gpu = true }\nreason = \"none\"\n[[alias]]\nrun = \"x\"\nwhen = { gpu = true }\n";
    insta::assert_snapshot!(error_with(unused));
}

#[test]
fn names_of_a_matrix_have_no_dashes() {
    assert!(matrix("[publish]\nname = \"gpu_2.x\"\n").publish.name.is_some());
    let refused = ["", "a-b", &"x".repeat(33)]
        .map(|name| error_with(&format!("[publish]\nname = \"{name}\"\n")));
    insta::assert_snapshot!(refused.join("\n"));
}

#[test]
fn the_place_of_a_product_is_checked_like_others() {
    let text = "[version]\nfile = \"a\"\n[version.follows]\nfile = \"p.toml\"\nkey = \"a\"\nconstant = \"B\"\n";
    insta::assert_snapshot!(error_with(text));
}
