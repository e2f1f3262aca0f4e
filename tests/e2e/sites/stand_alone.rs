//! A stand-alone site with a registrar and passwords.

use std::path::PathBuf;
use std::process::Command;

use cpm::digest::{self, Answers, Challenge};
use cpm_testbed::{
    Agent, Bench, Plan, Product, Proxy, Received, Reply, Request, cpm_message, large_message, to,
};

use super::{ANNE, database_script, large_message_arrives, quoted, shipped};
use crate::both_modes::imdn::receipt;
use crate::common::{EXPLODER, counter, exchange, expect_counter, sqlite};

/// A request again, with credentials for the challenge in its response.
fn with_credentials(request: &Request, challenge: &Received, uri: &str, password: &str) -> Request {
    let (asked, answered) = match challenge.status() {
        Some(401) => ("WWW-Authenticate", "Authorization"),
        _ => ("Proxy-Authenticate", "Proxy-Authorization"),
    };
    let challenge = challenge.header(asked).expect("it challenges");
    let challenge = Challenge::read(challenge).pop().expect("it is a challenge");
    let mut answers = Answers::new(challenge, "0a4f113b".to_owned());
    let user = request.header("From").expect("it has one");
    let user = user.split(['@', ':']).nth(1).expect("a user");
    let asked = digest::Request {
        method: request.method(),
        uri,
        body: &[],
    };
    let credentials = answers.next(user, password, asked);
    request.again().with(answered, &credentials)
}

/// Sends a request that is challenged, then again with the password; expects this final response.
#[track_caller]
fn authenticate(agent: &Agent, request: &Request, uri: &str, proxy: &Proxy, code: u16) -> Received {
    let first = if request.method() == "REGISTER" {
        401
    } else {
        407
    };
    let challenge = exchange(agent, request, proxy, first);
    exchange(
        agent,
        &with_credentials(request, &challenge, uri, "secret"),
        proxy,
        code,
    )
}

/// A database with subscribers, created as described in the configuration.
fn subscribers(bench: &Bench) -> PathBuf {
    let file = bench.folder().join("subscribers.db");
    let (parts, columns, values): (&[&str], _, _) = match Product::under_test() {
        Product::Kamailio => (
            &["standard", "auth_db", "permissions"],
            ", password, ha1b",
            ", '', ''",
        ),
        Product::OpenSips => (&["standard", "auth_db"], "", ""),
    };
    let mut script = database_script(parts);
    for user in ["anne", "bill", "bob", "carol"] {
        let ha1 = md5(&format!("{user}:example.com:secret"));
        script += &format!(
            "INSERT INTO subscriber (username, domain, ha1{columns}) \
             VALUES ('{user}', 'example.com', '{ha1}'{values});\n"
        );
    }
    sqlite(&file, &script);
    file
}

fn md5(text: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", "printf %s \"$1\" | md5sum", "sh", text])
        .output()
        .expect("md5sum is installed");
    String::from_utf8_lossy(&output.stdout[..32]).into_owned()
}

fn stand_alone(bench: &Bench, limits: &[(&str, &str)]) -> Proxy {
    let database = subscribers(bench);
    let copies = bench.port();
    let mut definitions = match Product::under_test() {
        Product::Kamailio => vec![
            (
                "DATABASE",
                quoted(&format!("sqlite:///{}", database.display())),
            ),
            // Only the bench knows the first port, and writes it into the text.
            ("LISTEN_UDP", "udp:127.0.0.1:@PORT@".to_owned()),
            ("LISTEN_TCP", "tcp:127.0.0.1:@PORT@".to_owned()),
            ("COPIES_PORT", copies.to_string()),
            ("COPIES_UDP", format!("udp:127.0.0.1:{copies}")),
            ("COPIES_TCP", format!("tcp:127.0.0.1:{copies}")),
            ("COPIES_URI", quoted(&format!("sip:127.0.0.1:{copies}"))),
        ],
        Product::OpenSips => vec![
            (
                "DATABASE",
                quoted(&format!("sqlite://{}", database.display())),
            ),
            ("THIS_PORT", copies.to_string()),
        ],
    };
    definitions.extend(
        limits
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned())),
    );
    bench.proxy(&shipped("stand-alone.cfg", &definitions))
}

