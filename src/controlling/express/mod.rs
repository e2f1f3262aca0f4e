//! The express lane: the module's own non-INVITE client transactions (RFC 3261 17.1.2), for the
//! copies of one message.
//!
//! A general transaction layer keeps ten kilobytes and several timers for each request. Copies of
//! one message have nearly everything in common: what differs is a state, a time and a few short
//! texts. Copies with the same tail therefore share one block in memory that all processes share.
//! Whichever process receives a response finds the recipient by the branch, and one process fires
//! the timers of all blocks, one block after another.
//!
//! ```text
//!            take        window has room           1xx              2xx-6xx, or timer F
//!  ───────► Waiting ──────────► Trying ──────────► Proceeding ─────────► Completed
//!                              │  E: sent again   │ E, each T2: again      ▲
//!                              └──────────────────┴───────── 2xx-6xx, F ───┘
//! ```
//!
//! Nothing here reads a clock or a socket: the caller passes in the time, the proxy's socket, its
//! Via and each response, and gets an [`Outbox`] with the copies to send and the copies that have
//! ended.
//!
//! | file | job |
//! |---|---|
//! | `lane` | takes, sends, sweeps |
//! | `hearing` | hears responses |
//! | `connection` | copies that a connection has not taken |
//! | `copies` | which copies may be sent, and their text |
//! | `block` | the state of a message, in shared memory |
//! | `table` | the blocks in use, and when each is due |
//! | `branch` | the branch that identifies a recipient |
//! | `response` | reads a response |
//! | `timers` | timers E, F and K |
//! | `outbox` | results for the caller to carry out |

mod block;
mod branch;
mod connection;
mod copies;
mod hearing;
mod lane;
mod outbox;
mod response;
mod table;
#[cfg(test)]
mod tests;
mod timers;

pub use branch::BYTES as BRANCH_BYTES;
pub use lane::{Lane, Swept, Way};
pub use outbox::{Accepted, Batch, Ended, Outbox, Transport};
pub use table::LaneMemory;
pub use timers::Timers;
