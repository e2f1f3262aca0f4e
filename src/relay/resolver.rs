//! Host names of peers that we connect to, looked up by a thread of its own: the system's resolver may take its time.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::panic::catch_unwind;
use std::sync::mpsc::{self, SyncSender};

use super::input::{Input, InputSender};
use super::threads;
use crate::controlling::large_message_mode::{SessionId, Side};

/// Names that may wait to be looked up. An end whose name finds no place is not reached.
const MAX_WAITING: usize = 1024;
/// Addresses of one host that are tried.
const MAX_ADDRESSES: usize = 4;

/// The relay thread's hold on the resolver thread, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Resolver {
    names: SyncSender<(SessionId, Side, String, u16)>,
}

impl Resolver {
    pub(super) fn start(results: InputSender) -> io::Result<Self> {
        let (names, receiver) = mpsc::sync_channel::<(SessionId, Side, String, u16)>(MAX_WAITING);
        threads::spawn("cpm-resolver", move || {
            while let Ok((session, side, host, port)) = receiver.recv() {
                let addresses = catch_unwind(|| look_up(&host, port)).unwrap_or_default();
                results.send(Input::Resolved(session, side, addresses));
            }
        })?;
        Ok(Self { names })
    }

    /// False: too many wait already.
    pub(super) fn submit(&self, session: SessionId, side: Side, host: &str, port: u16) -> bool {
        let name = (session, side, host.to_owned(), port);
        self.names.try_send(name).is_ok()
    }
}

fn look_up(host: &str, port: u16) -> Vec<SocketAddr> {
    let addresses = (host, port).to_socket_addrs();
    let addresses = addresses.into_iter().flatten();
    addresses.take(MAX_ADDRESSES).collect()
}
