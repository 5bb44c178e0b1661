//! Values of the wrong type, at every key that the JSON schema has.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;

use super::error;
use crate::matrix::{SourceFile, from_toml, json_schema};

/// Values of each type in the JSON schema.
const VALUES: [(&str, &str); 9] = [
    ("string", "\"text\""),
    ("integer", "3"),
    ("number", "1.5"),
    ("number", "nan"),
    ("number", "-inf"),
    ("boolean", "true"),
    ("date", "2024-01-01"),
    ("array", "[\"text\"]"),
    ("object", "{ key = 1 }"),
];

/// Phrases of serde that no error of basegen contains.
const SERDE: [&str; 14] = [
    "invalid type",
    "invalid value",
    "invalid length",
    "unknown field",
    "unknown variant",
    "missing field",
    "did not match any variant",
    "a sequence",
    "a map",
    "wanted string",
    "struct ",
    "variant identifier",
    "unit",
    "__toml",
];

#[derive(Clone)]
enum Step {
    Key(String),
    Entry,
}

/// A place of the schema, and the types that it accepts.
struct Key {
    path: Vec<Step>,
    types: BTreeSet<String>,
}

struct Schema(Json);

impl Schema {
    /// Every key and every entry of an array, each once for each schema that allows it.
    fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        self.walk(&self.0, &[], &[], &mut keys);
        keys
    }

    fn resolve(&self, reference: &Json) -> &Json {
        let pointer = reference.as_str().expect("a reference").trim_start_matches('#');
        self.0.pointer(pointer).expect(pointer)
    }

    fn walk(&self, schema: &Json, path: &[Step], within: &[&Json], keys: &mut Vec<Key>) {
        if let Some(reference) = schema.get("$ref") {
            // A variable can contain variables.
            if !within.contains(&reference) {
                self.walk(self.resolve(reference), path, &[within, &[reference]].concat(), keys);
            }
        }
        for choice in choices(schema) {
            self.walk(choice, path, within, keys);
        }
        let named = schema.get("properties").and_then(Json::as_object).into_iter().flatten();
        let named = named.map(|(name, schema)| (Step::Key(name.clone()), schema));
        let any = schema.get("additionalProperties").filter(|any| any.is_object());
        let any = any.map(|schema| (Step::Key("any".to_owned()), schema));
        let entry = schema.get("items").map(|schema| (Step::Entry, schema));
        for (step, schema) in named.chain(any).chain(entry) {
            let path = [path, &[step]].concat();
            let mut types = BTreeSet::new();
            self.types(schema, &mut types);
            keys.push(Key { path: path.clone(), types });
            self.walk(schema, &path, within, keys);
        }
    }

    fn types(&self, schema: &Json, types: &mut BTreeSet<String>) {
        if let Some(reference) = schema.get("$ref") {
            self.types(self.resolve(reference), types);
        }
        choices(schema).for_each(|choice| self.types(choice, types));
        match schema.get("type") {
            Some(Json::String(name)) => drop(types.insert(name.clone())),
            Some(Json::Array(names)) => {
                types.extend(names.iter().filter_map(Json::as_str).map(str::to_owned));
            }
            _ => {}
        }
        if types.contains("number") {
            types.insert("integer".to_owned());
        }
    }
}

fn choices(schema: &Json) -> impl Iterator<Item = &Json> {
    ["anyOf", "oneOf", "allOf"]
        .into_iter()
        .filter_map(|choice| schema.get(choice))
        .filter_map(Json::as_array)
        .flatten()
}

/// Returns a matrix file with `value` at `path`.
fn file(path: &[Step], value: &str) -> String {
    let value = path.iter().skip(1).rev().fold(value.to_owned(), |inner, step| match step {
        Step::Key(name) => format!("{{ \"{name}\" = {inner} }}"),
        Step::Entry => format!("[{inner}]"),
    });
    let Some(Step::Key(first)) = path.first() else { panic!("a file is a table") };
    let mut text = format!("{first} = {value}\n");
    for (name, value) in [
        ("image", "{ repository = \"a\", dockerfile = \"d\", platforms = [\"linux/amd64\"] }"),
        ("axes", "{ python = [\"3.9\"] }"),
    ] {
        if name != first {
            text = format!("{text}{name} = {value}\n");
        }
    }
    text
}

