//! `send`

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use cpm_client::{
    Credentials, Draft, Failure, Mode, Outgoing, Receiver, ReceiverConfig, RegistrationConfig,
    Sender, SenderConfig, SenderEvent, SenderOutput, Sent, SessionExpires, SipTransport, SizeOf,
    Way,
};
use cpm_wire::imdn::Notifications;
use cpm_wire::locating::Wanted;
use cpm_wire::msrp_session::ConnectionId;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::{Message, StatusCode, Uri};
use serde_json::json;

use crate::args::{Msrp, Notify, PagerSizeOf, Send, ServerArguments, SessionExpiresKind};
use crate::content;
use crate::exit::{Exit, Problem};
use crate::login::{credentials, trust};
use crate::net::{Net, NetEvent, Server, Tap};
use crate::notifications::Waiting;
use crate::random::fill;
use crate::recipients::destination;
use crate::report::{Bar, Report};
use crate::store;
use crate::watch::Watch;

/// RFC 3261 §18.1.1: larger requests go over TCP.
const MAX_UDP_REQUEST_BYTES: usize = 1300;
/// A registration lives this much longer, in seconds, than notifications are waited for: sending
/// takes time, too.
const MIN_REGISTRATION_S: u32 = 600;
/// The one MSRP connection of a sender.
pub(crate) const MSRP: ConnectionId = ConnectionId(u64::MAX);

/// Sends one message.
pub(crate) fn run(arguments: &Send, tap: Tap, report: &Report) -> Result<(), Problem> {
    let outgoing = prepare(arguments, report)?;
    let server = server_for(&arguments.server, outgoing.destination().address())?;
    let trust = trust(&arguments.server)?;
    let mut net = Net::new(trust, &server.host, tap)?;
    let listening = match arguments.listen {
        Some(address) => Some(net.listen_sip(address).map_err(|error| {
            Problem::local(format!("{address}: {error}")).advise("choose another --listen")
        })?),
        None => None,
    };
    let mut servers = Servers {
        groups: ways(
            &server,
            &arguments.server,
            carrier(outgoing.request_bytes()),
        )?,
        arguments,
        credentials: credentials(&arguments.login, &arguments.from)?,
        listening,
    };
    let end = servers.open_next(&mut net)?;
    let waiting = servers.waiting(&end, &outgoing);
    let config = servers.sender_config(&end);
    let mode = match outgoing.mode {
        Mode::Pager => "pager",
        Mode::Large => "large",
    };
    report.tell(json!({
        "event": "sending", "mode": mode, "to": outgoing.destination().address(),
        "bytes": outgoing.cpim.len(), "transport": end.way.transport.as_str(),
        "conversation_id": outgoing.conversation_id, "contribution_id": outgoing.contribution_id,
    }));
    let mut run = Run {
        net,
        way: end.way,
        servers,
        sender: Sender::new(config, outgoing, fill),
        report,
        arguments,
        input: BytesMut::new(),
        bar: None,
        watch: None,
        is_watched: false,
        waiting,
        certificate: None,
        interrupts: 0,
    };
    let result = run.until_done();
    if let Some(bar) = &run.bar {
        bar.finish();
    }
    let result = result?;
    run.finish(result)
}

/// The servers not tried yet, and data for requests to them.
struct Servers<'a> {
    groups: VecDeque<Vec<Way>>,
    arguments: &'a Send,
    credentials: Option<Credentials>,
    listening: Option<SocketAddr>,
}

/// Our end of the route to a server.
struct End {
    way: Way,
    local: SocketAddr,
    msrp: SocketAddr,
}

struct Run<'a> {
    net: Net,
    /// The route to the server.
    way: Way,
    servers: Servers<'a>,
    sender: Sender,
    report: &'a Report,
    arguments: &'a Send,
    input: BytesMut,
    bar: Option<Bar>,
    watch: Option<Watch>,
    /// Whether that has been tried.
    is_watched: bool,
    waiting: Option<Waiting>,
    /// An invalid certificate, which is worse than a lost connection.
    certificate: Option<Problem>,
    interrupts: usize,
}

