//! `make demo`: the main job on real traffic. A stock Kamailio with `kamailio-config/kamailio.cfg`
//! and this module, three recipients (one of them on TCP) and one sender, all of them `cpm-client`:
//! first a pager mode message, then a picture of 5 MiB over MSRP, with bars for what each recipient
//! has got, and the checksum of what came.

use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use cpm_testbed::{Bench, Proxy, ProxyConfig, sha256};

const TEXT: &str = "Lunch at noon, the usual place?";

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let client = std::env::var_os("CPM_CLIENT_PROGRAM")
        .map_or_else(|| root.join("target/debug/cpm-client"), PathBuf::from);
    assert!(client.is_file(), "no {}: run `make demo`", client.display());
    // What was sent and what came stays there until the next time.
    let folder = root.join("target/demo");
    if folder.exists() {
        fs::remove_dir_all(&folder).expect("the folder of the demo is ours");
    }
    fs::create_dir_all(&folder).expect("target can be written to");
    let bench = Bench::new("demo");
    let (msrp, rpc) = (bench.port(), bench.port());
    let proxy = bench.proxy(&config(root, msrp, rpc));
    println!(
        "Kamailio runs with kamailio-config/kamailio.cfg on 127.0.0.1:{}, UDP and TCP, and takes MSRP on port {msrp}.\n",
        proxy.port()
    );

    let mut recipients = [("Bill", ""), ("Carol", ";transport=tcp"), ("Dave", "")]
        .map(|(name, parameter)| Recipient::start(&client, &bench, &folder, name, parameter));

    println!(
        "\n1. Anne sends ONE message, MESSAGE sip:exploder@example.com, with a resource list of three:"
    );
    let mut send = sender(
        &client,
        &proxy,
        &recipients,
        "exploder",
        "sip:exploder@example.com",
    );
    run(send.arg(TEXT));
    for recipient in &mut recipients {
        let said = recipient.next_message();
        assert!(
            said.iter().any(|line| line.contains(TEXT)),
            "{} got another text",
            recipient.name
        );
    }

    let picture = picture();
    let file = folder.join("mandelbrot.bmp");
    fs::write(&file, &picture).expect("the folder of the demo can be written to");
    println!(
        "\n2. Anne sends ONE picture of {} bytes to an ad-hoc group, INVITE sip:cpm@example.com and MSRP:\n\
         \u{20}  sha256 {}",
        picture.len(),
        sha256(&picture)
    );
    let mut send = sender(&client, &proxy, &recipients, "adhoc", "sip:cpm@example.com");
    let progress = if stderr().is_terminal() {
        "auto"
    } else {
        "plain"
    };
    send.arg("--file").arg(&file);
    send.args([
        "--watch",
        &format!("udp:127.0.0.1:{rpc}"),
        "--progress",
        progress,
    ]);
    run(&mut send);
    let checksum = sha256(&picture);
    for recipient in &mut recipients {
        let said = recipient.next_message();
        assert!(
            said.iter().any(|line| line.contains(&checksum)),
            "{} got another picture",
            recipient.name
        );
    }
    for recipient in recipients {
        recipient.finish();
    }
    proxy.stop();
    println!(
        "\nTwo messages sent, six received: the picture three times, byte for byte. All is in {}.",
        folder.display()
    );
}

/// The configuration as an operator has it, with what the bench needs: where to listen, where the
/// module lies, how to be asked whether the proxy is up; and with large message mode.
fn config(root: &Path, msrp: u16, rpc: u16) -> ProxyConfig {
    let file = root.join("kamailio-config/kamailio.cfg");
    let config = fs::read_to_string(&file).expect("the configuration is part of the project");
    let bench_lines = "@LISTEN@\n@MPATH@\nloadmodule \"kex.so\"\nloadmodule \"ctl.so\"\n\
                       modparam(\"ctl\", \"binrpc\", \"unix:@CTL@\")\n";
    let more = format!(
        "loadmodule \"cpm.so\"\nmodparam(\"cpm\", \"msrp_listen\", \"tcp:127.0.0.1:{msrp}\")\n\
         modparam(\"cpm\", \"msrp_chunk_size\", 65536)\n\
         modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")\nloadmodule \"jsonrpcs.so\"\n\
         modparam(\"jsonrpcs\", \"transport\", 4)\nmodparam(\"jsonrpcs\", \"dgram_socket\", \"udp:127.0.0.1:{rpc}\")\n"
    );
    let config = config
        .replacen('\n', &format!("\n{bench_lines}"), 1)
        .replacen("loadmodule \"cpm.so\"\n", &more, 1);
    ProxyConfig::new("")
        .template(&config)
        .mpath(root.join("target/kamailio"))
}

