//! The progress of each recipient, from the proxy's `cpm.session` over jsonrpcs.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::exit::Problem;
use crate::random::fill;
use crate::report::{Bar, Report};

/// Interval between questions.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// Time limit for one answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the recipients are watched once the sender is done.
const AFTERWARDS: Duration = Duration::from_secs(60);
/// How many questions in a row may go without an answer: a datagram may be lost, a busy proxy may
/// be late.
const MAX_UNANSWERED: u32 = 3;
/// Maximum length of an answer: a session with 10 000 legs.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// Final states of a leg.
const FINAL_STATES: [&str; 5] = ["delivered", "failed", "interworked", "over", "ended"];

/// A recipient in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Leg {
    pub(crate) uri: String,
    pub(crate) state: String,
    /// Bytes sent to it.
    pub(crate) written: u64,
    /// Bytes that it has confirmed.
    pub(crate) delivered: u64,
    pub(crate) total: u64,
    /// Status code of its failure.
    pub(crate) code: Option<u64>,
}

/// Why nothing could be watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WatchError {
    words: String,
    /// Whether the answer was an error.
    refused: bool,
}

/// There is no answer, or one of another program.
const WANTS_JSONRPCS: &str = "the proxy has to load jsonrpcs.so: with dgram_socket for udp: and unix:, with xhttp.so and \
    jsonrpc_dispatch() in event_route[xhttp:request] for http://; the socket of ctl.so, which kamcmd uses, speaks another language";
/// jsonrpcs exists, but reports an error.
const WANTS_MODULE: &str = "jsonrpcs is there, but does not serve this command: the proxy that --watch names has to be the one with cpm.so";

impl From<WatchError> for Problem {
    fn from(error: WatchError) -> Self {
        let advice = match error.refused {
            true => WANTS_MODULE,
            false => WANTS_JSONRPCS,
        };
        Self::local(format!("--watch: {}", error.words)).advise(advice)
    }
}

/// How to ask the proxy.
#[derive(Debug, Clone)]
enum Way {
    Http(String),
    Udp(String),
    Unix(PathBuf),
}

/// A thread that asks and draws.
pub(crate) struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<Result<Vec<Leg>, WatchError>>,
}

impl Watch {
    /// Watches the session with one of these identifiers: Call-ID, Contribution-ID.
    pub(crate) fn start(url: &str, names: Vec<String>, report: Report) -> Result<Self, String> {
        let way = Way::parse(url)?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut bars: HashMap<String, Bar> = HashMap::new();
            let mut last: Vec<Leg> = Vec::new();
            let mut sender_done: Option<Instant> = None;
            let mut session: Option<String> = None;
            let mut error: Option<WatchError> = None;
            let mut unanswered = 0;
            loop {
                if session.is_none() {
                    match find_session(&way, &names) {
                        Ok(found) => session = found,
                        // It may exist the next time; if it never does, this is the reason.
                        Err(failed) => error = Some(failed),
                    }
                }
                let mut over = match &session {
                    Some(id) => match way.ask("cpm.session", &[id]) {
                        Ok(answer) => {
                            unanswered = 0;
                            last = legs(&answer);
                            draw(&report, &mut bars, &last);
                            !last.is_empty() && last.iter().all(Leg::is_final)
                        }
                        // The proxy no longer knows it: the final result is unknown.
                        Err(failed) if failed.refused => true,
                        Err(failed) => {
                            error = Some(failed);
                            unanswered += 1;
                            unanswered == MAX_UNANSWERED
                        }
                    },
                    // Searched again after the sender was done, and not found.
                    None => sender_done.is_some(),
                };
                over |= sender_done.is_some_and(|since| since.elapsed() >= AFTERWARDS);
                if over {
                    bars.values().for_each(Bar::finish);
                    return match error {
                        Some(error) if last.is_empty() => Err(error),
                        _ => Ok(last),
                    };
                }
                match stopped.recv_timeout(ASK_AGAIN) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) => sender_done = Some(Instant::now()),
                    // Told to stop before: now it only waits.
                    Err(RecvTimeoutError::Disconnected) => thread::sleep(ASK_AGAIN),
                }
            }
        });
        Ok(Self { stop, thread })
    }

    /// The sender is done: waits for the recipients, and returns their last state.
    pub(crate) fn finish(self) -> Result<Vec<Leg>, WatchError> {
        // The thread may have ended by itself.
        let _ = self.stop.send(());
        drop(self.stop);
        self.thread
            .join()
            .unwrap_or_else(|_| Err(unanswered("the watcher has failed")))
    }
}

impl Leg {
    /// Its progress for people, with the code of a failure.
    pub(crate) fn standing(&self) -> String {
        let state = match self.state.as_str() {
            "waiting" => "to be called",
            "proceeding" => "ringing",
            other => other,
        };
        match self.code {
            Some(code) => format!("{state} ({code})"),
            None => state.to_owned(),
        }
    }

