//! What the kernel reports about a process: CPU time, memory, descriptors (proc(5)).

use std::fs;
use std::time::Duration;

use crate::sys;

/// A snapshot of one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process number.
    pub pid: u32,
    /// Name of the program (at most 15 characters).
    pub name: String,
    /// Whether its main thread is running or runnable, or waits for a disk.
    pub busy: bool,
    /// User plus system time, in clock ticks (10 ms nearly everywhere).
    pub cpu_time: Duration,
    /// Resident memory in bytes, including memory shared with other processes.
    pub rss_bytes: u64,
    /// Resident memory in bytes that belongs to this process alone and to no file: its allocations.
    pub private_bytes: u64,
    /// Number of open descriptors; 0 if the process belongs to another user.
    pub open_descriptors: usize,
}

/// All living processes of a group; zombies do not count.
pub(crate) fn in_group(group: u32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut processes: Vec<Process> = pids.filter_map(|pid| read(pid, group)).collect();
    processes.sort_by_key(|process| process.pid);
    processes
}

fn read(pid: u32, group: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name is in parentheses, and may contain spaces and parentheses itself.
    let (front, rest) = stat.rsplit_once(')')?;
    let name = front.split_once('(')?.1.to_owned();
    // Fields from the third on: state ppid pgrp … utime(14) stime(15) … rss(24).
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let state = *fields.first()?;
    if matches!(state, "Z" | "X") || number(5)? != u64::from(group) {
        return None;
    }
    let ticks = number(14)? + number(15)?;
    let cpu_time = Duration::from_millis(ticks * 1000 / sys::ticks_per_second());
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.unwrap_or(0) * 1024
    };
    let open_descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    Some(Process {
        pid,
        name,
        busy: matches!(state, "R" | "D"),
        cpu_time,
        rss_bytes: bytes("VmRSS:"),
        private_bytes: bytes("RssAnon:"),
        open_descriptors,
    })
}
