//! Reads Rust sources as far as the floors need it: the modules of a crate, and which files one
//! file names in its `use` declarations and paths. Tests are left out: they may look anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A crate of the workspace: the name by which others import it, and the folder of its root file.
#[derive(Clone, Copy)]
pub(crate) struct Crate {
    pub(crate) name: &'static str,
    pub(crate) folder: &'static str,
}

/// One source file without its tests.
pub(crate) struct Source {
    /// Relative to the workspace.
    pub(crate) file: PathBuf,
    /// The module that it is, such as `cpm::group::source`.
    pub(crate) module: String,
    pub(crate) tokens: Vec<String>,
    /// Lines of code before its tests, without comments and blank lines.
    pub(crate) code_lines: usize,
    pub(crate) imports: Vec<Import>,
}

/// One name of a `use` declaration.
pub(crate) struct Import {
    /// The module that the declaration stands in, an inline one included.
    within: String,
    path: Vec<String>,
    /// The name that it has here; `*` for all names.
    pub(crate) name: String,
    is_public: bool,
}

/// All modules of some crates.
pub(crate) struct Modules {
    pub(crate) sources: Vec<Source>,
    by_module: BTreeMap<String, usize>,
}

impl Modules {
    /// Reads the crates; `root` is the folder of the workspace.
    pub(crate) fn read(root: &Path, crates: &[Crate]) -> Self {
        let mut sources = Vec::new();
        for one in crates {
            for file in files(&root.join(one.folder), "rs") {
                let relative = file.strip_prefix(root).unwrap_or(&file).to_owned();
                let nested = crates.iter().any(|other| {
                    other.folder.len() > one.folder.len() && relative.starts_with(other.folder)
                });
                if nested || is_test_file(&relative) {
                    continue;
                }
                let text = fs::read_to_string(&file).unwrap();
                sources.push(Source::new(one, relative, &text));
            }
        }
        let by_module = sources
            .iter()
            .enumerate()
            .map(|(index, source)| (source.module.clone(), index))
            .collect();
        Self { sources, by_module }
    }

    /// The files that this one depends on, itself left out. A re-export is no dependency of its
    /// own, unless the file uses the name as well.
    pub(crate) fn dependencies(&self, source: &Source) -> BTreeSet<&Path> {
        let mut found = BTreeSet::new();
        for import in &source.imports {
            if import.is_public && !source.uses(&import.name) {
                continue;
            }
            found.extend(self.resolve(&import.within, &import.path, 0));
        }
        for (within, path) in source.paths() {
            found.extend(self.resolve(&within, &path, 0));
        }
        found.remove(source.file.as_path());
        found
    }

    /// The file that defines what a path names; `None` if it is of another crate.
    fn resolve(&self, within: &str, path: &[String], depth: usize) -> Option<&Path> {
        let (mut module, mut rest) = self.start(within, path)?;
        while let Some((first, behind)) = rest.split_first() {
            let child = format!("{module}::{first}");
            if self.by_module.contains_key(&child) {
                (module, rest) = (child, behind);
                continue;
            }
            // Not a module: defined here, or imported here from elsewhere.
            let source = &self.sources[*self.by_module.get(&module)?];
            for import in source.imports.iter().filter(|one| one.within == module) {
                if depth < 8 && (import.name == *first || import.name == "*") {
                    let glob = import.name == "*";
                    let mut target = import.path.clone();
                    target.extend_from_slice(if glob { rest } else { behind });
                    let there = self.resolve(&import.within, &target, depth + 1);
                    if there.is_some_and(|file| !glob || self.defines(file, first)) {
                        return there;
                    }
                }
            }
            break;
        }
        let index = *self.by_module.get(&module)?;
        Some(&self.sources[index].file)
    }

    /// Whether the file has an item of that name.
    fn defines(&self, file: &Path, name: &str) -> bool {
        const ITEMS: [&str; 7] = ["fn", "struct", "enum", "trait", "type", "const", "static"];
        let source = self.sources.iter().find(|source| source.file == file);
        source.is_some_and(|source| {
            let mut pairs = source.tokens.windows(2);
            pairs.any(|pair| ITEMS.contains(&pair[0].as_str()) && pair[1] == name)
        })
    }

