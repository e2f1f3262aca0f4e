//! The notification that all recipients of a MESSAGE have failed (9.1.1-7; readings N21).

use cpm_testbed::{
    Agent, Answer, Bench, CpmMessage, Message, Proxy, ProxyConfig, Request, cpm_message, to,
};

use crate::common::{CONTROLLING, EXPLODER, HANDLE, counter, cpm_proxy, exchange, expect_counter};
use crate::groups::{GroupFolder, address, group_proxy, open_group, to_group};

fn telling(config: ProxyConfig) -> ProxyConfig {
    config.set("cpm", "failure_imdn", "yes")
}

/// The request, with another request for notifications in its CPIM header.
fn wishing(message: &CpmMessage, wishes: &str) -> Request {
    let request = message.request();
    let content_type = request.header("Content-Type").unwrap_or_default();
    let content_type = content_type.to_owned();
    let body = String::from_utf8_lossy(request.body()).replace("positive-delivery", wishes);
    request.with_body(&content_type, body)
}

fn id(request: &Request) -> String {
    request
        .header("Contribution-ID")
        .unwrap_or_default()
        .to_owned()
}

/// Whether it reports that this message has failed.
fn is_about(received: &Message, request: &Request) -> bool {
    let body = String::from_utf8_lossy(received.body()).into_owned();
    body.contains(&format!("<message-id>{}</message-id>", id(request)))
        && body.contains("<status><failed/></status>")
}

/// Sends a message that fails at all its recipients, and waits for the notification of it: any
/// other would have arrived before.
#[track_caller]
fn is_told_next(anne: &Agent, service: &str, recipients: &[String], proxy: &Proxy) {
    let recipients = recipients.iter().map(|uri| to(uri));
    let message = cpm_message(&anne.uri("anne"), service).recipients(recipients);
    let request = wishing(&message, "negative-delivery");
    exchange(anne, &request, proxy, 202);
    let told = anne.expect_request("MESSAGE");
    assert!(is_about(&told, &request), "{:?}", *told);
}

#[test]
fn the_sender_is_told_that_all_have_failed() {
    let bench = Bench::new("the_sender_is_told_that_all_have_failed");
    let proxy = bench.proxy(&telling(cpm_proxy(HANDLE)));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    bill.answers(Answer::code(404));
    carol.answers(Answer::code(486));
    let capture = bench.capture();
    for service in [EXPLODER, CONTROLLING] {
        let message = cpm_message(&anne.uri("anne"), service)
            .recipients([to(&bill.uri("bill")), to(&carol.uri("carol"))]);
        let request = wishing(&message, "display, negative-delivery");
        exchange(&anne, &request, &proxy, 202);
        let told = anne.expect_request("MESSAGE");
        assert!(is_about(&told, &request), "{:?}", *told);
        assert_eq!(told.uri(), Some(&*anne.uri("anne")));
        assert_eq!(told.header("To"), Some(&*format!("<{}>", anne.uri("anne"))));
        let from = told.header("From").unwrap_or_default();
        assert!(from.starts_with(&format!("<{service}>;tag=")), "{from}");
        assert_eq!(
            told.headers("P-Asserted-Identity"),
            [format!("<{service}>")]
        );
        for name in ["Accept-Contact", "Conversation-ID", "Contribution-ID"] {
            assert_eq!(told.header(name), request.header(name), "{name}");
        }
        assert_eq!(told.header("User-Agent"), Some("CPM-serv/OMA2.2"));
        assert_eq!(told.header("Max-Forwards"), Some("70"));
        assert_eq!(told.header("Content-Type"), Some("message/cpim"));
        let body = String::from_utf8_lossy(told.body()).into_owned();
        let start = format!(
            "From: <{service}>\r\nTo: <{}>\r\nNS: imdn <urn:ietf:params:imdn>\r\nimdn.Message-ID: ",
            anne.uri("anne")
        );
        assert!(body.starts_with(&start), "{body}");
        for part in [
            "\r\n\r\nContent-Type: message/imdn+xml\r\nContent-Disposition: notification\r\n",
            "<datetime>2026-01-02T03:04:05Z</datetime>",
            &format!("<recipient-uri>{service}</recipient-uri>"),
        ] {
            assert!(body.contains(part), "{part} is not in {body}");
        }
        // It requests nothing itself.
        assert!(!body.contains("Disposition-Notification"));
    }
    expect_counter(&proxy, "failed", 4);
    assert_eq!(counter(&proxy, "recipients"), 4, "it is none of these");
    assert_eq!(counter(&proxy, "delivered"), 0);
    anne.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
}

