//! Kamailio's own commands for parameters that can change at run time.

use cpm::policy::Parameter;
use cpm_testbed::Bench;

use crate::common::{HANDLE, cpm_proxy};
use crate::module::tuning::{in_force, tunable};

#[test]
fn the_cfg_commands_know_the_group() {
    let bench = Bench::new("the_cfg_commands_know_the_group");
    let proxy = bench.proxy(&tunable(cpm_proxy(HANDLE)).set("cpm", "max_recipients", "7"));
    let listed = proxy.rpc("cfg.list cpm");
    let tunable = cpm::policy::ALL_PARAMETERS
        .iter()
        .filter(|parameter| parameter.is_tunable);
    for Parameter {
        name, help, kind, ..
    } in tunable
    {
        assert!(listed.contains(&format!("cpm: {name}")), "{listed}");
        let described = proxy.rpc(&format!("cfg.help cpm {name}"));
        assert!(
            described.contains(&format!("{help} ({kind})")),
            "{described}"
        );
    }
    assert_eq!(proxy.rpc("cfg.get cpm max_recipients").trim(), "7");
    // A value that a later commit will set is shown beside the one in force.
    proxy.rpc("cfg.set_delayed_int cpm max_recipients 8");
    assert_eq!(in_force(&proxy, "max_recipients"), "7");
    let difference = proxy.rpc("cfg.diff");
    assert!(difference.contains("max_recipients"), "{difference}");
    proxy.rpc("cfg.commit");
    assert_eq!(in_force(&proxy, "max_recipients"), "8");
    proxy.kill();
}
