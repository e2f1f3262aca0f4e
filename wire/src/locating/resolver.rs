//! The resolver, without IO: what is asked of which name server and when, what its answers come to,
//! and by when a name is given up.
//!
//! Any number of names are looked up side by side: one that nobody answers for takes a place and no
//! time of others. Each has a deadline. One question is under way once at a time, whoever needs it,
//! so that nobody can open many doors for a forged answer; its id and its socket are drawn by lot
//! each time.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::plan::{Answer, Answers, Plan, plan};
use super::system::Hosts;
use super::target::{Place, Server, Target};
use crate::dns::{Question, Reply};

/// Draws of an id that is not in use; without one the question is asked when its time has come
/// again.
const DRAWS: usize = 3;
/// Names that are looked up at once.
pub const MAX_LOOKUPS: usize = 4096;
/// Sockets towards one name server among which each question draws.
const CHANNELS: u16 = 128;

/// How long name servers are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long one of them may take before the next one is asked.
    pub retry: Duration,
    /// How often a question is asked before it counts as unanswered.
    pub tries: usize,
    /// By when a name is found, or is not.
    pub deadline: Duration,
}

/// A packet to be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To this name server.
    pub server: SocketAddr,
    /// By the socket of this number, of 128; its answer is expected there.
    pub channel: u16,
    /// Over TCP, since the answer is too long for a datagram.
    pub over_tcp: bool,
    /// The packet.
    pub packet: Vec<u8>,
}

/// What a name came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<W> {
    /// The name.
    pub target: Target,
    /// Who has asked.
    pub waiting: Vec<W>,
    /// Its servers, best first; none if the domain has no such service.
    pub servers: Vec<Server>,
    /// Their addresses, best first; none if it has none, or if the resolver does not ask for them.
    pub places: Vec<Place>,
    /// For how many seconds all this holds. Without places it says nothing.
    pub ttl_s: u32,
}

/// The resolver. `W` is whatever those who ask are known by.
#[derive(Debug)]
pub struct Resolver<W> {
    servers: Vec<SocketAddr>,
    /// The one that is asked first: it has answered last.
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
    /// The questions that it has asked; some may have been answered.
    asked: Vec<u64>,
    ticket: u64,
    deadline: Instant,
}

/// A question that is under way.
#[derive(Debug)]
struct Asking {
    question: Question,
    /// The look-ups that have asked, and how many of them still need it.
    lookups: Vec<u64>,
    needed: usize,
    tries: usize,
    /// Whether a name server has said that it cannot tell.
    has_failed: bool,
    server: usize,
    sent: Vec<(SocketAddr, u16, u16)>,
    due: Option<Instant>,
}

impl<W> Resolver<W> {
    /// With these name servers (at least one) and names of this machine; without the latter it
    /// finds servers and leaves their addresses to others. `random` fills with random bytes.
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

    /// What the machine knows has changed. Questions under way go on with it.
    pub fn set_system(&mut self, servers: Vec<SocketAddr>, hosts: Hosts) {
        if self.servers != servers {
            self.servers = servers;
            self.preferred = 0;
        }
        self.hosts = Some(hosts);
    }

    /// Looks a name up, for `waiter`, who is [found](Self::poll_found) again with what it came to,
    /// at the latest when the [deadline](Patience::deadline) has come.
    ///
    /// # Errors
    /// There are [`MAX_LOOKUPS`] already: the waiter back.
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

    /// Whether nothing is under way.
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
                // Else it is asked once more when the time has come.
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

    /// A packet has come from a name server, on this socket. Whatever it is.
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

    /// Nobody listens at a name server's address, says the network about what was sent by this
    /// socket.
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

    /// When [`handle_timeout`](Self::handle_timeout) is wanted.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Time has passed.
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

    /// The next name that has come to something.
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

    /// Its time is over: what is still open counts as unanswered.
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

    /// Asks what has to be asked next, or is done.
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
        // Questions that nobody needs any more go with it.
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
