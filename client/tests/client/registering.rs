//! Registrars with various policies.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use cpm_testbed::{Agent, Answer, Bench, Reply, Way, cpm_message};

use crate::common::{ANNE, receive};

/// Grants one second, but answers the second REGISTER like this.
fn moody(registrar: &Agent, mood: Reply) {
    let count = AtomicUsize::new(0);
    registrar.answers(Answer::with(move |request| {
        if request.method() != Some("REGISTER") {
            return vec![Reply::new(200)];
        }
        let contact = request.header("Contact").unwrap_or_default();
        match count.fetch_add(1, Ordering::Relaxed) {
            1 => vec![mood.clone()],
            _ => vec![Reply::new(200).with("Contact", &format!("{contact};expires=1"))],
        }
    }));
}

#[test]
fn a_refresh_that_fails_passes() {
    let bench = Bench::new("client_a_refresh_that_fails_passes");
    let moods = [503, 500, 408, 403, 481].map(|code| (code, bench.agent(), bench.port()));
    thread::scope(|scope| {
        for (code, registrar, port) in &moods {
            scope.spawn(move || {
                moody(registrar, Reply::new(*code).with("Retry-After", "1"));
                let server = format!("127.0.0.1:{}", registrar.port());
                let register = ["--register", "sip:example.com", "--server", &server];
                let mut receiver = receive(*port, &register);
                assert_eq!(receiver.expect("registered")["seconds"], 1);
                let told = receiver.expect("not-registered");
                assert_eq!(told["again"], 1, "{code}");
                let words = told["message"].as_str().expect("words");
                assert!(words.contains(&code.to_string()), "{words}");
                // The program stays alive meanwhile, and registers again.
                let message = cpm_message(ANNE, "sip:bill@example.com").request();
                registrar.send(&message, Way::Udp(([127, 0, 0, 1], *port).into()));
                registrar.expect_response(&message, 200);
                registrar.expect_requests("REGISTER", 3);
                receiver.interrupt();
                receiver.succeeds();
            });
        }
    });
}

#[test]
fn a_lifetime_that_is_never_long_enough_is_given_up() {
    let bench = Bench::new("client_a_lifetime_that_is_never_long_enough");
    let registrar = bench.agent();
    registrar.answers(Answer::with(|request| {
        let asked: u32 = request
            .header("Expires")
            .and_then(|value| value.parse().ok())
            .expect("it asks for a time");
        vec![Reply::new(423).with("Min-Expires", &(asked + 1).to_string())]
    }));
    let server = format!("127.0.0.1:{}", registrar.port());
    let register = ["--register", "sip:example.com", "--server", &server];
    let failed = receive(bench.port(), &register).fails(3);
    assert_eq!(failed["answer"]["code"], 423);
    assert_eq!(registrar.received().len(), 4);
}
