//! Writes commands, files and the configuration of containers.

use super::Generator;
use super::script::{Run, Script};
use crate::matrix::{CheckCommand, Healthcheck, SourceError, Text};
use crate::render::copied::normalized;

/// Where programs look for the certificates of authorities.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Characters of a path that needs no quotes.
const PLAIN: &str = "._/+@*?-";

impl Generator<'_> {
    pub(super) fn pre_build_commands(&self) -> Script {
        self.commands("Commands before packages are installed.", &self.contents.pre_build_commands)
    }

    pub(super) fn shell_commands(&self) -> Script {
        self.commands("Commands in the finished image.", &self.contents.shell_commands)
    }

    /// A step for each command, so that a changed command repeats only those after it.
    fn commands(&self, comment: &str, commands: &[Text]) -> Script {
        let mut script = Script::default();
        for (number, command) in commands.iter().enumerate() {
            if number == 0 {
                script.comment(comment);
            }
            let mut run = Run::default();
            // An installation of ca-certificates replaces the file that would be mounted.
            if !["apt", "apt-get", "dpkg", "update-ca-certificates"]
                .into_iter()
                .any(|program| calls(command, program))
            {
                self.certificates(&mut run);
            }
            self.secrets(&mut run);
            script.command(&run, command);
        }
        script
    }

    /// Mounts the certificates of the network where programs look for them.
    pub(super) fn certificates(&self, run: &mut Run) {
        if self.has_certificates() {
            run.mount(format!(
                "type=secret,id=ca_certificates,target={CERTIFICATES},required=false"
            ));
        }
    }

    /// Returns the beginning of a command that reads the certificates of the network from a file in `variable`.
    pub(super) fn certificates_in(&self, variable: &str) -> String {
        if self.has_certificates() { format!("{variable}={CERTIFICATES} ") } else { String::new() }
    }

    /// Mounts the secrets of the matrix file below `/run/secrets`, and `netrc` where programs look for it.
    fn secrets(&self, run: &mut Run) {
        for (id, secret) in &self.matrix.build.secrets {
            if id != "netrc" {
                run.mount(format!("type=secret,id={id},required={}", !secret.optional));
            }
        }
        self.netrc(run);
    }

    pub(super) fn netrc(&self, run: &mut Run) {
        if let Some(secret) = self.matrix.build.secrets.get("netrc") {
            let required = !secret.optional;
            run.mount(format!("type=secret,id=netrc,target=/root/.netrc,required={required}"));
        }
    }

    /// Files are linked, so that their layers do not depend on those below.
    pub(super) fn files(&self) -> Result<Script, SourceError> {
        let mut script = self.environment();
        for (number, file) in self.contents.files.iter().enumerate() {
            if number == 0 {
                script.comment("Files.");
            }
            let from = normalized(&file.from);
            let to = match &file.to {
                Some(to) => to.to_string(),
                None => default_target(&from),
            };
            let from = if from.is_empty() { "." } else { &from };
            if let Some(reason) = refuse_path(from).or_else(|| refuse_path(&to)) {
                return Err(self.error(&file.from, format!("`{from}` cannot be copied: {reason}")));
            }
            let is_plain = |path: &str| {
                path.chars().all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
                    && !path.starts_with('-')
            };
            let arguments = if is_plain(from) && is_plain(&to) {
                format!("{from} {to}")
            } else {
                list(&[from, &to])
            };
            script.line(&format!("COPY --link {arguments}"), &file.from.span());
        }
        Ok(script)
    }

    /// The working directory and the variables, which files and commands depend on.
    fn environment(&self) -> Script {
        let mut script = Script::default();
        if let Some(workdir) = &self.contents.workdir {
            script.line(&format!("WORKDIR {}", **workdir), &workdir.span());
        }
        let last = self.contents.env.len().saturating_sub(1);
        for (number, (name, value)) in self.contents.env.iter().enumerate() {
            let begin = if number == 0 { "ENV" } else { "   " };
            let end = if number == last { "" } else { " \\" };
            let line = format!("{begin} {name}={}{end}", quoted_variable(value));
            script.line(&line, &value.span());
        }
        script
    }

    pub(super) fn configuration(&self) -> Result<Script, SourceError> {
        let mut script = Script::default();
        let contents = self.contents;
        for port in &contents.expose {
            let number = port.split('/').next().unwrap_or_default();
            if number.parse::<u16>().is_err() {
                return Err(self.error(port, format!("`{}` is not a port", port.escape_debug())));
            }
            script.line(&format!("EXPOSE {}", **port), &port.span());
        }
        if let Some(user) = &contents.user {
            script.line(&format!("USER {}", **user), &user.span());
        }
        match &contents.healthcheck {
            Some(Healthcheck::None) => script.line("HEALTHCHECK NONE", &(0..0)),
            Some(Healthcheck::Run { command, flags }) => {
                let flags: String = flags.iter().map(|flag| format!("{flag} ")).collect();
                let (words, place) = start(command);
                script.line(&format!("HEALTHCHECK {flags}CMD {words}"), &place);
            }
            None => {}
        }
        for (keyword, command) in [("ENTRYPOINT", &contents.entrypoint), ("CMD", &contents.cmd)] {
            if let Some(command) = command {
                let (words, place) = start(command);
                script.line(&format!("{keyword} {words}"), &place);
            }
        }
        Ok(script)
    }
}

