//! The entries of the table that are about the rest of a fan-out, in the process that works it off.

use std::ffi::{c_int, c_void};

use bytes::Bytes;

use super::bindings::{cpm_host, cpm_job, cpm_reply, cpm_service, cpm_str};
use super::boundary::boundary;
use super::host::{CHost, borrowed};
use super::request::lend_reply;
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::{FanOutJob, Host, LogLevel, Progress, Reply};

/// What a `struct cpm_job` is.
pub(super) struct JobHandle {
    pub(super) service: *const ServiceHandle,
    pub(super) host: *const cpm_host,
    pub(super) job: FanOutJob,
    pub(super) reply: Option<Reply>,
}

pub(super) extern "C" fn job_new(service: *const cpm_service, job: cpm_str) -> *mut cpm_job {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_ref() }) else {
        return std::ptr::null_mut();
    };
    boundary(
        || {
            // SAFETY: lent for the duration of this call (cpm.h).
            let bytes = Bytes::copy_from_slice(unsafe { borrowed(job) });
            match FanOutJob::read(bytes) {
                Some(job) => {
                    let handle = JobHandle {
                        service,
                        host: service.host,
                        job,
                        reply: None,
                    };
                    Box::into_raw(Box::new(handle)).cast()
                }
                None => std::ptr::null_mut(),
            }
        },
        |_| std::ptr::null_mut(),
    )
}

pub(super) extern "C" fn job_run(job: *mut cpm_job, context: *mut c_void, last: c_int) -> c_int {
    // SAFETY: NULL or from `job_new`, not freed, and used by this call only: one thread per process.
    let Some(handle) = (unsafe { job.cast::<JobHandle>().as_mut() }) else {
        return -1;
    };
    // SAFETY: the service lives as long as its jobs are used (cpm.h).
    let host = CHost::new(unsafe { table(handle.host) }, context);
    let service = handle.service;
    let JobHandle { job, reply, .. } = handle;
    boundary(
        || {
            // SAFETY: the service lives as long as its jobs are used (cpm.h).
            let Stage::Running(running) = (unsafe { &(*service).stage }) else {
                return -1;
            };
            let done = running.run(job, &host, last != 0) == Progress::Done;
            if done {
                running.handle_done(job, &host);
                *reply = Some(job.reply());
            }
            c_int::from(done)
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while fanning out"),
            );
            -1
        },
    )
}

pub(super) extern "C" fn job_reply(job: *const cpm_job, reply: *mut cpm_reply) -> c_int {
    // SAFETY: NULL or a live handle (cpm.h).
    let Some(handle) = (unsafe { job.cast::<JobHandle>().as_ref() }) else {
        return -1;
    };
    boundary(|| lend_reply(handle.reply.as_ref(), reply), |_| -1)
}

pub(super) extern "C" fn job_free(job: *mut cpm_job) {
    if job.is_null() {
        return;
    }
    // SAFETY: from `job_new`, freed once (cpm.h).
    let job = unsafe { Box::from_raw(job.cast::<JobHandle>()) };
    boundary(|| drop(job), |_| ());
}
