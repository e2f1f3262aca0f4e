//! `receive`

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use cpm_client::{
    OwnAddresses, Received, Receiver, ReceiverConfig, ReceiverEvent, RegistrationConfig,
    SipTransport, Way,
};
use cpm_wire::cpim::CpimMessage;
use cpm_wire::imdn::{self, Disposition};
use cpm_wire::locating::Wanted;
use cpm_wire::sdp::Transport;
use cpm_wire::sip::StatusCode;
use rustls::ServerConfig;
use serde_json::json;

use crate::args::{Listen, Msrp, Receive};
use crate::content::ReceivedPart;
use crate::exit::Problem;
use crate::incoming::Incoming;
use crate::login::{credentials, trust};
use crate::net::{Identity, Net, NetEvent, Server, Tap};
use crate::random::fill;
use crate::report::{Bar, Report, tell_notification, visible};
use crate::store;

const GIVE_CERTIFICATE: &str = "give --tls-certificate and --tls-private-key";

/// Receives messages until it is stopped.
pub(crate) fn run(arguments: &Receive, tap: Tap, report: &Report) -> Result<(), Problem> {
    let reject = match arguments.reject {
        None => None,
        Some(code) => match StatusCode::new(code) {
            Ok(code) if code.as_u16() >= 300 => Some(code),
            _ => {
                return Err(Problem::local(format!(
                    "--reject {code}: 300 to 699 is wanted"
                )));
            }
        },
    };
    let (mut outbound, server_name) = outbound(arguments)?;
    let registrar = arguments.register.clone();
    let registration = registrar.map(|registrar| RegistrationConfig {
        registrar,
        expires: arguments.expires,
    });
    let mut net = Net::new(trust(&arguments.server)?, &server_name, tap)?;
    let identity = match (&arguments.tls_certificate, &arguments.tls_private_key) {
        (Some(chain), Some(key)) => Some(Identity::read(chain, key)?),
        _ => None,
    };
    let tls = identity.as_ref().map(Identity::server_config).transpose()?;
    let (plain, secure) = listen(&mut net, &arguments.listen, tls.as_ref())?;
    let Some(local) = plain.or(secure) else {
        return Err(Problem::local("no --listen"));
    };
    let has_server = !outbound.is_empty();
    outbound.retain(|way| plain.is_some() || way.transport != SipTransport::Udp);
    if has_server && outbound.is_empty() {
        return Err(Problem::local("requests over UDP want a port for it")
            .advise("add --listen ADDRESS:PORT, or --transport tls"));
    }
    let msrp_transport = match (arguments.msrp, &tls) {
        (Some(Msrp::Tls), None) => {
            return Err(Problem::local("--msrp tls without a certificate").advise(GIVE_CERTIFICATE));
        }
        (Some(Msrp::Tcp), _) | (None, None) => Transport::Tcp,
        (Some(Msrp::Tls) | None, Some(_)) => Transport::Tls,
    };
    let msrp = arguments
        .msrp_listen
        .unwrap_or(SocketAddr::new(local.ip(), 0));
    let msrp = net.listen_msrp(msrp, tls.filter(|_| msrp_transport == Transport::Tls))?;
    let config = ReceiverConfig {
        address: arguments.address.clone(),
        local: OwnAddresses {
            plain: local,
            tls: secure,
        },
        credentials: credentials(&arguments.login, &arguments.address)?,
        registration,
        outbound,
        asserted: arguments.assert.clone(),
        msrp,
        msrp_transport,
        fingerprint: identity.as_ref().and_then(Identity::fingerprint),
        max_size: arguments.max_size,
        reject,
        oma_release: arguments.oma_release.clone(),
    };
    let named = |address: Option<SocketAddr>, how: &str| {
        address.map_or(String::new(), |address| format!("{address} ({how}), "))
    };
    let (by_tls, plainly) = (named(secure, "SIP, TLS"), named(plain, "SIP, UDP and TCP"));
    report.say(
        &format!("listening on {plainly}{by_tls}{msrp} (MSRP)"),
        json!({
            "event": "listening", "sip": plain.map(|own| own.to_string()),
            "sip_tls": secure.map(|own| own.to_string()), "msrp": msrp.to_string(),
        }),
    );
    let mut run = Run {
        net,
        incoming: Incoming::new(Receiver::new(config, fill)),
        report,
        arguments,
        bars: HashMap::new(),
        messages: 0,
        stopped: false,
        problem: None,
    };
    run.until_stopped()
}

struct Run<'a> {
    net: Net,
    incoming: Incoming,
    report: &'a Report,
    arguments: &'a Receive,
    /// Size in bytes and bar by session.
    bars: HashMap<u64, (u64, Bar)>,
    messages: usize,
    stopped: bool,
    problem: Option<Problem>,
}

