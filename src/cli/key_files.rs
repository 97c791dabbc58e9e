//! The files that `[api]` and `[mqtt]` name, each looked at by itself: all that is wrong with them at once, and what
//! this process may not read.

use std::path::Path;

use super::withheld::Withheld;
use crate::api::keys::{self, KeyError, KeyWarning, Keys};
use crate::config::{Api, Mqtt, SecretFile, TlsFiles};
use crate::mqtt::access::{self, Access};

/// What was found.
#[derive(Debug, Default)]
pub struct KeyFiles {
    pub errors: Vec<KeyError>,
    pub warnings: Vec<KeyWarning>,
    /// With their keys; neither right nor wrong, as far as is known.
    pub withheld: Vec<(&'static str, Withheld)>,
}

impl KeyFiles {
    /// Of `[api]`. Blocks on the file system.
    pub fn of_api(api: &Api) -> KeyFiles {
        let mut files = KeyFiles::default();
        files.look_at_secret("api.token_file", api.token_file.as_ref(), |file, warnings| {
            keys::token(file, warnings).map(drop)
        });
        if files.are_a_pair(["api.tls_certificate_file", "api.tls_key_file"], api.tls.as_ref()) {
            files.errors.extend(Keys::load(&Api { token_file: None, ..api.clone() }).err());
        }
        files
    }

    /// Of `[mqtt]`. Blocks on the file system.
    pub fn of_mqtt(mqtt: &Mqtt) -> KeyFiles {
        let mut files = KeyFiles::default();
        files.look_at_secret("mqtt.password_file", mqtt.password_file.as_ref(), |file, warnings| {
            access::password(file, warnings).map(drop)
        });
        if mqtt.url.tls {
            let are_authorities = files.are_authorities(mqtt.tls_ca_file.as_deref());
            let is_pair =
                files.are_a_pair(["mqtt.tls_certificate_file", "mqtt.tls_key_file"], mqtt.tls.as_ref());
            if are_authorities {
                let tls = mqtt.tls.clone().filter(|_| is_pair);
                files.errors.extend(Access::load(&Mqtt { password_file: None, tls, ..mqtt.clone() }).err());
            }
        }
        files
    }

    fn look_at_secret(
        &mut self,
        key: &'static str,
        file: Option<&SecretFile>,
        load: impl Fn(&SecretFile, &mut Vec<KeyWarning>) -> Result<(), KeyError>,
    ) {
        let Some(file) = file else { return };
        match Withheld::secret(file) {
            Some(withheld) => self.withheld.push((key, withheld)),
            None => self.errors.extend(load(file, &mut self.warnings).err()),
        }
    }

    /// Whether there is a file of authorities that is good, or none: then this machine's are looked for.
    fn are_authorities(&mut self, file: Option<&Path>) -> bool {
        const KEY: &str = "mqtt.tls_ca_file";
        let Some(file) = file else { return true };
        let withheld = Withheld::file(file);
        let error = if withheld.is_none() { keys::certificates(KEY, file).err() } else { None };
        let is_good = withheld.is_none() && error.is_none();
        self.withheld.extend(withheld.map(|withheld| (KEY, withheld)));
        self.errors.extend(error);
        is_good
    }

    /// Whether there are a certificate and a key, each good by itself.
    fn are_a_pair(&mut self, [certificate, key]: [&'static str; 2], files: Option<&TlsFiles>) -> bool {
        let Some(files) = files else { return false };
        let before = self.errors.len() + self.withheld.len();
        match Withheld::file(&files.certificate) {
            Some(withheld) => self.withheld.push((certificate, withheld)),
            None => self.errors.extend(keys::certificates(certificate, &files.certificate).err()),
        }
        match Withheld::file(&files.key) {
            Some(withheld) => self.withheld.push((key, withheld)),
            None => self.errors.extend(keys::private_key(key, &files.key, &mut self.warnings).err()),
        }
        self.errors.len() + self.withheld.len() == before
    }
}
