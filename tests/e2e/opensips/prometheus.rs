//! The module's figures at OpenSIPS's `httpd`: `prometheus.cfg` as Prometheus scrapes it.

use cpm_testbed::{Bench, Prometheus, cpm_message, to};

use crate::common::{
    EXPLODER, HANDLE, cpm_proxy, exchange, expect_counter, expect_promtool_to_pass, http_get,
    metrics_of, shown_by_the_dashboard,
};
use crate::sites::{ANNE, folder, serves_this_machine, shipped};

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn prometheus_scrapes_what_the_dashboard_shows() {
    let bench = Bench::new("prometheus_scrapes");
    let port = bench.port();
    let proxy = bench.proxy(&shipped(
        "prometheus.cfg",
        &[("OPERATOR_PORT", port.to_string())],
    ));
    serves_this_machine(&bench, &proxy);
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &message.request(), &proxy, 202);
    // Two of `serves_this_machine`.
    expect_counter(&proxy, "delivered", 3);
    let figures = http_get(port, "/cpm_metrics");
    expect_promtool_to_pass(&figures);
    let known = metrics_of(&figures);
    for name in &shown_by_the_dashboard() {
        assert!(known.contains(&**name), "{name} is not in {figures}");
    }
    for line in [
        "cpm_accepted_total 3",
        "cpm_recipients_total{outcome=\"delivered\"} 3",
        "cpm_sessions 0",
    ] {
        assert!(
            figures.lines().any(|found| found == line),
            "{line}: {figures}"
        );
    }
    assert!(http_get(port, "/metrics").contains("opensips_"));
    if Prometheus::is_installed() {
        let file = folder(cpm_testbed::Product::OpenSips).join("prometheus.yml");
        let config = std::fs::read_to_string(file).expect("it is part of the project");
        let config = config
            .replace(":8880", &format!(":{port}"))
            .replace("scrape_interval: 15s", "scrape_interval: 500ms");
        let prometheus = bench.prometheus(&config);
        for job in ["opensips", "cpm"] {
            let values = prometheus.expect(&format!("up{{job=\"{job}\"}} == 1"));
            assert_eq!(values, [1.0], "{job}");
        }
        assert_eq!(prometheus.expect("cpm_accepted_total"), [3.0]);
    } else {
        println!("left out: no prometheus here");
    }
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn metrics_without_httpd_are_told_at_the_start() {
    let bench = Bench::new("metrics_without_httpd");
    let config = cpm_proxy(HANDLE).set_number("cpm", "metrics", 1);
    let failure = bench.try_proxy(&config).expect_err("it is refused");
    let line = "metrics needs loadmodule \"httpd.so\"";
    assert!(failure.log.contains(line), "{}", failure.log);
}
