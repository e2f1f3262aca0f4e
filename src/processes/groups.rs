//! CPM groups: looks up pre-defined groups. A source may be slow (a database, a remote XDMS), and a
//! SIP worker must not wait for it: this process continues where the worker needs the group, and
//! finishes the request.

use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::SystemTime;

use super::fan_out::reply_internal_error;
use super::letter::Unfinished;
use super::proxy::Proxy;
use super::received::{ReceivedRequest, unavailable};
use super::sender::Sender;
use crate::controlling::large_message_mode::TransactionKey;
use crate::controlling::{ControllingFunction, GroupFinder};
use crate::group::source::SourceError;
use crate::log::at;

/// The process.
pub(super) struct GroupsProcess {
    finder: GroupFinder,
    /// How often clearing the caches of all these processes was requested, and how often this one
    /// has done it.
    flushes: &'static AtomicU64,
    flushed: u64,
    at_work: Option<TransactionKey>,
}

impl GroupsProcess {
    pub(super) fn start(
        service: &ControllingFunction,
        flushes: &'static AtomicU64,
    ) -> Result<Self, SourceError> {
        Ok(GroupsProcess {
            finder: GroupFinder::new(service)?,
            flushes,
            flushed: flushes.load(Relaxed),
            at_work: None,
        })
    }

    /// Finishes a request, which may take as long as the group's sources.
    pub(super) fn take(
        &mut self,
        asked: &Unfinished,
        service: &Rc<ControllingFunction>,
        proxy: &dyn Proxy,
    ) {
        let flushes = self.flushes.load(Relaxed);
        if self.flushed != flushes {
            self.flushed = flushes;
            self.finder.flush();
        }
        if let Err(error) = self.finder.follow(service) {
            proxy.log(at!(Error), format_args!("{error}"));
        }
        self.at_work = Some(asked.transaction);
        match ReceivedRequest::resume(service, asked) {
            Some(resumed) => {
                let group = if proxy.now_ms() < asked.deadline_ms {
                    let sender = Sender::new(service, proxy);
                    let request = resumed.request().borrow();
                    self.finder
                        .look_up(&request, proxy.now_ms(), SystemTime::now(), proxy, &sender)
                } else {
                    unavailable()
                };
                resumed.finish(Some(group), proxy);
            }
            // A parameter has been changed meanwhile.
            None => reply_internal_error(asked.transaction, proxy),
        }
        self.at_work = None;
    }

    /// A call has panicked: its request is lost.
    pub(super) fn handle_panic(&mut self, proxy: &dyn Proxy) {
        if let Some(transaction) = self.at_work.take() {
            reply_internal_error(transaction, proxy);
        }
    }
}
