use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::answer::{Answer, Fault};
use super::error::SourceFailure;
use super::options::RETRY_AFTER_MS;
use crate::group::{Group, MAX_DOCUMENT_BYTES};
use crate::sip::Uri;

/// Maximum number of documents in one folder: ten times what a site using a folder has. Each scan
/// reads the times of all of them.
pub const MAX_FILES: usize = 10_000;

/// Maximum total length of the documents of one folder, since all its groups are kept in memory.
pub const MAX_FOLDER_BYTES: usize = 64 << 20;

/// How long a change may remain undetected: the folder is scanned at this interval.
pub const FOLDER_INTERVAL_MS: u64 = 1_000;

/// Files with this extension are documents; hidden files are not, so that editors can keep theirs
/// there.
const EXTENSION: &str = "xml";

/// A folder of group documents.
///
/// A group is found by the address in its document; the file name has no meaning, so no URI of a
/// request ever becomes part of a path.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    files: BTreeMap<OsString, Document>,
    /// By comparison key; for each, in the order of the file names.
    groups: HashMap<u64, Vec<Entry>>,
    seed: u64,
    /// When it was last scanned, and why that failed.
    looked_ms: Option<u64>,
    failure: Option<SourceFailure>,
    is_too_large: bool,
}

/// One file.
#[derive(Debug)]
struct Document {
    /// `None` if it must be read again in any case.
    stamp: Option<Stamp>,
    bytes: usize,
    /// Its groups when it was last readable: a group does not vanish while its file is broken.
    groups: Vec<Rc<Group>>,
    failure: Option<SourceFailure>,
}

/// Attributes that change when a file changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    bytes: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
            bytes: metadata.len(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    group: Rc<Group>,
    failure: Option<SourceFailure>,
}

impl Folder {
    pub(super) fn new(path: PathBuf) -> Self {
        // A peer must not know the hash of its URI.
        let seed = RandomState::new().build_hasher().finish();
        Self {
            path,
            files: BTreeMap::new(),
            groups: HashMap::new(),
            seed,
            looked_ms: None,
            failure: None,
            is_too_large: false,
        }
    }

    pub(super) fn find(
        &mut self,
        uri: &Uri<'_>,
        now_ms: u64,
        report: &mut dyn FnMut(Fault),
    ) -> Answer {
        let is_due = |then| now_ms.saturating_sub(then) >= FOLDER_INTERVAL_MS;
        if self.looked_ms.is_none_or(is_due) {
            self.looked_ms = Some(now_ms);
            let before = self.failure;
            self.failure = self.look(report).err();
            if let Some(cause) = self.failure
                && before != Some(cause)
            {
                report(Fault { cause, file: None });
            }
        }
        // The folder's groups are valid only as long as it can be read: this is a local matter, and
        // its removal may be intended.
        if let Some(cause) = self.failure {
            return Answer::Outage {
                cause,
                retry_after_ms: FOLDER_INTERVAL_MS,
            };
        }
        let entries = self.groups.get(&uri.comparison_key(self.seed));
        let entry = entries
            .into_iter()
            .flatten()
            .find(|e| e.group.has_address(uri));
        match entry {
            None => Answer::Unknown,
            Some(entry) => match entry.failure {
                None => Answer::Group(Rc::clone(&entry.group)),
                Some(cause) => Answer::Broken {
                    cause,
                    retry_after_ms: RETRY_AFTER_MS,
                },
            },
        }
    }

    pub(super) fn flush(&mut self) -> usize {
        let count = self.groups.values().map(Vec::len).sum();
        *self = Self::new(std::mem::take(&mut self.path));
        count
    }

    /// Reads all changes.
    fn look(&mut self, report: &mut dyn FnMut(Fault)) -> Result<(), SourceFailure> {
        let names = self.document_names()?;
        let mut before = std::mem::take(&mut self.files);
        let (mut has_changed, mut bytes) = (false, 0);
        let was_too_large = std::mem::take(&mut self.is_too_large);
        for name in names {
            if self.files.len() == MAX_FILES {
                self.is_too_large = true;
                break;
            }
            let path = self.path.join(&name);
            let known = before.remove(&name);
            let metadata = match fs::metadata(&path) {
                // A symbolic link is treated as its target; a pipe would block.
                Ok(metadata) if metadata.is_file() => Some(metadata),
                Ok(_) => continue,
                Err(_) => None,
            };
            let stamp = metadata.as_ref().map(Stamp::of);
            let document = match known {
                Some(known) if stamp.is_some() && known.stamp == stamp => known,
                known => {
                    has_changed = true;
                    read_document(&path, stamp, known, |cause| {
                        let file = Some(name.to_string_lossy().into_owned());
                        report(Fault { cause, file });
                    })
                }
            };
            if bytes + document.bytes > MAX_FOLDER_BYTES {
                self.is_too_large = true;
                break;
            }
            bytes += document.bytes;
            self.files.insert(name, document);
        }
        if self.is_too_large && !was_too_large {
            report(Fault {
                cause: SourceFailure::FolderTooLarge,
                file: None,
            });
        }
        if has_changed || !before.is_empty() {
            self.index();
        }
        Ok(())
    }

