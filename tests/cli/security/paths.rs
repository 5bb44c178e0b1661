//! Paths and links that leave the repository. basegen does not read or write files there.

use std::fmt::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::harness::project::{MATRIX, Project, stdout};

/// A repository with a matrix, and a folder outside of it.
struct HostileRepository {
    project: Project,
    outside: tempfile::TempDir,
}

impl HostileRepository {
    fn new() -> Self {
        let project = Project::new();
        fs_err::create_dir(project.path().join(".git")).expect("a folder");
        fs_err::write(project.path().join(".git/config"), "v1.2.3\n").expect("a file");
        let hostile = Self { project, outside: tempfile::tempdir().expect("a folder") };
        hostile.put("dockerfiles/Dockerfile.hbs", "FROM secret\n");
        hostile.put("VERSION", "v1.2.3\n");
        hostile.put("Cargo.lock", "version = 4\n");
        hostile.put("basegen.lock", "secret = 1\n");
        hostile.put("README.md", "secret\n<!-- images: -->\n<!-- end of images -->\n");
        hostile.put("netrc", "secret\n");
        hostile
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.outside.path().join(path);
        fs_err::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs_err::write(path, text).expect("a file");
    }

    /// Writes a matrix with `keys`, which can contain another `[version]`.
    fn matrix(&self, keys: &str) {
        let version = "[version]\nfile = \"VERSION\"\n";
        let matrix = if keys.contains("[version]") {
            MATRIX.replace(version, "")
        } else {
            MATRIX.to_owned()
        };
        self.project.write("matrix.toml", &format!("{matrix}\n{keys}\n"));
    }

    /// Replaces `path` in the repository by a link to `target` in the folder outside.
    fn link(&self, path: &str, target: &str) {
        let path = self.project.path().join(path);
        if path.is_dir() {
            fs_err::remove_dir_all(&path).expect("removed");
        } else if path.exists() {
            fs_err::remove_file(&path).expect("removed");
        }
        symlink(self.outside.path().join(target), path).expect("a link");
    }

    /// Returns the exit code and the output of a command.
    fn run(&self, arguments: &str) -> String {
        let arguments = arguments.replace("OUTSIDE", &self.outside.path().display().to_string());
        let output = self.project.basegen(&arguments).output().expect("the command runs");
        let real = fs_err::canonicalize(self.outside.path()).expect("a path");
        let printed = String::from_utf8_lossy(&output.stderr);
        let printed = printed.replace(&*real.to_string_lossy(), "/outside");
        let real = fs_err::canonicalize(self.project.path()).expect("a path");
        let printed = printed.replace(&*real.to_string_lossy(), "/repository");
        assert!(!printed.contains("secret\n"), "{printed}");
        format!("{}: {printed}", output.status.code().expect("a code"))
    }

    /// Returns the files outside and in the git directory, with their contents.
    fn protected_files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        collect(self.outside.path(), &mut files);
        collect(&self.project.path().join(".git"), &mut files);
        files.sort();
        files
    }
}

fn collect(folder: &Path, files: &mut Vec<(PathBuf, Vec<u8>)>) {
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push((path.clone(), fs_err::read(path).expect("a file")));
        }
    }
}

#[test]
fn rejects_links_out_of_the_repository() {
    let mut all = String::new();
    let mut reject = |what: &str, command: &str, prepare: &dyn Fn(&HostileRepository)| {
        let hostile = HostileRepository::new();
        prepare(&hostile);
        let before = hostile.protected_files();
        let printed = hostile.run(command);
        assert_eq!(hostile.protected_files(), before, "{what}");
        writeln!(all, "{what}\n{printed}").expect("a string");
    };
    reject("templates", "check --offline --fix", &|hostile| {
        hostile.link("dockerfiles", "dockerfiles");
    });
    reject("rendered", "check --offline --fix", &|hostile| {
        hostile.matrix("[generated]\nrendered = \"rendered\"");
        hostile.link("rendered", "");
    });
    reject("rendered, a link above", "check --offline --fix", &|hostile| {
        hostile.matrix("[generated]\nrendered = \"link/new\"");
        hostile.link("link", "");
    });
    reject("rendered, in the git directory", "check --offline --fix", &|hostile| {
        hostile.matrix("[generated]\nrendered = \".git/hooks\"");
    });
    reject("readme", "check --offline --fix", &|hostile| {
        hostile.matrix("[generated]\nreadme = \"README.md\"");
        hostile.link("README.md", "README.md");
    });
    reject("version", "bump minor", &|hostile| hostile.link("VERSION", "VERSION"));
    reject("version, in the git directory", "bump minor", &|hostile| {
        hostile.matrix("[version]\nfile = \".git/config\"");
    });
    reject("another place of the version", "bump minor", &|hostile| {
        hostile.matrix("[[version.also]]\nfile = \"other\"");
        hostile.link("other", "VERSION");
    });
    reject("a file that does not exist", "bump minor", &|hostile| {
        hostile.matrix("[version]\nfile = \"new\"");
        hostile.link("new", "new");
    });
    reject("lock", "check --offline --fix", &|hostile| {
        hostile.link("basegen.lock", "basegen.lock");
    });
    reject("Cargo.lock", "bump minor", &|hostile| {
        hostile.matrix("[version]\nfile = \"Cargo.toml\"\nkey = \"package.version\"");
        hostile.project.write("Cargo.toml", "[package]\nname = \"a\"\nversion = \"1.2.3\"\n");
        hostile.link("Cargo.lock", "Cargo.lock");
    });
    reject("schema", "check --offline --fix", &|hostile| {
        hostile.project.write("matrix.toml", &format!("#:schema link/schema.json\n{MATRIX}"));
        hostile.link("link", "");
    });
    reject("schema beside the matrix", "check --offline --fix", &|hostile| {
        hostile.link("matrix.schema.json", "netrc");
    });
    reject("matrix", "plan --offline", &|hostile| hostile.link("matrix.toml", "netrc"));
    insta::assert_snapshot!(all);
}

