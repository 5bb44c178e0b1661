use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The permissions of a token: a set of [scopes][scope] such as `repository:acme/base:pull,push`.
///
/// [scope]: https://distribution.github.io/distribution/spec/auth/scope/
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Scopes(BTreeMap<String, BTreeSet<String>>);

impl Scopes {
    pub(super) fn pull(path: &str) -> Self {
        Self::default().and([&format!("repository:{path}:pull")])
    }

    pub(super) fn push(path: &str) -> Self {
        Self::default().and([&format!("repository:{path}:pull,push")])
    }

    pub(super) fn delete(path: &str) -> Self {
        Self::default().and([&format!("repository:{path}:delete")])
    }

    /// Adds scopes, and joins the actions on one resource.
    pub(super) fn and<'a>(&self, others: impl IntoIterator<Item = &'a String>) -> Self {
        let mut all = self.clone();
        for scope in others {
            // The name in the middle may contain a colon: `host:5000/acme/base`.
            let (resource, actions) = scope.rsplit_once(':').unwrap_or((scope, ""));
            let known = all.0.entry(resource.to_owned()).or_default();
            known.extend(actions.split(',').map(str::to_owned));
        }
        all
    }

    /// Returns each scope in the syntax of token servers.
    pub(super) fn texts(&self) -> Vec<String> {
        let text = |(resource, actions): (&String, &BTreeSet<String>)| {
            let actions: Vec<_> = actions.iter().map(String::as_str).collect();
            format!("{resource}:{}", actions.join(","))
        };
        self.0.iter().map(text).collect()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("the request");
        }
        let scopes: Vec<_> = self.texts().iter().map(|scope| format!("`{scope}`")).collect();
        formatter.write_str(&scopes.join(" and "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_on_one_resource_are_joined() {
        let requested = ["repository:a/b:push,pull".to_owned(), "registry:catalog:*".to_owned()];
        let scopes = Scopes::pull("a/b").and(&requested);
        assert_eq!(scopes.texts(), ["registry:catalog:*", "repository:a/b:pull,push"]);
        assert_eq!(Scopes::push("a/b").and(&requested[..1]), Scopes::push("a/b"));
        assert_eq!(Scopes::pull("a/b").to_string(), "`repository:a/b:pull`");
    }
}
