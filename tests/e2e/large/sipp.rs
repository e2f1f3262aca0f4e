//! Large messages between independent user agents: sipp as caller, and as callee.

use cpm_testbed::{Bench, Scenario, cc, large_message};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, cpm_proxy, duty, expect_counter, proves};
use crate::large::{ANNE, CHUNK, SIZE, expect_nothing_left};

/// Is called, answers with a description of `MSRP_PORT`, and gets a BYE.
const CALLEE: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="recipient">
  <recv request="INVITE"><action>
    <ereg regexp="recipient-list-history; handling=optional" search_in="msg" check_it="HISTORY" assign_to="1"/>
    <ereg regexp="a=setup:actpass" search_in="msg" check_it="true" assign_to="2"/>
    <ereg regexp="a=sendonly" search_in="msg" check_it="true" assign_to="3"/>
    <ereg regexp="refresher=uas" search_in="hdr" header="Session-Expires:" check_it="true" assign_to="4"/>
  </action></recv>
  <Reference variables="1,2,3,4"/>
  <send><![CDATA[
SIP/2.0 180 Ringing
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPp[call_number]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
  <pause milliseconds="100"/>
  <send retrans="500"><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:];tag=[pid]SIPp[call_number]
[last_Call-ID:]
[last_CSeq:]
Contact: <sip:[local_ip]:[local_port]>
Supported: timer
Session-Expires: 1800;refresher=uas
Content-Type: application/sdp
Content-Length: [len]

v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message MSRP_PORT TCP/MSRP *
a=path:MSRP_PATH
a=accept-types:message/cpim
a=accept-wrapped-types:*
a=recvonly
a=setup:passive
a=msrp-cema
]]></send>
  <recv request="ACK"/>
  <recv request="BYE"><action>
    <ereg regexp="SIP;cause=200" search_in="hdr" header="Reason:" check_it="true" assign_to="5"/>
  </action></recv>
  <Reference variables="5"/>
  <send><![CDATA[
SIP/2.0 200 OK
[last_Via:]
[last_From:]
[last_To:]
[last_Call-ID:]
[last_CSeq:]
Content-Length: 0

]]></send>
</scenario>
"#;

#[test]
fn sipp_is_called() {
    let bench = Bench::new("large_sipp_is_called");
    let (anne, sender, receiver) = (bench.agent(), bench.msrp_peer(), bench.msrp_peer());
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "msrp_listen", &listen));
    for (service, history) in [(EXPLODER, "false"), (CONTROLLING, "true")] {
        let there = receiver.session();
        let xml = CALLEE
            .replace("MSRP_PORT", &receiver.address().port().to_string())
            .replace("MSRP_PATH", there.path())
            .replace(
                " search_in=\"msg\" check_it=\"HISTORY\"",
                match history {
                    "true" => " search_in=\"msg\" check_it=\"true\"",
                    _ => " search_in=\"msg\" check_it_inverse=\"true\"",
                },
            );
        let sipp = bench.sipp(&Scenario::new(&xml));
        let capture = bench.capture();
        let recipient = format!("sip:bill@127.0.0.1:{}", sipp.port());
        let message = large_message(ANNE, service).recipients([cc(&recipient)]);
        let session = sender.session();
        let request = message.request(&anne, &session, SIZE);
        let mut call = anne.invites(&request, proxy.udp());
        session.sends_to(call.sdp().path());
        call.ack();
        session.connect_and_bind();
        let content = message.content(SIZE);
        session.deliver(&content, CHUNK);
        assert_eq!(there.expect_message().bytes, content);
        call.bye(200);
        let of_groups = ["9.1.2-8a", "9.1.2-8c-disp"];
        let duties = duty(service, &of_groups[..], &["9.1.2-9a"]);
        let both = ["9.1.2-ack-1", "9.1.2-bye-3"];
        proves!(duties.iter().chain(&both), sipp.finish());
        expect_nothing_left(&proxy, cpm_testbed::PATIENCE);
        capture.stop().assert_clean();
    }
    receiver.assert_no_faults();
    expect_counter(&proxy, "delivered", 2);
    proxy.stop();
}

