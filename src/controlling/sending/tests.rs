//! What becomes of a request that has passed its checks.

use std::rc::Rc;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::controlling::checks::Check;
use crate::controlling::checks::tests::Case;
use crate::controlling::pager_mode::fixtures::Scripted;
use crate::controlling::{ControllingFunction, Sent};
use crate::shared::{MessageTable, OutstandingTable, RequestTable, SenderTable};

const STORE: &[(&str, &str)] = &[("store", "file:/nowhere")];

fn words(count: usize) -> &'static [AtomicU64] {
    let words: Vec<AtomicU64> = (0..count).map(|_| AtomicU64::new(0)).collect();
    words.leak()
}

/// With the tables that processes share.
fn service(parameters: &[(&str, &str)]) -> Rc<ControllingFunction> {
    let case = Case::with(parameters);
    let requests = RequestTable::new(words(RequestTable::words(8)), |bytes| bytes.fill(7), || 1);
    let messages = MessageTable::new(words(MessageTable::words(4)), 4, || 1_000);
    let senders = SenderTable::new(words(SenderTable::words(4)), |bytes| bytes.fill(7), || 1);
    let outstanding = OutstandingTable::new(words(OutstandingTable::WORDS), 7, || 1_000);
    let service = case.service().with_requests(requests);
    let service = service.with_messages(messages).with_senders(senders);
    Rc::new(service.with_outstanding(outstanding))
}

/// A message to two that has passed its checks.
fn accepted(service: &Rc<ControllingFunction>) -> Request {
    accepted_of(&Case::new(), service)
}

fn accepted_of(case: &Case<'_>, service: &Rc<ControllingFunction>) -> Request {
    let mut request = case.request_to(service);
    let host = Scripted::default();
    loop {
        match request.poll_check(&host) {
            Check::Ask(_) => request.handle_script(true, &host),
            Check::Accepted => return request,
            check => panic!("{check:?}: {:?}", request.reply()),
        }
    }
}

fn counted(host: &Scripted) -> Vec<(Counter, u32)> {
    host.counted.take()
}

/// The code of its reply, and whether the sender may try again later.
fn reply(request: &Request) -> Option<(u16, bool)> {
    let reply = request.reply()?;
    let headers = String::from_utf8_lossy(&reply.headers);
    Some((reply.code.as_u16(), headers.contains("Retry-After: ")))
}

#[test]
fn each_result_has_its_reply_and_its_counts() {
    use Counter::{Accepted, Merged, Refused, Repeated, Shares};
    let sent = || {
        let service = service(&[]);
        let request = accepted(&service);
        let FanOut::Done(reply) = request.fan_out(&Scripted::default()) else {
            panic!("nothing is in its way")
        };
        reply
    };
    let repeated = |is_answered| FanOut::Known(Known::Repeated { is_answered });
    type Expected<'a> = (Option<(u16, bool)>, &'a [(Counter, u32)]);
    let cases: [(FanOut, Expected<'_>); 10] = [
        (FanOut::HandedOver, (None, &[(Accepted, 1)])),
        (FanOut::Done(sent()), (Some((202, false)), &[(Accepted, 1)])),
        (FanOut::NoRoom, (Some((503, true)), &[(Refused, 1)])),
        (FanOut::Draining, (Some((503, true)), &[(Refused, 1)])),
        (
            FanOut::OverShare(Share::Sender),
            (Some((503, true)), &[(Shares, 1), (Refused, 1)]),
        ),
        (FanOut::Failed, (Some((500, false)), &[(Refused, 1)])),
        (repeated(true), (Some((202, false)), &[(Repeated, 1)])),
        (repeated(false), (None, &[(Repeated, 1)])),
        (
            FanOut::Known(Known::Merged),
            (Some((482, false)), &[(Merged, 1), (Refused, 1)]),
        ),
        (FanOut::NotAccepted, (None, &[])),
    ];
    for (result, (code, counts)) in cases {
        let name = format!("{result:?}");
        let mut request = accepted(&service(&[]));
        let host = Scripted::default();
        request.handle_fan_out(result, &host);
        assert_eq!(reply(&request), code, "{name}");
        assert_eq!(counted(&host), counts, "{name}");
    }
}

