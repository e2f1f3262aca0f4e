//! Reports of a running service to the operator: counters, gauges and the events of the routing
//! script. One row for each; the proxy registers them in a loop, by number.

use std::fmt::Write as _;

macro_rules! rows {
    ($(#[$meta:meta])* $kind:ident { $($variant:ident $name:literal $help:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $(#[doc = $help] $variant,)*
        }

        impl $kind {
            /// All, in the order of their numbers.
            pub const ALL: &[Self] = &[$($kind::$variant),*];

            /// The number in the contract with the proxy, from 0.
            pub const fn number(self) -> usize {
                self as usize
            }

            /// The name.
            pub const fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                }
            }

            /// A short description.
            pub const fn help(self) -> &'static str {
                match self {
                    $($kind::$variant => $help,)*
                }
            }
        }
    };
}

rows! {
    /// Counters, summed over all processes since the start.
    Counter {
        Requests "requests" "requests addressed to the Controlling Function",
        Accepted "accepted" "requests that were accepted and fanned out",
        Refused "refused" "requests that were refused",
        Recipients "recipients" "outgoing requests handed to the transaction layer or the express lane",
        Delivered "delivered" "recipients that have the message",
        Failed "failed" "recipients that have finally failed",
        Interworked "interworked" "requests sent to the Interworking Selection Function",
        Loops "loops" "own addresses dropped from recipient lists",
        ImdnForwarded "imdn_forwarded"
            "disposition notifications forwarded to the sender of the message",
        ImdnUnknown "imdn_unknown"
            "disposition notifications about a message whose sender is not known",
        Repeated "repeated"
            "repeated requests that tm had forgotten, and that were not fanned out again",
        Merged "merged"
            "requests accepted before over another branch, refused with 482",
        Forgotten "forgotten"
            "requests forgotten early because the table was full (request_records)",
        Shares "shares" "requests refused because a share was used up",
        Stored "stored" "messages that were written to the store before their 202",
        StoreRefused "store_refused"
            "messages refused because the store was full or could not be written to",
        Resent "resent" "recipients that a message was sent to once more, from the store",
        Expired "expired" "recipients that have not got a message of the store in time",
        Deferred "deferred" "recipients that could not be reached, and that a message waits for",
        Express "express" "outgoing requests sent by the express lane, past tm",
        ExpressByTm "express_by_tm" "outgoing MESSAGEs sent through tm",
        ExpressRepeated "express_repeated" "outgoing requests that the express lane retransmitted",
        ExpressStrays "express_strays"
            "responses to the express lane that no transaction waited for",
    }
}

rows! {
    /// Gauges: current values.
    Gauge {
        Sessions "sessions" "current large message sessions",
        Connections "msrp_connections" "current MSRP connections",
        Memory "msrp_memory" "current bytes of large messages in memory",
        Spool "msrp_spool" "current bytes of large messages in spool files",
        HeldBack "msrp_held_back" "large message sessions whose sender is currently held back",
        Outstanding "outstanding"
            "recipients of messages in the store that have not ended and do not wait, at the moment",
        Waiting "waiting" "recipients that messages in the store wait for at the moment",
        StoreBytes "store_bytes" "bytes of the store in use at the moment",
        StoreWrite "store_write_us"
            "how long the last write to the store took, with its sync, in microseconds",
        ExpressOutstanding "express_outstanding"
            "current outgoing requests in the express lane that have not ended",
        ExpressMemory "express_memory" "current bytes of memory of the express lane",
    }
}

impl Counter {
    /// The name in Prometheus's form, which follows `cpm_`.
    pub const fn metric(self) -> &'static str {
        match self {
            // `recipients_total` counts those that have ended, by outcome.
            Counter::Recipients => "outgoing_requests",
            _ => self.name(),
        }
    }
}

/// What one of a gauge's values is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of something.
    One,
    /// A byte.
    Byte,
    /// A microsecond.
    Microsecond,
}

