//! The TLS configuration of connections to engines.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::engine::address::TlsFiles;
use crate::engine::error::Cause;

/// Returns the TLS configuration with the files of `tls` for the application protocol `alpn`.
pub(super) fn client_config(tls: &TlsFiles, alpn: &[u8]) -> Result<Arc<ClientConfig>, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate)?;
    }
    let key = PrivateKeyDer::from_pem_slice(&fs_err::read(&tls.key)?)
        .map_err(|error| format!("`{}` is not a PEM key: {error}", tls.key.display()))?;
    // An explicit provider: the default panics if the dependencies contain several.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_client_auth_cert(certificates(&tls.cert)?, key)?;
    config.alpn_protocols = vec![alpn.to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Cause> {
    let text = fs_err::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("`{}` is not a PEM certificate: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("`{}` contains no certificate", path.display()).into());
    }
    Ok(certificates)
}
