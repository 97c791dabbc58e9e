//! Settings that name files with keys in them, as more than one section has them.

use std::path::Path;

use super::super::values::CREDENTIAL;
use super::super::{SecretFile, TlsFiles};
use super::convert::{self, Value};
use super::report::Complaint;
use super::section::Section;

/// A path, or the name of a systemd credential.
pub(super) fn secret(value: &Value<'_>) -> Result<SecretFile, Complaint> {
    let Some(name) = convert::text(value)?.strip_prefix(CREDENTIAL) else {
        return Ok(SecretFile::Path(convert::path(value)?));
    };
    if Path::new(name).file_name().is_some_and(|file| file == name) && !name.contains('\0') {
        return Ok(SecretFile::Credential(name.to_owned()));
    }
    let fix = "write credential: and the name that the unit's LoadCredential= has, such as \
               \"credential:api.token\"";
    Err(Complaint::new("is not the name of a credential behind credential:", fix))
}

/// `tls_certificate_file` and `tls_key_file`: both, or none; `None` where they could not be read.
pub(super) fn tls(section: &mut Section<'_>) -> Option<Option<TlsFiles>> {
    let certificate = section.read("tls_certificate_file", convert::path).optional();
    let key = section.read("tls_key_file", convert::path).optional();
    match (certificate?, key?) {
        (Some(certificate), Some(key)) => Some(Some(TlsFiles { certificate, key })),
        (None, None) => Some(None),
        (Some(_), None) => {
            let fix = "write tls_key_file = \"/…\", the key of the certificate";
            section.complain("tls_key_file", Complaint::new("is missing beside tls_certificate_file", fix));
            None
        }
        (None, Some(_)) => {
            let fix = "write tls_certificate_file = \"/…\", the certificate of the key";
            section.complain("tls_certificate_file", Complaint::new("is missing beside tls_key_file", fix));
            None
        }
    }
}