    /// Where a path begins, and what of it is left.
    fn start<'a>(&self, within: &str, path: &'a [String]) -> Option<(String, &'a [String])> {
        let (first, mut rest) = path.split_first()?;
        let mut module = within.to_owned();
        match first.as_str() {
            "crate" => module.truncate(within.find("::").unwrap_or(within.len())),
            "self" => {}
            "super" => {
                module = parent(&module)?;
                while rest.first().is_some_and(|next| next == "super") {
                    module = parent(&module)?;
                    rest = &rest[1..];
                }
            }
            name if self.by_module.contains_key(&format!("{within}::{name}")) => rest = path,
            name if self.by_module.contains_key(name) => module = name.to_owned(),
            _ => return None,
        }
        Some((module, rest))
    }
}

fn parent(module: &str) -> Option<String> {
    Some(module.rsplit_once("::")?.0.to_owned())
}

impl Source {
    fn new(of: &Crate, file: PathBuf, text: &str) -> Self {
        let inside = file.strip_prefix(of.folder).unwrap_or(&file);
        let mut module = vec![of.name.to_owned()];
        module.extend(
            inside
                .with_extension("")
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .filter(|part| !["mod", "lib", "main"].contains(&part.as_str())),
        );
        let module = module.join("::");
        let plain = without_comments(text);
        let (tokens, last_line) = without_tests(tokens(&plain));
        let code_lines = plain.lines().take(last_line);
        Self {
            code_lines: code_lines.filter(|line| !line.trim().is_empty()).count(),
            imports: imports(&tokens, &module),
            file,
            module,
            tokens,
        }
    }

    /// Whether a name stands anywhere but in the `use` declarations.
    fn uses(&self, name: &str) -> bool {
        let mut in_use = false;
        self.tokens.iter().any(|token| {
            match token.as_str() {
                "use" => in_use = true,
                ";" => in_use = false,
                token => return !in_use && token == name,
            }
            false
        })
    }

    /// The paths outside of `use` declarations that have more than one part.
    fn paths(&self) -> Vec<(String, Vec<String>)> {
        let mut paths = Vec::new();
        let mut inline = Inline::new(&self.module);
        let mut index = 0;
        while index < self.tokens.len() {
            inline.step(&self.tokens, index);
            if self.tokens[index] == "use" {
                while self.tokens[index] != ";" {
                    index += 1;
                }
            } else if is_name(&self.tokens[index]) && !behind_colons(&self.tokens, index) {
                let mut path = vec![self.tokens[index].clone()];
                while self.tokens.get(index + 1).is_some_and(|next| next == "::")
                    && self.tokens.get(index + 2).is_some_and(|next| is_name(next))
                {
                    path.push(self.tokens[index + 2].clone());
                    index += 2;
                }
                if path.len() > 1 {
                    paths.push((inline.module(), path));
                }
            }
            index += 1;
        }
        paths
    }
}

fn behind_colons(tokens: &[String], index: usize) -> bool {
    index > 0 && tokens[index - 1] == "::"
}

/// The modules in braces that a place stands in.
struct Inline {
    module: String,
    depth: usize,
    open: Vec<(usize, String)>,
}

impl Inline {
    fn new(module: &str) -> Self {
        Self {
            module: module.to_owned(),
            depth: 0,
            open: Vec::new(),
        }
    }

    fn step(&mut self, tokens: &[String], index: usize) {
        match tokens[index].as_str() {
            "{" => {
                if index > 1 && tokens[index - 2] == "mod" {
                    self.open.push((self.depth, tokens[index - 1].clone()));
                }
                self.depth += 1;
            }
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                if self.open.last().is_some_and(|open| open.0 == self.depth) {
                    self.open.pop();
                }
            }
            _ => {}
        }
    }

    fn module(&self) -> String {
        let names = self.open.iter().map(|(_, name)| format!("::{name}"));
        self.module.clone() + &names.collect::<String>()
    }
}

fn imports(tokens: &[String], module: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut inline = Inline::new(module);
    let mut index = 0;
    while index < tokens.len() {
        inline.step(tokens, index);
        if tokens[index] == "use" {
            let is_public = index > 0 && [")", "pub"].contains(&tokens[index - 1].as_str());
            let end = index + tokens[index..].iter().position(|t| t == ";").unwrap();
            let within = inline.module();
            tree(&tokens[index + 1..end], &[], &mut |path, name| {
                imports.push(Import {
                    within: within.clone(),
                    path,
                    name,
                    is_public,
                });
            });
            index = end;
        }
        index += 1;
    }
    imports
}

