//! What root can read where a configuration is checked, and the service cannot when it starts: it is nobody in
//! particular, and in a sandbox. systemd/uplinkd.service has the rules that are looked at here.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::DEFAULT_CONFIG;
use crate::config::{Config, Listen, SecretFile, Slate, Stream, StreamName, TlsFiles, VideoSource};
use crate::secrets::{self, FOLDER};

/// A setting, or none, and what is wrong with it and helps.
pub type Trouble = (String, String);

/// Whether it is the service's configuration, by whatever path. Blocks on the file system.
pub fn is_of_the_service(path: &Path) -> bool {
    match (fs::canonicalize(path), fs::canonicalize(DEFAULT_CONFIG)) {
        (Ok(path), Ok(services)) => path == services,
        (Err(_), _) | (_, Err(_)) => false,
    }
}

/// What the service cannot have of all that a configuration names, and of the configuration itself. What is not
/// there is left out. Blocks on the file system.
pub fn of_configuration(file: &Path, config: &Config) -> Vec<Trouble> {
    let itself = out_of_reach(file, OPEN_FIX).map(|trouble| (String::new(), trouble));
    let places = config.api.listen.iter().filter_map(place_out_of_reach);
    let places = places.map(|trouble| ("api.listen".to_owned(), trouble));
    let files = secret_files(config).into_iter().map(|(key, path)| (key, path, SECRET_FIX));
    let files = files.chain(open_files(config).into_iter().map(|(key, path)| (key, path, OPEN_FIX)));
    let files = files.filter_map(|(key, path, fix)| Some((key, out_of_reach(&path, fix)?)));
    itself.into_iter().chain(places).chain(files).collect()
}

/// The file in systemd's folder of secrets for which it would not start the service at all. Blocks on the file system.
pub fn of_folder() -> Option<String> {
    let names = fs::read_dir(FOLDER).ok()?.filter_map(|entry| Some(entry.ok()?.file_name()));
    let unusable = |name: &String| !name.starts_with('.') && !is_credential_name(name);
    let name = names.map(|name| name.to_string_lossy().into_owned()).filter(unusable).min()?;
    Some(format!(
        "{FOLDER}/{name}: systemd takes no file of this name, and would not start the service; name it with ASCII \
         letters, digits, dots and dashes"
    ))
}

fn secret_files(config: &Config) -> Vec<(String, PathBuf)> {
    let secret = |key: &str, file: Option<&SecretFile>| match file {
        Some(SecretFile::Path(path)) => Some((key.to_owned(), path.clone())),
        Some(SecretFile::Credential(_)) | None => None,
    };
    let pair = |section: &str, files: Option<&TlsFiles>| {
        let of = |key: &str, path: &PathBuf| (format!("{section}.{key}"), path.clone());
        files.map(|TlsFiles { certificate, key }| {
            [of("tls_certificate_file", certificate), of("tls_key_file", key)]
        })
    };
    let (api, mqtt) = (&config.api, config.mqtt.as_ref());
    let mut files = Vec::new();
    files.extend(secret("api.token_file", api.token_file.as_ref()));
    files.extend(pair("api", api.tls.as_ref()).into_iter().flatten());
    if let Some(mqtt) = mqtt {
        files.extend(secret("mqtt.password_file", mqtt.password_file.as_ref()));
        files.extend(pair("mqtt", mqtt.tls.as_ref()).into_iter().flatten());
        files.extend(mqtt.tls_ca_file.iter().map(|path| ("mqtt.tls_ca_file".to_owned(), path.clone())));
    }
    for (name, stream) in &config.streams {
        for output in &stream.outputs {
            let key = format!("streams.{name}.outputs[{}].passphrase_file", output.name);
            files.extend(output.passphrase_file.iter().map(|path| (key.clone(), path.clone())));
        }
    }
    files
}

/// Clips and pictures.
fn open_files(config: &Config) -> Vec<(String, PathBuf)> {
    let of_stream = |(name, stream): (&StreamName, &Stream)| {
        let video = &stream.video;
        let of_source = |key: &'static str, source: &VideoSource| match source {
            VideoSource::File { path } => Some((key, path.clone())),
            VideoSource::V4l2(camera) => Some(("video.edid_file", camera.edid_file.clone()?)),
            VideoSource::Test => None,
        };
        let slate = match &video.slate {
            Slate::Picture(path) => Some(("video.slate", path.clone())),
            Slate::Text | Slate::Hold => None,
        };
        let fallbacks = video.fallback.iter().filter_map(|source| of_source("video.fallback", source));
        let files: Vec<_> =
            of_source("video.path", &video.source).into_iter().chain(fallbacks).chain(slate).collect();
        let named = move |(key, path)| (format!("streams.{name}.{key}"), path);
        files.into_iter().map(named).collect::<Vec<_>>()
    };
    config.streams.iter().flat_map(of_stream).collect()
}