/// Returns the message without its location.
fn summary(message: &str) -> String {
    let title = message.lines().next().unwrap_or_default();
    let help = message.lines().find_map(|line| line.trim().strip_prefix("= help: "));
    let mut parts = title.splitn(3, '`');
    let (before, after) = (parts.next().unwrap_or_default(), parts.nth(1).unwrap_or_default());
    format!("{before}`…`{after}\n  help: {}", help.unwrap_or("none"))
}

#[test]
fn a_value_of_the_wrong_type_is_explained_at_every_key() {
    let schema = Schema(serde_json::from_str(&json_schema()).expect("JSON"));
    let keys = schema.keys();
    assert!(keys.len() > 80, "the schema has {} keys", keys.len());
    let mut wrong = Vec::new();
    let mut summaries = BTreeSet::new();
    for Key { path, types } in &keys {
        for (_, value) in VALUES.iter().filter(|(name, _)| !types.contains(*name)) {
            let text = file(path, value);
            let message = match crate::matrix::parse(Path::new("matrix.toml"), &text) {
                Ok(_) => "accepted".to_owned(),
                Err(_) => error(&text),
            };
            let is_serde = SERDE.iter().any(|words| message.contains(words));
            if is_serde || !message.contains("--> matrix.toml:") || !message.contains("= help: ") {
                wrong.push(format!("{text}{message}"));
            }
            summaries.insert(summary(&message));
        }
    }
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n\n"));
    insta::assert_snapshot!(summaries.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn messages_explain_dates_and_floats() {
    let file = |line: &str| error(&format!("{}[variables]\n{line}\n", super::BASE.trim_start()));
    let all = [
        "d = 2024-01-01",
        "d = 2024-01-01T00:00:00Z\n t = { at = 07:32:00 }",
        "pi = 3.14",
        "n = nan",
        "i = -inf",
        "list = [1, 2.5]",
        "big = 99999999999999999999",
    ];
    insta::assert_snapshot!(all.map(file).join("\n\n"));
}

#[test]
fn keys_that_are_missing_or_misused_are_explained() {
    let base = super::BASE.trim_start();
    let all = [
        base.replace("repository = \"acme/{{job_type}}-base\"\n", ""),
        base.replace("[image]", "[images]"),
        base[base.find("[axes]").expect("axes")..].to_owned(),
        base[..base.find("[axes]").expect("axes")].to_owned(),
        format!("{base}[exclude]\nwhen = {{ python = \"3.9\" }}\nreason = \"old\"\n"),
        format!("{base}[[exclude]]\nwhen = {{ python = \"3.9\" }}\n"),
        base.replace("[\"linux/amd64\", \"linux/arm64\"]", "\"linux/amd64\""),
        format!("{base}[image.compression]\nalgorithm = \"zst\"\n"),
        format!("{base}[image.compression]\nalgorithm = \"zstd\"\nlevel = 300\n"),
        format!("{base}[registries.\"a.example\"]\nconcurrency = -1\n"),
        format!("{base}[registries.\"a.example\"]\nplain_http = \"true\"\nusername = 3\n"),
        format!("{base}[registries.\"a.example\"]\nusername = 123456\n"),
        format!("{base}[[verify]]\nname = \"a\"\nrun = [\"a\", 1]\n"),
    ];
    insta::assert_snapshot!(all.map(|text| error(&text)).join("\n\n"));
}

#[test]
fn other_files_get_the_same_explanations() {
    #[derive(Debug, serde::Deserialize)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct File {
        schema: u32,
    }
    let refused = |text: &str| {
        let source = SourceFile::new(Path::new("basegen.lock"), text);
        from_toml::<File>(&source).expect_err(text).to_string()
    };
    let all = ["schema = \"1\"\n", "schema = [1]\n", "schema = 2024-01-01\n", "\n"].map(refused);
    insta::assert_snapshot!(all.join("\n\n"));
}
