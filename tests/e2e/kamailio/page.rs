//! The operator's page, in a real browser, and who may see it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::thread;

use cpm::digest::{self, Answers, Challenge};
use cpm_testbed::{
    Bench, Browser, Conduct, MsrpRequest, PATIENCE, Plan, Product, ProxyConfig, WebAnswer,
    cpm_message, to, values,
};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, expect_counter};
use crate::large::{ANNE, SIZE, Scene};
use crate::sites::folder;

const PASSWORD: &str = "open-sesame";

/// A proxy with the page at this port.
fn with_page(port: u16) -> ProxyConfig {
    let page = folder(Product::Kamailio).join("operator-page/operator-page.cfg");
    cpm_proxy(&format!(
        "listen=tcp:127.0.0.1:{port}
        #!define OPERATOR_PORT {port}
        #!define OPERATOR_PASSWORD \"{PASSWORD}\"
        include_file \"{}\"
        tcp_rd_buf_size=131072
        {HANDLE}",
        page.display()
    ))
}

/// As the operator types it, with the password.
fn address(port: u16) -> String {
    format!("http://operator:{PASSWORD}@127.0.0.1:{port}/cpm/")
}

fn is_left_out() -> bool {
    let is_left_out = !Browser::is_installed();
    if is_left_out {
        println!("left out: no chromium here");
    }
    is_left_out
}

/// An expression: the text of what the selector finds holds these words.
fn says(selector: &str, words: &str) -> String {
    format!("document.querySelector('{selector}')?.innerText.includes('{words}')")
}

#[test]
fn the_page_as_text_of_a_configuration_is_the_page() {
    let written = folder(Product::Kamailio).join("operator-page/files.cfg");
    let written = fs::read_to_string(written).expect("it is part of the project");
    assert!(
        written == xtask::page::text().expect("the page can be read"),
        "run `make page`"
    );
}

/// An expression: a leg of this user holds these words.
fn leg_says(user: &str, words: &str) -> String {
    format!(
        "[...document.querySelectorAll('.leg')].some(leg =>
            leg.innerText.includes('{user}@') && leg.innerText.includes('{words}'))"
    )
}

#[test]
fn the_page_shows_a_session_grow_and_ends_another() {
    if is_left_out() {
        return;
    }
    let mut port = 0;
    let scene = Scene::unseen("the_page_shows_a_session_grow", |bench, config| {
        drop(config);
        port = bench.port();
        let listen = format!("tcp:127.0.0.1:{}", bench.msrp_port());
        with_page(port)
            .set("cpm", "msrp_listen", &listen)
            .set("cpm", "msrp_spool_dir", "none")
    });
    let mut browser = scene.bench.browser();
    browser.open(&address(port));
    browser.expect(&says("#sessions .note", "None"));

    scene.callees.plan("carol", Plan::status(603));
    let upload = scene.upload(EXPLODER, &["bill", "carol"]);
    let mut call = scene.begins(&upload);
    let (first, second) = upload.content.split_at(SIZE / 2);
    upload
        .session
        .send(&MsrpRequest::chunk("m", 0, first, SIZE));
    // The relay withholds the last bytes of what may be the end.
    browser.expect(
        "[...document.querySelectorAll('.leg progress')].some(bar =>
            bar.value > bar.max / 3 && bar.value <= bar.max / 2)",
    );
    browser.expect(&leg_says("carol", "failed 603"));
    upload
        .session
        .send(&MsrpRequest::chunk("m", SIZE / 2, second, SIZE));
    browser.expect(&leg_says("bill", "100 %"));
    browser.expect(&leg_says("bill", "delivered"));

    // A recipient that takes nothing holds the next sender back: the page says who and why.
    let stalls = Plan::accept().conduct(Conduct::StallAfter(1000));
    scene.callees.plan("dave", stalls);
    let big = scene.upload_of(scene.message(EXPLODER, &["dave"]), 24 << 20);
    scene.begins(&big);
    let sending = thread::spawn({
        let (session, content) = (big.session.clone(), big.content.clone());
        // It is not read to its end.
        move || session.try_send(&MsrpRequest::chunk("m", 0, &content, content.len()))
    });
    browser.expect(&says("#held-back", "dave@"));
    browser.expect(&says("#held-back", "no spool folder (msrp_spool_dir)"));
    if let Some(file) = std::env::var_os("CPM_PICTURE") {
        fs::write(file, browser.picture()).expect("the picture can be written");
    }

    // The operator ends one whose sender waits, on second thoughts. That one has a minute; a sender
    // that is held back has only 20 seconds.
    let idle = scene.upload(EXPLODER, &["erin"]);
    scene.begins(&idle);
    browser.expect(&leg_says("erin", "confirmed"));
    let button = "[...document.querySelectorAll('#sessions article')]
        .find(one => one.innerText.includes('erin@')).querySelector('button').click()";
    browser.evaluate(button);
    browser.expect("document.querySelector('dialog').open");
    browser.evaluate("document.querySelector('dialog .keep').click()");
    browser.expect("!document.querySelector('dialog').open");
    browser.expect(&leg_says("erin", "confirmed"));
    browser.evaluate(button);
    browser.evaluate("document.querySelector('dialog .end').click()");
    browser.expect(&format!("!({})", leg_says("erin", "")));
    scene.hangs_up(&scene.callees.expect_call("erin"), 480);
    scene.anne.expect_request("BYE");
    browser.expect("document.querySelector('#held-back').hidden");
    // The other one is still there, and ends by itself.
    browser.expect(&leg_says("bill", "delivered"));
    call.bye(200);
    browser.expect(&says("#sessions .note", "None"));
    browser.expect("document.querySelector('#messages td:nth-child(2)').innerText === 'failed'");
    let _ = sending.join().expect("it does not panic");
    assert_eq!(browser.complaints(), "");
    drop(browser);
    scene.finish();
}

