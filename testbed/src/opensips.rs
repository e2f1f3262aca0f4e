//! OpenSIPS: its configuration, its command line, and its management interface.
//!
//! Tests write modules, parameters and scripts as for Kamailio. Only this file translates what has
//! another name in OpenSIPS.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::config::{PRIVATE_MEMORY_MIB, Parameter, ProxyConfig, Value};
use crate::request::unique;

/// The frame around the routing block. `@…@` marks a value to insert.
const TEMPLATE: &str = r#"log_level=2
stderror_enabled=yes
syslog_enabled=no
# One worker per listening socket and few others: a small machine runs many of these at once.
udp_workers=@CHILDREN@
tcp_workers=@CHILDREN@
auto_aliases=no
dns=no
rev_dns=no
server_header="Server: opensips"
@LISTEN@
@MPATH@
loadmodule "proto_udp.so"
loadmodule "proto_tcp.so"
loadmodule "mi_datagram.so"
modparam("mi_datagram", "socket_name", "@CTL@")
# What many workers write to one connection waits in pieces until the main TCP process gets to write
# it, and a long message is read in pieces. One piece more than these ends the connection.
modparam("proto_tcp", "tcp_async_max_postponed_chunks", 1024)
modparam("proto_tcp", "tcp_max_msg_chunks", 64)
@MODULES@
@MODPARAMS@

@ROUTES@
"#;

/// Shared memory in MiB: in 3.6 a transaction takes 13 KiB, and lives for at least two seconds
/// after its end.
const SHARED_MEMORY_MIB: &str = "256";

/// Words that a healthy proxy never logs.
pub(crate) const BAD_WORDS: [&str; 7] = [
    "CRITICAL:",
    "BUG",
    "segfault",
    "signal 6",
    "signal 11",
    "core dumped",
    // Logged when one is published twice.
    "Event \"E_CPM_",
];

/// Logged by the main process before it ends the others.
pub(crate) const FAREWELL: &str = "Thank you for running";

/// No later log line changes its meaning.
pub(crate) const HARMLESS_AFTER_FAREWELL: &str = "\n";

/// The last process that the main process forks: after that the process table is complete.
pub(crate) const LAST_PROCESS: &str = "TCP main";

/// Events of the module that OpenSIPS raises over its Event Interface: they only inform, in another
/// process. All other events are named routes.
const TOLD: [&str; 4] = [
    "recipient-failed",
    "recipient-delivered",
    "recipient-deferred",
    "session-end",
];

/// Kamailio modules that have another name in OpenSIPS, or are part of its core.
const MODULES: [(&str, &str); 4] = [
    ("textops", "sipmsgops"),
    ("pv", ""),
    ("xlog", ""),
    ("cfg_rpc", ""),
];

/// Core settings of Kamailio that OpenSIPS lacks: a request too long for a datagram always goes
/// over TCP, and the read buffer has a fixed size.
const NOT_NEEDED: [&str; 2] = ["udp_mtu_try_proto", "tcp_rd_buf_size"];

/// Kamailio limits a connection's write queue in bytes, OpenSIPS in messages: as many as fit, with
/// this size each.
const WAITING_MESSAGE_BYTES: i64 = 16 * 1024;

/// Timers of tm with their OpenSIPS names, in seconds.
const TIMERS: [(&str, &str); 3] = [
    ("fr_timer", "fr_timeout"),
    ("fr_inv_timer", "fr_inv_timeout"),
    ("wt_timer", "wt_timer"),
];

/// The shortest value that tm accepts.
const MIN_TIMER_S: i64 = 2;

/// Functions whose first argument is a number in OpenSIPS, and a string in Kamailio.
const TAKE_NUMBERS: [&str; 2] = ["sl_send_reply", "usleep"];

/// Time limit for the answer to a command.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer is a single datagram.
const MAX_ANSWER: usize = 1 << 16;

fn binary() -> OsString {
    std::env::var_os("OPENSIPS").unwrap_or_else(|| "opensips".into())
}

/// The folder of its modules: each has a folder of its own in the source tree.
fn modules_folder() -> PathBuf {
    let tree = std::env::var_os("OPENSIPS_SRC").unwrap_or_default();
    Path::new(&tree).join("modules")
}

