//! Messages in a folder: each as an object of the message store, with its parts as separate files.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use cpm_client::StoredMessage;

use crate::content::ReceivedPart;
use crate::exit::Problem;

/// Maximum length of a file name made from an identifier.
const MAX_NAME_BYTES: usize = 64;

/// Reads an object.
pub(crate) fn read(file: &Path) -> Result<StoredMessage, Problem> {
    let problem = |words: String| Problem::local(format!("{}: {words}", file.display()));
    let bytes = fs::read(file).map_err(|error| problem(error.to_string()))?;
    StoredMessage::parse(&Bytes::from(bytes)).map_err(|error| problem(error.to_string()))
}

/// Stores an object, and returns its file.
pub(crate) fn keep(folder: &Path, object: &StoredMessage) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let id = object.field("Contribution-ID").unwrap_or("message");
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '-' {
            c
        } else {
            '_'
        }
    };
    let name: String = id.chars().take(MAX_NAME_BYTES).map(plain).collect();
    write_new(folder, &name, "cpm", &object.write())
}

/// Stores the parts of a message next to its object, and returns their files.
pub(crate) fn keep_parts(object: &Path, parts: &[ReceivedPart]) -> io::Result<Vec<PathBuf>> {
    let folder = object.parent().unwrap_or(Path::new("."));
    let stem = object
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let kept = parts.iter().enumerate().map(|(index, part)| {
        let number = if parts.len() == 1 {
            String::new()
        } else {
            format!("-{}", index + 1)
        };
        write_new(
            folder,
            &format!("{stem}{number}"),
            &part.ending,
            &part.content,
        )
    });
    kept.collect()
}

/// Writes a new file: a name that exists gets a number.
fn write_new(folder: &Path, name: &str, ending: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let mut number = 1;
    loop {
        let suffix = if number == 1 {
            String::new()
        } else {
            format!(".{number}")
        };
        let path = folder.join(format!("{name}{suffix}.{ending}"));
        match File::create_new(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
            Err(error) => return Err(error),
        }
    }
}
