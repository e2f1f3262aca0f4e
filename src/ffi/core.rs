//! The table that the core offers, `struct cpm_core`; each kind of handle has its entries in a file of its own.

use super::bindings::{CPM_ABI, cpm_core as CoreTable};
use super::groups::{check_group, groups_flush, groups_free, groups_new, uses_groups};
use super::job::{job_free, job_new, job_reply, job_run};
use super::names::{another_place, locate, names_ask, names_fd, names_new, names_next};
use super::notification::{forward_imdn, send_receipt};
use super::parameters::{parameter, service_tune, value};
use super::request::{
    check, fan_out, field, recipient, recipients, reply, request_free, set_originator,
};
use super::service::{classify, outcome, service_free, service_new, service_set, service_start};
use super::sessions::{
    names_session, sessions_ask, sessions_fd, sessions_gauges, sessions_new, sessions_see,
    sessions_shut_down, sessions_work, uses_sessions,
};
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
    classify: Some(classify),
    refuse_unparsed: Some(refuse_unparsed),
    forward_imdn: Some(forward_imdn),
    send_receipt: Some(send_receipt),
    check: Some(check),
    uses_groups: Some(uses_groups),
    groups_new: Some(groups_new),
    check_group: Some(check_group),
    groups_flush: Some(groups_flush),
    groups_free: Some(groups_free),
    fan_out: Some(fan_out),
    reply: Some(reply),
    field: Some(field),
    recipients: Some(recipients),
    recipient: Some(recipient),
    set_originator: Some(set_originator),
    request_free: Some(request_free),
    job_new: Some(job_new),
    job_run: Some(job_run),
    job_reply: Some(job_reply),
    job_free: Some(job_free),
    locate: Some(locate),
    another_place: Some(another_place),
    names_new: Some(names_new),
    names_fd: Some(names_fd),
    names_ask: Some(names_ask),
    names_next: Some(names_next),
    uses_sessions: Some(uses_sessions),
    names_session: Some(names_session),
    sessions_new: Some(sessions_new),
    sessions_fd: Some(sessions_fd),
    sessions_see: Some(sessions_see),
    sessions_work: Some(sessions_work),
    sessions_gauges: Some(sessions_gauges),
    sessions_ask: Some(sessions_ask),
    sessions_shut_down: Some(sessions_shut_down),
    outcome: Some(outcome),
};

/// The one symbol of the core: its table, or NULL when the caller was built for another ABI.
#[unsafe(no_mangle)]
pub extern "C" fn cpm_core(abi: u32) -> *const CoreTable {
    if abi == CPM_ABI {
        &raw const CORE
    } else {
        std::ptr::null()
    }
}
