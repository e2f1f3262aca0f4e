//! The manual and the module have the same parameters, functions, variables, event routes, RPC
//! commands and counters: what is in one and not in the other fails here.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use cpm::operator::{Counter, Event, Gauge};
use cpm::policy::{ALL_PARAMETERS, Kind, Parameter, Settings, UNLIMITED};
use cpm_testbed::{Bench, Product, values};
use xtask::{diagrams, readme};

use crate::common::{HANDLE, cpm_proxy};

type Names = BTreeSet<String>;

fn read(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One chapter of the manual, by its title.
fn chapter(title: &str) -> String {
    let manual = read("doc/manual.md");
    let chapters = manual.split("\n## ").skip(1);
    let mut found = chapters.filter(|chapter| {
        let heading = chapter.lines().next().unwrap_or_default();
        heading
            .split_once(". ")
            .is_some_and(|(_, own)| own == title)
    });
    found
        .next()
        .unwrap_or_else(|| panic!("the manual has no chapter {title}"))
        .to_owned()
}

/// What the headings of a chapter name: the text between the first two backquotes.
fn headings(chapter: &str) -> Names {
    chapter
        .lines()
        .filter_map(|line| line.strip_prefix("#### `")?.split_once('`'))
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// What the first column of a chapter's table names.
fn table(chapter: &str) -> Names {
    chapter
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once(" |"))
        .flat_map(|(cell, _)| cell.trim_end_matches('`').split("`, `").map(str::to_owned))
        .collect()
}

/// The texts in a C source that stand between these two.
fn between(source: &str, before: &str, after: &str) -> Names {
    source
        .split(before)
        .skip(1)
        .filter_map(|rest| rest.split_once(after))
        .map(|(name, _)| name.to_owned())
        .filter(|name| !name.contains(['\n', ' ', '#']))
        .collect()
}

/// One table of a C source: from its first line to the end of the definition.
fn definition<'a>(source: &'a str, begin: &str) -> &'a str {
    let at = source
        .find(begin)
        .unwrap_or_else(|| panic!("there is no `{begin}`"));
    let rest = &source[at..];
    &rest[..rest.find("\n}").unwrap_or(rest.len())]
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> Names {
    names.into_iter().map(str::to_owned).collect()
}

#[track_caller]
fn same(what: &str, manual: &Names, module: &Names) {
    let only = |a: &Names, b: &Names| a.difference(b).cloned().collect::<Vec<_>>();
    let (invented, missing) = (only(manual, module), only(module, manual));
    assert!(
        invented.is_empty() && missing.is_empty(),
        "{what}: only in the manual: {invented:?}; not in the manual: {missing:?}"
    );
    assert!(!manual.is_empty(), "{what}: none was found");
}

/// The parameters of the proxy alone, which the core does not know: name, values and default.
const OWN_PARAMETERS: [(&str, &str, &str); 1] = [("event_callback", "string", "")];

#[test]
fn parameters() {
    let core = ALL_PARAMETERS.iter().map(|parameter| parameter.name);
    let known = names(core.chain(OWN_PARAMETERS.map(|(name, ..)| name)));
    let documented = headings(&chapter("Parameters"));
    same("parameters", &documented, &known);

    // What the running module says of itself.
    let bench = Bench::new("the_manual_has_every_parameter");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let answer = proxy.rpc("cpm.config");
    let told = answer
        .lines()
        .filter_map(|line| line.trim().split_once(':'))
        .filter(|(name, _)| !name.contains(' ') && documented.contains(*name))
        .map(|(name, _)| name.to_owned())
        .collect();
    match Product::under_test() {
        Product::Kamailio => same("parameters of cpm.config", &documented, &told),
        // It has none of Kamailio's own.
        Product::OpenSips => {
            let own = names(OWN_PARAMETERS.map(|(name, ..)| name));
            let both = documented.difference(&own).cloned().collect();
            same("parameters of cpm_config", &both, &told);
        }
    }
    for (name, _, default) in OWN_PARAMETERS {
        let expected = (Product::under_test() == Product::Kamailio).then_some(default);
        assert_eq!(values(&answer, name).next(), expected);
    }
    proxy.stop();
}

