//! `[build.tools]`: the programs that install packages, as files with a URL and a checksum.

use std::collections::BTreeMap;
use std::str::FromStr;

use indexmap::IndexMap;

use super::checker::Checker;
use super::diagnostic::did_you_mean;
use super::schema::ToolTable;
use super::spanned::Spanned;
use crate::image::Platform;

/// The programs that can be set.
const NAMES: [&str; 2] = ["micromamba", "uv"];

/// A program for one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    pub platform: Platform,
    /// The URL of the executable file.
    pub url: Spanned<String>,
    /// The SHA-256 of the file, in hexadecimal digits.
    pub sha256: String,
}

impl Checker<'_> {
    pub(super) fn tools(
        &mut self,
        tables: &IndexMap<Spanned<String>, IndexMap<Spanned<String>, Spanned<ToolTable>>>,
    ) -> BTreeMap<String, Vec<Tool>> {
        let mut tools = BTreeMap::new();
        for (name, platforms) in tables {
            if !NAMES.contains(&name.as_str()) {
                let message = format!("unknown tool `{}`", name.escape_debug());
                self.report(name.span(), message, "expected `micromamba` or `uv`").help =
                    did_you_mean(name, NAMES);
            }
            let tables = platforms.iter();
            let found = tables.filter_map(|(platform, table)| self.tool(platform, table)).collect();
            tools.insert(name.to_string(), found);
        }
        tools
    }

    fn tool(&mut self, platform: &Spanned<String>, table: &ToolTable) -> Option<Tool> {
        let parsed = Platform::from_str(platform);
        if let Err(error) = &parsed {
            self.report(platform.span(), error.to_string(), "invalid platform");
        }
        let is_url = ["https://", "http://"].into_iter().any(|begin| table.url.starts_with(begin));
        if !is_url || table.url.chars().any(|c| !c.is_ascii_graphic() || "$\"'`\\".contains(c)) {
            let message = format!("`{}` is not a URL", table.url.escape_debug());
            self.report(table.url.span(), message, "expected the URL of an executable file");
        }
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if table.sha256.len() != 64 || !table.sha256.bytes().all(is_digit) {
            let message = format!("`{}` is not a SHA-256", table.sha256.escape_debug());
            let label = "expected 64 hexadecimal digits in lower case";
            self.report(table.sha256.span(), message, label);
        }
        let platform = parsed.ok()?;
        Some(Tool { platform, url: table.url.clone(), sha256: table.sha256.to_string() })
    }
}
