//! The build's promises: a module that the installed Kamailio loads, that exports only what is
//! asked for, and one clear line if proxy and source tree do not match.
//!
//! Needs the results of `make build`: `target/kamailio/cpm.so` and the source tree.

#[path = "../build/kamailio.rs"]
mod kamailio;
#[path = "../build/proxy.rs"]
mod proxy;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kamailio::Misfit;
use proxy::Compile;

/// The symbols that the loader looks up (`core/sr_module.c`), and the one symbol of `c_api/cpm.h`.
const EXPORTED: [&str; 5] = [
    "cpm_core",
    "exports",
    "mod_register",
    "module_flags",
    "module_version",
];

#[test]
fn the_module_exports_what_is_asked_for_and_nothing_else() {
    let output = run(Command::new("nm")
        .args(["-D", "--defined-only"])
        .arg(module()));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut names = text
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .collect::<Vec<_>>();
    names.sort_unstable();
    assert_eq!(names, EXPORTED);
}

#[test]
fn the_client_is_built_without_libclang() {
    let output = run(Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--package", "cpm-client"])
        .args(["--edges", "normal,build", "--prefix", "none"])
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("cpm-wire v"), "{text}");
    assert!(
        !text.contains("bindgen") && !text.contains("cpm v"),
        "{text}"
    );
}

#[test]
fn the_installed_proxy_accepts_a_configuration_that_loads_the_module() {
    let work = work_dir("accepts");
    let config = work.join("kamailio.cfg");
    let text = format!(
        "loadmodule \"{}\"\nrequest_route {{ exit; }}\n",
        module().display()
    );
    fs::write(&config, text).unwrap();
    run(Command::new(installed())
        .arg("-c")
        .arg("-Y")
        .arg(&work)
        .arg("-f")
        .arg(&config));
}

#[test]
fn the_installed_proxy_and_its_tree_fit() {
    let compile = check(&installed(), "fit").unwrap();
    // Values with quotes and spaces pass make's shell quoting unchanged.
    assert!(
        compile.flags.contains(&String::from("-DNAME=\"kamailio\"")),
        "{compile:?}"
    );
    assert!(
        compile
            .flags
            .iter()
            .any(|flag| flag.starts_with("-DCOMPILER=\"gcc ")),
        "{compile:?}"
    );
    assert!(
        compile.flags.iter().all(|flag| flag.starts_with('-')),
        "{compile:?}"
    );
    assert!(compile.include.join("core/sr_module.h").is_file());
}

#[test]
fn the_proxy_is_started_once_and_leaves_no_process() {
    let work = work_dir("once");
    let calls = work.join("calls");
    let proxy = fake_proxy(
        &work,
        &format!(
            "echo \"$1\" >>{}\nexec {} \"$@\"",
            calls.display(),
            installed().display()
        ),
    );

    let first = check(&proxy, "once").unwrap();
    assert_eq!(fs::read_to_string(&calls).unwrap(), "-v\n-DD\n");
    let second = check(&proxy, "once").unwrap();
    assert_eq!(fs::read_to_string(&calls).unwrap(), "-v\n-DD\n-v\n");
    assert_eq!(first, second);

    let ours = work.join("probe.cfg").display().to_string();
    let running = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read(entry.unwrap().path().join("cmdline")).ok())
        .filter(|cmdline| String::from_utf8_lossy(cmdline).contains(&ours))
        .count();
    assert_eq!(running, 0);
}

#[test]
fn another_version_stops_the_build() {
    let (version, flags) = installed_strings();
    let other = version.replace("kamailio ", "kamailio 9");
    let line = stops("version", &says(&other, &flags), tree());
    assert!(line.starts_with("version differs: "), "{line}");
    assert!(line.contains(&other) && line.contains(&version), "{line}");
    assert!(
        line.contains("`make headers`") && line.contains("KAMAILIO_SRC"),
        "{line}"
    );
}

#[test]
fn other_flags_stop_the_build() {
    let (version, flags) = installed_strings();
    let other = flags
        .replace(", USE_FUTEX", "")
        .replace("USE_TCP", "USE_TCP, DBG_SOMETHING");
    let line = stops("flags", &says(&version, &other), tree());
    assert!(
        line.starts_with("compile flags differ (-DBG_SOMETHING +USE_FUTEX): "),
        "{line}"
    );
}

#[test]
fn other_struct_sizes_stop_the_build() {
    let (version, flags) = installed_strings();
    let script = format!(
        "{}\necho 'DEBUG: tm: TM - (sizeof cell=8, sip_msg=16) initializing...'",
        says(&version, &flags)
    );
    let line = stops("sizes", &script, tree());
    assert!(line.starts_with("struct sizes differ: "), "{line}");
    assert!(line.contains("has cell=8, sip_msg=16, the tree"), "{line}");
}

#[test]
fn a_proxy_that_does_not_tell_its_sizes_stops_the_build() {
    let (version, flags) = installed_strings();
    let line = stops("silent", &says(&version, &flags), tree());
    assert!(line.contains("did not tell its struct sizes"), "{line}");
    assert!(line.ends_with("probe.log"), "{line}");
}

#[test]
fn a_missing_tree_stops_the_build() {
    let (version, flags) = installed_strings();
    let nowhere = work_dir("missing-tree").join("no-such-tree");
    let line = stops("missing", &says(&version, &flags), Some(nowhere.clone()));
    assert!(
        line.starts_with(&format!("no source tree of {version} in ")),
        "{line}"
    );
    assert!(line.contains(nowhere.to_str().unwrap()), "{line}");
    assert!(line.contains("`make headers`"), "{line}");
}

