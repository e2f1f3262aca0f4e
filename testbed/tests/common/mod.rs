//! Configurations without cpm.

use cpm_testbed::ProxyConfig;

/// Answers 200 to everything without state.
#[allow(dead_code, reason = "each test binary uses its own part")]
pub(crate) fn answering() -> ProxyConfig {
    ProxyConfig::new(r#"request_route { sl_send_reply("200", "OK"); }"#)
        .load("sl")
        .load("pv")
}

/// Relays to the Request-URI.
#[allow(dead_code, reason = "each test binary uses its own part")]
pub(crate) fn relaying() -> ProxyConfig {
    ProxyConfig::new("request_route { t_relay(); }")
        .load("tm")
        .load("sl")
        .set_number("tm", "fr_timer", 2000)
}
