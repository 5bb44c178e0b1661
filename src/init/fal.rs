//! Imports the container images of a fal app: calls of `ContainerImage.from_dockerfile` and `from_dockerfile_str`.
//!
//! Their parameters are described at <https://fal.ai/docs/documentation/development/use-custom-container-image>. The file is
//! parsed and never run, so only literals count.

mod patterns;

use std::collections::BTreeMap;
use std::path::Path;

use toml::Value as Toml;

use patterns::{docker_pattern, patterns_in, patterns_of};

use super::credentials::refuse_in_variable;
use super::dockerfile;
use super::error::InitError;
use super::python::{Call, Item, Literal, Located, Module, Unknown};
use super::reader::{escaped, refuse, slug, unknown_key};
use super::{ImportedImage, Login, MAX_ORIGIN};
use crate::files::{Wildcard, read_text};
use crate::matrix::{Diagnostic, SourceError, SourceFile, registry_host};
use crate::render::{Instruction, parse, uses_argument};

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
    let module = Module::parse(&source.text, &[TEXT, FILE, IGNORE]);
    let module = module.map_err(|(line, message)| {
        SourceError::new(source, vec![Diagnostic::new(source.line_span(line), message, "")])
    })?;
    let mut images: Vec<ImportedImage> = Vec::new();
    let mut lines = BTreeMap::new();
    for call in module.calls.iter().filter(|call| call.method != IGNORE) {
        // The folder of the app is the working directory of `fal deploy`.
        let context_dir = context.unwrap_or(folder).to_owned();
        let imported =
            ImportedImage { name: slug(name), context: context_dir, ..ImportedImage::default() };
        let (module, instructions) = (&module, Vec::new());
        let app = App { source, folder, context, module, call, imported, instructions };
        let image = app.image()?;
        if let Some(first) = lines.insert(image.name.clone(), call.line) {
            let [first, second] = [first, call.line].map(|line| source.line_span(line));
            let message = format!("two images have the name `{}`", image.name);
            let diagnostic = Diagnostic::new(second, message, "the second");
            let diagnostic = diagnostic.related(first, "the first").help(SAME_NAME);
            return Err(SourceError::new(source, vec![diagnostic]).into());
        }
        images.push(image);
    }
    if images.is_empty() {
        return Err(InitError::Kind {
            path: source.path.display().to_string(),
            expected: "a fal app: it has no `ContainerImage.from_dockerfile_str(…)` or `from_dockerfile(…)`",
        });
    }
    Ok(images)
}

/// What to do about two images of the same name. One that belongs to no class has the name of the folder.
const SAME_NAME: &str = "set `name` in one of their classes, or remove one of them";

/// What to do about a Dockerfile that the file does not contain.
const NOT_RUN: &str = "basegen does not run the app: write the value itself, or import a Dockerfile instead of the app";

/// One call that describes an image.
struct App<'a> {
    source: &'a SourceFile,
    folder: &'a Path,
    context: Option<&'a Path>,
    module: &'a Module,
    call: &'a Call,
    /// The image, as far as it has been read.
    imported: ImportedImage,
    /// The instructions of its Dockerfile, once it has been read.
    instructions: Vec<Instruction>,
}

