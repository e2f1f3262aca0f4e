//! `struct cpm_core`, the table that the core offers; the entries for each kind of handle are in a
//! file of their own.

use super::bindings::{CPM_ABI, cpm_core as CoreTable};
use super::express::{express_heard, uses_express};
use super::mailbox::{
    mailbox_fd, mailbox_new, mailbox_stop, mailbox_take, mailbox_takes, mailbox_work, plan,
};
use super::operator::{
    counter, event, fault, gauge, gauge_value, hears_registrar, query, recipient_available,
};
use super::outgoing::{ended, is_session_name, responded};
use super::parameters::{parameter, service_tune, value};
use super::request::{
    answer, bytes, check, classify, fan_out, field, forward_imdn, handle, recipient, recipients,
    reply, request_free, set_originator,
};
use super::service::{service_free, service_new, service_set, service_start};
use super::unparsed::refuse_unparsed;

static CORE: CoreTable = CoreTable {
    abi: CPM_ABI,
    service_new: Some(service_new),
    service_set: Some(service_set),
    service_start: Some(service_start),
    parameter: Some(parameter),
    value: Some(value),
    service_tune: Some(service_tune),
    service_free: Some(service_free),
    handle: Some(handle),
    classify: Some(classify),
    check: Some(check),
    fan_out: Some(fan_out),
    reply: Some(reply),
    forward_imdn: Some(forward_imdn),
    answer: Some(answer),
    field: Some(field),
    bytes: Some(bytes),
    recipients: Some(recipients),
    recipient: Some(recipient),
    set_originator: Some(set_originator),
    request_free: Some(request_free),
    refuse_unparsed: Some(refuse_unparsed),
    ended: Some(ended),
    is_session_name: Some(is_session_name),
    responded: Some(responded),
    uses_express: Some(uses_express),
    express_heard: Some(express_heard),
    recipient_available: Some(recipient_available),
    hears_registrar: Some(hears_registrar),
    plan: Some(plan),
    mailbox_new: Some(mailbox_new),
    mailbox_fd: Some(mailbox_fd),
    mailbox_takes: Some(mailbox_takes),
    mailbox_take: Some(mailbox_take),
    mailbox_work: Some(mailbox_work),
    mailbox_stop: Some(mailbox_stop),
    counter: Some(counter),
    gauge: Some(gauge),
    event: Some(event),
    gauge_value: Some(gauge_value),
    query: Some(query),
    fault: Some(fault),
};

/// The one symbol of the core: its table, or NULL if the caller was built for another ABI.
#[unsafe(no_mangle)]
pub extern "C" fn cpm_core(abi: u32) -> *const CoreTable {
    if abi == CPM_ABI {
        &raw const CORE
    } else {
        std::ptr::null()
    }
}
