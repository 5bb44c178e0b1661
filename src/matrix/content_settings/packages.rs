//! Parses packages of apt, conda and pip, and options of these programs.
//!
//! A package has a key, its name, by which a later table replaces it. The key of an option that can occur several times
//! also contains its value.

use crate::matrix::diagnostic::did_you_mean;
use crate::matrix::safe;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PackageManager {
    Apt,
    Conda,
    /// pip, for packages that are the same for all versions of Python.
    Libraries,
    Pip,
}

/// An argument of the command that installs packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PackageItem<T> {
    /// A package with its version, as the package manager writes it.
    Package(T),
    /// A file with packages.
    File(T),
    /// An option, and its value if it has one.
    Option { name: &'static str, value: Option<T> },
}

impl<T> PackageItem<T> {
    pub(in crate::matrix) fn map<U>(&self, convert: impl FnOnce(&T) -> U) -> PackageItem<U> {
        match self {
            Self::Package(text) => PackageItem::Package(convert(text)),
            Self::File(text) => PackageItem::File(convert(text)),
            Self::Option { name, value } => {
                PackageItem::Option { name, value: value.as_ref().map(convert) }
            }
        }
    }

    /// Returns the package, the path or the value.
    pub fn text(&self) -> Option<&T> {
        match self {
            Self::Package(text) | Self::File(text) => Some(text),
            Self::Option { value, .. } => value.as_ref(),
        }
    }

    /// Returns true if the argument installs something.
    #[must_use]
    pub fn is_package(&self) -> bool {
        !matches!(self, Self::Option { .. })
    }
}

impl<T: std::ops::Deref<Target = String>> std::fmt::Display for PackageItem<T> {
    /// Writes an entry of an array in the matrix file.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Package(text) => formatter.write_str(text),
            Self::File(path) => write!(formatter, "-r {}", path.as_str()),
            Self::Option { name, value: None } => formatter.write_str(name),
            Self::Option { name, value: Some(value) } => {
                write!(formatter, "{name} {}", value.as_str())
            }
        }
    }
}

/// A parsed package or option.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    pub(super) key: String,
    pub(super) item: PackageItem<String>,
}

/// Why a package or an option is refused, and advice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    pub(super) help: Option<String>,
}

impl Refusal {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// An option of a package manager.
struct OptionForm {
    /// The names, the one for the command line first.
    names: &'static [&'static str],
    kind: OptionKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OptionKind {
    /// It has no value.
    Flag,
    /// The last value counts.
    Single,
    /// All values count.
    Repeated,
    /// It names a file with packages.
    File,
}

const fn option(names: &'static [&'static str], kind: OptionKind) -> OptionForm {
    OptionForm { names, kind }
}

const APT: &[OptionForm] = &[
    option(&["-r"], OptionKind::File),
    option(&["--target-release", "-t"], OptionKind::Single),
    option(&["--option", "-o"], OptionKind::Repeated),
    option(&["--install-recommends"], OptionKind::Flag),
];

const CONDA: &[OptionForm] = &[
    option(&["-r", "--file", "-f"], OptionKind::File),
    option(&["--channel", "-c"], OptionKind::Repeated),
    option(&["--channel-priority"], OptionKind::Single),
    option(&["--override-channels"], OptionKind::Flag),
];

/// Reference: <https://docs.astral.sh/uv/reference/cli/#uv-pip-install>
const PIP: &[OptionForm] = &[
    option(&["-r", "--requirement", "--requirements"], OptionKind::File),
    option(&["--constraint", "-c", "--constraints"], OptionKind::Repeated),
    option(&["--build-constraint", "-b"], OptionKind::Repeated),
    option(&["--override"], OptionKind::Repeated),
    option(&["--python", "-p"], OptionKind::Single),
    option(&["--index-url", "-i", "--default-index"], OptionKind::Single),
    option(&["--extra-index-url", "--index"], OptionKind::Repeated),
    option(&["--find-links", "-f"], OptionKind::Repeated),
    option(&["--no-binary"], OptionKind::Repeated),
    option(&["--only-binary"], OptionKind::Repeated),
    option(&["--index-strategy"], OptionKind::Single),
    option(&["--prerelease"], OptionKind::Single),
    option(&["--resolution"], OptionKind::Single),
    option(&["--exclude-newer"], OptionKind::Single),
    option(&["--torch-backend"], OptionKind::Single),
    option(&["--pre"], OptionKind::Flag),
    option(&["--no-index"], OptionKind::Flag),
    option(&["--no-deps"], OptionKind::Flag),
    option(&["--require-hashes"], OptionKind::Flag),
    option(&["--no-build-isolation"], OptionKind::Flag),
];

