//! The machine and versions of a measurement: no names of hosts or users.

use std::fs;
use std::process::Command;

/// Lines such as `kernel: 6.1.0`, for the head of a report.
pub fn describe(versions: &[String]) -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, model)| model.trim());
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // After major and minor version come the builder's own names.
    let kernel: Vec<&str> = kernel.trim().split('.').take(2).collect();
    format!(
        "cpu: {count} x {model}\nkernel: {} {}\nversions: {}\n",
        std::env::consts::ARCH,
        kernel.join("."),
        versions.join(", ")
    )
}

/// `kamailio 5.6.3`, or what else the binary calls itself.
pub fn kamailio_version() -> String {
    let binary = std::env::var_os("KAMAILIO").unwrap_or_else(|| "/usr/sbin/kamailio".into());
    first_words(Command::new(binary).arg("-v"))
}

/// `opensips 4.0.1`, or what else the binary `OPENSIPS` calls itself.
pub fn opensips_version() -> String {
    first_words(Command::new(std::env::var_os("OPENSIPS").unwrap_or_default()).arg("-V"))
}

/// The second and third word of what it prints: name and version.
fn first_words(command: &mut Command) -> String {
    let text = command
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    let words: Vec<&str> = text.split_whitespace().skip(1).take(2).collect();
    words.join(" ")
}
