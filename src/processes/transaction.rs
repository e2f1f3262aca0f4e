//! The transaction of a received request: opened once, kept open once for another process.

use std::cell::Cell;

use super::proxy::{Opened, Proxy};
use crate::controlling::large_message_mode::TransactionKey;

/// Time limit for another process to reply, in milliseconds: senders give up on anything but an
/// INVITE after 32 s (RFC 3261 timer F).
const REPLY_WITHIN_MS: u32 = 30_000;
/// The same for an INVITE, which a session answers within 160 s, and which the proxy ends after 180
/// s.
const INVITE_REPLY_WITHIN_MS: u32 = 170_000;

/// The transaction of one received request.
#[derive(Debug)]
pub(super) struct Transaction {
    key: Cell<Option<TransactionKey>>,
    is_kept_open: Cell<bool>,
    is_invite: bool,
}

impl Transaction {
    /// Not opened yet.
    pub(super) fn new(is_invite: bool) -> Self {
        Transaction {
            key: Cell::new(None),
            is_kept_open: Cell::new(false),
            is_invite,
        }
    }

    /// Another process has kept it open.
    pub(super) fn adopt(&self, key: TransactionKey) {
        self.key.set(Some(key));
        self.is_kept_open.set(true);
    }

    /// Once it is opened.
    pub(super) fn key(&self) -> Option<TransactionKey> {
        self.key.get()
    }

    /// Whether it is kept open for another process.
    pub(super) fn is_kept_open(&self) -> bool {
        self.is_kept_open.get()
    }

    pub(super) fn open(&self, proxy: &dyn Proxy) -> Opened {
        if let Some(key) = self.key.get() {
            return Opened::Open(key);
        }
        let opened = proxy.open();
        if let Opened::Open(key) = opened {
            self.key.set(Some(key));
        }
        opened
    }

    /// Keeps it open for another process. `false`: not possible.
    pub(super) fn keep_open(&self, proxy: &dyn Proxy) -> bool {
        if self.is_kept_open.get() {
            return true;
        }
        let within = if self.is_invite {
            INVITE_REPLY_WITHIN_MS
        } else {
            REPLY_WITHIN_MS
        };
        let key = self.key.get();
        let is_kept = key.is_some_and(|key| proxy.keep_open(key, within));
        self.is_kept_open.set(is_kept);
        is_kept
    }
}
