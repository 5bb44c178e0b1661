//! The services of a session: health, secrets, credentials and uploads.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bollard_buildkit_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus, health_server,
};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{
    GetSecretRequest, GetSecretResponse, secrets_server,
};
use bollard_buildkit_proto::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse,
    GetTokenAuthorityRequest, GetTokenAuthorityResponse, VerifyTokenAuthorityRequest,
    VerifyTokenAuthorityResponse, auth_server,
};
use bollard_buildkit_proto::moby::upload::v1::{BytesMessage, upload_server};
use bytes::Bytes;
use futures_util::{Stream, stream};
use secrecy::ExposeSecret;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::Secret;
use crate::error::one_line;
use crate::registry::{Credential, Credentials};

/// The size of the messages of an upload, in bytes.
const CHUNK: usize = 64 << 10;

pub(super) type Messages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

fn unimplemented<T>() -> Result<T, Status> {
    Err(Status::unimplemented("basegen does not offer this"))
}

/// Reports that the session is alive. The engine asks every few seconds.
#[derive(Clone, Copy)]
pub(super) struct Health;

#[tonic::async_trait]
impl health_server::Health for Health {
    type WatchStream = Messages<HealthCheckResponse>;

    async fn check(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(
        &self,
        _: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        unimplemented()
    }

    async fn watch(
        &self,
        _: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        unimplemented()
    }
}

/// Serves secrets to the steps that mount them.
pub(super) struct Secrets(pub(super) Arc<[Secret]>);

#[tonic::async_trait]
impl secrets_server::Secrets for Secrets {
    async fn get_secret(
        &self,
        request: Request<GetSecretRequest>,
    ) -> Result<Response<GetSecretResponse>, Status> {
        let id = request.into_inner().id;
        let secret = self.0.iter().find(|secret| secret.id == id);
        let secret =
            secret.ok_or_else(|| Status::not_found(format!("secret `{id}` is not available")))?;
        Ok(Response::new(GetSecretResponse { data: secret.value.expose_secret().to_vec() }))
    }
}

/// Serves registry credentials. The engine requests tokens with them.
pub(super) struct Auth(pub(super) Arc<Credentials>);

#[tonic::async_trait]
impl auth_server::Auth for Auth {
    async fn credentials(
        &self,
        request: Request<CredentialsRequest>,
    ) -> Result<Response<CredentialsResponse>, Status> {
        let host = request.into_inner().host;
        let credential = self.0.get(&host).await;
        let credential =
            credential.map_err(|error| Status::failed_precondition(one_line(&*error)))?;
        Ok(Response::new(match credential {
            None => CredentialsResponse::default(),
            Some(Credential::Password { username, password }) => {
                CredentialsResponse { username, secret: password.expose_secret().to_owned() }
            }
            // The engine takes a secret without a user name for a refresh token.
            Some(Credential::IdentityToken(token)) => CredentialsResponse {
                username: String::new(),
                secret: token.expose_secret().to_owned(),
            },
        }))
    }

    async fn fetch_token(
        &self,
        _: Request<FetchTokenRequest>,
    ) -> Result<Response<FetchTokenResponse>, Status> {
        unimplemented()
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        unimplemented()
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        unimplemented()
    }
}

/// The archives of build contexts by id.
pub(super) type Uploads = Arc<Mutex<HashMap<String, Bytes>>>;

pub(super) struct Upload(pub(super) Uploads);

#[tonic::async_trait]
impl upload_server::Upload for Upload {
    type PullStream = Messages<BytesMessage>;

    async fn pull(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::PullStream>, Status> {
        let path = request.metadata().get("urlpath");
        let path = path.and_then(|path| path.to_str().ok()).unwrap_or_default();
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let content = uploads.get(path.trim_start_matches('/')).cloned();
        let mut content =
            content.ok_or_else(|| Status::not_found(format!("no upload `{path}`")))?;
        let chunks = std::iter::from_fn(move || {
            let chunk = content.split_to(content.len().min(CHUNK));
            (!chunk.is_empty()).then(|| Ok(BytesMessage { data: chunk.into() }))
        });
        Ok(Response::new(Box::pin(stream::iter(chunks))))
    }
}

#[cfg(test)]
mod tests;
