//! Valkey or Redis as the engine of a store that several nodes share.
//!
//! A node has a *lease*, which it renews, and a number for it, its *token*. Messages belong to a
//! token. Once a lease is over, any other node may take over what belongs to its token: it closes
//! the token, and moves the messages to its own. All that a node writes is a script that first
//! looks whether its token is open, so that a node that was thought dead and comes back changes
//! nothing, learns of it, and gets a new token.
//!
//! ```text
//!  {cpm}:epoch          number of the last token
//!  {cpm}:owners         hash: each open token and its node; empty: it is being taken over
//!  {cpm}:lease:TOKEN    exists as long as the lease
//!  {cpm}:of:TOKEN       sorted set: the messages of a token, by the time of their acceptance
//!  {cpm}:msg:ID         hash: version, expires, record, ended; of a large one also content,
//!                       bytes, node
//!  {cpm}:back:NODE      sorted set: large messages whose content only this node has
//!  {cpm}:taken:NODE     sorted set: identities of requests, by the time until which they are known
//!  {cpm}:s:NAME         who gets disposition notifications about a message
//!  {cpm}:arrived        stream: recipients that have arrived at some node
//!  {cpm}:key            shows whether all nodes derive their names from the same key
//! ```
//!
//! The content of a large message is a file. A node that takes over a message and does not see its
//! file leaves the message to the node that has accepted it, which takes it back: at the start
//! of its next lease, and whenever it looks at those of others.
//!
//! All keys have the same hash tag, so that they are in one slot of a cluster.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redis::{
    Cmd, Connection, FromRedisValue, Pipeline, RedisResult, Value, cmd, from_redis_value, pipe,
};

use super::clock::unix_s;
use super::content::ContentFolder;
use super::engine::{Batch, Engine, Failure, News, Refusal};
use super::error::StoreError;
use super::record::{Kept, SenderName};
use super::redis_values::{MESSAGE_FIELDS, Reports, arrivals, kept, name_of_last};
use super::server::{ServerAddress, is_refused};

const PREFIX: &str = "{cpm}:";

/// Messages that are read in one call, and that are taken over in one.
const TOGETHER: usize = 100;
const TAKEN_TOGETHER: usize = 1_000;

/// Arrivals in one report, and reports that are read in one call.
const ARRIVALS_TOGETHER: usize = 4_096;
const HEARD_TOGETHER: usize = 100;

/// How many recipients that have arrived are told to others at a time, and heard of from them. Who
/// is beyond that is tried when the schedule says.
const MAX_ARRIVED: usize = 65_536;

/// How long after it has expired a large message waits for the node that has its content.
const ABANDONED: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long replicas may take to have a message.
const WAIT: Duration = Duration::from_secs(1);

/// Bytes that a message takes in addition to its record and identity.
const ROW_BYTES: u64 = 512;

/// Interval between looks for recipients that have arrived at other nodes.
const TEND: Duration = Duration::from_millis(500);

/// Part of a lease after which those of others are looked at.
const RENEWALS: u32 = 6;

/// About how many reports of arrivals the server keeps. Who was without the server for longer
/// learns of those before from the schedule of attempts.
const ARRIVALS_KEPT: usize = 1_000;

const SCRIPTS: [&str; 6] = [
    include_str!("redis_engine/write.lua"),
    include_str!("redis_engine/register.lua"),
    include_str!("redis_engine/renew.lua"),
    include_str!("redis_engine/take_over.lua"),
    include_str!("redis_engine/give_back.lua"),
    include_str!("redis_engine/take_back.lua"),
];
const WRITE: usize = 0;
const REGISTER: usize = 1;
const RENEW: usize = 2;
const TAKE_OVER: usize = 3;
const GIVE_BACK: usize = 4;
const TAKE_BACK: usize = 5;

/// What a node is among those that share a store.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Its name, different from that of all others.
    pub name: String,
    /// How long it may be silent until another one takes over.
    pub lease: Duration,
    /// How many replicas must have a message before it counts as kept.
    pub replicas: usize,
    /// Where it has the content of large messages; `None`: they are not kept.
    pub content: Option<ContentFolder>,
    /// What all nodes have in common that derive names from the same key.
    pub key_check: String,
}

