//! The boundaries between the rooms of the package, and the crates that rooms may use.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The rooms of this crate that each room may import, besides itself. `*` means all that are listed before it.
const ROOMS: [(&str, &[&str]); 21] = [
    ("error", &[]),
    ("files", &["error"]),
    ("git", &["files", "error"]),
    ("image", &[]),
    ("event", &["image"]),
    ("matrix", &["image", "files", "error"]),
    ("version", &["image", "matrix", "files", "error"]),
    ("render", &["image", "matrix", "files", "error"]),
    ("contracts", &["matrix", "render"]),
    ("plan", &["image", "matrix", "render", "version", "files", "error"]),
    ("registry", &["image", "matrix", "error"]),
    ("verify", &["image", "matrix", "render"]),
    ("export", &["image", "matrix", "render", "verify"]),
    ("init", &["files", "image", "matrix", "render", "version", "error"]),
    ("engine", &["image", "event", "matrix", "render", "verify", "registry", "error"]),
    ("publish", &["image", "event", "version", "plan", "engine", "registry", "files", "error"]),
    ("report", &["image", "event", "error"]),
    ("forge", &["image", "matrix", "version", "registry", "report", "error"]),
    ("ops", &["*"]),
    ("cli", &["*"]),
    ("main", &["cli", "report"]),
];

/// Rooms whose functions only map values to values.
const PURE: [&str; 11] = [
    "files",
    "image",
    "matrix",
    "render",
    "contracts",
    "plan",
    "verify",
    "export",
    "init",
    "version",
    "event",
];

/// Crates and modules that pure rooms may not use.
const FORBIDDEN: [&str; 10] = [
    "tokio",
    "reqwest",
    "bollard",
    "bollard_buildkit_proto",
    "octocrab",
    "indicatif",
    "clap",
    "tonic",
    "std::env",
    "std::net::Tcp",
];

/// Returns the source files of each room without their tests.
fn rooms() -> BTreeMap<String, Vec<(PathBuf, String)>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    let mut rooms: BTreeMap<String, Vec<(PathBuf, String)>> = BTreeMap::new();
    for path in files {
        let below = path.strip_prefix(&source).expect("below src");
        let first = below.components().next().expect("a name").as_os_str().to_string_lossy();
        let room = first.trim_end_matches(".rs").to_owned();
        let is_test =
            path.file_name().is_some_and(|name| name == "tests.rs" || name == "testing.rs");
        if room != "lib" && !is_test {
            let text = fs_err::read_to_string(&path).expect("a source file");
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            rooms.entry(room).or_default().push((below.to_owned(), code.to_owned()));
        }
    }
    rooms
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
}

/// Returns the lines without comments, with their numbers.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// The rooms that `room` may import, besides itself.
fn allowed(room: &str) -> Vec<&'static str> {
    let at = ROOMS.iter().position(|(name, _)| *name == room).expect("a room of the table");
    match ROOMS[at].1 {
        ["*"] => ROOMS[..at].iter().map(|(name, _)| *name).collect(),
        names => names.to_vec(),
    }
}

#[test]
fn every_room_has_a_list_of_imports() {
    for room in rooms().keys() {
        assert!(ROOMS.iter().any(|(name, _)| name == room), "`src/{room}` is not in `ROOMS`");
    }
}

