//! The API's secrets, from their files: the token, and TLS's certificate and key.
//!
//! They are read when the daemon starts and at each reload; a file that became bad leaves what was read
//! before in force. What is wrong is told with the key of the configuration and the file, never with what
//! stands in it.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use subtle::ConstantTimeEq;

use crate::config::{self, SecretFile, TlsFiles};
use crate::{plain_file, secrets};

/// What was read.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// `None`: nobody needs one.
    pub token: Option<Token>,
    pub tls: Option<Arc<ServerConfig>>,
    /// Some of it is systemd's copy, which is as old as the service.
    pub is_handed_over: bool,
    /// What their owner should know.
    pub warnings: Vec<KeyWarning>,
}

/// What a program shows to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A file that is of no use, as a mistake in the configuration.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {message}; {fix}")]
pub struct KeyError {
    /// As in `api.token_file`.
    pub key: &'static str,
    pub message: String,
    pub fix: &'static str,
}

/// What is unwise about a file that is of use.
#[derive(Clone, Debug)]
pub struct KeyWarning {
    /// As in `api.token_file`.
    pub key: &'static str,
    /// With what to do.
    pub message: String,
}

impl fmt::Display for KeyWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl Keys {
    /// Reads all that `[api]` names. Blocks on the file system.
    ///
    /// # Errors
    /// The first file that is of no use.
    pub fn load(api: &config::Api) -> Result<Keys, KeyError> {
        let mut warnings = Vec::new();
        let token = api.token_file.as_ref().map(|file| token(file, &mut warnings)).transpose()?;
        let tls = api.tls.as_ref().map(|files| tls(files, &mut warnings)).transpose()?;
        let is_copy = |path: &Path| secrets::locate(path) != path;
        let is_handed_over =
            match &api.token_file {
                Some(SecretFile::Credential(_)) => true,
                Some(SecretFile::Path(path)) => is_copy(path),
                None => false,
            } || api.tls.as_ref().is_some_and(|files| is_copy(&files.certificate) || is_copy(&files.key));
        Ok(Keys { token, tls, is_handed_over, warnings })
    }
}

impl Token {
    /// A token from its file's contents, without the line's end.
    ///
    /// # Errors
    /// In words, where it is too short, too long, or holds what a header cannot.
    fn new(text: &str) -> Result<Self, String> {
        let token = text.trim_end_matches(['\r', '\n']);
        if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds something else than one word of ASCII characters".to_owned());
        }
        if token.len() < SHORTEST_TOKEN {
            let length = token.len();
            return Err(format!("holds {length} characters, and a token has {SHORTEST_TOKEN} at least"));
        }
        Ok(Token(token.to_owned()))
    }

    /// Reads a token as [`Keys::load`] does. Blocks on the file system.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn load(file: &SecretFile) -> Result<Self, KeyError> {
        token(file, &mut Vec::new())
    }

    /// Compares in a time that tells nothing but the length.
    pub fn is(&self, shown: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(shown).into()
    }

    /// The text itself, for a header.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token of this file.
///
/// # Errors
/// Where the file is of no use.
pub fn token(file: &SecretFile, warnings: &mut Vec<KeyWarning>) -> Result<Token, KeyError> {
    const KEY: &str = "api.token_file";
    let fix = "write a token into it: head -c 32 /dev/urandom | base64 -w0";
    let (path, text) = secret(KEY, file, fix, warnings)?;
    Token::new(&text).map_err(|problem| KeyError {
        key: KEY,
        message: format!("{} {problem}", path.display()),
        fix,
    })
}

/// The text of a secret's file, as it stands there, and where that is. Blocks on the file system.
///
/// # Errors
/// Where it cannot be read, or is no text; with what to do in the words of whoever wants it.
pub fn secret(
    key: &'static str,
    file: &SecretFile,
    fix: &'static str,
    warnings: &mut Vec<KeyWarning>,
) -> Result<(PathBuf, String), KeyError> {
    let wrong = |message, fix| KeyError { key, message, fix };
    let path = match file {
        SecretFile::Path(path) => secrets::locate(path),
        SecretFile::Credential(name) => match secrets::credential(name) {
            Some(path) if path.exists() => path,
            Some(_) | None => {
                let message = format!("{file} is not there: systemd has handed over none of this name");
                return Err(wrong(message, CREDENTIAL_FIX));
            }
        },
    };
    let (text, metadata) =
        plain_file::read(&path, LARGEST_FILE).map_err(|error| unread(key, &path, &error, fix))?;
    let text = String::from_utf8(text).map_err(|_| wrong(format!("{} is no text", path.display()), fix))?;
    warn_of_readers(key, &path, &metadata, warnings);
    Ok((path, text))
}

fn tls(files: &TlsFiles, warnings: &mut Vec<KeyWarning>) -> Result<Arc<ServerConfig>, KeyError> {
    let chain = certificates("api.tls_certificate_file", &files.certificate)?;
    let (path, key) = private_key("api.tls_key_file", &files.key, warnings)?;
    let wrong = |message| KeyError { key: "api.tls_key_file", message, fix: KEY_FIX };
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(format!("TLS cannot be set up: {error}")))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| wrong(mismatch(files, &path, &error)))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Why a certificate and a key are of no use together.
pub fn mismatch(files: &TlsFiles, key: &Path, error: &rustls::Error) -> String {
    let (certificate, key) = (files.certificate.display(), key.display());
    match error {
        rustls::Error::InconsistentKeys(_) => {
            format!("{key} is not the key of the certificate in {certificate}")
        }
        error => format!("{certificate} with {key} cannot be used: {error}"),
    }
}