    /// Whether the message will not reach it.
    pub(crate) fn has_failed(&self) -> bool {
        self.state.eq_ignore_ascii_case("failed")
    }

    fn is_final(&self) -> bool {
        FINAL_STATES
            .iter()
            .any(|word| self.state.eq_ignore_ascii_case(word))
    }
}

fn draw(report: &Report, bars: &mut HashMap<String, Bar>, legs: &[Leg]) {
    for leg in legs {
        let bar = bars
            .entry(leg.uri.clone())
            .or_insert_with(|| report.bar(&leg.uri, leg.total));
        // A recipient may confirm nothing before the last byte.
        bar.set(leg.delivered.max(leg.written), leg.total);
        bar.note(&leg.standing());
        report.tell(json!({
            "event": "recipient", "uri": leg.uri, "state": leg.state, "code": leg.code,
            "written": leg.written, "delivered": leg.delivered, "total": leg.total,
        }));
    }
}

/// The session with one of these identifiers. If the list has only ids, each session is queried.
fn find_session(way: &Way, names: &[String]) -> Result<Option<String>, WatchError> {
    let answer = way.ask("cpm.sessions", &[])?;
    let mut objects = Vec::new();
    collect(&answer, &mut objects);
    let is_ours = |object: &Value| {
        let fields = object.as_object().into_iter().flatten();
        let mut texts = fields.filter_map(|(_, value)| value.as_str());
        texts.any(|text| names.iter().any(|name| name == text))
    };
    if let Some(id) = objects
        .iter()
        .find(|object| is_ours(object))
        .and_then(|one| id_of(one))
    {
        return Ok(Some(id));
    }
    let ids: Vec<String> = objects.iter().filter_map(|object| id_of(object)).collect();
    for id in ids {
        let Ok(session) = way.ask("cpm.session", &[&id]) else {
            continue;
        };
        let mut objects = Vec::new();
        collect(&session, &mut objects);
        if objects.iter().any(|object| is_ours(object)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

fn id_of(object: &Value) -> Option<String> {
    let id = ["id", "session"].iter().find_map(|name| object.get(name))?;
    match id {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// All objects in an answer, at any depth: versions differ in nesting.
fn collect<'a>(value: &'a Value, objects: &mut Vec<&'a Value>) {
    match value {
        Value::Object(fields) => {
            objects.push(value);
            fields.values().for_each(|value| collect(value, objects));
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, objects)),
        _ => {}
    }
}

/// The legs in an answer to `cpm.session`.
fn legs(answer: &Value) -> Vec<Leg> {
    let mut objects = Vec::new();
    collect(answer, &mut objects);
    let number = |object: &Value, name: &str| match object.get(name) {
        Some(Value::Number(number)) => number.as_u64().unwrap_or(0),
        Some(Value::String(text)) => text.parse().unwrap_or(0),
        _ => 0,
    };
    let total = objects
        .iter()
        .map(|object| number(object, "total"))
        .max()
        .unwrap_or(0);
    let word = |object: &Value, name: &str| {
        let word = object.get(name)?.as_str()?;
        (!matches!(word, "" | "-" | "none" | "pending")).then(|| word.to_owned())
    };
    objects
        .iter()
        .filter_map(|object| {
            let uri = object.get("uri")?.as_str()?.to_owned();
            let state = word(object, "state")?;
            // Its outcome is more informative than the state of its dialog.
            let state = word(object, "outcome").unwrap_or(state);
            let own = number(object, "total");
            Some(Leg {
                uri,
                state,
                written: number(object, "written"),
                delivered: number(object, "delivered"),
                total: if own == 0 { total } else { own },
                code: Some(number(object, "code")).filter(|code| *code > 0),
            })
        })
        .collect()
}

impl Way {
    fn parse(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("http" | "https", _)) => Ok(Self::Http(url.to_owned())),
            Some(("udp", address)) => Ok(Self::Udp(address.to_owned())),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            _ => Err(format!("--watch {url}: http://, udp: or unix: is wanted")),
        }
    }

    fn ask(&self, method: &str, parameters: &[&str]) -> Result<Value, WatchError> {
        let request = json!({
            "jsonrpc": "2.0", "method": method, "params": parameters, "id": 1,
        })
        .to_string();
        let answer = match self {
            Self::Http(url) => ask_http(url, &request).map_err(unanswered)?,
            Self::Udp(address) => {
                ask_udp(address, &request).map_err(|error| unanswered(io_words(address, &error)))?
            }
            Self::Unix(path) => ask_unix(path, &request)
                .map_err(|error| unanswered(io_words(&path.display(), &error)))?,
        };
        let mut answer: Value = serde_json::from_slice(&answer)
            .map_err(|error| unanswered(format!("what answers speaks no JSON-RPC: {error}")))?;
        if let Some(error) = answer.get("error") {
            let words = error
                .get("message")
                .and_then(Value::as_str)
                .unwrap_or("refused");
            return Err(WatchError {
                words: format!("{method}: {words}"),
                refused: true,
            });
        }
        Ok(answer
            .get_mut("result")
            .map(Value::take)
            .unwrap_or_default())
    }
}

fn unanswered(words: impl Into<String>) -> WatchError {
    WatchError {
        words: words.into(),
        refused: false,
    }
}

fn io_words(place: &dyn fmt::Display, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("{place}: no answer"),
        _ => format!("{place}: {error}"),
    }
}