#[test]
fn rooms_import_only_permitted_rooms() {
    let mut violations = Vec::new();
    for (room, files) in rooms() {
        let allowed = allowed(&room);
        let root = if room == "main" { "basegen::" } else { "crate::" };
        for (path, text) in files {
            for (line, code) in code(&text) {
                for (at, _) in code.match_indices(root) {
                    let name: String = code[at + root.len()..]
                        .chars()
                        .take_while(|c| c.is_ascii_lowercase() || *c == '_')
                        .collect();
                    if !name.is_empty() && name != room && !allowed.contains(&name.as_str()) {
                        violations.push(format!("{}:{line} imports {name}", path.display()));
                    }
                }
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn pure_rooms_use_no_forbidden_crates() {
    let mut violations = Vec::new();
    for (room, files) in rooms() {
        if !PURE.contains(&room.as_str()) {
            continue;
        }
        for (path, text) in files {
            for (line, code) in code(&text) {
                let named = FORBIDDEN.iter().find(|forbidden| {
                    code.contains(&format!("use {forbidden}"))
                        || code.contains(&format!("{forbidden}::"))
                });
                if let Some(forbidden) = named {
                    violations.push(format!("{}:{line} uses {forbidden}", path.display()));
                }
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn only_the_command_line_reads_the_environment() {
    for (room, files) in rooms() {
        for (path, text) in files {
            let reads = code(&text).find(|(_, code)| code.contains("env::var"));
            let is_permitted = room == "cli";
            assert!(is_permitted || reads.is_none(), "{} reads the environment", path.display());
        }
    }
}

#[test]
fn documented_paths_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut missing = Vec::new();
    for page in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = fs_err::read_to_string(root.join(page)).expect("a page");
        for (index, line) in text.lines().enumerate() {
            let is_path = |word: &&str| word.contains('/') && !word.contains(char::is_whitespace);
            for path in line.split('`').skip(1).step_by(2).filter(is_path) {
                // `target` exists only after a build.
                let is_named =
                    !path.chars().any(|c| c.is_ascii_uppercase()) && !path.starts_with("target/");
                if is_named && !root.join(path).exists() {
                    missing.push(format!("{page}:{}: {path}", index + 1));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

/// The text below the table in ARCHITECTURE.md lists the rooms that import `error`.
#[test]
fn documented_imports_are_the_permitted_ones() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs_err::read_to_string(path).expect("the page");
    let names = |cell: &str| -> BTreeSet<String> {
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let mut documented = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        if let [room, _, imports] = cells[..] {
            let room = room.trim_start_matches("| `src/").trim_end_matches(['/', '`']);
            documented.insert(room.trim_end_matches(".rs").to_owned(), names(imports));
        }
    }
    for (room, allowed) in ROOMS.iter().filter(|(room, _)| *room != "main") {
        let mut imports = documented.remove(*room).unwrap_or_else(|| panic!("{room} is missing"));
        if **allowed == ["*"] {
            assert!(imports.is_empty(), "{room}");
            continue;
        }
        imports.insert("error".to_owned());
        let allowed = allowed.iter().map(ToString::to_string).chain(["error".to_owned()]).collect();
        assert_eq!(imports, allowed, "{room}");
    }
    assert!(documented.is_empty(), "{documented:?}");
}

#[test]
fn files_of_a_room_have_no_import_cycles() {
    let modules: BTreeMap<Vec<String>, (PathBuf, String)> =
        rooms().into_values().flatten().map(|(path, text)| (module(&path), (path, text))).collect();
    let imports: BTreeMap<&Vec<String>, BTreeSet<Vec<String>>> = modules
        .iter()
        .map(|(module, (_, text))| {
            let used = used_paths(text).into_iter();
            (module, used.filter_map(|path| imported(module, &path, &modules)).collect())
        })
        .collect();
    let mut cyclic: Vec<String> = Vec::new();
    for (module, (path, _)) in &modules {
        let mut reached = BTreeSet::new();
        let mut next: Vec<&Vec<String>> = imports[module].iter().collect();
        while let Some(other) = next.pop() {
            if reached.insert(other) {
                next.extend(&imports[other]);
            }
        }
        if reached.contains(module) {
            cyclic.push(path.display().to_string());
        }
    }
    cyclic.sort();
    assert!(cyclic.is_empty(), "files with import cycles: {cyclic:?}");
}

/// Returns the path of a module: `["publish", "set"]` for `publish/set.rs`.
fn module(path: &Path) -> Vec<String> {
    let names = path.with_extension("");
    let names = names.iter().map(|name| name.to_string_lossy().into_owned());
    names.filter(|name| name != "mod").collect()
}

/// Returns the module of the same room that `path` in `module` names, except its parents and children, which may import
/// each other.
fn imported<T>(
    module: &[String],
    path: &str,
    modules: &BTreeMap<Vec<String>, T>,
) -> Option<Vec<String>> {
    let mut found = module.to_vec();
    let mut names = path.split("::").peekable();
    match *names.peek()? {
        "crate" => found.clear(),
        "self" => {}
        _ => {
            while names.next_if_eq(&"super").is_some() {
                found.pop();
            }
        }
    }
    for name in names.filter(|name| !matches!(*name, "crate" | "self")) {
        found.push(name.to_owned());
        if !modules.contains_key(&found) {
            found.pop();
            break;
        }
    }
    let is_relative = module.starts_with(&found) || found.starts_with(module);
    (modules.contains_key(&found) && found[0] == module[0] && !is_relative).then_some(found)
}

/// Returns the paths in `text` that begin with `crate`, `super` or `self`, one for each name of a group.
fn used_paths(text: &str) -> Vec<String> {
    let code: String = code(text).map(|(_, line)| format!("{line}\n")).collect();
    let mut paths = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let is_start =
                !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
            if is_start {
                expand("", &code[at..], &mut paths);
            }
        }
    }
    paths
}

/// Adds the paths of one use tree, which `text` begins with. Returns the number of bytes that it takes.
fn expand(prefix: &str, text: &str, paths: &mut Vec<String>) -> usize {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let end = text.find(|c| !is_path(c)).unwrap_or(text.len());
    let path = format!("{prefix}{}", &text[..end]);
    if !text[end..].starts_with('{') {
        if end > 0 {
            paths.push(path);
        }
        return end;
    }
    let mut at = end + 1;
    while at < text.len() && !text[at..].starts_with('}') {
        match expand(&path, &text[at..], paths) {
            0 => at += text[at..].chars().next().map_or(1, char::len_utf8),
            step => at += step,
        }
    }
    at + 1
}
