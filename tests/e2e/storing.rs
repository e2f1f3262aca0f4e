//! Configurations of proxies that keep accepted messages, and have them wait for recipients that
//! cannot be reached.

use std::path::PathBuf;

use cpm_testbed::{Bench, ProxyConfig};

/// The script of a server that an S-CSCF registers its users with: it tells the module who is
/// available, and the log who has been noted.
pub(crate) const REGISTERS: &str = "request_route {
    if (cpm_handle()) exit;
    if (is_method(\"REGISTER\")) {
        if (cpm_recipient_available(\"$tu\")) xlog(\"L_NOTICE\", \"noted $tu\\n\");
        sl_send_reply(\"200\", \"OK\");
        exit;
    }
}";

/// The folder of the store.
pub(crate) fn folder(bench: &Bench) -> PathBuf {
    bench.folder().join("store")
}

/// Store and key stay when the proxy goes.
pub(crate) fn storing(config: ProxyConfig, bench: &Bench) -> ProxyConfig {
    let state = bench.folder().join("state");
    let store = format!("file:{}", folder(bench).display());
    config
        .set("cpm", "state_dir", &state.display().to_string())
        .set("cpm", "store", &store)
}

/// Recipients that answer 480 are tried again after these seconds.
pub(crate) fn deferring(config: ProxyConfig, retry: &str) -> ProxyConfig {
    config
        .set("cpm", "deferred_codes", "480")
        .set("cpm", "deferred_retry", retry)
        .set_number("cpm", "deferred_delay", 0)
}
