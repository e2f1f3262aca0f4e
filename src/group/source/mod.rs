//! Where group documents come from: folders, XDMSs (RFC 4825) and the proxy's database.
//!
//! [`GroupSources::find`] blocks while it asks a server or the database, so it is for a process that may
//! wait; how long one XDMS can take is [`SourceOptions::timeout_ms`]. Virtual time: the caller says what
//! time it is, except for how long an HTTP request may still take.

mod address;
mod cache;
mod error;
mod folder;
mod http;
mod remote;
mod resolver;
mod stored;
#[cfg(test)]
mod test_documents;
#[cfg(test)]
mod test_server;
mod xcap;

pub use error::{DatabaseError, SourceError, SourceFailure};
pub use folder::{FOLDER_INTERVAL_MS, MAX_FILES, MAX_FOLDER_BYTES};

use std::collections::VecDeque;
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use self::folder::Folder;
use self::remote::{Place, Remote};
use self::xcap::Xdms;
use super::Group;
use crate::names::Names;
use crate::sip::Uri;

/// Sources at once: each can cost a request its timeout.
pub const MAX_SOURCES: usize = 8;

/// The longest for which one XDMS may keep a request: with the answer that follows it stays well below
/// the 32 s after which the sender's transaction ends (RFC 3261 §17.1.2.2).
pub const MAX_TIMEOUT_MS: u64 = 20_000;

/// For how long a source is not asked again after an outage, and a document not fetched again that could
/// not be used.
pub const RETRY_AFTER_MS: u64 = 10_000;

/// For how long a group still serves after its lifetime while its source is out of order: enough for the
/// restart of a server, too short for a member who was removed to stay for hours.
pub const STALE_GRACE_MS: u64 = 300_000;

/// Length of the documents of all groups that one source keeps.
pub const MAX_CACHE_BYTES: usize = 128 << 20;

/// Reports that wait for [`GroupSources::poll_fault`]; older ones go.
const MAX_FAULTS: usize = 16;

/// User and password for XDMSs (RFC 7616 and, over TLS only, RFC 7617).
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password.
    pub password: String,
}

/// Without the password.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What holds for all sources.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// For XDMSs that ask for credentials.
    pub xcap_credentials: Option<Credentials>,
    /// A PEM file of the certification authorities to trust; without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// How long one XDMS may take for a group and all of its external lists.
    pub timeout_ms: u64,
    /// How long a group is used before its source is asked whether it has changed. Those of a folder are
    /// looked at every [`FOLDER_INTERVAL_MS`] instead.
    pub lifetime_s: u64,
    /// How long a source that does not know a group is not asked again.
    pub negative_lifetime_s: u64,
    /// Groups, and as many addresses of no group, that each source keeps.
    pub capacity: usize,
    /// How XDMSs are found.
    pub names: Names,
}

impl SourceOptions {
    /// With these times; without credentials, and trusting the authorities of the system.
    pub fn new(timeout_ms: u64, lifetime_s: u64) -> Self {
        Self {
            xcap_credentials: None,
            ca_file: None,
            timeout_ms,
            lifetime_s,
            negative_lifetime_s: 30,
            capacity: 1_000,
            names: Names::default(),
        }
    }
}

#[cfg(test)]
impl Default for SourceOptions {
    fn default() -> Self {
        Self::new(5_000, 60)
    }
}

/// The proxy's database.
pub trait GroupDatabase {
    /// The document that is stored for the address of a group, `None` if there is no such row.
    ///
    /// `url` is what was configured behind `db:`, for the proxy's own database interface. `group_uri` is the
    /// address in one spelling: scheme and host in lower case, without parameters that do not matter. It
    /// comes from a request: a value to bind or quote. It blocks for no longer than the proxy's interface
    /// to that database does.
    ///
    /// # Errors
    /// The database has no answer.
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError>;
}

/// What the sources say about an address.
#[derive(Debug, Clone)]
pub enum Found {
    /// The group, complete with its external lists.
    Group(Rc<Group>),
    /// All sources were asked, none has it.
    Unknown,
}