impl Script {
    /// Adds a `RUN` of a command line, or of a script in a here-document.
    fn command(&mut self, run: &Run, command: &Text) {
        let text = command.trim();
        let is_line = !text.contains('\n')
            && !text.starts_with(['[', '-', '#', '<'])
            && !text.contains("<<")
            && !text.ends_with('\\');
        let place = command.span();
        if is_line {
            let mut run = run.clone();
            run.then_at(text, place);
            return self.run(&run);
        }
        // One of so many names is not a line.
        let end = (0..=text.lines().count())
            .map(|number| if number == 0 { "EOF".to_owned() } else { format!("EOF{number}") })
            .find(|end| text.lines().all(|line| line.trim() != end))
            .expect("some name is not a line");
        let mut run = run.clone();
        run.then_at(format!("<<'{end}'"), place.clone());
        self.run(&run);
        // A failed line ends the script, as it ends a step.
        if !text.starts_with("#!") {
            self.line("set -e", &place);
        }
        self.line(text, &place);
        self.line(&end, &place);
    }
}

/// Returns true if a word of `command` is `program`.
pub(super) fn calls(command: &str, program: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    command.split(|c| !is_word(c)).any(|word| word == program)
}

/// Returns the arguments of a `CMD` in the form without a shell, and their place.
fn start(command: &CheckCommand<Text>) -> (String, std::ops::Range<usize>) {
    match command {
        CheckCommand::Shell(line) => (list(&["/bin/sh", "-c", line.as_str()]), line.span()),
        CheckCommand::Exec(words) => {
            let place = words.first().map(Text::span).unwrap_or_default();
            (list(&words.iter().map(|word| word.as_str()).collect::<Vec<_>>()), place)
        }
    }
}

fn list(words: &[&str]) -> String {
    let words: Vec<String> =
        words.iter().map(|word| serde_json::to_string(word).expect("a text is JSON")).collect();
    format!("[{}]", words.join(", "))
}

/// Quotes a value of `ENV`. A reference to another variable, `$NAME`, and `\$` stay as they are.
fn quoted_variable(value: &str) -> String {
    let mut quoted = String::from("\"");
    let mut characters = value.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '"' || (character == '\\' && characters.peek() != Some(&'$')) {
            quoted.push('\\');
        }
        quoted.push(character);
        if character == '\\' {
            quoted.extend(characters.next_if_eq(&'$'));
        }
    }
    quoted.push('"');
    quoted
}

/// Returns the path in the image of a file without one. Wildcards are copied to their folder.
fn default_target(from: &str) -> String {
    let is_wildcard = from.contains(['*', '?', '[']);
    match from.rsplit_once('/') {
        Some((folder, _)) if is_wildcard => format!("./{folder}/"),
        None if is_wildcard || from.is_empty() => "./".to_owned(),
        _ => format!("./{from}"),
    }
}

fn refuse_path(path: &str) -> Option<&'static str> {
    if path.chars().any(crate::matrix::is_invisible) {
        return Some("the path contains an invisible character");
    }
    path.contains('$').then_some("the path contains `$`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_quoted_as_docker_parses_them() {
        for (value, expected) in [
            ("a b", r#""a b""#),
            ("a\"b", r#""a\"b""#),
            (r"a\b", r#""a\\b""#),
            ("/x:$PATH", r#""/x:$PATH""#),
            (r"\$5", r#""\$5""#),
            (r"a\\$b", r#""a\\\$b""#),
        ] {
            assert_eq!(quoted_variable(value), expected, "{value}");
        }
    }

    #[test]
    fn files_keep_their_path_below_the_working_directory() {
        for (from, expected) in [
            ("src", "./src"),
            ("a/b.py", "./a/b.py"),
            ("*.py", "./"),
            ("src/*.py", "./src/"),
            ("", "./"),
        ] {
            assert_eq!(default_target(from), expected, "{from}");
        }
    }

    #[test]
    fn commands_call_programs_by_their_names() {
        assert!(calls("curl -o x", "curl") && calls("/usr/bin/git clone", "git"));
        assert!(!calls("libcurl4 my-git", "curl") && !calls("my-git", "git"));
    }
}