#[test]
fn a_subscriber_who_registers_later_gets_the_message_then() {
    let bench = Bench::new("a_subscriber_who_registers_later");
    // What each script says of who has not registered.
    let deferred = match Product::under_test() {
        Product::Kamailio => ("DEFERRED_CODES", "\"408 480\""),
        Product::OpenSips => ("DEFERRED_CODES_OF_SITE", "\"404 408 480\""),
    };
    let proxy = stand_alone(&bench, &[deferred]);
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to("sip:bill@example.com")]);
    let request = message
        .request()
        .with("P-Asserted-Identity", "<sip:ceo@example.com>");
    authenticate(&anne, &request, EXPLODER, &proxy, 202);
    expect_counter(&proxy, "waiting", 1);
    let register = Request::new("REGISTER", "sip:bill@example.com", "sip:bill@example.com")
        .with_uri("sip:example.com")
        .with("Contact", &format!("<{}>", bill.uri("bill")));
    authenticate(&bill, &register, "sip:example.com", &proxy, 200);
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.header("CSeq"), Some("2 MESSAGE"));
    expect_counter(&proxy, "delivered", 1);
    expect_counter(&proxy, "waiting", 0);
    proxy.stop();
}

#[test]
fn a_site_of_its_own_registers_authenticates_and_delivers() {
    let bench = Bench::new("a_site_of_its_own");
    let proxy = stand_alone(&bench, &[("REQUESTS_IN_TWO_SECONDS", "1000")]);
    let (anne, bill) = (bench.agent(), bench.agent());
    let capture = bench.capture();
    let register = Request::new("REGISTER", "sip:bill@example.com", "sip:bill@example.com")
        .with_uri("sip:example.com")
        .with("Contact", &format!("<{}>", bill.uri("bill")));
    authenticate(&bill, &register, "sip:example.com", &proxy, 200);

    let message = cpm_message(ANNE, EXPLODER)
        .recipients([to("sip:bill@example.com"), to("sip:carol@example.com")]);
    // An identity that a subscriber asserts itself is ignored.
    let request = message
        .request()
        .with("P-Asserted-Identity", "<sip:ceo@example.com>");
    authenticate(&anne, &request, EXPLODER, &proxy, 202);
    let copy = bill.expect_request("MESSAGE");
    assert_eq!(copy.uri(), Some(&*bill.uri("bill")));
    assert_eq!(
        copy.header("P-Asserted-Identity"),
        Some("<sip:anne@example.com>")
    );
    assert_eq!(copy.header("Proxy-Authorization"), None);
    assert_eq!(copy.body(), message.cpim());
    proxy.expect_log("a recipient failed: 404 Not Found");

    let private = message.request().with("Privacy", "id");
    authenticate(&anne, &private, EXPLODER, &proxy, 202);
    assert_eq!(
        bill.expect_request("MESSAGE").header("P-Asserted-Identity"),
        None
    );

    // His receipt, to the address to which she has sent, returns to her.
    let register = Request::new("REGISTER", ANNE, ANNE)
        .with_uri("sip:example.com")
        .with("Contact", &format!("<{}>", anne.uri("anne")));
    authenticate(&anne, &register, "sip:example.com", &proxy, 200);
    let told = receipt("sip:bill@example.com", EXPLODER, &request).request();
    authenticate(&bill, &told, EXPLODER, &proxy, 200);
    let received = anne.expect_request("MESSAGE");
    assert_eq!(received.uri(), Some(&*anne.uri("anne")));
    assert_eq!(received.body(), told.body());

    // A request too long for a datagram arrives again over TCP, and is recognised as our own there
    // too.
    let long = cpm_message(ANNE, EXPLODER)
        .text(&"x".repeat(1200))
        .recipients([to("sip:bill@example.com")]);
    authenticate(&anne, &long.request(), EXPLODER, &proxy, 202);
    assert_eq!(bill.expect_request("MESSAGE").body(), long.cpim());

    // One to one, and to another user's name.
    let plain = Request::new("MESSAGE", ANNE, "sip:bill@example.com").with_body("text/plain", "Hi");
    authenticate(&anne, &plain, "sip:bill@example.com", &proxy, 200);
    bill.expect_request("MESSAGE");
    let forged = message
        .request()
        .with("From", "<sip:bill@example.com>;tag=1");
    let challenge = exchange(&anne, &forged, &proxy, 407);
    let guessed = with_credentials(&forged, &challenge, EXPLODER, "guessed");
    exchange(&anne, &guessed, &proxy, 407);
    bill.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_site_of_its_own_takes_large_messages() {
    let bench = Bench::new("a_site_of_its_own_takes_large");
    let (anne, callees, peer) = (bench.agent(), bench.callees(), bench.msrp_peer());
    let msrp = quoted(&format!("tcp:127.0.0.1:{}", bench.msrp_port()));
    let spool = quoted(&bench.folder().join("spool").display().to_string());
    let proxy = stand_alone(
        &bench,
        &[
            ("REQUESTS_IN_TWO_SECONDS", "1000"),
            ("MSRP_LISTEN", &msrp),
            ("SPOOL", &spool),
        ],
    );
    for user in ["bob", "carol"] {
        let address = format!("sip:{user}@example.com");
        let register = Request::new("REGISTER", &address, &address)
            .with_uri("sip:example.com")
            .with("Contact", &format!("<{}>", callees.uri(user)));
        authenticate(callees.agent(), &register, "sip:example.com", &proxy, 200);
    }
    let capture = bench.capture();
    let message = large_message(ANNE, EXPLODER)
        .recipients([to("sip:bob@example.com"), to("sip:carol@example.com")]);
    let content = message.content(200_000);
    let session = peer.session();
    let invite = message.request(&anne, &session, content.len());
    let challenge = anne.is_refused(&invite, proxy.udp(), 407);
    let invite = with_credentials(&invite, &challenge, EXPLODER, "secret");
    let mut call = anne.invites(&invite, proxy.udp());
    large_message_arrives(&mut call, &session, &callees, &content);
    expect_counter(&proxy, "delivered", 2);

    // One is busy, the other rings until she gives up: our own ACK and CANCEL pass the script too.
    callees.plan("bob", Plan::status(486));
    callees.plan("carol", Plan::no_answer().ringing());
    let invite = message.request(&anne, &peer.session(), content.len());
    let challenge = anne.is_refused(&invite, proxy.udp(), 407);
    let invite = with_credentials(&invite, &challenge, EXPLODER, "secret");
    anne.send(&invite, proxy.udp());
    let bob = callees.expect_nth_call("bob", 1);
    callees.expect_in(&bob, "ACK");
    let carol = callees.expect_nth_call("carol", 1);
    expect_counter(&proxy, "failed", 1);
    let cancel = invite.cancel();
    anne.send(&cancel, proxy.udp());
    anne.expect_response(&cancel, 200);
    callees.expect_in(&carol, "CANCEL");
    callees.agent().reply(&carol.invite, &Reply::new(487));
    callees.expect_in(&carol, "ACK");
    anne.expect_refused(&invite, proxy.udp(), 487);
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn a_site_of_its_own_bears_only_so_much() {
    let bench = Bench::new("a_site_of_its_own_bears");
    let limits = [
        ("MESSAGES_A_MINUTE", "2"),
        ("REQUESTS_IN_TWO_SECONDS", "40"),
    ];
    let proxy = stand_alone(&bench, &limits);
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to("sip:bill@example.com")]);
    for code in [202, 202, 503, 503] {
        let answer = authenticate(&anne, &message.request(), EXPLODER, &proxy, code);
        let told = (code == 503).then_some("60");
        assert_eq!(answer.header("Retry-After"), told);
    }
    assert_eq!(counter(&proxy, "accepted"), 2);
    // A flood from one address is not answered at all.
    for _ in 0..200 {
        bill.send(&message.request(), proxy.udp());
    }
    proxy.expect_log("too many requests from 127.0.0.1");
    proxy.stop();
}
