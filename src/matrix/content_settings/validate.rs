//! Validates the contents of images.

use indexmap::IndexMap;

use super::packages::{PackageItem, PackageManager, Parsed, Refusal};
use super::{ContentSettings, CopiedFile, Healthcheck, Packages};
use crate::image::refuse_scheme;
use crate::matrix::checker::Checker;
use crate::matrix::command::CheckCommand;
use crate::matrix::diagnostic::Diagnostic;
use crate::matrix::pattern::Pattern;
use crate::matrix::placeholders::PatternKind;
use crate::matrix::safe;
use crate::matrix::schema::{
    ExposeEntry, FileValue, FilesEntry, HealthcheckEntry, HealthcheckTable, PackageValue,
    PackagesEntry, PortEntry, RunEntry, SettingKeys,
};
use crate::matrix::secrets::{holds_secret, looks_like_secret};
use crate::matrix::spanned::{Span, Spanned};

/// How package managers authenticate.
const NETRC: &str =
    "add `netrc = { env = \"…\" }` to `[build.secrets]`, which steps mount as `/root/.netrc`";

impl Checker<'_> {
    pub(in crate::matrix) fn contents(&mut self, keys: &SettingKeys<'_>) -> ContentSettings {
        ContentSettings {
            base: keys.base.map(|base| self.base_image(base)),
            pre_build_commands: self.commands(keys.pre_build_commands),
            apt: self.packages(PackageManager::Apt, keys.apt),
            conda: self.packages(PackageManager::Conda, keys.conda),
            libraries: self.packages(PackageManager::Libraries, keys.libraries),
            pip: self.packages(PackageManager::Pip, keys.pip),
            files: keys.files.map(|files| self.files(files)).unwrap_or_default(),
            shell_commands: self.commands(keys.shell_commands),
            env: keys.env.map(|variables| self.environment(variables)).unwrap_or_default(),
            user: keys.user.map(|user| self.word(user, "user")),
            workdir: keys.workdir.map(|path| self.word(path, "working directory")),
            entrypoint: keys.entrypoint.map(|command| self.start_command(command)),
            cmd: keys.cmd.map(|command| self.start_command(command)),
            expose: keys.expose.map(|ports| self.ports(ports)),
            healthcheck: keys.healthcheck.and_then(|check| self.healthcheck(check)),
        }
    }

    fn text(&mut self, span: Span, text: &str) -> Pattern {
        self.pattern(&Spanned::new(span, text.to_owned()), PatternKind::Image)
    }

    fn base_image(&mut self, base: &Spanned<String>) -> Pattern {
        if let Some(call) = Pattern::of_image_call(base) {
            return call;
        }
        let label = "such as \"python:{{python}}-slim-bookworm\"";
        if let Err(error) = refuse_scheme(base) {
            self.report(base.span(), error.to_string(), label);
        } else if base.is_empty() || !base.chars().all(|c| c.is_ascii_graphic() && c != '$') {
            let message = format!("`{}` is not the name of an image", base.escape_debug());
            self.report(base.span(), message, label);
        }
        self.pattern(base, PatternKind::Image)
    }

    /// Validates the arguments of an instruction with one word.
    fn word(&mut self, text: &Spanned<String>, what: &str) -> Pattern {
        let is_word = |c: char| c.is_ascii_alphanumeric() || "._:/@+{}-".contains(c);
        let plain = text.replace(' ', "");
        if text.is_empty() || !plain.chars().all(is_word) || text.starts_with('-') {
            let message = format!("`{}` is not a valid {what}", text.escape_debug());
            let label = "expected letters, digits, `.`, `_`, `-`, `:` and `/`";
            self.report(text.span(), message, label);
        }
        self.pattern(text, PatternKind::Image)
    }

    fn commands(&mut self, commands: Option<&Spanned<Vec<Spanned<String>>>>) -> Vec<Pattern> {
        let mut patterns = Vec::new();
        for command in commands.map(Spanned::get_ref).into_iter().flatten() {
            let visible = command.replace(['\n', '\t'], " ");
            if command.trim().is_empty() {
                let label = "expected a command line for the shell";
                self.report(command.span(), "the command is empty", label);
            } else if visible.chars().any(safe::is_invisible) {
                let message = "the command contains an invisible character";
                self.report(command.span(), message, "expected visible text");
            } else if holds_secret(command) {
                self.refuse_secret(command.span(), "the command");
            }
            patterns.push(self.pattern(command, PatternKind::Image));
        }
        patterns
    }

    fn refuse_secret(&mut self, span: Span, what: &str) -> &mut Diagnostic {
        let message = format!("{what} contains a secret, which would get into the image");
        let diagnostic = self.report(span, message, "");
        diagnostic.is_concealed = true;
        diagnostic.help = Some("mount it in a build step with `[build.secrets]`".to_owned());
        diagnostic
    }

    fn packages(
        &mut self,
        manager: PackageManager,
        entry: Option<&Spanned<PackagesEntry>>,
    ) -> Packages {
        let mut packages = Packages::new();
        let Some(entry) = entry else {
            return packages;
        };
        match entry.get_ref() {
            PackagesEntry::File(path) => {
                self.package(
                    manager,
                    &mut packages,
                    &entry.span(),
                    manager.parse_pair("-r", Some(path.as_str())),
                );
            }
            PackagesEntry::List(list) => {
                for line in list {
                    self.package(manager, &mut packages, &line.span(), manager.parse(line));
                }
            }
            PackagesEntry::Table(table) => {
                for (name, value) in table {
                    self.package_pair(&mut packages, manager, name, value);
                }
            }
        }
        packages
    }

    fn package_pair(
        &mut self,
        packages: &mut Packages,
        manager: PackageManager,
        name: &Spanned<String>,
        value: &Spanned<PackageValue>,
    ) {
        let is_option = name.starts_with('-');
        match value.get_ref() {
            PackageValue::Text(text) => {
                self.package(
                    manager,
                    packages,
                    &value.span(),
                    manager.parse_pair(name, Some(text.as_str())),
                );
            }
            PackageValue::List(values) if is_option => {
                for value in values {
                    self.package(
                        manager,
                        packages,
                        &value.span(),
                        manager.parse_pair(name, Some(value.as_str())),
                    );
                }
            }
            PackageValue::Flag(true) if is_option => {
                self.package(manager, packages, &name.span(), manager.parse_pair(name, None));
            }
            PackageValue::Flag(false) => match manager.parse(name) {
                Ok(Parsed { key, .. }) => _ = packages.insert(key, None),
                Err(refusal) => self.refuse_package(name.span(), refusal),
            },
            PackageValue::List(_) | PackageValue::Flag(true) => {
                let message = format!("`{}` has no version", name.escape_debug());
                let help = "write \"latest\" for any version, and `false` to remove the package";
                self.report(value.span(), message, "expected a version").help =
                    Some(help.to_owned());
            }
        }
    }

    /// Adds a package. Several entries of one table with the same name, such as requirements with different markers,
    /// are kept.
    fn package(
        &mut self,
        manager: PackageManager,
        packages: &mut Packages,
        span: &Span,
        parsed: Result<Parsed, Refusal>,
    ) {
        match parsed {
            Ok(Parsed { key, item }) => {
                if item.text().is_some_and(|text| holds_secret(text) || has_password(text)) {
                    let what = format!("`{}`", manager.key());
                    self.refuse_secret(span.clone(), &what).help = Some(NETRC.to_owned());
                }
                let mut pattern = |text: &String| self.text(span.clone(), text);
                let item: PackageItem<Pattern> = item.map(&mut pattern);
                packages.entry(key).or_default().get_or_insert_default().push(item);
            }
            Err(refusal) => self.refuse_package(span.clone(), refusal),
        }
    }

    fn refuse_package(&mut self, span: Span, refusal: Refusal) {
        let Refusal { reason, help } = refusal;
        self.report(span, reason, "").help = help;
    }

    fn files(
        &mut self,
        entry: &Spanned<FilesEntry>,
    ) -> IndexMap<String, Option<CopiedFile<Pattern>>> {
        let mut files = IndexMap::new();
        match entry.get_ref() {
            FilesEntry::List(paths) => {
                for path in paths {
                    self.check_file(path);
                    let from = self.pattern(path, PatternKind::Image);
                    files.insert(path.to_string(), Some(CopiedFile { from, to: None }));
                }
            }
            FilesEntry::Table(table) => {
                for (path, value) in table {
                    self.check_file(path);
                    let file = match value.get_ref() {
                        FileValue::Flag(false) => None,
                        FileValue::Flag(true) => {
                            let label = "expected a path in the image, or `false`";
                            let message = format!("`{}` has no path", path.escape_debug());
                            self.report(value.span(), message, label);
                            None
                        }
                        FileValue::Path(to) => {
                            let to = Spanned::new(value.span(), to.clone());
                            self.check_line(&to, "expected the path in the image", "one line");
                            let from = self.pattern(path, PatternKind::Image);
                            let to = Some(self.pattern(&to, PatternKind::Image));
                            Some(CopiedFile { from, to })
                        }
                    };
                    files.insert(path.to_string(), file);
                }
            }
        }
        files
    }

    fn check_file(&mut self, path: &Spanned<String>) {
        if let Some(reason) = safe::refuse_path(path) {
            self.report_path(path, reason);
        }
    }

    fn environment(
        &mut self,
        variables: &IndexMap<Spanned<String>, Spanned<String>>,
    ) -> IndexMap<String, Pattern> {
        let mut environment = IndexMap::new();
        for (name, value) in variables {
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let is_name = !name.is_empty()
                && name.chars().all(is_word)
                && !name.starts_with(|c: char| c.is_ascii_digit());
            if !is_name {
                let message = format!("`{}` is not the name of a variable", name.escape_debug());
                self.report(name.span(), message, "expected letters, digits and `_`");
            }
            if value.chars().any(safe::is_invisible) {
                let message = format!("the variable `{}` contains an invisible character", **name);
                self.report(value.span(), message, "expected one line of text");
            } else if holds_secret(value) || looks_like_secret(value) {
                self.refuse_secret(value.span(), &format!("the variable `{}`", **name));
            }
            environment.insert(name.to_string(), self.pattern(value, PatternKind::Image));
        }
        environment
    }

    fn start_command(&mut self, command: &Spanned<RunEntry>) -> CheckCommand<Pattern> {
        let mut text = |text: &String| {
            if text.chars().any(safe::is_invisible) {
                let message = "the command contains an invisible character";
                self.report(command.span(), message, "expected one line of text");
            }
            self.text(command.span(), text)
        };
        match command.get_ref() {
            RunEntry::Shell(line) => CheckCommand::Shell(text(line)),
            RunEntry::Exec(words) => CheckCommand::Exec(words.iter().map(text).collect()),
        }
    }

    fn ports(&mut self, entry: &Spanned<ExposeEntry>) -> Vec<Pattern> {
        let entries = match entry.get_ref() {
            ExposeEntry::One(port) => std::slice::from_ref(port),
            ExposeEntry::Many(ports) => ports,
        };
        let mut ports = Vec::new();
        for port in entries {
            let text = match port {
                PortEntry::Number(number) => number.to_string(),
                PortEntry::Text(text) => text.clone(),
            };
            let (number, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
            let is_port = number.parse::<u16>().is_ok_and(|number| number > 0)
                || (number.starts_with("{{") && number.ends_with("}}"));
            if !is_port || !matches!(protocol, "tcp" | "udp") {
                let message = format!("`{}` is not a port", text.escape_debug());
                let label = "expected a number from 1 to 65535, or one with a protocol: \"53/udp\"";
                self.report(entry.span(), message, label);
            }
            ports.push(self.text(entry.span(), &text));
        }
        ports
    }

    fn healthcheck(&mut self, entry: &Spanned<HealthcheckEntry>) -> Option<Healthcheck<Pattern>> {
        match entry.get_ref() {
            HealthcheckEntry::Flag(false) => Some(Healthcheck::None),
            HealthcheckEntry::Flag(true) => {
                let label = "expected a command, or `false` for none";
                self.report(entry.span(), "the health check has no command", label);
                None
            }
            HealthcheckEntry::Command(run) => {
                let run = Spanned::new(entry.span(), run.clone());
                Some(Healthcheck::Run { command: self.start_command(&run), flags: Vec::new() })
            }
            HealthcheckEntry::Table(table) => {
                let flags = self.healthcheck_flags(table);
                Some(Healthcheck::Run { command: self.start_command(&table.run), flags })
            }
        }
    }

    fn healthcheck_flags(&mut self, table: &HealthcheckTable) -> Vec<String> {
        let HealthcheckTable { interval, timeout, start_period, retries, run: _ } = table;
        let mut flags = Vec::new();
        for (name, value) in
            [("interval", interval), ("timeout", timeout), ("start-period", start_period)]
        {
            let Some(value) = value else {
                continue;
            };
            if !is_duration(value) {
                let message = format!("`{}` is not a duration", value.escape_debug());
                self.report(value.span(), message, "such as \"30s\" or \"1m30s\"");
            }
            flags.push(format!("--{name}={}", **value));
        }
        if let Some(retries) = retries {
            if **retries < 1 {
                let message = format!("`{}` is not a number of retries", **retries);
                self.report(retries.span(), message, "expected at least 1");
            }
            flags.push(format!("--retries={}", **retries));
        }
        flags
    }
}

