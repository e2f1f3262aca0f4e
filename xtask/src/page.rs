//! `make page`: the operator's page as each proxy serves it. Kamailio has no function that reads a
//! file, so the page's files are strings of a configuration that `xhttp_reply` sends. OpenSIPS's
//! httpd sends neither header fields nor several media types, so there the page is one file, which
//! says itself what a browser may run of it.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sha2::{Digest as _, Sha256};

const FOLDER: &str = "kamailio-config/operator-page";
const OF_OPENSIPS: &str = "opensips-config/operator-page.html";

/// Name of the route, file, and its media type.
const FILES: [(&str, &str, &str); 3] = [
    ("HTML", "page.html", "text/html; charset=utf-8"),
    ("CSS", "page.css", "text/css; charset=utf-8"),
    ("JS", "page.js", "text/javascript; charset=utf-8"),
];

/// In `page.html`: where the commands go, and the files beside it. In the file for OpenSIPS the
/// commands go to another place, with the operator's password.
const ROOT: &str = "<html lang=\"en\" data-rpc=\"rpc\">";
const ROOT_OF_OPENSIPS: &str = "<html lang=\"en\" data-rpc=\"../cpm_rpc\" data-password>";
const STYLE: &str = "<link rel=\"stylesheet\" href=\"page.css\">\n";
const SCRIPT: &str = "<script src=\"page.js\" defer></script>\n";

fn read(file: &str) -> io::Result<String> {
    fs::read_to_string(crate::root().join(FOLDER).join(file))
}

/// The files that this makes, with their texts.
///
/// # Errors
/// A file cannot be read, or has something that would end it where it is put.
pub fn files() -> io::Result<[(PathBuf, String); 2]> {
    let root = crate::root();
    Ok([
        (root.join(FOLDER).join("files.cfg"), of_kamailio()?),
        (root.join(OF_OPENSIPS), of_opensips()?),
    ])
}

/// The text of `files.cfg`.
fn of_kamailio() -> io::Result<String> {
    let mut out = String::from(
        "# Generated from page.html, page.css and page.js by `make page`: change those.\n",
    );
    for (route, file, media_type) in FILES {
        let content = read(file)?;
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

/// The page in one file. The browser runs its script and its style, known by their hashes, and
/// nothing else.
fn of_opensips() -> io::Result<String> {
    let (mut page, style, script) = (read("page.html")?, read("page.css")?, read("page.js")?);
    if style.contains("</") || script.contains("</") {
        return Err(io::Error::other("a tag would end the style or the script"));
    }
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'",
        hash(&script),
        hash(&style)
    );
    for (from, to) in [
        (ROOT, ROOT_OF_OPENSIPS.to_owned()),
        (
            STYLE,
            format!(
                "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
                 <meta name=\"referrer\" content=\"no-referrer\">\n<style>{style}</style>\n"
            ),
        ),
        (SCRIPT, String::new()),
        ("</body>", format!("<script>{script}</script>\n</body>")),
    ] {
        if page.matches(from).count() != 1 {
            return Err(io::Error::other(format!("page.html has no {from}")));
        }
        page = page.replace(from, &to);
    }
    let note =
        "<!-- Generated from kamailio-config/operator-page/ by `make page`: change that. -->\n";
    Ok(page.replacen("<head>", &format!("{note}<head>"), 1))
}

/// A source of a Content-Security-Policy: what has this text.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", BASE64.encode(Sha256::digest(text)))
}

/// Writes the files.
///
/// # Errors
/// As [`files`], and a file that cannot be written.
pub fn run() -> io::Result<()> {
    for (path, text) in files()? {
        fs::write(path, text)?;
    }
    Ok(())
}
