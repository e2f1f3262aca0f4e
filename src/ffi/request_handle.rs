//! What stands behind a `struct cpm_request`.

use std::cell::RefCell;
use std::rc::Rc;

use super::bindings::{cpm_host, cpm_request};
use super::handle::Handle;
use crate::controlling::Request;
use crate::processes::ReceivedRequest;

/// The content of a `struct cpm_request`.
pub(super) struct RequestHandle {
    pub(super) request: Rc<RefCell<Request>>,
    /// The name of its session, in large message mode.
    pub(super) session: Option<String>,
    /// `None`: lent to the script, to read it and to set what is asked.
    pub(super) received: Option<ReceivedRequest>,
    pub(super) host: *const cpm_host,
}

impl RequestHandle {
    pub(super) fn new(
        request: &Rc<RefCell<Request>>,
        received: Option<ReceivedRequest>,
        host: *const cpm_host,
    ) -> Self {
        let session = request.try_borrow().ok();
        let session = session.and_then(|request| request.session());
        RequestHandle {
            request: Rc::clone(request),
            session: session.map(|session| session.to_string()),
            received,
            host,
        }
    }

    /// Runs `body` with a handle that lives no longer, for a process that has none of C's.
    pub(super) fn lend<T>(
        request: &Rc<RefCell<Request>>,
        host: &cpm_host,
        body: impl FnOnce(*mut cpm_request) -> T,
    ) -> T {
        let lent = cpm_request::give(RequestHandle::new(request, None, host));
        let result = body(lent);
        // SAFETY: given above, and C has it no longer.
        drop(unsafe { cpm_request::take(lent) });
        result
    }
}

impl Handle for cpm_request {
    type Content = RequestHandle;
}
