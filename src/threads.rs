//! Our own threads inside the proxy's process, and how the system treats those that work in bulk.

// `deny(unsafe_code)` applies to the crate; signal masks and scheduling need calls of libc.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::thread::{Builder, JoinHandle};

/// Starts a thread in which every signal is blocked: signals are for the proxy's own thread, whose
/// handlers expect it.
pub(crate) fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset makes a valid set of `all`, and pthread_sigmask one of `before`; both live
    // on this stack.
    let masked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr())
    };
    if masked != 0 {
        return Err(io::Error::from_raw_os_error(masked));
    }
    // The new thread inherits the mask of its creator, from its first instruction.
    let spawned = Builder::new().name(name.to_owned()).spawn(body);
    // SAFETY: `before` was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), std::ptr::null_mut()) };
    spawned
}

/// Nanoseconds for which a thread that [works in bulk](work_in_bulk) keeps a processor that another
/// one wants: the shortest that Linux grants.
const BULK_SLICE_NS: u64 = 100_000;

/// Lets the threads that share a processor with the calling one go first, the proxy's SIP workers
/// among them: when it wakes up it interrupts none of them, and they interrupt it soon
/// (`SCHED_BATCH`; the short slice since Linux 6.12). Its share of the processor stays the same. A
/// policy that the operator has chosen stays.
///
/// # Errors
/// What the system says, for instance because the service manager forbids the call.
pub(crate) fn work_in_bulk() -> io::Result<()> {
    let mut scheduling = scheduling()?;
    if scheduling.sched_policy != libc::SCHED_OTHER as u32 {
        return Ok(());
    }
    scheduling.sched_policy = libc::SCHED_BATCH as u32;
    scheduling.sched_runtime = BULK_SLICE_NS;
    // SAFETY: the structure has the length that it names, and is only read.
    match unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const scheduling, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How the calling thread is scheduled.
fn scheduling() -> io::Result<libc::sched_attr> {
    let mut scheduling = MaybeUninit::<libc::sched_attr>::zeroed();
    let size = size_of::<libc::sched_attr>();
    // SAFETY: the system writes at most `size` bytes to a structure that lives on this stack.
    let result =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, scheduling.as_mut_ptr(), size, 0) };
    match result {
        // SAFETY: it consists of integers, all of which are set.
        0 => Ok(unsafe { scheduling.assume_init() }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Returns free memory of the allocator to the system. The C library by itself does so only for
/// free memory at the end of a heap, and blocks of a large message are spread over it.
pub(crate) fn trim_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes a number, and may be called by any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_do_not_reach_the_thread() {
        let mask = || {
            let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
            // SAFETY: with a null set, pthread_sigmask only fills `mask`.
            unsafe {
                libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), mask.as_mut_ptr());
                let mask = mask.assume_init();
                [libc::SIGTERM, libc::SIGCHLD, libc::SIGPIPE]
                    .map(|signal| libc::sigismember(&mask, signal) == 1)
            }
        };
        let before = mask();
        let (sender, receiver) = std::sync::mpsc::channel();
        let thread = spawn("cpm-test", move || sender.send(mask()).unwrap()).unwrap();
        thread.join().unwrap();
        assert_eq!(receiver.recv().unwrap(), [true; 3]);
        assert_eq!(mask(), before);
    }

    #[test]
    fn bulk_gives_way_and_keeps_its_share() {
        let thread = spawn("cpm-test", || {
            let before = scheduling().unwrap();
            work_in_bulk().unwrap();
            let bulk = scheduling().unwrap();
            assert_eq!(bulk.sched_nice, before.sched_nice);
            if before.sched_policy != libc::SCHED_OTHER as u32 {
                // Whoever started the tests has chosen it.
                assert_eq!(bulk.sched_policy, before.sched_policy);
                return;
            }
            assert_eq!(bulk.sched_policy, libc::SCHED_BATCH as u32);
            // An older system has no slices.
            if before.sched_runtime > 0 {
                assert_eq!(bulk.sched_runtime, BULK_SLICE_NS);
            }
        });
        thread.unwrap().join().unwrap();
    }
}
