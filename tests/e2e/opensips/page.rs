//! The operator's page under OpenSIPS, whose HTTP knows no script: who may use it. What it shows is
//! tested with both proxies (`module/page.rs`).

use std::fmt::Write as _;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use cpm_testbed::{Bench, PATIENCE, Product, WebAnswer};

use crate::common::{HANDLE, cpm_proxy};
use crate::module::page::{PASSWORD, is_left_out, says, sign_in, with_page};
use crate::sites::{folder, quoted, serves_this_machine, shipped};

/// Status code and text of the answer to a request; 0: the connection was closed without one.
fn fetch(port: u16, method: &str, path: &str, content: Option<(&str, &str)>) -> (u16, String) {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n");
    if let Some((media_type, body)) = content {
        let _ = write!(
            request,
            "Content-Type: {media_type}\r\nContent-Length: {}\r\n",
            body.len()
        );
    }
    request += "\r\n";
    request += content.map_or("", |(_, body)| body);
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("httpd listens");
    connection
        .set_read_timeout(Some(PATIENCE))
        .expect("a time to wait is not zero");
    connection
        .write_all(request.as_bytes())
        .expect("httpd reads");
    let mut answer = String::new();
    // What it does not take it ends with a reset.
    let _ = connection.read_to_string(&mut answer);
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
    (code.unwrap_or(0), answer)
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn the_commands_of_the_page_are_for_the_operator_alone() {
    let bench = Bench::new("commands_for_the_operator_alone");
    let port = bench.port();
    let proxy = bench.proxy(&with_page(port));
    let (code, page) = fetch(port, "GET", "/cpm/", None);
    assert_eq!(code, 200);
    assert!(page.contains("text/html") && page.contains("default-src 'none'"));
    assert!(!page.contains("unsafe-inline") && !page.contains(PASSWORD));
    for (method, path, expected) in [
        ("POST", "/cpm/", 405),
        ("GET", "/cpm", 404),
        ("GET", "/cpm/page.js", 404),
        ("GET", "/cpm_rpc", 405),
        ("PUT", "/cpm_rpc", 406),
    ] {
        let content = (method == "POST").then_some(("application/json", "{}"));
        assert_eq!(fetch(port, method, path, content).0, expected, "{path}");
    }
    let rpc = |method: &str, parameters: &str, password: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"{method}\",\"params\":{parameters},\"password\":{password}}}"
        )
    };
    let asks = |body: &str| fetch(port, "POST", "/cpm_rpc", Some(("application/json", body)));
    let right = format!("\"{PASSWORD}\"");
    let stats = rpc("cpm.stats", "[]", &right);
    let (code, answer) = asks(&stats);
    assert_eq!(code, 200, "{answer}");
    assert!(answer.contains("\"accepted\":0"), "{answer}");
    assert!(answer.contains("application/json"), "{answer}");
    // Without the password there is nothing, whatever is asked for.
    let longer = format!("\"{PASSWORD}{PASSWORD}\"");
    for wrong in ["\"guessed\"", "\"\"", "\"o\"", "1", "null", "[]", &longer] {
        for method in ["cpm.stats", "kill"] {
            let (code, answer) = asks(&rpc(method, "[]", wrong));
            assert_eq!(code, 401, "{wrong}: {answer}");
        }
    }
    let bare = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"cpm.stats\"}";
    assert_eq!(asks(bare).0, 401);
    proxy.expect_log("a request to the operator's page has a wrong password");
    // With it, the commands of the page and no others, in any disguise.
    let twice = stats.replace("\"id\":1", "\"id\":1,\"method\":\"kill\"");
    for body in [
        rpc("kill", "[]", &right),
        rpc("cpm_stats", "[]", &right),
        rpc("cpm.drain", "[]", &right),
        rpc("cpm.statsx", "[]", &right),
        rpc("1", "[]", &right).replace("\"1\"", "1"),
        twice,
    ] {
        let (code, answer) = asks(&body);
        assert_eq!(code, 403, "{body}: {answer}");
    }
    for body in ["{", "[]", "\"\"", &format!("[{stats}]")] {
        let code = asks(body).0;
        assert!([400, 401].contains(&code), "{body}: {code}");
    }
    // Unknown ids and odd parameters are refused by the command.
    for (method, parameters, fault) in [
        (
            "cpm.message",
            "[\"a\\\"b\\\\c\"]",
            "There is no record of such a message",
        ),
        ("cpm.session", "[\"nothing\"]", "\"error\""),
        ("cpm.messages", "[\"most=x\"]", "Known are originator=URI"),
        ("cpm.messages", "[[[[]]]]", "\"error\""),
        ("cpm.message", "{\"id\":{}}", "\"error\""),
    ] {
        let (code, answer) = asks(&rpc(method, parameters, &right));
        assert_eq!(code, 200, "{answer}");
        assert!(answer.contains(fault), "{parameters}: {answer}");
    }
    // What a foreign page can send without asking first: it is not read.
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let (code, answer) = fetch(port, "POST", "/cpm_rpc", Some((kind, &stats)));
        assert!([0, 400].contains(&code), "{kind}: {answer}");
    }
    // A body that httpd does not hold.
    let long = rpc(
        "cpm.message",
        &format!("[\"{}\"]", "x".repeat(100_000)),
        &right,
    );
    assert_ne!(asks(&long).0, 200);
    assert_eq!(asks(&stats).0, 200);
    proxy.stop();
}

