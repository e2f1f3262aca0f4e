//! The client against sipp as a bare server: no cpm in between.

use cpm_testbed::{Bench, Scenario, proves};

use crate::common::{ANNE, Running, program, send};

const MESSAGE: [&str; 3] = ["--to", "sip:bill@example.com", "Hi"];

/// Accepts one MESSAGE with this response.
fn message_server(answer: &str) -> Scenario {
    Scenario::new(&format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="message server">
  <recv request="MESSAGE"><action>
    <ereg regexp="\*;\+g\.3gpp\.icsi-ref=.urn%3Aurn-7%3A3gpp-service\.ims\.icsi\.oma\.cpm\.msg." search_in="hdr"
          header="Accept-Contact:" check_it="true" assign_to="1"/>
    <ereg regexp="message/cpim" search_in="hdr" header="Content-Type:" check_it="true" assign_to="1"/>
  </action></recv>
  <send><![CDATA[
    SIP/2.0 {answer}
    [last_Via:]
    [last_From:]
    [last_To:];tag=[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0

  ]]></send>
  <Reference variables="1"/>
</scenario>"#
    ))
}

#[test]
fn sipp_takes_a_message_over_udp_and_tcp() {
    let bench = Bench::new("client_sipp_takes_a_message");
    for over_tcp in [false, true] {
        let scenario = message_server("200 OK\n    Message-UID: 99");
        let sipp = bench.sipp(&if over_tcp {
            scenario.over_tcp()
        } else {
            scenario
        });
        wait_for(sipp.port(), over_tcp);
        let capture = bench.capture();
        let transport = if over_tcp { "tcp" } else { "udp" };
        let sent = send(
            sipp.port(),
            &[&["--transport", transport][..], &MESSAGE].concat(),
        )
        .succeeds();
        assert_eq!(sent.event("sent")["message_uid"], "99");
        proves!(["7.2.1.1-0", "7.2.1.1-1", "7.2.1.1-17"], sipp.finish());
        capture.stop().assert_clean();
    }
}

#[test]
fn sipp_refuses_a_message() {
    let bench = Bench::new("client_sipp_refuses_a_message");
    let sipp = bench.sipp(&message_server(
        "403 Forbidden\n    Warning: 399 sipp.example.com \"127 Service not authorised\"",
    ));
    wait_for(sipp.port(), false);
    let capture = bench.capture();
    let failed = send(sipp.port(), &MESSAGE).fails(3);
    assert_eq!(
        failed["answer"]["warnings"][0],
        "127 Service not authorised"
    );
    sipp.finish();
    capture.stop().assert_clean();
}

#[test]
fn sipp_takes_a_large_message() {
    let bench = Bench::new("client_sipp_takes_a_large_message");
    let peer = bench.msrp_peer();
    let session = peer.session();
    let (path, port) = (session.path(), peer.address().port());
    let sipp = bench.sipp(&Scenario::new(&format!(
        r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="large message server">
  <recv request="INVITE" rrs="true"/>
  <send><![CDATA[
    SIP/2.0 180 Ringing
    [last_Via:]
    [last_From:]
    [last_To:];tag=[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0

  ]]></send>
  <send retrans="500"><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:];tag=[call_number]
    [last_Call-ID:]
    [last_CSeq:]
    Contact: <sip:server@[local_ip]:[local_port]>
    Record-Route: <sip:[local_ip]:[local_port];lr>
    Content-Type: application/sdp
    Content-Length: [len]

    v=0
    o=- 1 1 IN IP4 [local_ip]
    s=-
    c=IN IP4 [local_ip]
    t=0 0
    m=message {port} TCP/MSRP *
    a=accept-types:message/cpim
    a=accept-wrapped-types:*
    a=path:{path}
    a=recvonly
    a=setup:passive
    a=msrp-cema
  ]]></send>
  <recv request="ACK" crlf="true"/>
  <recv request="BYE"><action>
    <ereg regexp="SIP;cause=200" search_in="hdr" header="Reason:" check_it="true" assign_to="1"/>
    <ereg regexp="lr" search_in="hdr" header="Route:" check_it="true" assign_to="1"/>
  </action></recv>
  <send><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:]
    [last_Call-ID:]
    [last_CSeq:]
    Message-UID: 100
    Content-Length: 0

  ]]></send>
  <Reference variables="1"/>