/// Options of [`PIP`] that `libraries` do not have: they are not built, and are for no single version of Python.
const ONLY_PIP: [&str; 6] = [
    "--build-constraint",
    "--python",
    "--no-binary",
    "--only-binary",
    "--torch-backend",
    "--no-build-isolation",
];

/// The version of a package that may be any.
const LATEST: [&str; 2] = ["latest", "*"];

impl PackageManager {
    pub const ALL: [Self; 4] = [Self::Apt, Self::Conda, Self::Libraries, Self::Pip];

    /// Returns the key of the matrix file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Apt => "apt",
            Self::Conda => "conda",
            Self::Libraries => "libraries",
            Self::Pip => "pip",
        }
    }

    fn is_pip(self) -> bool {
        matches!(self, Self::Libraries | Self::Pip)
    }

    fn options(self) -> Vec<&'static OptionForm> {
        let forms = match self {
            Self::Apt => APT,
            Self::Conda => CONDA,
            Self::Libraries | Self::Pip => PIP,
        };
        let is_own =
            |form: &&OptionForm| self != Self::Libraries || !ONLY_PIP.contains(&form.names[0]);
        forms.iter().filter(is_own).collect()
    }

    /// Parses an entry of an array, or a line of a file with packages: `numpy>=1.26`, `-r requirements.txt`.
    pub(super) fn parse(self, text: &str) -> Result<Parsed, Refusal> {
        let text = text.trim();
        if !text.starts_with('-') {
            return self.package(text);
        }
        let end = text.find([' ', '=']).unwrap_or(text.len());
        let value = text[end..].trim_start_matches([' ', '=']).trim();
        self.option(&text[..end], Some(value).filter(|value| !value.is_empty()))
    }

    /// Returns why `text` is not a package, if so.
    #[must_use]
    pub fn refuse(self, text: &str) -> Option<String> {
        self.package(text).err().map(|refusal| refusal.reason)
    }

    /// Parses an entry of a table: a package and its version, or an option and its value.
    pub(super) fn parse_pair(self, name: &str, value: Option<&str>) -> Result<Parsed, Refusal> {
        if name.starts_with('-') {
            return self.option(name, value);
        }
        let version = value.unwrap_or_default().trim();
        if version.is_empty() {
            let help = "write \"latest\" for any version";
            return Err(Refusal::new(format!("the version of `{name}` is empty")).help(help));
        }
        if LATEST.contains(&version) {
            return self.package(name);
        }
        let begins = |starts: &[&str]| starts.iter().any(|start| version.starts_with(start));
        let is_range = begins(&["=", "<", ">", "!", "~"]);
        let text = match self {
            Self::Apt if begins(&["<", ">", "!", "~"]) => {
                let help = "name the exact version, or \"latest\"";
                return Err(Refusal::new("apt cannot install a range of versions").help(help));
            }
            Self::Apt => format!("{name}={}", version.trim_start_matches(['=', ' '])),
            Self::Conda if is_range => format!("{name}{version}"),
            Self::Conda => format!("{name}={version}"),
            _ if begins(&["@"]) => format!("{name} {version}"),
            _ if is_url(version) => format!("{name} @ {version}"),
            _ if is_range || begins(&[";"]) => format!("{name}{version}"),
            Self::Libraries | Self::Pip => format!("{name}=={version}"),
        };
        self.package(&text)
    }

    fn package(self, text: &str) -> Result<Parsed, Refusal> {
        if let Some(found) = text.chars().find(|c| safe::is_invisible(*c)) {
            return Err(Refusal::new(format!(
                "it contains U+{:04X}, but must be one line of visible text",
                u32::from(found)
            )));
        }
        let name = name_of(text);
        if name.is_empty() {
            return Err(Refusal::new("expected the name of a package"));
        }
        match self {
            Self::Apt => {
                let is_allowed = |c: char| c.is_ascii_alphanumeric() || "+.-:=~_*/{} ".contains(c);
                let plain = without_placeholders(text);
                if !text.chars().all(is_allowed) || plain.contains([' ', '{', '}']) {
                    let reason =
                        "expected the name of a Debian package, such as `curl` or `curl=8.5.0-2`";
                    return Err(Refusal::new(reason));
                }
            }
            Self::Libraries | Self::Pip if is_path(text) => {
                let help = "copy it with `files`, and install it with `shell_commands`";
                return Err(Refusal::new("a local package cannot be installed here").help(help));
            }
            Self::Conda | Self::Libraries | Self::Pip => {}
        }
        let is_unnamed = self.is_pip() && is_url(text);
        let key = if is_unnamed { text.to_owned() } else { self.normalized(name) };
        Ok(Parsed { key, item: PackageItem::Package(text.to_owned()) })
    }

    /// Returns the name by which two spellings of a package are compared.
    ///
    /// Reference: <https://packaging.python.org/en/latest/specifications/name-normalization/>
    fn normalized(self, name: &str) -> String {
        match self {
            Self::Libraries | Self::Pip => {
                let parts = name.split(['-', '_', '.']).filter(|part| !part.is_empty());
                parts.collect::<Vec<_>>().join("-").to_ascii_lowercase()
            }
            Self::Apt | Self::Conda => name.to_ascii_lowercase(),
        }
    }

    fn option(self, name: &str, value: Option<&str>) -> Result<Parsed, Refusal> {
        let forms = self.options();
        let Some(form) = forms.iter().find(|form| form.names.contains(&name)) else {
            let known = || forms.iter().flat_map(|form| form.names).copied();
            let reason = format!("`{name}` is not an option of `{}`", self.key());
            let list = forms.iter().map(|form| format!("`{}`", form.names[0]));
            let list = list.collect::<Vec<_>>().join(", ");
            let help = did_you_mean(name, known()).unwrap_or(format!("the options are {list}"));
            return Err(Refusal::new(reason).help(help));
        };
        let name = form.names[0];
        match (form.kind, value) {
            (OptionKind::Flag, Some(_)) => Err(Refusal::new(format!("`{name}` has no value"))),
            (OptionKind::Flag, None) => {
                Ok(Parsed { key: name.to_owned(), item: PackageItem::Option { name, value: None } })
            }
            (_, None) => Err(Refusal::new(format!("`{name}` needs a value"))),
            (kind, Some(value)) => {
                if value.chars().any(safe::is_invisible) || value.starts_with('-') {
                    return Err(Refusal::new(format!("`{value}` is not a value of `{name}`")));
                }
                let text = value.to_owned();
                let key = match kind {
                    OptionKind::Single => name.to_owned(),
                    _ => format!("{name} {value}"),
                };
                let item = if kind == OptionKind::File {
                    PackageItem::File(text)
                } else {
                    PackageItem::Option { name, value: Some(text) }
                };
                Ok(Parsed { key, item })
            }
        }
    }
}

