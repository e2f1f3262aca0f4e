//! The list of the core's own processes, and their needs.

use std::ffi::CStr;

use crate::controlling::ControllingFunction;
use crate::store;

/// How long the process of the fan-outs may take to end with a store: what the store may wait, and
/// the rest. After that the shim's alarm kills it, which the proxy would report as a fault.
const STORE_STOP_S: u32 = store::ENDING.as_secs() as u32 + 1;

/// The core's own processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// Sends requests that would take a SIP worker too long.
    FanOut,
    /// Look up pre-defined groups.
    Groups,
    /// Has all large message sessions.
    Sessions,
}

/// Number and needs of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// For the proxy's list of processes.
    pub title: &'static CStr,
    /// 0: no such process.
    pub count: usize,
    /// Maximum number of entries waiting in its queue.
    pub pending: usize,
    /// How long [`Mailbox::stop`](super::Mailbox::stop) may take; 0: it need not be called.
    pub stop_s: u32,
}

impl Plan {
    /// For this service.
    pub fn of(process: Process, service: &ControllingFunction) -> Self {
        match process {
            // What waits for names is taken out of the queue at once.
            Process::FanOut => {
                // It hears how each copy of a kept message ends, and writes that down at the end.
                let (pending, stop_s) = match service.keeps_messages() {
                    true => (64 * 1024, STORE_STOP_S),
                    false => (8 * 1024, 0),
                };
                Plan {
                    title: c"CPM fan-out",
                    count: 1,
                    pending,
                    stop_s,
                }
            }
            // What waits in the queue takes memory, and the sources are slow.
            Process::Groups => Plan {
                title: c"CPM groups",
                count: if service.settings().group_sources.is_empty() {
                    0
                } else {
                    service.settings().group_processes
                },
                pending: 512,
                stop_s: 0,
            },
            // A fan-out to hundreds gets hundreds of answers at once.
            Process::Sessions => Plan {
                title: c"CPM sessions",
                count: usize::from(service.large_mode().is_some()),
                pending: 128 * 1024,
                stop_s: 2,
            },
        }
    }
}
