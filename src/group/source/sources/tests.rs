use std::cell::{Cell, RefCell};

use super::super::test_documents::{TestFolder, document};
use super::super::{Credentials, DatabaseError, RETRY_AFTER_MS, STALE_GRACE_MS, SourceFailure};
use super::*;

/// One row, or the reason why there is none.
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
    // A flush removes it at once.
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
    // A flush ends the outage early.
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
    // Until the next query nothing new is reported.
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
        // It does not affect the others, and is not fetched for each request.
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
    // Whatever is asked first, the others get their own answer.
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

    // A broken document hides the one of a later source.
    folder.write("g.xml", b"");
    let error = both.find(&uri(GROUP), 1_000, &db).unwrap_err();
    assert_eq!(error.source, 1);
    assert_eq!(db.queries.get(), 0);
    let fault = both.poll_fault().unwrap();
    assert!(fault.to_string().starts_with("group source 1: g.xml: "));

    // A source that is down does not, but then it is unknown whether there is no such group.
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
