//! Faults that a proxy's processes must survive: being stopped for a while, being killed, a lack of
//! descriptors, a network that loses, duplicates, delays and disconnects. Judged from outside: a
//! recipient of an accepted message gets it once, and nothing is left.
//!
//! | file | what happens |
//! |---|---|
//! | `one_at_a_time` | each process is stopped for a while, and killed |
//! | `all_at_once` | everything, in the order of a seed; `make soak` for as long as wanted |
//! | `network` | recipients behind a bad network |
//! | `scarce` | a process has no descriptors left, or little private memory |
//!
//! `make faults` prints how long it takes until all is well again.

mod all_at_once;
mod network;
mod one_at_a_time;
mod scarce;

use cpm_testbed::Proxy;
use rustix::process::{Pid, Signal, kill_process};

/// The process that starts and watches all others.
const MAIN_PROCESS: &str = "main process - attendant";
/// Processes of the proxy whose silence cannot be detected, or that carry all others.
const SPARED: [&str; 2] = [MAIN_PROCESS, "ctl handler"];

/// The processes that may be stopped, with their jobs.
fn victims(proxy: &Proxy) -> Vec<(Pid, String)> {
    let table = proxy.process_table().into_iter();
    let victims = table.filter(|(_, name)| !SPARED.iter().any(|spared| name.contains(spared)));
    victims
        .filter_map(|(pid, name)| Some((Pid::from_raw(i32::try_from(pid).ok()?)?, name)))
        .collect()
}

/// Sends a signal to a process of the proxy.
#[track_caller]
fn signal(process: Pid, signal: Signal) {
    kill_process(process, signal).expect("it lives");
}