/// An open connection.
struct Open {
    connection: Connection,
    /// Names of the scripts, in the order of [`SCRIPTS`].
    scripts: Vec<String>,
}

/// The engine.
pub(super) struct RedisEngine {
    server: ServerAddress,
    node: NodeSettings,
    open: Option<Open>,
    /// The number of our lease.
    token: Option<u64>,
    /// Our messages, and about how many bytes each takes.
    own: HashMap<u64, u64>,
    bytes: u64,
    /// Those of them that were taken over and not read yet.
    left_over: VecDeque<u64>,
    /// Those that were ours and that another node has taken over.
    lost: Vec<u64>,
    /// The last report of arrivals that was read.
    heard: Option<String>,
    /// Recipients that have arrived here, to be told to the others.
    arrived: Vec<u32>,
    /// Recipients that have arrived elsewhere.
    arrived_elsewhere: Vec<u32>,
    /// When the leases of others are next looked at. After an outage they get the time of one to
    /// renew them.
    look: Instant,
    /// Whether this node had no lease yet.
    is_new: bool,
}

impl RedisEngine {
    pub(super) fn new(server: ServerAddress, node: NodeSettings) -> Self {
        RedisEngine {
            server,
            node,
            open: None,
            token: None,
            own: HashMap::new(),
            bytes: 0,
            left_over: VecDeque::new(),
            lost: Vec::new(),
            heard: None,
            arrived: Vec::new(),
            arrived_elsewhere: Vec::new(),
            look: Instant::now(),
            is_new: true,
        }
    }

    /// Asks the server, all at once. After a failure the state of the connection is unknown, unless
    /// the server has said that it is full.
    fn ask<T: FromRedisValue>(&mut self, exchange: &Pipeline) -> Result<T, Failure> {
        let Some(open) = &mut self.open else {
            return Err(down("it is not open"));
        };
        let answer = exchange.query(&mut open.connection);
        answer.map_err(|error| {
            let failure = Failure::from(error);
            if failure.refusal != Refusal::Full {
                self.open = None;
            }
            failure
        })
    }

    fn token(&self) -> Result<u64, Failure> {
        self.token.ok_or_else(|| down("this node has no lease"))
    }

    /// A call of a script.
    fn script(&self, number: usize) -> Result<Cmd, Failure> {
        let open = self.open.as_ref();
        let name = open.and_then(|open| open.scripts.get(number));
        let mut call = cmd("EVALSHA");
        call.arg(name.ok_or_else(|| down("it is not open"))?).arg(2);
        call.arg(key("owners")).arg(key("epoch")).arg(PREFIX);
        Ok(call)
    }

    /// What a script says of our lease.
    fn check_lease(&mut self, state: i64) -> Result<(), Failure> {
        if state == 1 {
            return Ok(());
        }
        self.token = None;
        if state != 0 {
            // Nobody else has our messages: what is in memory goes on.
            return Err(down("it has lost what was in it"));
        }
        self.lost.extend(self.own.drain().map(|(id, _)| id));
        self.left_over.clear();
        self.bytes = 0;
        let why = "another node has taken over: this one was silent for longer than store_lease";
        Err(down(why))
    }

    fn renewal(&self) -> Result<Cmd, Failure> {
        let mut renew = self.script(RENEW)?;
        renew.arg(self.token()?).arg(&self.node.name);
        renew.arg(milliseconds(self.node.lease));
        Ok(renew)
    }

    fn renew(&mut self) -> Result<(), Failure> {
        let renewal = self.renewal()?;
        let [state]: [i64; 1] = self.ask(pipe().add_command(renewal))?;
        self.check_lease(state)
    }

    fn register(&mut self) -> Result<(), Failure> {
        let mut call = self.script(REGISTER)?;
        call.arg(&self.node.name).arg(milliseconds(self.node.lease));
        let [token]: [u64; 1] = self.ask(pipe().add_command(call))?;
        self.token = Some(token);
        self.take_back()
    }