    /// In order, at most one more than is read.
    fn document_names(&self) -> Result<Vec<OsString>, SourceFailure> {
        let unreadable = |_| SourceFailure::FolderUnreadable;
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name();
            let is_document = Path::new(&name).extension().is_some_and(|e| e == EXTENSION)
                && !name.as_encoded_bytes().starts_with(b".");
            if is_document {
                names.push(name);
            }
        }
        names.sort_unstable();
        names.truncate(MAX_FILES + 1);
        Ok(names)
    }

    fn index(&mut self) {
        self.groups.clear();
        for document in self.files.values() {
            for group in &document.groups {
                let Ok(uri) = Uri::parse(group.uri()) else {
                    continue;
                };
                let key = uri.comparison_key(self.seed);
                let elsewhere = group.awaited_anchors().next();
                let elsewhere = elsewhere.map(|_| SourceFailure::ExternalListElsewhere);
                self.groups.entry(key).or_default().push(Entry {
                    group: Rc::clone(group),
                    failure: document.failure.or(elsewhere),
                });
            }
        }
    }
}

/// Reads a file that is new or has changed. A failure is reported once, not at each scan.
fn read_document(
    path: &Path,
    stamp: Option<Stamp>,
    known: Option<Document>,
    report: impl FnOnce(SourceFailure),
) -> Document {
    let (before, groups_before, bytes_before) = match known {
        Some(known) => (known.failure, known.groups, known.bytes),
        None => (None, Vec::new(), 0),
    };
    match read_groups(path) {
        Ok((groups, bytes)) => Document {
            stamp,
            bytes,
            groups: groups.into_iter().map(Rc::new).collect(),
            failure: None,
        },
        Err(cause) => {
            // A file that cannot be opened may become readable without a change.
            let is_read = cause != SourceFailure::FileUnreadable;
            if is_read || before != Some(cause) {
                report(cause);
            }
            Document {
                stamp: stamp.filter(|_| is_read),
                bytes: bytes_before,
                groups: groups_before,
                failure: Some(cause),
            }
        }
    }
}

