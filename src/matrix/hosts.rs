//! `registry` in `[image]`: one host, or several that get the same images.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::SeqAccessDeserializer;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::checker::Checker;
use super::spanned::Spanned;
use crate::image::Repository;

/// The host of a registry, or the hosts of several.
#[derive(Debug, JsonSchema)]
#[schemars(untagged)]
pub enum RegistryEntry {
    /// One registry.
    One(String),
    /// Several registries. Each gets all images.
    Each(Vec<Spanned<String>>),
}

impl Checker<'_> {
    /// Returns the hosts, each once.
    pub(super) fn registry_hosts(&mut self, entry: &Spanned<RegistryEntry>) -> Vec<String> {
        let listed = match entry.get_ref() {
            RegistryEntry::One(host) => vec![Spanned::new(entry.span(), host.clone())],
            RegistryEntry::Each(hosts) => hosts.clone(),
        };
        if listed.is_empty() {
            let label = "add a host, such as \"ghcr.io\", or remove the key for Docker Hub";
            self.report(entry.span(), "`registry` is empty", label);
        }
        let mut hosts: Vec<String> = Vec::new();
        for listed in &listed {
            if !self.check_scheme(listed) {
                continue;
            }
            // Docker Hub has several names.
            let host = Repository::new(listed, "any")
                .map_or_else(|_| listed.to_string(), |repository| repository.registry().to_owned());
            if hosts.contains(&host) {
                let message = format!("the registry `{host}` is listed twice");
                self.report(listed.span(), message, "duplicate");
                continue;
            }
            hosts.push(host);
        }
        hosts
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
            fn visit_str<E: de::Error>(self, host: &str) -> Result<RegistryEntry, E> {
                Ok(RegistryEntry::One(host.to_owned()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<RegistryEntry, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(list)).map(RegistryEntry::Each)
            }
        }
        deserializer.deserialize_any(EntryVisitor)
    }
}