/// `cpm-client send` to all three. The proxy trusts this machine, so the sender may say who it is.
fn sender(
    client: &Path,
    proxy: &Proxy,
    recipients: &[Recipient; 3],
    kind: &str,
    service: &str,
) -> Command {
    let mut command = Command::new(client);
    let server = format!("127.0.0.1:{}", proxy.port());
    command.args([
        "send",
        "--server",
        &server,
        "--from",
        "sip:anne@example.com",
    ]);
    command.args(["--assert", "sip:anne@example.com", "--via", kind, service]);
    for (recipient, role) in recipients.iter().zip(["--to", "--cc", "--bcc"]) {
        println!("     {role:6}{}", recipient.uri);
        command.args([role, &recipient.uri]);
    }
    command
}

fn run(command: &mut Command) {
    println!();
    let status = command.status().expect("the client is built");
    assert!(status.success(), "the client ended with {status}");
}

/// `cpm-client receive` of one recipient.
struct Recipient {
    name: &'static str,
    uri: String,
    child: Child,
    lines: BufReader<ChildStdout>,
    /// A line that belongs to the next message.
    ahead: Option<String>,
}

impl Recipient {
    fn start(
        client: &Path,
        bench: &Bench,
        folder: &Path,
        name: &'static str,
        parameter: &str,
    ) -> Self {
        let (user, port) = (name.to_lowercase(), bench.port());
        let listen = format!("127.0.0.1:{port}");
        let address = format!("sip:{user}@example.com");
        let mut child = Command::new(client)
            .args([
                "receive",
                "--address",
                &address,
                "--listen",
                &listen,
                "--count",
                "2",
                // The sender has the screen.
                "--progress",
                "none",
            ])
            .arg("--store")
            .arg(folder.join(&user))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the client is built");
        let lines = BufReader::new(child.stdout.take().expect("it is piped"));
        let uri = format!("sip:{user}@{listen}{parameter}");
        let mut recipient = Self {
            name,
            uri,
            child,
            lines,
            ahead: None,
        };
        let listening = recipient.line().expect("it says where it listens");
        println!("{name:6}| {listening}");
        recipient
    }

    fn line(&mut self) -> Option<String> {
        if let Some(line) = self.ahead.take() {
            return Some(line);
        }
        let mut line = String::new();
        let length = self.lines.read_line(&mut line).expect("it speaks UTF-8");
        (length > 0).then(|| line.trim_end().to_owned())
    }

    /// Prints what it says of the next message, to the line that says what was in it.
    fn next_message(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        println!();
        while let Some(line) = self.line() {
            println!("{:6}| {line}", self.name);
            let is_last = line.starts_with("  | ") || line.starts_with("  kept as");
            said.push(line);
            if is_last {
                break;
            }
        }
        said
    }

    fn finish(mut self) {
        let status = self.child.wait().expect("it is a child of ours");
        assert!(status.success(), "{} ended with {status}", self.name);
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        // It has ended by itself if all went well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A picture of 5 MiB that nothing is left out of: 1365 by 1280 pixels of three bytes.
fn picture() -> Vec<u8> {
    const WIDTH: usize = 1365;
    const HEIGHT: usize = 1280;
    const ROW_BYTES: usize = (WIDTH * 3).next_multiple_of(4);
    const HEAD_BYTES: usize = 54;
    let size = HEAD_BYTES + ROW_BYTES * HEIGHT;
    let mut bmp = Vec::with_capacity(size);
    bmp.extend_from_slice(b"BM");
    for number in [size, 0, HEAD_BYTES, 40, WIDTH, HEIGHT] {
        bmp.extend_from_slice(&(number as u32).to_le_bytes());
    }
    // One plane of 24 bits, not compressed.
    bmp.extend_from_slice(&[1, 0, 24, 0]);
    bmp.resize(HEAD_BYTES, 0);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let (re, im) = (x as f32 / 455.0 - 2.2, y as f32 / 455.0 - 1.4);
            let (mut a, mut b, mut steps) = (0.0_f32, 0.0_f32, 0_u8);
            while a * a + b * b < 4.0 && steps < 60 {
                (a, b) = (a * a - b * b + re, 2.0 * a * b + im);
                steps += 1;
            }
            let shade = if steps == 60 { 0 } else { steps * 4 };
            bmp.extend_from_slice(&[255 - shade, shade / 2, shade]);
        }
        bmp.resize(HEAD_BYTES + (y + 1) * ROW_BYTES, 0);
    }
    bmp
}
