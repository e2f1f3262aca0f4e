//! What an operator is told of a service at work: counters, gauges and the events of the routing
//! script. One row for each; the proxy registers them in a loop, by their numbers.

macro_rules! rows {
    ($(#[$meta:meta])* $kind:ident { $($variant:ident $name:literal $help:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind {
            $(#[doc = $help] $variant,)*
        }

        impl $kind {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$($kind::$variant),*];

            /// Its number in the contract with the proxy, from 0.
            pub const fn number(self) -> usize {
                self as usize
            }

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $($kind::$variant => $name,)*
                }
            }

            /// What it is, in a few words.
            pub const fn help(self) -> &'static str {
                match self {
                    $($kind::$variant => $help,)*
                }
            }
        }
    };
}

rows! {
    /// What is counted, summed over all processes from the start on.
    Counter {
        Requests "requests" "requests addressed to the Controlling Function",
        Accepted "accepted" "requests that were accepted and fanned out",
        Refused "refused" "requests that were refused",
        Recipients "recipients" "outgoing requests handed to the transaction layer or the express lane",
        Delivered "delivered" "recipients that have the message",
        Failed "failed" "recipients that finally failed",
        Interworked "interworked" "requests sent to the Interworking Selection Function",
        Loops "loops" "own addresses dropped from recipient lists",
        ImdnForwarded "imdn_forwarded"
            "disposition notifications forwarded to the sender of the message",
        ImdnUnknown "imdn_unknown"
            "disposition notifications about a message whose sender is not known",
        Repeated "repeated"
            "requests that came again after they had been taken, and were not fanned out again",
        Merged "merged"
            "requests that were taken already and came by another branch, refused with 482",
        Forgotten "forgotten"
            "requests that were forgotten before their time, for want of room (request_records)",
        Shares "shares" "requests refused because a share was used up",
        Stored "stored" "messages that were written to the store before their 202",
        StoreRefused "store_refused"
            "messages refused because the store was full or could not be written to",
        Resent "resent" "recipients that a message was sent to once more, from the store",
        Expired "expired" "recipients that have not got a message of the store in time",
        Express "express" "outgoing requests that left by the express lane, past tm",
        ExpressRepeated "express_repeated"
            "outgoing requests that the express lane has sent again",
        ExpressStrays "express_strays"
            "responses to the express lane that nobody waited for",
    }
}

rows! {
    /// What there is at the moment.
    Gauge {
        Sessions "sessions" "large message sessions at the moment",
        Connections "msrp_connections" "MSRP connections at the moment",
        Memory "msrp_memory" "bytes of large messages in memory at the moment",
        Spool "msrp_spool" "bytes of large messages in spool files at the moment",
        HeldBack "msrp_held_back" "large message sessions whose sender is held back at the moment",
        Outstanding "outstanding" "recipients of messages in the store that have not ended, at the moment",
        StoreBytes "store_bytes" "bytes of the store in use at the moment",
        StoreWrite "store_write_us"
            "how long the last write to the store took, with its sync, in microseconds",
        ExpressOutstanding "express_outstanding"
            "outgoing requests in the express lane that have not ended, at the moment",
        ExpressMemory "express_memory" "bytes of memory that they take at the moment",
    }
}

rows! {
    /// What the routing script is told of, or asked.
    Event {
        Authorize "authorize" "whether the originator of a request may go on",
        RecipientRequest "recipient-request" "a request to a recipient is about to be sent",
        RecipientFailed "recipient-failed" "a recipient finally failed",
        RecipientDelivered "recipient-delivered" "a recipient has the message",
        SessionEnd "session-end" "a large message session is over",
    }
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
}