impl Run<'_> {
    fn until_stopped(&mut self) -> Result<(), Problem> {
        self.incoming.receiver.start(Instant::now());
        let mut interrupts = 0;
        loop {
            self.carry_out()?;
            if self.stopped {
                return self.problem.take().map_or(Ok(()), Err);
            }
            let events = self.net.wait(self.incoming.receiver.poll_timeout())?;
            let now = Instant::now();
            for event in events {
                if matches!(event, NetEvent::Interrupted) {
                    interrupts += 1;
                    self.incoming.receiver.stop(now);
                } else {
                    self.handle(now, event);
                }
            }
            if interrupts > 1 {
                return Ok(());
            }
            self.incoming.receiver.handle_timeout(now);
        }
    }

    fn carry_out(&mut self) -> Result<(), Problem> {
        loop {
            while let Some(event) = self.incoming.poll_event(&mut self.net) {
                self.show(event)?;
            }
            if self
                .arguments
                .count
                .is_some_and(|count| self.messages >= count)
            {
                self.messages = 0;
                self.incoming.receiver.stop_when_idle(Instant::now());
                continue;
            }
            return Ok(());
        }
    }

    fn handle(&mut self, now: Instant, event: NetEvent) {
        match event {
            NetEvent::Sip(message, way) => self.incoming.receiver.handle_sip(now, message, way),
            NetEvent::SipBroken(way, broken) => {
                // Other peers' connections do not matter.
                let is_registrar = self.incoming.receiver.registrar() == Some(way);
                if is_registrar && way.transport != SipTransport::Udp {
                    let problem = Problem::from(&broken);
                    if broken.is_certificate {
                        self.problem = Some(problem);
                        self.stopped = true;
                        return;
                    }
                    self.report.problem(&problem);
                }
                self.incoming
                    .receiver
                    .handle_way_lost(now, way, &broken.words);
            }
            event => self.incoming.handle_msrp(now, &mut self.net, event),
        }
    }

    fn show(&mut self, event: ReceiverEvent) -> Result<(), Problem> {
        match event {
            ReceiverEvent::Registered { seconds, routes } => {
                let route = routes.first().map_or(String::new(), |_| {
                    format!(", Service-Route {}", routes.join(", "))
                });
                self.report.say(
                    &format!("registered for {seconds} s{route}"),
                    json!({ "event": "registered", "seconds": seconds, "service_route": routes }),
                );
            }
            ReceiverEvent::NotRegistered {
                failure,
                again: None,
            } => {
                // Without its registration nothing will ever arrive.
                self.problem = Some(failure.into());
                self.stopped = true;
            }
            ReceiverEvent::NotRegistered {
                failure,
                again: Some(later),
            } => {
                let seconds = later.as_secs();
                self.report.say(
                    &format!("not registered any more: {failure}; again in {seconds} s"),
                    json!({
                        "event": "not-registered", "message": failure.to_string(),
                        "again": seconds,
                    }),
                );
            }
            ReceiverEvent::Announced {
                session,
                from,
                bytes: size,
            } => {
                let total = size.unwrap_or(0);
                let bar = self.report.bar(&from, total);
                self.bars.insert(session, (total, bar));
                self.report.tell(json!({
                    "event": "announced", "session": session, "from": from, "bytes": size,
                }));
            }
            ReceiverEvent::Progress { session, bytes } => {
                if let Some((total, bar)) = self.bars.get_mut(&session) {
                    bar.set(bytes, *total);
                }
            }
            ReceiverEvent::Message { session, received } => {
                self.end_bar(session);
                self.messages += 1;
                self.take(&received)?;
                if !self.arguments.no_imdn {
                    self.notify(&received);
                }
            }
            ReceiverEvent::Repeated { session } => {
                self.end_bar(session);
                self.report
                    .tell(json!({ "event": "repeated", "session": session }));
            }
            ReceiverEvent::Notification(notification) => {
                tell_notification(self.report, &notification)
            }
            ReceiverEvent::Notified {
                to,
                disposition,
                result,
            } => {
                let disposition = disposition.as_str();
                let (code, failure) = match &result {
                    Ok(code) => (Some(*code), None),
                    Err(failure) => (None, Some(failure.to_string())),
                };
                let words = match &failure {
                    None => format!("  told {}: {disposition}", visible(&to)),
                    Some(words) => format!("  could not tell {}: {words}", visible(&to)),
                };
                self.report.say(
                    &words,
                    json!({
                        "event": "notified", "to": to, "disposition": disposition, "code": code,
                        "message": failure,
                    }),
                );
            }
            ReceiverEvent::Failed { session, words } => {
                self.end_bar(Some(session));
                self.report.say(
                    &format!("a large message has not come: {words}"),
                    json!({ "event": "not-received", "session": session, "message": words }),
                );
            }
            ReceiverEvent::Refused(code) => self.report.say(
                &format!("refused a message with {code} {}", code.reason_phrase()),
                json!({ "event": "refused", "code": code.as_u16() }),
            ),
            ReceiverEvent::Stopped => self.stopped = true,
        }
        Ok(())
    }

    /// Sends the notifications for a message: it is stored, and displayed.
    fn notify(&mut self, received: &Received) {
        let (now, time) = (Instant::now(), SystemTime::now());
        let mut tell = |what| self.incoming.receiver.notify(now, received, what, time);
        tell(Disposition::Delivered);
        if self.arguments.display {
            tell(Disposition::Displayed);
        }
    }

    fn end_bar(&mut self, session: Option<u64>) {
        if let Some((_, bar)) = session.and_then(|session| self.bars.remove(&session)) {
            bar.finish();
        }
    }

    /// Prints and stores a message.
    fn take(&self, received: &Received) -> Result<(), Problem> {
        let object = &received.object;
        let parts = ReceivedPart::of(object);
        let (mut kept, mut files) = (None, Vec::<PathBuf>::new());
        if let Some(folder) = &self.arguments.store {
            let file = store::keep(folder, object)?;
            files = store::keep_parts(&file, &parts)?;
            kept = Some(file);
        }
        let from = object
            .uri("P-Asserted-Identity")
            .or_else(|| object.uri("From"));
        let from = from.unwrap_or("somebody");
        let mode = if received.is_large { "large" } else { "pager" };
        let referred = object.uri("Referred-By");
        let by = referred.map_or(String::new(), |uri| format!(" for {}", visible(uri)));
        let size = object.body.len();
        let mut words = format!("from {}{by}, {mode} mode, {size} bytes:", visible(from));
        let cpim = CpimMessage::parse(&object.body).ok();
        let subject = cpim.as_ref().and_then(|cpim| cpim.field("Subject"));
        if let Some(subject) = subject {
            words += &format!("\n  subject: {}", visible(subject));
        }
        for (uri, role) in &received.history {
            words += &format!("\n  also {role}: {}", visible(uri));
        }
        let mut described = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let file = files.get(index).map(|file| file.display().to_string());
            let checksum = part.checksum();
            match part.text() {
                Some(text) => {
                    for line in text.lines() {
                        words += &format!("\n  | {}", visible(line));
                    }
                }
                None => {
                    let kind = visible(&part.content_type);
                    let size = part.content.len();
                    words += &format!("\n  {kind}, {size} bytes, sha256 {checksum}");
                    if let Some(file) = &file {
                        words += &format!("\n  kept as {file}");
                    }
                }
            }
            described.push(json!({
                "content_type": part.content_type, "bytes": part.content.len(),
                "sha256": checksum, "text": part.text(), "file": file,
            }));
        }
        let id = cpim
            .as_ref()
            .and_then(|cpim| cpim.field_of(imdn::NAMESPACE, imdn::MESSAGE_ID));
        let field = |name: &str| object.field(name).map(str::to_owned);
        self.report.say(
            &words,
            json!({
                "event": "message", "mode": mode, "from": from, "subject": subject,
                "conversation_id": field("Conversation-ID"),
                "contribution_id": field("Contribution-ID"),
                "in_reply_to": field("InReplyTo-Contribution-ID"),
                "reply_to": object.uri("Reply-To"), "referred_by": object.uri("Referred-By"),
                "imdn_message_id": id, "history": received.history, "parts": described,
                "file": kept.map(|file| file.display().to_string()),
            }),
        );
        Ok(())
    }
}

