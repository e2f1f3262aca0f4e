//! The operator's page, in a real browser: the same under both proxies. Who may see it is tested
//! with each, as their HTTP differs.

use std::fs;
use std::thread;
use std::time::Instant;

use cpm_testbed::{
    Bench, Browser, Conduct, MsrpRequest, Plan, Product, ProxyConfig, cpm_message, to, values,
};

use crate::common::{EXPLODER, HANDLE, cpm_proxy, exchange, expect_counter};
use crate::large::{ANNE, SIZE, Scene};
use crate::sites::folder;

pub(crate) const PASSWORD: &str = "open-sesame";

/// A proxy with the page at this port.
pub(crate) fn with_page(port: u16) -> ProxyConfig {
    let folder = folder(Product::under_test());
    match Product::under_test() {
        Product::Kamailio => cpm_proxy(&format!(
            "listen=tcp:127.0.0.1:{port}
            #!define OPERATOR_PORT {port}
            #!define OPERATOR_PASSWORD \"{PASSWORD}\"
            include_file \"{}\"
            tcp_rd_buf_size=131072
            {HANDLE}",
            folder.join("operator-page/operator-page.cfg").display()
        )),
        Product::OpenSips => {
            let file = folder.join("operator-page.html").display().to_string();
            cpm_proxy(HANDLE)
                .load("httpd")
                .set_number("httpd", "port", i64::from(port))
                .set("cpm", "operator_page", &file)
                .set("cpm", "operator_password", PASSWORD)
        }
    }
}

/// Opens the page, as the operator does: with the password.
#[track_caller]
pub(crate) fn open(browser: &mut Browser, port: u16) {
    match Product::under_test() {
        Product::Kamailio => {
            browser.open(&format!("http://operator:{PASSWORD}@127.0.0.1:{port}/cpm/"))
        }
        Product::OpenSips => {
            browser.open(&format!("http://127.0.0.1:{port}/cpm/"));
            sign_in(browser, PASSWORD);
        }
    }
}

/// Types a password, where the page itself asks for it.
#[track_caller]
pub(crate) fn sign_in(browser: &mut Browser, password: &str) {
    browser.expect("!document.querySelector('#sign-in').hidden");
    browser.evaluate(&format!(
        "document.querySelector('[name=password]').value = '{password}'"
    ));
    browser.evaluate("document.querySelector('#sign-in button').click()");
}

pub(crate) fn is_left_out() -> bool {
    let is_left_out = !Browser::is_installed();
    if is_left_out {
        println!("left out: no chromium here");
    }
    is_left_out
}

