//! The settings in force, in this process and in all others.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::controlling::ControllingFunction;
use crate::policy::{Settings, SettingsError, TuneError};
use crate::shared::{Snapshot, Writing};

/// Minimum number of bytes reserved for settings; unused memory costs nothing.
const MIN_ROOM: usize = 64 * 1024;

/// How many times longer than at the start the settings may become.
const ROOM_FACTOR: usize = 4;

/// How long a change waits for another one in progress. A change takes less than a millisecond.
const PATIENCE: Duration = Duration::from_secs(1);

/// Interval between attempts.
const PAUSE: Duration = Duration::from_micros(100);

/// A process's Controlling Function, which follows the shared settings: before each piece of work
/// it compares their version with its own, which is one load from memory.
pub(super) struct Current {
    control: RefCell<Rc<ControllingFunction>>,
    /// The version of its settings.
    version: Cell<u64>,
    /// `None`: there is no shared memory, and a change applies to its own process only.
    settings: Option<Snapshot>,
}

impl Current {
    /// Before the fork. `share` returns memory that all processes have.
    pub(super) fn new(
        control: ControllingFunction,
        share: impl FnOnce(usize) -> Option<&'static [AtomicU64]>,
    ) -> Self {
        let room = MIN_ROOM + ROOM_FACTOR * control.settings().write().len();
        Current {
            control: RefCell::new(Rc::new(control)),
            version: Cell::new(0),
            settings: share(Snapshot::words(room)).and_then(Snapshot::new),
        }
    }

    /// The one in force for new work.
    pub(super) fn control(&self) -> Rc<ControllingFunction> {
        if let Some(settings) = &self.settings
            && settings.version() != self.version.get()
        {
            let (version, text) = settings.read();
            let now = Rc::clone(&self.control.borrow());
            // The publishing process has made a service from them.
            if let Some(other) = Settings::read(&text).and_then(|s| now.with_settings(s).ok()) {
                self.control.replace(Rc::new(other));
            }
            self.version.set(version);
        }
        Rc::clone(&self.control.borrow())
    }

    /// Changes a parameter for new work, in every process.
    pub(super) fn tune(&self, name: &str, value: &str, only_try: bool) -> Result<(), TuneError> {
        if only_try {
            return self.tuned(name, value).map(drop);
        }
        let Some(shared) = &self.settings else {
            if let Some(tuned) = self.tuned(name, value)? {
                self.control.replace(Rc::new(tuned));
            }
            return Ok(());
        };
        let writing = claim(shared).ok_or(TuneError::Busy)?;
        if let Some(tuned) = self.tuned(name, value)? {
            let published = writing.publish(&tuned.settings().write());
            self.version.set(published.map_err(|_| TuneError::TooLong)?);
            self.control.replace(Rc::new(tuned));
        }
        Ok(())
    }

    /// Replaces the settings for new work, in every process, by what `make` makes of them. They are
    /// published even if they are the same: files that they name may have changed.
    pub(super) fn replace<E: From<SettingsError>>(
        &self,
        busy: impl FnOnce(TuneError) -> E,
        make: impl FnOnce(&Settings) -> Result<Settings, E>,
    ) -> Result<(), E> {
        let writing = match &self.settings {
            Some(shared) => match claim(shared) {
                None => return Err(busy(TuneError::Busy)),
                writing => writing,
            },
            None => None,
        };
        let now = self.control();
        let other = now.with_settings(make(now.settings())?)?;
        if let Some(writing) = writing {
            match writing.publish(&other.settings().write()) {
                Ok(version) => self.version.set(version),
                Err(_) => return Err(busy(TuneError::TooLong)),
            }
        }
        self.control.replace(Rc::new(other));
        Ok(())
    }

    /// The service with another value for a parameter. `None`: it already has that value.
    fn tuned(&self, name: &str, value: &str) -> Result<Option<ControllingFunction>, TuneError> {
        let now = self.control();
        let Some(settings) = now.settings().tuned(name, value)? else {
            return Ok(None);
        };
        Ok(Some(now.with_settings(settings)?))
    }
}