/// The section of a parameter in the manual: what its heading says of its values, and its text.
fn section<'a>(parameters: &'a str, name: &str) -> (&'a str, &'a str) {
    let heading = format!("\n#### `{name}` (");
    let (_, section) = parameters
        .split_once(&heading)
        .unwrap_or_else(|| panic!("{name} has no section"));
    let section = section.split("\n#").next().unwrap_or_default();
    section.split_once(")\n").expect("the heading ends")
}

/// What a section says behind "Default:".
fn default_of(section: &str) -> String {
    let (_, rest) = section
        .split_once("*Default: ")
        .or_else(|| section.split_once("*Default:\n"))
        .unwrap_or_else(|| panic!("no default in {section}"));
    let (text, _) = rest.split_once(".*").expect("it ends");
    text.replace('\n', " ")
}

#[test]
fn values_defaults_and_what_changes_while_running() {
    let parameters = chapter("Parameters");
    for (name, values, default) in OWN_PARAMETERS {
        let (heading, text) = section(&parameters, name);
        assert_eq!(heading, values, "{name}");
        let default = if default.is_empty() {
            "none".to_owned()
        } else {
            format!("`{default}`")
        };
        assert_eq!(default_of(text), default, "{name}");
    }
    for parameter in ALL_PARAMETERS {
        let Parameter {
            name,
            kind,
            default,
            is_tunable,
            most_values,
            ..
        } = parameter;
        let (heading, text) = section(&parameters, name);
        assert_eq!(heading, kind.to_string(), "{name}");
        let often = match *most_values {
            1 => None,
            UNLIMITED => Some("May be repeated".to_owned()),
            most => Some(format!("May be given up to {most} times")),
        };
        let unwrapped = text.replace('\n', " ");
        let is_said = |words: &str| unwrapped.contains(words);
        assert!(often.as_deref().is_none_or(is_said), "{name}: {often:?}");
        assert_eq!(is_said("May be "), often.is_some(), "{name}");

        let text = default_of(text);
        let expected = match (*default, kind) {
            ("1", Kind::Flag(_)) => "yes".to_owned(),
            ("0", Kind::Flag(_)) => "no".to_owned(),
            ("", _) => String::new(),
            (other, _) => format!("`{other}`"),
        };
        let is_said = if expected.is_empty() {
            // None, or what follows from something else.
            !text.starts_with('`')
        } else {
            text.strip_prefix(&expected)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ';']))
        };
        assert!(
            is_said,
            "{name}: the manual says {text:?}, it is {default:?}"
        );
        assert_eq!(
            text.ends_with("; changes while running"),
            *is_tunable,
            "{name}: {text:?}"
        );
    }
}

/// The values in the examples of a parameter.
fn examples<'a>(section: &'a str, name: &str) -> Vec<&'a str> {
    let start = format!("    modparam(\"cpm\", \"{name}\", ");
    let lines = section.lines().filter_map(|line| {
        let (value, _) = line.strip_prefix(&start)?.rsplit_once(')')?;
        Some(value.trim_matches('"'))
    });
    lines.collect()
}

#[test]
fn each_parameter_has_an_example_that_it_accepts() {
    let parameters = chapter("Parameters");
    for parameter in ALL_PARAMETERS {
        let name = parameter.name;
        let (_, text) = section(&parameters, name);
        let examples = examples(text, name);
        assert!(!examples.is_empty(), "{name} has no example");
        for value in examples {
            let is_accepted = match parameter.kind {
                Kind::Flag(_) => ["yes", "no", "1", "0"].contains(&value),
                Kind::Number { .. } => {
                    let (min, max) = parameter.numbers().expect("it is a number");
                    value.parse().is_ok_and(|n: usize| (min..=max).contains(&n))
                }
                Kind::Words(words) => words.iter().any(|word| word.text == value),
                Kind::Uri(set) | Kind::Text(set) | Kind::Secret(set) => {
                    set(&mut Settings::default(), value).is_ok()
                }
            };
            assert!(is_accepted, "{name} does not take {value}");
            assert_ne!(
                value, parameter.default,
                "{name}: the example changes nothing"
            );
        }
    }
}