impl App<'_> {
    fn image(mut self) -> Result<ImportedImage, InitError> {
        self.owner();
        for argument in &self.call.arguments {
            match argument.name.as_deref() {
                // The Dockerfile says which arguments it uses.
                None | Some("build_args") => {}
                Some(name) if is_dockerfile(name) => {}
                Some(name) => self.parameter(name, &argument.value),
            }
        }
        if !self.imported.context.is_dir() {
            return Err(self.missing_context(&self.imported.context).into());
        }
        self.ignored();
        self.dockerfile()?;
        self.exclude_app();
        Ok(self.imported)
    }

    fn missing_context(&self, context: &Path) -> SourceError {
        let mut arguments = self.call.arguments.iter();
        let argument = arguments.find(|argument| argument.name.as_deref() == Some("context_dir"));
        let line = argument.map_or(self.call.line, |argument| argument.value.line);
        let message = format!("there is no folder `{}`", context.display());
        let diagnostic = self.diagnostic(line, message);
        self.refuse(diagnostic.help("`context_dir` is relative to the folder of the app"))
    }

    fn diagnostic(&self, line: usize, message: String) -> Diagnostic {
        Diagnostic::new(self.source.line_span(line), message, "")
    }

    fn refuse(&self, diagnostic: Diagnostic) -> SourceError {
        SourceError::new(self.source, vec![diagnostic])
    }

    /// Reads the attributes of the class or function that the image belongs to.
    fn owner(&mut self) {
        let Some(owner) = self.module.owner_of(self.call) else { return };
        self.imported.name = slug(&kebab(self.module.scope_name(owner)));
        let attribute = |name: &'static str| {
            let value = self.module.assigned(owner, name).last()?;
            Some((value.line, self.module.evaluate(owner, value).ok()?))
        };
        for name in ["app_name", "name"] {
            if let Some((line, Literal::Text(text))) = attribute(name) {
                self.imported.import(name, line, "the name of the image");
                self.imported.name = slug(&text);
            }
        }
        let Some((line, machines)) = attribute("machine_type") else { return };
        let machines = match machines {
            Literal::List(items) => items.into_iter().filter_map(|item| item.value.ok()).collect(),
            one => vec![one],
        };
        let is_gpu = |machine: &Literal| machine.text().is_some_and(|name| name.starts_with("GPU"));
        self.imported.gpu = machines.iter().any(is_gpu);
        if self.imported.gpu {
            self.imported.import("machine_type", line, "axis `gpu`");
        } else {
            self.imported.skip("machine_type", line, "no GPU is requested");
        }
    }

    fn evaluate(&self, value: &Located) -> Result<Literal, Unknown> {
        self.module.evaluate(self.call.scope, value)
    }

    fn parameter(&mut self, name: &str, value: &Located) {
        if !PARAMETERS.contains(&name) {
            return self.imported.leave_out(name, value.line, unknown_key(name, PARAMETERS));
        }
        let literal = match self.evaluate(value) {
            Ok(Literal::None) => return,
            Ok(literal) => literal,
            Err(unknown) => return self.imported.leave_out(name, value.line, unknown.to_string()),
        };
        let line = value.line;
        match (name, literal) {
            ("build_args", Literal::Table(entries)) => self.build_args(entries),
            ("secrets", Literal::Table(entries)) => self.secrets(entries),
            ("registries", Literal::Table(entries)) => self.registries(entries),
            ("context_dir", literal) => match literal.text() {
                Some(_) if self.context.is_some() => {
                    self.imported.skip(name, line, "`--context` overrides it");
                }
                Some(path) => {
                    self.imported.context = self.folder.join(path);
                    self.imported.import(name, line, "`context`");
                }
                None => self.imported.leave_out(name, line, "it is not a path"),
            },
            ("dockerignore", Literal::List(items)) => self.ignore(items),
            ("dockerignore_path", literal) => self.ignore_file(&literal, line),
            ("compression", Literal::Text(text)) => {
                self.set("compression", line, text.into());
            }
            ("force_compression", Literal::Boolean(force)) => {
                self.set("force_compression", line, force.into());
            }
            _ => self.imported.leave_out(name, line, "it has the wrong type"),
        }
    }

    fn set(&mut self, key: &str, line: usize, value: Toml) {
        if let Some(reason) = refuse(key, &value) {
            return self.imported.leave_out(key, line, reason);
        }
        self.imported.import(key, line, format!("`{key}`"));
        self.imported.settings.insert(key.to_owned(), value);
    }

    fn build_args(&mut self, entries: Vec<(String, Item)>) {
        let mut arguments = toml::Table::new();
        for (name, Item { line, value }) in entries {
            let what = format!("build_args.{name}");
            match argument(&name, value) {
                _ if !uses_argument(&self.instructions, &name) => {
                    self.imported.skip(&what, line, "the Dockerfile does not declare it");
                }
                Ok(value) => {
                    self.imported.import(&what, line, "`args`");
                    arguments.insert(name, value);
                }
                Err(reason) => self.imported.leave_out(&what, line, reason),
            }
        }
        if !arguments.is_empty() {
            self.imported.settings.insert("args".to_owned(), arguments.into());
        }
    }

    fn secrets(&mut self, entries: Vec<(String, Item)>) {
        for (id, item) in entries {
            let what = format!("secrets.{id}");
            match secret_name(&item) {
                Ok(variable) => {
                    let to = format!("`[build.secrets]`, from the variable `{variable}`");
                    self.imported.import(&what, item.line, to);
                    self.imported.secrets.push((id, variable.to_owned()));
                }
                Err(reason) => self.imported.leave_out(&what, item.line, reason),
            }
        }
    }

    fn registries(&mut self, entries: Vec<(String, Item)>) {
        for (registry, item) in entries {
            let what = format!("registries.{registry}");
            match login(&registry, &item) {
                Ok(login) => {
                    let to = format!("`[registries.\"{}\"]`", login.host);
                    self.imported.import(&what, item.line, to);
                    self.imported.logins.push(login);
                }
                Err(reason) => self.imported.leave_out(&what, item.line, reason),
            }
        }
    }

    /// Reads the calls of `add_dockerignore` for this image.
    fn ignored(&mut self) {
        let Call { scope, target, .. } = self.call;
        let Some(target) = target else { return };
        let module = self.module;
        let calls = module.calls.iter().filter(|call| call.method == IGNORE);
        for call in calls.filter(|call| call.receiver == *target && call.scope == *scope) {
            for (at, argument) in call.arguments.iter().enumerate() {
                let name = argument.name.as_deref().unwrap_or(["patterns", "path"][at.min(1)]);
                let what = format!("{IGNORE}.{name}");
                match (name, self.evaluate(&argument.value)) {
                    ("patterns", Ok(Literal::List(items))) => self.ignore(items),
                    ("path", Ok(path)) => self.ignore_file(&path, argument.value.line),
                    (_, Err(unknown)) => {
                        self.imported.leave_out(&what, argument.value.line, unknown.to_string());
                    }
                    (_, Ok(_)) => {
                        self.imported.leave_out(
                            &what,
                            argument.value.line,
                            "it has the wrong type",
                        );
                    }
                }
            }
        }
    }

    fn ignore(&mut self, items: Vec<Item>) {
        for item in items {
            match item.text() {
                Ok(pattern) => self.add_pattern(pattern, item.line),
                Err(reason) => self.imported.leave_out("dockerignore", item.line, reason),
            }
        }
    }

    /// Reads the patterns of a file, which then also apply to images of another folder.
    fn ignore_file(&mut self, path: &Literal, line: usize) {
        let text = path.text().map(|path| read_text(&self.folder.join(path), MAX_ORIGIN));
        match text {
            Some(Ok(text)) => {
                for pattern in patterns_in(&text) {
                    self.add_pattern(pattern, line);
                }
            }
            Some(Err(error)) => {
                self.imported.leave_out("dockerignore_path", line, error.to_string());
            }
            None => self.imported.leave_out("dockerignore_path", line, "it is not a path"),
        }
    }

    fn add_pattern(&mut self, pattern: &str, line: usize) {
        let converted = docker_pattern(pattern);
        let value = Toml::Array(vec![converted.as_str().into()]);
        if let Some(reason) = refuse("dockerignore", &value) {
            return self.imported.leave_out(&format!("dockerignore {pattern}"), line, reason);
        }
        if !self.imported.settings.contains_key("dockerignore") {
            self.imported.import("dockerignore", line, "`dockerignore`");
        }
        let list = self.imported.settings.entry("dockerignore".to_owned());
        if let Toml::Array(list) = list.or_insert_with(|| Toml::Array(Vec::new())) {
            list.push(converted.into());
        }
    }

    /// Reads the build arguments that the Dockerfile declares.
    fn declared_arguments(&mut self, dockerfile: &SourceFile) {
        // Its faults are those of the import of the Dockerfile.
        self.instructions = parse(&dockerfile.text).unwrap_or_default();
        for argument in &self.call.arguments {
            if argument.name.as_deref() == Some("build_args") {
                self.parameter("build_args", &argument.value);
            }
        }
    }

    /// Leaves the file of the app out of the image, as fal does, unless the Dockerfile names it.
    fn exclude_app(&mut self) {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let (path, context) = (absolute(&self.source.path), absolute(&self.imported.context));
        let Some(app) = path.strip_prefix(context).ok().and_then(Path::to_str) else { return };
        let contains = |source: &String| {
            let is_below = Path::new(app).starts_with(source);
            is_below || Wildcard::new(source, false).is_some_and(|wildcard| wildcard.matches(app))
        };
        let is_named = self.imported.sources.iter().any(|source| source == app);
        if is_named || !self.imported.sources.iter().any(contains) {
            return;
        }
        let mut patterns = match self.imported.settings.remove("dockerignore") {
            Some(Toml::Array(patterns)) => patterns,
            _ => patterns_of(&self.imported.context),
        };
        patterns.push(app.into());
        self.imported.settings.insert("dockerignore".to_owned(), patterns.into());
        self.imported.import(
            app,
            self.call.line,
            "`dockerignore`: fal does not copy the file of the app",
        );
    }

    /// Reads the Dockerfile: the first argument, or the one with its name.
    fn dockerfile(&mut self) -> Result<(), InitError> {
        let Call { line, method, arguments, .. } = self.call;
        let is_it = |name: &Option<String>| name.as_deref().is_none_or(is_dockerfile);
        let Some(argument) = arguments.iter().find(|argument| is_it(&argument.name)) else {
            let diagnostic = self.diagnostic(*line, format!("`{method}` has no Dockerfile"));
            return Err(self.refuse(diagnostic).into());
        };
        let value = self.evaluate(&argument.value).map_err(|unknown| {
            let message = format!("the Dockerfile of the image cannot be read: {unknown}");
            self.refuse(self.diagnostic(unknown.line, message).help(NOT_RUN))
        })?;
        let Some(text) = value.text() else {
            let message = "the Dockerfile of the image is not a text".to_owned();
            return Err(self.refuse(self.diagnostic(argument.value.line, message)).into());
        };
        if method == FILE {
            let path = self.folder.join(text);
            let text = read_text(&path, MAX_ORIGIN)?;
            let source = SourceFile::new(&path, text.trim_start_matches('\u{feff}'));
            self.imported.import(FILE, *line, "a template");
            self.declared_arguments(&source);
            let first = self.imported.findings.len();
            self.imported.template = Some(dockerfile::read(&source, &mut self.imported)?);
            let findings = &mut self.imported.findings[first..];
            findings.sort_by_key(|finding| finding.line);
            // The lines are those of the Dockerfile.
            for finding in findings {
                finding.what = format!("{}:{} {}", path.display(), finding.line, finding.what);
                finding.line = *line;
            }
        } else {
            let first_line = self.module.line_of_text(self.call.scope, &argument.value);
            let text = if text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") };
            let source = SourceFile::new(&self.source.path, &text).from_line(first_line);
            self.declared_arguments(&source);
            let template = dockerfile::read(&source, &mut self.imported)?;
            self.imported.import(TEXT, *line, "`dockerfile`");
            let template = format!("{}\n", template.trim_matches('\n'));
            self.imported.settings.insert("dockerfile".to_owned(), template.into());
        }
        Ok(())
    }
}

