//! doc/supply-chain.md has a row for each package that one of ours names in its Cargo.toml.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;

/// The table for what a package of ours needs.
fn heading(package: &str, kind: Option<&str>) -> &'static str {
    match (package, kind) {
        ("cpm" | "cpm-wire", None) => "The module",
        (_, Some("build")) => "Building the module",
        ("cpm-client", None) => "The client",
        _ => "Tests, bench and fuzzing",
    }
}

/// Pairs of a table and a package that has to have a row in it: direct dependencies from outside
/// the workspace, as cargo reads them.
fn dependencies() -> BTreeSet<(&'static str, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "metadata",
            "--no-deps",
            "--format-version",
            "1",
            "--offline",
        ])
        .current_dir(super::root())
        .output()
        .expect("cargo runs the tests");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let all: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let list = |value: &Value, name: &str| value[name].as_array().expect(name).clone();
    let mut found = BTreeSet::new();
    for package in list(&all, "packages") {
        let own = package["name"].as_str().expect("it has a name");
        let outside = list(&package, "dependencies");
        for dependency in outside.iter().filter(|one| one["source"].is_string()) {
            let name = dependency["name"].as_str().expect("it has a name");
            let heading = heading(own, dependency["kind"].as_str());
            found.insert((heading, name.to_owned()));
        }
    }
    found
}

/// The packages in the first cell of each row of the page's tables.
fn rows() -> BTreeSet<(String, String)> {
    let page = super::root().join("doc/supply-chain.md");
    let text = fs::read_to_string(page).expect("the page is there");
    let mut heading = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(words) = line.strip_prefix("## ") {
            heading = words;
        }
        let Some(row) = line.strip_prefix("| `") else {
            continue;
        };
        let cells: Vec<&str> = row.split(" | ").collect();
        assert_eq!(
            cells.len(),
            3,
            "what for, and what would replace it: {line}"
        );
        for name in cells[0].split(", ") {
            found.insert((heading.to_owned(), name.trim_matches('`').to_owned()));
        }
    }
    found
}

#[test]
fn each_dependency_has_its_reason() {
    let (needed, rows) = (dependencies(), rows());
    // What the module has needs no second row where something else uses it too.
    let has = |heading: &str, name: &str| {
        rows.contains(&(heading.to_owned(), name.to_owned()))
            || (heading != "The module" && rows.iter().any(|(_, row)| row == name))
    };
    let missing = needed.iter().filter(|(heading, name)| !has(heading, name));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "without a row: {missing:?}");
    let is_left = |row: &&(String, String)| {
        let mut needed = needed.iter();
        !needed.any(|(heading, name)| *heading == row.0 && *name == row.1)
    };
    let left: Vec<_> = rows.iter().filter(is_left).collect();
    assert!(left.is_empty(), "rows of what nothing needs: {left:?}");
    assert!(needed.len() > 30, "{}", needed.len());
}
