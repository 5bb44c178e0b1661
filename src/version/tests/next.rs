//! The version that follows, as each place writes it.

use super::*;

#[test]
fn a_given_version_is_written_unchanged() {
    let after = |name: &str, text: &str, key: &str, to: &str| {
        let table = format!("file = '{name}'\n{key}");
        let repository = Repository::new(&[(name, text)], &table);
        let first = locate(&repository.table.first(), &repository.checkout()).expect("a version");
        let to = target(&first, to, false).expect("a version");
        repository.edits(to.as_str()).expect("edits").remove(0).after
    };
    let package =
        |to: &str| after("package.json", "{\"version\": \"1.0.0\"}", "key = 'version'", to);
    for to in ["1.2.3-pre.2", "1.2.3-rc", "1.2.3-RC.1", "1.2.3-rc01", "1.2.3-rc1", "1.2.3-a.1"] {
        assert_eq!(package(to), format!("{{\"version\": \"{to}\"}}"));
    }
    assert_eq!(package("1.2.3rc1"), "{\"version\": \"1.2.3-rc.1\"}");
    for (now, to) in [("2026.11", "2026.12"), ("1.0.0", "2026.12"), ("1.2", "1.3.0")] {
        assert_eq!(after("VERSION", now, "", to), to);
    }
}

#[test]
fn a_short_version_stays_short() {
    let next = |now: &str, level: Level| {
        let repository = Repository::new(&[("VERSION", now)], "file = 'VERSION'");
        let first = locate(&repository.table.first(), &repository.checkout()).expect("a version");
        bump(&first, level, None).expect("a version").to_string()
    };
    assert_eq!(next("v1.2", Level::Minor), "v1.3");
    assert_eq!(next("2026.11", Level::Major), "2027.0");
    assert_eq!(next("1", Level::Major), "2");
    assert_eq!(next("1.2", Level::Patch), "1.2.1");
    assert_eq!(next("1.2.3", Level::Minor), "1.3.0");
}

#[test]
fn zeros_in_front_of_numbers_stay() {
    let next = |files: &[(&str, &str)], wanted: &str| {
        let table = "file = 'A'\n[[also]]\nfile = 'B'\n[[also]]\nfile = 'C'\n";
        let repository = Repository::new(files, table);
        let first = locate(&repository.table.first(), &repository.checkout()).expect("a version");
        let to = match wanted {
            "major" => bump(&first, Level::Major, None),
            "minor" => bump(&first, Level::Minor, None),
            "patch" => bump(&first, Level::Patch, None),
            wanted => target(&first, wanted, true),
        };
        let edits = repository.edits(to.expect("a version").as_str()).expect("edits");
        let after: Vec<&str> = edits.iter().map(|edit| edit.after.as_str()).collect();
        after.join(" ")
    };
    let alike = |now: &str, wanted: &str| next(&[("A", now), ("B", now), ("C", now)], wanted);
    assert_eq!(alike("2026.01", "minor"), "2026.02 2026.02 2026.02");
    assert_eq!(alike("2026.09", "minor"), "2026.10 2026.10 2026.10");
    assert_eq!(alike("2026.01.05", "patch"), "2026.01.06 2026.01.06 2026.01.06");
    assert_eq!(alike("v2026.01.05", "major"), "v2027.00.00 v2027.00.00 v2027.00.00");
    assert_eq!(alike("1.2.3", "2026.01"), "2026.01 2026.01 2026.01");
    assert_eq!(alike("2026.10.12", "2026.11.01"), "2026.11.01 2026.11.01 2026.11.01");
    // Each in its own way.
    let mixed = [("A", "2026.01.05"), ("B", "2026.1.5"), ("C", "v2026.1.05")];
    assert_eq!(next(&mixed, "patch"), "2026.01.06 2026.1.6 v2026.1.06");
    assert_eq!(next(&mixed, "2026.02.11"), "2026.02.11 2026.2.11 v2026.2.11");
}

#[test]
fn a_prefix_that_is_known_is_not_guessed() {
    let next = |prefix: &str, now: &str, wanted: &str| {
        let tag = format!("TAG = '{prefix}{now}'\n");
        let image = format!("image: a:{prefix}{now}\n");
        let files = [("VERSION", now), ("tag.py", tag.as_str()), ("a.yaml", image.as_str())];
        let table = format!(
            "file = 'VERSION'\nprefix = '{prefix}'\n\
             [[also]]\nfile = 'tag.py'\nconstant = 'TAG'\nprefix = ''\n\
             [[also]]\nfile = 'a.yaml'\npattern = 'image: a:(?P<version>.*)'\n"
        );
        let repository = Repository::new(&files, &table);
        let first = agreed(&repository.table, &repository.checkout()).expect("one version");
        let to = match wanted {
            "minor" => bump(&first[0], Level::Minor, None),
            wanted => target(&first[0], wanted, false),
        };
        let to = to.expect("a version");
        let edits = edits(&repository.table, &repository.checkout(), &to).expect("edits");
        let after: Vec<&str> = edits.iter().map(|edit| edit.after.trim_end()).collect();
        format!("{to}: {}", after.join(" | "))
    };
    insta::assert_snapshot!(
        [
            next("py3-", "1.2.3", "minor"),
            next("a_", "1.2.3", "a_1.3.0"),
            next("base2-", "5", "minor"),
            next("base2-", "5", "base2-6"),
            next("base2-", "5", "6"),
            next("2026-", "5", "2026-6"),
            next("v", "1.2.3", "v1.3.0"),
            next("", "v1.2.3", "1.3.0"),
        ]
        .join("\n"),
        @r"
    py3-1.3.0: 1.3.0 | TAG = 'py3-1.3.0' | image: a:py3-1.3.0
    a_1.3.0: 1.3.0 | TAG = 'a_1.3.0' | image: a:a_1.3.0
    base2-5.1: 5.1 | TAG = 'base2-5.1' | image: a:base2-5.1
    base2-6: 6 | TAG = 'base2-6' | image: a:base2-6
    base2-6: 6 | TAG = 'base2-6' | image: a:base2-6
    2026-6: 6 | TAG = '2026-6' | image: a:2026-6
    v1.3.0: 1.3.0 | TAG = 'v1.3.0' | image: a:v1.3.0
    v1.3.0: v1.3.0 | TAG = 'v1.3.0' | image: a:v1.3.0
    "
    );
}

#[test]
fn versions_behind_a_prefix_are_compared() {
    let own = |number: &str| Version::with_prefix("py3-", number).expect("a version");
    assert!(own("1.9.0").is_below("py3-1.10.0"));
    assert!(!own("1.10.0").is_below("py3-1.9.0"));
    assert!(!own("1.10.0").is_below("py3-1.10.0"));
    assert!(own("1.9.0").is_below("v1.10.0"), "what was released before the prefix was another");
    assert!(!own("1.9.0").is_below("py3-nightly"));
    let own = Version::with_prefix("v", "0.2.0").expect("a version");
    assert!(own.is_below("version-0.3.0") && !own.is_below("version-0.1.0"));
}
