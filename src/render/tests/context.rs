//! The files of a context.

use super::{Project, paths};
use crate::error::Report;
use crate::render::Renderer;

#[test]
fn the_context_contains_only_copied_files() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM a\nCOPY one dir/ /\n{{#if gpu}}COPY wheels.txt /{{/if}}\nCOPY *.cfg /\n",
        ),
        ("one", "1"),
        ("two", "2"),
        ("a.cfg", ""),
        ("dir/deep/x", "x"),
        ("dir/run.sh", "#!/bin/sh"),
        ("wheels.txt.hbs", "cuda {{cuda}}\n"),
    ]);
    let contexts = project.contexts();
    assert_eq!(paths(&contexts[0]), ["a.cfg", "dir/deep/x", "dir/run.sh", "one"]);
    assert_eq!(paths(&contexts[1]), ["a.cfg", "dir/deep/x", "dir/run.sh", "one", "wheels.txt"]);
    assert_eq!(&*contexts[1].files[4].content, b"cuda 12.8\n");
    // The same file is in memory once, however many variants copy it.
    assert!(std::sync::Arc::ptr_eq(&contexts[0].files[3].content, &contexts[1].files[3].content));
}

#[test]
fn links_and_sockets_are_refused() {
    let link = |project: &Project, target: &str, path: &str| {
        std::os::unix::fs::symlink(target, project.folder().join(path)).expect("a link");
    };
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY link /\n")]);
    link(&project, "/etc/passwd", "link");
    assert!(project.error().contains("`link` is a symbolic link"), "{}", project.error());
    fs_err::remove_file(project.folder().join("link")).expect("removed");
    let _socket = std::os::unix::net::UnixListener::bind(project.folder().join("link"));
    assert!(project.error().contains("`link` is neither a file nor a folder"));

    // Folders that lead out, by name, as a template, in a folder and for a pattern.
    for (source, path) in [
        ("lnk/hostname", "lnk"),
        ("lnk/hostname", "lnk/x"),
        ("d", "d/lnk"),
        ("x", "x.hbs"),
        ("d/*", "d/lnk"),
    ] {
        let text = format!("FROM a\nCOPY {source} /\n");
        let project = Project::new(&[("Dockerfile.hbs", &text), ("d/file", "")]);
        let path = if path == "lnk/x" { "lnk" } else { path };
        link(&project, "/etc", path);
        let expected = format!("`{path}` is a symbolic link");
        assert!(project.error().contains(&expected), "{source}: {}", project.error());
    }

    let project = Project::new(&[("x", "")]);
    link(&project, "/etc/hostname", "Dockerfile.hbs");
    insta::assert_snapshot!(project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n"), ("partials/x.hbs", "")]);
    link(&project, "/etc/hostname", "partials/y.hbs");
    insta::assert_snapshot!(project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n")]);
    link(&project, "/etc", "partials");
    insta::assert_snapshot!(project.error());
}

#[test]
fn the_templates_folder_can_be_a_link_within_the_repository() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d/x /\n"), ("d/x", "")]);
    let elsewhere = project.0.path().join("elsewhere");
    fs_err::rename(project.folder(), &elsewhere).expect("moved");
    std::os::unix::fs::symlink(&elsewhere, project.folder()).expect("a link");
    assert_eq!(paths(&project.contexts()[0]), ["d/x"]);

    // A link that comes after the matrix was read is seen too.
    let matrix = project.matrix();
    let outside = tempfile::tempdir().expect("a folder");
    fs_err::remove_file(project.folder()).expect("removed");
    std::os::unix::fs::symlink(outside.path(), project.folder()).expect("a link");
    let error = Renderer::new(&matrix).expect_err("a link").to_string();
    assert!(error.contains("leads out of the repository"), "{error}");
}

#[test]
fn git_and_env_files_are_in_no_context() {
    let open = [("Dockerfile.hbs", "FROM a\nCOPY . /\n"), ("d/x", ""), (".environment", "")];
    let private = [
        (".env", "TOKEN=1"),
        (".env.local", "TOKEN=1"),
        (".env.hbs/x", ""),
        (".envrc", ""),
        ("d/.env", "TOKEN=1"),
        ("d/.git/config", "TOKEN=1"),
        (".git", "gitdir: x"),
    ];
    let project = Project::new(&[open.as_slice(), &private].concat());
    let without = Project::new(&open).contexts();
    for (context, without) in project.contexts().iter().zip(&without) {
        let same = (&context.dockerfile, &context.files);
        assert_eq!(same, (&without.dockerfile, &without.files));
    }
    assert_eq!(paths(&project.contexts()[0]), [".environment", "d/x"]);
    let matrix = project.matrix();
    let mut renderer = Renderer::new(&matrix).expect("templates");
    renderer.render_all(&matrix.variants.iter().collect::<Vec<_>>()).expect("contexts");
    let left_out = renderer.left_out().into_iter().collect::<Vec<_>>();
    assert_eq!(left_out, [".env", ".env.hbs", ".env.local", ".envrc", ".git", "d/.env", "d/.git"]);

    let named = [
        "COPY .env /",
        "COPY d/.git/config /",
        "ADD [\".env.local\", \"/\"]",
        "COPY .env* /",
        "RUN --mount=type=bind,source=.env,target=/x true",
    ];
    let errors = named.map(|line| {
        let dockerfile = format!("FROM a\n{line}\n");
        let files = [("Dockerfile.hbs", dockerfile.as_str()), (".env", ""), ("x", "")];
        let mut files = files.to_vec();
        files.extend(private.iter().skip(1).copied());
        Project::new(&files).error()
    });
    insta::assert_snapshot!(errors.join("\n"));
}

#[test]
fn the_name_of_the_rendered_dockerfile_is_reserved() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY Dockerfile /\n")]);
    insta::assert_snapshot!(project.error());
    let project =
        Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY . /\n"), ("Dockerfile/x", "a file")]);
    assert!(project.error().contains("`Dockerfile` is reserved"), "{}", project.error());
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d /\n"), ("d/Dockerfile", "")]);
    assert_eq!(paths(&project.contexts()[0]), ["d/Dockerfile"]);
}