/// The right to change the settings. Processes that make the same change do so at the same time.
fn claim(settings: &Snapshot) -> Option<Writing<'_>> {
    let until = Instant::now() + PATIENCE;
    loop {
        match settings.claim() {
            None if Instant::now() < until => sleep(PAUSE),
            claimed => return claimed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two processes of one proxy.
    fn processes() -> [Current; 2] {
        let control = || {
            let mut settings = Settings::default();
            settings.set("exploder_uri", "sip:e@example.com").unwrap();
            settings.set("trusted_peer", "192.0.2.1").unwrap();
            ControllingFunction::new(settings, 7).unwrap()
        };
        let words = Cell::new(None);
        let first = Current::new(control(), |n| {
            let shared: Vec<_> = (0..n).map(|_| AtomicU64::new(0)).collect();
            words.set(Some(&*shared.leak()));
            words.get()
        });
        [first, Current::new(control(), |_| words.get())]
    }

    #[test]
    fn a_change_holds_in_all_processes() {
        let [here, there] = processes();
        let under_way = there.control();
        for (value, limit) in [("7", 7), ("8", 8), ("8", 8), ("9", 9)] {
            here.tune("max_recipients", value, false).unwrap();
            assert_eq!(there.control().settings().max_recipients, limit);
            assert_eq!(here.control().settings().max_recipients, limit);
        }
        there.tune("require_ids", "yes", false).unwrap();
        let now = here.control();
        assert!(now.settings().require_ids);
        assert_eq!(
            now.settings().max_recipients,
            9,
            "the other change holds too"
        );
        assert_eq!(
            under_way.settings().max_recipients,
            100,
            "it goes on as it began"
        );
    }

    #[test]
    fn texts_go_there_too() {
        let [here, there] = processes();
        let mut settings = here.control().settings().clone();
        settings
            .set("exploder_uri", "sip:second@example.com")
            .unwrap();
        settings.set("warning_agent", "cpm.example.com").unwrap();
        let shared = here.settings.as_ref().unwrap();
        let writing = shared.claim().unwrap();
        writing.publish(&settings.write()).unwrap();
        let there = there.control();
        assert_eq!(there.settings().exploder_uris.len(), 2);
        let agent = there.settings().warning_agent.as_deref();
        assert_eq!(agent, Some("cpm.example.com"));
    }

    #[test]
    fn what_is_refused_or_is_so_already_makes_no_version() {
        let [here, there] = processes();
        here.tune("max_recipients", "7", true).unwrap();
        here.tune("max_recipients", "0", false).unwrap_err();
        here.tune("max_recipients", "100", false).unwrap();
        here.tune("interworking", "0", false).unwrap();
        assert_eq!(there.settings.unwrap().version(), 0);
        assert_eq!(here.control().settings().max_recipients, 100);
    }

    #[test]
    fn a_process_that_looks_finds_the_same_service_until_something_changes() {
        let [here, there] = processes();
        let before = there.control();
        assert!(Rc::ptr_eq(&before, &there.control()));
        here.tune("max_recipients", "7", false).unwrap();
        assert!(!Rc::ptr_eq(&before, &there.control()));
    }

    #[test]
    fn of_many_changes_at_once_each_is_made() {
        let [first, second] = processes();
        let words = first.settings;
        let current = |control: Rc<ControllingFunction>| Current {
            control: RefCell::new(control),
            version: Cell::new(0),
            settings: words,
        };
        std::thread::scope(|scope| {
            for name in [
                "max_recipients",
                "group_lifetime",
                "imdn_ttl",
                "max_sessions",
            ] {
                scope.spawn(move || {
                    let mut settings = Settings::default();
                    settings.set("exploder_uri", "sip:e@example.com").unwrap();
                    let control = ControllingFunction::new(settings, 7).unwrap();
                    let process = current(Rc::new(control));
                    for value in 1..=50 {
                        process.tune(name, &value.to_string(), false).unwrap();
                    }
                });
            }
        });
        let settings = second.control().settings().clone();
        let values = [
            settings.max_recipients,
            settings.group_lifetime_s,
            settings.imdn_ttl_s,
        ];
        assert_eq!(values, [50; 3]);
        assert_eq!(settings.large_mode.max_sessions, 50);
    }
}
