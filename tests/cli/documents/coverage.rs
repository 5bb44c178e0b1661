//! The tables in `docs/platforms.md` have each section of the documents, and what they call working is tested.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::harness::page::Section;

/// A document: the heading of its table, the file with its tests, and the headings of its sections in their order.
type Document = (&'static str, &'static str, &'static [&'static str]);

const DOCUMENTS: [Document; 5] = [
    (
        "Custom Docker containers, by Baseten",
        "baseten_custom_containers",
        &[
            "Custom Docker containers",
            "Non-root user",
            "Container filesystem",
            "Writable directories",
            "Working directory",
            "Secrets",
            "Runtime environment",
            "Platform-injected environment variables",
            "Base image environment variables",
            "Base image requirements",
            "Per-request logging",
            "No-build deployment",
            "Runtime contract differences",
            "Routing",
            "Constraints",
            "Pass configuration as environment variables",
            "Next steps",
        ],
    ),
    (
        "Private registries, by Baseten",
        "baseten_private_registries",
        &[
            "AWS IAM Service accounts",
            "Access Token",
            "Service Account",
            "Docker Hub",
            "GitHub Container Registry (GHCR)",
            "NVIDIA NGC",
        ],
    ),
    (
        "Base images, by Truss",
        "truss_base_images",
        &[
            "Generating base images for Truss",
            "Testing base images",
            "Publishing base images",
            "Releasing Truss versions with new base images",
        ],
    ),
    (
        "Defining Container Images, by Cerebrium",
        "cerebrium_container_images",
        &[
            "Defining Container Images",
            "Introduction",
            "Why TOML?",
            "Getting Started",
            "Hardware Configuration",
            "Dependency management",
            "Selecting a Python Version",
            "Adding Python Packages",
            "Adding APT Packages",
            "Conda Packages",
            "Build Commands",
            "Pre-build Commands",
            "Shell Commands",
            "Custom Docker Base Images",
            "Supported Base Images",
            "Public Docker Hub Images with Namespaces",
            "Public AWS ECR Images",
            "Custom Runtimes",
            "Basic Configuration",
            "Self-Contained Servers",
            "Important Notes",
            "Deployment process",
            "Stage 1: App Upload",
            "Stage 2: Image Creation",
            "Stage 3: Production Image",
        ],
    ),
    (
        "Use a Custom Container Image, by fal",
        "fal_custom_container_image",
        &[
            "Use a Custom Container Image",
            "Basic Usage",
            "fal Platform Requirements",
            "COPY and Build Context",
            "Supported COPY Patterns",
            ".dockerignore",
            "Alternative: Upload Large Files to CDN",
            "Cache Behavior",
            "Build Secrets",
            "Build Args",
            "Using Private Registries",
            "ContainerImage Parameters",
            "build_args",
            "secrets",
            "context_dir",
            "dockerignore / dockerignore_path",
            "Pre-Deploy Checklist",
            "Next Steps",
        ],
    ),
];

/// A row of a table.
struct Row {
    section: String,
    result: String,
    place: String,
}

/// Returns the rows of the table below each heading of the page.
fn tables() -> BTreeMap<String, Vec<Row>> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/platforms.md");
    let page = fs_err::read_to_string(page).expect("the page");
    let mut tables: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let mut heading = "";
    for line in page.lines() {
        if let Some(found) = line.strip_prefix("### ") {
            heading = found;
        }
        let cells: Vec<&str> =
            line.split(" | ").map(|cell| cell.trim_matches(['|', ' '])).collect();
        let [section, _, result, place] = cells.as_slice() else { continue };
        if ["section", "---"].contains(section) {
            continue;
        }
        let rows = tables.entry(heading.to_owned()).or_default();
        // An empty cell repeats the section above.
        let above = rows.last().map(|row| row.section.clone()).unwrap_or_default();
        let section = if section.is_empty() { above } else { (*section).to_owned() };
        rows.push(Row { section, result: (*result).to_owned(), place: (*place).to_owned() });
    }
    tables
}

/// Returns the anchors of this page that a cell links to.
fn anchors(place: &str) -> impl Iterator<Item = &str> {
    place.split("](#").skip(1).filter_map(|rest| rest.split(')').next())
}

/// Returns the name of the test of a section.
fn name_of(section: &str) -> String {
    let words = section.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("_").to_lowercase()
}

#[test]
fn each_section_of_the_documents_is_in_a_table() {
    let tables = tables();
    for (heading, _, sections) in DOCUMENTS {
        let mut found: Vec<&str> = tables[heading].iter().map(|row| row.section.as_str()).collect();
        found.dedup();
        assert_eq!(found, sections, "{heading}");
    }
}

/// What works is imported, checked or written by a test of the section, unless an example of the page shows it.
#[test]
fn what_works_has_a_test() {
    let tables = tables();
    for (heading, file, _) in DOCUMENTS {
        let file = format!("tests/cli/documents/{file}.rs");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(&file);
        let source = fs_err::read_to_string(source).expect("the tests of a document");
        for Row { section, result, place } in &tables[heading] {
            assert!(!place.is_empty(), "{heading}: {section}");
            let is_tested = source.contains(&format!("fn {}()", name_of(section)));
            let is_shown = anchors(place).next().is_some();
            match result.as_str() {
                "works" | "counterpart" => assert!(is_tested || is_shown, "{file}: {section}"),
                "no" => {}
                other => panic!("{heading}: {section}: `{other}`"),
            }
        }
    }
}

#[test]
fn each_section_of_the_page_has_an_example_and_a_row() {
    let sections = Section::read_page("platforms.md");
    let examples: BTreeMap<String, usize> =
        sections.iter().map(|section| (section.anchor(), section.examples.len())).collect();
    assert_eq!(examples.len(), sections.len(), "each anchor is unique");
    let tables = tables();
    let rows = tables.values().flatten();
    let linked: BTreeSet<&str> = rows.flat_map(|row| anchors(&row.place)).collect();
    for anchor in &linked {
        assert!(examples.get(*anchor).is_some_and(|count| *count > 0), "#{anchor} has no example");
    }
    let of_platforms = |anchor: &&String| {
        ["baseten-", "cerebrium-", "fal-"].iter().any(|platform| anchor.starts_with(platform))
    };
    let others: Vec<_> = examples
        .keys()
        .filter(of_platforms)
        .filter(|anchor| !linked.contains(anchor.as_str()))
        .collect();
    assert!(others.is_empty(), "no row has {others:?}");
}
