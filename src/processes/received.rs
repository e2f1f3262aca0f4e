//! A received request for the Controlling Function, from the worker that receives it to its one
//! reply.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use super::letter::{self, Unfinished};
use super::process::Process;
use super::proxy::{Answer, Opened, Proxy};
use super::sender::{Sender, WORKER_TURN};
use super::transaction::Transaction;
use crate::controlling::{
    Check, ControllingFunction, FanOut, GroupLookup, Mode, RETRY_AFTER_S, Received, Request,
};
use crate::log::at;
use crate::operator::Event;
use crate::shared::Known;

/// How long a request may wait for its group or its last copy: an older one no longer needs an
/// answer.
pub(super) const PATIENCE_MS: u64 = 25_000;

/// Result of a function of the routing script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// No: it is not for the Controlling Function, or it was refused.
    No,
    /// The script has nothing more to do with the request: a retransmission, or another process
    /// finishes it.
    End,
    /// Yes.
    Yes,
}

/// A received request for the Controlling Function, with its transaction.
#[derive(Debug)]
pub struct ReceivedRequest {
    service: Rc<ControllingFunction>,
    /// The operator's script may read it while it is being processed; access that is not allowed
    /// then is refused.
    request: Rc<RefCell<Request>>,
    transaction: Transaction,
    /// How long its checks have taken: a part of the worker's turn.
    checking: Cell<Duration>,
}

impl ReceivedRequest {
    /// `None`: it is not for the Controlling Function, and nothing has changed.
    pub fn classify(service: &Rc<ControllingFunction>, received: &Received<'_>) -> Option<Self> {
        if !is_of(received.message, &["MESSAGE", "INVITE"]) {
            return None;
        }
        let request = service.classify(received)?;
        Some(ReceivedRequest {
            service: Rc::clone(service),
            transaction: Transaction::new(request.mode() == Mode::Large),
            request: Rc::new(RefCell::new(request)),
            checking: Cell::default(),
        })
    }

    /// In another process than the one that has classified it. `None`: a parameter has been changed
    /// meanwhile, and it is no longer for the Controlling Function.
    pub(super) fn resume(
        service: &Rc<ControllingFunction>,
        unfinished: &Unfinished,
    ) -> Option<Self> {
        let received = Received {
            message: &unfinished.message,
            request_uri: &unfinished.request_uri,
            source_address: unfinished.source_address.parse().ok(),
        };
        let resumed = ReceivedRequest::classify(service, &received)?;
        resumed.transaction.adopt(unfinished.transaction);
        {
            let mut request = resumed.request.borrow_mut();
            request.resume(&unfinished.originator, unfinished.max_recipients);
            request.set_received_ms(unfinished.deadline_ms.saturating_sub(PATIENCE_MS));
        }
        Some(resumed)
    }

    /// The request. Access within a call that changes it is an error.
    pub fn request(&self) -> &Rc<RefCell<Request>> {
        &self.request
    }

    /// Checks, fan-out and reply, with any result.
    pub fn handle(&self, proxy: &dyn Proxy) -> Script {
        match self.check_or_pass_on(proxy, true) {
            Some(Script::End) => return Script::End,
            Some(Script::No) => {
                self.send_reply(proxy);
            }
            Some(Script::Yes) => {
                self.fan_out_checked(proxy);
            }
            None => {}
        }
        Script::Yes
    }

    /// Runs every check of the specification in order. A request accepted before is handled here.
    pub fn check(&self, proxy: &dyn Proxy) -> Script {
        // The routing script has more to do with it: a long list is read here.
        let checked = self.check_or_pass_on(proxy, false);
        checked.unwrap_or(Script::End)
    }

