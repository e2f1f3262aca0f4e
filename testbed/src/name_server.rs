//! A name server that knows the records a test gives it, and does not answer for names that the
//! test declares dead.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use simple_dns::rdata::{A, AAAA, NAPTR, RData, SRV};
use simple_dns::{CLASS, CharacterString, Name, Packet, RCODE, ResourceRecord};

/// Queries for names with this ending are never answered.
pub const DEAD: &str = ".dead.example";
/// How long its answers are valid.
const TTL_S: u32 = 60;
/// Interval at which it checks whether to stop.
const TICK: Duration = Duration::from_millis(50);

type Zone = HashMap<String, Vec<RData<'static>>>;

/// A name server on a UDP port of its own. Stops when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    zone: Arc<Mutex<Zone>>,
    asked: Arc<Mutex<Vec<String>>>,
    thread: Option<JoinHandle<()>>,
}

impl NameServer {
    /// With these records: the name, and "A 192.0.2.1", "AAAA 2001:db8::1", "SRV 10 0 5060 target"
    /// or "NAPTR 10 10 s SIP+D2U replacement". All other names do not exist, except those that end
    /// in [`DEAD`].
    ///
    /// # Panics
    /// No port is free, or a record cannot be parsed.
    #[must_use]
    pub fn start(records: &[(&str, &str)]) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        socket.set_read_timeout(Some(TICK)).expect("a time-out");
        let address = socket.local_addr().expect("an address");
        let (zone, ended, asked) = (Arc::default(), Arc::default(), Arc::default());
        let thread = std::thread::spawn({
            let (zone, ended, asked) = (Arc::clone(&zone), Arc::clone(&ended), Arc::clone(&asked));
            move || serve(&socket, &zone, &ended, &asked)
        });
        let server = Self {
            address,
            ended,
            zone,
            asked,
            thread: Some(thread),
        };
        for (name, record) in records {
            server.learn(name, record);
        }
        server
    }

    /// Adds a record.
    ///
    /// # Panics
    /// It cannot be parsed.
    pub fn learn(&self, name: &str, record: &str) {
        let mut zone = self.zone.lock().expect("not poisoned");
        let known = zone.entry(name.to_ascii_lowercase()).or_default();
        known.push(read_record(record));
    }

    /// Its address, in the form of the parameter `dns_server`.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names queried so far, once for each query.
    ///
    /// # Panics
    /// Its thread has panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("not poisoned").clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(socket: &UdpSocket, zone: &Mutex<Zone>, ended: &AtomicBool, asked: &Mutex<Vec<String>>) {
    let mut packet = [0; 1500];
    while !ended.load(Ordering::Acquire) {
        let (length, from) = match socket.recv_from(&mut packet) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            // The client is gone.
            Err(_) => continue,
        };
        let Ok(query) = Packet::parse(&packet[..length]) else {
            continue;
        };
        let Some(question) = query.questions.first() else {
            continue;
        };
        let name = question.qname.to_string().to_ascii_lowercase();
        asked.lock().expect("not poisoned").push(name.clone());
        if name.ends_with(DEAD) {
            continue;
        }
        let mut reply = Packet::new_reply(query.id());
        reply.questions = query.questions.clone();
        match zone.lock().expect("not poisoned").get(&name) {
            None => *reply.rcode_mut() = RCODE::NameError,
            Some(records) => {
                let of_kind = records
                    .iter()
                    .filter(|data| question.qtype == data.type_code().into());
                let owner = question.qname.clone();
                let records = of_kind
                    .map(|data| ResourceRecord::new(owner.clone(), CLASS::IN, TTL_S, data.clone()));
                reply.answers.extend(records);
            }
        }
        if let Ok(bytes) = reply.build_bytes_vec() {
            let _ = socket.send_to(&bytes, from);
        }
    }
}

fn read_record(text: &str) -> RData<'static> {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse().expect("a number");
    let string = |at: usize| {
        let text = CharacterString::new(words[at].as_bytes()).expect("a short text");
        text.into_owned()
    };
    let name = |at: usize| Name::new_unchecked(words[at]).into_owned();
    match words[0] {
        "A" => RData::A(A::from(words[1].parse::<Ipv4Addr>().expect("an address"))),
        "AAAA" => RData::AAAA(AAAA::from(
            words[1].parse::<std::net::Ipv6Addr>().expect("an address"),
        )),
        "SRV" => RData::SRV(SRV {
            priority: number(1),
            weight: number(2),
            port: number(3),
            target: name(4),
        }),
        "NAPTR" => RData::NAPTR(NAPTR {
            order: number(1),
            preference: number(2),
            flags: string(3),
            services: string(4),
            regexp: CharacterString::new(b"").expect("empty").into_owned(),
            replacement: name(5),
        }),
        _ => panic!("no such record: {text}"),
    }
}
