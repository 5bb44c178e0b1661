//! The examples of the platforms' documents, section by section.
//!
//! A file is named after its document, and a test after its section. [`Import`] runs `basegen init --from` on an example.

mod baseten_private_registries;
mod truss_base_images;

use std::process::Command;

use crate::harness::project::{basegen, stdout};

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

    /// Imports a file of the example. Returns the text of the new matrix.
    fn matrix(&self, file: &str) -> String {
        stdout(self.command(&format!("init new --from app/{file}")));
        stdout(self.command("plan --offline -f new/matrix.toml"));
        fs_err::read_to_string(self.folder.path().join("new/matrix.toml")).expect("a matrix")
    }
}
