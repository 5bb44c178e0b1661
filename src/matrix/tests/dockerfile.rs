//! The settings of Dockerfiles.

use super::error_with;
use super::{BASE, error};

#[test]
fn faults_in_settings_of_dockerfiles_have_a_place() {
    let image =
        |keys: &str| error(&BASE.trim_start().replace("[axes]", &format!("{keys}\n[axes]")));
    insta::assert_snapshot!(
        [
            image("args = { TOKEN = \"ghp_16C7e42F292c6912E7710c838347Ae178B4a\" }"),
            image("args = { INDEX = \"https://me:hunter2@example.org/simple\" }"),
            image("args = { \"A B\" = \"x\" }"),
            image("args = { A = \"{{pyton}}\" }"),
            image("context = \"/etc\""),
            image("context = \"../../../../../../../../../../..\""),
            image("dockerignore = 3"),
            error_with("[build.contexts]\nScripts = \"x\"\n"),
            error_with("[build.contexts]\nscripts = \"https://example.org/x.git\"\n"),
        ]
        .join("\n\n")
    );
}
