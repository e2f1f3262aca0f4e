//! `make diagrams`: draws the sequence diagrams of the documentation from the text files beside
//! them.
//!
//! Each line is one element, from top to bottom:
//!
//! ```text
//! title: ...                subtitle: ...
//! actor NAME: label         from left to right
//! group FIRST LAST: label   a frame around these actors
//! A -> B: request           A --> B: response      (SIP)
//! A *> B: ...               MSRP                   A => B: between processes
//! note A: ...               event A: name of an event route
//! ```

use std::fmt::{self, Write as _};
use std::fs;

/// Distance between two actors, and between two lines.
const COLUMN: usize = 170;
const ROW: usize = 26;
/// Space above the first line.
const HEAD: usize = 128;
const MARGIN: usize = 90;

/// Readable on light and on dark backgrounds, with colours that are distinct for every kind of
/// colour blindness (after Okabe and Ito).
const STYLE: &str = "text{font-family:system-ui,sans-serif;font-size:12px;fill:#24292f}\
.title{font-size:17px;font-weight:600}.faint{fill:#57606a}.middle{text-anchor:middle}.actor{font-weight:600;text-anchor:middle}\
.life{stroke:#8c959f;stroke-dasharray:2 4}.frame{fill:none;stroke:#8c959f;rx:6}.box{fill:#f6f8fa;stroke:#8c959f}\
.sip{stroke:#0072b2;fill:#0072b2}.msrp{stroke:#009e73;fill:#009e73}.inner{stroke:#d55e00;fill:#d55e00}\
line{stroke-width:1.5}.response{stroke-dasharray:6 4}.note{fill:#fff8c5;stroke:#d4a72c}.event{fill:#ddf4ff;stroke:#54aeff}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.faint{fill:#9198a1}.box{fill:#161b22;stroke:#6e7681}.note{fill:#3b2f00;stroke:#9e6a03}\
.event{fill:#0c2d6b;stroke:#1f6feb}.sip{stroke:#56b4e9;fill:#56b4e9}.msrp{stroke:#3fcf9f;fill:#3fcf9f}.inner{stroke:#ff9f5a;fill:#ff9f5a}}";

/// Draws all of them.
///
/// # Errors A file cannot be read or written, or has a line that cannot be drawn.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let folder = crate::root().join("doc");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "sequence")
        {
            let picture = svg(&fs::read_to_string(&path)?)
                .map_err(|error| format!("{}: {error}", path.display()))?;
            fs::write(path.with_extension("svg"), picture)?;
        }
    }
    Ok(())
}

/// A line that is unknown, or whose label is wider than its arrow.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine(String);

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the line {:?} is unknown, or its label is wider than its arrow",
            self.0
        )
    }
}

impl std::error::Error for BadLine {}

#[derive(Debug, Default)]
struct Diagram<'a> {
    title: &'a str,
    subtitle: &'a str,
    /// Name and label.
    actors: Vec<(&'a str, &'a str)>,
    /// First and last actor, and label.
    groups: Vec<(usize, usize, &'a str)>,
    steps: Vec<Step<'a>>,
}

#[derive(Debug)]
enum Step<'a> {
    Message {
        from: usize,
        to: usize,
        class: &'static str,
        text: &'a str,
    },
    Note {
        at: usize,
        class: &'static str,
        text: &'a str,
    },
}

/// The picture of a diagram.
pub fn svg(source: &str) -> Result<String, BadLine> {
    Ok(Diagram::parse(source)?.write())
}