#[test]
fn what_peers_write_is_text_on_the_page() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("what_peers_write_is_text_on_the_page");
    let (anne, bill) = (bench.agent(), bench.agent());
    let port = bench.port();
    let proxy = bench.proxy(&with_page(port));
    let markup = "<img/src=x/onerror=alert(1)>\\\"&amp;";
    let user = "&lt;b&gt;bill";
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri(user))]);
    let odd = message
        .request()
        .with("Contribution-ID", markup)
        .with("Subject", markup)
        .with(
            "P-Asserted-Identity",
            "\"<b>Anne</b>\" <sip:&lt;i&gt;anne@example.com>",
        );
    exchange(&anne, &odd, &proxy, 202);
    expect_counter(&proxy, "delivered", 1);
    let mut browser = bench.browser();
    browser.open(&address(port));
    browser.expect("document.querySelector('#messages tbody tr') !== null");
    browser.evaluate("document.querySelector('#messages tbody tr').click()");
    browser.expect("document.querySelector('#message tbody tr') !== null");
    let shown = browser.evaluate("document.querySelector('#message').innerText");
    let shown = shown.as_str().expect("it is text");
    for text in [markup, user, "sip:&lt;i&gt;anne@example.com"] {
        assert!(shown.contains(text), "{text} is not in {shown}");
    }
    assert_eq!(
        browser.evaluate(
            "document.querySelectorAll('main img, main b:not(#totals b), main i').length"
        ),
        0
    );
    assert_eq!(browser.complaints(), "");
    drop(browser);
    proxy.stop();
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
    browser.open(&address(port));
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
fn the_page_shows_groups_where_there_are_some() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("the_page_shows_groups");
    let folder = bench.folder().join("groups");
    fs::create_dir(&folder).expect("the folder of a test can be written to");
    let source = format!("dir:{}", folder.display());
    let groups = "sip:*@groups.example.com";
    let mut browser = bench.browser();
    for has_groups in [false, true] {
        let port = bench.port();
        let mut config = with_page(port);
        if has_groups {
            config = config
                .set("cpm", "group_source", &source)
                .set("cpm", "group_uri", groups);
        }
        let proxy = bench.proxy(&config);
        browser.open(&address(port));
        browser.expect(&says("#state", "As of"));
        let is_hidden = browser.evaluate("document.querySelector('#groups').hidden");
        assert_eq!(is_hidden, !has_groups);
        if has_groups {
            browser.expect(&says("#groups", groups));
            browser.expect(&says("#groups", &source));
            browser.evaluate("document.querySelector('.flush').click()");
            browser.expect(&says("#state", "Each group is read again"));
        }
        proxy.stop();
        browser.expect(&says("#state", "No answer"));
    }
}

#[test]
fn the_page_lists_as_many_messages_as_are_asked_for() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("the_page_lists_as_many_messages");
    let port = bench.port();
    let config = with_page(port)
        .set_number("cpm", "message_records", 2_000)
        .set_number("cpm", "max_recipients", 1_000);
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    let one = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    for _ in 0..1_050 {
        exchange(&anne, &one.request(), &proxy, 202);
    }
    let users = (0..1_000).map(|n| to(&bill.uri(&format!("user{n}"))));
    let many = cpm_message(ANNE, EXPLODER).recipients(users).request();
    anne.send(&many, proxy.tcp());
    anne.expect_response(&many, 202);
    let mut browser = bench.browser();
    browser.open(&address(port));
    let rows = |table: &str| format!("document.querySelectorAll('#{table} tbody tr').length");
    browser.expect(&format!("{} === 100", rows("messages")));
    browser.evaluate("document.querySelector('[name=most]').value = 1000");
    browser.expect(&format!("{} === 1000", rows("messages")));
    browser.evaluate("document.querySelector('#messages tbody tr').click()");
    browser.expect(&format!("{} === 1000", rows("message")));
    browser.evaluate("document.querySelector('[name=state]').value = 'failed'");
    browser.expect(&format!("{} === 0", rows("messages")));
    assert_eq!(browser.complaints(), "");
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
