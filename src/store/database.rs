//! The database and its tables.
//!
//! ```text
//!  message   id, accepted, expires, version, record     until its last recipient has ended
//!  outcome   id, ended                                  which of them have
//!  taken     id, until, identity                        as long as its sender may repeat it
//!  content   id, name, bytes                            the file of a large message
//!  clock     boot, started, first                       the wall clock that these times are of
//! ```

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};

use super::clock::{WallClock, unix_s};
use super::engine::Batch;
use super::error::{Cause, StoreError};
use super::record::Kept;

const FILE: &str = "messages.db";

/// The write-ahead log, as SQLite names it.
const LOG_FILE: &str = "messages.db-wal";

/// After so many pages the log is transferred to the database, and begun again.
const LOG_PAGES: i64 = 1_000;

/// What stays of the log's file when it is begun again, in bytes. A larger one is transferred and
/// cut even if nothing is written: it counts, and another reader of the database, such as an
/// operator's shell, may have held up what happens by itself.
const LOG_KEPT: u64 = 4 * 1024 * 1024;

/// So many free pages stay in the database; more are given back to the disk.
const FREE_KEPT: u64 = 256;

/// How many pages are given back at a time: other transactions wait meanwhile.
const FREED_AT_ONCE: u64 = 1_024;

/// A database of an earlier release, which cannot give free pages back, is rewritten once to be
/// able to, if it has no more than this in use, in bytes: the start waits for it. A fuller one is
/// rewritten at a later start that finds it emptier; until then its free pages stay in it.
const REWRITTEN: u64 = 64 * 1024 * 1024;

/// Version of the tables and of what is in them. Version 1 had no attempts among the outcomes, for
/// which an earlier release would take them.
const VERSION: i64 = 2;

const TABLES: &str = "
    CREATE TABLE message (id INTEGER PRIMARY KEY, accepted INTEGER NOT NULL, expires INTEGER NOT NULL,
        version INTEGER NOT NULL, record BLOB NOT NULL);
    CREATE TABLE outcome (id INTEGER PRIMARY KEY, ended BLOB NOT NULL);
    CREATE TABLE taken (id INTEGER PRIMARY KEY, until INTEGER NOT NULL, identity BLOB NOT NULL);
    PRAGMA user_version = 2;";

/// `first`: the first message of this start of the machine.
const CLOCK: &str = "CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY, boot TEXT NOT NULL,
    started INTEGER NOT NULL, first INTEGER NOT NULL)";

/// Without it an earlier release works all the same.
const CONTENT: &str =
    "CREATE TABLE IF NOT EXISTS content (id INTEGER PRIMARY KEY, name TEXT NOT NULL,
    bytes INTEGER NOT NULL)";

/// How long another reader of the database, such as an operator's shell, may delay a transaction.
const BUSY: Duration = Duration::from_secs(2);

/// How many pages the database has.
#[derive(Clone, Copy, Debug, Default)]
struct Pages {
    all: u64,
    /// Those of them that are free for new messages.
    free: u64,
}

impl Pages {
    fn of(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Pages {
            all: count(connection, "page_count")?,
            free: count(connection, "freelist_count")?,
        })
    }
}

/// The database. The connection must not cross a fork.
#[derive(Debug)]
pub struct Database {
    dir: PathBuf,
    connection: Connection,
    page_bytes: u64,
    /// As this process, the only one that writes, has left it: asking takes locks.
    pages: Pages,
    syncs: bool,
    /// The clock that the times in the tables are of.
    clock: Option<WallClock>,
}

impl Database {
    /// Opens the database in this directory, and creates it if it is missing. `owner`: the user and
    /// group that the proxy changes to.
    ///
    /// # Errors
    /// The directory, or what is in it, cannot be used.
    pub fn open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, StoreError> {
        Self::try_open(dir, owner).map_err(|cause| StoreError::of_folder(dir, cause))
    }

