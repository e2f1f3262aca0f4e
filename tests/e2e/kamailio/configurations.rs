//! The configurations in `kamailio-config/` that only Kamailio has. Whether its sites work is
//! tested together with those of OpenSIPS, in `sites/`.

use std::fs;

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use cpm_testbed::{Answer, Bench, PATIENCE, Product, cpm_message, to};

use crate::common::{
    EXPLODER, HANDLE, counter_names, cpm_proxy, exchange, expect_promtool_to_pass, http_get,
    metrics_of, module, shown_by_the_dashboard,
};
use crate::sites::{ANNE, configurations, folder, quoted, serves_this_machine, shipped};

/// Each is started by a test: here, in `sites/` or, for the tutorial, among the client's.
const CONFIGURATIONS: [&str; 8] = [
    "accounting.cfg",
    "dispatcher.cfg",
    "ims-application-server.cfg",
    "kamailio.cfg",
    "lua.cfg",
    "prometheus.cfg",
    "stand-alone.cfg",
    "try-out.cfg",
];

#[test]
fn every_configuration_is_accepted_without_a_word() {
    assert_eq!(
        configurations(Product::Kamailio),
        CONFIGURATIONS.map(str::to_owned).into(),
        "each has its test"
    );
    let binary = std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let modules = Command::new(root.join("tools/kamailio"))
        .arg("modules")
        .output()
        .expect("a script of the project");
    let modules = String::from_utf8(modules.stdout).expect("a path");
    let module = module();
    let own = module.parent().expect("it lies in a folder");
    for file in CONFIGURATIONS {
        // RFC 3261 §18.1.1.
        let text =
            fs::read_to_string(folder(Product::Kamailio).join(file)).expect("it can be read");
        assert!(
            text.contains("\nudp_mtu=1300\nudp_mtu_try_proto=TCP\n"),
            "{file}"
        );
        let output = Command::new(&binary)
            .arg("-c")
            .arg("-L")
            .arg(format!("{}:{}", own.display(), modules.trim()))
            .arg("-Y")
            .arg(std::env::temp_dir())
            .args(["-l", "udp:127.0.0.1:5060", "-l", "tcp:127.0.0.1:5060"])
            .arg("-f")
            .arg(folder(Product::Kamailio).join(file))
            .output()
            .expect("Kamailio is installed");
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{file}: {words}");
        // Output for any valid configuration, and about the listeners.
        let complaints: Vec<&str> = words
            .lines()
            .filter(|line| {
                ["ERROR", "WARNING", "CRITICAL", "NOTICE", "BUG"]
                    .iter()
                    .any(|level| line.contains(level))
            })
            .collect();
        assert!(complaints.is_empty(), "{file}: {complaints:?}");
    }
}

#[test]
fn the_one_in_lua_serves_this_machine() {
    let bench = Bench::new("the_one_in_lua_serves_this_machine");
    let script = folder(Product::Kamailio)
        .join("cpm.lua")
        .display()
        .to_string();
    let proxy = bench.proxy(&shipped("lua.cfg", &[("LUA_SCRIPT", quoted(&script))]));
    serves_this_machine(&bench, &proxy);
    let mallory = cpm_message("sip:mallory@example.com", EXPLODER)
        .recipients([to("sip:bill@nowhere.invalid")])
        .request();
    let anne = bench.agent();
    exchange(&anne, &mallory, &proxy, 403);
    let unreachable = mallory
        .again()
        .with("P-Asserted-Identity", "<sip:anne@example.com>");
    exchange(&anne, &unreachable, &proxy, 202);
    proxy.expect_log("a recipient failed: 503 Not Sendable");
    proxy.stop();
}

#[test]
fn prometheus_scrapes_what_the_dashboard_shows() {
    let bench = Bench::new("prometheus_scrapes");
    let proxy = bench.proxy(&shipped("prometheus.cfg", &[]));
    serves_this_machine(&bench, &proxy);
    let scraped = http_get(proxy.port(), "/metrics");
    let core = metrics_of(&scraped);
    for name in counter_names() {
        assert!(
            core.contains(&*format!("kamailio_cpm_{name}")),
            "{name} is not in {scraped}"
        );
    }
    assert!(core.contains("kamailio_shmem_real_used_size"), "{scraped}");
    let figures = http_get(proxy.port(), "/metrics/cpm");
    let known = metrics_of(&figures);
    let shown = shown_by_the_dashboard();
    assert!(shown.len() > counter_names().count(), "{shown:?}");
    for name in &shown {
        assert!(known.contains(&**name), "{name} is not in {figures}");
    }
    proxy.stop();
    // Others have no access.
    let elsewhere = shipped("prometheus.cfg", &[("SCRAPER", quoted("192.0.2.1"))]);
    let proxy = bench.proxy(&elsewhere);
    let refused = std::panic::catch_unwind(|| http_get(proxy.port(), "/metrics"));
    assert!(refused.is_err(), "{refused:?}");
    proxy.stop();
}

