//! Imports the container images of a fal app: calls of `ContainerImage.from_dockerfile` and `from_dockerfile_str`.
//!
//! Their parameters are described at <https://fal.ai/docs/documentation/development/use-custom-container-image>. The file is
//! parsed and never run, so only literals count.

use std::path::Path;

use toml::Value as Toml;

use super::credentials::refuse_in_variable;
use super::dockerfile;
use super::error::InitError;
use super::python::{Call, Literal, Located, Module, Unknown};
use super::reader::{Notes, escaped, refuse, slug, unknown_key};
use super::{ImportedImage, Login, MAX_ORIGIN, Outcome};
use crate::files::{Wildcard, read_text};
use crate::matrix::{Diagnostic, SourceError, SourceFile, registry_host};
use crate::render::DEFAULT_PATTERNS;

const TEXT: &str = "from_dockerfile_str";
const FILE: &str = "from_dockerfile";
const IGNORE: &str = "add_dockerignore";

/// The parameters of both methods, besides the Dockerfile.
const PARAMETERS: [&str; 8] = [
    "build_args",
    "secrets",
    "registries",
    "context_dir",
    "dockerignore",
    "dockerignore_path",
    "compression",
    "force_compression",
];

/// Imports all images of an app in `folder`. `name` is the name of an image that belongs to no class, and `context` overrides
/// `context_dir`.
pub(super) fn read(
    source: &SourceFile,
    folder: &Path,
    name: &str,
    context: Option<&Path>,
) -> Result<Vec<ImportedImage>, InitError> {
    let refuse = |line: usize, message: String| {
        SourceError::new(source, vec![Diagnostic::new(source.line_span(line), message, "")])
    };
    let module = Module::parse(&source.text, &[TEXT, FILE, IGNORE])
        .map_err(|(line, message)| refuse(line, message))?;
    let calls = module.calls.iter().filter(|call| call.method != IGNORE);
    let images = calls.map(|call| {
        let mut app =
            App { source, folder, context, module: &module, call, notes: Notes::default() };
        app.image(name)
    });
    let images: Vec<ImportedImage> = images.collect::<Result<_, _>>()?;
    if images.is_empty() {
        return Err(InitError::Kind {
            path: source.path.display().to_string(),
            expected: "a fal app: it has no `ContainerImage.from_dockerfile_str(…)` or `from_dockerfile(…)`",
        });
    }
    Ok(images)
}

/// One call that describes an image.
struct App<'a> {
    source: &'a SourceFile,
    folder: &'a Path,
    context: Option<&'a Path>,
    module: &'a Module,
    call: &'a Call,
    notes: Notes,
}

