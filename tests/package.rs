//! What the package installs beside the program: the unit, its sandbox, the example configurations.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{fs, io};

use uplinkd::config::{self, EncoderChoice, VideoSource};

/// Less exposed than this, by systemd's own rating from 0 to 10.
const MOST_EXPOSED: f64 = 2.0;

#[test]
fn systemd_has_no_complaint_about_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    // The program is not installed here: this one stands for it. Instances of modprobe@ are in systemd's own folder.
    let unit = read("systemd/uplinkd.service").replace("/usr/bin/uplinkd", env!("CARGO_BIN_EXE_uplinkd"));
    let path = folder.path().join("uplinkd.service");
    fs::write(&path, unit).unwrap();
    let Some(output) = systemd("systemd-analyze", &["verify", "--man=no"], &path) else { return };
    let said = words(&output);
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn the_sandbox_is_tight() {
    let unit = root().join("systemd/uplinkd.service");
    let arguments = ["security", "--offline=true", "--no-pager"];
    let Some(output) = systemd("systemd-analyze", &arguments, &unit) else { return };
    let said = words(&output);
    let rating =
        said.lines().find_map(|line| line.split_once("Overall exposure level for uplinkd.service: "));
    let exposure: f64 =
        rating.unwrap_or_else(|| panic!("no rating in {said}")).1.split(' ').next().unwrap().parse().unwrap();
    assert!(exposure <= MOST_EXPOSED, "{said}");
}

/// The unit starts the daemon with no argument but `run`, and does not start it again in vain.
#[test]
fn the_unit_and_the_program_agree() {
    let unit = read("systemd/uplinkd.service");
    let has = |line: &str| unit.lines().any(|candidate| candidate == line);
    for line in
        ["Type=notify", "ExecStart=/usr/bin/uplinkd run", "RestartPreventExitStatus=69 78", "DynamicUser=yes"]
    {
        assert!(has(line), "no {line}");
    }
    let groups = read("systemd/uplinkd.sysusers");
    let wanted = unit.lines().find_map(|line| line.strip_prefix("SupplementaryGroups=")).unwrap();
    for group in wanted.split(' ') {
        assert!(
            groups.contains(&format!("\ng {group} ")),
            "a machine without the group {group} cannot start it"
        );
    }
}

#[test]
fn every_example_is_good() {
    let mut examples: Vec<PathBuf> = fs::read_dir(root().join("etc/uplinkd/examples"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    examples.sort();
    let names: Vec<&str> = examples.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let known =
        ["church-sound-desk", "nuc-hdmi-dongle", "nvidia-box", "pi4-camera", "pi5-software", "two-cameras"];
    assert_eq!(names, known);
    for path in &examples {
        let text = fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(text.starts_with("# "), "{name} begins without a word on what it is for");
        let config = config::parse(&text)
            .unwrap_or_else(|problems| panic!("{}", problems.render(|_| name.to_string())));
        assert!(!config.streams.is_empty());
        for (stream, settings) in &config.streams {
            assert!(settings.enabled && !settings.outputs.is_empty(), "{name}: {stream} sends nothing");
            assert!(matches!(settings.video.source, VideoSource::V4l2(_)), "{name}: {stream} has no camera");
            for output in &settings.outputs {
                let secret = output.passphrase_file.as_deref();
                let handed_over = secret.is_none_or(|path| path.starts_with("/etc/uplinkd/secrets"));
                assert!(handed_over, "{name}: the service cannot read {secret:?}");
            }
        }
    }
    let encoder = |name: &str| {
        let config = config::parse(&read(&format!("etc/uplinkd/examples/{name}.toml"))).unwrap();
        config.streams["main"].video.encoder.clone()
    };
    assert_ne!(encoder("pi4-camera"), EncoderChoice::Auto);
    assert_ne!(encoder("pi4-camera"), encoder("pi5-software"), "the Pi 5 has no encoder in hardware");
}

#[test]
fn the_package_has_what_it_names() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let version = manifest["package"]["version"].as_str().unwrap();
    let newest = format!("uplinkd ({version}-1) ");
    assert!(read("systemd/deb/changelog").starts_with(&newest), "the changelog does not begin with {newest}");
    for asset in manifest["package"]["metadata"]["deb"]["assets"].as_array().unwrap() {
        let source = asset[0].as_str().unwrap();
        let path = root().join(source.trim_end_matches("/*.toml"));
        assert!(source.starts_with("target/") || path.exists(), "{source} is not there");
    }
}

/// dpkg asks about a file below /etc that its owner and a newer package have changed, and stops half-way where nobody can
/// answer.
#[test]
fn the_package_has_nothing_that_an_upgrade_asks_about() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let deb = &manifest["package"]["metadata"]["deb"];
    assert!(deb.get("conf-files").is_none());
    let places = deb["assets"].as_array().unwrap().iter().map(|asset| asset[1].as_str().unwrap());
    assert_eq!(places.filter(|place| place.starts_with("etc/")).count(), 0);
}