impl<'a> Diagram<'a> {
    fn parse(source: &'a str) -> Result<Self, BadLine> {
        let mut diagram = Diagram::default();
        for line in source
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            diagram.read(line).ok_or_else(|| BadLine(line.to_owned()))?;
        }
        Ok(diagram)
    }

    fn read(&mut self, line: &'a str) -> Option<()> {
        let (front, text) = line.split_once(": ")?;
        let words: Vec<&str> = front.split_ascii_whitespace().collect();
        match *words {
            ["title"] => self.title = text,
            ["subtitle"] => self.subtitle = text,
            ["actor", name] => self.actors.push((name, text)),
            ["group", first, last] => {
                let group = (self.actor(first)?, self.actor(last)?, text);
                self.groups.push(group);
            }
            [class @ ("note" | "event"), name] => {
                let class = if class == "note" { "note" } else { "event" };
                let at = self.actor(name)?;
                self.steps.push(Step::Note { at, class, text });
            }
            [from, arrow, to] => {
                let class = match arrow {
                    "->" => "sip",
                    "-->" => "sip response",
                    "*>" => "msrp",
                    "=>" => "inner",
                    _ => return None,
                };
                let (from, to) = (self.actor(from)?, self.actor(to)?);
                if width(text) > column(from).abs_diff(column(to)) {
                    return None;
                }
                self.steps.push(Step::Message {
                    from,
                    to,
                    class,
                    text,
                });
            }
            _ => return None,
        }
        Some(())
    }

    fn actor(&self, name: &str) -> Option<usize> {
        self.actors.iter().position(|(known, _)| *known == name)
    }

    fn write(&self) -> String {
        let width = 2 * MARGIN + COLUMN * self.actors.len().saturating_sub(1);
        let bottom = HEAD + ROW * (self.steps.len() + 1);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
             <text class=\"title\" x=\"16\" y=\"28\">{title}</text>\n\
             <text class=\"faint\" x=\"16\" y=\"48\">{subtitle}</text>\n",
            height = bottom + 16,
            title = escaped(self.title),
            subtitle = escaped(self.subtitle),
        );
        for (first, last, label) in &self.groups {
            let (left, right) = (column(*first) - 78, column(*last) + 78);
            let _ = writeln!(
                svg,
                "<rect class=\"frame\" x=\"{left}\" y=\"64\" width=\"{}\" height=\"{}\"/>\
                 <text class=\"faint\" x=\"{}\" y=\"80\">{}</text>",
                right - left,
                bottom - 60,
                left + 8,
                escaped(label),
            );
        }
        for (number, (_, label)) in self.actors.iter().enumerate() {
            let x = column(number);
            let _ = writeln!(
                svg,
                "<line class=\"life\" x1=\"{x}\" x2=\"{x}\" y1=\"114\" y2=\"{bottom}\"/>\
                 <rect class=\"box\" x=\"{}\" y=\"88\" width=\"136\" height=\"26\" rx=\"4\"/>\
                 <text class=\"actor\" x=\"{x}\" y=\"105\">{}</text>",
                x - 68,
                escaped(label),
            );
        }
        for (number, step) in self.steps.iter().enumerate() {
            step.write(HEAD + ROW * (number + 1), &mut svg);
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Step<'_> {
    fn write(&self, y: usize, svg: &mut String) {
        match *self {
            Step::Message {
                from,
                to,
                class,
                text,
            } => {
                let (start, end) = (column(from), column(to));
                // The head points in the direction of the arrow.
                let back = if end > start { end - 8 } else { end + 8 };
                let _ = writeln!(
                    svg,
                    "<line class=\"{class}\" x1=\"{start}\" x2=\"{back}\" y1=\"{y}\" y2=\"{y}\"/>\
                     <polygon class=\"{}\" points=\"{end},{y} {back},{} {back},{}\"/>\
                     <text class=\"middle\" x=\"{}\" y=\"{}\">{}</text>",
                    class.split(' ').next().unwrap_or_default(),
                    y - 4,
                    y + 4,
                    (start + end) / 2,
                    y - 5,
                    escaped(text),
                );
            }
            Step::Note { at, class, text } => {
                let width = 16 + width(text);
                let x = column(at);
                let _ = writeln!(
                    svg,
                    "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{width}\" height=\"20\" rx=\"3\"/>\
                     <text class=\"middle\" x=\"{x}\" y=\"{}\">{}</text>",
                    x - (width / 2).min(x),
                    y - 15,
                    y - 1,
                    escaped(text),
                );
            }
        }
    }
}

/// The approximate width of a text.
fn width(text: &str) -> usize {
    text.chars().count() * 63 / 10
}

fn column(number: usize) -> usize {
    MARGIN + COLUMN * number
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