#[test]
fn without_kamailio_src_the_tree_is_the_one_of_the_proxys_version() {
    let line = stops(
        "default",
        &says("kamailio 1.2.3 (x86_64/linux)", "USE_TCP"),
        None,
    );
    assert!(
        line.contains("/.cache/kamailio-1.2.3: run `make headers`"),
        "{line}"
    );
}

#[test]
fn an_unconfigured_tree_stops_the_build() {
    let line = stops(
        "unconfigured",
        &says("kamailio 5.6.3 (x86_64/linux)", "USE_TCP"),
        Some(bare_tree("unconfigured-tree")),
    );
    assert!(
        line.starts_with("the source tree is not configured: run `make -C "),
        "{line}"
    );
}

#[test]
fn a_tree_that_cmake_does_not_configure_stops_the_build() {
    let line = stops(
        "cmake",
        &says("kamailio 6.1.4 (x86_64/Linux)", "USE_TCP"),
        Some(bare_tree("cmake-tree")),
    );
    assert!(
        line.starts_with("kamailio 6.1.4 (x86_64/Linux) was built with cmake, which does not "),
        "{line}"
    );
    assert!(line.contains("cmake flex bison"), "{line}");
}

#[test]
fn a_binary_that_is_no_proxy_stops_the_build() {
    let line = stops("no-proxy", "echo hello", tree());
    assert!(
        line.contains("does not print a version and flags"),
        "{line}"
    );
    let nothing = check(Path::new("/nonexistent/kamailio"), "no-proxy").unwrap_err();
    assert!(
        nothing
            .to_string()
            .starts_with("`/nonexistent/kamailio -v` does not print")
    );
}

/// Whatever layout cmake gives its file.
#[test]
fn compile_commands_are_read_as_json_and_as_the_shell_does() {
    let other = r#"{"directory": "/b", "command": "cc -DX -c /k/modules/tm/t.c", "file": "t.c"}"#;
    let plain = r#"{"file": "k.c", "command": "cc -DN=\\\"a b\\\" '-DM=\"c d\"' -o k.o -c \/k\/modules\/kex\/k.c"}"#;
    let expected = [
        "cc",
        "-DN=\"a",
        "b\"",
        "-DM=\"c d\"",
        "-o",
        "k.o",
        "-c",
        "/k/modules/kex/k.c",
    ];
    let one_line = format!("[{other},{plain}]");
    let many = one_line
        .replace(", \"", ",\n  \"")
        .replace("\": ", "\"\n:\n ");
    for text in [one_line, many] {
        assert_eq!(
            kamailio::plain_module_words(text.as_bytes()),
            expected,
            "{text}"
        );
    }
    for none in [
        "",
        "{}",
        "[]",
        "[{\"command\": 1}]",
        "[{\"command\": \"cc '/modules/kex/\"}]",
    ] {
        assert!(
            kamailio::plain_module_words(none.as_bytes()).is_empty(),
            "{none}"
        );
    }
}

/// The line with which the build stops for a proxy that behaves like `script`.
fn stops(name: &str, script: &str, tree: Option<PathBuf>) -> String {
    let work = work_dir(name);
    let proxy = fake_proxy(&work, script);
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let misfit = kamailio::check(&proxy, tree.as_deref(), manifest_dir, &work).unwrap_err();
    let line = misfit.to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

fn check(binary: &Path, name: &str) -> Result<Compile, Misfit> {
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&work).unwrap();
    let manifest_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    kamailio::check(binary, tree().as_deref(), manifest_dir, &work)
}

/// Shell lines that answer `-v` like Kamailio.
fn says(version: &str, flags: &str) -> String {
    format!("echo 'version: {version} 0123ab'\necho 'flags: {flags}'")
}

/// Written by a child process: a file open for writing in this process would stay open in another
/// test's fork, and then it could not be executed.
fn fake_proxy(work: &Path, script: &str) -> PathBuf {
    let path = work.join("kamailio");
    let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$2\" && chmod +x \"$2\"";
    run(Command::new("sh")
        .args(["-c", write, "sh", script])
        .arg(&path));
    path
}

fn installed() -> PathBuf {
    kamailio::find_proxy().unwrap()
}

/// The version of the installed proxy and the flags that its loader compares. A proxy built with
/// cmake reports more, so they are read from the module.
fn installed_strings() -> (String, String) {
    let output = run(Command::new(installed()).arg("-v"));
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("version: "))
        .unwrap();
    let end = version.find(')').unwrap();
    let module = fs::read(module()).unwrap();
    let flags = module
        .split(|byte| *byte == 0)
        .find(|text| text.starts_with(b"USE_TCP, "))
        .unwrap();
    (
        version[..=end].to_owned(),
        String::from_utf8(flags.to_vec()).unwrap(),
    )
}

/// The installed proxy's tree, also for a fake that claims to be another one.
fn tree() -> Option<PathBuf> {
    let unpacked = || {
        let (version, _) = installed_strings();
        let number = version.split(' ').nth(1).unwrap();
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(".cache")
            .join(format!("kamailio-{number}"))
    };
    Some(env::var_os("KAMAILIO_SRC").map_or_else(unpacked, PathBuf::from))
}

/// A folder that only looks like a source tree.
fn bare_tree(name: &str) -> PathBuf {
    let bare = work_dir(name);
    fs::create_dir_all(bare.join("src")).unwrap();
    fs::write(bare.join("src/Makefile.modules"), "").unwrap();
    bare
}

fn module() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kamailio/cpm.so");
    assert!(
        path.is_file(),
        "{} is missing: run `make build`",
        path.display()
    );
    path
}

/// An empty directory for one test.
fn work_dir(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    output
}
