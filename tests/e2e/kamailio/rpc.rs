//! Counters wherever Kamailio shows counters, and what its commands say of themselves.

use cpm_testbed::{Bench, ProxyConfig, cpm_message, to, values};

use crate::common::{
    EXPLODER, HANDLE, counter_names, cpm_proxy, exchange, expect_counter, http, http_get,
};

#[test]
fn counters_are_seen_wherever_kamailio_shows_counters() {
    let bench = Bench::new("counters_are_seen");
    let proxy = bench.proxy(&with_http(cpm_proxy(&format!(
        "tcp_accept_no_cl=yes
        {HANDLE}
        event_route[xhttp:request] {{
            if ($hu == \"/metrics\") prom_dispatch(); else jsonrpc_dispatch();
        }}"
    ))));
    let (anne, bill) = (bench.agent(), bench.agent());
    let request = cpm_message("sip:anne@example.com", EXPLODER)
        .recipients([to(&bill.uri("bill")), to(&bill.uri("ben"))])
        .request();
    exchange(&anne, &request, &proxy, 202);
    exchange(
        &anne,
        &request.again().without("P-Asserted-Identity"),
        &proxy,
        403,
    );
    bill.expect_requests("MESSAGE", 2);
    expect_counter(&proxy, "delivered", 2);
    let expected = |name: &str| match name {
        // The lane may be closed for all tests.
        "express" if std::env::var("CPM_EXPRESS").is_ok() => 0,
        "express_by_tm" if std::env::var("CPM_EXPRESS").is_ok() => 2,
        "requests" | "recipients" | "delivered" | "express" => 2,
        "accepted" | "refused" => 1,
        _ => 0,
    };

    let own = proxy.rpc("cpm.stats");
    let core = proxy.rpc("stats.get_statistics cpm:");
    let scraped = http_get(proxy.port(), "/metrics");
    let json = json_rpc(proxy.port(), "cpm.stats");
    for name in counter_names() {
        let value = expected(name);
        assert_eq!(
            values(&own, name).next(),
            Some(&*value.to_string()),
            "{own}"
        );
        assert!(core.contains(&format!("cpm:{name} = {value}")), "{core}");
        let line = format!("\nkamailio_cpm_{name} {value}");
        assert!(scraped.contains(&line), "{name} is not in {scraped}");
        let member = format!("\"{name}\":{value}");
        assert!(
            json.replace([' ', '\t', '\n'], "").contains(&member),
            "{json}"
        );
    }
    proxy.stop();
}

#[test]
fn every_command_says_what_it_does() {
    let bench = Bench::new("every_command_says_what_it_does");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let commands = proxy.rpc("system.listMethods");
    let commands: Vec<&str> = commands
        .lines()
        .map(str::trim)
        .filter(|name| name.starts_with("cpm."))
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        let help = proxy.rpc(&format!("system.methodHelp {command}"));
        assert!(help.trim().ends_with('.'), "{command}: {help}");
    }
    proxy.stop();
}

fn with_http(config: ProxyConfig) -> ProxyConfig {
    config
        .load("xhttp")
        .load("xhttp_prom")
        .load("jsonrpcs")
        .set("xhttp_prom", "xhttp_prom_stats", "cpm:")
        .set_number("jsonrpcs", "transport", 1)
}

/// The answer to a command over JSON-RPC.
#[track_caller]
fn json_rpc(port: u16, command: &str) -> String {
    let body = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{command}\",\"id\":1}}");
    http(
        port,
        &format!(
            "POST /rpc HTTP/1.1\r\nHost: proxy\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        ),
    )
}
