//! The receiver's state machine on the program's sockets.

use std::collections::HashMap;
use std::time::Instant;

use bytes::BytesMut;
use cpm_client::{Receiver, ReceiverEvent, ReceiverOutput};
use cpm_wire::msrp_session::ConnectionId;

use crate::net::{Net, NetEvent};

/// A receiver, and its incomplete MSRP input.
pub(crate) struct Incoming {
    pub(crate) receiver: Receiver,
    inputs: HashMap<ConnectionId, BytesMut>,
}

impl Incoming {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self {
            receiver,
            inputs: HashMap::new(),
        }
    }

    /// Carries out actions of the state machine up to the next event for the user. `None`: there
    /// are none.
    pub(crate) fn poll_event(&mut self, net: &mut Net) -> Option<ReceiverEvent> {
        while let Some(output) = self.receiver.poll_output() {
            match output {
                ReceiverOutput::Sip(way, bytes) => net.send_sip(way, &bytes),
                ReceiverOutput::ConnectMsrp(id, target) => net.connect_msrp(id, &target),
                ReceiverOutput::CloseMsrp(id) => {
                    self.write_msrp(net, id);
                    net.close_msrp(id);
                    self.inputs.remove(&id);
                }
                ReceiverOutput::Event(event) => return Some(event),
            }
        }
        for id in net.msrp_connections() {
            self.write_msrp(net, id);
        }
        None
    }

    fn write_msrp(&mut self, net: &mut Net, id: ConnectionId) {
        while net.msrp_has_room(id)
            && let Some(bytes) = self.receiver.poll_msrp(id)
        {
            net.send_msrp(id, &bytes);
        }
    }

    /// Handles an event of an MSRP connection; other events are ignored.
    pub(crate) fn handle_msrp(&mut self, now: Instant, net: &mut Net, event: NetEvent) {
        match event {
            NetEvent::MsrpAccepted(id) => self.receiver.handle_msrp_accepted(id),
            NetEvent::MsrpOpen(id) => self.receiver.handle_msrp_connected(now, id),
            NetEvent::MsrpBytes(id, bytes) => {
                let input = self.inputs.entry(id).or_default();
                input.extend_from_slice(&bytes);
                self.receiver.handle_msrp_bytes(now, id, input);
                // A peer that sends requests without reading the answers is not waited for.
                self.write_msrp(net, id);
                if self.receiver.is_congested(id) {
                    net.close_msrp(id);
                    self.receiver.handle_msrp_closed(now, id);
                }
            }
            NetEvent::MsrpBroken(id, _) => {
                self.inputs.remove(&id);
                self.receiver.handle_msrp_closed(now, id);
            }
            NetEvent::Sip(..) | NetEvent::SipBroken(..) | NetEvent::Interrupted => {}
        }
    }
}
