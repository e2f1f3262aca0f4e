//! A FreeRADIUS server for one test, run from the installed package in a folder of its own. It
//! keeps accounting records, and answers nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guarded::Guarded;
use crate::way::PATIENCE;

/// Logged once it answers.
const READY: &str = "Ready to process requests";

/// Shared with its client.
const SECRET: &str = "testing";

/// A running server. It is killed when the test panics and when the test process dies.
#[derive(Debug)]
pub struct Radius {
    /// Ends it when dropped.
    _guarded: Guarded,
    folder: PathBuf,
    port: u16,
}

impl Radius {
    pub(crate) fn start(port: u16, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let at = folder.display();
        let configuration = format!(
            "name = freeradius
             logdir = {at}
             run_dir = {at}
             pidfile = {at}/pid
             libdir = /usr/lib/freeradius
             client any {{
               ipaddr = 127.0.0.1
               secret = {SECRET}
             }}
             modules {{
               detail {{
                 filename = {at}/records
               }}
             }}
             server default {{
               listen {{
                 type = acct
                 ipaddr = 127.0.0.1
                 port = {port}
               }}
               accounting {{
                 detail
               }}
             }}
            "
        );
        fs::write(folder.join("radiusd.conf"), configuration)?;
        fs::write(folder.join("dictionary"), "")?;
        fs::write(folder.join("servers"), format!("127.0.0.1 {SECRET}\n"))?;
        let mut server = Command::new("/usr/sbin/freeradius");
        server.args(["-f", "-l", "stdout", "-d"]).arg(folder);
        let guarded = Guarded::start(&mut server, None, &folder.join("log"), None)?;
        if !guarded.log().wait_for(READY, PATIENCE) {
            return Err(io::Error::other(guarded.log().text()));
        }
        Ok(Self {
            _guarded: guarded,
            folder: folder.to_owned(),
            port,
        })
    }

    /// Its address, as a client's configuration names it.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The file that tells a radcli client the server's secret.
    pub fn servers(&self) -> PathBuf {
        self.folder.join("servers")
    }

    /// The accounting records so far, their attributes by FreeRADIUS's names.
    pub fn records(&self) -> Vec<BTreeMap<String, String>> {
        let text = fs::read_to_string(self.folder.join("records")).unwrap_or_default();
        let records = text.split_inclusive("\n\n");
        records
            // The last one may not be whole yet.
            .filter(|record| record.ends_with("\n\n"))
            .map(|record| {
                let attributes = record.lines().filter_map(|line| line.split_once(" = "));
                attributes
                    .map(|(name, value)| {
                        (name.trim().to_owned(), value.trim_matches('"').to_owned())
                    })
                    .collect()
            })
            .collect()
    }
}