const NO_SECRET: &str = "has a value, which is not imported: name a secret, as in `\"$MY_TOKEN\"`";

/// Returns true for the names of the first parameter.
fn is_dockerfile(name: &str) -> bool {
    matches!(name, "dockerfile_str" | "dockerfile" | "path" | "dockerfile_path")
}

/// Returns a build argument as a value of the matrix file, or the reason why it is left out.
fn argument(name: &str, value: Result<Literal, Unknown>) -> Result<Toml, String> {
    let value = value.map_err(|unknown| unknown.to_string())?;
    let (Literal::Text(text) | Literal::Number(text)) = value else {
        return Err("it is not a text".to_owned());
    };
    refuse_in_variable(name, &text)?;
    let value = Toml::from(escaped(&text));
    let table = toml::Table::from_iter([(name.to_owned(), value.clone())]);
    refuse("args", &table.into()).map_or(Ok(value), Err)
}

/// Returns the credentials of a registry, or the reason why they are left out.
fn login(registry: &str, item: &Item) -> Result<Login, String> {
    let host = registry.trim_start_matches("https://").trim_end_matches('/');
    let host = registry_host(registry).or_else(|| registry_host(host));
    let host = host.ok_or("it is not the host of a registry")?;
    let Literal::Table(credentials) = item.value.as_ref().map_err(ToString::to_string)? else {
        return Err("it is not a table".to_owned());
    };
    let find = |name: &str| {
        let found = credentials.iter().find(|(key, _)| key == name);
        found.map(|(_, item)| item).ok_or_else(|| format!("it has no `{name}`"))
    };
    let (username, password) = (find("username")?.text()?, secret_name(find("password")?)?);
    let keys =
        [("auth_method", "BASIC"), ("username", username), ("password_secret_name", password)];
    let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
    Ok(Login { host: host.to_owned(), line: item.line, keys })
}

/// Returns the name of the secret that a value refers to: `MY_TOKEN` of `$MY_TOKEN`.
fn secret_name(item: &Item) -> Result<&str, String> {
    let name = item.text()?.strip_prefix('$').map(|name| name.trim_matches(['{', '}']));
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = name.filter(|name| !name.is_empty() && name.chars().all(is_word));
    name.ok_or_else(|| NO_SECRET.to_owned())
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