#[test]
fn templates_are_copied_without_their_extension() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY x.hbs /\n"), ("x.hbs", "")]);
    insta::assert_snapshot!(project.error());
    let both = [("Dockerfile.hbs", "FROM a\nCOPY x /\n"), ("x", ""), ("x.hbs", "")];
    insta::assert_snapshot!(Project::new(&both).error());
}

#[test]
fn a_copied_folder_excludes_partials_and_dockerfiles() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\nCOPY . /\n"),
        ("partials/x.hbs", ""),
        ("d/my.Dockerfile.hbs", "FROM {{python}}\n"),
        ("d/partials/y", ""),
    ]);
    let contexts = project.contexts();
    assert_eq!(paths(&contexts[0]), ["d/my.Dockerfile", "d/partials/y"]);
    assert_eq!(&*contexts[0].files[0].content, b"FROM 3.9\n");
}

#[test]
fn a_wildcard_that_matches_a_folder_includes_its_files() {
    let project = Project::new(&[
        ("Dockerfile.hbs", "FROM a\nCOPY d* /\n"),
        ("d1/deep/x", ""),
        ("d2", ""),
        ("e/d3", ""),
    ]);
    assert_eq!(paths(&project.contexts()[0]), ["d1/deep/x", "d2"]);
}

#[test]
fn unreadable_files_are_named() {
    let project = Project::new(&[("Dockerfile.hbs", "")]);
    fs_err::write(project.folder().join("Dockerfile.hbs"), b"FROM a\n\xff\n").expect("a file");
    insta::assert_snapshot!(project.error());
    let code = Report::from(project.render().expect_err("a mistake")).exit_code();
    assert_eq!(code, crate::error::ExitCode::Matrix);
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n"), ("partials/x.hbs/y", "")]);
    insta::assert_snapshot!(project.error());
}

#[test]
fn large_contexts_name_their_largest_files() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY d /\n"), ("d/small", "x")]);
    let large = fs_err::File::create(project.folder().join("d/large")).expect("a file");
    large.set_len(65 << 20).expect("a size");
    let error = project.error();
    assert!(error.contains("larger than 64 MiB") && error.contains("d/large (65 MiB)"), "{error}");
}