    /// Takes back the large messages that others have left to this node.
    fn take_back(&mut self) -> Result<(), Failure> {
        loop {
            let mut call = self.script(TAKE_BACK)?;
            call.arg(self.token()?).arg(&self.node.name);
            call.arg(TAKEN_TOGETHER);
            let [ids]: [Vec<u64>; 1] = self.ask(pipe().add_command(call))?;
            self.add_left_over(&ids);
            if ids.len() < TAKEN_TOGETHER {
                return Ok(());
            }
        }
    }

    fn add_left_over(&mut self, ids: &[u64]) {
        for id in ids {
            self.own.entry(*id).or_insert(0);
        }
        self.left_over.extend(ids);
    }

    /// Leaves large messages whose content this node does not see to those that have accepted
    /// them. Those of its own it has to answer for.
    fn give_back(&mut self, found: &mut [Option<Kept>]) -> Result<(), Failure> {
        let is_visible = |name: &str| {
            let folder = self.node.content.as_ref();
            folder.is_some_and(|folder| folder.has(name))
        };
        let is_missing = |kept: &&Kept| {
            let content = kept.content.as_ref();
            content.is_some_and(|(name, _)| !is_visible(name))
        };
        let missing: Vec<u64> = found
            .iter()
            .flatten()
            .filter(is_missing)
            .map(|kept| kept.id)
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        let mut call = self.script(GIVE_BACK)?;
        call.arg(self.token()?).arg(&self.node.name);
        call.arg(ABANDONED.as_secs()).arg(&missing);
        let [given]: [Vec<u64>; 1] = self.ask(pipe().add_command(call))?;
        for kept in found {
            if kept.as_ref().is_some_and(|kept| given.contains(&kept.id)) {
                *kept = None;
            }
        }
        Ok(())
    }

    /// Tokens of others that are open, and their nodes.
    fn others(&mut self) -> Result<HashMap<u64, String>, Failure> {
        let token = self.token()?;
        let [mut owners]: [HashMap<u64, String>; 1] =
            self.ask(pipe().cmd("HGETALL").arg(key("owners")))?;
        owners.remove(&token);
        Ok(owners)
    }

    /// Takes over what belongs to this token, if it may. `at_once`: whether or not its lease is
    /// over.
    fn take_over(&mut self, old: u64, at_once: bool) -> Result<(), Failure> {
        loop {
            let mut call = self.script(TAKE_OVER)?;
            call.arg(self.token()?).arg(&self.node.name);
            call.arg(old).arg(TAKEN_TOGETHER).arg(u8::from(at_once));
            let [ids]: [Vec<u64>; 1] = self.ask(pipe().add_command(call))?;
            self.add_left_over(&ids);
            if ids.len() < TAKEN_TOGETHER {
                return Ok(());
            }
        }
    }

    /// Takes over from those that have let their lease lapse, and back what others cannot deliver:
    /// they may find that out when this node has its next lease already.
    fn look_at_others(&mut self) -> Result<(), Failure> {
        self.take_back()?;
        let others: Vec<u64> = self.others()?.into_keys().collect();
        if others.is_empty() {
            return Ok(());
        }
        let mut leases = pipe();
        for other in &others {
            leases.cmd("EXISTS").arg(key(&format!("lease:{other}")));
        }
        let alive: Vec<bool> = self.ask(&leases)?;
        for (other, _) in others.iter().zip(alive).filter(|(_, alive)| !alive) {
            self.take_over(*other, false)?;
        }
        Ok(())
    }

    /// At a start: what a previous process of this node has left is ours, without waiting.
    fn take_over_own(&mut self) -> Result<(), Failure> {
        for (other, name) in self.others()? {
            if name == self.node.name {
                self.take_over(other, true)?;
            }
        }
        Ok(())
    }