impl App<'_> {
    fn image(&mut self, name: &str) -> Result<ImportedImage, InitError> {
        let mut imported = ImportedImage { name: slug(name), ..ImportedImage::default() };
        // The folder of the app is the working directory of `fal deploy`.
        imported.context = self.context.unwrap_or(self.folder).to_owned();
        self.class(&mut imported);
        for argument in &self.call.arguments {
            if let Some(name) = argument.name.as_deref().filter(|name| !is_dockerfile(name)) {
                self.parameter(name, &argument.value, &mut imported);
            }
        }
        self.ignored(&mut imported);
        self.dockerfile(&mut imported)?;
        self.exclude_app(&mut imported);
        imported.findings = std::mem::take(&mut self.notes).findings();
        Ok(imported)
    }

    /// Reads the attributes of the class that the image belongs to.
    fn class(&mut self, imported: &mut ImportedImage) {
        let Some(class) = self.module.class_of(self.call) else { return };
        imported.name = slug(&kebab(self.module.scope_name(class)));
        let attribute = |name: &'static str| {
            let value = self.module.assigned(class, name).last()?;
            Some((value.line, self.module.evaluate(class, value).ok()?))
        };
        for name in ["app_name", "name"] {
            if let Some((line, Literal::Text(text))) = attribute(name) {
                self.notes.import(name, line, "the name of the image");
                imported.name = slug(&text);
            }
        }
        let Some((line, machines)) = attribute("machine_type") else { return };
        let machines = match machines {
            Literal::List(items) => items.into_iter().map(|(_, item)| item).collect(),
            one => vec![one],
        };
        let is_gpu = |machine: &Literal| machine.text().is_some_and(|name| name.starts_with("GPU"));
        imported.gpu = machines.iter().any(is_gpu);
        if imported.gpu {
            self.notes.import("machine_type", line, "axis `gpu`");
        } else {
            let reason = "no GPU is requested".to_owned();
            self.notes.add("machine_type", line, Outcome::Unrelated(reason));
        }
    }

    fn evaluate(&self, value: &Located) -> Result<Literal, Unknown> {
        self.module.evaluate(self.call.scope, value)
    }

    fn parameter(&mut self, name: &str, value: &Located, imported: &mut ImportedImage) {
        if !PARAMETERS.contains(&name) {
            return self.notes.leave_out(name, value.line, unknown_key(name, PARAMETERS));
        }
        let literal = match self.evaluate(value) {
            Ok(Literal::None) => return,
            Ok(literal) => literal,
            Err(Unknown { line, reason }) => return self.notes.leave_out(name, line, reason),
        };
        let line = value.line;
        match (name, literal) {
            ("build_args", Literal::Table(entries)) => self.build_args(entries, imported),
            ("secrets", Literal::Table(entries)) => self.secrets(entries, imported),
            ("registries", Literal::Table(entries)) => self.registries(entries, imported),
            ("context_dir", literal) => match literal.text() {
                Some(_) if self.context.is_some() => {
                    let reason = "`--context` overrides it".to_owned();
                    self.notes.add(name, line, Outcome::Unrelated(reason));
                }
                Some(path) => {
                    imported.context = self.folder.join(path);
                    self.notes.import(name, line, "`context`");
                }
                None => self.notes.leave_out(name, line, "it is not a path"),
            },
            ("dockerignore", Literal::List(items)) => self.ignore(items, imported),
            ("dockerignore_path", literal) => self.ignore_file(&literal, line, imported),
            ("compression", Literal::Text(text)) => {
                self.set("compression", line, text.into(), imported);
            }
            ("force_compression", Literal::Boolean(force)) => {
                self.set("force_compression", line, force.into(), imported);
            }
            _ => self.notes.leave_out(name, line, "it has the wrong type"),
        }
    }

    fn set(&mut self, key: &str, line: usize, value: Toml, imported: &mut ImportedImage) {
        if let Some(reason) = refuse(key, &value) {
            return self.notes.leave_out(key, line, reason);
        }
        self.notes.import(key, line, format!("`{key}`"));
        imported.settings.insert(key.to_owned(), value);
    }

    fn build_args(
        &mut self,
        entries: Vec<(String, (usize, Literal))>,
        imported: &mut ImportedImage,
    ) {
        let mut arguments = toml::Table::new();
        for (name, (line, value)) in entries {
            let what = format!("build_args.{name}");
            let (Literal::Text(text) | Literal::Number(text)) = value else {
                self.notes.leave_out(&what, line, "it is not a text");
                continue;
            };
            let refused = refuse_in_variable(&name, &text).err();
            let argument = toml::Table::from_iter([(name, escaped(&text).into())]);
            let refused = refused.or_else(|| refuse("args", &argument.clone().into()));
            if let Some(reason) = refused {
                self.notes.leave_out(&what, line, reason);
            } else {
                self.notes.import(&what, line, "`args`");
                arguments.extend(argument);
            }
        }
        if !arguments.is_empty() {
            imported.settings.insert("args".to_owned(), arguments.into());
        }
    }

    fn secrets(&mut self, entries: Vec<(String, (usize, Literal))>, imported: &mut ImportedImage) {
        for (id, (line, value)) in entries {
            let what = format!("secrets.{id}");
            match secret_name(&value) {
                Some(variable) => {
                    let to = format!("`[build.secrets]`, from the variable `{variable}`");
                    self.notes.import(&what, line, to);
                    imported.secrets.push((id, variable.to_owned()));
                }
                None => self.notes.leave_out(&what, line, NO_SECRET),
            }
        }
    }

    fn registries(
        &mut self,
        entries: Vec<(String, (usize, Literal))>,
        imported: &mut ImportedImage,
    ) {
        for (registry, (line, value)) in entries {
            let what = format!("registries.{registry}");
            let host = registry.trim_start_matches("https://").trim_end_matches('/');
            let Some(host) = registry_host(&registry).or_else(|| registry_host(host)) else {
                self.notes.leave_out(&what, line, "it is not the host of a registry");
                continue;
            };
            let Literal::Table(credentials) = value else {
                self.notes.leave_out(&what, line, "it is not a table");
                continue;
            };
            let find = |name: &str| credentials.iter().find(|(key, _)| key == name);
            let username = find("username").and_then(|(_, (_, name))| name.text());
            let password = find("password").and_then(|(_, (_, value))| secret_name(value));
            let (Some(username), Some(password)) = (username, password) else {
                self.notes.leave_out(&what, line, NO_SECRET);
                continue;
            };
            self.notes.import(&what, line, format!("`[registries.\"{host}\"]`"));
            let keys = [
                ("auth_method", "BASIC"),
                ("username", username),
                ("password_secret_name", password),
            ];
            let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
            imported.logins.push(Login { host: host.to_owned(), line, keys });
        }
    }

    /// Reads the calls of `add_dockerignore` for this image.
    fn ignored(&mut self, imported: &mut ImportedImage) {
        let Call { scope, target, .. } = self.call;
        let Some(target) = target else { return };
        let module = self.module;
        let calls = module.calls.iter().filter(|call| call.method == IGNORE);
        for call in calls.filter(|call| call.receiver == *target && call.scope == *scope) {
            for (at, argument) in call.arguments.iter().enumerate() {
                let name = argument.name.as_deref().unwrap_or(["patterns", "path"][at.min(1)]);
                let what = format!("{IGNORE}.{name}");
                match (name, self.evaluate(&argument.value)) {
                    ("patterns", Ok(Literal::List(items))) => self.ignore(items, imported),
                    ("path", Ok(path)) => self.ignore_file(&path, argument.value.line, imported),
                    (_, Err(Unknown { line, reason })) => {
                        self.notes.leave_out(&what, line, reason);
                    }
                    (_, Ok(_)) => {
                        self.notes.leave_out(&what, argument.value.line, "it has the wrong type");
                    }
                }
            }
        }
    }

    fn ignore(&mut self, items: Vec<(usize, Literal)>, imported: &mut ImportedImage) {
        for (line, item) in items {
            match item.text() {
                Some(pattern) => self.add_pattern(pattern, line, imported),
                None => self.notes.leave_out("dockerignore", line, "it is not a text"),
            }
        }
    }

    /// Reads the patterns of a file, which then also apply to images of another folder.
    fn ignore_file(&mut self, path: &Literal, line: usize, imported: &mut ImportedImage) {
        let text = path.text().map(|path| read_text(&self.folder.join(path), MAX_ORIGIN));
        match text {
            Some(Ok(text)) => {
                for pattern in patterns_in(&text) {
                    self.add_pattern(pattern, line, imported);
                }
            }
            Some(Err(error)) => {
                self.notes.leave_out("dockerignore_path", line, error.to_string());
            }
            None => self.notes.leave_out("dockerignore_path", line, "it is not a path"),
        }
    }

    fn add_pattern(&mut self, pattern: &str, line: usize, imported: &mut ImportedImage) {
        let converted = docker_pattern(pattern);
        let value = Toml::Array(vec![converted.as_str().into()]);
        if let Some(reason) = refuse("dockerignore", &value) {
            return self.notes.leave_out(&format!("dockerignore {pattern}"), line, reason);
        }
        let list = imported.settings.entry("dockerignore".to_owned());
        if let Toml::Array(list) = list.or_insert_with(|| Toml::Array(Vec::new())) {
            if list.is_empty() {
                self.notes.import("dockerignore", line, "`dockerignore`");
            }
            list.push(converted.into());
        }
    }

    /// Leaves the file of the app out of the image, as fal does, unless the Dockerfile names it.
    fn exclude_app(&mut self, imported: &mut ImportedImage) {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (path, context) = (absolute(&self.source.path), absolute(&imported.context));
        let Some(app) = path.strip_prefix(context).ok().and_then(Path::to_str) else { return };
        let contains = |source: &String| {
            let is_below = Path::new(app).starts_with(source);
            is_below || Wildcard::new(source, false).is_some_and(|wildcard| wildcard.matches(app))
        };
        let is_named = imported.sources.iter().any(|source| source == app);
        if is_named || !imported.sources.iter().any(contains) {
            return;
        }
        let mut patterns = match imported.settings.remove("dockerignore") {
            Some(Toml::Array(patterns)) => patterns,
            _ => patterns_of(&imported.context),
        };
        patterns.push(app.into());
        imported.settings.insert("dockerignore".to_owned(), patterns.into());
        self.notes.import(
            app,
            self.call.line,
            "`dockerignore`: fal does not copy the file of the app",
        );
    }

    /// Reads the Dockerfile: the first argument, or the one with its name.
    fn dockerfile(&mut self, imported: &mut ImportedImage) -> Result<(), InitError> {
        let Call { line, method, arguments, .. } = self.call;
        let refuse = |line: usize, message: String| {
            let at = self.source.line_span(line);
            SourceError::new(self.source, vec![Diagnostic::new(at, message, "")])
        };
        let is_it = |name: &Option<String>| name.as_deref().is_none_or(is_dockerfile);
        let Some(argument) = arguments.iter().find(|argument| is_it(&argument.name)) else {
            return Err(refuse(*line, format!("`{method}` has no Dockerfile")).into());
        };
        let value = self.evaluate(&argument.value).map_err(|Unknown { line, reason }| {
            refuse(line, format!("the Dockerfile of the image cannot be read: it {reason}"))
        })?;
        let Some(text) = value.text() else {
            let message = "the Dockerfile of the image is not a text".to_owned();
            return Err(refuse(argument.value.line, message).into());
        };
        if method == FILE {
            let path = self.folder.join(text);
            let text = read_text(&path, MAX_ORIGIN)?;
            let source = SourceFile::new(&path, text.trim_start_matches('\u{feff}'));
            let mut notes = Notes::default();
            imported.template = Some(dockerfile::read(&source, imported, &mut notes)?);
            self.notes.import(FILE, *line, "a template");
            self.notes.nest(&path.display().to_string(), *line, notes);
        } else {
            let first_line = self.module.line_of_text(self.call.scope, &argument.value);
            let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
            let source = SourceFile::new(&self.source.path, &text).from_line(first_line);
            let template = dockerfile::read(&source, imported, &mut self.notes)?;
            self.notes.import(TEXT, *line, "`dockerfile`");
            let template = format!("{}\n", template.trim_matches('\n'));
            imported.settings.insert("dockerfile".to_owned(), template.into());
        }
        Ok(())
    }
}

