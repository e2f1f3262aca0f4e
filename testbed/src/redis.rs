//! A Redis server for one test, in a folder of its own, and a link to it that may be slow. The
//! binary is that of the installed package, or what `REDIS_SERVER` names: another Redis, or Valkey.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::time::Duration;

use crate::certificate::Certificate;
use crate::guarded::Guarded;
use crate::outcome::or_fail;
use crate::sys::Signal;
use crate::way::PATIENCE;

/// Logged once it accepts connections.
const READY: &str = "Ready to accept connections";

/// Names the server's binary.
const BINARY: &str = "REDIS_SERVER";

/// How it is spoken to.
#[derive(Clone, Debug)]
enum Speaks {
    Clear,
    /// Only TLS, with the certificate of these files.
    Tls(PathBuf, PathBuf),
}

/// A running server that writes what it has to its folder. It is killed when the test panics and
/// when the test process dies.
#[derive(Debug)]
pub struct Redis {
    guarded: Guarded,
    folder: PathBuf,
    port: u16,
    speaks: Speaks,
}

impl Redis {
    pub(crate) fn start(port: u16, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Self::start_speaking(port, folder, Speaks::Clear)
    }

    pub(crate) fn start_over_tls(
        port: u16,
        folder: &Path,
        certificate: &Certificate,
    ) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (certificate, key) = certificate.files(folder);
        Self::start_speaking(port, folder, Speaks::Tls(certificate, key))
    }

    fn start_speaking(port: u16, folder: &Path, speaks: Speaks) -> io::Result<Self> {
        let binary = env::var_os(BINARY).filter(|binary| !binary.is_empty());
        let binary = binary.unwrap_or_else(|| OsString::from("redis-server"));
        let mut server = Command::new(binary);
        match &speaks {
            Speaks::Clear => server.arg("--port").arg(port.to_string()),
            Speaks::Tls(certificate, key) => {
                server.args(["--port", "0", "--tls-auth-clients", "no"]);
                server.arg("--tls-port").arg(port.to_string());
                server.arg("--tls-ca-cert-file").arg(certificate);
                server.arg("--tls-cert-file").arg(certificate);
                server.arg("--tls-key-file").arg(key)
            }
        };
        server.arg("--dir").arg(folder);
        server.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"]);
        // Otherwise it answers before the kernel has what it was told, while a sync takes long.
        server.args(["--appendfsync", "always"]);
        let guarded = Guarded::start(&mut server, None, &folder.join("redis.log"), None)?;
        if !guarded.log().wait_for(READY, PATIENCE) {
            return Err(io::Error::other(guarded.log().text()));
        }
        Ok(Self {
            guarded,
            folder: folder.to_owned(),
            port,
            speaks,
        })
    }

    /// Its URL.
    pub fn url(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// The same with this name of its machine, or address, before which there may be a user and a
    /// password.
    pub fn url_at(&self, host: &str) -> String {
        let scheme = match self.speaks {
            Speaks::Clear => "redis",
            Speaks::Tls(..) => "rediss",
        };
        format!("{scheme}://{host}:{}/0", self.port)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.guarded.pid()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        self.guarded.log().text()
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Kills it, and starts it again with what is in its folder after `meanwhile`.
    #[track_caller]
    pub fn kill_and_start(self, meanwhile: impl FnOnce()) -> Self {
        let Self {
            mut guarded,
            folder,
            port,
            speaks,
        } = self;
        guarded.signal(Signal::Kill);
        assert!(guarded.wait(PATIENCE).is_some(), "Redis has not ended");
        drop(guarded);
        meanwhile();
        or_fail(
            "starting Redis again",
            Self::start_speaking(port, &folder, speaks),
        )
    }

    /// The answer to a command, one line for each value.
    #[track_caller]
    pub fn ask(&self, command: &[&str]) -> Vec<String> {
        let mut client = Command::new("redis-cli");
        client.args(["-p", &self.port.to_string(), "--raw"]);
        if let Speaks::Tls(certificate, _) = &self.speaks {
            client.arg("--tls").arg("--cacert").arg(certificate);
        }
        client.args(command);
        let output = or_fail("redis-cli", client.output());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }

    /// A link to it.
    #[track_caller]
    pub fn link(&self) -> Link {
        or_fail("a link to Redis", Link::start(self.port))
    }
}

/// A port that leads to a server, each of whose answers it may delay.
#[derive(Debug)]
pub struct Link {
    port: u16,
    delay_ms: Arc<AtomicU64>,
}

impl Link {
    fn start(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let delay_ms = Arc::new(AtomicU64::new(0));
        let delay = Arc::clone(&delay_ms);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, server)) else {
                    continue;
                };
                let (Ok(asking), Ok(answering)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let delay = Arc::clone(&delay);
                thread::spawn(move || pass(asking, server, || Duration::ZERO));
                thread::spawn(move || {
                    pass(answering, client, || {
                        Duration::from_millis(delay.load(Relaxed))
                    });
                });
            }
        });
        Ok(Self { port, delay_ms })
    }

    /// The URL of the server through it.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    /// Delays each answer from now on.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.delay_ms.store(ms, Relaxed);
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, delay: impl Fn() -> Duration) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        thread::sleep(delay());
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // Either end: the other one learns of it.
    let _ = to.shutdown(std::net::Shutdown::Both);
    let _ = from.shutdown(std::net::Shutdown::Both);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bench;

    #[test]
    fn what_a_server_has_outlives_it_and_a_link_leads_to_it() {
        let bench = Bench::new("what_a_server_has_outlives_it");
        let server = bench.redis();
        assert_eq!(server.ask(&["SET", "a", "b"]), ["OK"]);
        let server = server.kill_and_start(|| {});
        assert_eq!(server.ask(&["GET", "a"]), ["b"]);
        let link = server.link();
        link.delay(Duration::from_millis(50));
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, link.port)).unwrap();
        let asked = std::time::Instant::now();
        stream.write_all(b"PING\r\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
        assert!(asked.elapsed() >= Duration::from_millis(50));
    }
}
