//! Sources of groups: a folder, databases behind Kamailio's own modules, XDMSs; and which of
//! several takes precedence.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use cpm_testbed::{
    Agent, Bench, GroupDocument, Product, Proxy, ProxyConfig, WebAnswer, WebRequest,
    resource_lists, to, unmarked,
};

use crate::common::{exchange, log_lines, proves, sqlite};
use crate::groups::{
    ANNE, GroupFolder, address, ask, ask_until, group_proxy, open_group, recipients, to_group,
};

/// One process and no caching: each request queries the source.
fn watched(source: &str) -> ProxyConfig {
    group_proxy(source)
        .set_number("cpm", "group_processes", 1)
        .set_number("cpm", "group_lifetime", 0)
}

#[test]
fn a_folder_is_watched() {
    let bench = Bench::new("a_folder_is_watched");
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let group = |name: &str, members: &[&str]| {
        open_group(name).members(members.iter().map(|user| all.uri(user)))
    };
    folder.put("changing", &group("changing", &["bill"]));
    folder.put("steady", &group("steady", &["dan"]));
    let proxy = bench.proxy(&watched(&folder.source()));
    let capture = bench.capture();
    let request = |name| to_group(ANNE, name).request();
    exchange(&anne, &request("changing"), &proxy, 202);
    proves!(
        ["9.1.1-4g"],
        assert_eq!(recipients(&all, 1), [all.uri("bill")])
    );

    // The name of a file does not matter.
    folder.put("whatever", &group("new", &["carol"]));
    ask_until(&anne, &request("new"), &proxy, 202);
    proves!(
        ["9.1.1-4g"],
        assert_eq!(recipients(&all, 1), [all.uri("carol")])
    );

    folder.put("changing", &group("changing", &[]));
    ask_until(&anne, &request("changing"), &proxy, 403);
    folder.put("changing", &group("changing", &["eve"]));
    ask_until(&anne, &request("changing"), &proxy, 202);
    proves!(["9.1.1-4g"], expect_copy(&all, &all.uri("eve")));

    folder.remove("whatever");
    proves!(["9.1.1-4b"], ask_until(&anne, &request("new"), &proxy, 404));

    // While its file is broken, a group remains, and no other is affected.
    folder.put_text(
        "changing",
        "<group xmlns=\"urn:oma:xml:poc:list-service\"><list-service",
    );
    let unavailable = ask_until(&anne, &request("changing"), &proxy, 480);
    assert!(unavailable.header("Retry-After").is_some());
    proxy.expect_log("changing.xml: ");
    exchange(&anne, &request("steady"), &proxy, 202);
    expect_copy(&all, &all.uri("dan"));
    folder.put("changing", &group("changing", &["frank"]));
    ask_until(&anne, &request("changing"), &proxy, 202);
    expect_copy(&all, &all.uri("frank"));
    capture.stop().assert_clean();
    proxy.stop();
}

/// Waits for a copy for this recipient; earlier ones may be for others.
#[track_caller]
fn expect_copy(agent: &Agent, uri: &str) {
    while agent.expect_request("MESSAGE").uri() != Some(uri) {}
}

fn table(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("kamailio-config")
        .join(file);
    fs::read_to_string(path).expect("the tables are in kamailio-config")
}

/// The statement that inserts or replaces a group.
fn row(name: &str, document: &GroupDocument, cast: &str) -> String {
    let xml = document.xml().replace('\'', "''");
    format!(
        "DELETE FROM cpm_group WHERE uri = '{0}';
         INSERT INTO cpm_group (uri, document) VALUES ('{0}', {cast});",
        address(name)
    )
    .replace("@TEXT@", &format!("'{xml}'"))
}

#[test]
fn a_row_of_sqlite_is_a_group() {
    let bench = Bench::new("a_row_of_sqlite_is_a_group");
    let file = bench.folder().join("groups.db");
    let (anne, all) = (bench.agent(), bench.agent());
    let group = |name: &str, user: &str| open_group(name).members([all.uri(user)]);
    sqlite(&file, &table("cpm-groups-sqlite.sql"));
    sqlite(&file, &row("text", &group("text", "bill"), "@TEXT@"));
    sqlite(
        &file,
        &row("blob", &group("blob", "carol"), "CAST(@TEXT@ AS BLOB)"),
    );
    // The document in the row is another group's.
    sqlite(&file, &row("false", &group("true", "mallory"), "@TEXT@"));
    let source = format!("db:sqlite:///{}", file.display());
    let proxy = bench.proxy(&watched(&source).load("db_sqlite"));
    check_database(&anne, &all, &proxy, |name, user| {
        sqlite(&file, &row(name, &group(name, user), "@TEXT@"));
    });
    proxy.stop();
}