/// Listens for SIP: the addresses, over UDP and TCP, and over TLS.
fn listen(
    net: &mut Net,
    wanted: &[Listen],
    tls: Option<&Arc<ServerConfig>>,
) -> Result<(Option<SocketAddr>, Option<SocketAddr>), Problem> {
    let (mut plain, mut secure) = (None, None);
    for one in wanted {
        let (own, address) = match *one {
            Listen::Plain(address) => (&mut plain, address),
            Listen::Tls(address) => (&mut secure, address),
        };
        if own.is_some() {
            return Err(Problem::local(format!(
                "--listen {address}: one address for UDP and TCP and one for TLS is all"
            )));
        }
        let listening = match (one, tls) {
            (Listen::Plain(_), _) => net.listen_sip(address),
            (Listen::Tls(_), Some(tls)) => net.listen_sip_tls(address, tls.clone()),
            (Listen::Tls(_), None) => {
                let words = format!("--listen tls:{address} without a certificate");
                return Err(Problem::local(words).advise(GIVE_CERTIFICATE));
            }
        };
        *own = Some(listening.map_err(|error| {
            Problem::local(format!("{address}: {error}")).advise("choose another --listen")
        })?);
    }
    Ok((plain, secure))
}

/// The routes of our requests, to the outbound proxy, else to the registrar, and the name required
/// in its certificate.
fn outbound(arguments: &Receive) -> Result<(Vec<Way>, String), Problem> {
    let named = arguments.server.server.as_ref();
    let Some(server) = named.or(arguments.register.as_ref()) else {
        return Ok((Vec::new(), String::new()));
    };
    let server = Server::parse(server).map_err(|error| Problem::local(error.to_string()))?;
    let wanted = arguments.server.wanted(&server, Wanted::Any);
    let groups = server
        .ways(wanted, &arguments.server.name_servers())
        .map_err(|words| Problem::from(cpm_client::Failure::Unreachable(words)))?;
    Ok((groups.into_iter().flatten().collect(), server.host))
}
