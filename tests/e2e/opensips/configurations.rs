//! The configurations of `opensips-config/`: OpenSIPS accepts each without output. Whether they
//! work is tested together with those of Kamailio, in `sites/`.

use std::fs;
use std::process::Command;

use cpm_testbed::Product;

use crate::common::module;
use crate::sites::{configurations, folder};

/// Each is started by a test in `sites/`, or here.
const CONFIGURATIONS: [&str; 7] = [
    "accounting.cfg",
    "dispatcher.cfg",
    "ims-application-server.cfg",
    "opensips.cfg",
    "operator-page.cfg",
    "prometheus.cfg",
    "stand-alone.cfg",
];

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn every_configuration_is_accepted_without_a_word() {
    assert_eq!(
        configurations(Product::OpenSips),
        CONFIGURATIONS.map(str::to_owned).into(),
        "each has its test"
    );
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let module = module();
    let own = module.parent().expect("it lies in a folder");
    let paths = format!(
        "mpath=\"{}/\"\nmpath=\"{}/modules/\"\n",
        own.display(),
        variable("OPENSIPS_SRC")
    );
    for file in CONFIGURATIONS {
        let text = fs::read_to_string(folder(Product::OpenSips).join(file)).expect("it is text");
        // RFC 3261 §18.1.1; the front of two nodes sends no requests of its own.
        let limit = "\nmodparam(\"cpm\", \"udp_mtu\", 1300)\n";
        assert_eq!(text.contains(limit), text.contains("cpm.so"), "{file}");
        // The paths of this OpenSIPS and this module.
        let local = std::env::temp_dir().join(format!("cpm-{}-{file}", std::process::id()));
        fs::write(&local, format!("{paths}{text}")).expect("there is room");
        let output = Command::new(variable("OPENSIPS"))
            .args(["-C", "-f"])
            .arg(&local)
            .output()
            .expect("OpenSIPS is here");
        let _ = fs::remove_file(&local);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{file}: {words}");
        let complaints: Vec<&str> = words
            .lines()
            .filter(|line| {
                ["ERROR", "WARNING", "CRITICAL", "BUG"]
                    .iter()
                    .any(|level| line.contains(level))
            })
            .collect();
        assert!(complaints.is_empty(), "{file}: {complaints:?}");
    }
}