</scenario>"#
    )));
    wait_for(sipp.port(), false);
    let capture = bench.capture();
    let arguments = [&["--pager-max", "0", "--transport", "udp"][..], &MESSAGE].concat();
    let sent = send(sipp.port(), &arguments).succeeds().event("sent");
    proves!(["7.2.1.2-done-3"], assert_eq!(sent["message_uid"], "100"));
    session.expect_message();
    proves!(
        ["7.2.1.2-0", "7.2.1.2-200-B", "7.2.1.2-done-1"],
        sipp.finish()
    );
    peer.assert_no_faults();
    capture.stop().assert_clean();
}

/// Waits until it is listening there, which sipp does not report. The kernel is asked: whoever
/// binds the port to see whether it is free can be in sipp's way.
#[track_caller]
pub(crate) fn wait_for(port: u16, over_tcp: bool) {
    let deadline = std::time::Instant::now() + cpm_testbed::PATIENCE;
    // Of a socket that listens, and of one that is not connected (proc(5)).
    let (table, state) = match over_tcp {
        true => ("/proc/net/tcp", "0A"),
        false => ("/proc/net/udp", "07"),
    };
    let own = format!(":{port:04X}");
    let is_own = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&own) && fields.nth(1) == Some(state)
    };
    let is_taken = || {
        let sockets = std::fs::read_to_string(table).expect("the kernel has it");
        sockets.lines().any(is_own)
    };
    while !is_taken() {
        assert!(
            std::time::Instant::now() < deadline,
            "nobody listens on {port}"
        );
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

#[test]
fn ipv6_carries_both_modes() {
    let bench = Bench::new("client_ipv6");
    let callees = bench.callees_of(bench.agent_v6(), bench.msrp_peer_v6());
    let agent = callees.agent();
    let capture = bench.capture();
    let server = format!("[::1]:{}", agent.port());
    for (transport, more) in [("udp", &["Hi"][..]), ("tcp", &["--pager-max", "0", "Hi"])] {
        let mut command = program();
        command.args(["--json", "send", "--server", &server, "--from", ANNE]);
        command
            .args(["--transport", transport, "--to", "sip:bill@example.com"])
            .args(more);
        Running::start(command, "").succeeds();
    }
    let request = agent.expect_request("MESSAGE");
    let via = request.header("Via").expect("there is one");
    assert!(via.starts_with("SIP/2.0/UDP [::1]:"), "{via}");
    let call = callees.expect_call("bill");
    assert!(
        call.invite
            .header("Contact")
            .is_some_and(|c| c.contains("@[::1]:"))
    );
    assert_eq!(call.sdp().lines('c'), ["IN IP6 ::1"]);
    assert!(call.sdp().path().starts_with("msrp://[::1]:"));
    call.session.expect_message();
    capture.stop().assert_clean();
}

#[test]
fn every_reading_of_the_session_timer_can_be_tried() {
    let bench = Bench::new("client_every_reading_of_the_session_timer");
    let callees = bench.callees();
    let capture = bench.capture();
    for (place, (kind, value)) in [
        ("absent", None),
        ("plain", Some("600")),
        ("uas", Some("600;refresher=uas")),
        ("uac", Some("600;refresher=uac")),
    ]
    .into_iter()
    .enumerate()
    {
        let timer = [
            "--session-expires",
            kind,
            "--session-interval",
            "600",
            "--pager-max",
            "0",
        ];
        send(callees.agent().port(), &[&timer[..], &MESSAGE].concat()).succeeds();
        let call = callees.expect_nth_call("bill", place);
        assert_eq!(call.invite.header("Session-Expires"), value);
        assert_eq!(call.invite.header("Min-SE"), None);
    }
    capture.stop().assert_clean();
}
