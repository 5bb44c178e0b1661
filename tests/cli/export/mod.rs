use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, stdout};

#[test]
fn bake_is_told_all_of_an_image() {
    let project = Project::new();
    assert_cmd_snapshot!(project.basegen("export bake --offline --python 3.11 --gpu"));
    let file = stdout(project.basegen("export bake --offline"));
    assert_eq!(file.matches("\"acme/").count(), 12, "each version tag and each alias");
}

#[test]
fn what_bake_needs_is_written_beside_its_file() {
    let project = Project::new();
    assert_cmd_snapshot!(project.basegen("export bake --offline -o baked"));
    let read = |path: &std::path::Path| fs_err::read_to_string(path).expect("a file");
    let contexts = project.path().join("baked/contexts");
    let files = || -> Vec<String> {
        let folders =
            fs_err::read_dir(&contexts).expect("contexts").map(|entry| entry.expect("an entry"));
        folders
            .flat_map(|folder| fs_err::read_dir(folder.path()).expect("files"))
            .map(|file| read(&file.expect("a file").path()))
            .collect()
    };
    let mut found = files();
    found.sort();
    assert_eq!(found, ["server\n", "training\n"]);
    // What is written anew stands beside what is used no more, which is told.
    project.write("dockerfiles/server.txt", "another\n");
    assert_cmd_snapshot!(project.basegen("export bake --offline -o baked"));
    assert_eq!(files().len(), 3);
}

#[test]
fn a_context_that_is_no_folder_of_the_repository_needs_a_folder_of_its_own() {
    let project = Project::new();
    let rename = |from: &str, to: &str| {
        fs_err::rename(project.path().join(from), project.path().join(to)).expect("renamed");
    };
    rename("dockerfiles/server.txt", "dockerfiles/server.txt.hbs");
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
    stdout(project.basegen("export bake --offline -o baked"));
    rename("dockerfiles/server.txt.hbs", "dockerfiles/server.txt");
    project.write("dockerfiles/.dockerignore", "*\n");
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
    rename("dockerfiles/.dockerignore", "dockerfiles/ignored");
    project.write(
        "dockerfiles/Dockerfile.hbs",
        "FROM a\nCOPY . /\nCOPY {{job_type}}.txt /{{python}}{{gpu}}\n",
    );
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
}

#[test]
fn empty_folders_would_be_copied_by_bake_alone() {
    let project = Project::new();
    project.write("dockerfiles/data/file", "");
    project
        .write("dockerfiles/Dockerfile.hbs", "FROM a\nCOPY data /{{python}}{{gpu}}{{job_type}}\n");
    stdout(project.basegen("export bake --offline"));
    fs_err::create_dir_all(project.path().join("dockerfiles/data/empty")).expect("a folder");
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
    stdout(project.basegen("export bake --offline -o baked"));
    // Nothing that basegen sends is not yet nothing that bake copies.
    project.write("dockerfiles/Dockerfile.hbs", "FROM a\nCOPY . /{{python}}{{gpu}}{{job_type}}\n");
    for path in ["data", "server.txt", "training.txt"] {
        let path = project.path().join("dockerfiles").join(path);
        if path.is_dir() { fs_err::remove_dir_all(path) } else { fs_err::remove_file(path) }
            .expect("removed");
    }
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
}

#[test]
fn a_mode_that_an_image_would_have_otherwise_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = Project::new();
    let path = project.path().join("dockerfiles/server.txt");
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_cmd_snapshot!(project.basegen("export bake --offline"));
}

#[test]
fn a_copied_ignore_file_is_refused() {
    let project = Project::new();
    project.write("dockerfiles/.dockerignore", "*\n");
    project.write(
        "dockerfiles/Dockerfile.hbs",
        "FROM a\nCOPY .dockerignore {{job_type}}.txt /{{python}}{{gpu}}/\n",
    );
    assert_cmd_snapshot!(project.basegen("export bake --offline -o baked"));
}

#[test]
fn secrets_are_named_and_what_may_be_missing_is_left_out() {
    let project = Project::new();
    let matrix = fs_err::read_to_string(project.path().join("matrix.toml")).expect("the matrix");
    project.write("matrix.toml", &format!("{matrix}\n[build]\nca_certificates = \"auto\"\n[build.secrets]\ntoken = {{ env = \"TOKEN\" }}\nnetrc = {{ file = \"netrc\", optional = true }}\n"));
    project.write("dockerfiles/Dockerfile.hbs", "FROM a\nRUN --mount=type=secret,id=token --mount=type=secret,id=netrc --mount=type=secret,id=ca_certificates echo {{python}} {{gpu}} {{job_type}}\n");
    let mut command = project.basegen("export bake --offline --python 3.9 --job-type server");
    command.env("TOKEN", "canary").env("SSL_CERT_FILE", "/etc/certificates.pem");
    assert_cmd_snapshot!(command);
    project.write("netrc", "");
    let file = stdout(project.basegen("export bake --offline --python 3.9 --job-type server"));
    assert!(file.contains("\"id=netrc,src=netrc\""), "{file}");
    assert!(!file.contains("ca_certificates,"), "{file}");
}