fn read_groups(path: &Path) -> Result<(Vec<Group>, usize), SourceFailure> {
    let mut document = Vec::new();
    let limit = MAX_DOCUMENT_BYTES as u64 + 1;
    File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut document))
        .map_err(|_| SourceFailure::FileUnreadable)?;
    if document.len() > MAX_DOCUMENT_BYTES {
        return Err(SourceFailure::TooLong);
    }
    let groups = Group::parse(&document).map_err(SourceFailure::Document)?;
    match groups.iter().all(|group| Uri::parse(group.uri()).is_ok()) {
        true => Ok((groups, document.len())),
        false => Err(SourceFailure::InvalidAddress),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::GroupDocumentError;
    use crate::group::source::test_documents::{TestFolder, document};

    struct Look {
        folder: Folder,
        now_ms: u64,
        faults: Vec<(SourceFailure, Option<String>)>,
    }

    impl Look {
        fn at(folder: &TestFolder) -> Self {
            Self {
                folder: Folder::new(folder.path().to_owned()),
                now_ms: 0,
                faults: Vec::new(),
            }
        }

        /// After a time in which all changes are detected.
        fn later(&mut self, uri: &str) -> Answer {
            self.now_ms += FOLDER_INTERVAL_MS;
            self.now(uri)
        }

        fn now(&mut self, uri: &str) -> Answer {
            let faults = &mut self.faults;
            let mut report = |fault: Fault| faults.push((fault.cause, fault.file));
            self.folder
                .find(&Uri::parse(uri).unwrap(), self.now_ms, &mut report)
        }

        fn has(&mut self, uri: &str) -> bool {
            match self.later(uri) {
                Answer::Group(group) => {
                    assert!(group.has_address(&Uri::parse(uri).unwrap()));
                    true
                }
                Answer::Unknown => false,
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn groups_are_found_by_their_own_address() {
        let folder = TestFolder::new();
        folder.write("whatever name.xml", &document("sip:a@Example.COM", ""));
        folder.write("b.xml", &document("sip:b@example.com;foo=1", ""));
        folder.write("c.txt", &document("sip:c@example.com", ""));
        folder.write(".d.xml", &document("sip:d@example.com", ""));
        std::fs::create_dir(folder.path().join("e.xml")).unwrap();
        let mut look = Look::at(&folder);
        assert!(look.has("sip:a@example.com"));
        assert!(look.has("sip:%61@example.com;lr"));
        assert!(look.has("sip:b@example.com"));
        assert!(!look.has("sip:b@example.com;foo=2"));
        assert!(!look.has("sip:c@example.com"));
        assert!(!look.has("sip:d@example.com"));
        assert!(!look.has("sip:..%2f..%2fetc%2fpasswd@example.com"));
        assert!(look.faults.is_empty());
        assert_eq!(look.folder.flush(), 2);
        assert!(look.has("sip:a@example.com"));
    }

    #[test]
    fn changes_are_seen_without_restart() {
        let folder = TestFolder::new();
        let mut look = Look::at(&folder);
        assert!(!look.has("sip:a@x.org"));
        folder.write("1.xml", &document("sip:a@x.org", ""));
        // Not before the next scan is due.
        assert!(matches!(look.now("sip:a@x.org"), Answer::Unknown));
        assert!(look.has("sip:a@x.org"));
        // The same file, with the same length.
        folder.write("1.xml", &document("sip:b@x.org", ""));
        assert!(look.has("sip:b@x.org"));
        assert!(!look.has("sip:a@x.org"));
        let Answer::Group(before) = look.later("sip:b@x.org") else {
            panic!("no group")
        };
        folder.write("2.xml", &document("sip:c@x.org", ""));
        assert!(look.has("sip:c@x.org"));
        let Answer::Group(after) = look.later("sip:b@x.org") else {
            panic!("no group")
        };
        // An unchanged file was not read again.
        assert!(Rc::ptr_eq(&before, &after));
        folder.remove("1.xml");
        assert!(!look.has("sip:b@x.org"));
        assert!(look.has("sip:c@x.org"));
        assert!(look.faults.is_empty());
    }

    #[test]
    fn a_broken_file_harms_no_other_group() {
        let folder = TestFolder::new();
        folder.write("bad.xml", b"<group");
        folder.write("bare.xml", &document("not a uri", ""));
        folder.write("good.xml", &document("sip:a@x.org", ""));
        let mut look = Look::at(&folder);
        assert!(look.has("sip:a@x.org"));
        assert!(!look.has("sip:b@x.org"));
        // Once, not at each scan.
        let [(SourceFailure::Document(_), Some(first)), second] = &look.faults[..] else {
            panic!("{:?}", look.faults)
        };
        assert_eq!(first, "bad.xml");
        let bare = (SourceFailure::InvalidAddress, Some("bare.xml".to_owned()));
        assert_eq!(*second, bare);

        // A group whose file breaks later does not become unknown.
        folder.write("good.xml", b"<resource-lists/>");
        let not_a_group = SourceFailure::Document(GroupDocumentError::NotAGroup);
        match look.later("sip:a@x.org") {
            Answer::Broken { cause, .. } => assert_eq!(cause, not_a_group),
            other => panic!("{other:?}"),
        }
        assert_eq!(look.faults.len(), 3);
        folder.write("good.xml", &document("sip:a@x.org", ""));
        folder.write("bad.xml", &document("sip:b@x.org", ""));
        assert!(look.has("sip:a@x.org"));
        assert!(look.has("sip:b@x.org"));
        assert_eq!(look.faults.len(), 3);
    }

    #[test]
    fn limits_of_a_document() {
        let folder = TestFolder::new();
        let mut long = document("sip:a@x.org", "");
        long.resize(MAX_DOCUMENT_BYTES, b' ');
        folder.write("a.xml", &long);
        let mut look = Look::at(&folder);
        assert!(look.has("sip:a@x.org"));
        long.push(b' ');
        folder.write("b.xml", &long);
        assert!(look.has("sip:a@x.org"));
        let too_long = (SourceFailure::TooLong, Some("b.xml".to_owned()));
        assert_eq!(look.faults, [too_long]);
    }

    #[test]
    fn limit_of_files() {
        let folder = TestFolder::new();
        for n in 0..MAX_FILES {
            std::fs::write(folder.path().join(format!("{n:05}.xml")), b"").unwrap();
        }
        folder.write("last.xml", &document("sip:last@x.org", ""));
        let mut look = Look::at(&folder);
        for _ in 0..2 {
            assert!(!look.has("sip:last@x.org"));
        }
        let too_large = |fault: &&(SourceFailure, _)| fault.0 == SourceFailure::FolderTooLarge;
        assert_eq!(look.faults.iter().filter(too_large).count(), 1);
        folder.remove("00000.xml");
        assert!(look.has("sip:last@x.org"));
    }

    #[test]
    fn a_folder_that_is_gone_is_an_outage() {
        let folder = TestFolder::new();
        folder.write("a.xml", &document("sip:a@x.org", ""));
        let mut look = Look::at(&folder);
        assert!(look.has("sip:a@x.org"));
        folder.take_away();
        for _ in 0..2 {
            match look.later("sip:a@x.org") {
                Answer::Outage { cause, .. } => assert_eq!(cause, SourceFailure::FolderUnreadable),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(look.faults, [(SourceFailure::FolderUnreadable, None)]);
        folder.bring_back();
        assert!(look.has("sip:a@x.org"));
    }

    #[test]
    fn external_lists_need_an_xdms() {
        let folder = TestFolder::new();
        let list = "<external anchor='http://127.0.0.1:1/list'/>";
        folder.write("a.xml", &document("sip:a@x.org", list));
        match Look::at(&folder).later("sip:a@x.org") {
            Answer::Broken { cause, .. } => {
                assert_eq!(cause, SourceFailure::ExternalListElsewhere)
            }
            other => panic!("{other:?}"),
        }
    }
}