impl Gauge {
    /// The name in Prometheus's form, with its unit and without `cpm_`, and the unit of the values
    /// here.
    pub const fn metric(self) -> (&'static str, Unit) {
        match self {
            Gauge::Memory => ("msrp_memory_bytes", Unit::Byte),
            Gauge::Spool => ("msrp_spool_bytes", Unit::Byte),
            Gauge::StoreBytes => (self.name(), Unit::Byte),
            Gauge::StoreWrite => ("store_write_seconds", Unit::Microsecond),
            Gauge::ExpressMemory => ("express_memory_bytes", Unit::Byte),
            _ => (self.name(), Unit::One),
        }
    }
}

rows! {
    /// Events that the routing script receives. The first ones ask it for an answer.
    Event {
        Authorize "authorize" "asks whether the originator of a request may send",
        Checked "checked" "asks whether a request that has passed its checks may be sent",
        RecipientRequest "recipient-request" "a request to a recipient is about to be sent",
        RecipientFailed "recipient-failed" "a recipient has finally failed",
        RecipientDelivered "recipient-delivered" "a recipient has the message",
        RecipientDeferred "recipient-deferred"
            "a recipient could not be reached, and the message waits for it",
        SessionEnd "session-end" "a large message session has ended",
    }
}

/// The counters and gauges of the operator in Prometheus's text, with the values that they have.
pub fn text_of_rows(counter: impl Fn(Counter) -> u64, gauge: impl Fn(Gauge) -> u64) -> String {
    let mut text = String::with_capacity(8 * 1024);
    for row in Counter::ALL {
        let name = format!("{}_total", row.metric());
        head(&mut text, &name, "counter", row.help());
        let _ = writeln!(text, "cpm_{name} {}", counter(*row));
    }
    for row in Gauge::ALL {
        let (name, unit) = row.metric();
        head(&mut text, name, "gauge", row.help());
        let value = gauge(*row);
        let _ = match unit {
            Unit::One | Unit::Byte => writeln!(text, "cpm_{name} {value}"),
            Unit::Microsecond => {
                let (seconds, rest) = (value / 1_000_000, value % 1_000_000);
                writeln!(text, "cpm_{name} {seconds}.{rest:06}")
            }
        };
    }
    text
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP cpm_{name} {help}\n# TYPE cpm_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn numbers_are_places_and_no_name_is_there_twice() {
        fn check<T: Copy>(all: &[T], number: fn(T) -> usize, name: fn(T) -> &'static str) {
            let numbers: Vec<usize> = all.iter().map(|&row| number(row)).collect();
            assert_eq!(numbers, (0..all.len()).collect::<Vec<_>>());
            let names: BTreeSet<&str> = all.iter().map(|&row| name(row)).collect();
            assert_eq!(names.len(), all.len());
        }
        check(Counter::ALL, Counter::number, Counter::name);
        check(Gauge::ALL, Gauge::number, Gauge::name);
        check(Event::ALL, Event::number, Event::name);
    }

    #[test]
    fn every_counter_and_gauge_has_its_lines() {
        let text = text_of_rows(|row| row.number() as u64, |_| 1_500_000);
        for line in [
            "# TYPE cpm_requests_total counter",
            "cpm_requests_total 0",
            "cpm_accepted_total 1",
            "cpm_outgoing_requests_total 3",
            "# TYPE cpm_sessions gauge",
            "cpm_sessions 1500000",
            "cpm_msrp_memory_bytes 1500000",
            "cpm_store_write_seconds 1.500000",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
        let helps = text.lines().filter(|line| line.starts_with("# HELP cpm_"));
        assert_eq!(helps.count(), Counter::ALL.len() + Gauge::ALL.len());
        let types = text.lines().filter(|line| line.starts_with("# TYPE"));
        let names: BTreeSet<&str> = types.collect();
        assert_eq!(names.len(), Counter::ALL.len() + Gauge::ALL.len());
    }
}
