//! How severe a log line is.

/// What a log line asks of its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// A fault of our own.
    Critical,
    /// Something that the operator has to mend.
    Error,
    /// A request was refused, a recipient failed.
    Notice,
    /// For finding faults; may name subscribers' addresses.
    Debug,
}