const NO_SECRET: &str = "has a value, which is not imported: name a secret, as in `\"$MY_TOKEN\"`";

/// Returns the patterns of a context without the setting `dockerignore`.
fn patterns_of(context: &Path) -> Vec<Toml> {
    match read_text(&context.join(".dockerignore"), MAX_ORIGIN) {
        Ok(text) => patterns_in(&text).map(Toml::from).collect(),
        Err(_) => DEFAULT_PATTERNS.map(Toml::from).to_vec(),
    }
}

/// Returns the patterns of a `.dockerignore` without its comments.
fn patterns_in(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    lines.filter(|line| !line.is_empty())
}

/// Converts a pattern with the rules of a `.gitignore`, which fal applies, to those of a `.dockerignore`: a name without a
/// slash is ignored in all folders.
fn docker_pattern(pattern: &str) -> String {
    let (not, path) = pattern.strip_prefix('!').map_or(("", pattern), |path| ("!", path));
    let is_name = !path.trim_end_matches('/').contains('/');
    let everywhere = if is_name && path != "/" { "**/" } else { "" };
    format!("{not}{everywhere}{}", path.trim_start_matches('/'))
}

/// Returns true for the names of the first parameter.
fn is_dockerfile(name: &str) -> bool {
    matches!(name, "dockerfile_str" | "dockerfile" | "path" | "dockerfile_path")
}

/// Returns the name of the secret that a value refers to: `MY_TOKEN` of `$MY_TOKEN`.
fn secret_name(value: &Literal) -> Option<&str> {
    let name = value.text()?.strip_prefix('$')?.trim_matches(['{', '}']);
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_word)).then_some(name)
}

/// Returns the name that fal gives an app: `my-app` for the class `MyApp`.
fn kebab(class: &str) -> String {
    let mut name = String::new();
    let mut before = None;
    for character in class.chars() {
        if character.is_uppercase() && before.is_some_and(char::is_lowercase) {
            name.push('-');
        }
        name.push(character);
        before = Some(character);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ignored_in_all_folders() {
        let patterns = [
            ("*.pyc", "**/*.pyc"),
            ("data/", "**/data/"),
            ("!keep.pyc", "!**/keep.pyc"),
            ("/data", "data"),
            ("docs/*.md", "docs/*.md"),
            ("**/cache", "**/cache"),
        ];
        for (pattern, expected) in patterns {
            assert_eq!(docker_pattern(pattern), expected);
        }
    }
}
