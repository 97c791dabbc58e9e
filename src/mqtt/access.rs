//! What the broker is shown, and whom to take for it, from their files.
//!
//! They are read at each connection, so that another password or certificate needs no restart.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

pub use super::packet::Password;
use crate::api::keys::{self, KeyError, KeyWarning};
use crate::api::trust;
use crate::config::{self, SecretFile};

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Access {
    pub password: Option<Password>,
    /// `None`: plain TCP.
    pub tls: Option<Arc<ClientConfig>>,
    /// What their owner should know.
    pub warnings: Vec<KeyWarning>,
}

impl Access {
    /// Reads all that `[mqtt]` names. Blocks on the file system.
    ///
    /// # Errors
    /// The first file that is of no use.
    pub fn load(mqtt: &config::Mqtt) -> Result<Access, KeyError> {
        let mut warnings = Vec::new();
        let password = mqtt.password_file.as_ref().map(|file| password(file, &mut warnings)).transpose()?;
        let tls = mqtt.url.tls.then(|| tls(mqtt, &mut warnings)).transpose()?;
        Ok(Access { password, tls, warnings })
    }
}

/// The text of the file, without the line's end. Blocks on the file system.
///
/// # Errors
/// Where the file is of no use.
pub fn password(file: &SecretFile, warnings: &mut Vec<KeyWarning>) -> Result<Password, KeyError> {
    let fix = "write the password alone into it";
    let (path, text) = keys::secret(PASSWORD_KEY, file, fix, warnings)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.contains(char::is_control) {
        let message = format!("{} holds something else than one line of text", path.display());
        return Err(KeyError { key: PASSWORD_KEY, message, fix });
    }
    Ok(Password(password.to_owned()))
}

fn tls(mqtt: &config::Mqtt, warnings: &mut Vec<KeyWarning>) -> Result<Arc<ClientConfig>, KeyError> {
    let verifier = match &mqtt.tls_ca_file {
        Some(file) => trust::verifier(AUTHORITY_KEY, file)?,
        None => known_authorities()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .dangerous() // is rustls's word for a verifier of one's own
        .with_custom_certificate_verifier(verifier);
    let Some(files) = &mqtt.tls else { return Ok(Arc::new(config.with_no_client_auth())) };
    let chain = keys::certificates("mqtt.tls_certificate_file", &files.certificate)?;
    let (path, key) = keys::private_key(PRIVATE_KEY_KEY, &files.key, warnings)?;
    let config = config.with_client_auth_cert(chain, key).map_err(|error| KeyError {
        key: PRIVATE_KEY_KEY,
        message: keys::mismatch(files, &path, &error),
        fix: keys::KEY_FIX,
    })?;
    Ok(Arc::new(config))
}

/// Those whom this machine's system trusts.
fn known_authorities() -> Result<Arc<dyn ServerCertVerifier>, KeyError> {
    let missing = || KeyError {
        key: AUTHORITY_KEY,
        message: "is not set, and this machine has no list of authorities".to_owned(),
        fix: "install ca-certificates, or write tls_ca_file = \"/…\", the broker's own certificate or its authority's",
    };
    let list =
        SYSTEM_LISTS.iter().find_map(|list| std::fs::read(Path::new(list)).ok()).ok_or_else(missing)?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&list).filter_map(Result::ok);
    let (known, _) = roots.add_parsable_certificates(certificates);
    if known == 0 {
        return Err(missing());
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    match verifier {
        Ok(verifier) => Ok(verifier),
        Err(error) => Err(unusable(&error)),
    }
}

fn unusable(error: &dyn std::fmt::Display) -> KeyError {
    let fix = "write the path of a certificate in PEM";
    KeyError { key: AUTHORITY_KEY, message: format!("TLS cannot be set up: {error}"), fix }
}

const PASSWORD_KEY: &str = "mqtt.password_file";
const AUTHORITY_KEY: &str = "mqtt.tls_ca_file";
const PRIVATE_KEY_KEY: &str = "mqtt.tls_key_file";

/// Of Debian and its kin, and of Fedora and its.
const SYSTEM_LISTS: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

#[cfg(test)]
mod tests {
    use super::*;

    fn load(contents: &str) -> Result<Access, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, contents).unwrap();
        let text = format!(
            "[mqtt]\nurl = 'mqtt://localhost'\nusername = 'a'\npassword_file = {:?}",
            path.display().to_string()
        );
        Access::load(&config::parse(&text).unwrap().mqtt.unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_password_is_a_line_and_is_not_shown() {
        let access = load("correct horse\n").unwrap();
        assert_eq!(access.password, Some(Password("correct horse".into())));
        assert!(!format!("{access:?}").contains("horse"));
        for wrong in ["", "\n", "correct\nhorse"] {
            let error = load(wrong).unwrap_err();
            assert!(error.starts_with("mqtt.password_file: ") && !error.contains("horse"), "{error}");
        }
    }

    #[test]
    fn tls_needs_authorities_that_are_some() {
        let text = "[mqtt]\nurl = 'mqtts://localhost'\ntls_ca_file = '/nonexistent'";
        let error = Access::load(&config::parse(text).unwrap().mqtt.unwrap()).unwrap_err();
        assert!(error.to_string().starts_with("mqtt.tls_ca_file: cannot read /nonexistent"), "{error}");
    }
}
