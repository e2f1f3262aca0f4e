//! The resolver, without IO: which question goes to which name server and when, what the answers
//! mean, and when a name is given up.
//!
//! Any number of names are looked up in parallel: one without an answer takes a place, but no time
//! from others. Each has a deadline. A question is in flight only once, however many look-ups need
//! it, so that nobody can increase the chances of a forged answer; its id and socket are chosen at
//! random each time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::plan::{Answer, Answers, Plan, plan};
use super::system::Hosts;
use super::target::{Place, Server, Target};
use crate::dns::{Question, Reply};

/// Attempts to find an unused id; without one the question is asked at its next timeout.
const DRAWS: usize = 3;
/// Maximum number of names looked up in parallel.
pub const MAX_LOOKUPS: usize = 4096;
/// Number of sockets towards one name server, one of which is chosen at random for each question.
const CHANNELS: u16 = 128;

/// Time limits for name servers.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Timeout after which the next name server is asked.
    pub retry: Duration,
    /// How often a question is asked before it counts as unanswered.
    pub tries: usize,
    /// Time limit for a whole look-up.
    pub deadline: Duration,
}

/// A packet to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    /// The name server it goes to.
    pub server: SocketAddr,
    /// Number of the socket, of 128, that sends it and expects the answer.
    pub channel: u16,
    /// Over TCP, because the answer is too long for a datagram.
    pub over_tcp: bool,
    /// The packet.
    pub packet: Vec<u8>,
}

/// The result of a look-up.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<W> {
    /// The name.
    pub target: Target,
    /// Who asked.
    pub waiting: Vec<W>,
    /// Its servers, best first; none if the domain has no such service.
    pub servers: Vec<Server>,
    /// Their addresses, best first; none if there are none, or the resolver does not ask for them.
    pub places: Vec<Place>,
    /// For how many seconds the result is valid. Meaningless without places.
    pub ttl_s: u32,
}

/// The resolver. `W` identifies those who ask.
#[derive(Debug)]
pub struct Resolver<W> {
    servers: Vec<SocketAddr>,
    /// The name server that is asked first: the one that answered last.
    preferred: usize,
    hosts: Option<Hosts>,
    patience: Patience,
    random: fn(&mut [u8]),
    next: u64,
    lookups: HashMap<u64, Lookup<W>>,
    by_target: HashMap<Target, u64>,
    asking: HashMap<u64, Asking>,
    by_question: HashMap<Question, u64>,
    sent: HashMap<(SocketAddr, u16, u16), u64>,
    to_send: VecDeque<(u64, bool)>,
    timers: BTreeSet<(Instant, Due)>,
    found: VecDeque<Found<W>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lookup(u64),
    Question(u64),
}

#[derive(Debug)]
struct Lookup<W> {
    target: Target,
    waiting: Vec<W>,
    answers: Answers,
    /// The questions it has asked; some may be answered already.
    asked: Vec<u64>,
    ticket: u64,
    deadline: Instant,
}

/// A question in flight.
#[derive(Debug)]
struct Asking {
    question: Question,
    /// The look-ups that asked it, and how many of them still need it.
    lookups: Vec<u64>,
    needed: usize,
    tries: usize,
    /// Whether a name server has answered that it does not know.
    has_failed: bool,
    server: usize,
    sent: Vec<(SocketAddr, u16, u16)>,
    due: Option<Instant>,
}

impl<W> Resolver<W> {
    /// With these name servers (at least one) and the machine's own names; without the latter it
    /// finds servers only, and leaves their addresses to the caller. `random` fills with random
    /// bytes.
    pub fn new(
        servers: Vec<SocketAddr>,
        hosts: Option<Hosts>,
        patience: Patience,
        random: fn(&mut [u8]),
    ) -> Self {
        Self {
            servers,
            preferred: 0,
            hosts,
            patience,
            random,
            next: 0,
            lookups: HashMap::new(),
            by_target: HashMap::new(),
            asking: HashMap::new(),
            by_question: HashMap::new(),
            sent: HashMap::new(),
            to_send: VecDeque::new(),
            timers: BTreeSet::new(),
            found: VecDeque::new(),
        }
    }

    /// The machine's own names have changed. Look-ups in progress use the new ones.
    pub fn set_system(&mut self, servers: Vec<SocketAddr>, hosts: Hosts) {
        if self.servers != servers {
            self.servers = servers;
            self.preferred = 0;
        }
        self.hosts = Some(hosts);
    }

