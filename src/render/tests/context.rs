//! The files of a context.

use super::{Project, paths};
use crate::error::Report;
use crate::render::{ContextFile, Renderer};

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
    // A file is in memory once, even if many variants copy it.
    assert!(std::sync::Arc::ptr_eq(&contexts[0].files[3].content, &contexts[1].files[3].content));
}

fn link(project: &Project, target: &str, path: &str) {
    std::os::unix::fs::symlink(target, project.folder().join(path)).expect("a link");
}

#[test]
fn links_are_copied_as_links() {
    let copied = |sources: &str| {
        let text = format!("FROM a\nCOPY {sources} /\n");
        let project = Project::new(&[
            ("Dockerfile.hbs", &text),
            ("d/file", "1"),
            ("d/e/x", "2"),
            ("rendered.hbs", "{{python}}"),
            (".dockerignore", "d/ignored\n"),
        ]);
        for (target, path) in [
            ("d/file", "near"),
            ("e", "d/folder"),
            ("d/folder/../e", "far"),
            ("/etc/passwd", "d/away"),
            ("/d/e", "absolute"),
            ("../../../../d/file", "above"),
            ("rendered", "template"),
            ("file", "d/ignored"),
            ("loop", "loop"),
        ] {
            link(&project, target, path);
        }
        let shown = |file: &ContextFile| {
            let target = file.is_link.then(|| String::from_utf8_lossy(&file.content).into_owned());
            target.map_or(file.path.clone(), |target| format!("{} -> {target}", file.path))
        };
        project.contexts()[0].files.iter().map(shown).collect::<Vec<_>>().join(", ")
    };
    // Within a folder, a link stays a link, wherever it points to.
    let folder = "d/away -> /etc/passwd, d/e/x, d/file, d/folder -> e";
    assert_eq!(copied("d"), folder);
    // A step follows the links in its sources. The root is that of the context.
    assert_eq!(copied("near"), "d/file, near -> d/file");
    assert_eq!(copied("d/folder/x"), "d/e/x, d/folder -> e");
    assert_eq!(copied("far"), "d/e/x, far -> d/folder/../e");
    assert_eq!(copied("absolute"), "absolute -> /d/e, d/e/x");
    assert_eq!(copied("above"), "above -> ../../../../d/file, d/file");
    assert_eq!(copied("template"), "rendered, template -> rendered");
    assert_eq!(copied("n*r"), "d/file, near -> d/file");
    assert_eq!(copied("loo?"), "loop -> loop");
    assert_eq!(copied("d/aw*"), "d/away -> /etc/passwd");
}

#[test]
fn links_without_a_target_and_sockets_are_refused() {
    let mut errors = Vec::new();
    for (source, target, path) in [
        ("link", "/etc/passwd", "link"),
        ("link/hostname", "/etc", "link"),
        ("link", "../../matrix.toml", "link"),
        ("link", "d/.env", "link"),
        ("link", "link", "link"),
        ("x", "/etc/passwd", "x.hbs"),
        ("d", "d/file", "d/y.hbs"),
    ] {
        let text = format!("FROM a\nCOPY {source} /\n");
        let project =
            Project::new(&[("Dockerfile.hbs", &text), ("d/file", ""), ("d/.env", "SECRET=1")]);
        link(&project, target, path);
        errors.push(project.error());
    }
    insta::assert_snapshot!(errors.join("\n\n"));
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY link /\n")]);
    let _socket = std::os::unix::net::UnixListener::bind(project.folder().join("link"));
    assert!(project.error().contains("`link` is neither a file nor a folder"));
}

#[test]
fn templates_are_no_links() {
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

    // The link was created after the matrix was read.
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
