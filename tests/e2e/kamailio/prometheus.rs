//! A Prometheus and the dashboard: it scrapes a proxy as `prometheus.yml` says, and every panel has
//! a value.

use std::fs;
use std::process::Command;

use cpm_testbed::{Answer, Plan, Product, Prometheus, cpm_message, to};
use serde_json::Value;

use crate::common::{EXPLODER, exchange, expect_counter};
use crate::large::{ANNE, Scene};
use crate::sites::{folder, quoted, shipped};

/// The variables of the dashboard: all proxies, and the time over which rates are taken.
const VARIABLES: [(&str, &str); 2] = [("$instance", ".*"), ("$__rate_interval", "5m")];

/// The expression of each panel, with its title.
fn panels() -> Vec<(String, String)> {
    let file = folder(Product::Kamailio).join("grafana-dashboard.json");
    let text = fs::read_to_string(file).expect("it is part of the project");
    let dashboard: Value = serde_json::from_str(&text).expect("it is JSON");
    let mut all = Vec::new();
    for panel in dashboard["panels"].as_array().expect("it has panels") {
        let title = panel["title"].as_str().expect("it has a title");
        let targets = panel["targets"].as_array().expect("it shows something");
        for target in targets {
            let mut expression = target["expr"].as_str().expect("it asks").to_owned();
            for (name, value) in VARIABLES {
                expression = expression.replace(name, value);
            }
            assert!(!expression.contains("$_"), "{title}: {expression}");
            all.push((title.to_owned(), expression));
        }
        assert!(!targets.is_empty(), "{title}");
    }
    all
}

#[test]
fn every_panel_of_the_dashboard_has_a_value_in_a_prometheus() {
    if !Prometheus::is_installed() {
        println!("left out: no prometheus here");
        return;
    }
    let scene = Scene::unseen("every_panel_has_a_value", |bench, _| {
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        shipped("prometheus.cfg", &[("MSRP_LISTEN", quoted(&listen))])
    });
    let file = folder(Product::Kamailio).join("prometheus.yml");
    let own = file.display().to_string();
    let judged = Command::new("promtool")
        .args(["check", "config", &own])
        .output()
        .expect("promtool comes with prometheus");
    assert!(judged.status.success(), "{judged:?}");
    let config = fs::read_to_string(file).expect("it is part of the project");
    // This proxy, and often: rates need two scrapes.
    let config = config
        .replace(":5060", &format!(":{}", scene.proxy.port()))
        .replace("scrape_interval: 15s", "scrape_interval: 500ms");
    let prometheus = scene.bench.prometheus(&config);
    for job in ["kamailio", "cpm"] {
        let values = prometheus.expect(&format!("up{{job=\"{job}\"}} == 1"));
        assert_eq!(values, [1.0], "{job}");
    }
    // Traffic in both modes, with everything that can become of a request and a recipient.
    let (anne, bill, carol) = (
        scene.bench.agent(),
        scene.bench.agent(),
        scene.bench.agent(),
    );
    carol.answers(Answer::code(486));
    let message = cpm_message(ANNE, EXPLODER);
    let message = message.recipients([to(&bill.uri("bill")), to(&carol.uri("carol"))]);
    for _ in 0..3 {
        exchange(&anne, &message.request(), &scene.proxy, 202);
    }
    let nobody = message.request().without("P-Asserted-Identity");
    exchange(&anne, &nobody, &scene.proxy, 403);
    scene.callees.plan("dave", Plan::status(603));
    let upload = scene.upload(EXPLODER, &["bill", "dave"]);
    scene.sends(&upload);
    scene.gets("bill", &upload);
    expect_counter(&scene.proxy, "failed", 4);
    let panels = panels();
    assert!(panels.len() > 40, "{}", panels.len());
    for (title, expression) in &panels {
        let values = prometheus.expect(expression);
        assert!(
            values.iter().all(|value| *value >= 0.0),
            "{title}: {values:?}"
        );
    }
    // Some of them are known: three of the recipients in pager mode have it, and one in the other.
    let delivered = "max_over_time(cpm_recipients_total{outcome=\"delivered\"}[5m]) >= 4";
    assert_eq!(prometheus.expect(delivered), [4.0]);
    let both = "count(sum by (mode) (cpm_response_seconds_count > 0)) == 2";
    assert_eq!(prometheus.expect(both), [2.0]);
    drop(prometheus);
    scene.finish();
}