    fn try_open(&mut self) -> Result<(), Failure> {
        let mut connection = self.server.connect()?;
        check_key(&mut connection, &self.node.key_check)?;
        let mut load = pipe();
        for script in SCRIPTS {
            load.cmd("SCRIPT").arg("LOAD").arg(script);
        }
        let scripts = load.query(&mut connection)?;
        if self.heard.is_none() {
            self.heard = Some(last_arrival(&mut connection)?);
        }
        self.look = Instant::now() + self.node.lease;
        self.open = Some(Open {
            connection,
            scripts,
        });
        if self.token.is_some() && self.renew().is_err() && self.token.is_some() {
            return Err(down("the lease cannot be renewed"));
        }
        if self.token.is_none() {
            self.register()?;
        }
        if self.is_new {
            self.take_over_own()?;
            self.is_new = false;
        }
        Ok(())
    }

    /// Tells others who has arrived here. If the server is full, the schedule of attempts has to
    /// do.
    fn report_arrivals(&mut self, token: u64) -> Result<(), Failure> {
        if self.arrived.is_empty() {
            return Ok(());
        }
        let mut exchange = pipe();
        for some in self.arrived.chunks(ARRIVALS_TOGETHER) {
            let hashes: Vec<u8> = some.iter().flat_map(|hash| hash.to_be_bytes()).collect();
            exchange.cmd("XADD").arg(key("arrived"));
            exchange.arg("MAXLEN").arg("~").arg(ARRIVALS_KEPT).arg("*");
            exchange.arg(token).arg(hashes);
        }
        let told: Result<Value, Failure> = self.ask(&exchange);
        match told {
            Err(failure) if failure.refusal != Refusal::Full => Err(failure),
            _ => {
                self.arrived.clear();
                Ok(())
            }
        }
    }

    /// Others have reported arrivals.
    fn hear(&mut self, reports: Value, own_token: u64) {
        let Reports { last, hashes } = arrivals(reports, own_token);
        let room = MAX_ARRIVED - self.arrived_elsewhere.len();
        self.arrived_elsewhere.extend(hashes.iter().take(room));
        if last.is_some() {
            self.heard = last;
        }
    }

    fn forget(&mut self, id: u64) {
        if let Some(bytes) = self.own.remove(&id) {
            self.bytes -= bytes;
        }
    }

    fn note_size(&mut self, kept: &Kept) {
        let bytes = (kept.record.len() + kept.identity.len()) as u64 + ROW_BYTES;
        let before = self.own.insert(kept.id, bytes).unwrap_or(0);
        self.bytes = self.bytes + bytes - before;
    }
}

impl Engine for RedisEngine {
    fn open(&mut self) -> Result<(), Failure> {
        let opened = self.try_open();
        if opened.is_err() {
            self.close();
        }
        opened
    }

    fn close(&mut self) {
        self.open = None;
    }

    fn write(&mut self, batch: &Batch<'_>) -> Result<(), Failure> {
        let token = self.token()?;
        let mut call = self.script(WRITE)?;
        call.arg(token).arg(&self.node.name);
        call.arg(batch.done.len());
        for id in &batch.done {
            call.arg(*id);
        }
        match batch.forgotten {
            Some(_) => call.arg(unix_s()),
            None => call.arg(""),
        };
        call.arg(batch.ended.len());
        for (id, ended) in &batch.ended {
            call.arg(*id).arg(*ended);
        }
        let now_s = unix_s();
        call.arg(now_s).arg(batch.taken_until_s);
        call.arg(batch.taken_until_s.saturating_sub(now_s).max(1));
        call.arg(batch.kept.len());
        for kept in &batch.kept {
            call.arg(kept.id).arg(kept.version).arg(kept.expires_s);
            call.arg(&kept.record[..]).arg(&kept.identity[..]);
            match &kept.content {
                Some((name, bytes)) => call.arg(name).arg(*bytes),
                None => call.arg("").arg(0),
            };
        }
        call.arg(batch.senders.len());
        for sender in &batch.senders {
            call.arg(sender.name.to_string()).arg(&sender.uri);
            call.arg(sender.ttl_s.max(1));
        }
        let replicas = match batch.kept.is_empty() {
            true => 0,
            false => self.node.replicas,
        };
        let mut exchange = pipe();
        exchange.add_command(call);
        if replicas > 0 {
            exchange.cmd("WAIT").arg(replicas).arg(milliseconds(WAIT));
        }
        let answers: Vec<i64> = self.ask(&exchange)?;
        self.check_lease(answers.first().copied().unwrap_or(-1))?;
        let have_it = answers.get(1).copied().unwrap_or(0);
        if usize::try_from(have_it).unwrap_or(0) < replicas {
            return Err(down(&format!("{have_it} of {replicas} replicas have it")));
        }
        for id in &batch.done {
            self.forget(*id);
        }
        for kept in &batch.kept {
            self.note_size(kept);
        }
        Ok(())
    }