/// Calls, acknowledges, and hangs up after `PAUSE` milliseconds.
const CALLER: &str = r#"<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="sender">
  <send retrans="500"><![CDATA[
INVITE SERVICE SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:anne@example.com>;tag=[pid]SIPp[call_number]
To: <SERVICE>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: <sip:anne@[local_ip]:[local_port]>
Accept-Contact: *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg"
P-Asserted-Identity: <sip:anne@example.com>
Conversation-ID: [call_id]
Contribution-ID: [call_id]
Supported: timer
Session-Expires: 1800;refresher=uac
Require: recipient-list-invite
Content-Type: multipart/mixed;boundary=b
Content-Length: [len]

--b
Content-Type: application/sdp

v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=message 9 TCP/MSRP *
a=path:msrp://127.0.0.1:9/sipp[call_number];tcp
a=accept-types:message/cpim
a=accept-wrapped-types:*
a=file-selector:size:1000
a=sendonly
a=setup:active
a=msrp-cema

--b
Content-Type: application/resource-lists+xml
Content-Disposition: recipient-list

<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="RECIPIENT"/></list></resource-lists>
--b--
]]></send>
  <recv response="100" optional="true"/>
  <recv response="200" rrs="true"><action>
    <ereg regexp="a=setup:passive" search_in="msg" check_it="true" assign_to="1"/>
    <ereg regexp="a=recvonly" search_in="msg" check_it="true" assign_to="2"/>
    <ereg regexp="refresher=uac" search_in="hdr" header="Session-Expires:" check_it="true" assign_to="3"/>
    <ereg regexp="timer" search_in="hdr" header="Require:" check_it="true" assign_to="4"/>
  </action></recv>
  <Reference variables="1,2,3,4"/>
  <send><![CDATA[
ACK [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:anne@example.com>;tag=[pid]SIPp[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 1 ACK
Content-Length: 0

]]></send>
  <pause milliseconds="50"/>
  <send retrans="500"><![CDATA[
BYE [next_url] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
Max-Forwards: 70
From: <sip:anne@example.com>;tag=[pid]SIPp[call_number]
[last_To:]
Call-ID: [call_id]
CSeq: 2 BYE
Reason: SIP;cause=480
Content-Length: 0

]]></send>
  <recv response="200"/>
</scenario>
"#;

#[test]
fn sipp_calls() {
    let bench = Bench::new("large_sipp_calls");
    let callees = bench.callees();
    let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
    let proxy = bench.proxy(&cpm_proxy(HANDLE).set("cpm", "msrp_listen", &listen));
    for (over_tcp, service) in [(false, EXPLODER), (true, CONTROLLING)] {
        let user = if over_tcp { "tess" } else { "bill" };
        let xml = CALLER
            .replace("SERVICE", service)
            .replace("RECIPIENT", &callees.uri(user));
        let way = if over_tcp { proxy.tcp() } else { proxy.udp() };
        proves!(
            [
                "9.1.2-200-1b",
                "9.1.2-200-1c",
                "9.1.2-200-2c",
                "9.1.2-200-2d",
                "9.1.2-bye-1"
            ],
            bench
                .sipp(
                    &Scenario::new(&xml)
                        .towards(way)
                        .calls(20)
                        .argument("-r")
                        .argument("50"),
                )
                .finish()
        );
        for place in 0..20 {
            let leg = callees.expect_nth_call(user, place);
            let bye = callees.expect_in(&leg, "BYE");
            assert!(
                bye.header("Reason")
                    .unwrap_or_default()
                    .starts_with("SIP;cause=480")
            );
        }
    }
    expect_nothing_left(&proxy, cpm_testbed::PATIENCE);
    proxy.stop();
}