/// The command that starts it in the foreground.
pub(crate) fn command(file: &Path, folder: &Path, scratch: &Path) -> Command {
    let mut command = Command::new(binary());
    command.args(["-F", "-m", SHARED_MEMORY_MIB, "-M", PRIVATE_MEMORY_MIB]);
    command.arg("-f").arg(file).arg("-w").arg(folder);
    command.arg("-P").arg(scratch.join("pid"));
    command
}

/// The frame, filled in for this configuration.
pub(crate) fn fill_in(config: &ProxyConfig) -> String {
    let mut listen = "socket=udp:127.0.0.1:@PORT@\nsocket=tcp:127.0.0.1:@PORT@".to_owned();
    if config.over_ipv6 {
        listen += "\nsocket=udp:[::1]:@PORT@\nsocket=tcp:[::1]:@PORT@";
    }
    let own = modules_folder();
    let folders = config.mpath.iter().chain([&own]);
    let mpath: Vec<String> = folders
        .map(|path| format!("mpath=\"{}/\"", path.display()))
        .collect();
    let modules = config.modules.iter().map(|module| {
        let renamed = MODULES.iter().find(|(name, _)| name == module);
        renamed.map_or(module.as_str(), |(_, name)| *name)
    });
    let modules = ProxyConfig::load_lines(modules.filter(|module| !module.is_empty()));
    let mut parameters: Vec<Parameter> = config.parameters.iter().map(parameter).collect();
    let (core, routes) = script(config.routes.trim());
    parameters.extend(core);
    let template = config.template.as_deref().unwrap_or(TEMPLATE);
    template
        .replace("@LISTEN@", &listen)
        .replace("@MPATH@", &mpath.join("\n"))
        .replace("@MODULES@", &modules)
        .replace("@MODPARAMS@", &config.parameter_lines(&parameters))
        .replace("@ROUTES@", &routes)
}

fn parameter(parameter: &Parameter) -> Parameter {
    let mut parameter = parameter.clone();
    let timer = TIMERS.iter().find(|(name, _)| *name == parameter.name);
    if let (Some((_, name)), "tm", Value::Number(ms)) =
        (timer, parameter.module.as_str(), &parameter.value)
    {
        parameter.name = (*name).to_owned();
        parameter.value = Value::Number(((ms + 999) / 1000).max(MIN_TIMER_S));
    }
    parameter
}

/// The script in OpenSIPS's terms, and the parameters that replace core settings of Kamailio.
fn script(kamailio: &str) -> (Vec<Parameter>, String) {
    let mut parameters = Vec::new();
    let mut text = String::new();
    let mut is_told = false;
    for line in kamailio.lines() {
        let setting = line.trim().split_once('=');
        match setting {
            Some(("udp_mtu", bytes)) => parameters.push(Parameter {
                module: "cpm".to_owned(),
                name: "udp_mtu".to_owned(),
                value: Value::Number(bytes.parse().unwrap_or(0)),
            }),
            Some(("tcp_conn_wq_max", bytes)) => parameters.push(Parameter {
                module: "proto_tcp".to_owned(),
                name: "tcp_async_max_postponed_chunks".to_owned(),
                value: Value::Number(bytes.parse().unwrap_or(0) / WAITING_MESSAGE_BYTES),
            }),
            Some((name, _)) if NOT_NEEDED.contains(&name) => {}
            _ => {
                let mut line = line.to_owned();
                if let Some((before, after)) = line.split_once("event_route[cpm:")
                    && let Some((name, after)) = after.split_once(']')
                {
                    is_told = TOLD.contains(&name);
                    line = format!("{before}{}{after}", event_route(name));
                } else if line.contains("route[") {
                    is_told = false;
                }
                if line.contains("request_route") {
                    is_told = false;
                    line = line.replace("request_route", "route");
                }
                if is_told {
                    line = told(&line);
                }
                text += &with_numbers(&with_body(&line));
                text += "\n";
            }
        }
    }
    (parameters, text)
}

/// It runs in another process, which has no message.
fn told(line: &str) -> String {
    line.replace("$cpm(", "$param(")
        .replace("$ru", "$param(recipient)")
        .replace("$hdr(Call-ID)", "$param(leg_call_id)")
        .replace("$ci", "$param(leg_call_id)")
}

/// `set_body(…);` becomes removal plus addition.
fn with_body(line: &str) -> String {
    let Some((before, rest)) = line.split_once("set_body(") else {
        return line.to_owned();
    };
    let (arguments, after) = rest.split_once(");").unwrap_or((rest, ""));
    format!("{before}{{ remove_body_part(); add_body_part({arguments}); }}{after}")
}