    fn read(&mut self, ids: &[u64]) -> Result<Vec<Option<Kept>>, Failure> {
        let mut all = Vec::with_capacity(ids.len());
        for some in ids.chunks(TOGETHER) {
            let mut exchange = pipe();
            exchange.add_command(self.renewal()?);
            for id in some {
                exchange.cmd("HMGET").arg(key(&format!("msg:{id}")));
                exchange.arg(&MESSAGE_FIELDS);
            }
            let mut answers: Vec<Value> = self.ask(&exchange)?;
            let found = answers.split_off(1);
            let state = answers.pop().and_then(|state| from_redis_value(state).ok());
            self.check_lease(state.unwrap_or(-1))?;
            for (id, found) in some.iter().zip(found) {
                let is_own = self.own.contains_key(id);
                all.push(kept(*id, found).filter(|_| is_own));
            }
        }
        Ok(all)
    }

    fn left_over(&mut self, bytes: usize) -> Result<Vec<Kept>, Failure> {
        let (mut all, mut sum) = (Vec::new(), 0);
        while sum < bytes && !self.left_over.is_empty() {
            let ids: Vec<u64> = self.left_over.iter().take(TOGETHER).copied().collect();
            let mut found = self.read(&ids)?;
            self.give_back(&mut found)?;
            self.left_over.drain(..ids.len());
            for (id, found) in ids.iter().zip(found) {
                match found {
                    Some(kept) => {
                        sum += kept.record.len();
                        self.note_size(&kept);
                        all.push(kept);
                    }
                    None => self.forget(*id),
                }
            }
        }
        Ok(all)
    }

    fn bytes(&self) -> Option<u64> {
        Some(self.bytes)
    }

    fn tends(&self) -> Option<Duration> {
        match self.arrived.is_empty() {
            true => Some(TEND),
            false => Some(Duration::ZERO),
        }
    }

    fn tend(&mut self) -> Result<(), Failure> {
        let mut exchange = pipe();
        exchange.add_command(self.renewal()?);
        let heard = self.heard.clone().unwrap_or_default();
        exchange.cmd("XRANGE").arg(key("arrived"));
        exchange.arg(format!("({heard}")).arg("+");
        exchange.arg("COUNT").arg(HEARD_TOGETHER);
        let token = self.token()?;
        let answers: Vec<Value> = self.ask(&exchange)?;
        let mut answers = answers.into_iter();
        let state = answers
            .next()
            .and_then(|state| from_redis_value(state).ok());
        self.check_lease(state.unwrap_or(-1))?;
        self.hear(answers.next().unwrap_or(Value::Nil), token);
        self.report_arrivals(token)?;
        if Instant::now() >= self.look {
            self.look_at_others()?;
            self.look = Instant::now() + self.node.lease / RENEWALS;
        }
        Ok(())
    }

    fn news(&mut self) -> News {
        News {
            lost: std::mem::take(&mut self.lost),
            arrived: std::mem::take(&mut self.arrived_elsewhere),
            has_left_over: !self.left_over.is_empty(),
        }
    }

    fn tell_arrived(&mut self, hashes: &[u32]) {
        let room = MAX_ARRIVED - self.arrived.len();
        self.arrived.extend(hashes.iter().take(room));
    }

