//! Exit codes, and error messages.

use std::fmt;
use std::io;

use cpm_client::{DraftError, Failure};
use serde_json::{Value, json};

/// Result of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Success.
    Done = 0,
    /// A file, an address or a socket of this machine.
    Local = 1,
    /// Invalid arguments; clap ends the program then.
    Usage = 2,
    /// The server or the recipient refused.
    Refused = 3,
    /// Nobody answered.
    NoAnswer = 4,
    /// It is unreachable.
    Unreachable = 5,
    /// The certificate of the peer is not valid.
    Certificate = 6,
    /// MSRP failed, or the peer left too early.
    Transfer = 7,
    /// The peer violated the protocol.
    WrongAnswer = 8,
    /// A password is missing or wrong.
    Unauthenticated = 9,
    /// `match`: not the same message.
    Different = 10,
    /// The message is sent, and some of its recipients have failed.
    Partly = 11,
    /// Ctrl-C.
    Cancelled = 130,
}

/// An error.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    words: String,
    advice: Option<String>,
    /// Code, reason and warnings of the answer.
    answer: Option<Value>,
}

impl Problem {
    pub(crate) fn local(words: impl Into<String>) -> Self {
        Self {
            exit: Exit::Local,
            words: words.into(),
            advice: None,
            answer: None,
        }
    }

    pub(crate) fn with(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    pub(crate) fn advise(mut self, advice: &str) -> Self {
        self.advice = Some(advice.to_owned());
        self
    }

    /// An invalid certificate.
    pub(crate) fn certificate(words: &str) -> Self {
        Self {
            exit: Exit::Certificate,
            words: words.to_owned(),
            advice: Some(
                "name the authority with --ca-file, or the server as its certificate does with --server; \
                 --insecure asks no questions, for a laboratory"
                    .to_owned(),
            ),
            answer: None,
        }
    }

    /// One JSON object.
    pub(crate) fn json(&self) -> Value {
        let mut object = json!({
            "event": "failed",
            "kind": self.exit.name(),
            "exit": self.exit as u8,
            "message": self.words,
            "advice": self.advice,
        });
        if let (Some(answer), Some(object)) = (&self.answer, object.as_object_mut()) {
            object.insert("answer".to_owned(), answer.clone());
        }
        object
    }
}

impl Exit {
    /// All, in the order of their numbers.
    pub(crate) const ALL: [Self; 13] = [
        Self::Done,
        Self::Local,
        Self::Usage,
        Self::Refused,
        Self::NoAnswer,
        Self::Unreachable,
        Self::Certificate,
        Self::Transfer,
        Self::WrongAnswer,
        Self::Unauthenticated,
        Self::Different,
        Self::Partly,
        Self::Cancelled,
    ];

    /// Its meaning, for the user.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "success: the message is sent, or all requested messages are received",
            Self::Local => "a file, an address or a socket of this machine",
            Self::Usage => "invalid arguments",
            Self::Refused => "the server or the recipient refused",
            Self::NoAnswer => "nobody answered in time",
            Self::Unreachable => "the server cannot be reached",
            Self::Certificate => "the certificate of the peer is not valid",
            Self::Transfer => "the transfer over MSRP failed",
            Self::WrongAnswer => "the peer violated the protocol",
            Self::Unauthenticated => "a password is missing or wrong",
            Self::Different => "match: not the same message",
            Self::Partly => "sent, but some recipients have failed",
            Self::Cancelled => "cancelled with Ctrl-C",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Usage => "usage",
            Self::Partly => "partly",
            Self::Local => "local",
            Self::Refused => "refused",
            Self::NoAnswer => "no-answer",
            Self::Unreachable => "unreachable",
            Self::Certificate => "certificate",
            Self::Transfer => "transfer",
            Self::WrongAnswer => "wrong-answer",
            Self::Unauthenticated => "unauthenticated",
            Self::Different => "different",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)?;
        match &self.advice {
            Some(advice) => write!(f, "\n  what to do: {advice}"),
            None => Ok(()),
        }
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        let exit = match &failure {
            Failure::Refused(_) => Exit::Refused,
            Failure::Unauthenticated(_) => Exit::Unauthenticated,
            Failure::NoAnswer(_) => Exit::NoAnswer,
            Failure::Unreachable(_) => Exit::Unreachable,
            Failure::WrongAnswer(_) => Exit::WrongAnswer,
            Failure::TooLarge(_) | Failure::Msrp(_) | Failure::PeerLeft => Exit::Transfer,
            Failure::Cancelled => Exit::Cancelled,
        };
        let answer = match &failure {
            Failure::Refused(refusal) | Failure::Unauthenticated(refusal) => Some(json!({
                "code": refusal.code,
                "reason": refusal.reason,
                "warnings": refusal.warnings,
                "retry_after": refusal.retry_after,
            })),
            _ => None,
        };
        Self {
            exit,
            words: failure.to_string(),
            advice: failure.advice(),
            answer,
        }
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::local(error.to_string())
    }
}

impl From<DraftError> for Problem {
    fn from(error: DraftError) -> Self {
        Self::local(error.to_string())
    }
}

impl From<rustls::Error> for Problem {
    fn from(error: rustls::Error) -> Self {
        Self::local(format!("TLS: {error}"))
    }
}
