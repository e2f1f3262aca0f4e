//! How severe a log line is.

/// Severity of a log line: what it asks of the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An internal error.
    Critical,
    /// Something that the operator has to mend.
    Error,
    /// A request was refused, a recipient failed.
    Notice,
    /// For finding faults; may name subscribers' addresses.
    Debug,
}
