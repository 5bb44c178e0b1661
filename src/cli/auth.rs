//! `basegen auth check`: prints the credential for each registry, and the access that it gives.

use std::path::Path;

use serde_json::json;

use crate::error::{ExitCode, Report};
use crate::ops::{
    self,
    auth::{AccessError, AuthRequest, RegistryAccess, RepositoryAccess, user},
};
use crate::plan;
use crate::registry::CredentialSource;
use crate::report::escape_json;

use super::Session;
use super::args::{AuthCheckArgs, TextFormat};

pub(super) fn run(args: &AuthCheckArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let AuthCheckArgs { hosts, registry: registries, repository, format } = args.clone();
    let request = AuthRequest { hosts, registries, repository };
    let registries = context.block_on(ops::auth::run(context, request))?;
    let home = context.settings.variables.path("HOME");
    printer.result(&match format {
        TextFormat::Table => table(&registries, home.as_deref()),
        TextFormat::Json => escape_json(&json(&registries)),
    });
    match AccessError::new(&registries) {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::Success),
    }
}

/// Describes the source of a credential, beside the registry's host.
fn short_source(source: &CredentialSource, home: Option<&Path>) -> String {
    match source {
        CredentialSource::Matrix { method, .. } => format!("[registries.\"…\"] {method}"),
        _ => source.describe(home),
    }
}

fn table(registries: &[RegistryAccess], home: Option<&Path>) -> String {
    let word = |allowed: Option<bool>, unknown: &str| match allowed {
        Some(true) => "yes".to_owned(),
        Some(false) => "no".to_owned(),
        None => unknown.to_owned(),
    };
    let header = ["REGISTRY", "CREDENTIAL", "USER", "REPOSITORY", "PULL", "PUSH"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for registry in registries {
        let (source, user) = match &registry.found {
            Ok(Some(found)) => (short_source(&found.source, home), user(&found.credential)),
            Ok(None) => ("none".to_owned(), "anonymous".to_owned()),
            Err(_) => ("unusable".to_owned(), "?".to_owned()),
        };
        for row in &registry.repositories {
            rows.push(vec![
                registry.host.clone(),
                source.clone(),
                user.clone(),
                row.repository.path().to_owned(),
                word(row.pull, "?"),
                word(row.push, if row.is_pushed { "?" } else { "-" }),
            ]);
        }
    }
    plan::columns(&rows)
}

fn json(registries: &[RegistryAccess]) -> String {
    let repository = |row: &RepositoryAccess| {
        let refusal = row.refusal.as_ref();
        let problem = refusal.map(|refusal| match &refusal.cause {
            Some(cause) => format!("{}: {cause}", refusal.what),
            None => refusal.what.clone(),
        });
        json!({
            "repository": row.repository.canonical(),
            "pull": row.pull,
            "push": row.push,
            "allowed": refusal.is_none(),
            "problem": problem,
            "hint": refusal.and_then(|refusal| refusal.hint.clone()),
        })
    };
    let registry = |registry: &RegistryAccess| {
        let found = registry.found.as_ref().ok().and_then(Option::as_ref);
        json!({
            "host": registry.host,
            "credential": found.map(|found| {
                json!({ "source": found.source.to_string(), "user": user(&found.credential) })
            }),
            "repositories": registry.repositories.iter().map(repository).collect::<Vec<_>>(),
        })
    };
    let registries: Vec<_> = registries.iter().map(registry).collect();
    let document = json!({ "schema": 1, "registries": registries });
    serde_json::to_string_pretty(&document).expect("a table is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_short() {
        let home = Some(Path::new("/home/me"));
        let docker = |path: &str, helper: Option<&str>| {
            let (config, helper) = (path.into(), helper.map(str::to_owned));
            short_source(&CredentialSource::Docker { config, helper }, home)
        };
        let own = "/home/me/.docker/config.json";
        assert_eq!(docker(own, None), "docker config ~/.docker/config.json");
        assert_eq!(
            docker("/etc/config.json", Some("ecr-login")),
            "docker config /etc/config.json, helper `ecr-login`"
        );
        let matrix = CredentialSource::Matrix { host: "gcr.io".to_owned(), method: "BASIC" };
        assert_eq!(short_source(&matrix, home), "[registries.\"…\"] BASIC");
        let variable = CredentialSource::Variable("DOCKER_REGISTRY_ghcr.io".to_owned());
        let variable = short_source(&variable, home);
        assert_eq!(variable, "environment variable `DOCKER_REGISTRY_ghcr.io`");
    }
}