/// A private key, and where it was read. Blocks on the file system.
///
/// # Errors
/// Where the file cannot be read, or holds none.
pub fn private_key(
    key: &'static str,
    path: &Path,
    warnings: &mut Vec<KeyWarning>,
) -> Result<(PathBuf, PrivateKeyDer<'static>), KeyError> {
    let path = secrets::locate(path);
    let (text, metadata) =
        plain_file::read(&path, LARGEST_FILE).map_err(|error| unread(key, &path, &error, KEY_FIX))?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_| {
        let message = format!("{} holds no private key in PEM", path.display());
        KeyError { key, message, fix: KEY_FIX }
    })?;
    warn_of_readers(key, &path, &metadata, warnings);
    Ok((path, private))
}

/// The certificates of a file, the owner's own first. Blocks on the file system.
///
/// # Errors
/// Where the file cannot be read, or holds none.
pub fn certificates(key: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, KeyError> {
    let fix = "write the path of a certificate in PEM, with those between it and its authority below";
    let wrong = |message| KeyError { key, message, fix };
    let path = &secrets::locate(path);
    let (text, _) = plain_file::read(path, LARGEST_FILE).map_err(|error| unread(key, path, &error, fix))?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    match chain {
        Ok(chain) if !chain.is_empty() => Ok(chain),
        Ok(_) => Err(wrong(format!("{} holds no certificate in PEM", path.display()))),
        Err(_) => Err(wrong(format!("{} is damaged: a PEM part in it cannot be read", path.display()))),
    }
}

fn unread(key: &'static str, path: &Path, error: &io::Error, fix: &'static str) -> KeyError {
    let shown = path.display();
    match secrets::awaits_restart(path, error) {
        true => {
            let message = format!("systemd has not handed over {shown}");
            KeyError { key, message, fix: secrets::HAND_OVER }
        }
        false => KeyError { key, message: format!("cannot read {shown}: {error}"), fix },
    }
}

fn warn_of_readers(key: &'static str, path: &Path, metadata: &Metadata, warnings: &mut Vec<KeyWarning>) {
    let is_open =
        |folder: &Path| fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & OTHERS_PASS != 0);
    if metadata.mode() & OTHERS != 0 && path.ancestors().skip(1).all(is_open) {
        let path = path.display();
        let message = format!("every user of this machine may read {path}; chmod o= {path}");
        warnings.push(KeyWarning { key, message });
    }
}

/// What to do about a private key that is of no use.
pub const KEY_FIX: &str = "write the path of the certificate's key, in PEM and without a password";

const CREDENTIAL_FIX: &str =
    "write LoadCredential= into the unit and restart it, or write the path of a file here";

/// Read, write, execute.
const OTHERS: u32 = 0o007;
/// Of a folder: whether they come through it.
const OTHERS_PASS: u32 = 0o001;

/// Characters: 96 bits where they are random.
const SHORTEST_TOKEN: usize = 16;

/// KiB. The longest chains of certificates have some ten.
const LARGEST_FILE: u64 = 256;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(contents: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, contents).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (folder, path)
    }

    #[test]
    fn a_token_is_one_word_of_its_file() {
        let (_folder, path) = file(b"0123456789abcdef\n", 0o600);
        let token = Token::load(&SecretFile::Path(path)).unwrap();
        assert!(token.is(b"0123456789abcdef"));
        for wrong in ["", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef\n"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert_eq!(format!("{token:?}"), "Token(…)");
    }

    #[test]
    fn what_is_no_token_is_told_without_showing_it() {
        for (contents, said) in [
            ("correcthorse\n", "holds 12 characters, and a token has 16 at least"),
            ("", "holds 0 characters"),
            ("correct horse battery staple", "something else than one word"),
            ("correct-horse-battery\nstaple", "something else than one word"),
            ("correct-hörse-battery-staple", "something else than one word"),
        ] {
            let (_folder, path) = file(contents.as_bytes(), 0o600);
            let error = Token::load(&SecretFile::Path(path)).unwrap_err().to_string();
            assert!(error.starts_with("api.token_file: ") && error.contains(said), "{error}");
            assert!(!error.contains("horse") && !error.contains("staple"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_none_is_named() {
        for path in ["/nonexistent/token", "/", "/dev/zero"] {
            let error = Token::load(&SecretFile::Path(path.into())).unwrap_err().to_string();
            assert!(error.contains(&format!("cannot read {path}: ")), "{error}");
        }
        let error = Token::load(&SecretFile::Credential("api.token".into())).unwrap_err().to_string();
        assert!(error.contains("LoadCredential"), "{error}");
    }

    #[test]
    fn a_token_that_all_may_read_is_warned_of() {
        for (mode, count) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
            let (folder, path) = file(b"0123456789abcdef", mode);
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
            let (secret, mut warnings) = (SecretFile::Path(path), Vec::new());
            token(&secret, &mut warnings).unwrap();
            assert_eq!(warnings.len(), count, "{mode:o}");
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700)).unwrap();
            warnings.clear();
            token(&secret, &mut warnings).unwrap();
            assert!(warnings.is_empty(), "nobody comes through its folder");
        }
    }
}