fn ask_http(url: &str, request: &str) -> Result<Vec<u8>, String> {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(ANSWER_TIMEOUT))
        .http_status_as_error(false)
        .build()
        .into();
    let mut response = agent
        .post(url)
        .header("Content-Type", "application/json")
        .send(request)
        .map_err(|error| format!("{url}: {error}"))?;
    let body = response
        .body_mut()
        .with_config()
        .limit(MAX_ANSWER_BYTES as u64);
    body.read_to_vec().map_err(|error| error.to_string())
}

fn ask_udp(address: &str, request: &str) -> io::Result<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    socket.send(request.as_bytes())?;
    let mut answer = vec![0; 65_535];
    let count = socket.recv(&mut answer)?;
    answer.truncate(count);
    Ok(answer)
}

/// The proxy answers to the source of the question, so our end needs a name too.
fn ask_unix(path: &PathBuf, request: &str) -> io::Result<Vec<u8>> {
    let own = std::env::temp_dir().join(format!("cpm-client-{}", cpm_client::token(fill)));
    let socket = UnixDatagram::bind(&own)?;
    let answer = (|| {
        socket.connect(path)?;
        socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        socket.send(request.as_bytes())?;
        let mut answer = vec![0; MAX_ANSWER_BYTES];
        let count = socket.recv(&mut answer)?;
        answer.truncate(count);
        Ok(answer)
    })();
    let _ = std::fs::remove_file(&own);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::ProgressKind;

    #[test]
    fn legs_are_found_however_they_are_nested() {
        let flat = json!({ "id": "s1", "total": 100, "legs": [
            { "uri": "sip:a", "state": "sending", "delivered": 40, "total": 100 },
            { "uri": "sip:b", "state": "Delivered", "delivered": "100" },
            { "uri": "sip:c", "state": "over", "outcome": "failed", "code": 486 },
        ]});
        let nested = json!([{ "session": flat.clone() }]);
        for answer in [flat, nested] {
            let legs = legs(&answer);
            assert_eq!(legs.len(), 3);
            assert_eq!((legs[0].delivered, legs[0].is_final()), (40, false));
            assert_eq!(
                (legs[1].delivered, legs[1].total, legs[1].is_final()),
                (100, 100, true)
            );
            assert!(legs[2].has_failed() && legs[2].is_final());
            assert_eq!(legs[2].standing(), "failed (486)");
        }
        assert_eq!(legs(&json!("nothing")), []);
    }

    #[test]
    fn a_sender_who_was_quick_still_sees_its_recipients() {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
        let url = format!("udp:{}", server.local_addr().expect("it is bound"));
        let states = ["proceeding", "", "sending", "delivered"];
        let proxy = thread::spawn(move || {
            let mut buffer = [0; 2_000];
            let mut states = states.into_iter();
            loop {
                let (length, from) = server.recv_from(&mut buffer).expect("it is asked");
                let request: Value =
                    serde_json::from_slice(&buffer[..length]).expect("it is JSON-RPC");
                let result = match request["method"].as_str() {
                    Some("cpm.sessions") => json!([{ "id": "s1", "call_id": "mine" }]),
                    _ => match states.next().expect("nobody asks once all is over") {
                        // An answer that gets lost.
                        "" => continue,
                        state => json!({ "legs": [{ "uri": "sip:a", "state": state }] }),
                    },
                };
                let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": result }).to_string();
                server.send_to(answer.as_bytes(), from).expect("it is sent");
                if states.len() == 0 {
                    return;
                }
            }
        });
        let names = vec!["mine".to_owned()];
        let watch = Watch::start(&url, names, Report::new(false, ProgressKind::None))
            .expect("a way to ask");
        let legs = watch.finish().expect("it was answered");
        assert_eq!(legs.len(), 1);
        assert_eq!(legs[0].state, "delivered");
        proxy.join().expect("all was asked");
    }

    #[test]
    fn ways_to_ask() {
        assert!(matches!(Way::parse("http://a/RPC"), Ok(Way::Http(_))));
        assert!(matches!(Way::parse("udp:127.0.0.1:8080"), Ok(Way::Udp(_))));
        assert!(matches!(Way::parse("unix:/run/k.sock"), Ok(Way::Unix(_))));
        assert!(Way::parse("/run/k.sock").is_err());
    }
}