/// Whether there is such a group, or what it is, cannot be said now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable {
    /// The number of the source, from 1.
    pub source: usize,
    /// Why.
    pub cause: SourceFailure,
    /// When it is worth another try, for Retry-After: 1 at least.
    pub retry_after_s: u32,
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: {}", self.source, self.cause)
    }
}

impl std::error::Error for Unavailable {}

/// Something for the operator that no result says: a broken file, or an outage while another source or an
/// earlier answer serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFault {
    /// The number of the source, from 1.
    pub source: usize,
    /// What is wrong.
    pub cause: SourceFailure,
    /// The name of the file, in a folder.
    pub file: Option<String>,
}

impl fmt::Display for SourceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "group source {}: ", self.source)?;
        if let Some(file) = &self.file {
            // A name can hold a line feed.
            write!(f, "{}: ", file.escape_debug())?;
        }
        self.cause.fmt(f)
    }
}

/// Group sources in the order configured; the first that has a group wins.
///
/// A source that is out of order does not hide the others. A group that a source has but that cannot be
/// used does: what a later source has is not what the operator meant.
pub struct GroupSources {
    sources: Vec<Source>,
    faults: VecDeque<SourceFault>,
}

enum Source {
    Folder(Folder),
    Remote(Remote),
}

/// What one source says.
#[derive(Debug)]
enum Answer {
    Group(Rc<Group>),
    Unknown,
    /// The source has the group, but nobody can use it.
    Broken {
        cause: SourceFailure,
        retry_after_ms: u64,
    },
    /// The source is out of order.
    Outage {
        cause: SourceFailure,
        retry_after_ms: u64,
    },
}

/// A [`SourceFault`] of the source at hand.
struct Fault {
    cause: SourceFailure,
    file: Option<String>,
}

impl GroupSources {
    /// Sources from the values of the parameter `group_source`:
    /// - `dir:PATH`: the files of a folder whose names end in `.xml`. Which group a file has is said by
    ///   its contents;
    /// - `xcap:URL`: an XDMS by its XCAP root, for example `xcap:https://xdms.example.com/xcap-root`;
    /// - `db:URL`: the table `cpm_group` of the database with the proxy's own URL, for example
    ///   `db:sqlite:///var/lib/cpm/groups.db`.
    ///
    /// Nothing is asked for yet, no thread started.
    ///
    /// # Errors
    /// Any [`SourceError`]: a senseless value.
    pub fn new(urls: &[String], options: &SourceOptions) -> Result<Self, SourceError> {
        if urls.len() > MAX_SOURCES {
            return Err(SourceError::TooManySources);
        }
        if !(1..=MAX_TIMEOUT_MS).contains(&options.timeout_ms) {
            return Err(SourceError::InvalidTimeout);
        }
        let sources = urls.iter().zip(1..);
        let sources = sources.map(|(url, source)| Source::new(url, options, source));
        Ok(Self {
            sources: sources.collect::<Result<_, _>>()?,
            faults: VecDeque::new(),
        })
    }

    /// Looks for the group with this address. `now_ms` is a monotonic time in milliseconds.
    ///
    /// It can block for the timeout of each XDMS, as long as the proxy's database interface does, and while
    /// files are read. For each connection to an XDMS a short thread looks up the host name, as only so that
    /// is bounded as well; it calls nothing of ours.
    ///
    /// Then [`Self::poll_fault`] says what else went wrong.
    ///
    /// # Errors
    /// The group exists and cannot be used, or no source has it and one of them is out of order.
    pub fn find(
        &mut self,
        uri: &Uri<'_>,
        now_ms: u64,
        db: &dyn GroupDatabase,
    ) -> Result<Found, Unavailable> {
        let mut outage = None;
        let faults = &mut self.faults;
        for (at, number) in self.sources.iter_mut().zip(1..) {
            let mut report = |fault: Fault| push_fault(faults, number, fault);
            let answer = match at {
                Source::Folder(folder) => folder.find(uri, now_ms, &mut report),
                Source::Remote(remote) => remote.find(uri, now_ms, db, &mut report),
            };
            let unavailable = |cause, retry_after_ms: u64| Unavailable {
                source: number,
                cause,
                retry_after_s: u32::try_from(retry_after_ms.div_ceil(1000).max(1))
                    .unwrap_or(u32::MAX),
            };
            match answer {
                Answer::Group(group) => return Ok(Found::Group(group)),
                Answer::Unknown => {}
                Answer::Broken {
                    cause,
                    retry_after_ms,
                } => return Err(unavailable(cause, retry_after_ms)),
                Answer::Outage {
                    cause,
                    retry_after_ms,
                } => {
                    outage.get_or_insert(unavailable(cause, retry_after_ms));
                }
            }
        }
        outage.map_or(Ok(Found::Unknown), Err)
    }

