//! The Debian package of the client, the test that comes with the packages, and the parts of the
//! container that can be checked without an engine.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cpm_testbed::Bench;

use crate::common::file;

fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().expect("it is below the project").to_owned()
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("it is installed");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    );
    assert!(status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

#[test]
fn the_clients_package_has_what_debian_expects() {
    let package = run(Command::new(root().join("tools/deb"))
        .arg("client")
        .env("CPM_CLIENT", env!("CARGO_BIN_EXE_cpm-client"))
        // Fast.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DEBFULLNAME", "The authors of cpm")
        .env("DEBEMAIL", "cpm@example.com"));
    let package = root().join(package.trim());
    let listed = run(Command::new("dpkg-deb").arg("-c").arg(&package));
    for path in [
        "usr/bin/cpm-client",
        "usr/share/man/man1/cpm-client.1.gz",
        "usr/share/man/man1/cpm-client-send.1.gz",
        "usr/share/man/man1/cpm-client-receive.1.gz",
        "usr/share/bash-completion/completions/cpm-client",
        "usr/share/zsh/vendor-completions/_cpm-client",
        "usr/share/fish/vendor_completions.d/cpm-client.fish",
        "usr/share/doc/cpm-client/copyright",
        "usr/share/doc/cpm-client/changelog.gz",
        "usr/share/doc/cpm-client/changelog.Debian.gz",
        "usr/share/doc/cpm-client/third-party.gz",
    ] {
        assert!(listed.contains(&format!(" ./{path}\n")), "{path}: {listed}");
    }
    let depends = run(Command::new("dpkg-deb")
        .arg("-f")
        .arg(&package)
        .arg("Depends"));
    assert!(depends.contains("libc6"), "{depends}");
    if Path::new("/usr/bin/lintian").exists() {
        run(Command::new("lintian")
            .args(["--fail-on", "error,warning", "--allow-root"])
            .arg(&package));
    } else {
        println!("left out: no lintian here");
    }
}

#[test]
fn the_changes_name_the_version() {
    let changes =
        fs::read_to_string(root().join("CHANGELOG.md")).expect("it is part of the project");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changes.contains(&format!("\n## {version}")), "no {version}");
}

#[test]
fn the_test_of_the_packages_passes() {
    let bench = Bench::new("client_the_test_of_the_packages");
    let ports = [(); 4].map(|()| bench.port().to_string());
    let bin = bench.folder().join("bin");
    fs::create_dir(&bin).expect("the folder of a test can be written to");
    let modules = run(Command::new(root().join("tools/kamailio")).arg("modules"));
    let own = root().join("target/kamailio");
    let client = env!("CARGO_BIN_EXE_cpm-client");
    for (name, script) in [
        (
            "kamailio",
            format!(
                "exec /usr/sbin/kamailio -L {}:{} \"$@\"",
                own.display(),
                modules.trim()
            ),
        ),
        ("cpm-client", format!("exec {client} \"$@\"")),
    ] {
        let path = file(&bin, name, format!("#!/bin/sh\n{script}\n"));
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    }
    let path = std::env::var("PATH").unwrap_or_default();
    let told = run(Command::new(root().join("packaging/debian/tests/message"))
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("CPM_EXAMPLES", root().join("kamailio-config"))
        .env("CPM_PORTS", ports.join(" "))
        .env("AUTOPKGTEST_TMP", bench.folder()));
    assert_eq!(told, "a text and a file have arrived\n");
}

/// The values behind a word at the begin of a line, however deep.
fn after<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix(word))
        .map(|rest| rest.trim().trim_matches('"'))
        .collect()
}

#[test]
fn what_the_container_is_made_of_is_there() {
    let folder = root().join("packaging/container");
    let read =
        |name: &str| fs::read_to_string(folder.join(name)).expect("it is part of the project");
    // Everything that is mounted, by its place beside the compose file.
    let compose = read("compose.yaml");
    let mounts: Vec<&str> = after(&compose, "- ")
        .into_iter()
        .filter(|value| value.starts_with("./") || value.starts_with("../"))
        .collect();
    assert!(mounts.len() >= 3, "{mounts:?}");
    for mount in mounts {
        let source = mount.split(':').next().expect("it has a source");
        assert!(folder.join(source).exists(), "there is no {source}");
    }
    // Every service is built here or is an image with a version; the three clients are there.
    for image in after(&compose, "image:") {
        let (_, version) = image.rsplit_once(':').expect("it has a version");
        assert_ne!(version, "latest", "{image}");
    }
    for service in ["kamailio", "prometheus", "grafana", "anne", "bill", "carol"] {
        assert!(compose.contains(&format!("\n  {service}:\n")), "{service}");
    }
    // What is scraped is where the proxy listens, and Grafana asks who scrapes.
    let listens = compose.contains("LISTEN_PAGE=tcp:172.28.0.2:8880");
    assert!(listens && read("prometheus.yml").contains("172.28.0.2:8880"));
    assert!(read("grafana/datasource.yaml").contains("http://prometheus:9090"));
    // The configuration and its definitions are in the image.
    let image = read("Containerfile");
    assert!(image.contains("kamailio-cpm-module") && image.contains("cpm-client"));
    let config =
        fs::read_to_string(root().join("kamailio-config/try-out.cfg")).expect("it is there");
    let defined = compose.split_whitespace().filter_map(|word| {
        let (name, _) = word
            .trim_matches(['"', '\'', '-', ',', '['])
            .split_once('=')?;
        name.chars()
            .all(|c| c.is_ascii_uppercase() || c == '_')
            .then_some(name)
    });
    let mut seen = 0;
    for name in defined.filter(|name| !name.starts_with("GF_")) {
        let is_known = config.contains(&format!("#!trydef {name} "))
            || config.contains(&format!("#!ifdef {name}\n"));
        assert!(is_known, "try-out.cfg knows no {name}");
        seen += 1;
    }
    assert!(seen >= 6, "{seen}");
}
