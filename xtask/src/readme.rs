//! `make readme`: makes the module's README from `doc/manual.md`, as plain text in the form of the
//! READMEs of Kamailio's modules.
//!
//! It supports the Markdown that the manual uses: headings, paragraphs, lists, indented code,
//! tables, links, `code` and emphasis.

use std::fmt::Write as _;
use std::fs;

/// Characters per line.
const WIDTH: usize = 72;
/// Indentation of the text of a chapter.
const INDENT: &str = "   ";

/// Writes the README.
///
/// # Errors
/// A file cannot be read or written.
pub fn run() -> Result<(), Box<dyn std::error::Error>> {
    let root = crate::root();
    let manual = fs::read_to_string(root.join("doc/manual.md"))?;
    fs::write(root.join("c_api/kamailio/README"), text(&manual))?;
    Ok(())
}

/// The manual as text.
pub fn text(manual: &str) -> String {
    let mut out = Text::default();
    let mut lines = manual.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("# ") {
            let _ = writeln!(out.body, "{title}\n\n{}\n", "_".repeat(WIDTH));
        } else if let Some(heading) = line.strip_prefix("## ") {
            out.chapter(heading);
        } else if let Some(heading) = line.strip_prefix("### ") {
            out.section(heading);
        } else if let Some(heading) = line.strip_prefix("#### ") {
            out.item(&plain(heading));
        } else if line.starts_with("![") {
            // A picture.
        } else if line.starts_with("    ") {
            out.body.push_str("...\n");
            let _ = writeln!(out.body, "{}", line.trim_start_matches("    "));
            // A blank line belongs to the code if more of it follows.
            let mut blank = 0;
            while let Some(next) = lines.next_if(|next| next.starts_with("    ") || next.is_empty())
            {
                if next.is_empty() {
                    blank += 1;
                    continue;
                }
                out.body.push_str(&"\n".repeat(blank));
                blank = 0;
                let _ = writeln!(out.body, "{}", &next[4..]);
            }
            out.body.push_str("...\n\n");
        } else if line.starts_with('|') {
            // The heading of a table adds nothing to its rows.
            if lines.next_if(|next| next.starts_with("|-")).is_none() {
                out.row(line);
            }
            if lines.peek().is_none_or(|next| !next.starts_with('|')) {
                out.body.push('\n');
            }
        } else if line.starts_with("<!--") || out.is_before_chapters() {
            // Marks for other tools, and the table of contents, which is generated again.
        } else if !line.is_empty() {
            let mut paragraph = line.trim().to_owned();
            let is_item = |line: &str| {
                line.starts_with("- ") || line.starts_with(|c: char| c.is_ascii_digit())
            };
            while let Some(next) = lines.next_if(|next| {
                !next.is_empty() && !next.starts_with(['|', '#', '<']) && !is_item(next)
            }) {
                paragraph.push(' ');
                paragraph.push_str(next.trim());
            }
            let more = lines.peek().is_some_and(|next| is_item(next));
            out.paragraph(&plain(&paragraph), line.starts_with("- "), more);
        }
    }
    out.finish()
}

#[derive(Default)]
struct Text {
    contents: String,
    body: String,
    chapter: String,
    section: usize,
    item: usize,
}

impl Text {
    /// Before the first chapter there are only the title and one line of description.
    fn is_before_chapters(&self) -> bool {
        self.chapter.is_empty()
    }

    fn chapter(&mut self, heading: &str) {
        let number = heading.split_once(". ").map_or("", |(number, _)| number);
        self.chapter = number.to_owned();
        (self.section, self.item) = (0, 0);
        let _ = writeln!(self.contents, "{INDENT}{heading}");
        let _ = writeln!(self.body, "{heading}\n");
    }

    fn section(&mut self, heading: &str) {
        self.section += 1;
        self.item = 0;
        let _ = writeln!(self.contents, "\n{INDENT}{INDENT}{heading}");
        let _ = writeln!(self.body, "{heading}\n");
    }

    fn item(&mut self, heading: &str) {
        self.item += 1;
        let number = match self.section {
            0 => format!("{}.{}.", self.chapter, self.item),
            section => format!("{}.{section}.{}.", self.chapter, self.item),
        };
        let _ = writeln!(self.contents, "{INDENT}{INDENT}{INDENT}{number} {heading}");
        let _ = writeln!(self.body, "{number} {heading}\n");
    }

    fn paragraph(&mut self, text: &str, is_item: bool, more: bool) {
        let text = text.strip_prefix("- ").unwrap_or(text);
        let first = if is_item { "     * " } else { INDENT };
        let rest = if is_item { "       " } else { INDENT };
        self.wrap(text, first, rest);
        if !(is_item && more) {
            self.body.push('\n');
        }
    }

    /// The first cell, with the others below it.
    fn row(&mut self, line: &str) {
        let cells: Vec<String> = line
            .trim_matches('|')
            .split('|')
            .map(|cell| plain(cell.trim()))
            .collect();
        let cells: Vec<&str> = cells
            .iter()
            .map(String::as_str)
            .filter(|cell| !cell.is_empty())
            .collect();
        self.wrap(&cells.join(" - "), "     * ", "       ");
    }

    fn wrap(&mut self, text: &str, first: &str, rest: &str) {
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in text.split_ascii_whitespace() {
            if !is_empty && line.chars().count() + 1 + word.chars().count() > WIDTH {
                let _ = writeln!(self.body, "{line}");
                line = rest.to_owned();
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        let _ = writeln!(self.body, "{line}");
    }

    fn finish(self) -> String {
        let (title, body) = self
            .body
            .split_at(self.body.find(&"_".repeat(WIDTH)).unwrap_or(0));
        let rule = "_".repeat(WIDTH);
        let body = body.trim_start_matches('_').trim_start();
        format!(
            "{title}{rule}\n\n{INDENT}Table of Contents\n\n{}\n{rule}\n\n{}\n",
            self.contents,
            body.trim_end()
        )
    }
}

/// A line without its markup.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find(['`', '[', '*']) {
        let (before, marked) = rest.split_at(open);
        out.push_str(before);
        rest = &marked[1..];
        match marked.as_bytes()[0] {
            b'`' => {
                // Code has no markup.
                let end = rest.find('`').unwrap_or(rest.len());
                out.push_str(&rest[..end]);
                rest = rest.get(end + 1..).unwrap_or("");
            }
            b'[' => match rest
                .split_once("](")
                .and_then(|(label, tail)| Some((label, tail.split_once(')')?)))
            {
                Some((label, (_, tail))) => {
                    out.push_str(label);
                    rest = tail;
                }
                None => out.push('['),
            },
            _ => {}
        }
    }
    out.push_str(rest);
    out
}
