//! A Prometheus for one test, which scrapes and answers queries as the operator's does.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guarded::Guarded;
use crate::outcome::or_fail;

const BINARY: &str = "prometheus";

/// Logged once it answers queries.
const READY: &str = "Server is ready to receive web requests";

/// How long it may take to start, and to scrape what an expression needs, on a busy machine.
const LONG: Duration = Duration::from_secs(60);

/// A running server. It is killed when the test ends.
#[derive(Debug)]
pub struct Prometheus {
    guarded: Guarded,
    port: u16,
}

impl Prometheus {
    /// Whether there is one on this machine.
    pub fn is_installed() -> bool {
        let output = Command::new(BINARY).arg("--version").output();
        output.is_ok_and(|output| output.status.success())
    }

    /// `config`: the text of its configuration.
    pub(crate) fn start(port: u16, folder: &Path, config: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("prometheus.yml");
        fs::write(&file, config)?;
        let mut command = Command::new(BINARY);
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = folder.join("prometheus.log");
        let guarded = Guarded::start(&mut command, None, &log, None)?;
        if !guarded.log().wait_for(READY, LONG) {
            return Err(io::Error::other(guarded.log().text()));
        }
        Ok(Self { guarded, port })
    }

    /// Waits until an expression has a value, and returns its values.
    #[track_caller]
    pub fn expect(&self, expression: &str) -> Vec<f64> {
        let deadline = Instant::now() + LONG;
        loop {
            let values = or_fail(expression, self.query(expression));
            if !values.is_empty() {
                return values;
            }
            assert!(
                Instant::now() < deadline,
                "{expression} has no value:\n{}",
                self.guarded.log().text()
            );
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// The current values of an expression, without those that are not numbers.
    fn query(&self, expression: &str) -> io::Result<Vec<f64>> {
        let escaped: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let mut connection = TcpStream::connect(("127.0.0.1", self.port))?;
        connection.set_read_timeout(Some(LONG))?;
        // Of HTTP/1.0, so that the answer is in one piece.
        write!(
            connection,
            "GET /api/v1/query?query={escaped} HTTP/1.0\r\n\r\n"
        )?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        let (_, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| io::Error::other(answer.clone()))?;
        let body: Value = serde_json::from_str(body)?;
        if body["status"] != "success" {
            return Err(io::Error::other(body.to_string()));
        }
        let series = body["data"]["result"].as_array().into_iter().flatten();
        let values = series.filter_map(|one| one["value"][1].as_str()?.parse().ok());
        Ok(values.filter(|value: &f64| value.is_finite()).collect())
    }
}
