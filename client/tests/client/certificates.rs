//! TLS: valid and invalid certificates.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cpm_testbed::{Bench, Certificate, Plan, proves};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::{send, text};

const BILL: [&str; 3] = ["--to", "sip:bill@example.com", "Hi"];

/// A TLS server that forwards to a port without TLS.
pub(crate) fn tls_server(bench: &Bench, certificate: &Certificate, to: u16) -> u16 {
    let folder = bench.folder().join(format!("tls-{to}"));
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (chain, key) = certificate.files(&folder);
    let chain = CertificateDer::from_pem_file(chain).expect("it was written so");
    let key = PrivateKeyDer::from_pem_file(key).expect("it was written so");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .expect("the key fits");
    let config = Arc::new(config);
    let port = bench.port();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is ours");
    // It ends with the test process: its threads hold only sockets.
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || {
                let Ok(tls) = ServerConnection::new(config) else {
                    return;
                };
                let _ = stream.set_read_timeout(Some(Duration::from_millis(20)));
                let mut outside = StreamOwned::new(tls, stream);
                let mut inside: Option<TcpStream> = None;
                let mut block = [0; 65_536];
                loop {
                    match outside.read(&mut block) {
                        Ok(0) => return,
                        Ok(count) => {
                            let inside = inside.get_or_insert_with(|| {
                                let inside = TcpStream::connect(("127.0.0.1", to));
                                let inside = inside.expect("the server behind is there");
                                let _ = inside.set_read_timeout(Some(Duration::from_millis(20)));
                                inside
                            });
                            if inside.write_all(&block[..count]).is_err() {
                                return;
                            }
                        }
                        Err(error) if is_quiet(&error) => {}
                        Err(_) => return,
                    }
                    let read = inside.as_mut().map(|inside| inside.read(&mut block));
                    let written = match read {
                        None => Ok(()),
                        Some(Ok(0)) => return,
                        Some(Ok(count)) => outside.write_all(&block[..count]),
                        Some(Err(error)) if is_quiet(&error) => Ok(()),
                        Some(Err(error)) => Err(error),
                    };
                    if written.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn is_quiet(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
    )
}

#[test]
fn a_certificate_that_does_not_fit() {
    let bench = Bench::new("client_a_certificate_that_does_not_fit");
    let callees = bench.callees();
    let agent = callees.agent();
    let (good, other) = (
        Certificate::new(&["127.0.0.1"]),
        Certificate::new(&["sip.example.com"]),
    );
    let folder = bench.folder().join("authority");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let (authority, _) = good.files(&folder);
    let elsewhere = bench.folder().join("elsewhere");
    std::fs::create_dir_all(&elsewhere).expect("the folder of a test can be written to");
    let (foreign, _) = other.files(&elsewhere);
    let (fits, named_otherwise) = (
        tls_server(&bench, &good, agent.port()),
        tls_server(&bench, &other, agent.port()),
    );
    let with = |more: &[&'static str], file: Option<&std::path::Path>| {
        let mut arguments = vec!["--transport".to_owned(), "tls".to_owned()];
        arguments.extend(
            file.iter()
                .flat_map(|file| ["--ca-file".to_owned(), text(file).to_owned()]),
        );
        arguments.extend(more.iter().map(|one| (*one).to_owned()));
        arguments.extend(BILL.map(str::to_owned));
        arguments
    };
    let run = |port, arguments: Vec<String>| {
        send(
            port,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
        )
    };
    for (port, file, words) in [
        (fits, None, "nobody who is trusted"),
        (fits, Some(foreign.as_path()), "nobody who is trusted"),
        (named_otherwise, Some(foreign.as_path()), "another name"),
    ] {
        let failed = run(port, with(&[], file)).fails(6);
        let message = failed["message"].as_str().expect("words");
        assert!(message.contains(words), "{message}");
        assert!(
            failed["advice"]
                .as_str()
                .is_some_and(|words| words.contains("--ca-file"))
        );
    }
    assert!(agent.received().is_empty(), "not a word to a stranger");
    // It is valid; and a large message too.
    run(fits, with(&[], Some(&authority))).succeeds();
    let request = agent.expect_request("MESSAGE");
    proves!(
        ["7.2.1.1-17"],
        assert!(
            request
                .header("Via")
                .is_some_and(|via| via.starts_with("SIP/2.0/TLS 127.0.0.1:"))
        )
    );
    run(fits, with(&["--pager-max", "0"], Some(&authority))).succeeds();
    let call = callees.expect_call("bill");
    proves!(
        ["7.2.1.2-20"],
        assert!(
            call.invite
                .header("Contact")
                .is_some_and(|c| c.contains(";transport=tls>"))
        )
    );
    call.session.expect_message();
    // Without any verification.
    run(named_otherwise, with(&["--insecure"], None)).succeeds();
}

#[test]
fn an_msrp_certificate_that_is_not_the_one_in_the_answer() {
    let bench = Bench::new("client_an_msrp_certificate");
    let (shown, other) = (
        Certificate::new(&["127.0.0.1"]),
        Certificate::new(&["127.0.0.1"]),
    );
    let callees = bench.callees_of(bench.agent(), bench.msrps_peer(&shown));
    let large = [&["--pager-max", "0", "--msrp", "tls"][..], &BILL].concat();
    // The fingerprint in the peer's own description matches.
    send(callees.agent().port(), &large).succeeds();
    let call = callees.expect_call("bill");
    assert!(call.sdp().lines('m')[0].ends_with(" TCP/TLS/MSRP *"));
    assert!(call.sdp().path().starts_with("msrps://"));
    call.session.expect_message();
    callees.plan(
        "bill",
        Plan::accept().attribute("fingerprint", Some(&other.fingerprint())),
    );
    let failed = send(callees.agent().port(), &large).fails(6);
    assert!(
        failed["message"]
            .as_str()
            .is_some_and(|words| words.contains("not the one that its SDP announces"))
    );
    let call = callees.expect_nth_call("bill", 1);
    let bye = callees.expect_in(&call, "BYE");
    assert!(
        bye.header("Reason")
            .is_some_and(|reason| reason.starts_with("SIP;cause=480"))
    );
    assert!(call.session.chunks().is_empty());
}
