//! Identifies the outgoing request whose end is reported.

use crate::shared::{Charge, RecipientLink};

/// The kind of request whose end is reported, encoded as [`OutgoingRequest::attempt`] in 64 bits,
/// of which the lowest is 1: a host can tell them from a pointer. A host with only 32 bits loses
/// the upper ones, which only speed up what a timeout does anyway.
///
/// ```text
///  63      32 31     2       1      0
/// [ charge   | link   | to_isf | 1 ]
///     62: is_resent, where no charge has a bit
/// ```
///
/// [`OutgoingRequest::attempt`]: super::OutgoingRequest::attempt
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A copy of a message.
    Copy {
        /// The recipient's copy to the ISF, after which there is no further one.
        to_isf: bool,
        /// Whether another process may have sent it before.
        is_resent: bool,
        /// The record of its recipient.
        link: RecipientLink,
        /// The shares that count its recipient until then.
        charge: Charge,
    },
    /// A notification of our own, whose end has no effect.
    Notification,
}

/// The one bit that a charge never has.
const RESENT: u32 = Charge::SPARE_BIT;

impl Attempt {
    pub(super) fn bits(self) -> u64 {
        match self {
            Attempt::Copy {
                to_isf,
                is_resent,
                link,
                charge,
            } => {
                let copy = link.bits() << 2 | u32::from(to_isf) << 1 | 1;
                let charge = charge.bits() & !RESENT | if is_resent { RESENT } else { 0 };
                u64::from(charge) << 32 | u64::from(copy)
            }
            // One in a thousand million records has a copy to the ISF with the same bits, whose end
            // is then not recorded.
            Attempt::Notification => u64::from(u32::MAX),
        }
    }

    pub(super) fn of_bits(bits: u64) -> Self {
        match bits as u32 {
            u32::MAX => Attempt::Notification,
            copy => Attempt::Copy {
                to_isf: copy & 2 == 2,
                link: RecipientLink::from_bits(copy >> 2),
                is_resent: (bits >> 32) as u32 & RESENT != 0,
                charge: Charge::from_bits((bits >> 32) as u32 & !RESENT),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_comes_back_as_it_was() {
        for bits in [0, 1, 2, 0x1234_5678, u32::MAX >> 2] {
            for (to_isf, is_resent) in [(false, false), (true, false), (false, true)] {
                let link = RecipientLink::from_bits(bits);
                let charge = Charge::from_bits(bits << 2 & !RESENT);
                let attempt = Attempt::Copy {
                    to_isf,
                    is_resent,
                    link,
                    charge,
                };
                assert_eq!(attempt.bits() & 1, 1);
                if attempt.bits() as u32 != u32::MAX {
                    assert_eq!(Attempt::of_bits(attempt.bits()), attempt);
                }
            }
        }
        let attempt = Attempt::Notification;
        assert_eq!(Attempt::of_bits(attempt.bits()), attempt);
    }
}
