//! Finds assignments to a constant in source code and other text files.
//!
//! There is one rule: [`assignments`] returns every place where the text assigns to the name, on
//! any line and in any surroundings, comments and strings included. A file is read and edited only
//! if there is one. Counting too many is safe, missing one is not. Therefore the patterns that find
//! assignments are wide, and those that read values are narrow.

use std::ops::Range;

use regex_lite::Regex;

/// An assignment to a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The byte at which the name begins.
    pub(super) start: usize,
    /// The assigned text without its quotes; `None` if the value is anything but one text.
    pub(super) value: Option<Range<usize>>,
    /// Whether it is probably part of a comment or a docstring.
    pub(super) is_comment: bool,
}

/// The extensions of languages in which texts are quoted. In shell scripts, YAML, Dockerfiles and Makefiles, quotes are optional.
const QUOTED: [&str; 26] = [
    "py", "pyi", "bzl", "star", "rs", "js", "jsx", "mjs", "cjs", "ts", "tsx", "mts", "cts", "go",
    "java", "kt", "kts", "scala", "c", "h", "cc", "cpp", "hpp", "cs", "swift", "lua",
];

/// The operator of an assignment, and the first character of the value.
const OPERATOR: &str = r"[\s\\]*(?:[-+*/%&|^@?:]{0,3}|<<|>>>?)=(?P<next>[^=>~]|$)";

/// A type between name and operator, or any other text up to the operator.
const TYPE: &str = r"(?:(?P<type>[ \t]*:(?:[^=\n,;(){}\[<]|\[[^=\n]*\]|<[^=\n]*>)*|[ \t]+string)|(?P<unclear>[ \t]*:[^=\n]*|\[[^\]\n]*\]))?";

/// A key and the beginning of its value.
const QUOTED_KEY: &str = r#"(?P<type>[ \t]*:)(?P<next>[ \t]*[A-Za-z]{0,2}["'`])"#;
const BARE_KEY: &str = r#"[ \t]*:(?P<next>\s|["']|$)"#;

/// The text before a name that has a type or is a key, but not before a name in a condition.
const DECLARED: &str = r"(?:^|[;,({]|\b(?:const|static|let|var|val|mut|readonly|final|public|private|protected))[ \t]*$";

/// The text around one of several targets: `A, NAME = …`, `[NAME, B] = …`.
const TARGETS_BEFORE: &str = r"(?:^|[;:{&|])[ \t]*(?:(?:const|let|var|val|local)[ \t]+)?[(\[]*[ \t]*(?:[\w.*]+[ \t]*,[ \t]*)*$";
const TARGETS_AFTER: &str =
    r"^(?:[ \t]*,[ \t]*[\w.*]+)*[ \t]*,?[ \t]*[)\]]*[ \t]*=(?P<next>[^=>~]|$)";

/// A text, and the end of its expression.
const TEXT: &str = r#""(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)'"#;
const QUOTED_END: &str =
    r#"(?:[ \t]+as[ \t]+\w+)?[ \t]*(?:\r?$|[;)}\]]|,[ \t]*(?:\r?$|[^ \t\r\n"'])|#|//|/\*)"#;
const BARE: &str = r#"|(?P<bare>[^\s"'`;,&|(){}\[\]<>\\$]+)"#;
const BARE_END: &str = r"[ \t]*(?:\r?$|[;,)}\]]|&&|\|\||[ \t](?:#|//|\w+=))";

const COMMENT: &str = r"^[ \t]*(?:[*;]|--[ \t]|<!--)|(?:^|[ \t])(?:#(?:[^\[!]|$)|//|/\*)";

