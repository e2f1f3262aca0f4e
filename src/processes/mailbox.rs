//! One of the processes: its posted entries, portions of work, its end.

use std::os::fd::{AsRawFd as _, RawFd};
use std::rc::Rc;

use bytes::Bytes;

use super::assembly::{Service, StartError};
use super::fan_out::FanOutProcess;
use super::groups::GroupsProcess;
use super::large::SessionsProcess;
use super::letter::Letter;
use super::process::Process;
use super::proxy::Proxy;
use crate::controlling::ControllingFunction;
use crate::log::at;

/// One of the processes.
pub struct Mailbox {
    service: Rc<ControllingFunction>,
    work: Work,
}

enum Work {
    FanOut(Box<FanOutProcess>),
    Groups(GroupsProcess),
    Sessions(Box<SessionsProcess>),
}

impl Mailbox {
    /// Starts, in that process.
    ///
    /// # Errors
    ///
    /// A resource that the process needs is not available.
    pub fn new(process: Process, service: &Service) -> Result<Self, StartError> {
        let control = service.control();
        let work = match process {
            Process::FanOut => {
                let shared = service.shared();
                let desk = shared.kept_desk.as_ref();
                let fan_out = FanOutProcess::start(&control, shared.kept, desk)?;
                Work::FanOut(Box::new(fan_out))
            }
            Process::Groups => {
                let flushes = service.shared().flushes;
                Work::Groups(GroupsProcess::start(&control, flushes)?)
            }
            Process::Sessions => {
                let relay = service.start_relay()?;
                let sessions = SessionsProcess::new(&control, relay, Rc::clone(service.shared()));
                Work::Sessions(Box::new(sessions.ok_or(StartError::NoLargeMode)?))
            }
        };
        Ok(Mailbox {
            service: control,
            work,
        })
    }

    /// Continues with this service, if it is another one. Work in progress keeps the service it
    /// began with.
    pub fn serve(&mut self, service: &Rc<ControllingFunction>) {
        if !Rc::ptr_eq(&self.service, service) {
            self.service = Rc::clone(service);
        }
    }

    /// Readable while our own threads have results.
    pub fn fd(&self) -> Option<RawFd> {
        match &self.work {
            Work::FanOut(fan_out) => Some(fan_out.room().borrow().as_fd().as_raw_fd()),
            Work::Groups(_) => None,
            Work::Sessions(sessions) => Some(sessions.as_fd().as_raw_fd()),
        }
    }

    /// Whether it can take another entry now; otherwise it has to work first.
    pub fn takes(&self) -> bool {
        match &self.work {
            Work::FanOut(fan_out) => fan_out.takes(),
            Work::Groups(_) => true,
            Work::Sessions(sessions) => sessions.takes(),
        }
    }

    /// Takes an entry that was posted to this process.
    pub fn take(&mut self, entry: Bytes, proxy: &dyn Proxy) {
        let Some(letter) = Letter::read(entry) else {
            let line = "an entry from another process cannot be read";
            proxy.log(at!(Critical), format_args!("{line}"));
            return;
        };
        match (&mut self.work, letter) {
            (Work::FanOut(fan_out), letter) => fan_out.take(letter, &self.service, proxy),
            (Work::Groups(groups), Letter::Unfinished(asked)) => {
                groups.take(&asked, &self.service, proxy);
            }
            (Work::Groups(_), _) => {}
            (Work::Sessions(sessions), letter) => sessions.take(letter, &self.service, proxy),
        }
    }

    /// Does the next portion of work. Returns in how many milliseconds to call it again if nothing
    /// happens before: 0: at once, -1: only after an event.
    pub fn work(&mut self, proxy: &dyn Proxy) -> i32 {
        match &mut self.work {
            Work::FanOut(fan_out) => fan_out.work(&self.service, proxy),
            Work::Groups(_) => -1,
            Work::Sessions(sessions) => sessions.work(&self.service, proxy),
        }
    }

    /// A call has panicked: the work in progress is lost, and answered, the rest continues.
    pub fn handle_panic(&mut self, proxy: &dyn Proxy) {
        match &mut self.work {
            Work::FanOut(fan_out) => fan_out.handle_panic(proxy),
            Work::Groups(groups) => groups.handle_panic(proxy),
            Work::Sessions(sessions) => sessions.handle_panic(&self.service, proxy),
        }
    }

    /// The proxy ends: everybody is told what can be told at once, and what is known is written.
    pub fn stop(self, proxy: &dyn Proxy) {
        match self.work {
            Work::FanOut(fan_out) => fan_out.stop(&self.service, proxy),
            Work::Groups(_) => {}
            Work::Sessions(sessions) => sessions.stop(&self.service, proxy),
        }
    }
}
