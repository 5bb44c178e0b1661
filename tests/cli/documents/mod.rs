//! The examples of the platforms' documents, section by section.
//!
//! A file is named after its document, and a test after its section.

mod baseten_custom_containers;
mod baseten_private_registries;
mod cerebrium_container_images;
mod coverage;
mod fal_custom_container_image;
mod truss_base_images;

use serde_json::Value;

use crate::harness::project::Project;

/// Returns the rules of a contract that an image breaks. `settings` are those of the image in the matrix file.
fn broken_rules(contract: &str, settings: &str) -> Vec<String> {
    let project = Project::new();
    project.write(
        "matrix.toml",
        &format!(
            "[image]\nrepository = \"acme/base\"\ncontracts = [\"{contract}\"]\n{settings}\n\
             [axes]\nimage = [\"a\"]\n[version]\nfile = \"VERSION\"\n"
        ),
    );
    let printed =
        project.basegen("check --offline --format json").output().expect("the command runs");
    let errors = String::from_utf8_lossy(&printed.stderr);
    let result: Value = serde_json::from_slice(&printed.stdout).expect(&errors);
    let findings = result["findings"].as_array().expect("findings");
    findings.iter().filter_map(|finding| finding["rule"].as_str().map(str::to_owned)).collect()
}
