//! Which engine is meant, from arguments and surroundings.

use std::time::Duration;

use crate::engine::{ConnectedEngine, EngineEnvironment, EngineRequest, TlsFiles};

use super::Environment;
use super::args::EngineArgs;

/// How long an engine may take to tell its mirrors.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The engine that `args` name, or else the one that Docker's own settings do.
pub(super) fn request(args: &EngineArgs, environment: &Environment) -> EngineRequest {
    let tls = (&args.builder_ca, &args.builder_cert, &args.builder_key);
    let builder_tls = match tls {
        (Some(ca), Some(cert), Some(key)) => {
            Some(TlsFiles { ca: ca.clone(), cert: cert.clone(), key: key.clone() })
        }
        _ => None,
    };
    EngineRequest {
        builder: args.builder.clone(),
        builder_tls,
        environment: docker_environment(environment),
    }
}

/// The mirrors that the engine asks before Docker Hub; why they are not known, where they are not.
/// Registries can be asked without them.
pub(super) async fn mirrors(request: &EngineRequest) -> Result<Vec<String>, String> {
    match tokio::time::timeout(TIMEOUT, ConnectedEngine::connect(request)).await {
        Ok(Ok(engine)) => Ok(engine.registry_mirrors().to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// The variables that Docker's own client reads.
pub(super) fn docker_environment(environment: &Environment) -> EngineEnvironment {
    let text = |name| environment.variable(name).map(str::to_owned);
    EngineEnvironment {
        buildkit_host: text("BUILDKIT_HOST"),
        docker_host: text("DOCKER_HOST"),
        docker_context: text("DOCKER_CONTEXT"),
        docker_tls_verify: text("DOCKER_TLS_VERIFY").is_some(),
        docker_cert_path: environment.path("DOCKER_CERT_PATH"),
        docker_config: environment.path("DOCKER_CONFIG"),
        home: environment.path("HOME"),
        runtime_dir: environment.path("XDG_RUNTIME_DIR"),
    }
}