    /// The next report that has not been taken, oldest first.
    pub fn poll_fault(&mut self) -> Option<SourceFault> {
        self.faults.pop_front()
    }

    /// Other times for what is asked from now on: [`SourceOptions::timeout_ms`] and [`SourceOptions::lifetime_s`].
    pub fn set_times(&mut self, timeout_ms: u64, lifetime_s: u64) {
        for source in &mut self.sources {
            if let Source::Remote(remote) = source {
                remote.set_times(timeout_ms, lifetime_s);
            }
        }
    }

    /// Forgets all that was learnt, outages included, so that everything is asked for anew; gives back how
    /// many groups and addresses of no group that were (`cpm.groups_flush`).
    pub fn flush(&mut self) -> usize {
        let flush = |source: &mut Source| match source {
            Source::Folder(folder) => folder.flush(),
            Source::Remote(remote) => remote.flush(),
        };
        self.sources.iter_mut().map(flush).sum()
    }
}

impl Source {
    fn new(url: &str, options: &SourceOptions, source: usize) -> Result<Self, SourceError> {
        let (kind, rest) = url.split_once(':').unwrap_or((url, ""));
        match kind {
            "dir" => {
                let path = Path::new(rest);
                if !path.is_absolute() {
                    return Err(SourceError::RelativePath { source });
                }
                if let Err(error) = std::fs::read_dir(path) {
                    let why = error.kind();
                    return Err(SourceError::Folder { source, why });
                }
                Ok(Self::Folder(Folder::new(path.to_owned())))
            }
            "xcap" => {
                let xdms = Box::new(Xdms::new(rest, options, source)?);
                Ok(Self::Remote(Remote::new(Place::Xdms(xdms), options)))
            }
            "db" if rest.is_empty() => Err(SourceError::MissingDatabaseUrl { source }),
            "db" => {
                let url = rest.to_owned();
                Ok(Self::Remote(Remote::new(Place::Database { url }, options)))
            }
            _ => Err(SourceError::UnknownKind { source }),
        }
    }
}