/// Common to all databases: they contain the groups `text`, `blob` and `false`.
#[track_caller]
fn check_database(anne: &Agent, all: &Agent, proxy: &Proxy, put: impl Fn(&str, &str)) {
    let request = |name: &str| to_group(ANNE, name).request();
    for (name, user) in [("text", "bill"), ("blob", "carol")] {
        exchange(anne, &request(name), proxy, 202);
        proves!(
            ["9.1.1-4g"],
            assert_eq!(recipients(all, 1), [all.uri(user)])
        );
    }
    // The canonical spelling of the address is looked up.
    let spelt = request("text").with_uri("SIP:te%78t@GROUPS.example.com;x=y");
    exchange(anne, &spelt, proxy, 202);
    assert_eq!(recipients(all, 1), [all.uri("bill")]);
    exchange(anne, &request("false"), proxy, 480);
    // Input cannot change the SQL statement.
    for name in [
        "'",
        "a'%20OR%20'1'='1",
        "%27;DROP%20TABLE%20cpm_group;--",
        "%00",
        "te%25t",
    ] {
        proves!(["9.1.1-4b"], exchange(anne, &request(name), proxy, 404));
    }
    put("text", "dan");
    exchange(anne, &request("text"), proxy, 202);
    assert_eq!(recipients(all, 1), [all.uri("dan")]);
    // An unknown group stays so for a while, unless the operator flushes the cache.
    proves!(["9.1.1-4b"], exchange(anne, &request("late"), proxy, 404));
    put("late", "eve");
    exchange(anne, &request("late"), proxy, 404);
    proxy.rpc("cpm.groups_flush");
    ask_until(anne, &request("late"), proxy, 202);
    assert_eq!(recipients(all, 1), [all.uri("eve")]);
    all.expect_nothing_until(|| proxy.ping());
}

#[test]
fn a_row_of_postgresql_is_a_group() {
    let bench = Bench::new("a_row_of_postgresql_is_a_group");
    let server = bench.postgres();
    let (anne, all) = (bench.agent(), bench.agent());
    let group = |name: &str, user: &str| open_group(name).members([all.uri(user)]);
    let cast = "convert_to(@TEXT@, 'UTF8')";
    server.sql(&table("cpm-groups-postgres.sql"));
    for (name, user) in [("text", "bill"), ("blob", "carol")] {
        server.sql(&row(name, &group(name, user), cast));
    }
    server.sql(&row("false", &group("true", "mallory"), cast));
    let source = format!("db:{}", server.url());
    let proxy = bench.proxy(&watched(&source).load("db_postgres"));
    check_database(&anne, &all, &proxy, |name, user| {
        server.sql(&row(name, &group(name, user), cast));
    });
    // A lost connection is re-established.
    server.sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = 'cpm' AND pid <> pg_backend_pid()",
    );
    server.sql(&row("again", &group("again", "frank"), cast));
    proxy.rpc("cpm.groups_flush");
    let request = to_group(ANNE, "again").request();
    if ask(&anne, &request, &proxy).status() == Some(480) {
        proxy.rpc("cpm.groups_flush");
        ask_until(&anne, &request, &proxy, 202);
    }
    proves!(
        ["9.1.1-4g"],
        assert_eq!(recipients(&all, 1), [all.uri("frank")])
    );
    // While the server is down, cached groups are still served.
    server.stop();
    exchange(&anne, &request.again(), &proxy, 202);
    assert_eq!(recipients(&all, 1), [all.uri("frank")]);
    let response = exchange(&anne, &to_group(ANNE, "other").request(), &proxy, 480);
    assert!(response.header("Retry-After").is_some());
    exchange(&anne, &request.again(), &proxy, 202);
    assert_eq!(recipients(&all, 1), [all.uri("frank")]);
    proxy.stop();
}

