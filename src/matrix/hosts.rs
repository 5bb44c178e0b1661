//! `registry` in `[image]`: one registry, or several that get the same images. Each is a host, or a path in one.

use std::fmt;
use std::str::FromStr as _;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

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

impl<'de> Deserialize<'de> for RegistryEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntryVisitor;
        impl<'de> Visitor<'de> for EntryVisitor {
            type Value = RegistryEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string or an array of strings")
            }
            fn visit_str<E: de::Error>(self, registry: &str) -> Result<RegistryEntry, E> {
                Ok(RegistryEntry::One(registry.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RegistryEntry, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(RegistryEntry::Each)
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}