impl Run<'_> {
    fn until_done(&mut self) -> Result<Result<Sent, Problem>, Problem> {
        let mut is_started = false;
        loop {
            let listening = self
                .waiting
                .as_mut()
                .map(|waiting| waiting.carry_out(&mut self.net, self.report));
            if let Some(Err(failure)) = listening {
                if self.goes_elsewhere(&failure) {
                    is_started = false;
                    continue;
                }
                return Err(failure.into());
            }
            if !is_started && self.waiting.as_ref().is_none_or(Waiting::is_ready) {
                is_started = true;
                self.sender.start(Instant::now());
            }
            let done = self.carry_out();
            if let Some(Err(failure)) = &done
                && self.goes_elsewhere(failure)
            {
                is_started = false;
                continue;
            }
            if let Some(result) = done {
                return Ok(result.map_err(|failure| match self.certificate.take() {
                    Some(problem) => problem,
                    None => failure.into(),
                }));
            }
            let events = self.net.wait(self.poll_timeout())?;
            let now = Instant::now();
            for event in events {
                self.handle(now, event);
                if self.interrupts > 1 {
                    return Err(
                        Problem::local("stopped at once, without a word to the server")
                            .with(Exit::Cancelled),
                    );
                }
            }
            self.handle_timeout(now);
        }
    }

    /// Starts again with the next server, if there is one and this failure allows it.
    fn goes_elsewhere(&mut self, failure: &Failure) -> bool {
        let is_over = self.interrupts > 0 || self.certificate.is_some();
        if is_over || !self.sender.may_go_elsewhere(failure) {
            return false;
        }
        let Ok(end) = self.servers.open_next(&mut self.net) else {
            return false;
        };
        let (transport, address) = (end.way.transport.as_str(), end.way.address);
        self.report.say(
            &format!("{failure}; asking {transport} {address}"),
            json!({
                "event": "next-server", "transport": transport, "address": address.to_string(),
                "message": failure.to_string(),
            }),
        );
        self.way = end.way;
        self.waiting = self.servers.waiting(&end, self.sender.outgoing());
        self.sender.elsewhere(self.servers.sender_config(&end));
        true
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let waiting = self.waiting.as_ref().and_then(Waiting::poll_timeout);
        [self.sender.poll_timeout(), waiting]
            .into_iter()
            .flatten()
            .min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.sender.handle_timeout(now);
        if let Some(waiting) = &mut self.waiting {
            waiting.handle_timeout(now);
        }
    }

    /// Carries out the actions of the state machine. `Some`: it is done.
    fn carry_out(&mut self) -> Option<Result<Sent, Failure>> {
        let mut done = None;
        while let Some(output) = self.sender.poll_output() {
            match output {
                SenderOutput::Sip(way, bytes) => self.net.send_sip(way, &bytes),
                SenderOutput::ConnectMsrp(target) => self.net.connect_msrp(MSRP, &target),
                SenderOutput::CloseMsrp => self.net.close_msrp(MSRP),
                SenderOutput::Event(SenderEvent::Done(result)) => done = Some(result),
                SenderOutput::Event(event) => self.show(event),
            }
        }
        while self.net.msrp_has_room(MSRP)
            && let Some(bytes) = self.sender.poll_msrp(Instant::now())
        {
            self.net.send_msrp(MSRP, &bytes);
        }
        done
    }

    fn handle(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Sip(message, way) => self.handle_sip(now, message, way),
            NetEvent::SipBroken(way, broken) => {
                if let Some(waiting) = &mut self.waiting {
                    waiting.handle_sip_broken(now, way, &broken.words);
                }
                if way != self.way {
                    return;
                }
                if broken.is_certificate {
                    self.certificate = Some(Problem::certificate(&broken.words));
                }
                self.sender.handle_sip_failed(now, &broken.words);
            }
            NetEvent::MsrpOpen(MSRP) => self.sender.handle_msrp_connected(now),
            NetEvent::MsrpBytes(MSRP, bytes) => {
                self.input.extend_from_slice(&bytes);
                self.sender.handle_msrp_bytes(now, &mut self.input);
            }
            NetEvent::MsrpBroken(MSRP, broken) => {
                if broken.is_certificate {
                    self.certificate = Some(Problem::certificate(&broken.words));
                }
                self.sender.handle_msrp_failed(now, &broken.words);
            }
            // The client is the active end: incoming connections are not expected.
            NetEvent::MsrpAccepted(id) => self.net.close_msrp(id),
            NetEvent::MsrpOpen(_) | NetEvent::MsrpBytes(..) | NetEvent::MsrpBroken(..) => {}
            NetEvent::Interrupted => {
                self.interrupts += 1;
                self.sender.cancel(now);
            }
        }
    }

    fn show(&mut self, event: SenderEvent) {
        match event {
            SenderEvent::Provisional(code) => {
                self.report
                    .tell(json!({ "event": "provisional", "code": code }));
                self.watch();
            }
            SenderEvent::Accepted { call_id } => {
                self.report
                    .tell(json!({ "event": "accepted", "call_id": call_id }));
                let outgoing = self.sender.outgoing();
                let total = outgoing.cpim.len() as u64;
                let mut bar = self.report.bar("sent", total);
                bar.set(0, total);
                self.bar = Some(bar);
                self.watch();
            }
            SenderEvent::Progress(bytes, total) => {
                if let Some(bar) = &mut self.bar {
                    bar.set(bytes, total);
                }
                self.report
                    .tell(json!({ "event": "progress", "bytes": bytes, "total": total }));
            }
            SenderEvent::Done(_) => {}
        }
    }

    /// Watches the recipients from now on, if requested.
    fn watch(&mut self) {
        let Some(url) = self.arguments.watch.as_ref().filter(|_| !self.is_watched) else {
            return;
        };
        self.is_watched = true;
        let contribution = &self.sender.outgoing().contribution_id;
        let names = vec![self.sender.call_id().to_owned(), contribution.clone()];
        match Watch::start(url, names, self.report.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(words) => self.report.problem(&Problem::local(words)),
        }
    }

    /// A response goes to the sender of its request; MESSAGE and OPTIONS go to the listener for
    /// notifications, and requests of the session to the sender.
    fn handle_sip(&mut self, now: Instant, message: Message, way: Way) {
        let method = message.method();
        match &mut self.waiting {
            Some(waiting) if matches!(method, Some("MESSAGE" | "OPTIONS")) => {
                waiting.handle_sip(now, message, way);
            }
            Some(waiting) if method.is_none() => {
                waiting.handle_sip(now, message.clone(), way);
                self.sender.handle_sip(now, message, way);
            }
            _ => self.sender.handle_sip(now, message, way),
        }
    }

    /// Reports the result, stores the copy, and waits for notifications.
    fn finish(mut self, result: Result<Sent, Problem>) -> Result<(), Problem> {
        let told = result.as_ref().map_or(Ok(()), |sent| self.tell_sent(sent));
        if let Some(waiting) = &mut self.waiting {
            waiting.tell_early(self.report);
        }
        let waited = match &result {
            Ok(_) => {
                let patience = self.waiting.as_ref().map(Waiting::patience);
                let waited = self.wait_for_notifications(patience.unwrap_or_default());
                if let (Ok(()), Some(waiting)) = (&waited, &self.waiting) {
                    waiting.summarize(self.report);
                }
                told.and(waited)
            }
            // Only signs off.
            Err(_) => self.wait_for_notifications(Duration::ZERO),
        };
        // Pending output to MSRP and SIP peers, such as the answer to the last BYE, has been sent:
        // sockets close here.
        let Self {
            net,
            report,
            watch,
            waiting,
            ..
        } = self;
        drop(net);
        let legs = watch.map(Watch::finish);
        result.and(waited)?;
        let mut failed = waiting.as_ref().map_or(0, Waiting::failed);
        match legs {
            Some(Ok(legs)) => {
                failed = failed.max(legs.iter().filter(|leg| leg.has_failed()).count());
                for leg in legs {
                    let standing = leg.standing();
                    let words = match leg.total {
                        0 => format!("  {}: {standing}", leg.uri),
                        total => format!(
                            "  {}: {standing}, {} of {total} bytes",
                            leg.uri, leg.delivered
                        ),
                    };
                    report.say(
                        &words,
                        json!({
                            "event": "recipient-end", "uri": leg.uri, "state": leg.state,
                            "code": leg.code, "delivered": leg.delivered, "total": leg.total,
                        }),
                    );
                }
            }
            Some(Err(error)) => report.problem(&error.into()),
            None => {}
        }
        match failed {
            0 => Ok(()),
            1 => Err(Problem::local("one recipient has not got it").with(Exit::Partly)),
            _ => Err(
                Problem::local(format!("{failed} recipients have not got it")).with(Exit::Partly),
            ),
        }
    }

    /// Waits until everybody has sent all notifications, the time is up, or Ctrl-C.
    fn wait_for_notifications(&mut self, patience: Duration) -> Result<(), Problem> {
        let mut until = Instant::now().checked_add(patience);
        loop {
            // Answers retransmissions.
            let _ = self.carry_out();
            let Some(waiting) = &mut self.waiting else {
                return Ok(());
            };
            waiting.carry_out(&mut self.net, self.report)?;
            let is_late = until.is_some_and(|until| until <= Instant::now());
            if is_late || waiting.is_done() || self.interrupts > 0 {
                until = None;
                waiting.stop();
                waiting.carry_out(&mut self.net, self.report)?;
            }
            if waiting.is_stopped() || self.interrupts > 1 {
                return Ok(());
            }
            let timeouts = [until, self.poll_timeout()].into_iter().flatten().min();
            let events = self.net.wait(timeouts)?;
            let now = Instant::now();
            for event in events {
                self.handle(now, event);
            }
            self.handle_timeout(now);
        }
    }

    fn tell_sent(&self, sent: &Sent) -> Result<(), Problem> {
        let Self {
            report, arguments, ..
        } = self;
        let outgoing = self.sender.outgoing();
        let object = outgoing.stored(sent.message_uid.as_deref());
        let kept = match &arguments.store {
            Some(folder) => Some(store::keep(folder, &object)?),
            None => None,
        };
        let how = match outgoing.mode {
            Mode::Pager => format!("{} {} bytes in one MESSAGE", sent.code, outgoing.cpim.len()),
            Mode::Large => format!("{} {} bytes over MSRP", sent.code, outgoing.cpim.len()),
        };
        let uid = sent.message_uid.as_ref().map_or(String::new(), |uid| {
            format!(", in the message store as {uid}")
        });
        let to = outgoing.destination().address();
        report.say(
            &format!("sent to {to}: {how}{uid}"),
            json!({
                "event": "sent", "code": sent.code, "message_uid": sent.message_uid,
                "conversation_id": outgoing.conversation_id,
                "contribution_id": outgoing.contribution_id,
                "file": kept.as_ref().map(|path| path.display().to_string()),
            }),
        );
        Ok(())
    }
}