/// Returns true for a URL with a user or a password.
fn has_password(text: &str) -> bool {
    text.match_indices("://").any(|(at, mark)| {
        let authority = text[at + mark.len()..].split(['/', '?', '#', ' ']).next();
        let user = authority.unwrap_or_default().rsplit_once('@').map(|(user, _)| user);
        let is_ssh = text[..at].ends_with("ssh");
        user.is_some_and(|user| user.contains(':') || !is_ssh)
    })
}

/// Returns true for a duration such as `1m30s`.
///
/// Reference: <https://pkg.go.dev/time#ParseDuration>
fn is_duration(text: &str) -> bool {
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(end);
        let unit =
            ["ms", "us", "ns", "h", "m", "s"].into_iter().find(|unit| after.starts_with(unit));
        match unit {
            Some(unit) if number.parse::<f64>().is_ok() => rest = &after[unit.len()..],
            _ => return false,
        }
    }
    !text.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for text in ["30s", "1m30s", "1.5h", "500ms"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "30", "s", "1 s", "1d"] {
            assert!(!is_duration(text), "{text}");
        }
    }

    #[test]
    fn urls_with_passwords_are_detected() {
        for text in ["https://a:b@h/x", "a @ https://token@h/x", "git+https://t@h/x"] {
            assert!(has_password(text), "{text}");
        }
        for text in ["https://h/x@v1", "git+ssh://git@h/x", "a>=1", "https://h/a?b=@c"] {
            assert!(!has_password(text), "{text}");
        }
    }
}
