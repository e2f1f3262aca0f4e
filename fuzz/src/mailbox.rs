//! Entries that any process may write into a queue, delivered to CPM fan-out: each job is answered
//! once, a request with a long list at most once, and nothing else.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use cpm::controlling::AboutRequest;
use cpm::controlling::express;
use cpm::controlling::large_message_mode::TransactionKey;
use cpm::controlling::{Counter, Forwarding, LogAt, Request};
use cpm::group::source::{DatabaseError, GroupDatabase};
use cpm::operator::Event;
use cpm::policy::Settings;
use cpm::processes::{
    Answer, Changed, Mailbox, Memory, Opened, Outgoing, Process, Proxy, Routed, Service,
    Transmitted, Way,
};
use cpm::shared::MessageTable;

/// Maximum number of portions of work until everything possible is done.
const MAX_TURNS: usize = 200;

thread_local! {
    /// The memory of the mandatory table, which each input finds empty. The sanitizer would count
    /// one for each input as leaked.
    static TABLE: OnceCell<&'static [AtomicU64]> = const { OnceCell::new() };
}

/// A proxy that accepts what it can, and records what it is told.
#[derive(Default)]
struct Stage {
    now_ms: Cell<u64>,
    free: Cell<usize>,
    replies: RefCell<Vec<u64>>,
    ends: RefCell<Vec<u64>>,
    keys: Cell<u64>,
}

const MEMORY: usize = 1 << 20;

impl GroupDatabase for Stage {
    fn document(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        Err(DatabaseError::NoConnection)
    }
}

impl Proxy for Stage {
    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn log(&self, _: LogAt, line: fmt::Arguments<'_>) {
        // An entry's text can have any characters: the boundary replaces control characters.
        let _ = line.to_string();
    }

    fn count(&self, _: Counter, _: u32) {}

    fn share(&self, words: usize) -> Option<&'static [AtomicU64]> {
        // One table is mandatory.
        let is_needed = words == MessageTable::words(RECORDS);
        is_needed.then(|| {
            TABLE.with(|table| {
                let table = *table.get_or_init(|| {
                    let words = (0..words).map(|_| AtomicU64::new(0));
                    words.collect::<Vec<_>>().leak()
                });
                table.iter().for_each(|word| word.store(0, Relaxed));
                table
            })
        })
    }

    fn memory(&self) -> Memory {
        Memory {
            free: self.free.get(),
            total: MEMORY,
            transaction: 1024,
        }
    }

    fn post(&self, _: Process, _: &[u8]) -> bool {
        false
    }

    fn open(&self) -> Opened {
        Opened::Not
    }

    fn keep_open(&self, _: TransactionKey, _: u32) -> bool {
        true
    }

    fn reply(&self, transaction: TransactionKey, answer: &Answer<'_>, _: bool) -> bool {
        assert!((200..700).contains(&answer.code), "{}", answer.code);
        self.replies.borrow_mut().push(transaction.0);
        true
    }

    fn release(&self, _: TransactionKey) {}

    fn absorb(&self) {}

    fn cancelled(&self) -> Option<TransactionKey> {
        None
    }

    fn acknowledged(&self, _: bool) -> bool {
        false
    }

    fn way(&self, outgoing: &Outgoing<'_>, _: Option<&str>) -> Way {
        match outgoing.body.len() > 60_000 {
            true => Way::TooLong,
            false => Way::Clear,
        }
    }

    fn express_way(&self, _: &Outgoing<'_>, _: &str) -> Option<express::Way<'_>> {
        None
    }

    fn express_send(&self, batch: &express::Batch) -> express::Accepted {
        express::Accepted {
            copies: batch.len(),
            lost: Vec::new(),
        }
    }

    fn send(&self, _: &Outgoing<'_>, _: &str) -> Transmitted {
        self.keys.set(self.keys.get() + 1);
        Transmitted::Sent(TransactionKey(self.keys.get()))
    }

    fn cancel(&self, _: TransactionKey) {}

    fn forward(&self, _: &Forwarding, _: &str) -> bool {
        false
    }

    fn suspend(&self, _: &Forwarding, _: u32) -> Option<TransactionKey> {
        None
    }

    fn resume(&self, transaction: TransactionKey, _: &str, _: &str) -> bool {
        self.ends.borrow_mut().push(transaction.0);
        true
    }

    fn refuse_suspended(&self, transaction: TransactionKey, _: &Answer<'_>) {
        self.ends.borrow_mut().push(transaction.0);
    }

    fn unsuspend(&self, _: TransactionKey) {}

    fn ask(&self, _: Event, _: &Rc<RefCell<Request>>) -> bool {
        true
    }

    fn wants(&self, _: Event) -> bool {
        false
    }

    fn recipient_request(&self, _: &Outgoing<'_>, text: &[u8]) -> Routed {
        Changed::new(text, None, None, 0).map_or(Routed::Failed, Routed::Changed)
    }

    fn event(&self, _: Event, _: u16, _: &[u8], _: &[u8], _: Option<&AboutRequest>) {}

    fn has_database(&self, _: &str) -> bool {
        false
    }
}

