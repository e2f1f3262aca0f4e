//! CPU time: of a proxy, finer than the clock ticks of `/proc/<pid>/stat`, and of this thread.

use std::fs;
use std::time::Duration;

use cpm_testbed::Proxy;
use rustix::time::{ClockId, clock_gettime};

/// CPU time that this thread has used.
pub(crate) fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    // The clock is never negative, its nanoseconds are below 10^9.
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// User plus system time of all threads of all processes. The kernel has it in nanoseconds
/// (`schedstat`) if it keeps scheduler statistics; otherwise in clock ticks.
pub(crate) fn time_of(proxy: &Proxy) -> Duration {
    let processes = proxy.processes();
    let exact: Option<Duration> = processes
        .iter()
        .map(|process| exact_time_of(process.pid))
        .sum();
    exact.unwrap_or_else(|| processes.iter().map(|process| process.cpu_time).sum())
}

/// The same of one process; nothing if the kernel keeps no such statistics.
pub(crate) fn time_of_process(pid: u32) -> Duration {
    exact_time_of(pid).unwrap_or_default()
}

fn exact_time_of(pid: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    tasks
        .map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            let nanoseconds = text.split_ascii_whitespace().next()?.parse().ok()?;
            Some(Duration::from_nanos(nanoseconds))
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let Some(before) = exact_time_of(std::process::id()) else {
            return;
        };
        let mut sum = 0_u64;
        // Until it is visible; the statistics are updated at the next tick at the latest.
        while exact_time_of(std::process::id()).is_some_and(|now| now <= before) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
    }
}