    /// The checks; `None`: CPM fan-out has it from its list on, which happens only if it `may`.
    fn check_or_pass_on(&self, proxy: &dyn Proxy, may: bool) -> Option<Script> {
        match self.transaction.open(proxy) {
            Opened::Not => return Some(Script::No),
            Opened::Absorbed => return Some(Script::End),
            Opened::Open(_) => {}
        }
        let mut checked = self.run_checks(proxy);
        match checked {
            Check::WantGroup => {
                if self.pass_on(Process::Groups, proxy) {
                    return Some(Script::End);
                }
                // No process can take it: as if no source could be queried.
                self.handle_group(unavailable());
                checked = self.run_checks(proxy);
            }
            Check::LongList => {
                // The operator's script may wait for something, which CPM fan-out must not.
                if may && !proxy.wants(Event::Checked) && self.pass_list_on(proxy) {
                    if let Ok(mut request) = self.request.try_borrow_mut() {
                        request.handle_passed_on();
                    }
                    return None;
                }
                if let Ok(mut request) = self.request.try_borrow_mut() {
                    request.read_list_here();
                }
                checked = self.run_checks(proxy);
            }
            _ => {}
        }
        Some(match checked {
            Check::Accepted => Script::Yes,
            Check::Repeated => self.handle_repeated(proxy),
            _ => Script::No,
        })
    }

    /// Does everything that remains, with the group that has been looked up, if it is to one.
    pub(super) fn finish(&self, group: Option<GroupLookup>, proxy: &dyn Proxy) {
        if let Some(group) = group {
            self.handle_group(group);
        }
        match self.run_checks(proxy) {
            Check::Accepted => {
                self.fan_out_checked(proxy);
            }
            Check::Repeated => {
                self.handle_repeated(proxy);
            }
            _ => {
                self.send_reply(proxy);
            }
        }
    }

    fn handle_group(&self, group: GroupLookup) {
        if let Ok(mut request) = self.request.try_borrow_mut() {
            request.handle_group(group);
        }
    }

    fn run_checks(&self, proxy: &dyn Proxy) -> Check {
        let from_us = proxy.now_us();
        let checked = self.run_all_checks(proxy);
        let took = Duration::from_micros(proxy.now_us().saturating_sub(from_us));
        self.checking.set(self.checking.get() + took);
        checked
    }

    fn run_all_checks(&self, proxy: &dyn Proxy) -> Check {
        loop {
            let sender = self.sender(proxy);
            // It may be called from within a call on the same request, by the operator's script.
            let Ok(need) = self
                .request
                .try_borrow_mut()
                .map(|mut request| request.poll_check(&sender))
            else {
                return Check::Answered;
            };
            let Check::Ask(question) = need else {
                return need;
            };
            let allowed = !proxy.wants(question) || proxy.ask(question, &self.request);
            if let Ok(mut request) = self.request.try_borrow_mut() {
                request.handle_script(allowed, &sender);
            }
        }
    }

    fn sender<'a>(&'a self, proxy: &'a dyn Proxy) -> Sender<'a> {
        Sender::new(&self.service, proxy).of(&self.transaction)
    }

    /// Lets CPM fan-out read the list, if not too many wait for that.
    fn pass_list_on(&self, proxy: &dyn Proxy) -> bool {
        let Some(lists) = self.service.long_lists().filter(|lists| lists.add()) else {
            return false;
        };
        let is_passed_on = self.pass_on(Process::FanOut, proxy);
        if !is_passed_on {
            lists.remove();
        }
        is_passed_on
    }

    /// Lets another process [`resume`](Self::resume).
    fn pass_on(&self, to: Process, proxy: &dyn Proxy) -> bool {
        let Ok(request) = self.request.try_borrow() else {
            return false;
        };
        let Some(transaction) = self.transaction.key() else {
            return false;
        };
        let letter = letter::unfinished(&Unfinished {
            transaction,
            deadline_ms: proxy.now_ms() + PATIENCE_MS,
            originator: request.originator().unwrap_or_default().to_owned(),
            max_recipients: request.max_recipients(),
            request_uri: request.request_uri().to_owned(),
            source_address: request
                .source()
                .map(|source| source.to_string())
                .unwrap_or_default(),
            message: request.message().buffer().clone(),
        });
        proxy.memory().has_room(letter.len())
            && self.transaction.keep_open(proxy)
            && proxy.post(to, &letter)
    }