/// A Kamailio that acts as XDMS. The AUIDs that it knows are compiled into xcap_server, and that of
/// groups is not among them: its script stores groups as if they were resource lists, which only
/// changes their media type. Everything else (documents, node selectors, ETags, conditions) is the
/// module's.
const XDMS: &str = "tcp_accept_no_cl=yes
request_route { exit; }
event_route[xhttp:request] {
    $var(path) = $(hu{s.replace,org.openmobilealliance.groups,resource-lists});
    if ($rm == \"PUT\") {
        xcaps_put(\"sip:xdms@example.com\", \"$var(path)\", \"$rb\");
    } else {
        xcaps_get(\"sip:xdms@example.com\", \"$var(path)\");
    }
}";

fn xdms(bench: &Bench) -> Proxy {
    let file = bench.folder().join("xcap.db");
    for script in ["standard-create.sql", "presence-create.sql"] {
        let script = PathBuf::from("/usr/share/kamailio/db_sqlite").join(script);
        sqlite(
            &file,
            &fs::read_to_string(script).expect("kamailio-sqlite-modules has it"),
        );
    }
    let config = ProxyConfig::of(Product::Kamailio, XDMS)
        .load("pv")
        .load("sl")
        .load("xhttp")
        .load("db_sqlite")
        .load("xcap_server")
        .set(
            "xcap_server",
            "db_url",
            &format!("sqlite:///{}", file.display()),
        );
    bench.http_proxy(&config)
}

/// Stores a document on an XDMS.
#[track_caller]
fn put(port: u16, path: &str, document: &str) {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).expect("the XDMS listens");
    write!(
        connection,
        "PUT {path} HTTP/1.1\r\nHost: xdms\r\nContent-Type: application/xml\r\n\
         Content-Length: {}\r\n\r\n{document}",
        document.len()
    )
    .expect("the XDMS reads");
    let mut status = [0; 11];
    connection
        .read_exact(&mut status)
        .expect("the XDMS answers");
    assert_eq!(&status, b"HTTP/1.1 20", "{path}");
}

fn group_path(name: &str) -> String {
    let address = address(name);
    format!("/xcap-root/org.openmobilealliance.groups/global/byGroupID/{address}")
}

#[test]
fn an_xcap_server_has_groups_and_their_lists() {
    let bench = Bench::new("an_xcap_server_has_groups");
    let xdms = xdms(&bench);
    let root = format!("http://127.0.0.1:{}/xcap-root", xdms.port());
    let (anne, all) = (bench.agent(), bench.agent());
    let proxy = bench.proxy(&watched(&format!("xcap:{root}")));
    let capture = bench.capture();
    let put = |path: &str, document: &str| put(xdms.port(), path, document);
    let request = |name: &str| to_group(ANNE, name).request();

    put(
        &group_path("lunch"),
        &open_group("lunch").members([all.uri("bill")]).xml(),
    );
    for _ in 0..3 {
        exchange(&anne, &request("lunch"), &proxy, 202);
        proves!(
            ["9.1.1-4g"],
            assert_eq!(recipients(&all, 1), [all.uri("bill")])
        );
    }
    put(
        &group_path("lunch"),
        &open_group("lunch").members([all.uri("carol")]).xml(),
    );
    exchange(&anne, &request("lunch"), &proxy, 202);
    proves!(
        ["9.1.1-4g"],
        assert_eq!(recipients(&all, 1), [all.uri("carol")])
    );
    proves!(
        ["9.1.1-4b"],
        exchange(&anne, &request("dinner"), &proxy, 404)
    );

    // A complete list of Anne's, and one list of a document.
    let list_path = "/xcap-root/resource-lists/users/sip:anne@example.com";
    put(
        &format!("{list_path}/friends"),
        &resource_lists(&[
            unmarked(&all.uri("dan")),
            unmarked(&all.uri("bill")),
            to(ANNE),
        ]),
    );
    put(
        &format!("{list_path}/index"),
        &format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\">\
             <list name=\"no\"><entry uri=\"{}\"/></list>\
             <list name=\"yes\"><entry uri=\"{}\"/></list></resource-lists>",
            all.uri("mallory"),
            all.uri("eve")
        ),
    );
    let anchors = [
        format!("{root}/resource-lists/users/sip:anne@example.com/friends"),
        format!(
            "{root}/resource-lists/users/sip:anne@example.com/index\
             /~~/resource-lists/list%5b@name=%22yes%22%5d"
        ),
    ];
    let party = open_group("party").members([all.uri("bill")]);
    let party = party.external(&anchors[0]).external(&anchors[1]);
    let members_only = party.clone().rules(cpm_testbed::MEMBERS_MAY_SEND);
    put(&group_path("party"), &members_only.xml());
    // She is a member only through the list, and not a recipient.
    exchange(&anne, &request("party"), &proxy, 202);
    let everybody = ["bill", "dan", "eve"].map(|user| all.uri(user));
    proves!(["9.1.1-4g"], assert_eq!(recipients(&all, 3), everybody));
    let stranger = to_group("sip:mallory@example.com", "party").request();
    proves!(["9.1.1-4a"], exchange(&anne, &stranger, &proxy, 403));
    // When a list changes, so does the group.
    put(
        &format!("{list_path}/friends"),
        &resource_lists(&[unmarked(&all.uri("frank")), to(ANNE)]),
    );
    exchange(&anne, &request("party"), &proxy, 202);
    let everybody = ["bill", "eve", "frank"].map(|user| all.uri(user));
    assert_eq!(recipients(&all, 3), everybody);
    // Lists on other servers are not fetched; a missing list is not ignored.
    for (name, anchor) in [
        (
            "elsewhere",
            "http://127.0.0.1:9/xcap-root/resource-lists/users/x/y".to_owned(),
        ),
        ("missing", format!("{root}/resource-lists/users/x/y")),
    ] {
        let group = open_group(name).members([all.uri("bill")]);
        put(&group_path(name), &group.external(&anchor).xml());
        exchange(&anne, &request(name), &proxy, 480);
    }
    all.expect_nothing_until(|| proxy.ping());

    let recording = capture.stop();
    recording.assert_clean_where(&format!("!(tcp.port == {})", xdms.port()));
    let http = [
        "http.request.uri",
        "http.request.line",
        "http.response.code",
        "http.response.line",
    ];
    // This server closes the connection after a 304, possibly upon the next request, which is then
    // repeated.
    let packets = recording.fields("http", &http);
    let asked: Vec<_> = packets
        .windows(2)
        .filter(|pair| pair[0][0] == group_path("lunch") && !pair[0][1].contains("Content-Type"))
        .filter(|pair| !pair[1][2].is_empty())
        .map(|pair| (&*pair[0][1], &*pair[1][2], &*pair[1][3]))
        .collect();
    let codes: Vec<_> = asked.iter().map(|(_, code, _)| *code).collect();
    assert_eq!(codes, ["200", "304", "304", "200"]);
    let mut etags = Vec::new();
    for (number, (request, _, response)) in asked.into_iter().enumerate() {
        let known = request.split("if-none-match: ").nth(1);
        let known = known.and_then(|value| value.split('\\').next());
        assert_eq!(known, etags.first().copied().filter(|_| number > 0));
        let etag = response.split("ETag: ").nth(1);
        etags.extend(etag.and_then(|value| value.split('\\').next()));
    }
    assert_eq!(etags.len(), 2);
    assert_ne!(etags[0], etags[1]);
    proxy.stop();
    xdms.stop();
}