/// Finds the assignments to `name` in the `text` of a file with this `extension`: `NAME = …` with
/// any operator that assigns, with or without a type; `NAME: …` and `"NAME": …`; `ENV NAME …`; and
/// targets that are assigned together.
pub(super) fn assignments(text: &str, name: &str, extension: &str) -> Vec<Assignment> {
    let is_quoted = QUOTED.contains(&extension);
    let regex = |pattern: &str| Regex::new(pattern).expect("the pattern is valid");
    let (assigned, key, value) = if is_quoted {
        (format!("{TYPE}{OPERATOR}"), QUOTED_KEY, format!("(?:{TEXT}){QUOTED_END}"))
    } else {
        (OPERATOR.to_owned(), BARE_KEY, format!("(?:{TEXT}{BARE}){BARE_END}"))
    };
    let (assigned, key) = (regex(&format!("^{assigned}")), regex(&format!("^{key}")));
    let value = regex(&format!(r"(?m)\A[ \t]*{value}"));
    let (targets_before, targets_after) = (regex(TARGETS_BEFORE), regex(TARGETS_AFTER));
    let (declared, comment) = (regex(DECLARED), regex(COMMENT));

    let assignment = |start: usize| {
        let (mut before, mut after) = (&text[..start], &text[start + name.len()..]);
        if let Some(quote) = before.chars().next_back().filter(|last| "\"'`".contains(*last))
            && let Some(rest) = after.strip_prefix(quote)
        {
            (before, after) = (&before[..before.len() - 1], rest);
            // `globals()["NAME"] = …`
            after = after.strip_prefix(']').unwrap_or(after);
        }
        if before.ends_with(|last: char| last.is_alphanumeric() || "_-".contains(last)) {
            return None;
        }
        let line = &before[before.rfind('\n').map_or(0, |end| end + 1)..];
        let is_env = line.trim().eq_ignore_ascii_case("env") && after.starts_with([' ', '\t']);
        let is_target = targets_before.is_match(line);
        let operator = assigned.captures(after);
        // The first value belongs to the first target.
        let is_later_target = operator.is_some() && is_target && line.trim_end().ends_with(',');
        let rest = match operator.or_else(|| key.captures(after)) {
            Some(groups) => {
                let is_clear = groups.name("unclear").is_none()
                    && (groups.name("type").is_none() || declared.is_match(line))
                    && !is_later_target;
                let next = groups.name("next").map_or(0, |next| next.start());
                is_clear.then_some(&after[next..])
            }
            None if is_env => Some(after),
            None if is_target && targets_after.is_match(after) => None,
            None => return None,
        };
        let value = rest.and_then(|rest| {
            let groups = value.captures(rest)?;
            let kinds = ["double", "single", "bare"];
            let found = kinds.iter().find_map(|kind| groups.name(kind))?;
            let begin = text.len() - rest.len();
            Some(begin + found.start()..begin + found.end())
        });
        let is_docstring = |quotes| before.matches(quotes).count() % 2 == 1;
        let is_comment = comment.is_match(line)
            || (is_quoted && (is_docstring("\"\"\"") || is_docstring("'''")));
        Some(Assignment { start, value, is_comment })
    };
    text.match_indices(name).filter_map(|(start, _)| assignment(start)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line and value of each assignment to `TAG`.
    fn found(text: &str, extension: &str) -> Vec<String> {
        let shown = |one: Assignment| {
            let line = text[..one.start].matches('\n').count() + 1;
            let comment = if one.is_comment { "#" } else { "" };
            format!("{line}:{}{comment}", one.value.map_or("…", |range| &text[range]))
        };
        assignments(text, "TAG", extension).into_iter().map(shown).collect()
    }

    #[test]
    fn all_assignments_are_found() {
        for (extension, second) in [
            ("yaml", "a: {TAG: v2}"),
            ("yaml", "- TAG: v2"),
            ("yaml", "  \"TAG\": v2"),
            ("yaml", "TAG:\n  v2"),
            ("py", "x = 1; TAG = 'v2'"),
            ("py", "A, TAG = 'v2', x"),
            ("py", "(TAG, A) = x"),
            ("py", "TAG, *A = x"),
            ("py", "if (TAG := 'v2'):"),
            ("py", "if x: TAG = 'v2'"),
            ("py", "TAG: Annotated[str, 'doc'] = get()"),
            ("py", "TAG += 'x'"),
            ("py", "TAG = (\n"),
            ("py", "globals()['TAG'] = x"),
            ("py", "module.TAG = x"),
            ("py", "f(TAG='v2')"),
            ("py", "x = {'TAG': 'v2'}"),
            ("py", "# TAG = 'v2'"),
            ("py", "'''TAG = 'v2' '''"),
            ("ts", "export const A = 1, TAG = \"v2\""),
            ("ts", "const [TAG] = x"),
            ("ts", "TAG ??= x"),
            ("ts", "const x = {a: 1, TAG: `v2`}"),
            ("rs", "let TAG\n    = x;"),
            ("go", "TAG string = \"v2\""),
            ("sh", "[ x ] && TAG=v2"),
            ("sh", "export TAG=$x"),
            ("sh", ": \"${TAG:=v2}\""),
            ("sh", "TAG=v2 make"),
            ("mk", "TAG ?= v2"),
            ("Dockerfile", "ENV TAG v2"),
        ] {
            let first = if extension == "yaml" { "TAG: 'v1'" } else { "TAG = 'v1'" };
            let all = found(&format!("{first}\n{second}\n"), extension);
            assert_eq!((all.len(), all[0].as_str()), (2, "1:v1"), "{second}");
        }
    }

    #[test]
    fn the_common_forms_have_a_value() {
        for (extension, text) in [
            ("ts", "export const TAG = 'v1' as const;"),
            ("ts", "  static readonly TAG: string = \"v1\";"),
            ("ts", "export default { name: \"x\", TAG: 'v1' };"),
            ("ts", "export const A = 1, TAG = 'v1';"),
            ("py", "TAG: Final[str] = 'v1'  # here"),
            ("py", "x = 1; TAG = 'v1'"),
            ("py", "setup(name='x', TAG='v1')"),
            ("rs", "pub(crate) const TAG: &'static str = \"v1\"; // here"),
            ("go", "const TAG string = \"v1\""),
            ("java", "public static final String TAG = \"v1\";"),
            ("sh", "readonly TAG=v1"),
            ("sh", "declare -r TAG=\"v1\"; x"),
            ("sh", "  local TAG='v1' # here"),
            ("sh", "export TAG=v1 OTHER=x"),
            ("sh", "[ x ] && TAG=v1 || exit"),
            ("sh", ": \"${TAG:=v1}\""),
            ("", "ARG TAG=v1"),
            ("", "ENV TAG v1"),
            ("", "ENV A=1 TAG=\"v1\" B=2"),
            ("mk", "TAG := v1"),
            ("mk", "export TAG ?= v1# no".trim_end_matches("# no")),
            ("yaml", "- TAG: v1  # here"),
            ("yaml", "a: {b: 1, \"TAG\": v1}"),
            ("py", "\u{feff}TAG = 'v1'\r"),
        ] {
            assert_eq!(found(&format!("{text}\n"), extension), ["1:v1"], "{text}");
        }
    }

    #[test]
    fn an_expression_has_no_value() {
        for (extension, text) in [
            ("py", "TAG = 1.2"),
            ("py", "TAG = f'v1'"),
            ("py", "TAG = 'v1' + x"),
            ("py", "TAG = 'v1' 'x'"),
            ("py", "TAG = 'v1' if x else 'v2'"),
            ("py", "TAG = 'v1'.strip()"),
            ("py", "TAG = 'v1', 'v2'"),
            ("py", "A, TAG = 'v0', x"),
            ("py", "if TAG: x = 'v1'"),
            ("ts", "x = y ? TAG : 'v1'"),
            ("ts", "function f({ TAG: other, x = 'v1' }) {}"),
            ("ts", "TAG[0] = 'v1'"),
            ("sh", "TAG=v1 make"),
            ("sh", "TAG=v1$x"),
            ("sh", "TAG=\"v1\"$x"),
            ("yaml", "TAG: &anchor v1"),
        ] {
            assert_eq!(found(&format!("{text}\n"), extension), ["1:…"], "{text}");
        }
    }

    #[test]
    fn comments_and_docstrings_are_recognized() {
        assert_eq!(found("# TAG = 'v1'\n", "py"), ["1:v1#"]);
        assert_eq!(found("\"\"\"Docs.\n\nTAG = 'v1'\n\"\"\"\n", "py"), ["3:v1#"]);
        assert_eq!(found("x = 1 // TAG = 'v1'\n", "ts"), ["1:v1#"]);
        assert_eq!(found("/**\n * TAG = 'v1'\n */\n", "ts"), ["2:v1#"]);
        assert_eq!(found("#[allow(x)] const TAG: &str = \"v1\";\n", "rs"), ["1:v1"]);
    }

    #[test]
    fn other_names_and_comparisons_do_not_count() {
        let other = "OLD_TAG = 'v1'\nTAG_OLD = 'v2'\nprint(TAG)\nif TAG == 'v2': pass\nif TAG: pass\nx[TAG] = 1\nf(TAG, x=1)\nTAG >= x\n";
        assert_eq!(found(other, "py"), [""; 0]);
        assert_eq!(found("x = TAG => 1;\nTAG === 2;\nexport { TAG };\n", "js"), [""; 0]);
        let shell =
            "echo \"$TAG\"\n[ \"$TAG\" = v1 ]\n[[ TAG =~ v ]]\nrun --TAG=v1\nBASE-TAG: v1\n";
        assert_eq!(found(shell, "sh"), [""; 0]);
    }
}
