//! Starts a configuration of `kamailio-config/`: values of this machine are defined before the
//! configuration defines them.

use std::fs;

use cpm_testbed::{Product, ProxyConfig};

use super::folder;
use crate::common::module;

/// See [`super::shipped`].
pub(super) fn shipped(file: &str, definitions: &[(&str, String)]) -> ProxyConfig {
    let defined: String = definitions
        .iter()
        .map(|(name, value)| format!("#!define {name} {value}\n"))
        .collect();
    let file = folder(Product::Kamailio).join(file);
    let text = fs::read_to_string(&file).expect("it is part of the project");
    // What the bench needs to query the proxy, if the configuration has not loaded it.
    let loaded: String = ["kex", "ctl"]
        .iter()
        .filter(|module| !text.contains(&format!("loadmodule \"{module}.so\"")))
        .map(|module| format!("loadmodule \"{module}.so\"\n"))
        .collect();
    let state_dir = if text.contains("cpm.so") {
        "modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")\n"
    } else {
        ""
    };
    let is_given = definitions.iter().any(|(name, _)| *name == "STORE");
    let store = if text.contains("STORE") && !is_given {
        "#!define STORE \"file:@FOLDER@/state/store\"\n"
    } else {
        ""
    };
    let template = format!(
        "#!KAMAILIO\n{defined}{store}log_stderror=yes\n@LISTEN@\n@MPATH@\ninclude_file \"{}\"\n\
         {loaded}modparam(\"ctl\", \"binrpc\", \"unix:@CTL@\")\n{state_dir}@MODPARAMS@\n",
        file.display()
    );
    let module = module();
    ProxyConfig::of(Product::Kamailio, "")
        .template(&template)
        .mpath(module.parent().expect("it lies in a folder"))
}