    fn try_open(dir: &Path, owner: Option<(u32, u32)>) -> Result<Self, Cause> {
        let path: PathBuf = dir.join(FILE);
        // SQLite gives the files beside it the owner and the permissions of this one.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        if let Some((user, group)) = owner {
            fchown(&file, Some(user), Some(group))?;
        }
        drop(file);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(BUSY)?;
        let version = pragma(&connection, "user_version")?;
        if version > VERSION {
            return Err(Cause::Newer(version));
        }
        // So that free pages can be given back. In a new database it goes before all else.
        connection.pragma_update(None, "auto_vacuum", "incremental")?;
        connection.pragma_update_and_check(None, "journal_mode", "wal", |_| Ok(()))?;
        connection.pragma_update_and_check(None, "wal_autocheckpoint", LOG_PAGES, |_| Ok(()))?;
        connection
            .pragma_update_and_check(None, "journal_size_limit", number(LOG_KEPT), |_| Ok(()))?;
        connection.pragma_update(None, "synchronous", "full")?;
        // Deleted content is overwritten where that costs no additional write.
        connection.pragma_update_and_check(None, "secure_delete", "fast", |_| Ok(()))?;
        if version == 0 {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute_batch(TABLES)?;
            transaction.commit()?;
        } else if version < VERSION {
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute(CLOCK, [])?;
        connection.execute(CONTENT, [])?;
        let page_bytes = pragma(&connection, "page_size")?;
        let mut database = Database {
            dir: dir.to_owned(),
            connection,
            page_bytes: u64::try_from(page_bytes).unwrap_or(4096),
            pages: Pages::default(),
            syncs: true,
            clock: None,
        };
        database.rewrite()?;
        database.mind_clock()?;
        database.pages = Pages::of(&database.connection)?;
        Ok(database)
    }

    /// Makes a database of an earlier release one that can give free pages back.
    fn rewrite(&self) -> rusqlite::Result<()> {
        let pages = Pages::of(&self.connection)?;
        let used = pages.all.saturating_sub(pages.free);
        if count(&self.connection, "auto_vacuum")? == 0 && used * self.page_bytes <= REWRITTEN {
            // Without room for a copy it stays as it is.
            let rewrite = "PRAGMA auto_vacuum = incremental; VACUUM";
            let _ = self.connection.execute_batch(rewrite);
        }
        Ok(())
    }

    /// If the wall clock was set, moves the times of what was accepted since the machine has
    /// started: they are of the clock as it was.
    pub(super) fn mind_clock(&mut self) -> rusqlite::Result<()> {
        // No process sees two starts of the machine.
        let now = match &self.clock {
            Some(seen) => Some(seen.read_again()),
            None => WallClock::now(),
        };
        let is_same = |now: &WallClock| {
            let seen = self.clock.as_ref();
            seen.is_some_and(|seen| now.set_since(seen) == 0)
        };
        match now {
            Some(now) if !is_same(&now) => self.set_clock(now),
            _ => Ok(()),
        }
    }

    fn set_clock(&mut self, now: WallClock) -> rusqlite::Result<()> {
        let next = number(self.next_id()?);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let before = transaction
            .query_row("SELECT boot, started, first FROM clock", [], |row| {
                let (boot, started_s) = (row.get(0)?, row.get(1)?);
                Ok((WallClock { boot, started_s }, row.get::<_, i64>(2)?))
            })
            .optional()?;
        let first = match &before {
            Some((clock, first)) if clock.boot == now.boot => *first,
            _ => next,
        };
        let set_s = before.map_or(0, |(clock, _)| now.set_since(&clock));
        if set_s != 0 {
            let moved = [set_s, first];
            transaction.execute(
                "UPDATE message SET accepted = accepted + ?1, expires = max(expires + ?1, 0) WHERE id >= ?2",
                moved,
            )?;
            transaction.execute("UPDATE taken SET until = until + ?1 WHERE id >= ?2", moved)?;
        }
        transaction.execute(
            "INSERT OR REPLACE INTO clock VALUES (1, ?, ?, ?)",
            params![now.boot, now.started_s, first],
        )?;
        transaction.commit()?;
        self.clock = Some(now);
        Ok(())
    }