/// The name of a function as the heading of its section has it, with its parameters.
fn without_parameters(heading: &str) -> String {
    let name = heading.split('(').next();
    name.unwrap_or_default().to_owned()
}

#[test]
fn functions_in_every_language() {
    let source = read("c_api/kamailio/cpm_mod.c");
    let exported = between(
        definition(&source, "cmd_export_t functions"),
        "{\"",
        "\", (cmd_function)",
    );
    let documented = headings(&chapter("Functions"));
    let documented: Names = documented
        .iter()
        .map(|name| without_parameters(name))
        .collect();
    same("functions", &documented, &exported);

    let source = read("c_api/kamailio/cpm_kemi.c");
    let table_of_kemi = definition(&source, "sr_kemi_t kemi_functions");
    let mut exported = between(table_of_kemi, "EXPORT(", ")");
    exported.append(&mut between(table_of_kemi, "EXPORT_WITH(", ","));
    let kemi = chapter("Scripts in Lua, Python and JavaScript");
    let documented: Names = table(&kemi)
        .iter()
        .filter_map(|name| name.strip_prefix("KSR.cpm."))
        .map(str::to_owned)
        .collect();
    same("KEMI functions", &documented, &exported);
    let native: Names = exported.iter().map(|name| format!("cpm_{name}")).collect();
    same(
        "KEMI functions and native ones",
        &native,
        &between(
            &read("c_api/kamailio/cpm_mod.c"),
            "{\"",
            "\", (cmd_function)",
        ),
    );
}

/// What the table of a section of OpenSIPS's chapter names in its first column.
fn of_opensips(section: &str) -> Names {
    let chapter = chapter("OpenSIPS");
    let (_, section) = chapter
        .split_once(&format!(" {section}\n"))
        .unwrap_or_else(|| panic!("OpenSIPS's chapter has no section {section}"));
    table(section.split("\n### ").next().unwrap_or_default())
}

#[test]
fn what_is_opensips_own() {
    let source = read("c_api/opensips/cpm_mod.c");
    let table_of_functions = definition(&source, "cmd_export_t functions");
    let mut functions = between(table_of_functions, "FUNCTION(\"", "\", ");
    functions.append(&mut between(table_of_functions, "FUNCTION_WITH(\"", "\", "));
    let documented = headings(&chapter("Functions"));
    let documented = documented.iter().map(|name| without_parameters(name));
    same("functions", &documented.collect(), &functions);

    let parameters = between(
        definition(&source, "param_export_t own_parameters"),
        "{\"",
        "\", ",
    );
    same("own parameters", &of_opensips("Parameters"), &parameters);

    let commands = between(&read("c_api/opensips/cpm_mi.c"), "COMMAND(\"", "\",");
    same("MI commands", &of_opensips("MI commands"), &commands);
    // What can be asked of one can be asked of the other. Kamailio's cfg framework has the rest.
    let rpc = headings(&chapter("RPC commands"));
    let by_mi = rpc.iter().map(|name| name.replace('.', "_"));
    let tunables = ["cpm_get", "cpm_set"].map(str::to_owned);
    same("RPC and MI", &by_mi.chain(tunables).collect(), &commands);

    // The core says which exist; those that the script answers are named routes.
    let is_answered = |name: &str| ["authorize", "checked", "recipient-request"].contains(&name);
    let routes = Event::ALL.iter().map(|event| {
        let name = event.name();
        if is_answered(name) {
            format!("route[\"cpm:{name}\"]")
        } else {
            format!("E_CPM_{}", name.to_uppercase().replace('-', "_"))
        }
    });
    same("events", &of_opensips("Events"), &routes.collect());
}

