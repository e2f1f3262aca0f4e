//! Severity of log lines.

/// Severity of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An internal error.
    Critical,
    /// A problem that the operator must fix.
    Error,
    /// A request was refused, a recipient failed.
    Notice,
    /// For debugging; may name subscribers' addresses.
    Debug,
}
