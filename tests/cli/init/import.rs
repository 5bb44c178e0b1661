//! Imports a file with `basegen init --from`, and shows what becomes of it.

use std::path::Path;
use std::process::Command;

use crate::harness::project::{basegen, stdout, write};

/// The beginnings of the tables that each new matrix has.
const GENERATED: [&str; 4] =
    ["#:schema", "# Checks that run", "# The version in", "# For networks that"];

/// A folder with the files of an example.
pub(crate) struct Import {
    folder: tempfile::TempDir,
}

impl Import {
    /// Writes the files of an example into the folder `app`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let import = Self { folder };
        for (path, text) in files {
            import.write(&format!("app/{path}"), text);
        }
        import
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        write(self.folder(), path, text);
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = basegen(arguments);
        command.current_dir(self.folder());
        command
    }

    /// Imports a file of the example into the folder `new`. Returns what basegen prints.
    pub(crate) fn init(&self, file: &str) -> String {
        stdout(self.command(&format!("init new --from app/{file}")))
    }

    /// Returns the text of the new matrix.
    pub(crate) fn matrix(&self) -> String {
        fs_err::read_to_string(self.folder().join("new/matrix.toml")).expect("a matrix")
    }

    /// Imports a file of the example. Returns the imported and the left out keys, what the new matrix has of the image, and
    /// its Dockerfiles, of several Python versions only that of 3.11. The new repository must pass `basegen check`.
    pub(crate) fn imported(&self, file: &str) -> String {
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