#[test]
fn the_configuration_is_made_once_and_its_owners_from_then_on() {
    let machine = tempfile::tempdir().unwrap();
    let place = |path: &str| machine.path().join(path);
    let (shipped, made) = (place("usr/share/uplinkd/uplinkd.toml"), place("etc/uplinkd/uplinkd.toml"));
    fs::create_dir_all(shipped.parent().unwrap()).unwrap();
    let configure = |text: &str, from: &str| {
        fs::write(&shipped, text).unwrap();
        let script = ["/etc/", "/usr/share/uplinkd/", "/usr/lib/"]
            .iter()
            .fold(read("systemd/deb/postinst"), |script, path| {
                script.replace(path, &format!("{}{path}", machine.path().display()))
            });
        let output =
            Command::new("sh").args(["-uc", &script, "postinst", "configure", from]).output().unwrap();
        assert!(output.status.success(), "{}", words(&output));
    };
    let now = || fs::read_to_string(&made).ok();

    configure("first", "");
    assert_eq!(now().as_deref(), Some("first"));
    let entries = fs::read_dir(place("etc/uplinkd")).unwrap();
    let mut entries: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    entries.sort();
    assert_eq!(entries, ["secrets", "uplinkd.toml"]);
    assert_eq!(fs::metadata(&made).unwrap().permissions().mode() & 0o777, 0o644, "the service is nobody");

    configure("second", "0.1.0-1");
    assert_eq!(now().as_deref(), Some("first"), "an upgrade changes nothing");
    fs::remove_file(&made).unwrap();
    configure("second", "0.1.0-1");
    assert_eq!(now(), None, "what was removed on purpose does not come back");
    fs::write(&made, "prepared").unwrap();
    configure("second", "");
    assert_eq!(now().as_deref(), Some("prepared"), "what was there before the package stays");
    fs::remove_file(&made).unwrap();
    symlink("/nonexistent/uplinkd.toml", &made).unwrap();
    configure("second", "");
    assert!(made.is_symlink(), "and so does a link to a disk that is not there yet");
}

/// A library that nobody named is found here, and not by those who install the package.
#[test]
fn the_packages_of_its_libraries_are_known() {
    let check =
        |program: &str| Command::new(root().join("systemd/deb/libraries")).arg(program).output().unwrap();
    let output = check(env!("CARGO_BIN_EXE_uplinkd"));
    assert!(output.status.success(), "{}", words(&output));
    let output = check("/usr/bin/srt-live-transmit"); // of the tests' set-up; it needs GnuTLS
    assert!(!output.status.success(), "another program's libraries are not refused");
}

/// Runs one of systemd's tools on a file; None where it is not installed.
fn systemd(program: &str, arguments: &[&str], file: &Path) -> Option<Output> {
    match Command::new(program).args(arguments).arg(file).env("LC_ALL", "C.UTF-8").output() {
        Ok(output) => Some(output),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            eprintln!("not checked: there is no {program} here");
            None
        }
        Err(error) => panic!("{program}: {error}"),
    }
}

fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
