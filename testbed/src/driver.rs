//! What a test does with either proxy, and which file knows how.

use std::path::Path;
use std::process::Command;

use crate::config::{Place, ProxyConfig};
use crate::product::Product;
use crate::{kamailio, opensips};

impl Product {
    pub(crate) fn command(self, file: &Path, folder: &Path, scratch: &Path) -> Command {
        match self {
            Product::Kamailio => kamailio::command(file, folder, scratch),
            Product::OpenSips => opensips::command(file, folder, scratch),
        }
    }

    /// The text of the configuration file.
    pub(crate) fn write(self, config: &ProxyConfig, place: Place<'_>) -> String {
        let text = match self {
            Product::Kamailio => kamailio::fill_in(config),
            Product::OpenSips => opensips::fill_in(config),
        };
        text.replace("@CHILDREN@", &config.children.to_string())
            .replace("@PORT@", &place.port.to_string())
            .replace("@CTL@", &place.ctl.display().to_string())
            .replace("@FOLDER@", &place.scratch.display().to_string())
    }

    /// A command of the proxy's or of the module's own, with its arguments, separated by spaces.
    pub(crate) fn ask(self, ctl: &Path, command: &str) -> Result<String, String> {
        match self {
            Product::Kamailio => kamailio::ask(ctl, command),
            Product::OpenSips => opensips::ask(ctl, command),
        }
    }

    pub(crate) fn process_table(self, ctl: &Path) -> Result<Vec<(u32, String)>, String> {
        match self {
            Product::Kamailio => kamailio::process_table(ctl),
            Product::OpenSips => opensips::process_table(ctl),
        }
    }

    pub(crate) fn statistics(self, ctl: &Path, group: &str) -> Result<Vec<(String, u64)>, String> {
        match self {
            Product::Kamailio => kamailio::statistics(ctl, group),
            Product::OpenSips => opensips::statistics(ctl, group),
        }
    }

    pub(crate) fn private_memory_used(self, ctl: &Path) -> Result<Vec<(u32, u64)>, String> {
        match self {
            Product::Kamailio => kamailio::private_memory_used(ctl),
            Product::OpenSips => opensips::private_memory_used(ctl),
        }
    }

    /// The last process that the main process forks: with it the table is complete.
    pub(crate) fn last_process(self) -> &'static str {
        match self {
            Product::Kamailio => kamailio::LAST_PROCESS,
            Product::OpenSips => opensips::LAST_PROCESS,
        }
    }

    /// Whether it takes connections on its port; the table of processes may be complete before.
    pub(crate) fn is_listening(self, port: u16) -> bool {
        match self {
            Product::Kamailio => true,
            Product::OpenSips => opensips::is_listening(port),
        }
    }

    /// The lines of a log that no healthy proxy writes.
    pub(crate) fn bad_lines(self, log: &str) -> impl Iterator<Item = &str> {
        let (words, farewell, harmless) = match self {
            Product::Kamailio => (
                &kamailio::BAD_WORDS[..],
                kamailio::FAREWELL,
                kamailio::HARMLESS_AFTER_FAREWELL,
            ),
            Product::OpenSips => (
                &opensips::BAD_WORDS[..],
                opensips::FAREWELL,
                opensips::HARMLESS_AFTER_FAREWELL,
            ),
        };
        let (life, end) = log.split_once(farewell).unwrap_or((log, ""));
        let end = end.lines().filter(move |line| !line.contains(harmless));
        life.lines()
            .chain(end)
            .filter(move |line| words.iter().any(|word| line.contains(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eof_is_harmless_only_after_the_farewell() {
        let bad_lines = |log| Product::Kamailio.bad_lines(log).collect::<Vec<_>>();
        let eof = "9(1) CRITICAL: <core> [core/pass_fd.c:277]: receive_fd(): EOF on 9";
        let end = format!("0(1) NOTICE: Thank you for flying kamailio!!!\n{eof}\n3(1) BUG: x\n");
        assert_eq!(bad_lines(&end), ["3(1) BUG: x"]);
        assert_eq!(bad_lines(&format!("{eof}\n{end}")), [eof, "3(1) BUG: x"]);
    }
}
