//! `registry` in `[image]`: one registry, or several that get the same images. Each is a host, or a path in one.

use std::str::FromStr as _;

use schemars::JsonSchema;

use super::by_type::by_type;
use super::checker::Checker;
use super::spanned::Spanned;
use crate::image::Namespace;

/// A registry, or several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RegistryEntry {
    /// One registry.
    One(String),
    /// Several registries. Each gets all images.
    Each(Vec<Spanned<String>>),
}

by_type!(RegistryEntry, "a string or an array of strings", {
    text: RegistryEntry::One,
    list: RegistryEntry::Each,
});

impl Checker<'_> {
    /// Returns the registries with their paths.
    pub(super) fn namespaces(&mut self, entry: &Spanned<RegistryEntry>) -> Vec<Namespace> {
        let listed = match entry.get_ref() {
            RegistryEntry::One(registry) => vec![Spanned::new(entry.span(), registry.clone())],
            RegistryEntry::Each(registries) => registries.clone(),
        };
        if listed.is_empty() {
            let label = "add a host, such as \"ghcr.io\", or remove the key for Docker Hub";
            self.report(entry.span(), "`registry` is empty", label);
        }
        let mut namespaces: Vec<Namespace> = Vec::new();
        for listed in &listed {
            if !self.check_scheme(listed) {
                continue;
            }
            let namespace = match Namespace::from_str(listed) {
                Ok(namespace) => namespace,
                Err(error) => {
                    self.report(
                        listed.span(),
                        error.to_string(),
                        "such as `ghcr.io` or `ghcr.io/acme`",
                    );
                    continue;
                }
            };
            // Docker Hub has several names.
            let host = namespace.registry();
            if namespaces.iter().any(|other| other.registry() == host) {
                let message = format!("the registry `{host}` is listed twice");
                let label = "an image is in one repository of each registry";
                self.report(listed.span(), message, label);
                continue;
            }
            namespaces.push(namespace);
        }
        namespaces
    }
}
