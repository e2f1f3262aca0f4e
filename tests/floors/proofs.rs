//! Finds what `proves!` takes for an assertion, and which functions of the tests make one.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::source::{code, files};

/// Where assertions and the functions that make them stand.
const FOLDERS: [&str; 3] = ["tests", "client/tests", "testbed/src"];

/// One use of `proves!`.
pub(crate) struct Claim {
    /// File and line.
    pub(crate) place: String,
    /// The macro or function that makes the assertion; empty if there is none.
    pub(crate) made_by: String,
}

/// All uses of `proves!`, and the names of what makes an assertion: the macros, and the functions
/// that fail in the name of who calls them (`#[track_caller]`).
pub(crate) fn claims(root: &Path) -> (Vec<Claim>, BTreeSet<String>) {
    let macros = ["assert", "assert_eq", "assert_ne"];
    let mut asserting = BTreeSet::from(macros.map(str::to_owned));
    let mut claims = Vec::new();
    let folders = FOLDERS.iter();
    for file in folders.flat_map(|folder| files(&root.join(folder), "rs")) {
        let tokens = code(&fs::read_to_string(&file).unwrap());
        let names: Vec<&str> = tokens.iter().map(|(token, _)| token.as_str()).collect();
        let file = file.strip_prefix(root).unwrap().display();
        for at in 0..names.len() {
            if names[at..].starts_with(&["proves", "!", "("]) {
                let inside = within(&names[at + 2..]);
                // The ids come first, up to the comma.
                let comma = top_level(inside).find(|(_, token)| *token == ",");
                claims.push(Claim {
                    place: format!("{file}:{}", tokens[at].1 + 1),
                    made_by: comma
                        .map_or("", |(at, _)| last_call(&inside[at + 1..]))
                        .into(),
                });
            } else if names[at] == "track_caller" {
                let function = names[at..].iter().position(|token| *token == "fn");
                asserting.insert(names[at + function.unwrap() + 1].to_owned());
            }
        }
    }
    (claims, asserting)
}

/// What stands between the bracket at the beginning and the one that closes it.
fn within<'a>(tokens: &'a [&'a str]) -> &'a [&'a str] {
    let mut depth = 0;
    let end = tokens.iter().position(|token| {
        depth += depth_of(token);
        depth == 0
    });
    tokens.get(1..end.unwrap_or(0)).unwrap_or(&[])
}

fn depth_of(token: &str) -> i32 {
    match token {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

/// The tokens that are in no bracket, with their places.
fn top_level<'a>(tokens: &'a [&'a str]) -> impl Iterator<Item = (usize, &'a str)> {
    let mut depth = 0;
    tokens.iter().enumerate().filter_map(move |(at, token)| {
        let outside = depth == 0;
        depth += depth_of(token);
        outside.then_some((at, *token))
    })
}

/// The name of the outermost macro or function of an expression: what its value is of.
fn last_call<'a>(tokens: &'a [&'a str]) -> &'a str {
    let call = top_level(tokens).filter(|(_, token)| *token == "(").last();
    let name = call.and_then(|(at, _)| tokens[..at].iter().rfind(|token| **token != "!"));
    name.copied().unwrap_or_default()
}
