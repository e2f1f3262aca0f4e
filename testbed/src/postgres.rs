//! A PostgreSQL server for one test, run from the installed package's binaries in a folder of its
//! own.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::guarded::Guarded;
use crate::outcome::or_fail;
use crate::request::unique;
use crate::sys::Signal;
use crate::way::PATIENCE;

/// Runs the server if the test runs as root, as which PostgreSQL refuses to run: `nobody`.
const UNPRIVILEGED: u32 = 65_534;

/// The only user and the only database.
const NAME: &str = "cpm";

/// Logged once it accepts connections.
const READY: &str = "database system is ready to accept connections";

/// A running server with one database that needs no password. It is killed when the test panics and
/// when the test process dies.
#[derive(Debug)]
pub struct Postgres {
    guarded: Guarded,
    binaries: PathBuf,
    port: u16,
}

impl Postgres {
    pub(crate) fn start(port: u16, folder: &Path) -> io::Result<Self> {
        let binaries = binaries()?;
        fs::create_dir_all(folder)?;
        // Not below the test's folder, which an unprivileged user may not be able to reach.
        let scratch = std::env::temp_dir().join(format!("cpm-{}", unique()));
        fs::create_dir(&scratch)?;
        let owner = fs::metadata(&scratch)?.uid();
        let as_user = |mut command: Command| {
            if owner == 0 {
                command.uid(UNPRIVILEGED).gid(UNPRIVILEGED);
            }
            command.current_dir(&scratch);
            command
        };
        if owner == 0 {
            chown(&scratch, Some(UNPRIVILEGED), Some(UNPRIVILEGED))?;
        }
        let store = scratch.join("store");
        let mut initdb = as_user(Command::new(binaries.join("initdb")));
        initdb.args([
            "--no-sync",
            "--auth=trust",
            "--no-locale",
            "--encoding=UTF8",
        ]);
        initdb
            .arg(format!("--username={NAME}"))
            .arg("-D")
            .arg(&store);
        let made = checked(initdb.output()?);
        if made.is_err() {
            let _ = fs::remove_dir_all(&scratch);
            made?;
        }
        let mut server = as_user(Command::new(binaries.join("postgres")));
        server.arg("-D").arg(&store).arg("-k").arg(&scratch);
        server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-F"]);
        let log = folder.join("postgres.log");
        let guarded = Guarded::start(&mut server, None, &log, Some(&scratch))?;
        if !guarded.log().wait_for(READY, PATIENCE) {
            return Err(io::Error::other(guarded.log().text()));
        }
        let server = Self {
            guarded,
            binaries,
            port,
        };
        checked(server.psql("postgres", &format!("CREATE DATABASE {NAME}"))?)?;
        Ok(server)
    }

    /// The database's URL for Kamailio's modules.
    pub fn url(&self) -> String {
        format!("postgres://{NAME}:any@127.0.0.1:{}/{NAME}", self.port)
    }

    /// Runs SQL statements in one transaction.
    #[track_caller]
    pub fn sql(&self, statements: &str) {
        or_fail("psql", self.psql(NAME, statements).and_then(checked));
    }

    /// The rows of a query, their columns separated by `|`.
    #[track_caller]
    pub fn rows(&self, query: &str) -> Vec<String> {
        let output = or_fail("psql", self.psql(NAME, query));
        or_fail("psql", checked(output.clone()));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// Stops the server; open connections are lost.
    #[track_caller]
    pub fn stop(mut self) {
        self.guarded.signal(Signal::Interrupt);
        let ended = self.guarded.wait(PATIENCE);
        assert!(
            ended.is_some_and(|status| status.success()),
            "PostgreSQL ended with {ended:?}:\n{}",
            self.guarded.log().text()
        );
    }

    fn psql(&self, database: &str, statements: &str) -> io::Result<Output> {
        let mut psql = Command::new(self.binaries.join("psql"));
        psql.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            NAME,
            "-h",
            "127.0.0.1",
        ]);
        psql.args([
            "-p",
            &self.port.to_string(),
            "-d",
            database,
            "-c",
            statements,
        ]);
        psql.output()
    }
}

/// The folder in which Debian keeps the newest installed release, beside others and outside PATH.
fn binaries() -> io::Result<PathBuf> {
    let releases = fs::read_dir("/usr/lib/postgresql")?.flatten();
    let newest = releases
        .map(|release| release.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .max();
    newest.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

fn checked(output: Output) -> io::Result<()> {
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(io::Error::other(words))
}

#[cfg(test)]
mod tests {
    use crate::Bench;

    #[test]
    fn a_server_takes_statements_and_stops() {
        let bench = Bench::new("a_server_takes_statements_and_stops");
        let server = bench.postgres();
        server.sql("CREATE TABLE t (x INTEGER); INSERT INTO t VALUES (1)");
        assert!(server.url().starts_with("postgres://cpm"));
        server.stop();
    }
}
