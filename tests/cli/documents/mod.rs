//! The examples of the platforms' documents, section by section.
//!
//! A file is named after its document, and a test after its section. [`Import`] runs `basegen init --from` on an example.

mod baseten_custom_containers;
mod baseten_private_registries;
mod cerebrium_container_images;
mod coverage;
mod fal_custom_container_image;
mod truss_base_images;

use std::process::Command;

use serde_json::Value;

use crate::harness::project::{Project, basegen, stdout};

/// The beginnings of the tables that each new matrix has.
const GENERATED: [&str; 4] =
    ["#:schema", "# Checks that run", "# The version in", "# For networks that"];

/// A folder with the files of an example.
struct Import {
    folder: tempfile::TempDir,
}

impl Import {
    /// Writes the files of an example into the folder `app`.
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let import = Self { folder };
        for (path, text) in files {
            import.write(&format!("app/{path}"), text);
        }
        import
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }

    fn command(&self, arguments: &str) -> Command {
        let mut command = basegen(arguments);
        command.current_dir(self.folder.path());
        command
    }

    /// Imports a file of the example into the folder `new`. Returns what basegen prints.
    fn init(&self, file: &str) -> String {
        stdout(self.command(&format!("init new --from app/{file}")))
    }

    /// Returns the text of the new matrix.
    fn matrix(&self) -> String {
        fs_err::read_to_string(self.folder.path().join("new/matrix.toml")).expect("a matrix")
    }

    /// Imports a file of the example. Returns the imported and the left out keys, what the new matrix has of the image, and
    /// its Dockerfiles, of several Python versions only that of 3.11. The new repository must pass `basegen check`.
    fn imported(&self, file: &str) -> String {
        let printed = self.init(file);
        let lists = printed.split_once("\n\n").map_or("", |(_, lists)| lists);
        let lists = lists.split("\nnext:").next().unwrap_or_default().trim();
        stdout(self.command("check --offline -f new/matrix.toml"));
        let matrix = self.matrix();
        let tables = matrix
            .split("\n\n")
            .filter(|table| !GENERATED.iter().any(|begin| table.starts_with(begin)));
        let tables = tables.collect::<Vec<_>>().join("\n\n");
        let python = if matrix.contains("\"3.11\"") { "--python 3.11" } else { "" };
        let dockerfiles = stdout(self.command(&format!("render {python} -f new/matrix.toml")));
        format!(
            "{lists}\n\n##### matrix.toml\n{}\n\n##### Dockerfile\n{dockerfiles}",
            tables.trim()
        )
    }
}

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
