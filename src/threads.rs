//! Our own threads inside the proxy's process.

// `deny(unsafe_code)` applies to the crate; a thread's signal mask needs two libc calls.
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
}