fn push_fault(faults: &mut VecDeque<SourceFault>, source: usize, fault: Fault) {
    if faults.len() == MAX_FAULTS {
        faults.pop_front();
    }
    faults.push_back(SourceFault {
        source,
        cause: fault.cause,
        file: fault.file,
    });
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::test_documents::{TestFolder, document};
    use super::*;

    /// One row, or why there is none.
    struct FakeDatabase {
        row: RefCell<Result<Option<Vec<u8>>, DatabaseError>>,
        queries: Cell<usize>,
    }

    impl FakeDatabase {
        fn with(document: Vec<u8>) -> Self {
            Self {
                row: RefCell::new(Ok(Some(document))),
                queries: Cell::new(0),
            }
        }

        fn set(&self, row: Result<Option<Vec<u8>>, DatabaseError>) {
            *self.row.borrow_mut() = row;
        }
    }

    impl GroupDatabase for FakeDatabase {
        fn document(&self, url: &str, uri: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
            assert_eq!(url, "sqlite:///groups.db");
            self.queries.set(self.queries.get() + 1);
            if uri != "sip:g@example.com" {
                return Ok(None);
            }
            self.row.borrow().clone()
        }
    }

    fn sources(urls: &[&str], options: &SourceOptions) -> Result<GroupSources, SourceError> {
        let urls: Vec<String> = urls.iter().map(|url| String::from(*url)).collect();
        GroupSources::new(&urls, options)
    }

    fn database_only(options: &SourceOptions) -> GroupSources {
        sources(&["db:sqlite:///groups.db"], options).unwrap()
    }

    fn found(result: Result<Found, Unavailable>) -> bool {
        match result {
            Ok(Found::Group(_)) => true,
            Ok(Found::Unknown) => false,
            Err(error) => panic!("{error}"),
        }
    }

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text).unwrap()
    }

    const GROUP: &str = "sip:g@example.com";

    #[test]
    fn a_group_is_asked_for_again_after_its_lifetime() {
        let db = FakeDatabase::with(document(GROUP, ""));
        let options = SourceOptions::default();
        let mut sources = database_only(&options);
        let end = options.lifetime_s * 1000;
        assert!(found(sources.find(&uri(GROUP), 0, &db)));
        // Another spelling of the same address.
        let other = uri("sip:%67@EXAMPLE.com;lr");
        assert!(found(sources.find(&other, end - 1, &db)));
        assert_eq!(db.queries.get(), 1);
        db.set(Ok(None));
        assert!(!found(sources.find(&uri(GROUP), end, &db)));
        assert_eq!(db.queries.get(), 2);
    }

    #[test]
    fn what_is_unknown_has_a_lifetime_of_its_own() {
        let db = FakeDatabase::with(document(GROUP, ""));
        db.set(Ok(None));
        let options = SourceOptions::default();
        let mut sources = database_only(&options);
        assert!(!found(sources.find(&uri(GROUP), 0, &db)));
        db.set(Ok(Some(document(GROUP, ""))));
        let end = options.negative_lifetime_s * 1000;
        assert!(!found(sources.find(&uri(GROUP), end - 1, &db)));
        assert_eq!(db.queries.get(), 1);
        assert!(found(sources.find(&uri(GROUP), end, &db)));
        // And flushed at once.
        db.set(Ok(None));
        assert!(!found(sources.find(&uri("sip:other@x.org"), end, &db)));
        assert_eq!(sources.flush(), 2);
        assert!(!found(sources.find(&uri(GROUP), end, &db)));
    }

    #[test]
    fn addresses_of_no_group_do_not_push_groups_out() {
        let db = FakeDatabase::with(document(GROUP, ""));
        let options = SourceOptions {
            capacity: 4,
            ..SourceOptions::default()
        };
        let mut sources = database_only(&options);
        assert!(found(sources.find(&uri(GROUP), 0, &db)));
        for n in 0..100 {
            let text = format!("sip:{n}@example.com");
            assert!(!found(sources.find(&uri(&text), 1, &db)));
        }
        assert_eq!(db.queries.get(), 101);
        assert!(found(sources.find(&uri(GROUP), 2, &db)));
        assert_eq!(db.queries.get(), 101);
        assert_eq!(sources.flush(), 1 + 4);
    }

    #[test]
    fn an_outage_is_not_asked_after_at_each_request() {
        let db = FakeDatabase::with(document(GROUP, ""));
        db.set(Err(DatabaseError::NoConnection));
        let mut sources = database_only(&SourceOptions::default());
        for (now_ms, retry_after_s, queries) in [
            (0, 10, 1),
            (1, 10, 1),
            (9_001, 1, 1),
            (9_999, 1, 1),
            (10_000, 10, 2),
        ] {
            let error = sources.find(&uri(GROUP), now_ms, &db).unwrap_err();
            let expected = Unavailable {
                source: 1,
                cause: SourceFailure::Database(DatabaseError::NoConnection),
                retry_after_s,
            };
            assert_eq!(error, expected);
            assert_eq!(db.queries.get(), queries);
        }
        db.set(Ok(Some(document(GROUP, ""))));
        assert!(found(sources.find(&uri(GROUP), 20_000, &db)));
        // A flush ends it before its time.
        db.set(Err(DatabaseError::QueryFailed));
        let other = uri("sip:g@example.com;transport=tcp");
        assert!(!found(sources.find(&other, 20_000, &db)));
        sources.flush();
        assert!(sources.find(&uri(GROUP), 20_000, &db).is_err());
        db.set(Ok(None));
        sources.flush();
        assert!(!found(sources.find(&uri(GROUP), 20_001, &db)));
    }

    #[test]
    fn a_known_group_serves_through_a_short_outage() {
        let db = FakeDatabase::with(document(GROUP, ""));
        let options = SourceOptions::default();
        let mut sources = database_only(&options);
        assert!(found(sources.find(&uri(GROUP), 0, &db)));
        db.set(Err(DatabaseError::QueryFailed));
        let end = options.lifetime_s * 1000;
        assert!(found(sources.find(&uri(GROUP), end, &db)));
        let fault = sources.poll_fault().unwrap();
        assert_eq!(fault.to_string(), "group source 1: database query failed");
        // While it is left alone there is nothing new to say.
        assert!(found(sources.find(&uri(GROUP), end + 1, &db)));
        assert_eq!(sources.poll_fault(), None);
        let last = end + STALE_GRACE_MS;
        assert!(found(sources.find(&uri(GROUP), last - 1, &db)));
        assert!(sources.find(&uri(GROUP), last, &db).is_err());
    }

    #[test]
    fn a_document_that_cannot_be_used() {
        let broken = SourceFailure::Document(crate::group::GroupDocumentError::NotAGroup);
        let anchor = "<rl:external anchor='http://127.0.0.1/l'/>";
        for (row, cause) in [
            (b"<resource-lists/>".to_vec(), broken),
            (document("sip:h@example.com", ""), SourceFailure::OtherGroup),
            (
                document(GROUP, anchor),
                SourceFailure::ExternalListElsewhere,
            ),
        ] {
            let db = FakeDatabase::with(row);
            let mut sources = database_only(&SourceOptions::default());
            for now_ms in [0, RETRY_AFTER_MS - 1] {
                let error = sources.find(&uri(GROUP), now_ms, &db).unwrap_err();
                assert_eq!(error.cause, cause);
            }
            // It is no matter of the others, and not fetched for each request.
            assert!(!found(sources.find(&uri("sip:x@x.org"), 0, &db)));
            assert_eq!(db.queries.get(), 2);
            db.set(Ok(Some(document(GROUP, ""))));
            assert!(found(sources.find(&uri(GROUP), RETRY_AFTER_MS, &db)));
        }
    }

    #[test]
    fn a_uri_with_the_same_address_is_not_always_the_group() {
        let db = FakeDatabase::with(document("sip:g@example.com;a=1", ""));
        let mut sources = database_only(&SourceOptions::default());
        // Whoever asks first, the others get their own answer.
        for (text, is_group) in [
            ("sip:g:secret@example.com", false),
            ("sip:g@example.com;a=2", false),
            ("sip:g@example.com;a=1", true),
            ("sip:g@example.com", true),
        ] {
            assert_eq!(found(sources.find(&uri(text), 0, &db)), is_group, "{text}");
        }
        assert_eq!(db.queries.get(), 1);
    }

    #[test]
    fn the_first_source_that_has_a_group_wins() {
        let folder = TestFolder::new();
        let list = "<rl:entry uri='sip:from-folder@x.org'/>";
        folder.write("g.xml", &document(GROUP, list));
        let db = FakeDatabase::with(document(GROUP, ""));
        let dir = format!("dir:{}", folder.path().display());
        let options = SourceOptions::default();
        let mut both = sources(&[&dir, "db:sqlite:///groups.db"], &options).unwrap();
        let Ok(Found::Group(group)) = both.find(&uri(GROUP), 0, &db) else {
            panic!("no group")
        };
        assert_eq!(group.members().count(), 1);
        assert_eq!(db.queries.get(), 0);

        // A broken document hides the one behind it.
        folder.write("g.xml", b"");
        let error = both.find(&uri(GROUP), 1_000, &db).unwrap_err();
        assert_eq!(error.source, 1);
        assert_eq!(db.queries.get(), 0);
        let fault = both.poll_fault().unwrap();
        assert!(fault.to_string().starts_with("group source 1: g.xml: "));

        // A source that is out of order does not, but then nobody can say that there is no such group.
        folder.take_away();
        assert!(found(both.find(&uri(GROUP), 2_000, &db)));
        let error = both.find(&uri("sip:x@x.org"), 2_000, &db).unwrap_err();
        assert_eq!(error.to_string(), "group source 1: folder cannot be read");
        assert_eq!(error.retry_after_s, 1);
    }

    #[test]
    fn faults_are_bounded() {
        let folder = TestFolder::new();
        for n in 0..MAX_FAULTS + 4 {
            folder.write(&format!("{n:03}\n.xml"), b"");
        }
        let dir = format!("dir:{}", folder.path().display());
        let mut sources = sources(&[&dir], &SourceOptions::default()).unwrap();
        let db = FakeDatabase::with(Vec::new());
        assert!(!found(sources.find(&uri(GROUP), 0, &db)));
        let faults: Vec<_> = std::iter::from_fn(|| sources.poll_fault()).collect();
        assert_eq!(faults.len(), MAX_FAULTS);
        assert_eq!(faults[0].file.as_deref(), Some("004\n.xml"));
        assert!(!faults[0].to_string().contains('\n'));
    }

    #[test]
    fn senseless_values() {
        let options = SourceOptions::default();
        let source = 2;
        for (url, error) in [
            ("file:/tmp", SourceError::UnknownKind { source }),
            ("xcap", SourceError::InvalidUrl { source }),
            ("dir:tmp", SourceError::RelativePath { source }),
            (
                "dir:/no/such/folder",
                SourceError::Folder {
                    source,
                    why: std::io::ErrorKind::NotFound,
                },
            ),
            (
                "dir:/dev/null",
                SourceError::Folder {
                    source,
                    why: std::io::ErrorKind::NotADirectory,
                },
            ),
            ("xcap:ftp://x.org/", SourceError::InvalidUrl { source }),
            ("xcap:https://x.org/a?b", SourceError::InvalidUrl { source }),
            ("xcap:https://x.org/a#b", SourceError::InvalidUrl { source }),
            ("xcap:/xcap-root", SourceError::InvalidUrl { source }),
            (
                "xcap:https://u:secret@x.org/",
                SourceError::CredentialsInUrl { source },
            ),
            ("db:", SourceError::MissingDatabaseUrl { source }),
        ] {
            let result = sources(&["db:sqlite:///groups.db", url], &options);
            assert_eq!(result.err().as_ref(), Some(&error), "{url}");
            assert!(error.to_string().contains("source 2"));
            assert!(!error.to_string().contains("secret"));
        }
        let many = vec!["db:x"; MAX_SOURCES + 1];
        assert!(sources(&many[1..], &options).is_ok());
        let error = sources(&many, &options).err();
        assert_eq!(error, Some(SourceError::TooManySources));
        for timeout_ms in [0, MAX_TIMEOUT_MS + 1] {
            let options = SourceOptions {
                timeout_ms,
                ..SourceOptions::default()
            };
            let error = sources(&[], &options).err();
            assert_eq!(error, Some(SourceError::InvalidTimeout));
        }
        let folder = TestFolder::new();
        folder.write("empty.pem", b"no certificate");
        for name in ["empty.pem", "missing.pem"] {
            let options = SourceOptions {
                ca_file: Some(folder.path().join(name)),
                ..SourceOptions::default()
            };
            let error = sources(&["xcap:https://x.org"], &options).err();
            assert!(matches!(error, Some(SourceError::Authorities(_))));
        }
        let credentials = Credentials {
            user: "u".into(),
            password: "secret".into(),
        };
        assert!(!format!("{credentials:?}").contains("secret"));
    }
}
