//! The module's answer to an operator who asks for its configuration.

use cpm_testbed::{Bench, values};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy};

#[test]
fn the_configuration_is_told_without_secrets() {
    let bench = Bench::new("the_configuration_is_told");
    let folder = bench.folder().join("groups");
    std::fs::create_dir(&folder).expect("the folder of a test can be written to");
    let config = cpm_proxy(HANDLE)
        .set("cpm", "trusted_peer", "2001:db8::/32")
        .set("cpm", "group_source", &format!("dir:{}", folder.display()))
        .set("cpm", "group_uri", "sip:*@groups.example.com")
        .set("cpm", "xcap_user", "cpm")
        .set("cpm", "xcap_password", "open-sesame")
        .set("cpm", "allow_anonymity", "no")
        .set_number("cpm", "group_processes", 1);
    let proxy = bench.proxy(&config);
    let answer = proxy.rpc("cpm.config");
    for (name, value) in [
        ("max_recipients", "100"),
        ("allow_anonymity", "0"),
        ("identity_source", "pai"),
        ("oma_release", "2.2"),
        ("interworking", "0"),
        ("group_processes", "1"),
        ("xcap_user", "cpm"),
        ("xcap_password", "(set)"),
        ("isf_uri", ""),
    ] {
        assert_eq!(values(&answer, name).next(), Some(value), "{name}");
    }
    for text in [EXPLODER, CONTROLLING, "127.0.0.1", "2001:db8::/32"] {
        assert!(answer.contains(text), "{text} is not in {answer}");
    }
    assert!(!answer.contains("open-sesame"), "{answer}");
    proxy.stop();
}