#[test]
fn variables() {
    let source = read("c_api/common/cpm_var.c");
    let known = between(definition(&source, "} names[] ="), "\t{\"", "\", ");
    let documented = table(&chapter("Variables"));
    same("variables", &documented, &known);
}

#[test]
fn event_routes() {
    let known = Event::ALL
        .iter()
        .map(|event| format!("cpm:{}", event.name()));
    let documented: Names = headings(&chapter("Event routes"))
        .iter()
        .filter_map(|name| name.strip_prefix("event_route[")?.strip_suffix(']'))
        .map(str::to_owned)
        .collect();
    same("event routes", &documented, &known.collect());
}

/// Names and helps of counters and gauges.
fn counters() -> impl Iterator<Item = (&'static str, &'static str)> {
    let counters = Counter::ALL.iter().map(|row| (row.name(), row.help()));
    counters.chain(Gauge::ALL.iter().map(|row| (row.name(), row.help())))
}

#[test]
fn rpc_commands_and_counters() {
    let bench = Bench::new("the_manual_has_every_command");
    let proxy = bench.proxy(&cpm_proxy(HANDLE));
    let (question, prefix, documented) = match Product::under_test() {
        Product::Kamailio => (
            "system.listMethods",
            "cpm.",
            headings(&chapter("RPC commands")),
        ),
        Product::OpenSips => ("which", "cpm_", of_opensips("MI commands")),
    };
    let answer = proxy.rpc(question);
    let offered = names(
        answer
            .lines()
            // OpenSIPS 4.0 names the module too.
            .map(|name| name.trim().trim_start_matches("cpm:"))
            .filter(|name| name.starts_with(prefix)),
    );
    same("commands", &documented, &offered);

    // It goes through all counters that the core has in this group.
    let answer = proxy.rpc("cpm.stats");
    let counted = names(
        answer
            .lines()
            .filter_map(|line| line.trim().split_once(':'))
            .map(|(name, _)| name),
    );
    same(
        "counters",
        &names(counters().map(|(name, _)| name)),
        &counted,
    );
    proxy.stop();
}

#[test]
fn the_manual_says_what_is_counted() {
    let statistics = chapter("Statistics");
    same(
        "counters",
        &table(&statistics),
        &names(counters().map(|(name, _)| name)),
    );
    for (name, help) in counters() {
        let row = format!("| `{name}` | ");
        let row = statistics.lines().find_map(|line| line.strip_prefix(&row));
        let said = row.and_then(|row| row.strip_prefix(help));
        // More may follow: what the help has no room for.
        let is_said = said.is_some_and(|rest| rest == " |" || rest.starts_with(": "));
        assert!(is_said, "{name}: the manual says {row:?}, it is {help:?}");
    }
}

/// The name by which a heading is linked to.
fn anchor_of(line: &str) -> Option<String> {
    let heading = line.trim_start_matches('#').strip_prefix(' ')?;
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    let lower = kept.collect::<String>().to_lowercase();
    line.starts_with('#').then(|| lower.replace(' ', "-"))
}

