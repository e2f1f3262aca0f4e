//! MSRP connections of a receiver: finding the session of a request.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use cpm_wire::msrp::{
    Event, Head, Kind, MsrpUri, ParseError, Parser, Status, write_bad_request, write_response,
};
use cpm_wire::msrp_session::ConnectionId;

/// One connection.
#[derive(Debug)]
pub(super) struct MsrpConnection {
    pub(super) id: ConnectionId,
    parser: Parser,
    /// Destination of the events of the current request; `None`: it has been answered.
    target: Option<MsrpUri>,
    /// Our responses to requests without a session.
    frames: VecDeque<Bytes>,
}

impl MsrpConnection {
    pub(super) fn new(id: ConnectionId) -> Self {
        Self {
            id,
            parser: Parser::new(),
            target: None,
            frames: VecDeque::new(),
        }
    }

    /// The next event, and its session. `find` tells whether there is such a session, and binds it
    /// to this connection. A request for no session is answered here.
    pub(super) fn poll_event(
        &mut self,
        input: &mut BytesMut,
        mut find: impl FnMut(&MsrpUri) -> Result<(), Status>,
    ) -> Result<Option<(MsrpUri, Event)>, ParseError> {
        while let Some(event) = self.parser.poll_event(input)? {
            match &event {
                Event::Head(head) => self.target = self.find(head, &mut find),
                Event::Malformed(malformed) => {
                    let mut out = BytesMut::new();
                    write_bad_request(&mut out, malformed);
                    self.push(out);
                    self.target = None;
                }
                Event::Content(_) | Event::End(_) => {}
            }
            if let Some(target) = &self.target {
                return Ok(Some((target.clone(), event)));
            }
        }
        Ok(None)
    }

    fn find(
        &mut self,
        head: &Head,
        find: &mut impl FnMut(&MsrpUri) -> Result<(), Status>,
    ) -> Option<MsrpUri> {
        let uri = head.to_path.first();
        match find(uri) {
            Ok(()) => Some(uri.clone()),
            Err(status) => {
                if matches!(head.kind, Kind::Request(_)) {
                    let mut out = BytesMut::new();
                    write_response(&mut out, head, status);
                    self.push(out);
                }
                None
            }
        }
    }

    fn push(&mut self, frame: BytesMut) {
        if !frame.is_empty() {
            self.frames.push_back(frame.freeze());
        }
    }

    /// Keeps the last output of a session that has ended.
    pub(super) fn push_frame(&mut self, frame: Bytes) {
        self.frames.push_back(frame);
    }

    pub(super) fn poll_frame(&mut self) -> Option<Bytes> {
        self.frames.pop_front()
    }

    pub(super) fn is_congested(&self) -> bool {
        self.frames.len() >= cpm_wire::msrp_session::MAX_PENDING_FRAMES
    }
}
