//! Which Kamailio the proxies of the bench are.

use std::ffi::OsString;
use std::process::Command;
use std::sync::OnceLock;

/// The binary: `KAMAILIO`, or where Debian puts it.
pub(crate) fn binary() -> OsString {
    std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into())
}

/// Lines that make a proxy of this version one like those of the others.
pub(crate) fn settings() -> &'static str {
    static SETTINGS: OnceLock<&str> = OnceLock::new();
    SETTINGS.get_or_init(|| {
        if major_version() >= Some(6) {
            // The most that 6.1.5 takes; requests of that size and more are refused, unless told
            // from 32767 on.
            "msg_recv_max_size=65535\n"
        } else {
            ""
        }
    })
}

/// 5 of `version: kamailio 5.6.3 (x86_64/linux)`. None: there is no Kamailio, as whoever starts one
/// will see.
fn major_version() -> Option<u32> {
    let output = Command::new(binary()).arg("-v").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, number) = text.split_once("version: kamailio ")?;
    number.split('.').next()?.parse().ok()
}