#[test]
fn rejects_relative_and_absolute_paths_out_of_the_repository() {
    let hostile = HostileRepository::new();
    let outside = hostile.outside.path().display().to_string();
    let real = fs_err::canonicalize(hostile.outside.path()).expect("a path");
    let mut all = String::new();
    for keys in [
        "[version]\nfile = \"../up\"".to_owned(),
        "[generated]\nreadme = \"/etc/hostname\"".to_owned(),
        "[generated]\nrendered = \"../up\"".to_owned(),
        "[build.secrets]\nnetrc = { file = \"../up\" }".to_owned(),
        format!("[build.secrets]\nnetrc = {{ file = \"{outside}/netrc\" }}"),
        format!("[build]\nca_certificates = \"{outside}/netrc\""),
        format!("[build.secrets]\nnetrc = {{ file = \"{outside}/gone\", optional = true }}"),
    ] {
        hostile.matrix(&keys);
        let up = fs_err::canonicalize(hostile.project.path()).expect("a path");
        let up = up.parent().expect("a folder").display().to_string();
        let printed = hostile
            .run("export bake --offline -o out")
            .replace(&*real.to_string_lossy(), "/outside");
        all += &printed.replace(&outside, "/outside").replace(&format!("{up}/up"), "/up");
        assert!(!hostile.project.path().join("out").exists(), "{keys}");
    }
    // The number of marks depends on the length of the path of the temporary folder.
    while all.contains("^^") {
        all = all.replace("^^", "^");
    }
    insta::assert_snapshot!(all);
}

#[test]
fn secrets_outside_of_the_repository_need_an_exception() {
    let hostile = HostileRepository::new();
    hostile.matrix("[build.secrets]\nnetrc = { file = \"netrc\" }");
    hostile.link("netrc", "netrc");
    insta::assert_snapshot!(hostile.run("export bake --offline -o out"));
    for allowed in ["fs.read=OUTSIDE/netrc", "fs=OUTSIDE", "fs.read=*"] {
        let printed = hostile.run(&format!("--allow {allowed} export bake --offline -o out"));
        assert!(printed.starts_with("0: "), "{printed}");
    }
    for allowed in ["fs.write=OUTSIDE", "fs.read=OUTSIDE/net"] {
        let printed = hostile.run(&format!("export bake --offline -o out --allow {allowed}"));
        assert!(printed.starts_with("3: "), "{printed}");
    }
    insta::assert_snapshot!(hostile.run("plan --offline --allow read=x"));
}

#[test]
fn writing_needs_an_exception_of_its_own() {
    let hostile = HostileRepository::new();
    hostile.matrix("[generated]\nrendered = \"rendered\"\n[[version.also]]\nfile = \"other\"");
    hostile.link("rendered", "rendered");
    hostile.link("other", "VERSION");
    let before = hostile.protected_files();
    let read = "--allow fs.read=OUTSIDE";
    insta::assert_snapshot!(hostile.run(&format!("check --offline --fix {read}")));
    insta::assert_snapshot!(hostile.run(&format!("bump minor {read}")));
    assert_eq!(hostile.protected_files(), before);
    let printed =
        hostile.run(&format!("check --offline --fix {read} --allow fs.write=OUTSIDE/rendered"));
    assert!(printed.starts_with("0: "), "{printed}");
    let printed = hostile.run("bump minor --allow fs=OUTSIDE");
    assert!(printed.starts_with("0: "), "{printed}");
    let version = fs_err::read_to_string(hostile.outside.path().join("VERSION"));
    assert_eq!(version.expect("the version"), "v1.3.0\n");
}

#[test]
fn follows_links_within_the_repository() {
    let hostile = HostileRepository::new();
    let path = |path: &str| hostile.project.path().join(path);
    hostile
        .project
        .write("images/matrix.toml", &format!("{MATRIX}\n[generated]\nrendered = \"rendered\"\n"));
    fs_err::create_dir(path("out")).expect("a folder");
    for (target, link) in
        [("../dockerfiles", "dockerfiles"), ("../out", "rendered"), ("../VERSION", "VERSION")]
    {
        symlink(target, path("images").join(link)).expect("a link");
    }
    stdout(hostile.project.basegen("check --offline --fix -f images/matrix.toml"));
    stdout(hostile.project.basegen("bump minor -f images/matrix.toml"));
    assert!(path("out/3.9-server/Dockerfile").exists());
    assert_eq!(fs_err::read_to_string(path("VERSION")).expect("a version"), "v1.3.0\n");
}