struct World {
    stage: Stage,
    mailbox: Mailbox,
}

/// Number of messages with records: the minimum.
const RECORDS: usize = 16;

thread_local!(static WORLD: RefCell<World> = RefCell::new(World::new()));

impl World {
    fn new() -> Self {
        let mut settings = Settings::default();
        for (name, value) in [
            ("exploder_uri", "sip:exploder@example.com"),
            ("identity_source", "from"),
            ("imdn_records", "0"),
            ("message_records", &RECORDS.to_string()),
            ("request_records", "0"),
            ("state_dir", "none"),
            // Nobody answers there: names have no address.
            ("dns_server", "127.0.0.1:9"),
        ] {
            if settings.set(name, value).is_err() {
                panic!("{name}");
            }
        }
        let stage = Stage::default();
        let service = Service::start(settings, None, 7, "sip:192.0.2.1", &stage);
        let service = service.unwrap_or_else(|error| panic!("{error}"));
        let mailbox = Mailbox::new(Process::FanOut, &service);
        let mailbox = mailbox.unwrap_or_else(|error| panic!("{error}"));
        World { stage, mailbox }
    }
}

/// Entries, each preceded by its length in two bytes.
pub fn mailbox(data: &[u8]) {
    WORLD.with_borrow_mut(|world| {
        let World { stage, mailbox } = world;
        stage.free.set(MEMORY);
        stage.replies.borrow_mut().clear();
        stage.ends.borrow_mut().clear();
        let (mut jobs, mut requests) = (Vec::new(), Vec::new());
        let mut rest = data;
        while let Some((length, more)) = rest.split_at_checked(2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let (entry, more) = more.split_at(length.min(more.len()));
            rest = more;
            // A kind, a transaction, and the job itself, or a request whose list is to be read: if
            // its other parts can be.
            if let [kind @ (0 | 3), key @ ..] = entry
                && let Some(key) = key.first_chunk::<8>()
            {
                let keys = if *kind == 0 { &mut jobs } else { &mut requests };
                keys.push(u64::from_be_bytes(*key));
            }
            mailbox.take(Bytes::copy_from_slice(entry), stage);
        }
        // In the second third there is no memory, until deadlines have passed.
        let mut turns = 0;
        for free in [MEMORY, 0, MEMORY] {
            stage.free.set(free);
            while mailbox.work(stage) == 0 {
                turns += 1;
                assert!(turns < MAX_TURNS, "work without end");
            }
            stage.now_ms.set(stage.now_ms.get() + 40_000);
        }
        for key in stage.replies.take() {
            let keys = if jobs.contains(&key) {
                &mut jobs
            } else {
                &mut requests
            };
            let place = keys.iter().position(|known| *known == key);
            keys.swap_remove(place.expect("somebody waits for this answer"));
        }
        assert!(jobs.is_empty(), "each job is answered: {jobs:?}");
    });
}