    /// Looks a name up for `waiter`, which [`poll_found`](Self::poll_found) returns with the
    /// result, at the latest when the [deadline](Patience::deadline) is reached.
    ///
    /// # Errors
    /// There are already [`MAX_LOOKUPS`]: returns the waiter.
    pub fn ask(&mut self, now: Instant, target: Target, waiter: W) -> Result<(), W> {
        if let Some(lookup) = self.by_target.get(&target)
            && let Some(lookup) = self.lookups.get_mut(lookup)
        {
            lookup.waiting.push(waiter);
            return Ok(());
        }
        if self.lookups.len() >= MAX_LOOKUPS {
            return Err(waiter);
        }
        let id = self.number();
        let deadline = now + self.patience.deadline;
        let lookup = Lookup {
            target: target.clone(),
            waiting: vec![waiter],
            answers: Answers::new(),
            asked: Vec::new(),
            ticket: self.draw(),
            deadline,
        };
        self.by_target.insert(target, id);
        self.lookups.insert(id, lookup);
        self.timers.insert((deadline, Due::Lookup(id)));
        self.step(id);
        Ok(())
    }

    /// Whether nothing is in flight.
    pub fn is_idle(&self) -> bool {
        self.lookups.is_empty()
    }

    /// The next packet to send.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit> {
        while let Some((id, over_tcp)) = self.to_send.pop_front() {
            let (mut lot, mut packet_id) = ([0; 4], 0);
            let Some(asking) = self.asking.get(&id) else {
                continue;
            };
            let server = self.servers[asking.server % self.servers.len()];
            let mut key = None;
            for _ in 0..DRAWS {
                (self.random)(&mut lot);
                packet_id = u16::from_ne_bytes([lot[0], lot[1]]);
                let channel = u16::from_ne_bytes([lot[2], lot[3]]) % CHANNELS;
                key = Some((server, channel, packet_id)).filter(|key| !self.sent.contains_key(key));
                if key.is_some() {
                    break;
                }
            }
            let packet = asking.question.write(packet_id);
            let due = now + self.patience.retry;
            if let Some(asking) = self.asking.get_mut(&id) {
                if let Some(before) = asking.due.replace(due) {
                    self.timers.remove(&(before, Due::Question(id)));
                }
                self.timers.insert((due, Due::Question(id)));
                asking.tries += 1;
                // Otherwise it is asked again at its timeout.
                if let (Some(key), Some(packet)) = (key, packet) {
                    asking.sent.push(key);
                    self.sent.insert(key, id);
                    return Some(Transmit {
                        server,
                        channel: key.1,
                        over_tcp,
                        packet,
                    });
                }
            }
        }
        None
    }

    /// A packet from a name server, on this socket. Its content is not trusted.
    pub fn handle_packet(&mut self, server: SocketAddr, channel: u16, packet: &[u8]) {
        let Some((&high, &low)) = packet.first().zip(packet.get(1)) else {
            return;
        };
        let packet_id = u16::from_be_bytes([high, low]);
        let Some(&id) = self.sent.get(&(server, channel, packet_id)) else {
            return;
        };
        let Some(asking) = self.asking.get(&id) else {
            return;
        };
        let Some(reply) = asking.question.read(packet, packet_id) else {
            return;
        };
        if let Some(place) = self.servers.iter().position(|known| *known == server) {
            self.preferred = place;
        }
        match reply {
            Reply::Records { records, ttl_s } => {
                self.answered(id, Answer::Records(records, ttl_s));
            }
            Reply::Truncated => self.ask_again(id, 0, true),
            Reply::Failed => {
                if let Some(asking) = self.asking.get_mut(&id) {
                    asking.has_failed = true;
                }
                self.ask_again(id, 1, false);
            }
        }
    }

    /// The network reports that nobody listens at the address of a name server to which this socket
    /// has sent.
    pub fn handle_refused(&mut self, server: SocketAddr, channel: u16) {
        let refused = self.sent.iter();
        let refused = refused.filter(|((to, by, _), _)| *to == server && *by == channel);
        let mut refused: Vec<u64> = refused.map(|(_, id)| *id).collect();
        refused.sort_unstable();
        refused.dedup();
        for id in refused {
            let Some(asking) = self.asking.get_mut(&id) else {
                continue;
            };
            asking
                .sent
                .retain(|key| (key.0, key.1) != (server, channel));
            self.ask_again(id, 1, false);
        }
        self.sent
            .retain(|(to, by, _), _| (*to, *by) != (server, channel));
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Reports the time.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(&(at, due)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match due {
                Due::Lookup(id) => self.give_up(id),
                Due::Question(id) => {
                    if let Some(asking) = self.asking.get_mut(&id) {
                        asking.due = None;
                    }
                    self.ask_again(id, 1, false);
                }
            }
        }
    }

    /// The next result.
    pub fn poll_found(&mut self) -> Option<Found<W>> {
        self.found.pop_front()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn draw(&self) -> u64 {
        let mut bytes = [0; 8];
        (self.random)(&mut bytes);
        u64::from_ne_bytes(bytes)
    }

    fn plan(&self, lookup: &Lookup<W>) -> Plan {
        let hosts = self.hosts.as_ref();
        plan(&lookup.target, hosts, &lookup.answers, lookup.ticket)
    }

    /// Its deadline is reached: open questions count as unanswered.
    fn give_up(&mut self, id: u64) {
        while let Some(lookup) = self.lookups.get(&id) {
            match self.plan(lookup) {
                Plan::Ask(open) => {
                    let silent = open.into_iter().map(|question| (question, Answer::Silent));
                    if let Some(lookup) = self.lookups.get_mut(&id) {
                        lookup.answers.extend(silent);
                    }
                }
                done => self.finish(id, done),
            }
        }
    }

    /// Asks the next questions, or finishes.
    fn step(&mut self, id: u64) {
        let Some(lookup) = self.lookups.get(&id) else {
            return;
        };
        let open = match self.plan(lookup) {
            Plan::Ask(open) => open,
            done => return self.finish(id, done),
        };
        for question in open {
            let number = match self.by_question.get(&question) {
                Some(&number) => number,
                None => {
                    let number = self.number();
                    let asking = Asking {
                        question: question.clone(),
                        lookups: Vec::new(),
                        needed: 0,
                        tries: 0,
                        has_failed: false,
                        server: self.preferred,
                        sent: Vec::new(),
                        due: None,
                    };
                    self.asking.insert(number, asking);
                    self.by_question.insert(question, number);
                    self.to_send.push_back((number, false));
                    number
                }
            };
            if let Some(asking) = self.asking.get_mut(&number)
                && let Some(lookup) = self.lookups.get_mut(&id)
                && !lookup.asked.contains(&number)
            {
                lookup.asked.push(number);
                asking.lookups.push(id);
                asking.needed += 1;
            }
        }
    }

    /// Asks another server (`next` further), or gives the question up.
    fn ask_again(&mut self, id: u64, next: usize, over_tcp: bool) {
        let Some(asking) = self.asking.get_mut(&id) else {
            return;
        };
        if asking.tries >= self.patience.tries {
            let answer = match asking.has_failed {
                true => Answer::Failed,
                false => Answer::Silent,
            };
            return self.answered(id, answer);
        }
        asking.server += next;
        if let Some(due) = asking.due.take() {
            self.timers.remove(&(due, Due::Question(id)));
        }
        self.to_send.push_back((id, over_tcp));
    }

    fn answered(&mut self, id: u64, answer: Answer) {
        let Some(asking) = self.forget(id) else {
            return;
        };
        for lookup in asking.lookups {
            if let Some(known) = self.lookups.get_mut(&lookup) {
                known
                    .answers
                    .insert(asking.question.clone(), answer.clone());
                self.step(lookup);
            }
        }
    }

    fn forget(&mut self, id: u64) -> Option<Asking> {
        let asking = self.asking.remove(&id)?;
        self.by_question.remove(&asking.question);
        if let Some(due) = asking.due {
            self.timers.remove(&(due, Due::Question(id)));
        }
        for key in &asking.sent {
            self.sent.remove(key);
        }
        Some(asking)
    }

    fn finish(&mut self, id: u64, done: Plan) {
        let Plan::Done {
            servers,
            places,
            ttl_s,
        } = done
        else {
            return;
        };
        let Some(lookup) = self.lookups.remove(&id) else {
            return;
        };
        self.by_target.remove(&lookup.target);
        self.timers.remove(&(lookup.deadline, Due::Lookup(id)));
        // Questions that nobody needs any more are dropped with it.
        for number in lookup.asked {
            if let Some(asking) = self.asking.get_mut(&number) {
                asking.needed -= 1;
                if asking.needed == 0 {
                    self.forget(number);
                }
            }
        }
        self.found.push_back(Found {
            target: lookup.target,
            waiting: lookup.waiting,
            servers,
            places,
            ttl_s,
        });
    }
}
