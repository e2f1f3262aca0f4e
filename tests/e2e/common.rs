//! What the end-to-end tests share: a proxy with the module, and which requirements a test proves.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cpm_testbed::ProxyConfig;

pub(crate) const EXPLODER: &str = "sip:exploder@example.com";
pub(crate) const CONTROLLING: &str = "sip:cpm@example.com";

/// One line, as most operators write it.
pub(crate) const HANDLE: &str = "request_route {
    if (cpm_handle()) exit;
    sl_send_reply(\"404\", \"Not Ours\");
}";

/// A proxy that serves [`EXPLODER`] and [`CONTROLLING`] and trusts this machine.
pub(crate) fn cpm_proxy(routes: &str) -> ProxyConfig {
    untrusting_proxy(routes).set("cpm", "trusted_peer", "127.0.0.1")
}

/// The same without anybody who is trusted.
pub(crate) fn untrusting_proxy(routes: &str) -> ProxyConfig {
    ProxyConfig::new(routes)
        .load("tm")
        .load("sl")
        .load("pv")
        .load("textops")
        .load("xlog")
        .load(
            module()
                .to_str()
                .expect("the project's folder has a name in UTF-8"),
        )
        .set("cpm", "exploder_uri", EXPLODER)
        .set("cpm", "controlling_uri", CONTROLLING)
}

fn module() -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/kamailio/cpm.so");
    assert!(
        module.is_file(),
        "no {}: run `make build` first",
        module.display()
    );
    module
}

/// Says which requirements (ids of `tests/conformance/requirements.csv`) the test proves over the wire. To be
/// kept to the end of the test: only a test that has passed proves anything.
#[must_use]
#[track_caller]
pub(crate) fn proves(ids: &'static [&'static str]) -> Proof {
    for id in ids {
        assert!(
            requirements().iter().any(|known| known == id),
            "there is no requirement {id}"
        );
    }
    Proof(ids)
}

pub(crate) struct Proof(&'static [&'static str]);

impl Drop for Proof {
    fn drop(&mut self) {
        let Some(folder) = std::env::var_os("CPM_PROOFS") else {
            return;
        };
        if std::thread::panicking() {
            return;
        }
        let test = std::thread::current()
            .name()
            .unwrap_or("unnamed")
            .to_owned();
        let file = Path::new(&folder).join(test.replace("::", "."));
        let mut file = fs::File::create(&file).expect("CPM_PROOFS is a folder");
        for id in self.0 {
            writeln!(file, "{id}").expect("CPM_PROOFS can be written to");
        }
    }
}

fn requirements() -> &'static [String] {
    static IDS: OnceLock<Vec<String>> = OnceLock::new();
    IDS.get_or_init(|| {
        include_str!("../conformance/requirements.csv")
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(',').map(|(id, _)| id.to_owned()))
            .collect()
    })
}
