//! `chat`: a conversation in the terminal. Each line becomes a message; incoming messages are shown
//! above the line being typed, and their senders are notified.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, IsTerminal as _, Write as _, stdin, stdout};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver as Lines, Sender as LineSender, SyncSender};
use std::thread;
use std::time::{Instant, SystemTime};

use bytes::BytesMut;
use cpm_client::{
    Credentials, Destination, Draft, Outgoing, PAGER_MAX_BYTES, Received, Receiver, ReceiverConfig,
    ReceiverEvent, RegistrationConfig, Sender, SenderConfig, SenderEvent, SenderOutput, SizeOf,
    Way,
};
use cpm_wire::cpim::CpimMessage;
use cpm_wire::imdn::{Disposition, Notification, Notifications};
use cpm_wire::locating::Wanted;
use cpm_wire::resource_lists::CopyControl;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{HeaderName, Message};
use mio::Waker;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};

use crate::args::Chat;
use crate::content::{self, ReceivedPart};
use crate::exit::{Exit, Problem};
use crate::incoming::Incoming;
use crate::login::{credentials, trust};
use crate::net::{Net, NetEvent, Tap};
use crate::profile::Contacts;
use crate::random::fill;
use crate::recipients::{reach, with_role};
use crate::report::visible;
use crate::send::{MSRP, open_first, server_for, ways};
use crate::store;

const PROMPT: &str = "> ";
/// Lifetime of a registration, in seconds.
const REGISTRATION_S: u32 = 600;
/// Maximum number of messages waiting to be sent.
const MAX_WAITING: usize = 64;
/// Number of our messages whose notifications are still recognised.
const MAX_REMEMBERED: usize = 256;
/// Maximum length of an accepted message, in bytes.
const MAX_SIZE: u64 = 100 << 20;
/// Content bytes of an MSRP chunk.
const CHUNK_BYTES: usize = 65_536;
const HELP: &str =
    "A line is a message. /file PATH sends a file, /who says who is here, /quit ends.";

/// User input.
enum Typed {
    Line(String),
    /// Ctrl-D, Ctrl-C, or the end of the input.
    End,
}

/// Runs until the user ends it.
pub(crate) fn run(arguments: &Chat, contacts: &Contacts, tap: Tap) -> Result<(), Problem> {
    let via = match arguments.via.as_deref() {
        Some([kind, uri]) => Some((kind.as_str(), uri.clone())),
        _ => None,
    };
    let to = arguments.to.iter();
    let recipients = to.map(|uri| with_role(uri, Some(CopyControl::To)));
    let destination = reach(via, recipients.collect())?;
    let server = server_for(&arguments.server, destination.address())?;
    let mut net = Net::new(trust(&arguments.server)?, &server.host, tap)?;
    let listening = net.listen_sip(arguments.listen).map_err(|error| {
        Problem::local(format!("{}: {error}", arguments.listen)).advise("choose another --listen")
    })?;
    // A conversation has small and large messages: a connection carries both.
    let mut groups = ways(&server, &arguments.server, Wanted::Large)?;
    let (way, local) = open_first(&mut groups, &mut net, None, Some(listening))?;
    let msrp = net.listen_msrp(SocketAddr::new(listening.ip(), 0), None)?;
    let credentials = credentials(&arguments.login, &arguments.from)?;
    let receiver = ReceiverConfig {
        address: arguments.from.clone(),
        local: listening.into(),
        credentials: credentials.clone(),
        registration: arguments
            .register
            .as_ref()
            .map(|registrar| RegistrationConfig {
                registrar: registrar.clone(),
                expires: REGISTRATION_S,
            }),
        outbound: vec![way],
        asserted: arguments.assert.clone(),
        msrp,
        msrp_transport: Transport::Tcp,
        fingerprint: None,
        max_size: MAX_SIZE,
        reject: None,
        oma_release: arguments.oma_release.clone(),
    };
    let (screen, lines, ready) = Screen::open(net.waker())?;
    let mut talk = Talk {
        net,
        incoming: Incoming::new(Receiver::new(receiver, fill)),
        arguments,
        contacts,
        destination,
        way,
        local,
        msrp,
        credentials,
        screen,
        ready,
        current: None,
        waiting: VecDeque::new(),
        conversation: None,
        last_contribution: None,
        numbers: HashMap::new(),
        count: 0,
        ending: false,
        stopped: None,
    };
    talk.until_ended(&lines)
}