    fn find_senders(&mut self, names: &[SenderName]) -> Result<Vec<Option<String>>, Failure> {
        let mut exchange = pipe();
        for name in names {
            exchange.cmd("GET").arg(key(&format!("s:{name}")));
        }
        self.ask(&exchange)
    }

    fn leave(&mut self) {
        if let Some(token) = self.token {
            // If this fails, the lease ends by itself.
            let lease = key(&format!("lease:{token}"));
            let _: Result<Value, Failure> = self.ask(pipe().cmd("DEL").arg(lease));
        }
    }
}

/// What is in the store when the proxy starts.
#[derive(Debug, Default)]
pub struct Survey {
    /// The identities of requests that this node has lately accepted.
    pub taken: Vec<Bytes>,
    /// What the operator should know.
    pub notices: Vec<String>,
}

/// Looks at the server, before the proxy forks. One that cannot be reached is no error: it may
/// start later.
///
/// # Errors
/// The operator has to change something.
pub fn survey(server: &ServerAddress, node: &NodeSettings) -> Result<Survey, StoreError> {
    let not_now = |why: &dyn fmt::Display| Survey {
        notices: vec![format!(
            "the store {server} cannot be used now: {why}; new messages are refused with 503 until it can"
        )],
        ..Survey::default()
    };
    let failed = |failure: Failure| StoreError::of_server(server, failure.why);
    let mut connection = match server.connect() {
        Ok(connection) => connection,
        Err(error) if is_refused(&error) => {
            return Err(StoreError::of_server(server, error.to_string()));
        }
        Err(error) => return Ok(not_now(&error)),
    };
    check_key(&mut connection, &node.key_check).map_err(failed)?;
    let mut exchange = pipe();
    exchange
        .cmd("ZRANGEBYSCORE")
        .arg(key(&format!("taken:{}", node.name)));
    exchange.arg(format!("({}", unix_s())).arg("+inf");
    exchange.cmd("INFO").arg("persistence");
    exchange.cmd("INFO").arg("memory");
    let found: RedisResult<(Vec<Vec<u8>>, String, String)> = exchange.query(&mut connection);
    let (taken, persistence, memory) = match found {
        Ok(found) => found,
        Err(error) => return Ok(not_now(&error)),
    };
    let mut notices = Vec::new();
    if persistence.contains("aof_enabled:0") {
        notices.push(format!(
            "the store {server} lies in memory (appendonly no): what is in it is lost when that server ends"
        ));
    }
    if !memory.contains("maxmemory_policy:noeviction") && !memory.contains("maxmemory:0\r") {
        notices.push(format!(
            "the store {server} may drop messages when its memory is full: set its maxmemory-policy to noeviction"
        ));
    }
    let taken = taken.into_iter().map(Bytes::from).collect();
    Ok(Survey { taken, notices })
}

fn key(name: &str) -> String {
    format!("{PREFIX}{name}")
}

fn down(why: &str) -> Failure {
    Failure {
        why: why.to_owned(),
        refusal: Refusal::Down,
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// All nodes must derive their names from the same key.
fn check_key(connection: &mut Connection, own: &str) -> Result<(), Failure> {
    let known: Option<String> = cmd("GET").arg(key("key")).query(connection)?;
    let known = match known {
        Some(known) => known,
        None => {
            let mut exchange = pipe();
            exchange.cmd("SET").arg(key("key")).arg(own).arg("NX");
            exchange.cmd("GET").arg(key("key"));
            let (_, known): (Value, String) = exchange.query(connection)?;
            known
        }
    };
    match known == own {
        true => Ok(()),
        false => Err(down(
            "its nodes have different keys: give all of them the same id_key_file",
        )),
    }
}

/// The last report of arrivals.
fn last_arrival(connection: &mut Connection) -> Result<String, Failure> {
    let mut last = cmd("XREVRANGE");
    last.arg(key("arrived"))
        .arg("+")
        .arg("-")
        .arg("COUNT")
        .arg(1);
    let last = name_of_last(last.query(connection)?);
    Ok(last.unwrap_or_else(|| "0".to_owned()))
}

#[cfg(test)]
mod tests;
