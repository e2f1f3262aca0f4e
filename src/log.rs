//! Log lines: their severity, and the place in the source that they come from.

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

/// The severity of a log line, and the place that it comes from. Made by `at!`.
#[derive(Clone, Copy, Debug)]
pub struct LogAt {
    level: LogLevel,
    file: &'static str,
    line: u32,
    path: &'static str,
}

impl LogAt {
    /// For `at!`: `path` is that of an item inside the function.
    #[doc(hidden)]
    pub const fn new(level: LogLevel, file: &'static str, line: u32, path: &'static str) -> Self {
        LogAt {
            level,
            file,
            line,
            path,
        }
    }

    /// The severity.
    pub const fn level(&self) -> LogLevel {
        self.level
    }

    /// The source file, below `src/`.
    pub fn file(&self) -> &'static str {
        let below = self.file.rsplit_once("src/");
        below.map_or(self.file, |(_, file)| file)
    }

    /// Its line, from 1.
    pub const fn line(&self) -> u32 {
        self.line
    }

    /// The function, without its module and type. A closure is part of the function that has it.
    pub fn function(&self) -> &'static str {
        let mut names = self.path.rsplit("::").skip(1);
        names.find(|name| !name.starts_with('{')).unwrap_or("")
    }
}

/// The place where it stands, for a log line of this severity: `at!(Notice)`.
macro_rules! at {
    ($level:ident) => {{
        fn here() {}
        $crate::log::LogAt::new(
            $crate::log::LogLevel::$level,
            file!(),
            line!(),
            std::any::type_name_of_val(&here),
        )
    }};
}
pub(crate) use at;

#[cfg(test)]
mod tests {
    use super::*;

    struct Somebody;

    trait Tells {
        fn tells(&self) -> LogAt;
    }

    impl Tells for Somebody {
        fn tells(&self) -> LogAt {
            let inside = || at!(Error);
            inside()
        }
    }

    impl Somebody {
        fn says<T>(&self, _: T) -> LogAt {
            at!(Notice)
        }
    }

    #[test]
    fn a_place_is_file_line_and_function() {
        let line = line!() + 1;
        let place = at!(Debug);
        assert_eq!(place.file(), "log.rs");
        assert_eq!(place.line(), line);
        assert_eq!(place.level(), LogLevel::Debug);
        assert_eq!(place.function(), "a_place_is_file_line_and_function");
        assert_eq!(Somebody.tells().function(), "tells");
        assert_eq!(Somebody.says(Somebody).function(), "says");
    }
}