/// Output while a line is being typed.
struct Screen(Option<Box<dyn ExternalPrinter + Send>>);

impl Screen {
    /// Starts reading lines on a thread of its own, which wakes the other one. It reads the next
    /// line when told to.
    fn open(waker: Arc<Waker>) -> Result<(Self, Lines<Typed>, SyncSender<()>), Problem> {
        let (sender, lines) = mpsc::channel();
        let (ready, asked) = mpsc::sync_channel(1);
        if !stdin().is_terminal() {
            thread::spawn(move || {
                for line in stdin().lock().lines().map_while(Result::ok) {
                    tell(&sender, &waker, Typed::Line(line));
                    if asked.recv().is_err() {
                        return;
                    }
                }
                tell(&sender, &waker, Typed::End);
            });
            return Ok((Self(None), lines, ready));
        }
        let problem = |error: ReadlineError| Problem::local(format!("the terminal: {error}"));
        let mut editor = DefaultEditor::new().map_err(problem)?;
        let printer = editor.create_external_printer().map_err(problem)?;
        thread::spawn(move || {
            while let Ok(line) = editor.readline(PROMPT) {
                // A line missing from the history is harmless.
                let _ = editor.add_history_entry(&line);
                tell(&sender, &waker, Typed::Line(line));
                if asked.recv().is_err() {
                    return;
                }
            }
            tell(&sender, &waker, Typed::End);
        });
        Ok((Self(Some(Box::new(printer))), lines, ready))
    }

    fn say(&mut self, words: &str) {
        let line = format!("{words}\n");
        // The output is closed: nothing to be done.
        let _ = match &mut self.0 {
            Some(printer) => printer.print(line).map_err(|_| ()),
            None => stdout().write_all(line.as_bytes()).map_err(|_| ()),
        };
    }
}

fn tell(lines: &LineSender<Typed>, waker: &Waker, typed: Typed) {
    // The conversation may have ended.
    let _ = lines.send(typed);
    let _ = waker.wake();
}

/// A message in progress.
struct Sending {
    sender: Sender,
    number: usize,
    input: BytesMut,
    /// The last quarter reported.
    told: u64,
    is_done: bool,
}

struct Talk<'a> {
    net: Net,
    incoming: Incoming,
    arguments: &'a Chat,
    contacts: &'a Contacts,
    destination: Destination,
    way: Way,
    local: SocketAddr,
    msrp: SocketAddr,
    credentials: Option<Credentials>,
    screen: Screen,
    /// Lets the next line be typed.
    ready: SyncSender<()>,
    /// The last message; it is kept when done, to answer retransmissions.
    current: Option<Sending>,
    waiting: VecDeque<(usize, Outgoing)>,
    conversation: Option<String>,
    /// The Contribution-ID that the next message replies to.
    last_contribution: Option<String>,
    /// Our messages by their Message-ID.
    numbers: HashMap<String, usize>,
    count: usize,
    ending: bool,
    stopped: Option<Result<(), Problem>>,
}

