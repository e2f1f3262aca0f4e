//! `struct cpm_core`, the table that the core offers; the entries for each kind of handle are in a
//! file of their own.

use super::bindings::{CPM_ABI, cpm_core as CoreTable, cpm_limits};
use super::express::{express_heard, uses_express};
use super::mailbox::{
    mailbox_fd, mailbox_new, mailbox_stop, mailbox_take, mailbox_takes, mailbox_work, plan,
};
use super::operator::{
    counter, event, fault, gauge, gauge_value, hears_registrar, metrics, query, recipient_available,
};
use super::outgoing::{ended, is_session_name, responded};
use super::parameters::{parameter, service_tune, value};
use super::request::{
    answer, check, classify, fan_out, field, forward_imdn, handle, number, recipient, reply,
    request_free, set,
};
use super::service::{service_free, service_new, service_set, service_start};
use super::unparsed::refuse_unparsed;
use crate::controlling::MAX_LOGGED_CALL_ID_BYTES;
use crate::policy::ACK_TIMEOUT;
use crate::processes::limits;

const LIMITS: cpm_limits = cpm_limits {
    logged_call_id_bytes: MAX_LOGGED_CALL_ID_BYTES,
    ack_seconds: ACK_TIMEOUT.as_secs() as u32,
    scarce_memory_percent: limits::SCARCE_MEMORY_PERCENT,
    memory_retry_ms: limits::MEMORY_RETRY_MS,
    queue_percent: limits::QUEUE_PERCENT,
    express_min_segmented: limits::EXPRESS_MIN_SEGMENTED,
    express_piece_bytes: limits::EXPRESS_PIECE_BYTES,
    express_gather_us: limits::EXPRESS_GATHER_US,
    express_leave_us: limits::EXPRESS_LEAVE_US,
    express_gather_datagrams: limits::EXPRESS_GATHER_DATAGRAMS,
};

static CORE: CoreTable = CoreTable {
    abi: CPM_ABI,
    limits: LIMITS,
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
    number: Some(number),
    recipient: Some(recipient),
    set: Some(set),
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
    metrics: Some(metrics),
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
