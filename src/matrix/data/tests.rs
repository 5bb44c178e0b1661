use std::fmt::Write as _;
use std::path::Path;

use super::*;

fn read(name: &str, text: &str) -> Result<Node, SourceError> {
    let path = Path::new(name);
    read_data(&SourceFile::new(path, text), Format::of(path).expect("a format"))
}

/// Writes a node as JSON in which numbers keep their text.
fn shown(node: &Node) -> String {
    match &node.content {
        Content::Null => "null".to_owned(),
        Content::Text(text) => format!("{text:?}"),
        Content::Plain(text) => text.clone(),
        Content::List(items) => {
            format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", "))
        }
        Content::Table(entries) => {
            let entries =
                entries.iter().map(|(key, node)| format!("{}: {}", key.name, shown(node)));
            format!("{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
    }
}

#[test]
fn all_formats_give_one_tree_with_the_texts_of_numbers() {
    for (name, text) in [
        ("a.json", "{\n\t\"a\": 3.10,\n\t\"b\": [\"x\", {\"c\": \"1\"}, true]\n}\n"),
        ("a.toml", "# c\na = 3.10\nb = [\"x\", {c = \"1\"}, true]\n"),
        ("a.yaml", "# c\na: 3.10\nb: [x, {c: '1'}, true]\n"),
    ] {
        let node = read(name, text).expect(name);
        assert_eq!(shown(&node), r#"{a: 3.10, b: ["x", {c: "1"}, true]}"#, "{name}");
        // Locations are offsets in the text.
        let (key, value) = node.entry("a").expect("a key");
        let at = |span: &Span| text[span.clone()].trim_matches('"').to_owned();
        assert_eq!((at(&key.span), at(&value.span)), ("a".to_owned(), "3.10".to_owned()), "{name}");
    }
    assert_eq!(shown(&read("a.yml", "a:\nb: ~\n").expect("YAML")), "{a: null, b: null}");
    assert_eq!(shown(&read("a.json", "{\"a\": null}").expect("JSON")), "{a: null}");
    assert_eq!(Format::of(Path::new("versions")), None);
}

#[test]
fn invalid_files_are_refused_at_their_line() {
    for (name, text, line) in [
        ("c.json", "{\n  \"a\": 1,\n}\n", 3),
        ("c.json", "{\n  \"a\" 1\n}\n", 2),
        ("c.json", "", 1),
        ("c.json", "{\n\"a\": {\n\"b\": \"\\ud800\"\n}}\n", 3),
        ("c.toml", "a = 1\nb = [\n", 2),
        ("c.yaml", "a: 1\nb: [\n", 2),
        ("c.yaml", "a: &x 1\nb: *x\n", 2),
        ("c.yaml", "a: 1\n---\nb: 2\n", 2),
        ("c.yaml", "? [a]\n: b\n", 1),
    ] {
        let error = read(name, text).expect_err(text).to_string();
        assert!(error.contains(&format!("{name}:{line}:")), "{text:?}: {error}");
    }
    for (name, text) in [("c.yaml", "["), ("c.json", "[")] {
        let deep = text.repeat(10_000) + &"]".repeat(10_000);
        assert!(read(name, &deep).is_err(), "{name}");
    }
}

#[test]
fn duplicate_keys_are_shown_with_both_lines() {
    let all = [
        ("c.json", "{\n  \"a\": { \"x\": 1 },\n  \"b\": 2,\n  \"a\": 3\n}\n"),
        ("c.toml", "[a.b]\nx = 1\ny = 2\n\n[a]\nx = 1\nx = 2\n"),
        ("c.toml", "[a]\nx = 1\n[b]\n[a]\n"),
        ("c.yaml", "a: 1\nb:\n  a: 2\n  c: 3\n  a: 4\n"),
    ]
    .map(|(name, text)| read(name, text).expect_err(text).to_string());
    insta::assert_snapshot!(all.join("\n\n"));
}

#[test]
fn large_files_are_read_in_linear_time() {
    let (mut yaml, mut toml, mut json) = (String::new(), String::new(), String::from("{"));
    for number in 0..60_000 {
        writeln!(yaml, "k{number}: ä").expect("memory");
        writeln!(toml, "k{number} = \"ä\"").expect("memory");
        writeln!(json, "{}\"k{number}\": \"ä\"", if number == 0 { "" } else { "," })
            .expect("memory");
    }
    json.push('}');
    // In quadratic time, this would take minutes.
    let begin = std::time::Instant::now();
    for (name, text) in [("a.yaml", yaml), ("a.toml", toml), ("a.json", json)] {
        let node = read(name, &text).expect(name);
        let (key, _) = node.entries().and_then(<[_]>::last).expect("an entry");
        assert_eq!(SourceFile::new(Path::new(name), &text).line(key.span.start), 60_000, "{name}");
    }
    assert!(begin.elapsed().as_secs() < 20, "{:?}", begin.elapsed());
}