fn prepare(arguments: &Send, report: &Report) -> Result<Outgoing, Problem> {
    let reply = arguments.reply.as_deref().map(store::read).transpose()?;
    let (destination, replied) = destination(arguments, reply.as_ref())?;
    if let Some((source, address)) = &replied {
        let words = format!("the reply goes to {address} ({})", source.header());
        report.say(
            &words,
            json!({
                "event": "reply-address", "address": address, "header": source.header(),
            }),
        );
    }
    let field = |name| {
        reply
            .as_ref()
            .and_then(|item| item.field(name))
            .map(str::to_owned)
    };
    let parts = content::parts(
        arguments.text.as_deref(),
        &arguments.file,
        arguments.content_type.as_deref(),
    )?;
    let interval = arguments.session_interval;
    let draft = Draft {
        from: arguments.from.clone(),
        display_name: arguments.name.clone(),
        identity: arguments.identity.clone(),
        asserted: arguments.assert.clone(),
        destination,
        parts,
        subject: arguments.subject.clone(),
        reply_to: arguments.reply_to.clone(),
        anonymous: arguments.anonymous,
        expires: arguments.expires,
        notifications: notifications(arguments),
        conversation_id: arguments
            .conversation
            .clone()
            .or_else(|| field("Conversation-ID")),
        in_reply_to: field("Contribution-ID"),
        routes: arguments.route.clone(),
        oma_release: arguments.oma_release.clone(),
        session_expires: match arguments.session_expires {
            SessionExpiresKind::Absent => SessionExpires::Absent,
            SessionExpiresKind::Plain => SessionExpires::Plain(interval),
            SessionExpiresKind::Uas => SessionExpires::Uas(interval),
            SessionExpiresKind::Uac => SessionExpires::Uac(interval),
        },
    };
    let size_of = match arguments.pager_size_of {
        PagerSizeOf::Cpim => SizeOf::Cpim,
        PagerSizeOf::Request => SizeOf::Request,
    };
    Ok(draft.prepare(arguments.pager_max, size_of, SystemTime::now(), fill)?)
}