#[test]
fn pages_and_examples_are_there() {
    for page in [
        "README.md",
        "CONTRIBUTING.md",
        "doc/manual.md",
        "doc/opensips.md",
        "doc/how-a-message-travels.md",
        "doc/security.md",
        "doc/readings.md",
        "doc/tutorial.md",
        "doc/client.md",
        "doc/building.md",
        "doc/architecture.md",
    ] {
        let text = read(page);
        let folder = Path::new(page).parent().expect("it lies somewhere");
        for (_, rest) in text
            .match_indices("](")
            .map(|(at, _)| text.split_at(at + 2))
        {
            let target = rest.split(')').next().unwrap_or_default();
            if target.starts_with("http") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = if file.is_empty() {
                Path::new(env!("CARGO_MANIFEST_DIR")).join(page)
            } else {
                Path::new(env!("CARGO_MANIFEST_DIR"))
                    .join(folder)
                    .join(file)
            };
            assert!(path.exists(), "{page} links to {target}");
            if !anchor.is_empty() {
                let text = fs::read_to_string(&path).expect("it is text");
                let is_there = text
                    .lines()
                    .any(|line| anchor_of(line).as_deref() == Some(anchor));
                assert!(is_there, "{page} links to {target}");
            }
        }
    }
    let listed = table(&chapter("Examples"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("kamailio-config");
    for name in &listed {
        let is_there = match name.split_once('*') {
            Some((start, _)) => fs::read_dir(&folder)
                .expect("it is part of the project")
                .flatten()
                .any(|entry| entry.file_name().to_string_lossy().starts_with(start)),
            None => folder.join(name).exists(),
        };
        assert!(is_there, "there is no {name}");
    }
}

#[test]
fn the_diagrams_are_what_their_texts_say() {
    let mut seen = 0;
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("doc"))
        .expect("it is part of the project")
    {
        let path = entry.expect("it can be read").path();
        if path
            .extension()
            .is_some_and(|extension| extension == "sequence")
        {
            let text = fs::read_to_string(&path).expect("it is text");
            let picture =
                fs::read_to_string(path.with_extension("svg")).expect("it has its picture");
            let drawn = diagrams::svg(&text).expect("it can be read");
            assert!(picture == drawn, "{}: run `make diagrams`", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
}

#[test]
fn the_readme_is_the_manual() {
    let written = read("c_api/kamailio/README");
    assert!(
        written == readme::text(&read("doc/manual.md")),
        "run `make readme`"
    );
    assert!(
        written.lines().all(|line| !line.contains("](")),
        "no marks are left"
    );
}

#[test]
fn a_line_that_is_no_line_of_a_diagram_is_named() {
    for line in [
        "a -> b: nobody is called so",
        "actor a",
        "a ~> a: x",
        "a -> a: a label needs a longer arrow",
    ] {
        let source = format!("actor a: A\n{line}\n");
        let error = diagrams::svg(&source).expect_err(line).to_string();
        assert!(error.contains(line), "{error}");
    }
}

#[test]
fn every_page_is_on_the_site() {
    let summary = read("doc/SUMMARY.md");
    let pages = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("doc"))
        .expect("it is part of the project")
        .flatten()
        .map(|page| page.file_name().to_string_lossy().into_owned())
        .filter(|page| page.ends_with(".md") && page != "SUMMARY.md");
    let pages: Names = pages.collect();
    let listed = between(&summary, "](", ")");
    same("pages", &listed, &pages);
}

/// The id of each reading, once.
#[test]
fn readings_have_the_numbers_that_the_sources_name() {
    let page = read("doc/readings.md");
    let listed: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| N")?.split_once(" |"))
        .map(|(number, _)| number)
        .collect();
    let distinct: BTreeSet<&str> = listed.iter().copied().collect();
    assert_eq!(listed.len(), distinct.len(), "each once");
    let mut named = Names::new();
    let mut folders = ["src", "wire/src", "client/src"]
        .map(|folder| Path::new(env!("CARGO_MANIFEST_DIR")).join(folder))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)
            .expect("it is part of the project")
            .flatten()
        {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap_or_default();
            let of_readings = ["readings N", "spec-notes N"];
            let found = of_readings
                .iter()
                .flat_map(|&words| text.match_indices(words));
            for (at, word) in found {
                let rest = &text[at + word.len()..];
                let end = rest
                    .find(|c: char| !c.is_ascii_digit())
                    .unwrap_or(rest.len());
                named.insert(rest[..end].to_owned());
            }
        }
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|number| !distinct.contains(number.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in doc/readings.md: {missing:?}");
    assert!(named.len() > 20, "{named:?}");
}
