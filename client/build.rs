//! Says which programs of others the tests find as peers: what is not here is counted as ignored,
//! and not passed over.

use std::env;

fn main() {
    let path = env::var_os("PATH").unwrap_or_default();
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=PATH");
    println!("cargo::rustc-check-cfg=cfg(linphone, baresip)");
    for (peer, program) in [("linphone", "linphonec"), ("baresip", "baresip")] {
        for folder in env::split_paths(&path).map(|folder| folder.join(program)) {
            if folder.is_file() {
                println!("cargo::rerun-if-changed={}", folder.display());
                println!("cargo::rustc-cfg={peer}");
                break;
            }
        }
    }
}
