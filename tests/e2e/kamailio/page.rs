//! The operator's page under Kamailio: who may see it, and the files that it is made of. What it
//! shows is tested with both proxies (`module/page.rs`).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;

use cpm::digest::{self, Answers, Challenge};
use cpm_testbed::{Bench, PATIENCE, WebAnswer, cpm_message, to, values};

use crate::common::{EXPLODER, exchange};
use crate::large::ANNE;
use crate::module::page::{PASSWORD, is_left_out, open, with_page};

#[test]
fn what_each_proxy_serves_is_the_page() {
    for (path, text) in xtask::page::files().expect("the page can be read") {
        let written = fs::read_to_string(&path).expect("it is part of the project");
        assert!(written == text, "{}: run `make page`", path.display());
    }
}

#[test]
fn the_page_is_for_the_operator_alone() {
    let bench = Bench::new("the_page_is_for_the_operator_alone");
    let port = bench.port();
    let config = with_page(port)
        .load("jsonrpcs")
        .set_number("jsonrpcs", "transport", 1);
    let proxy = bench.proxy(&config);
    let rpc = |method: &str, parameters: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{parameters}}}")
    };
    let stats = rpc("cpm.stats", "[]");
    // Without the password there is nothing, whatever is asked for.
    for path in ["/cpm/", "/cpm/page.js", "/cpm/page.css", "/cpm/rpc", "/"] {
        let (code, head) = Fetch::get(port, path).send("");
        assert_eq!(code, 401, "{path}: {head}");
        assert!(
            head.contains("WWW-Authenticate: Digest realm=\"cpm\""),
            "{head}"
        );
    }
    let page = Fetch::get(port, "/cpm/");
    assert_eq!(page.send_as("operator", "guessed").0, 401);
    assert_eq!(page.send_as("mallory", "guessed").0, 401);
    assert_eq!(page.send_as("mallory", PASSWORD).0, 403);
    // At a port for SIP there is no page, not even a challenge.
    assert_eq!(Fetch::get(proxy.port(), "/cpm/").send("").0, 404);

    let asks = |media_type: &str, body: &str| {
        let fetch = Fetch {
            method: "POST",
            media_type,
            body,
            ..Fetch::get(port, "/cpm/rpc")
        };
        fetch.send_as("operator", PASSWORD).0
    };
    let json = "application/json";
    assert_eq!(asks(json, &stats), 200);
    assert_eq!(
        asks(json, &rpc("cpm.messages", "[\"most=1\",\"state=failed\"]")),
        200
    );
    assert_eq!(asks(json, &rpc("cpm.message", "[\"a\\\"b\\\\c\"]")), 404);
    // What a foreign page can send with the operator's password (a simple request of CORS).
    for kind in ["text/plain", "application/x-www-form-urlencoded"] {
        assert_eq!(asks(kind, &stats), 415, "{kind}");
    }
    // Other commands, in any disguise.
    let twice = stats.replace("}", ",\"method\":\"core.kill\"}");
    let hidden = rpc(
        "cpm.message",
        "[\"\",\"x\"],\"method\":\"core.kill\",\"y\":[\"\"]",
    );
    let long = rpc("cpm.message", &format!("[\"{}\"]", "x".repeat(3000)));
    for body in [
        rpc("core.kill", "[]"),
        rpc("cpm.drain", "[]"),
        rpc("cpm.statsx", "[]"),
        twice,
        hidden,
        format!("[{stats}]"),
        long,
        String::new(),
    ] {
        assert_eq!(asks(json, &body), 403, "{body}");
    }
    for path in [
        "/cpm/",
        "/cpm/page.js",
        "/cpm/page.css",
        "/cpm/rpc",
        "/nothing",
    ] {
        let (code, head) = Fetch::get(port, path).send_as("operator", PASSWORD);
        let expected = match path {
            "/cpm/rpc" => 415,
            "/nothing" => 404,
            _ => 200,
        };
        assert_eq!(code, expected, "{path}");
        for field in [
            "X-Frame-Options: DENY",
            "X-Content-Type-Options: nosniff",
            "frame-ancestors 'none'",
            "default-src 'none'",
            "Cache-Control: no-store",
        ] {
            assert!(head.contains(field), "{path}: no {field} in {head}");
        }
        assert!(!head.contains("unsafe-inline"), "{head}");
    }
    proxy.stop();
}

