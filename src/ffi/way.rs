//! Converts addresses and ways of the express lane between C and Rust.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::bindings::{cpm_express_address, cpm_express_way};
use crate::controlling::express::{Timers, Transport, Way};

/// A way from C, with its texts.
pub(super) fn way_of<'a>(way: &cpm_express_way, via: [&'a [u8]; 2]) -> Way<'a> {
    let [a, b, c, d, ..] = way.to.ip;
    // Lossless: the host passes a port.
    let port = way.to.port as u16;
    let usual = Timers::default();
    let given = |ms: u32, usual_ms: u32| if ms > 0 { ms } else { usual_ms };
    Way {
        transport: if way.is_reliable != 0 {
            Transport::Tcp
        } else {
            Transport::Udp
        },
        socket: way.socket,
        address: match way.to.len {
            16 => (Ipv6Addr::from(way.to.ip), port).into(),
            _ => (Ipv4Addr::new(a, b, c, d), port).into(),
        },
        via,
        timers: Timers {
            t1_ms: given(way.t1_ms, usual.t1_ms),
            t2_ms: given(way.t2_ms, usual.t2_ms),
            f_ms: given(way.f_ms, usual.f_ms),
        },
        max_datagram_bytes: way.max_datagram_bytes,
    }
}

/// An address in the form that C takes.
pub(super) fn address_to_c(address: SocketAddr) -> cpm_express_address {
    let mut ip = [0; 16];
    let len = match address {
        SocketAddr::V4(v4) => {
            ip[..4].copy_from_slice(&v4.ip().octets());
            4
        }
        SocketAddr::V6(v6) => {
            ip = v6.ip().octets();
            16
        }
    };
    cpm_express_address {
        ip,
        len,
        port: u32::from(address.port()),
    }
}
