//! The express lane: non-INVITE client transactions of our own (RFC 3261 17.1.2), for the copies of
//! one message.
//!
//! A transaction layer that does everything keeps ten kilobytes and several timers for each
//! request. Copies of one message have nearly all in common: what is left of a transaction is a
//! state, a time and some texts. So the copies that end alike stand in one block in memory that all
//! processes share; whichever process gets a response finds the recipient by the branch, and one
//! process lets the timers of all fire, block by block.
//!
//! ```text
//!            take        window has room           1xx              2xx-6xx, or timer F
//!  ───────► Waiting ──────────► Trying ──────────► Proceeding ─────────► Completed
//!                              │  E: sent again   │ E, each T2: again      ▲
//!                              └──────────────────┴───────── 2xx-6xx, F ───┘
//! ```
//!
//! Nothing here reads a clock or a socket: the host says what time it is, lends the proxy's socket
//! and the Via that it would write, gives in what comes back, and gets an [`Outbox`] of what to
//! send and who has ended.
//!
//! | file | job |
//! |---|---|
//! | `lane` | takes, sends, hears, sweeps |
//! | `copies` | which copies may leave, and their text |
//! | `block` | what is remembered of a message, in shared memory |
//! | `table` | which blocks there are, and when each is due |
//! | `branch` | the branch that leads back to a recipient |
//! | `response` | reading a response |
//! | `timers` | E, F and K |
//! | `outbox` | what is to be done |

mod block;
mod branch;
mod copies;
mod lane;
mod outbox;
mod response;
mod table;
#[cfg(test)]
mod tests;
mod timers;

pub use branch::BYTES as BRANCH_BYTES;
pub use lane::{Heard, Lane, Swept, Way};
pub use outbox::{Batch, Ended, Outbox, Transport};
pub use table::LaneMemory;
pub use timers::Timers;