#[test]
fn the_page_goes_on_when_its_nonce_is_old_and_into_no_frame() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("the_page_goes_on_when_its_nonce_is_old");
    let port = bench.port();
    let config = with_page(port)
        .load("auth")
        .set_number("auth", "nonce_expire", 1);
    let proxy = bench.proxy(&config);
    let mut browser = bench.browser();
    open(&mut browser, port);
    // Several nonces later it is still served, without another question.
    let requests = "[...document.querySelectorAll('#totals div')]
        .find(one => one.innerText.includes('requests'))?.innerText.startsWith";
    browser.expect(&format!("{requests}('0')"));
    let (anne, bill) = (bench.agent(), bench.agent());
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    for count in 1..=5 {
        exchange(&anne, &message.request(), &proxy, 202);
        browser.expect(&format!("{requests}('{count}')"));
        let times = "new Promise(done => setTimeout(done, 1000))";
        browser.evaluate(times);
    }
    assert_eq!(browser.complaints(), "");
    let web = bench.web_server();
    let frame = format!("<iframe src=\"http://127.0.0.1:{port}/cpm/\"></iframe>");
    web.answers(move |_| WebAnswer::response("200 OK\r\nContent-Type: text/html", &frame));
    browser.open(&format!("http://127.0.0.1:{}/frame", web.port()));
    browser.expect_complaint("frame-ancestors");
    drop(browser);
    proxy.stop();
}

#[test]
fn no_picture_of_the_pages_is_cut_off() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("no_picture_is_cut_off");
    let mut browser = bench.browser();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut seen, mut cut_off) = (0, Vec::new());
    for folder in ["doc", "benches/results"] {
        let files = fs::read_dir(root.join(folder)).expect("it is part of the project");
        for path in files.flatten().map(|file| file.path()) {
            if path.extension().is_none_or(|extension| extension != "svg") {
                continue;
            }
            browser.open(&format!("file://{}", path.display()));
            let outside = browser.evaluate(
                "(() => {
                    const [x, y, width, height] = document.documentElement.getAttribute('viewBox')
                        .split(/[ ,]+/).map(Number);
                    return [...document.querySelectorAll('text')].filter(text => {
                        const box = text.getBBox();
                        return box.x < x || box.y < y || box.x + box.width > x + width
                            || box.y + box.height > y + height;
                    }).map(text => text.textContent).join('; ');
                })()",
            );
            if outside != "" {
                cut_off.push(format!("{}: {outside}", path.display()));
            }
            seen += 1;
        }
    }
    assert!(cut_off.is_empty(), "{cut_off:#?}");
    assert!(seen >= 7, "{seen}");
}

/// A request of HTTP.
struct Fetch<'a> {
    port: u16,
    method: &'a str,
    path: &'a str,
    media_type: &'a str,
    body: &'a str,
}

impl Fetch<'_> {
    fn get(port: u16, path: &str) -> Fetch<'_> {
        Fetch {
            port,
            method: "GET",
            path,
            media_type: "text/plain",
            body: "",
        }
    }

    /// Status code and head of the answer to the request with this header line.
    fn send(&self, line: &str) -> (u16, String) {
        let mut connection =
            TcpStream::connect(("127.0.0.1", self.port)).expect("the proxy listens");
        let Fetch {
            method,
            path,
            media_type,
            body,
            ..
        } = self;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: proxy\r\n{line}Content-Type: {media_type}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        connection
            .write_all(request.as_bytes())
            .expect("the proxy reads");
        connection
            .set_read_timeout(Some(PATIENCE))
            .expect("a time to wait is not zero");
        let mut answer = BufReader::new(connection);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let length = answer.read_line(&mut head).expect("the proxy answers");
            assert!(length > 0, "the answer ends in its head:\n{head}");
        }
        let code = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        (code.expect("a status line"), head)
    }

    /// The same with these credentials, once they are asked for.
    fn send_as(&self, user: &str, password: &str) -> (u16, String) {
        let (code, head) = self.send("");
        assert_eq!(code, 401, "{head}");
        let challenge = values(&head, "WWW-Authenticate").next().expect("it asks");
        let challenge = Challenge::read(challenge).pop().expect("it is a challenge");
        let asked = digest::Request {
            method: self.method,
            uri: self.path,
            body: &[],
        };
        let answer = Answers::new(challenge, "0a4f113b".to_owned()).next(user, password, asked);
        self.send(&format!("Authorization: {answer}\r\n"))
    }
}
