//! `basegen export bake`: the file for bake, and the contexts that it names.

use insta_cmd::assert_cmd_snapshot;

use crate::harness::project::{Project, stdout};

/// Exports to a folder and returns the file that bake reads.
fn exported(project: &Project, arguments: &str) -> String {
    stdout(project.basegen(&format!("export bake -o exported {arguments}")));
    fs_err::read_to_string(project.path().join("exported/docker-bake.json")).expect("a file")
}

#[test]
fn the_file_contains_all_properties_of_an_image() {
    let project = Project::new();
    insta::assert_snapshot!(exported(&project, "--offline --python 3.11 --gpu"));
    let file = exported(&project, "--offline");
    assert_eq!(file.matches("\"acme/").count(), 12, "version tags and aliases");
}

#[test]
fn writes_contexts_next_to_the_file() {
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
    // New contexts do not replace old ones, and the command reports those that are no longer used.
    project.write("dockerfiles/server.txt", "another\n");
    assert_cmd_snapshot!(project.basegen("export bake --offline -o baked"));
    assert_eq!(files().len(), 3);
}

#[test]
fn rejects_a_copied_dockerignore() {
    let project = Project::new();
    project.write("dockerfiles/.dockerignore", "*.md\n");
    project.write(
        "dockerfiles/Dockerfile.hbs",
        "FROM a\nCOPY .dockerignore {{job_type}}.txt /{{python}}{{gpu}}/\n",
    );
    assert_cmd_snapshot!(project.basegen("export bake --offline -o baked"));
}

#[test]
fn exports_secrets_except_missing_optional_ones() {
    let project = Project::new();
    let matrix = fs_err::read_to_string(project.path().join("matrix.toml")).expect("the matrix");
    project.write("matrix.toml", &format!("{matrix}\n[build]\nca_certificates = \"auto\"\n[build.secrets]\ntoken = {{ env = \"TOKEN\" }}\nnetrc = {{ file = \"netrc\", optional = true }}\n"));
    project.write("dockerfiles/Dockerfile.hbs", "FROM a\nRUN --mount=type=secret,id=token --mount=type=secret,id=netrc --mount=type=secret,id=ca_certificates echo {{python}} {{gpu}} {{job_type}}\n");
    let arguments = "--offline --python 3.9 --job-type server";
    let mut command = project.basegen(&format!("export bake -o exported {arguments}"));
    command.env("TOKEN", "canary").env("SSL_CERT_FILE", "/etc/certificates.pem");
    assert_cmd_snapshot!(command);
    let path = project.path().join("exported/docker-bake.json");
    insta::assert_snapshot!(fs_err::read_to_string(path).expect("a file"));
    project.write("netrc", "");
    let file = exported(&project, arguments);
    assert!(file.contains("\"id=netrc,src=/") && file.contains("/netrc\""), "{file}");
    assert!(!file.contains("ca_certificates,"), "{file}");
}