/// The requested notifications.
fn notifications(arguments: &Send) -> Notifications {
    let has = |wanted| arguments.notify.contains(&wanted);
    Notifications {
        delivered: has(Notify::Delivered),
        failed: has(Notify::Failed),
        displayed: has(Notify::Displayed),
        interworked: has(Notify::Interworked),
    }
}

/// Default transports for a request of this size: UDP if it fits into a datagram.
fn carrier(request_bytes: usize) -> Wanted {
    match request_bytes <= MAX_UDP_REQUEST_BYTES {
        true => Wanted::Any,
        false => Wanted::Large,
    }
}

/// The routes to the server, server by server; `otherwise`: if its domain specifies no transport.
pub(crate) fn ways(
    server: &Server,
    arguments: &ServerArguments,
    otherwise: Wanted,
) -> Result<VecDeque<Vec<Way>>, Problem> {
    let wanted = arguments.wanted(server, otherwise);
    let ways = server
        .ways(wanted, &arguments.name_servers())
        .map_err(|words| Problem::from(Failure::Unreachable(words)))?;
    Ok(ways.into())
}

/// Opens the route to the first reachable one of these servers, and removes it and those before
/// from the list. `local` is the address to bind; over UDP, `listening` is already ours.
pub(crate) fn open_first(
    groups: &mut VecDeque<Vec<Way>>,
    net: &mut Net,
    local: Option<SocketAddr>,
    listening: Option<SocketAddr>,
) -> Result<(Way, SocketAddr), Problem> {
    let mut problem = Problem::local("no transport");
    while let Some(group) = groups.pop_front() {
        let transport = group.first().map(|way| way.transport);
        let opened = match (transport, listening, group.first()) {
            (Some(SipTransport::Udp), Some(own), Some(way)) => Ok((*way, own)),
            _ => net.open(&group, local),
        };
        match opened {
            Ok(opened) => return Ok(opened),
            Err(broken) => {
                let transport = transport.map_or("", SipTransport::as_str);
                problem = Problem::from(&broken.at(transport));
            }
        }
    }
    Err(problem)
}