/// Walks a tree of `use`. Returns how many tokens it has taken.
fn tree(tokens: &[String], prefix: &[String], add: &mut impl FnMut(Vec<String>, String)) -> usize {
    let mut path = prefix.to_owned();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token.as_str() {
            "," | "}" => break,
            "::" => at += 1,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at += tree(&tokens[at..], &path, add);
                    at += usize::from(tokens.get(at).is_some_and(|token| token == ","));
                }
                return at + 1;
            }
            "*" => {
                add(path, "*".into());
                return at + 1;
            }
            "as" => {
                add(path, tokens[at + 1].clone());
                return at + 2;
            }
            "self" if !path.is_empty() => at += 1,
            name => {
                path.push(name.to_owned());
                at += 1;
            }
        }
    }
    if let Some(name) = path.last().cloned() {
        add(path, name);
    }
    at
}

/// Files of a folder and its subfolders with this extension, in order.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Files of tests and what only tests use.
pub(crate) fn is_test_file(file: &Path) -> bool {
    file.iter().any(|part| {
        let part = part.to_string_lossy();
        part == "tests" || part == "tests.rs" || part.starts_with("test_")
    })
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Blanks in place of comments, texts and characters, so that braces and names are those of code.
fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let is_raw = |prefix: &str| {
            let hashes = rest.strip_prefix(prefix)?;
            let count = hashes.len() - hashes.trim_start_matches('#').len();
            let ends_a_name = plain.ends_with(|c: char| c.is_alphanumeric() || c == '_');
            (!ends_a_name && hashes[count..].starts_with('"')).then_some((prefix.len(), count))
        };
        let end = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((prefix, count)) = is_raw("r").or_else(|| is_raw("br")) {
            let close = format!("\"{}", "#".repeat(count));
            let begin = prefix + count + 1;
            rest[begin..].find(&close).unwrap() + begin + close.len()
        } else if c == '"' {
            end_of_text(rest)
        } else if c == '\'' {
            // A character, or a lifetime.
            let mut behind = rest[1..].char_indices();
            match (behind.next(), behind.next()) {
                (Some((_, '\\')), Some((at, _))) => rest[1 + at + 1..].find('\'').unwrap() + at + 3,
                (Some(_), Some((at, '\''))) => at + 2,
                _ => 0,
            }
        } else {
            0
        };
        if end == 0 {
            plain.push(c);
            rest = &rest[c.len_utf8()..];
        } else {
            plain.extend(rest[..end].chars().map(|c| if c == '\n' { c } else { ' ' }));
            rest = &rest[end..];
        }
    }
    plain
}

fn end_of_text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            _ => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// The tokens of a source, each with its line; comments, texts and characters are left out.
pub(crate) fn code(text: &str) -> Vec<(String, usize)> {
    tokens(&without_comments(text))
}

/// Names, `::` and single signs, each with its line.
fn tokens(plain: &str) -> Vec<(String, usize)> {
    let mut tokens = Vec::new();
    for (number, line) in plain.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(c) = rest.chars().next() {
            let length = match c {
                c if c.is_alphanumeric() || c == '_' => rest
                    .find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                c => c.len_utf8(),
            };
            tokens.push((rest[..length].to_owned(), number));
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The tokens without the items that are compiled for tests only, and the number of lines that come
/// before the tests at the end.
fn without_tests(tokens: Vec<(String, usize)>) -> (Vec<String>, usize) {
    let last = tokens.last().map_or(0, |token| token.1 + 1);
    let mut lines = last;
    let mut kept = Vec::new();
    let mut index = 0;
    while index < tokens.len() {
        let mark = ["#", "[", "cfg", "(", "test", ")", "]"];
        let is_marked = tokens[index..].len() >= mark.len()
            && mark.iter().zip(&tokens[index..]).all(|(a, b)| *a == b.0);
        if !is_marked {
            kept.push(tokens[index].0.clone());
            index += 1;
            continue;
        }
        let begin = tokens[index].1;
        index += mark.len();
        let mut depth = 0;
        while index < tokens.len() {
            match tokens[index].0.as_str() {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            let ends = depth == 0 && [";", "}"].contains(&tokens[index].0.as_str());
            index += 1;
            if ends {
                break;
            }
        }
        if index == tokens.len() {
            lines = begin;
        }
    }
    (kept, lines)
}