fn event_route(name: &str) -> String {
    if TOLD.contains(&name) {
        let name = name.to_uppercase().replace('-', "_");
        return format!("event_route[E_CPM_{name}]");
    }
    format!("route[\"cpm:{name}\"]")
}

/// `sl_send_reply("404", …` becomes `sl_send_reply(404, …`.
fn with_numbers(line: &str) -> String {
    let mut line = line.to_owned();
    for function in TAKE_NUMBERS {
        let mut from = 0;
        while let Some(at) = line[from..].find(&format!("{function}(\"")) {
            let quote = from + at + function.len() + 1;
            let Some(end) = line[quote + 1..].find('"') else {
                break;
            };
            line.remove(quote + 1 + end);
            line.remove(quote);
            from = quote;
        }
    }
    line
}

/// Runs a command of the Management Interface, with arguments separated by spaces. The module's
/// commands are written with Kamailio's names: `cpm.stats` is `cpm_stats`. The answer has one line
/// `name: value` for each value.
///
/// # Errors
/// The refusal.
pub(crate) fn ask(ctl: &Path, command: &str) -> Result<String, String> {
    let mut words = command.split_ascii_whitespace();
    let name = words.next().unwrap_or_default().replace('.', "_");
    let mut arguments: Vec<Json> = words.map(|word| json!(word)).collect();
    // One argument has them all.
    if name == "cpm_messages" && arguments.len() > 1 {
        arguments = vec![json!(command.split_once(' ').map(|(_, words)| words))];
    }
    let mut text = String::new();
    write_lines(&mut text, None, &call(ctl, &name, &arguments)?);
    Ok(text)
}

/// The proxy's own process table: number and description.
pub(crate) fn process_table(ctl: &Path) -> Result<Vec<(u32, String)>, String> {
    let answer = call(ctl, "ps", &[])?;
    let rows = answer["Processes"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let table = rows.iter().filter_map(|row| {
        let pid = u32::try_from(row["PID"].as_u64()?).ok()?;
        Some((pid, row["Type"].as_str()?.to_owned()))
    });
    Ok(table.collect())
}

/// Whether a process listens for TCP on this port: the main TCP process starts to after the proxy
/// has reported that it is up.
pub(crate) fn is_listening(port: u16) -> bool {
    fs::read_to_string("/proc/net/tcp").is_ok_and(|sockets| has_listener(&sockets, port))
}

/// Whether the kernel's list has such a socket (proc(5)).
fn has_listener(sockets: &str, port: u16) -> bool {
    const LISTEN: &str = "0A";
    let own = format!(":{port:04X}");
    sockets.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        let local = fields.next().unwrap_or_default();
        local.ends_with(&own) && fields.nth(1) == Some(LISTEN)
    })
}

/// All statistics of a group.
pub(crate) fn statistics(ctl: &Path, group: &str) -> Result<Vec<(String, u64)>, String> {
    let answer = call(ctl, "get_statistics", &[json!([format!("{group}:")])])?;
    let rows = answer.as_object().into_iter().flatten();
    let statistics = rows.filter_map(|(name, value)| {
        let name = name.strip_prefix(group)?.strip_prefix(':')?;
        let value = value.as_u64().or_else(|| value.as_str()?.parse().ok())?;
        Some((name.to_owned(), value))
    });
    Ok(statistics.collect())
}

