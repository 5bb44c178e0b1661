use std::fmt::Write as _;

use super::{Kind, Severity, all_rules};

/// Returns all rules as a Markdown table.
#[must_use]
pub fn table() -> String {
    let mut table =
        "| rule | requirement | checked | fix | source |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for (_, rule) in all_rules() {
        let place = match rule.kind {
            Kind::Static(_) => "Dockerfile",
            Kind::InImage(_) => "image",
            Kind::Both(..) => "Dockerfile, image",
        };
        let warning = if rule.severity == Severity::Warning { "; a warning" } else { "" };
        let cells = [rule.requirement, rule.fix, rule.source].map(|cell| cell.replace('|', "\\|"));
        let [requirement, fix, source] = cells;
        let _ = writeln!(
            table,
            "| `{}` | {requirement} | {place}{warning} | {fix} | {source} |",
            rule.id
        );
    }
    table
}