    /// A number above those of all messages and identities in the store.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn next_id(&self) -> rusqlite::Result<u64> {
        let last: i64 = self.connection.query_row(
            "SELECT max(coalesce((SELECT max(id) FROM message), 0),
                coalesce((SELECT max(id) FROM taken), 0))",
            [],
            |row| row.get(0),
        )?;
        Ok(last.unsigned_abs() + 1)
    }

    /// The identities of recently accepted messages, by which repetitions are recognised.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn taken(&self) -> Result<Vec<Bytes>, StoreError> {
        let found = self.taken_at(unix_s());
        found.map_err(|error| StoreError::of_folder(&self.dir, error))
    }

    fn taken_at(&self, now_s: u64) -> rusqlite::Result<Vec<Bytes>> {
        let mut query = self
            .connection
            .prepare("SELECT identity FROM taken WHERE until > ?")?;
        let rows = query.query_map([number(now_s)], |row| row.get::<_, Vec<u8>>(0))?;
        rows.map(|row| Ok(row?.into())).collect()
    }

    /// The files of large messages: message, name, and size in bytes.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn contents(&self) -> Result<Vec<(u64, String, u64)>, StoreError> {
        let found = self.all_contents();
        found.map_err(|error| StoreError::of_folder(&self.dir, error))
    }

    pub(super) fn all_contents(&self) -> rusqlite::Result<Vec<(u64, String, u64)>> {
        let query = "SELECT content.id, name, bytes FROM content JOIN message USING (id)";
        let mut query = self.connection.prepare(query)?;
        let unsigned = |number: i64| number.unsigned_abs();
        let rows = query.query_map([], |row| {
            let (id, bytes) = (row.get(0).map(unsigned)?, row.get(2).map(unsigned)?);
            Ok((id, row.get(1)?, bytes))
        })?;
        rows.collect()
    }

    /// Writes the whole batch or nothing. A batch with new messages is on disk when this returns;
    /// outcomes alone survive the end of the process, not that of the machine.
    pub(super) fn write(&mut self, batch: &Batch<'_>) -> rusqlite::Result<()> {
        self.set_synced(!batch.kept.is_empty())?;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !batch.kept.is_empty() {
            let mut message =
                transaction.prepare_cached("INSERT INTO message VALUES (?, ?, ?, ?, ?)")?;
            let mut taken = transaction.prepare_cached("INSERT INTO taken VALUES (?, ?, ?)")?;
            let accepted = number(unix_s());
            let until = number(batch.taken_until_s);
            for kept in &batch.kept {
                let (id, expires) = (number(kept.id), number(kept.expires_s));
                message.execute(params![
                    id,
                    accepted,
                    expires,
                    kept.version,
                    &kept.record[..]
                ])?;
                if let Some((name, bytes)) = &kept.content {
                    let mut content =
                        transaction.prepare_cached("INSERT INTO content VALUES (?, ?, ?)")?;
                    content.execute(params![id, name, number(*bytes)])?;
                }
                if !kept.identity.is_empty() {
                    taken.execute(params![id, until, &kept.identity[..]])?;
                }
            }
        }
        if !batch.ended.is_empty() {
            let mut outcome =
                transaction.prepare_cached("INSERT OR REPLACE INTO outcome VALUES (?, ?)")?;
            for (id, ended) in &batch.ended {
                outcome.execute(params![number(*id), ended])?;
            }
        }
        if !batch.done.is_empty() {
            let mut message = transaction.prepare_cached("DELETE FROM message WHERE id = ?")?;
            let mut outcome = transaction.prepare_cached("DELETE FROM outcome WHERE id = ?")?;
            let mut content = transaction.prepare_cached("DELETE FROM content WHERE id = ?")?;
            for id in &batch.done {
                content.execute([number(*id)])?;
                message.execute([number(*id)])?;
                outcome.execute([number(*id)])?;
            }
        }
        if let Some(id) = batch.forgotten {
            let mut taken = transaction.prepare_cached("DELETE FROM taken WHERE id <= ?")?;
            taken.execute([number(id)])?;
        }
        let pages = Pages::of(&transaction)?;
        transaction.commit()?;
        self.pages = pages;
        Ok(())
    }

    /// Sets whether a transaction waits until it is on disk.
    fn set_synced(&mut self, syncs: bool) -> rusqlite::Result<()> {
        if self.syncs != syncs {
            let level = if syncs { "full" } else { "normal" };
            self.connection.pragma_update(None, "synchronous", level)?;
            self.syncs = syncs;
        }
        Ok(())
    }

    /// Bytes that it takes on the disk: pages, also those that are free or only in the log yet, and
    /// the log.
    pub(super) fn bytes(&self) -> u64 {
        self.pages.all * self.page_bytes + self.log_bytes()
    }

    /// Bytes of pages that are free for new messages.
    pub(super) fn free_bytes(&self) -> u64 {
        self.pages.free * self.page_bytes
    }

    fn log_bytes(&self) -> u64 {
        let log = fs::metadata(self.dir.join(LOG_FILE));
        log.map_or(0, |log| log.len())
    }

    /// Gives back to the disk what is not needed. True: there is more.
    pub(super) fn tidy(&mut self) -> rusqlite::Result<bool> {
        let surplus = self.pages.free.saturating_sub(FREE_KEPT);
        if surplus > 0 {
            self.set_synced(false)?;
            let pages = surplus.min(FREED_AT_ONCE);
            let mut query = self
                .connection
                .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = query.query([])?;
            // One row for each page.
            while rows.next()?.is_some() {}
            drop(rows);
            drop(query);
            self.pages = Pages::of(&self.connection)?;
        }
        if self.log_bytes() > LOG_KEPT {
            // Whoever reads still is not waited for.
            self.connection.busy_timeout(Duration::ZERO)?;
            let cut = self
                .connection
                .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            self.connection.busy_timeout(BUSY)?;
            cut?;
        }
        Ok(surplus > FREED_AT_ONCE)
    }

    /// One message. `None`: its last recipient has ended.
    pub(super) fn read(&self, id: u64) -> rusqlite::Result<Option<Kept>> {
        let mut query = self
            .connection
            .prepare_cached(&format!("{SELECT} WHERE m.id = ?"))?;
        query.query_row([number(id)], kept).optional()
    }

    /// The next messages with numbers between `id` and `before`, about `bytes` of them.
    pub(super) fn read_between(
        &self,
        id: u64,
        before: u64,
        bytes: usize,
    ) -> rusqlite::Result<Vec<Kept>> {
        let mut query = self.connection.prepare_cached(&format!(
            "{SELECT} WHERE m.id > ? AND m.id < ? ORDER BY m.id"
        ))?;
        let mut rows = query.query([number(id), number(before)])?;
        let (mut all, mut sum) = (Vec::new(), 0);
        while let Some(row) = rows.next()?.filter(|_| sum < bytes) {
            let kept = kept(row)?;
            sum += kept.record.len();
            all.push(kept);
        }
        Ok(all)
    }
}