impl Servers<'_> {
    /// Opens the route to the next reachable server.
    fn open_next(&mut self, net: &mut Net) -> Result<End, Problem> {
        let local = self.arguments.local.map(|own| SocketAddr::new(own, 0));
        let (way, local) = open_first(&mut self.groups, net, local, self.listening)?;
        // The offer names a port that is really ours, although we connect to the answerer.
        let msrp = net.listen_msrp(SocketAddr::new(local.ip(), 0), None)?;
        Ok(End { way, local, msrp })
    }

    fn sender_config(&self, end: &End) -> SenderConfig {
        SenderConfig {
            way: end.way,
            local: end.local,
            credentials: self.credentials.clone(),
            msrp: end.msrp,
            msrp_transport: match self.arguments.msrp {
                Msrp::Tcp => Transport::Tcp,
                Msrp::Tls => Transport::Tls,
            },
            fingerprint: None,
            chunk_bytes: self.arguments.chunk_size,
            has_next: !self.groups.is_empty(),
        }
    }

    /// The listener for notifications, if requested.
    fn waiting(&self, end: &End, outgoing: &Outgoing) -> Option<Waiting> {
        let arguments = self.arguments;
        let seconds = arguments.wait_notifications?;
        let receiver = ReceiverConfig {
            address: arguments.from.clone(),
            local: self.listening.unwrap_or(end.local).into(),
            credentials: self.credentials.clone(),
            registration: arguments.register.as_ref().map(|registrar| {
                let lifetime = seconds.saturating_add(MIN_REGISTRATION_S.into());
                RegistrationConfig {
                    registrar: registrar.clone(),
                    expires: lifetime.try_into().unwrap_or(u32::MAX),
                }
            }),
            outbound: vec![end.way],
            asserted: None,
            msrp: end.msrp,
            msrp_transport: Transport::Tcp,
            fingerprint: None,
            max_size: 0,
            // Other messages are for the user's other devices.
            reject: Some(StatusCode::TEMPORARILY_UNAVAILABLE),
            oma_release: arguments.oma_release.clone(),
        };
        let receiver = Receiver::new(receiver, fill);
        let patience = Duration::from_secs(seconds);
        let wanted = notifications(arguments);
        Some(Waiting::start(receiver, patience, wanted, outgoing))
    }
}

/// The named server, else the one of an address.
pub(crate) fn server_for(arguments: &ServerArguments, address: &str) -> Result<Server, Problem> {
    match &arguments.server {
        Some(text) => Server::parse(text).map_err(|error| Problem::local(error.to_string())),
        None => server_of(address),
    }
}

fn server_of(address: &str) -> Result<Server, Problem> {
    let uri = Uri::parse(address).ok();
    uri.and_then(|uri| Server::of_uri(&uri)).ok_or_else(|| {
        Problem::local(format!("{address} names no host to send to"))
            .advise("name the server with --server")
    })
}