#[test]
fn the_figures_for_prometheus_add_up() {
    let bench = Bench::new("the_figures_for_prometheus");
    let proxy = bench.proxy(&shipped("prometheus.cfg", &[]));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    carol.answers(Answer::code(486));
    let message = |users: &[String]| {
        let recipients = users.iter().map(|uri| to(uri));
        cpm_message(ANNE, EXPLODER).recipients(recipients).request()
    };
    let both = [bill.uri("bill"), carol.uri("carol")];
    exchange(&anne, &message(&both), &proxy, 202);
    let bytes = bill.expect_request("MESSAGE").body().len();
    exchange(&anne, &message(&both[..1]), &proxy, 202);
    for _ in 0..3 {
        let nobody = message(&both).without("P-Asserted-Identity");
        exchange(&anne, &nobody, &proxy, 403);
    }
    let expected = [
        "cpm_responses_total{mode=\"pager\",code=\"202\"} 2".to_owned(),
        "cpm_responses_total{mode=\"pager\",code=\"403\"} 3".to_owned(),
        "cpm_recipients_total{outcome=\"delivered\"} 2".to_owned(),
        "cpm_recipients_total{outcome=\"failed\"} 1".to_owned(),
        "cpm_recipients_total{outcome=\"dropped\"} 0".to_owned(),
        "cpm_response_seconds_count{mode=\"pager\"} 2".to_owned(),
        "cpm_response_seconds_bucket{mode=\"pager\",le=\"+Inf\"} 2".to_owned(),
        "cpm_response_seconds_count{mode=\"large\"} 0".to_owned(),
        "cpm_last_end_seconds_count{mode=\"pager\"} 2".to_owned(),
        format!("cpm_content_bytes_total{{mode=\"pager\"}} {}", 2 * bytes),
        format!(
            "cpm_build_info{{version=\"{}\"}} 1",
            env!("CARGO_PKG_VERSION")
        ),
    ];
    let deadline = Instant::now() + PATIENCE;
    let figures = loop {
        let figures = http_get(proxy.port(), "/metrics/cpm");
        let missing = expected
            .iter()
            .find(|line| !figures.lines().any(|found| found == **line));
        let Some(missing) = missing else {
            break figures;
        };
        assert!(Instant::now() < deadline, "no {missing} in {figures}");
        thread::sleep(Duration::from_millis(20));
    };
    proxy.stop();
    expect_promtool_to_pass(&figures);
}

#[test]
fn the_unit_of_systemd_takes_the_drop_in() {
    let drop_in = folder(Product::Kamailio).join("kamailio.service.d/cpm.conf");
    let text = fs::read_to_string(&drop_in).expect("it is part of the project");
    let start = text
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="))
        .find(|command| !command.is_empty())
        .expect("it starts something");
    // Environment added by the unit, and processes that do not stay.
    let arguments: Vec<String> = start
        .split_ascii_whitespace()
        .skip(1)
        .map(|word| match word {
            "$CFGFILE" => folder(Product::Kamailio)
                .join("kamailio.cfg")
                .display()
                .to_string(),
            "$SHM_MEMORY" => "64".to_owned(),
            "$PKG_MEMORY" => "8".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    let module = module();
    let binary = std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into());
    let modules = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/kamailio"))
        .arg("modules")
        .output()
        .expect("a script of the project");
    let output = Command::new(binary)
        .args(arguments)
        .arg("-c")
        .arg("-L")
        .arg(format!(
            "{}:{}",
            module.parent().expect("it lies in a folder").display(),
            String::from_utf8_lossy(&modules.stdout).trim()
        ))
        .args(["-Y", "/tmp"])
        .output()
        .expect("Kamailio is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn homer_gets_the_copies() {
    let homer = UdpSocket::bind("127.0.0.1:0").expect("there is a port");
    homer
        .set_read_timeout(Some(PATIENCE))
        .expect("a time to wait is not zero");
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("doc/manual.md");
    let manual = fs::read_to_string(manual).expect("there is a manual");
    let lines: String = manual
        .lines()
        .map(str::trim)
        .filter(|line| line.contains("\"siptrace"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(lines.starts_with("loadmodule"), "{lines}");
    let address = homer.local_addr().expect("it is bound").to_string();
    let lines = lines.replace("192.0.2.90:9060", &address);
    let bench = Bench::new("homer_gets_the_copies");
    let proxy = bench.proxy(&cpm_proxy(&format!("{lines}{HANDLE}")));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &message.request(), &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    let call_id = copy.header("Call-ID").expect("it has one");
    let mut room = [0; 65_536];
    loop {
        let length = homer.recv(&mut room).expect("the copy comes");
        assert!(room.starts_with(b"HEP3"));
        let text = String::from_utf8_lossy(&room[..length]);
        if text.contains("MESSAGE sip:bill@") && text.contains(call_id) {
            break;
        }
    }
    proxy.stop();
}
