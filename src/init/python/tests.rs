use std::fmt::Write as _;

use super::*;

fn parse(text: &str) -> Module {
    Module::parse(text, &["build"]).unwrap_or_else(|(line, what)| panic!("{line}: {what}"))
}

/// Returns the value of `x` at the top of a file.
fn value(text: &str) -> String {
    let module = parse(text);
    let value = module.assigned(0, "x").last().expect(text);
    match module.evaluate(0, value) {
        Ok(Literal::Text(text)) => text,
        Ok(Literal::Path(path)) => format!("path {}", path.display()),
        Ok(other) => format!("{other:?}"),
        Err(unknown) => format!("{}: {unknown}", unknown.line),
    }
}

#[test]
fn strings_are_decoded_as_in_python() {
    for (text, expected) in [
        (r#"x = "a\tb" 'c'"#, "a\tbc"),
        (r#"x = r"a\tb\"""#, r#"a\tb\""#),
        ("x = '''a\n\"b\" 'c'\\\nd'''", "a\n\"b\" 'c'd"),
        (r"x = '\x41\u00e4\101\q\\'", "AäA\\q\\"),
        ("x = ('a'\n     # c\n     'b')", "ab"),
        ("x = 'a' + \\\n  'b'", "ab"),
        ("v = '3.11'\nx = f'FROM python:{v} {{y}}'", "FROM python:3.11 {y}"),
        ("v = 3\nx = f'{v}'", "3"),
        ("x = dedent('''\n    a\n      b\n\n    ''')", "\na\n  b\n\n\n"),
        ("import textwrap\nx = textwrap.dedent(\"\"\"\\\n  a\n  \"\"\").strip()", "a"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    for (text, expected) in [
        ("x = Path(__file__).parent / 'a' / 'b'", "path a/b"),
        ("x = Path(__file__).resolve().parent.parent / 'a'", "path ../a"),
        ("x = Path('a', 'b')", "path a/b"),
        ("x = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'a')", "path a"),
        ("here = Path(__file__).parent\nx = here / 'a'", "path a"),
    ] {
        assert_eq!(value(text), expected, "{text}");
    }
}

#[test]
fn unknown_values_have_a_reason() {
    let all = [
        "x = File.from_path('a', repository='cdn').url",
        "x = f'''a\n{url}'''",
        "url = upload('a')\ny = f'{url}'\nx = y + 'b'",
        "if a:\n  y = 'b'\nelse:\n  y = 'c'\nx = y",
        "x = x",
        "x = os.environ['A']",
        "x = 'a' if b else 'c'",
        "x = b'a'",
        "x = t'a'",
        "x = {1: 'a'}",
        "x = 'a' * 3",
    ]
    .map(|text| format!("{text}\n  {}", value(text)));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn values_that_grow_with_each_name_are_too_large() {
    let mut text = "x0 = 'a'\n".to_owned();
    for number in 1..30 {
        let before = number - 1;
        writeln!(text, "x{number} = x{before} + x{before}").expect("memory");
    }
    let value = value(&format!("{text}x = x29"));
    assert!(value.ends_with(" is too large"), "{value}");
}

#[test]
fn calls_are_found_in_their_scopes() {
    let text = "\
y = 'outer'
class App(fal.App, kind='GPU'):
    y: str = 'inner'
    image = Image.build(y, tags=['a', \"b\",], options={'k': 'v', 'l': None}, on=True)

    def setup(self) -> None:
        z = 1
        self.image = other.build(y)

@function(image=Image.build('top'))
def run(): pass
image.build()
";
    let module = parse(text);
    let shown = module.calls.iter().map(|call| {
        let arguments = call.arguments.iter().map(|argument| {
            let value = module.evaluate(call.scope, &argument.value);
            format!("{} = {value:?}", argument.name.as_deref().unwrap_or("_"))
        });
        let arguments: Vec<String> = arguments.collect();
        let Call { scope, line, receiver, target, .. } = call;
        let scope = module.scope_name(*scope);
        format!("{line} [{scope}] {target:?} {receiver}: {}", arguments.join("; "))
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
    let kind = module.assigned(1, "kind").next().expect("an attribute");
    assert_eq!(module.evaluate(1, kind), Ok(Literal::Text("GPU".to_owned())));
}

#[test]
fn a_string_without_an_end_is_refused() {
    let error = |text| Module::parse(text, &[]).expect_err(text);
    assert_eq!(error("a = 1\nb = '''c\n\n").0, 2);
    assert_eq!(error("a = 'b\n'").0, 1);
}

#[test]
fn any_text_is_read_without_a_panic() {
    let parts =
        ["'", "\"\"\"", "\\", "(", "}", "{", "f'{", "x=", "\n", "ä", ".build(", ",", ":", "#"];
    let mut number = 7_usize;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..8 {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            text.push_str(parts[(number >> 33) % parts.len()]);
        }
        if let Ok(module) = Module::parse(&text, &["build"]) {
            for value in module.assigned(0, "x") {
                let _ = module.evaluate(0, value);
            }
        }
    }
}