/// Private memory in use by each process: process number, bytes including bookkeeping.
pub(crate) fn private_memory_used(ctl: &Path) -> Result<Vec<(u32, u64)>, String> {
    let statistics = statistics(ctl, "pkmem")?;
    let of = |number: u64| {
        let name = format!("{number}-real_used_size");
        let found = statistics.iter().find(|(known, _)| *known == name);
        found.map(|(_, bytes)| *bytes)
    };
    let answer = call(ctl, "ps", &[])?;
    let rows = answer["Processes"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let used = rows.iter().filter_map(|row| {
        let pid = u32::try_from(row["PID"].as_u64()?).ok()?;
        // Statistics of a process appear a while after its start.
        let bytes = of(row["ID"].as_u64()?).filter(|&bytes| bytes > 0)?;
        Some((pid, bytes))
    });
    Ok(used.collect())
}

/// One command in JSON-RPC.
fn call(ctl: &Path, method: &str, parameters: &[Json]) -> Result<Json, String> {
    let own = ctl.with_file_name(format!("ask-{}", unique()));
    let answer = exchange(ctl, &own, method, parameters);
    // The socket may not exist yet.
    let _ = fs::remove_file(&own);
    let answer = answer.map_err(|error| format!("{method}: {error}"))?;
    match answer.get("error") {
        Some(error) => Err(format!("error: {error}")),
        None => Ok(answer["result"].clone()),
    }
}

fn exchange(ctl: &Path, own: &Path, method: &str, parameters: &[Json]) -> std::io::Result<Json> {
    let mut request = json!({"jsonrpc": "2.0", "id": 1, "method": method});
    if !parameters.is_empty() {
        request["params"] = json!(parameters);
    }
    let socket = UnixDatagram::bind(own)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send_to(request.to_string().as_bytes(), ctl)?;
    let mut answer = vec![0; MAX_ANSWER];
    let length = socket.recv(&mut answer)?;
    Ok(serde_json::from_slice(&answer[..length])?)
}

/// One line for each value, with its name.
fn write_lines(text: &mut String, name: Option<&str>, value: &Json) {
    match value {
        Json::Object(members) => {
            write_heading(text, name);
            // Parts of a record follow its own fields, as in kamcmd's output.
            let is_part = |value: &Json| value.is_array() || value.is_object();
            for parts in [false, true] {
                for (name, value) in members.iter().filter(|(_, value)| is_part(value) == parts) {
                    write_lines(text, Some(name), value);
                }
            }
        }
        Json::Array(items) => {
            write_heading(text, name);
            for item in items {
                write_lines(text, None, item);
            }
        }
        Json::String(value) => write_line(text, name, value),
        other => write_line(text, name, &other.to_string()),
    }
}

/// A value that has values below it gets a line of its own, as in kamcmd's output.
fn write_heading(text: &mut String, name: Option<&str>) {
    if let Some(name) = name {
        *text += name;
        *text += ":\n";
    }
}

fn write_line(text: &mut String, name: Option<&str>, value: &str) {
    if let Some(name) = name {
        *text += name;
        *text += ": ";
    }
    *text += value;
    *text += "\n";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kamailios_script_is_translated() {
        let (parameters, text) = script(
            "udp_mtu=1300\nudp_mtu_try_proto=TCP
            request_route { if (!cpm_handle()) sl_send_reply(\"404\", \"$cpm(kind)\"); }
            event_route[cpm:recipient-request] { usleep(\"10\"); xlog(\"$cpm(kind)\"); }
            event_route[cpm:recipient-failed] {
                xlog(\"$cpm(code) $ru\");
            }",
        );
        assert_eq!(parameters[0].name, "udp_mtu");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "route { if (!cpm_handle()) sl_send_reply(404, \"$cpm(kind)\"); }",
                "route[\"cpm:recipient-request\"] { usleep(10); xlog(\"$cpm(kind)\"); }",
                "event_route[E_CPM_RECIPIENT_FAILED] {",
                "xlog(\"$param(code) $param(recipient)\");",
                "}",
            ]
        );
    }

    #[test]
    fn who_listens_is_told_from_who_is_connected() {
        let sockets = "  sl  local_address rem_address   st tx_queue\n\
            0: 0100007F:2FAD 00000000:0000 0A 0:0\n\
            1: 0100007F:2FAE 0100007F:2FAD 01 0:0\n";
        assert!(has_listener(sockets, 0x2fad));
        assert!(!has_listener(sockets, 0x2fae));
    }

    #[test]
    fn timers_are_seconds() {
        let of = |ms| {
            let value = Value::Number(ms);
            let (module, name) = ("tm".to_owned(), "fr_timer".to_owned());
            let parameter = parameter(&Parameter {
                module,
                name,
                value,
            });
            match parameter.value {
                Value::Number(seconds) => (parameter.name, seconds),
                Value::Text(text) => panic!("{text}"),
            }
        };
        assert_eq!(of(300), ("fr_timeout".to_owned(), 2));
        assert_eq!(of(2500), ("fr_timeout".to_owned(), 3));
    }

    #[test]
    fn answers_are_lines() {
        let mut text = String::new();
        let answer = json!([{"id": "a", "legs": [{"leg": 0}], "state": "x"}, {"id": "b"}]);
        write_lines(&mut text, None, &answer);
        assert_eq!(text, "id: a\nstate: x\nlegs:\nleg: 0\nid: b\n");
    }
}