/// Why the service cannot have the file.
fn out_of_reach(path: &Path, fix: &str) -> Option<String> {
    let shown = path.display();
    if secrets::is_handed_over(path) {
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let is_link = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        return match (is_link, is_hidden) {
            (false, false) => None,
            (true, _) => {
                Some(format!("{shown} is a link, and systemd hands over plain files alone; copy it there"))
            }
            (false, true) => {
                Some(format!("{shown} is hidden, and systemd does not hand it over; name it without the dot"))
            }
        };
    }
    let real = fs::canonicalize(path).ok()?;
    if HOMES.iter().any(|home| real.starts_with(home)) {
        return Some(format!("{shown} is in a home, and the service sees none; {fix}"));
    }
    if TEMPORARY.iter().any(|folder| path.starts_with(folder) || real.starts_with(folder)) {
        return Some(format!("{shown} is in /tmp, of which the service has one of its own; {fix}"));
    }
    let (read, pass) = (0o004, 0o001);
    let needs = |place: &Path| if place == real { read } else { pass };
    let is_closed =
        |place: &&Path| fs::metadata(place).is_ok_and(|metadata| is_closed(&metadata, needs(place)));
    let closed = real.ancestors().collect::<Vec<_>>().into_iter().rev().find(is_closed)?;
    let closed = if closed == real { String::new() } else { format!(", for {} is closed", closed.display()) };
    Some(format!("the service is nobody in particular, and may not read {shown}{closed}; {fix}"))
}

/// Whether others may not do this with it, nor a group that the service may have been given.
fn is_closed(metadata: &Metadata, others: u32) -> bool {
    let is_others = metadata.mode() & others != 0;
    let is_a_groups = metadata.gid() != 0 && metadata.mode() & (others << 3) != 0;
    !is_others && !is_a_groups
}

/// Why the service cannot listen there.
fn place_out_of_reach(listen: &Listen) -> Option<String> {
    match listen {
        Listen::Tcp(address) => (1..FIRST_FREE_PORT).contains(&address.port()).then(|| {
            format!(
                "the service may not listen on port {}; take one from {FIRST_FREE_PORT} on, or write \
                 AmbientCapabilities=CAP_NET_BIND_SERVICE and CapabilityBoundingSet=CAP_NET_BIND_SERVICE into the unit",
                address.port()
            )
        }),
        Listen::Unix(path) => (!path.starts_with(SOCKETS))
            .then(|| format!("the service can make no socket {}; take one in {SOCKETS}", path.display())),
    }
}

/// As systemd's `credential_name_valid`: what can be a file's name, and an element of a list with colons between.
fn is_credential_name(name: &str) -> bool {
    let length = secrets::ID.len() + 1 + name.len();
    length <= LONGEST_NAME && name.bytes().all(|byte| matches!(byte, b' '..=b'~') && byte != b':')
}

/// What helps with a secret.
pub const SECRET_FIX: &str = "move it to /etc/uplinkd/secrets, whose files systemd hands over";
const OPEN_FIX: &str =
    "all have to be able to read it: chmod o+r, and o+x of the folders, below /srv for instance";

/// `ProtectHome=yes`.
const HOMES: [&str; 3] = ["/home", "/root", "/run/user"];
/// `PrivateTmp=yes`.
const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];
/// `RuntimeDirectory=uplinkd`, in `ProtectSystem=strict`.
const SOCKETS: &str = "/run/uplinkd";
/// The kernel's `ip_unprivileged_port_start`, where nobody has changed it.
const FIRST_FREE_PORT: u16 = 1024;
/// `NAME_MAX`, bytes.
const LONGEST_NAME: usize = 255;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_are_systemds() {
        for good in ["studio.pass", "a b", "x"] {
            assert!(is_credential_name(good), "{good}");
        }
        for bad in ["büro.pass", "a:b", "a\tb", &"x".repeat(250)] {
            assert!(!is_credential_name(bad), "{bad}");
        }
    }

    #[test]
    fn places_of_the_service_are_high_ports_and_its_own_folder() {
        let is_out = |text: &str| {
            let text = format!("[api]\nlisten = '{text}'\n");
            place_out_of_reach(&crate::config::parse(&text).unwrap().api.listen[0]).is_some()
        };
        for place in ["127.0.0.1:443", "unix:/run/api.sock", "unix:/tmp/api.sock"] {
            assert!(is_out(place), "{place}");
        }
        for place in ["127.0.0.1:9980", "127.0.0.1:0", "unix:/run/uplinkd/api.sock"] {
            assert!(!is_out(place), "{place}");
        }
    }

    #[test]
    fn what_others_may_not_read_is_closed_unless_a_group_may() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let closed = |mode: u32| {
            fs::set_permissions(file.path(), PermissionsExt::from_mode(mode)).unwrap();
            is_closed(&fs::metadata(file.path()).unwrap(), 0o004)
        };
        assert!(closed(0o600) && !closed(0o644));
        let is_root = fs::metadata(file.path()).unwrap().gid() == 0;
        assert_eq!(closed(0o640), is_root, "of root's group the service is not");
    }
}