/// It counts once it is kept, which another process sees.
#[test]
fn a_message_for_the_store_is_not_accepted_yet() {
    let host = Scripted::default();
    host.takes.set(true);
    let mut request = accepted(&service(STORE));
    let result = request.fan_out(&host);
    assert!(matches!(result, FanOut::HandedOver), "{result:?}");
    assert!(host.sent.borrow().is_empty(), "before it is kept");
    let job = host.handed.borrow()[0].clone();
    assert!(FanOutJob::read(job.into()).is_some());
    request.handle_fan_out(result, &host);
    assert_eq!(counted(&host), []);
    assert_eq!(reply(&request), None);
}

/// What was refused leaves nothing behind.
#[test]
fn a_message_without_room_may_come_again() {
    for parameters in [STORE, &[]] {
        let service = service(parameters);
        let host = Scripted::default();
        *host.answers.borrow_mut() = vec![Sent::NoRoom; 2];
        let mut request = accepted(&service);
        let result = request.fan_out(&host);
        assert!(matches!(result, FanOut::NoRoom), "{result:?}");
        request.handle_fan_out(result, &host);
        assert_eq!(reply(&request), Some((503, true)));
        let messages = service.messages().unwrap();
        let is_recorded = |number| messages.message(number).is_some();
        assert!(!messages.newest_first().any(is_recorded));
        let again = accepted(&service);
        host.takes.set(true);
        let result = again.fan_out(&host);
        assert!(matches!(result, FanOut::HandedOver | FanOut::Done(_)));
        // Once it is taken, it is known.
        let result = again.fan_out(&host);
        assert!(matches!(result, FanOut::Known(_)), "{result:?}");
    }
}

/// Once somebody has a copy, nobody else is left out.
#[test]
fn a_message_that_has_begun_is_not_refused() {
    let host = Scripted::default();
    *host.answers.borrow_mut() = vec![Sent::Queued, Sent::NoRoom, Sent::NoRoom];
    let request = accepted(&service(&[]));
    let result = request.fan_out(&host);
    assert!(matches!(result, FanOut::Done(_)), "{result:?}");
    assert!(counted(&host).contains(&(Counter::Failed, 1)));
}

/// The job that another process gets of such a message.
fn job_of(parameters: &[(&str, &str)], fields: &str) -> FanOutJob {
    let case = Case {
        parameters,
        fields,
        ..Case::new()
    };
    let request = accepted_of(&case, &Rc::new(case.service()));
    pager_mode::fan_out_job(&request, Default::default(), &Scripted::default()).unwrap()
}

/// 1-to-many: what each recipient gets is a message to one, if the operator says so.
#[test]
fn a_copy_of_1_to_many_asks_for_the_service_of_one() {
    let fields = "P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group\r\n";
    for (service, asserted) in [("single", "msg"), ("copy", "msg.group")] {
        let job = job_of(&[("exploder_service", service)], fields);
        let headers = String::from_utf8(job.headers).unwrap();
        let line =
            format!("P-Asserted-Service: urn:urn-7:3gpp-service.ims.icsi.oma.cpm.{asserted}\r\n");
        assert!(headers.contains(&line), "{headers}");
    }
}

#[test]
fn the_isf_gets_what_only_it_can_reach() {
    let isf = ("isf_uri", "sip:isf.example.com");
    let to_isf = |parameters: &[(&str, &str)]| job_of(parameters, "").isf;
    let found = to_isf(&[isf]).expect("416 leads to it");
    assert_eq!(found.uri, "sip:isf.example.com");
    assert!(found.headers.starts_with(b"Route: <sip:isf.example.com"));
    assert!(to_isf(&[]).is_none());
    assert!(to_isf(&[isf, ("isf_codes", "404")]).is_none());
    assert!(to_isf(&[isf, ("outbound_proxy", "sip:proxy.example.com")]).is_none());
}