    /// Runs the checks if they have not run, fans out, replies.
    pub fn fan_out(&self, proxy: &dyn Proxy) -> Script {
        // Repeats the result of the checks, or runs them.
        match self.check(proxy) {
            Script::End => Script::End,
            Script::Yes => self.fan_out_checked(proxy),
            Script::No => {
                self.send_reply(proxy);
                Script::No
            }
        }
    }

    fn fan_out_checked(&self, proxy: &dyn Proxy) -> Script {
        let left = WORKER_TURN.saturating_sub(self.checking.get());
        let sender = self.sender(proxy).with_turn(left);
        let Ok(result) = self
            .request
            .try_borrow()
            .map(|request| request.fan_out(&sender))
        else {
            return Script::No;
        };
        // Before the reply.
        sender.flush();
        let (is_done, is_handed_over, is_repeated) = (
            matches!(result, FanOut::Done(_)),
            matches!(result, FanOut::HandedOver),
            matches!(result, FanOut::Known(Known::Repeated { .. })),
        );
        if let Ok(mut request) = self.request.try_borrow_mut() {
            request.handle_fan_out(result, &sender);
        }
        if is_handed_over {
            // The process that has the rest replies.
            return Script::Yes;
        }
        if is_repeated {
            return self.handle_repeated(proxy);
        }
        if self.send_reply(proxy) && is_done {
            Script::Yes
        } else {
            Script::No
        }
    }

    /// Handles a request that was accepted before, and whose transaction the proxy has forgotten,
    /// as the proxy would with its transaction.
    fn handle_repeated(&self, proxy: &dyn Proxy) -> Script {
        let has_reply = self
            .request
            .try_borrow()
            .is_ok_and(|request| request.reply().is_some());
        if has_reply {
            self.send_reply(proxy);
        } else if !self.transaction.is_kept_open() {
            proxy.absorb();
        }
        Script::End
    }

    /// Sends the reply that is due.
    pub fn reply(&self, proxy: &dyn Proxy) -> Script {
        match self.transaction.open(proxy) {
            Opened::Not => Script::No,
            Opened::Absorbed => Script::End,
            Opened::Open(_) if self.send_reply(proxy) => Script::Yes,
            Opened::Open(_) => Script::No,
        }
    }

    fn send_reply(&self, proxy: &dyn Proxy) -> bool {
        let (Ok(request), Some(transaction)) = (self.request.try_borrow(), self.transaction.key())
        else {
            return false;
        };
        match request.reply() {
            Some(reply) => proxy.reply(transaction, &Answer::of(reply), false),
            None => {
                proxy.log(
                    at!(Error),
                    format_args!(
                        "cpm_reply() has no reply before cpm_check(), {}",
                        request.correlation()
                    ),
                );
                false
            }
        }
    }

    /// An internal error: 500, which is sent if a reply `is_due`.
    pub fn fail(&self, proxy: &dyn Proxy, is_due: bool) {
        if let Ok(mut request) = self.request.try_borrow_mut() {
            request.fail(at!(Notice), "internal error", &self.sender(proxy));
        }
        if is_due {
            self.send_reply(proxy);
        }
    }
}

/// Whether a request has one of these methods.
pub(super) fn is_of(message: &[u8], methods: &[&str]) -> bool {
    methods.iter().any(|method| {
        message
            .strip_prefix(method.as_bytes())
            .is_some_and(|rest| rest.starts_with(b" "))
    })
}

/// As if no source of groups could be queried.
pub(super) fn unavailable() -> GroupLookup {
    GroupLookup::Unavailable {
        retry_after_s: RETRY_AFTER_S,
    }
}