/// Returns the name at the begin of a package, with its placeholders: `a` of `a[b]>=1`, `conda-forge::a` of
/// `conda-forge::a=1`.
fn name_of(text: &str) -> &str {
    let mut end = 0;
    while let Some(next) = text[end..].chars().next() {
        if text[end..].starts_with("{{") {
            end += text[end..].find("}}").map_or(text.len() - end, |at| at + 2);
        } else if next.is_ascii_alphanumeric() || "._+-".contains(next) {
            end += 1;
        } else if text[end..].starts_with("::") {
            end += 2;
        } else {
            break;
        }
    }
    &text[..end]
}

fn without_placeholders(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        plain.push_str(before);
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    plain
}

/// Returns true for a URL, also one of a version control system such as `git+https://…`.
pub(super) fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        !scheme.is_empty()
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+')
    })
}

fn is_path(text: &str) -> bool {
    let ends = |ending: &str| text.to_ascii_lowercase().ends_with(ending);
    let is_archive = ends(".whl") || ends(".tar.gz") || ends(".zip");
    text.starts_with(['.', '/']) || (is_archive && !text.contains("://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(manager: PackageManager, text: &str) -> String {
        shown(manager.parse(text))
    }

    fn pair(manager: PackageManager, name: &str, value: &str) -> String {
        shown(manager.parse_pair(name, Some(value)))
    }

    fn shown(parsed: Result<Parsed, Refusal>) -> String {
        match parsed {
            Ok(Parsed { key, item: PackageItem::Package(text) }) => format!("{key}: {text}"),
            Ok(Parsed { key, item: PackageItem::File(path) }) => format!("{key}: file {path}"),
            Ok(Parsed { key, item: PackageItem::Option { name, value } }) => {
                format!("{key}: {name}={}", value.unwrap_or_default())
            }
            Err(Refusal { reason, help }) => {
                format!("{reason}{}", help.map(|help| format!(" | {help}")).unwrap_or_default())
            }
        }
    }

    #[test]
    fn versions_in_tables_get_the_syntax_of_their_manager() {
        use PackageManager::{Apt, Conda, Pip};
        for (manager, name, version, expected) in [
            (Pip, "numpy", "latest", "numpy: numpy"),
            (Pip, "Foo_Bar.baz", "*", "foo-bar-baz: Foo_Bar.baz"),
            (Pip, "torch", "==2.0.0", "torch: torch==2.0.0"),
            (Pip, "torch", "2.0.0", "torch: torch==2.0.0"),
            (
                Pip,
                "numpy",
                ">=1.26,<2; python_version<\"3.13\"",
                "numpy: numpy>=1.26,<2; python_version<\"3.13\"",
            ),
            (Pip, "uvicorn[standard]", "~=0.30", "uvicorn: uvicorn[standard]~=0.30"),
            (Pip, "a", "git+https://a.example/a@v1", "a: a @ git+https://a.example/a@v1"),
            (Pip, "torch", "{{torch}}", "torch: torch=={{torch}}"),
            (Apt, "ffmpeg", "latest", "ffmpeg: ffmpeg"),
            (Apt, "ffmpeg", "7:5.1.6-0+deb12u1", "ffmpeg: ffmpeg=7:5.1.6-0+deb12u1"),
            (Apt, "ffmpeg", "= 7:5.1", "ffmpeg: ffmpeg=7:5.1"),
            (Apt, "libc6:amd64", "latest", "libc6: libc6:amd64"),
            (Conda, "cuda", ">=11.7", "cuda: cuda>=11.7"),
            (Conda, "cudatoolkit", "11.7", "cudatoolkit: cudatoolkit=11.7"),
            (Conda, "conda-forge::opencv", "latest", "conda-forge::opencv: conda-forge::opencv"),
        ] {
            assert_eq!(pair(manager, name, version), expected, "{name} {version}");
        }
    }

    #[test]
    fn options_are_parsed_by_all_their_names() {
        use PackageManager::{Apt, Conda, Pip};
        for (manager, text, expected) in [
            (Pip, "-r requirements.txt", "-r requirements.txt: file requirements.txt"),
            (Pip, "--requirement=a.txt", "-r a.txt: file a.txt"),
            (
                Pip,
                "-c constraints.txt",
                "--constraint constraints.txt: --constraint=constraints.txt",
            ),
            (
                Pip,
                "-i https://a.example/simple",
                "--index-url: --index-url=https://a.example/simple",
            ),
            (Pip, "--pre", "--pre: --pre="),
            (Conda, "-c conda-forge", "--channel conda-forge: --channel=conda-forge"),
            (Conda, "--file environment.yml", "-r environment.yml: file environment.yml"),
            (Apt, "-t bookworm-backports", "--target-release: --target-release=bookworm-backports"),
        ] {
            assert_eq!(parse(manager, text), expected, "{text}");
        }
    }

    #[test]
    fn invalid_packages_are_refused() {
        use PackageManager::{Apt, Conda, Pip};
        let mut all = Vec::new();
        for (manager, text) in [
            (Apt, "curl; rm -rf /"),
            (Apt, "$(id)"),
            (Apt, "a\nb"),
            (Apt, "--reinstall"),
            (Pip, ""),
            (Pip, "a\u{202e}b"),
            (Pip, "./wheels/a.whl"),
            (Pip, "--index-ulr x"),
            (Pip, "--pre x"),
            (Pip, "-r"),
            (Pip, "-c --pre"),
            (Conda, "-p /opt"),
        ] {
            let refusal = manager.parse(text).expect_err(text);
            all.push(format!("{text:?}: {}", shown(Err(refusal))));
        }
        for (manager, name, value) in [(Apt, "ffmpeg", ">=5"), (Pip, "numpy", " ")] {
            let refusal = manager.parse_pair(name, Some(value)).expect_err(name);
            all.push(format!("{name} = {value:?}: {}", shown(Err(refusal))));
        }
        insta::assert_snapshot!(all.join("\n"));
    }
}