impl Talk<'_> {
    fn until_ended(&mut self, lines: &Lines<Typed>) -> Result<(), Problem> {
        self.incoming.receiver.start(Instant::now());
        let with = self.others();
        let listening = self.arguments.listen;
        let place = match listening.port() {
            0 => String::new(),
            _ => format!(" Others reach you on {listening}."),
        };
        self.screen
            .say(&format!("Talking to {with}.{place} {HELP}"));
        loop {
            while let Ok(typed) = lines.try_recv() {
                self.take_typed(typed);
            }
            self.carry_out()?;
            if let Some(result) = self.stopped.take() {
                return result;
            }
            let mut timeouts = [
                self.incoming.receiver.poll_timeout(),
                self.current
                    .as_ref()
                    .and_then(|one| one.sender.poll_timeout()),
            ];
            timeouts.sort();
            let until = timeouts.into_iter().flatten().next();
            let events = self.net.wait(until)?;
            let now = Instant::now();
            for event in events {
                self.handle(now, event);
            }
            self.incoming.receiver.handle_timeout(now);
            if let Some(one) = &mut self.current {
                one.sender.handle_timeout(now);
            }
        }
    }

    fn take_typed(&mut self, typed: Typed) {
        let line = match typed {
            Typed::Line(line) => line,
            Typed::End => return self.end(),
        };
        let line = line.trim();
        match line.split_once(' ').unwrap_or((line, "")) {
            ("", _) => {}
            ("/quit", _) => return self.end(),
            ("/file", path) => self.send(None, &[PathBuf::from(path.trim())]),
            ("/who", _) => self.say_who(),
            (command, _) if command.starts_with('/') => self.screen.say(HELP),
            _ => self.send(Some(line), &[]),
        }
        // The thread may have ended.
        let _ = self.ready.try_send(());
    }

    /// Ends once everything typed is sent.
    fn end(&mut self) {
        self.ending = true;
    }

    fn say_who(&mut self) {
        let words = format!("  {}", self.others());
        self.screen.say(&words);
    }

    /// The other participants.
    fn others(&self) -> String {
        match (&self.destination, self.destination.list()) {
            (_, Some(list)) => {
                let names = list.iter().map(|one| self.contacts.name(&one.uri));
                names.collect::<Vec<_>>().join(", ")
            }
            (Destination::One(uri), _) => self.contacts.name(uri).to_owned(),
            (group, _) => group.address().to_owned(),
        }
    }

    fn send(&mut self, text: Option<&str>, files: &[PathBuf]) {
        if self.waiting.len() == MAX_WAITING {
            return self
                .screen
                .say("  too much waits to be sent: try again later");
        }
        match self.prepare(text, files) {
            Ok(outgoing) => {
                self.count += 1;
                self.conversation
                    .get_or_insert_with(|| outgoing.conversation_id.clone());
                if self.numbers.len() == MAX_REMEMBERED {
                    let oldest = self.count.saturating_sub(MAX_REMEMBERED);
                    self.numbers.retain(|_, number| *number > oldest);
                }
                self.numbers.insert(outgoing.message_id.clone(), self.count);
                self.waiting.push_back((self.count, outgoing));
            }
            Err(problem) => self.screen.say(&format!("  {problem}")),
        }
    }

    fn prepare(&self, text: Option<&str>, files: &[PathBuf]) -> Result<Outgoing, Problem> {
        let parts = content::parts(text, files, None)?;
        let draft = Draft {
            display_name: self.arguments.name.clone(),
            asserted: self.arguments.assert.clone(),
            notifications: Notifications {
                delivered: true,
                failed: true,
                displayed: true,
                interworked: false,
            },
            conversation_id: self.conversation.clone(),
            in_reply_to: self.last_contribution.clone(),
            oma_release: self.arguments.oma_release.clone(),
            ..Draft::new(&self.arguments.from, self.destination.clone(), parts)
        };
        Ok(draft.prepare(PAGER_MAX_BYTES, SizeOf::Cpim, SystemTime::now(), fill)?)
    }

    /// Carries out the actions of the state machines, and starts the next message when the last one
    /// is done.
    fn carry_out(&mut self) -> Result<(), Problem> {
        while let Some(event) = self.incoming.poll_event(&mut self.net) {
            self.show(event)?;
        }
        loop {
            self.carry_out_sending();
            if self.current.as_ref().is_some_and(|one| !one.is_done) {
                return Ok(());
            }
            let Some((number, outgoing)) = self.waiting.pop_front() else {
                break;
            };
            let config = SenderConfig {
                way: self.way,
                local: self.local,
                credentials: self.credentials.clone(),
                msrp: self.msrp,
                msrp_transport: Transport::Tcp,
                fingerprint: None,
                chunk_bytes: CHUNK_BYTES,
                has_next: false,
            };
            let mut sender = Sender::new(config, outgoing, fill);
            sender.start(Instant::now());
            self.current = Some(Sending {
                sender,
                number,
                input: BytesMut::new(),
                told: 0,
                is_done: false,
            });
        }
        if self.ending {
            self.ending = false;
            self.incoming.receiver.stop(Instant::now());
            while let Some(event) = self.incoming.poll_event(&mut self.net) {
                self.show(event)?;
            }
        }
        Ok(())
    }

    fn carry_out_sending(&mut self) {
        let Some(one) = &mut self.current else {
            return;
        };
        let mut lines = Vec::new();
        while let Some(output) = one.sender.poll_output() {
            match output {
                SenderOutput::Sip(way, bytes) => self.net.send_sip(way, &bytes),
                SenderOutput::ConnectMsrp(target) => self.net.connect_msrp(MSRP, &target),
                SenderOutput::CloseMsrp => self.net.close_msrp(MSRP),
                SenderOutput::Event(event) => lines.extend(one.take(event)),
            }
        }
        while self.net.msrp_has_room(MSRP)
            && let Some(bytes) = one.sender.poll_msrp(Instant::now())
        {
            self.net.send_msrp(MSRP, &bytes);
        }
        for line in lines {
            self.screen.say(&line);
        }
    }

    fn handle(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Sip(message, way) => self.handle_sip(now, message, way),
            NetEvent::SipBroken(way, broken) => {
                self.incoming
                    .receiver
                    .handle_way_lost(now, way, &broken.words);
                if way == self.way
                    && let Some(one) = &mut self.current
                    && !one.is_done
                {
                    one.sender.handle_sip_failed(now, &broken.words);
                }
            }
            NetEvent::MsrpOpen(MSRP) => {
                if let Some(one) = &mut self.current {
                    one.sender.handle_msrp_connected(now);
                }
            }
            NetEvent::MsrpBytes(MSRP, bytes) => {
                if let Some(one) = &mut self.current {
                    one.input.extend_from_slice(&bytes);
                    one.sender.handle_msrp_bytes(now, &mut one.input);
                }
            }
            NetEvent::MsrpBroken(MSRP, broken) => {
                if let Some(one) = &mut self.current {
                    one.sender.handle_msrp_failed(now, &broken.words);
                }
            }
            NetEvent::Interrupted => self.end(),
            event => self.incoming.handle_msrp(now, &mut self.net, event),
        }
    }

    /// A response goes to the sender of its request, a request to its session.
    fn handle_sip(&mut self, now: Instant, message: Message, way: Way) {
        let call_id = message.first(HeaderName::CallId);
        let call_id = call_id.and_then(|field| field.text().ok());
        let is_senders = self
            .current
            .as_ref()
            .is_some_and(|one| message.method().is_none() || call_id == Some(one.sender.call_id()));
        if is_senders && let Some(one) = &mut self.current {
            one.sender.handle_sip(now, message.clone(), way);
        }
        if message.method().is_none() || !is_senders {
            self.incoming.receiver.handle_sip(now, message, way);
        }
    }

    fn show(&mut self, event: ReceiverEvent) -> Result<(), Problem> {
        match event {
            ReceiverEvent::NotRegistered {
                failure,
                again: None,
            } => self.stopped = Some(Err(failure.into())),
            ReceiverEvent::NotRegistered {
                failure,
                again: Some(later),
            } => {
                let seconds = later.as_secs();
                self.screen.say(&format!(
                    "  not registered any more: {failure}; again in {seconds} s"
                ));
            }
            ReceiverEvent::Announced { from, bytes, .. } => {
                let size = bytes.map_or(String::new(), |size| format!(" of {size} bytes"));
                let from = visible(self.contacts.name(&from));
                self.screen.say(&format!("  {from} sends a message{size}"));
            }
            ReceiverEvent::Message { received, .. } => {
                self.take_message(&received)?;
                let (now, time) = (Instant::now(), SystemTime::now());
                for what in [Disposition::Delivered, Disposition::Displayed] {
                    self.incoming.receiver.notify(now, &received, what, time);
                }
            }
            ReceiverEvent::Notification(notification) => self.take_notification(&notification),
            ReceiverEvent::Failed { words, .. } => {
                self.screen
                    .say(&format!("  a message has not come: {words}"));
            }
            ReceiverEvent::Stopped => {
                self.stopped.get_or_insert(Ok(()));
            }
            ReceiverEvent::Registered { .. }
            | ReceiverEvent::Progress { .. }
            | ReceiverEvent::Notified { .. }
            | ReceiverEvent::Repeated { .. }
            | ReceiverEvent::Refused(_) => {}
        }
        Ok(())
    }

    fn take_message(&mut self, received: &Received) -> Result<(), Problem> {
        let object = &received.object;
        let field = |name: &str| object.field(name).map(str::to_owned);
        // Whoever begins, the other side continues the same conversation.
        if self.conversation.is_none() {
            self.conversation = field("Conversation-ID");
        }
        self.last_contribution = field("Contribution-ID");
        let cpim = CpimMessage::parse(&object.body).ok();
        let from = object
            .uri("Referred-By")
            .or_else(|| object.uri("P-Asserted-Identity"))
            .or_else(|| object.uri("From"))
            .unwrap_or("somebody");
        let from = visible(self.contacts.name(from));
        if let Some(subject) = cpim.as_ref().and_then(|cpim| cpim.field("Subject")) {
            let subject = visible(subject);
            self.screen.say(&format!("{from}: [{subject}]"));
        }
        let parts = ReceivedPart::of(object);
        let folder = self.arguments.store.as_deref();
        let file = match folder {
            Some(folder) => Some(store::keep(folder, object)?),
            None => None,
        };
        for part in &parts {
            match part.text() {
                Some(text) => {
                    for line in text.lines() {
                        self.screen.say(&format!("{from}: {}", visible(line)));
                    }
                }
                None => {
                    let place = file.as_deref().unwrap_or(Path::new("received.cpm"));
                    let kept = store::keep_parts(place, std::slice::from_ref(part))?;
                    let kept = kept.iter().map(|file| file.display().to_string());
                    self.screen.say(&format!(
                        "{from}: ({} bytes, {}, kept as {})",
                        part.content.len(),
                        visible(&part.content_type),
                        kept.collect::<String>()
                    ));
                }
            }
        }
        Ok(())
    }

    fn take_notification(&mut self, notification: &Notification) {
        let Some(number) = self.numbers.get(&notification.message_id) else {
            return;
        };
        let who = notification.recipient.as_deref().unwrap_or("somebody");
        let who = visible(self.contacts.name(who));
        let what = notification.disposition.as_str();
        self.screen.say(&format!("  #{number} {who}: {what}"));
    }
}

impl Sending {
    /// A description of its result.
    fn take(&mut self, event: SenderEvent) -> Option<String> {
        let number = self.number;
        match event {
            SenderEvent::Provisional(_) | SenderEvent::Accepted { .. } => None,
            SenderEvent::Progress(bytes, total) => {
                let quarter = bytes.saturating_mul(4).checked_div(total).unwrap_or(4);
                if quarter <= self.told {
                    return None;
                }
                self.told = quarter;
                Some(format!("  #{number} {} % of {total} bytes", quarter * 25))
            }
            SenderEvent::Done(result) => {
                self.is_done = true;
                Some(match result {
                    Ok(_) => format!("  #{number} sent"),
                    Err(failure) => {
                        let problem = Problem::from(failure);
                        let advice = match problem.exit {
                            Exit::Cancelled => String::new(),
                            _ => problem.to_string(),
                        };
                        format!("  #{number} not sent: {advice}")
                    }
                })
            }
        }
    }
}
