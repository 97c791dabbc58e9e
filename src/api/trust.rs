//! Whom a client of the API takes for the daemon, over TLS; and the daemon for its broker.
//!
//! An encoder has rarely a name that an authority would certify: its owner makes a certificate himself.
//! So a file of certificates means both: the server shows one of these very ones, or one that one of
//! these has signed for its name.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::keys::{KeyError, certificates};

/// TLS that trusts what stands in `file`. Blocks on the file system.
///
/// # Errors
/// Where the file is of no use.
pub fn client_config(file: &Path) -> Result<Arc<ClientConfig>, KeyError> {
    let wrong = |error: &dyn std::fmt::Display| KeyError {
        key: "certificate",
        message: format!("{} cannot be used: {error}", file.display()),
        fix: "give a file of certificates in PEM",
    };
    let verifier = verifier("certificate", file)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .dangerous() // is rustls's word for a verifier of one's own
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Who takes what stands in `file` for the server's, or for that of one who has signed the server's. Blocks on the
/// file system.
///
/// # Errors
/// Where the file, which `key` of the configuration names, is of no use.
pub fn verifier(key: &'static str, file: &Path) -> Result<Arc<dyn ServerCertVerifier>, KeyError> {
    let pinned = certificates(key, file)?;
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let (authorities, _) = roots.add_parsable_certificates(pinned.iter().cloned());
    let authorities = match authorities {
        0 => None,
        _ => {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            Some(verifier.map_err(|error| KeyError {
                key,
                message: format!("{} cannot be used: {error}", file.display()),
                fix: "give a file of certificates in PEM",
            })?)
        }
    };
    Ok(Arc::new(Trust { pinned, authorities, provider }))
}

#[derive(Debug)]
struct Trust {
    pinned: Vec<CertificateDer<'static>>,
    /// `None` where none of them can be an authority.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Trust {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if self.pinned.iter().any(|pinned| pinned == shown) {
            return Ok(ServerCertVerified::assertion());
        }
        match &self.authorities {
            Some(authorities) => authorities.verify_server_cert(shown, between, name, ocsp, now),
            None => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