#[test]
fn the_first_source_that_has_a_group_wins() {
    let bench = Bench::new("the_first_source_that_has_a_group_wins");
    let (first, last) = (
        GroupFolder::new(&bench, "first"),
        GroupFolder::new(&bench, "last"),
    );
    let web = bench.web_server();
    let (anne, all) = (bench.agent(), bench.agent());
    let group = |name: &str, user: &str| open_group(name).members([all.uri(user)]);
    first.put("a", &group("a", "of-the-first"));
    last.put("a", &group("a", "of-the-last"));
    last.put("b", &group("b", "of-the-last"));
    last.put("c", &group("c", "of-the-last"));
    let documents = [
        ("a", group("a", "of-the-web").xml()),
        ("b", group("b", "of-the-web").xml()),
    ];
    web.answers(move |request: &WebRequest| {
        let known = documents
            .iter()
            .find(|(name, _)| request.path == group_path(name));
        known.map_or(WebAnswer::Status(404), |(_, xml)| {
            WebAnswer::document("1", xml.as_bytes())
        })
    });
    let proxy = bench.proxy(
        &watched(&first.source())
            .set(
                "cpm",
                "group_source",
                &format!("xcap:{}/xcap-root/", web.url()),
            )
            .set("cpm", "group_source", &last.source()),
    );
    let capture = bench.capture();
    for (name, member) in [
        ("a", "of-the-first"),
        ("b", "of-the-web"),
        ("c", "of-the-last"),
    ] {
        exchange(&anne, &to_group(ANNE, name).request(), &proxy, 202);
        proves!(
            ["9.1.1-4g"],
            assert_eq!(recipients(&all, 1), [all.uri(member)])
        );
    }
    proves!(
        ["9.1.1-4b"],
        exchange(&anne, &to_group(ANNE, "d").request(), &proxy, 404)
    );
    let asked: Vec<_> = web
        .requests()
        .into_iter()
        .map(|request| request.path)
        .collect();
    assert_eq!(asked, ["b", "c", "d"].map(group_path));
    // A source that fails hides neither earlier nor later ones.
    web.answers(|_| WebAnswer::Status(500));
    proxy.rpc("cpm.groups_flush");
    exchange(&anne, &to_group(ANNE, "a").request(), &proxy, 202);
    assert_eq!(recipients(&all, 1), [all.uri("of-the-first")]);
    ask_until(&anne, &to_group(ANNE, "d").request(), &proxy, 480);
    exchange(&anne, &to_group(ANNE, "c").request(), &proxy, 202);
    assert_eq!(recipients(&all, 1), [all.uri("of-the-last")]);
    proxy.expect_log("group source 2: HTTP status 500");
    assert_eq!(log_lines(&proxy, "group source 2"), 1);
    capture.stop().assert_clean();
    proxy.stop();
}
