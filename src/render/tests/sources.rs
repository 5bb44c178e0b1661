//! Sources of `COPY` and `ADD`.

use super::{Project, paths};

#[test]
fn wildcards_match_like_docker() {
    let files = [("a.txt", ""), ("b.txt", ""), ("!.txt", ""), ("c", "")];
    for (source, expected) in [
        ("./[^a]*.txt", &["!.txt", "b.txt"][..]),
        ("[!a]*.txt", &["!.txt", "a.txt"]),
        ("[a-b]*.txt", &["a.txt", "b.txt"]),
        ("'a.txt' \"b\".txt", &["a.txt", "b.txt"]),
    ] {
        let text = format!("FROM a\nCOPY {source} /x/\n");
        let project = Project::new(&[&[("Dockerfile.hbs", &*text)], &files[..]].concat());
        assert_eq!(paths(&project.contexts()[0]), expected, "{source}");
    }
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY [a *.txt /\n"), ("a.txt", "")]);
    insta::assert_snapshot!(project.error());
}

#[test]
fn a_folder_without_files_is_refused() {
    let copying = |source: &str| {
        let text = format!("FROM a\nCOPY {source} /\n");
        let project = Project::new(&[("Dockerfile.hbs", &text), ("d/x", "")]);
        fs_err::create_dir_all(project.folder().join("d/empty/deep")).expect("a folder");
        project
    };
    insta::assert_snapshot!(copying("d/empty").error(), @r"
    error: failed to render `3.9`: the folder `d/empty` contains no files to copy
     --> dockerfiles/Dockerfile.hbs:2:1
      |
    2 | COPY d/empty /
      | ^^^^^^^^^^^^^^
    ");
    assert!(copying("d/empt*").error().contains("no file matches `d/empt*`"));
    assert_eq!(paths(&copying("d").contexts()[0]), ["d/x"]);
    // A context without files is accepted.
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nCOPY . /\n")]);
    assert_eq!(paths(&project.contexts()[0]), [""; 0]);
}