#[test]
fn nothing_is_told_of_other_messages() {
    let bench = Bench::new("nothing_is_told_of_other_messages");
    let proxy = bench.proxy(&telling(cpm_proxy(HANDLE)));
    let silent = bench.proxy(&cpm_proxy(HANDLE));
    let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
    carol.answers(Answer::code(486));
    let capture = bench.capture();
    let of = |recipients: &[&str]| {
        let recipients = recipients.iter().map(|uri| to(uri));
        cpm_message(&anne.uri("anne"), EXPLODER).recipients(recipients)
    };
    let (bill, carol) = (bill.uri("bill"), carol.uri("carol"));
    // One recipient has it; none has it, but the sender wants no notification; the message has no
    // date, which the notification would need; the operator has turned notifications off.
    let wanted = wishing(&of(&[&bill, &carol]), "negative-delivery");
    exchange(&anne, &wanted, &proxy, 202);
    let unwanted = of(&[&carol]).request();
    exchange(&anne, &unwanted, &proxy, 202);
    let timeless = wishing(&of(&[&carol]), "negative-delivery");
    let body = String::from_utf8_lossy(timeless.body()).replace("DateTime: ", "X-Time: ");
    let content_type = timeless
        .header("Content-Type")
        .unwrap_or_default()
        .to_owned();
    exchange(&anne, &timeless.with_body(&content_type, body), &proxy, 202);
    let wanted = wishing(&of(&[&carol]), "negative-delivery");
    exchange(&anne, &wanted, &silent, 202);
    expect_counter(&proxy, "failed", 3);
    proxy.expect_log("not told that all recipients have failed: the message lacks");
    expect_counter(&silent, "failed", 1);
    is_told_next(&anne, EXPLODER, &[carol], &proxy);
    anne.expect_nothing_until(|| proxy.ping());
    capture.stop().assert_clean();
    proxy.stop();
    silent.stop();
}

#[test]
fn who_cannot_even_be_sent_to_has_failed_too() {
    let bench = Bench::new("who_cannot_even_be_sent_to");
    let proxy = bench.proxy(&telling(cpm_proxy(HANDLE)));
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(480));
    let nowhere = "sip:x@nowhere.invalid".to_owned();
    is_told_next(&anne, EXPLODER, std::slice::from_ref(&nowhere), &proxy);
    is_told_next(
        &anne,
        EXPLODER,
        &[nowhere.clone(), bill.uri("bill")],
        &proxy,
    );
    is_told_next(&anne, CONTROLLING, &[bill.uri("bill"), nowhere], &proxy);
    anne.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "failed", 5);
    proxy.stop();
}

#[test]
fn who_is_reached_by_interworking_has_not_failed() {
    let bench = Bench::new("who_is_reached_by_interworking");
    let isf = bench.agent();
    let config = telling(cpm_proxy(HANDLE)).set("cpm", "isf_uri", &isf.uri("isf"));
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    bill.answers(Answer::code(404));
    isf.answers(Answer::sequence([Answer::code(200), Answer::code(500)]));
    let message = cpm_message(&anne.uri("anne"), EXPLODER).recipients([to(&bill.uri("bill"))]);
    exchange(&anne, &wishing(&message, "negative-delivery"), &proxy, 202);
    expect_counter(&proxy, "delivered", 1);
    // The ISF's response is final.
    is_told_next(&anne, EXPLODER, &[bill.uri("bill")], &proxy);
    // So it applies to recipients that only it can reach.
    is_told_next(&anne, EXPLODER, &["tel:+12015550123".to_owned()], &proxy);
    anne.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "failed", 2);
    proxy.stop();
}

#[test]
fn a_group_whose_members_all_fail_says_so() {
    let bench = Bench::new("a_group_whose_members_all_fail");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    all.answers(Answer::code(480));
    let members: Vec<String> = (0..300).map(|user| all.uri(&format!("u{user}"))).collect();
    folder.put("crowd", &open_group("crowd").members(&members));
    let proxy = bench.proxy(&telling(group_proxy(&folder.source())));
    let request = wishing(&to_group(&anne.uri("anne"), "crowd"), "negative-delivery");
    exchange(&anne, &request, &proxy, 202);
    let told = anne.expect_request("MESSAGE");
    assert!(is_about(&told, &request), "{:?}", *told);
    assert_eq!(
        told.headers("P-Asserted-Identity"),
        [format!("<{}>", address("crowd"))]
    );
    anne.expect_nothing_until(|| proxy.ping());
    expect_counter(&proxy, "failed", 300);
    proxy.stop();
}