const SELECT: &str = "SELECT m.id, m.version, m.expires, m.record, coalesce(o.ended, x'')
    FROM message m LEFT JOIN outcome o ON o.id = m.id";

fn kept(row: &rusqlite::Row<'_>) -> rusqlite::Result<Kept> {
    let unsigned = |number: i64| number.unsigned_abs();
    Ok(Kept {
        id: row.get(0).map(unsigned)?,
        version: row.get(1)?,
        expires_s: row.get(2).map(unsigned)?,
        record: row.get::<_, Vec<u8>>(3)?.into(),
        identity: Bytes::new(),
        content: None,
        ended: row.get::<_, Vec<u8>>(4)?.into(),
    })
}

fn count(connection: &Connection, name: &str) -> rusqlite::Result<u64> {
    let mut query = connection.prepare_cached(&format!("PRAGMA {name}"))?;
    query.query_row([], |row| row.get(0).map(i64::unsigned_abs))
}

fn pragma(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, name, |row| row.get(0))
}

/// As an SQLite integer.
fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    pub(in crate::store) use crate::test_folder::scratch;

    pub(in crate::store) fn message(id: u64) -> Kept {
        Kept {
            id,
            version: 1,
            expires_s: 4_000_000_000,
            record: Bytes::from(vec![id as u8; 2000]),
            identity: Bytes::from_static(b"who"),
            content: None,
            ended: Bytes::new(),
        }
    }

    #[test]
    fn messages_stay_until_they_are_over() {
        let dir = scratch("store-database");
        let mut database = Database::open(&dir, None).unwrap();
        assert_eq!(database.next_id().unwrap(), 1);
        let [first, second] = [1, 2].map(message);
        let batch = Batch {
            kept: vec![&first, &second],
            taken_until_s: unix_s() + 100,
            ended: vec![(2, b"somebody")],
            ..Batch::default()
        };
        database.write(&batch).unwrap();
        drop(database);
        // The next process.
        let mut database = Database::open(&dir, None).unwrap();
        assert_eq!(database.taken().unwrap(), ["who", "who"]);
        assert_eq!(database.read(1).unwrap().unwrap().record, first.record);
        let done = Batch {
            done: vec![1],
            ..Batch::default()
        };
        database.write(&done).unwrap();
        assert_eq!(database.read(1).unwrap(), None);
        let left = database.read_between(0, u64::MAX, usize::MAX).unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].id, &left[0].ended[..]), (2, &b"somebody"[..]));
        assert_eq!(database.next_id().unwrap(), 3);
        assert!(database.bytes() > 0);
        let mode = fs::metadata(dir.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let forgotten = Batch {
            forgotten: Some(2),
            ..Batch::default()
        };
        database.write(&forgotten).unwrap();
        assert!(database.taken().unwrap().is_empty());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_clock_that_was_behind_makes_nothing_expire() {
        let dir = scratch("store-clock");
        let mut database = Database::open(&dir, None).unwrap();
        let clock = database.clock.clone().expect("this is Linux");
        // What an earlier start of the machine has accepted.
        let first = message(1);
        let of_before = Batch {
            kept: vec![&first],
            ..Batch::default()
        };
        database.write(&of_before).unwrap();
        let behind = WallClock {
            boot: "another".to_owned(),
            started_s: 0,
        };
        database.set_clock(behind.clone()).unwrap();
        let second = Kept {
            expires_s: 100,
            ..message(2)
        };
        let batch = Batch {
            kept: vec![&second],
            ..Batch::default()
        };
        database.write(&batch).unwrap();
        let set = |started_s| WallClock {
            started_s,
            ..behind.clone()
        };
        let expires = |database: &Database| {
            let all = database.read_between(0, u64::MAX, usize::MAX).unwrap();
            all.iter().map(|kept| kept.expires_s).collect::<Vec<_>>()
        };
        database.set_clock(set(1_000_000)).unwrap();
        assert_eq!(expires(&database), [4_000_000_000, 1_000_100]);
        // The machine is started again; nothing has been set since.
        database.set_clock(clock).unwrap();
        database.mind_clock().unwrap();
        assert_eq!(expires(&database), [4_000_000_000, 1_000_100]);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_store_of_an_earlier_release_is_one_of_this() {
        let dir = scratch("store-older");
        let database = Database::open(&dir, None).unwrap();
        let version = |database: &Database| pragma(&database.connection, "user_version").unwrap();
        assert_eq!(version(&database), VERSION);
        let set = database.connection.pragma_update(None, "user_version", 1);
        set.unwrap();
        drop(database);
        assert_eq!(version(&Database::open(&dir, None).unwrap()), VERSION);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_store_that_cannot_shrink_is_rewritten_once_it_is_small() {
        let dir = scratch("store-rewritten");
        let path = dir.join(FILE);
        let older = Connection::open(&path).unwrap();
        older.execute_batch(TABLES).unwrap();
        let large = i64::try_from(REWRITTEN).unwrap();
        let insert = "INSERT INTO message VALUES (?, 1, 4000000000, 1, zeroblob(?))";
        for (id, bytes) in [(1, 2_000), (2, large), (3, 2_000)] {
            older.execute(insert, [id, bytes]).unwrap();
        }
        drop(older);
        let can_shrink =
            |database: &Database| count(&database.connection, "auto_vacuum").unwrap() == 2;
        let mut database = Database::open(&dir, None).unwrap();
        assert!(!can_shrink(&database), "the start would wait too long");
        let done = Batch {
            done: vec![2],
            ..Batch::default()
        };
        database.write(&done).unwrap();
        drop(database);
        assert!(fs::metadata(&path).unwrap().len() > REWRITTEN);
        let database = Database::open(&dir, None).unwrap();
        assert!(can_shrink(&database));
        let left = database.read_between(0, u64::MAX, usize::MAX).unwrap();
        assert_eq!(left.iter().map(|kept| kept.id).collect::<Vec<_>>(), [1, 3]);
        drop(database);
        let bytes = fs::metadata(&path).unwrap().len();
        assert!(bytes < REWRITTEN / 100, "{bytes}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_store_of_a_later_release_is_left_alone() {
        let dir = scratch("store-newer");
        let database = Database::open(&dir, None).unwrap();
        database
            .connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        drop(database);
        let error = Database::open(&dir, None).unwrap_err().to_string();
        assert!(error.contains("later release (version 3)"), "{error}");
        fs::write(
            dir.join(FILE),
            "no database, but a text that is long enough",
        )
        .unwrap();
        let error = Database::open(&dir, None).unwrap_err().to_string();
        assert!(error.contains("not a database"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
