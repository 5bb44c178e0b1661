use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::engine::address::TlsFiles;
use crate::engine::error::Cause;

/// TLS as the files of `tls` say, for the application protocol `alpn`.
pub(super) fn client_config(tls: &TlsFiles, alpn: &[u8]) -> Result<Arc<ClientConfig>, Cause> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca)? {
        roots.add(certificate)?;
    }
    let key = PrivateKeyDer::from_pem_slice(&fs_err::read(&tls.key)?)
        .map_err(|error| format!("`{}` is no PEM key: {error}", tls.key.display()))?;
    // The provider is named, so that a second one among the dependencies cannot make this panic.
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
        .map_err(|error| format!("`{}` is no PEM certificate: {error}", path.display()))?;
    if certificates.is_empty() {
        return Err(format!("`{}` holds no certificate", path.display()).into());
    }
    Ok(certificates)
}