/// An expression: the text of what the selector finds holds these words.
pub(crate) fn says(selector: &str, words: &str) -> String {
    format!("document.querySelector('{selector}')?.innerText.includes('{words}')")
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
    open(&mut browser, port);
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
    // One may end between the list and the question about it.
    let is_gone = |line: &&str| line.contains("404 (There is no such session)");
    let complaints = browser.complaints().lines();
    assert_eq!(complaints.filter(|line| !is_gone(line)).count(), 0);
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
    let controls = format!("{markup}\t\u{1b}[31m\u{1}\u{7f}");
    let user = "&lt;b&gt;bill";
    let message = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri(user))]);
    let odd = message
        .request()
        .with("Contribution-ID", &controls)
        .with("Subject", &controls)
        .with(
            "P-Asserted-Identity",
            "\"<b>Anne</b>\" <sip:&lt;i&gt;anne@example.com>",
        );
    exchange(&anne, &odd, &proxy, 202);
    expect_counter(&proxy, "delivered", 1);
    let mut browser = bench.browser();
    open(&mut browser, port);
    browser.expect("document.querySelector('#messages tbody tr') !== null");
    browser.evaluate("document.querySelector('#messages tbody tr').click()");
    browser.expect("document.querySelector('#message tbody tr') !== null");
    let shown = browser.evaluate("document.querySelector('#message').innerText");
    let shown = shown.as_str().expect("it is text");
    let dotted = format!("{markup}..[31m..");
    for text in [&dotted, user, "sip:&lt;i&gt;anne@example.com"] {
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
        open(&mut browser, port);
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
fn ten_thousand_messages_are_pages_of_a_list() {
    const RECORDED: usize = 10_000;
    // OpenSIPS takes no request above 65 535 bytes.
    const RECIPIENTS: usize = 900;
    if is_left_out() {
        return;
    }
    let bench = Bench::new("ten_thousand_messages");
    let port = bench.port();
    let config = with_page(port)
        .set_number("cpm", "message_records", RECORDED as i64)
        .set_number("cpm", "max_recipients", 1_000)
        // The transaction of each stays for some seconds.
        .argument("-m")
        .argument("512");
    let proxy = bench.proxy(&config);
    let (anne, bill) = (bench.agent(), bench.agent());
    let one = cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    let mut oldest = None;
    // A few more than are recorded.
    for _ in 0..RECORDED + 10 {
        let request = one.request();
        exchange(&anne, &request, &proxy, 202);
        oldest.get_or_insert_with(|| request.header("Call-ID").map(str::to_owned));
    }
    let users = (0..RECIPIENTS).map(|n| to(&bill.uri(&format!("user{n}"))));
    let many = cpm_message(ANNE, EXPLODER).recipients(users).request();
    anne.send(&many, proxy.tcp());
    anne.expect_response(&many, 202);

    let mut browser = bench.browser();
    open(&mut browser, port);
    let rows = |table: &str| format!("document.querySelectorAll('#{table} tbody tr').length");
    let pages = |words: &str| says("#messages .pages", words);
    let is_disabled =
        |button: &str| format!("document.querySelector('#messages .{button}').disabled");
    let click = |button: &str| format!("document.querySelector('#messages .{button}').click()");
    browser.expect(&format!("{} === 100", rows("messages")));
    browser.expect(&pages("1 to 100, newest first"));
    browser.expect(&is_disabled("newer"));
    browser.evaluate("document.querySelector('[name=most]').value = 1000");
    browser.expect(&format!("{} === 1000", rows("messages")));
    browser.evaluate("document.querySelector('#messages tbody tr').click()");
    browser.expect(&format!("{} === {RECIPIENTS}", rows("message")));
    browser.evaluate("document.querySelector('#message .close').click()");
    for page in 1..RECORDED / 1_000 {
        browser.evaluate(&click("older"));
        browser.expect(&pages(&format!("{}001 to {}000", page, page + 1)));
    }
    browser.expect(&format!("{} === 1000", rows("messages")));
    browser.evaluate(&click("older"));
    browser.expect(&format!("{} === 0", rows("messages")));
    browser.expect(&is_disabled("older"));
    browser.evaluate(&click("newer"));
    browser.expect(&pages("9001 to 10000"));
    // Another selection begins with its newest.
    browser.evaluate(
        "(() => {
            const state = document.querySelector('[name=state]');
            state.value = 'failed';
            state.dispatchEvent(new Event('input', { bubbles: true }));
        })()",
    );
    browser.expect(&format!("{} === 0", rows("messages")));
    browser.expect("document.querySelector('#messages .pages').hidden");
    assert_eq!(browser.complaints(), "");
    drop(browser);
    // The command has the same bounds: the newest ones, and nothing of what is no longer recorded.
    let begin = Instant::now();
    assert_eq!(
        values(&proxy.rpc("cpm.messages state=failed"), "state").count(),
        0
    );
    println!(
        "{RECORDED} messages are looked through in {:?}",
        begin.elapsed()
    );
    let list = proxy.rpc("cpm.messages skip=9990");
    assert_eq!(values(&list, "call_id").count(), 10, "{list}");
    let oldest = oldest.flatten().expect("it has one");
    let refused = proxy.try_rpc(&format!("cpm.message {oldest}"));
    assert!(refused.is_err_and(|fault| fault.contains("404")));
    proxy.stop();
}