#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn the_page_asks_again_after_a_wrong_password_and_is_nothing_in_a_frame() {
    if is_left_out() {
        return;
    }
    let bench = Bench::new("the_page_asks_again");
    let port = bench.port();
    let proxy = bench.proxy(&with_page(port));
    let mut browser = bench.browser();
    browser.open(&format!("http://127.0.0.1:{port}/cpm/"));
    sign_in(&mut browser, "guessed");
    browser.expect(&says("#state", "the password is wrong"));
    let totals = "document.querySelectorAll('#totals div').length";
    assert_eq!(browser.evaluate(totals), 0);
    sign_in(&mut browser, PASSWORD);
    browser.expect(&format!("{totals} > 10"));
    browser.expect("!document.querySelector('main').hidden");
    // In a frame, even of its own origin, whose text can be read here.
    let page = fs::read_to_string(folder(Product::OpenSips).join("operator-page.html"));
    let page = page.expect("it is part of the project");
    let web = bench.web_server();
    web.answers(move |request| {
        let is_page = request.path == "/cpm/";
        let frame = "<iframe src=\"/cpm/\"></iframe>";
        let body = if is_page { &page } else { frame };
        WebAnswer::response("200 OK\r\nContent-Type: text/html", body)
    });
    browser.open(&format!("http://127.0.0.1:{}/frame", web.port()));
    browser.expect(
        "document.querySelector('iframe').contentDocument.body?.innerText === 'Not in a frame.'",
    );
    drop(browser);
    proxy.stop();
}

/// The page of the configuration that ships, with the password that it has.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn the_configuration_with_the_page_serves_it() {
    let bench = Bench::new("the_configuration_with_the_page");
    let port = bench.port();
    let page = folder(Product::OpenSips).join("operator-page.html");
    let own = [
        ("OPERATOR_PORT", port.to_string()),
        ("OPERATOR_PAGE", quoted(&page.display().to_string())),
    ];
    let proxy = bench.proxy(&shipped("operator-page.cfg", &own));
    serves_this_machine(&bench, &proxy);
    assert_eq!(fetch(port, "GET", "/cpm/", None).0, 200);
    let body =
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"cpm.stats\",\"password\":\"a long password\"}";
    let (code, answer) = fetch(port, "POST", "/cpm_rpc", Some(("application/json", body)));
    assert_eq!(code, 200, "{answer}");
    assert!(answer.contains("\"delivered\":2"), "{answer}");
    proxy.stop();
}

/// A start that cannot serve the page says why.
#[test]
#[ignore = "left out: needs OpenSIPS (make test-e2e PROXY=opensips)"]
fn a_page_that_cannot_be_served_is_told_at_the_start() {
    let bench = Bench::new("a_page_that_cannot_be_served");
    let file = folder(Product::OpenSips).join("operator-page.html");
    let file = file.display().to_string();
    let with = |file: &str, password: &str| {
        let config = cpm_proxy(HANDLE).set("cpm", "operator_page", file);
        config.set("cpm", "operator_password", password)
    };
    for (config, line) in [
        (
            with(&file, PASSWORD),
            "operator_page needs loadmodule \"httpd.so\"",
        ),
        (
            with(&file, "").load("httpd"),
            "operator_page and operator_password need each other",
        ),
        (
            with("/nowhere/page.html", PASSWORD).load("httpd"),
            "operator_page: /nowhere/page.html cannot be read: No such file or directory",
        ),
    ] {
        let failure = bench.try_proxy(&config).expect_err("it is refused");
        assert!(failure.log.contains(line), "{}", failure.log);
    }
}
