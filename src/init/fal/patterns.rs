//! The patterns of files that the images of fal do not copy.

use std::path::Path;

use toml::Value as Toml;

use crate::files::read_text;
use crate::init::MAX_ORIGIN;
use crate::render::DEFAULT_PATTERNS;

/// Returns the patterns of a context without the setting `dockerignore`.
pub(super) fn patterns_of(context: &Path) -> Vec<Toml> {
    match read_text(&context.join(".dockerignore"), MAX_ORIGIN) {
        Ok(text) => patterns_in(&text).map(Toml::from).collect(),
        Err(_) => DEFAULT_PATTERNS.map(Toml::from).to_vec(),
    }
}

/// Returns the patterns of a `.dockerignore` without its comments.
pub(super) fn patterns_in(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(str::trim);
    lines.filter(|line| !line.is_empty())
}

/// Converts a pattern with the rules of a `.gitignore`, which fal applies, to those of a `.dockerignore`: a name without a
/// slash is ignored in all folders.
pub(super) fn docker_pattern(pattern: &str) -> String {
    let (not, path) = pattern.strip_prefix('!').map_or(("", pattern), |path| ("!", path));
    let is_name = !path.trim_end_matches('/').contains('/');
    let everywhere = if is_name && path != "/" { "**/" } else { "" };
    format!("{not}{everywhere}{}", path.trim_start_matches('/'))
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
