//! Limits, intervals and thresholds that only the host can apply: `struct cpm_limits` of the
//! contract, beside those that belong to a subject of their own.

/// In percent of the proxy's shared memory: with less than this free, the host has to know the
/// free memory exactly, and whether a piece of it is large enough for a request. Fan-outs leave a
/// sixteenth free ([`Memory`](super::Memory)); at half, an error of several requests in each
/// process is harmless, and nearly all requests are sent without a further look.
pub const SCARCE_MEMORY_PERCENT: u32 = 50;

/// Milliseconds in which a host that has found no piece of memory large enough does not try again:
/// the proxy writes a log line for each attempt. Five a second are enough for an operator, and a
/// fan-out that waits for memory hardly notices the pause.
pub const MEMORY_RETRY_MS: u32 = 200;

/// In percent of a connection's queue: requests that can wait fill it up to here, if the proxy
/// drops a connection whose queue overflows. The rest is for requests that other processes queue
/// meanwhile, and for those that cannot wait.
pub const QUEUE_PERCENT: u32 = 50;

/// Copies of one length for one place of which the kernel is given one long datagram to cut. A
/// packet capture on the sending machine shows such copies as one: fewer than these save too
/// little time to be worth that.
pub const EXPRESS_MIN_SEGMENTED: usize = 4;

/// Bytes of copies written to a connection at once: some fifty MESSAGEs of usual length, after
/// which more bytes in a system call save hardly any time.
pub const EXPRESS_PIECE_BYTES: usize = 64 * 1024;

/// Microseconds in which further responses are worth waiting for while many are outstanding: one
/// receiver answers some ten copies in this time, and one wake-up then takes them all. No copy is
/// late for it, since timers are a thousand times longer.
pub const EXPRESS_GATHER_US: u32 = 400;

/// Microseconds for which a process leaves a socket to another one that waits for further responses
/// there. Each response would wake one of them. It is back soon, since the other may come upon a
/// request whose script takes its time.
pub const EXPRESS_LEAVE_US: u32 = 3 * EXPRESS_GATHER_US;

/// Datagrams taken by one system call then. Each has a buffer for the longest datagram, in each
/// process; more of them save hardly any time.
pub const EXPRESS_GATHER_DATAGRAMS: usize = 64;
