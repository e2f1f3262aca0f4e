//! `make page`: the operator's page as text in a configuration. Kamailio has no function that
//! reads a file, so the page's files are strings that `xhttp_reply` sends.

use std::fmt::Write as _;
use std::fs;
use std::io;

const FOLDER: &str = "kamailio-config/operator-page";

/// Name of the route, file, and its media type.
const FILES: [(&str, &str, &str); 3] = [
    ("HTML", "page.html", "text/html; charset=utf-8"),
    ("CSS", "page.css", "text/css; charset=utf-8"),
    ("JS", "page.js", "text/javascript; charset=utf-8"),
];

/// The text of `files.cfg`.
///
/// # Errors
/// A file cannot be read, or has a character that ends the string or begins a variable.
pub fn text() -> io::Result<String> {
    let mut out = String::from(
        "# Generated from page.html, page.css and page.js by `make page`: change those.\n",
    );
    for (route, file, media_type) in FILES {
        let content = fs::read_to_string(crate::root().join(FOLDER).join(file))?;
        if let Some(bad) = content.chars().find(|c| matches!(c, '\'' | '$')) {
            let words = format!("{file} has a {bad}, which ends the string in files.cfg");
            return Err(io::Error::other(words));
        }
        let _ = write!(
            out,
            "\nroute[OPERATOR_PAGE_{route}] {{\n\txhttp_reply(\"200\", \"OK\", \"{media_type}\", '{content}');\n}}\n"
        );
    }
    Ok(out)
}

/// Writes `files.cfg`.
///
/// # Errors
/// As [`text`], and a file that cannot be written.
pub fn run() -> io::Result<()> {
    fs::write(crate::root().join(FOLDER).join("files.cfg"), text()?)
}
