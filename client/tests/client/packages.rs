//! The test that comes with the Debian packages, their changelog, and the parts of the container
//! that can be checked without an engine. `tools/test-deb` builds the packages.

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
fn the_changes_name_the_version() {
    let changes =
        fs::read_to_string(root().join("CHANGELOG.md")).expect("it is part of the project");
    let version = env!("CARGO_PKG_VERSION");
    assert!(changes.contains(&format!("\n## {version}")), "no {version}");
}

#[test]
fn debians_changelog_is_made_from_them() {
    let changes =
        fs::read_to_string(root().join("CHANGELOG.md")).expect("it is part of the project");
    let made = run(Command::new(root().join("tools/changelog")).env("SOURCE_DATE_EPOCH", "0"));
    let begins =
        |text: &str, words: &str| text.lines().filter(|line| line.starts_with(words)).count();
    // deb-changelog(5).
    let first = format!("oma-cpm ({}-1) ", env!("CARGO_PKG_VERSION"));
    assert!(made.starts_with(&first), "{made}");
    assert_eq!(
        begins(&made, "oma-cpm ("),
        begins(&changes, "## "),
        "{made}"
    );
    assert_eq!(begins(&made, " -- "), begins(&changes, "## "), "{made}");
    assert_eq!(begins(&made, "  * "), begins(&changes, "- "), "{made}");
    for line in made.lines() {
        assert!(line.chars().count() <= 80, "{line}");
        let known = [
            "oma-cpm (",
            " -- The authors of cpm <",
            "  [ ",
            "  * ",
            "    ",
        ];
        assert!(
            line.is_empty() || known.iter().any(|begin| line.starts_with(begin)),
            "{line}"
        );
    }
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
    let told = run(Command::new(root().join("debian/tests/message"))
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

#[test]
fn the_containers_configurations_are_taken() {
    let folder = root().join("packaging/container");
    let compose = fs::read_to_string(folder.join("compose.yaml")).expect("it is there");
    // As the container starts it, at this machine's address.
    let modules = run(Command::new(root().join("tools/kamailio")).arg("modules"));
    let mut kamailio = Command::new("/usr/sbin/kamailio");
    kamailio.args(["-c", "-E", "-Y"]).arg(std::env::temp_dir());
    kamailio.arg("-L").arg(format!(
        "{}:{}",
        root().join("target/kamailio").display(),
        modules.trim()
    ));
    let mut definitions = 0;
    let mut words = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    while let Some(word) = words.next() {
        if word == "-A" {
            let definition = words.next().expect("-A has a value");
            kamailio.arg("-A");
            kamailio.arg(definition.replace("172.28.0.2", "127.0.0.1"));
            definitions += 1;
        }
    }
    assert!(definitions >= 6, "{definitions}");
    kamailio
        .arg("-f")
        .arg(root().join("kamailio-config/try-out.cfg"));
    run(&mut kamailio);
    match Command::new("promtool").arg("--version").output() {
        Ok(_) => {
            for file in [
                "packaging/container/prometheus.yml",
                "kamailio-config/prometheus.yml",
            ] {
                run(Command::new("promtool")
                    .args(["check", "config"])
                    .arg(root().join(file)));
            }
        }
        Err(error) => println!("left out: promtool: {error}"),
    }
    // Every figure of the dashboard is at one of the two places that are scraped.
    let scraped = fs::read_to_string(folder.join("prometheus.yml")).expect("it is there");
    for path in ["/metrics", "/metrics/cpm"] {
        assert!(
            scraped.contains(&format!("metrics_path: {path}\n")),
            "{path}"
        );
    }
}
