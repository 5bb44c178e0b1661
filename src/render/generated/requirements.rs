//! Reads files with packages.

use super::Generator;
use crate::matrix::{Diagnostic, PackageManager, SourceError, SourceFile, Text};
use crate::render::copied::normalized;

/// The maximum number of requirement files that name each other.
const MAX_FILES: usize = 100;

impl Generator<'_> {
    /// Returns the packages in a file for apt: words, and comments after `#`.
    pub(super) fn packages_in(&self, path: &Text) -> Result<Vec<String>, SourceError> {
        let text = self.text(path, path)?;
        let source = SourceFile::new(&self.matrix.templates().join(path.as_str()), &text);
        let mut packages = Vec::new();
        let mut begin = 0;
        for line in text.split_inclusive('\n') {
            let words = line.split('#').next().unwrap_or_default().split_whitespace();
            for word in words {
                if let Some(reason) = PackageManager::Apt.refuse(word) {
                    let at = begin + (word.as_ptr() as usize - line.as_ptr() as usize);
                    let message = format!("`{}` is not a package", word.escape_debug());
                    let diagnostic = Diagnostic::new(at..at + word.len(), message, reason);
                    return Err(SourceError::new(&source, vec![diagnostic]));
                }
                packages.push(word.to_owned());
            }
            begin += line.len();
        }
        Ok(packages)
    }

    /// Returns a file of pip requirements and the files that it names, by their paths in the build context.
    pub(super) fn requirement_files(&self, path: &Text) -> Result<Vec<String>, SourceError> {
        let mut files = vec![self.context_path(path, path)?];
        let mut next = 0;
        while let Some(file) = files.get(next).cloned() {
            next += 1;
            let text = self.text(&file, path)?;
            let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
            for name in named_files(&text) {
                let inner = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let inner = self.context_path(&resolved(&inner), path)?;
                if !files.contains(&inner) && files.len() < MAX_FILES {
                    files.push(inner);
                }
            }
        }
        Ok(files)
    }

    /// Checks that a path can be mounted, and removes `./` from it.
    pub(super) fn context_path(&self, path: &str, place: &Text) -> Result<String, SourceError> {
        let plain = normalized(path);
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/+@-".contains(c);
        if path.starts_with('/') || plain.split('/').any(|part| part == "..") {
            let message = format!("`{}` is outside of the build context", path.escape_debug());
            return Err(self.error(place, message));
        }
        if plain.is_empty() || !plain.chars().all(is_plain) {
            let message = format!("`{}` has unsupported characters", path.escape_debug());
            return Err(self.error(place, message));
        }
        Ok(plain)
    }

    fn text(&self, path: &str, place: &Text) -> Result<String, SourceError> {
        (self.read)(path).map_err(|reason| self.error(place, reason))
    }
}

/// Returns the files that a file of requirements names with `-r` and `-c`.
///
/// Reference: <https://pip.pypa.io/en/stable/reference/requirements-file-format/>
fn named_files(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in text.lines().map(str::trim) {
        let option = ["-r", "--requirement", "-c", "--constraint"]
            .into_iter()
            .filter_map(|option| line.strip_prefix(option))
            .find(|rest| rest.starts_with([' ', '=', '\t']));
        let Some(rest) = option else {
            continue;
        };
        let name = rest.trim_start_matches([' ', '=', '\t']);
        let name = name.split(" #").next().unwrap_or(name).trim();
        if !name.contains("://") {
            names.push(name.to_owned());
        }
    }
    names
}

/// Resolves `..` in a relative path as far as possible.
fn resolved(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match (part, parts.last()) {
            ("..", Some(last)) if *last != ".." => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirement_files_name_others() {
        let text = "# -r comment.txt\n-r base.txt\n--requirement=../all.txt # why\n-c constraints.txt\n\
                    --require-hashes\n-r https://a.example/r.txt\nnumpy -r x\n";
        assert_eq!(named_files(text), ["base.txt", "../all.txt", "constraints.txt"]);
        assert_eq!(resolved("a/../b/../../c"), "../c");
    }
}
