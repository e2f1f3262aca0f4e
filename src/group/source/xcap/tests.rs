use super::super::test_documents::{TestFolder, document};
use super::super::test_server::{CERTIFICATE, Step, TestServer, response, serve_tls_once};
use super::super::{
    Credentials, DatabaseError, Found, GroupDatabase, GroupSources, RETRY_AFTER_MS, Unavailable,
};
use super::*;
use crate::group::{ExternalListError, GroupDocumentError, MAX_DOCUMENT_BYTES, MAX_EXTERNAL_DEPTH};
use crate::sip::Uri;

const GROUP: &str = "sip:g@example.com";
const PATH: &str = "/root/org.openmobilealliance.groups/global/byGroupID/sip:g@example.com";

struct NoDatabase;

impl GroupDatabase for NoDatabase {
    fn document(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, DatabaseError> {
        panic!("no database configured")
    }
}

struct Client {
    sources: GroupSources,
    now_ms: u64,
    lifetime_ms: u64,
}

impl Client {
    fn new(server: &TestServer) -> Self {
        Self::with(server, SourceOptions::default())
    }

    fn with(server: &TestServer, options: SourceOptions) -> Self {
        let url = format!("xcap:{}", server.url("/root/"));
        Self {
            sources: GroupSources::new(&[url], &options).unwrap(),
            now_ms: 0,
            lifetime_ms: options.lifetime_s * 1000,
        }
    }

    fn find(&mut self) -> Result<Found, Unavailable> {
        let uri = Uri::parse(GROUP).unwrap();
        self.sources.find(&uri, self.now_ms, &NoDatabase)
    }

    fn group(&mut self) -> Rc<Group> {
        match self.find() {
            Ok(Found::Group(group)) => group,
            other => panic!("{other:?}"),
        }
    }

    fn failure(&mut self) -> SourceFailure {
        self.find().expect_err("a failure").cause
    }

    fn after_lifetime(&mut self) -> &mut Self {
        self.now_ms += self.lifetime_ms;
        self
    }
}

fn text(list: &str) -> String {
    String::from_utf8(document(GROUP, list)).unwrap()
}

fn members(group: &Group) -> Vec<&str> {
    group.members().map(|member| member.uri).collect()
}

fn credentials() -> SourceOptions {
    SourceOptions {
        xcap_credentials: Some(Credentials {
            user: "Mufasa".into(),
            password: "Circle of Life".into(),
        }),
        ..SourceOptions::default()
    }
}

/// The value of a header field of a request.
fn field<'a>(request: &'a str, name: &str) -> Option<&'a str> {
    request.lines().find_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn target(request: &str) -> &str {
    request.split(' ').nth(1).unwrap()
}

#[test]
fn a_group_that_has_not_changed_is_not_sent_again() {
    let server = TestServer::new();
    let mut client = Client::new(&server);
    let entry = |user| text(&format!("<entry uri='sip:{user}@x.org'/>"));
    server.reply("200 OK\r\nETag: \"1\"", &entry("a"));
    let first = client.group();
    assert_eq!(members(&first), ["sip:a@x.org"]);
    let requests = server.take_requests();
    assert_eq!(target(&requests[0]), PATH);
    assert_eq!(field(&requests[0], "if-none-match"), None);
    assert_eq!(field(&requests[0], "authorization"), None);
    assert!(Rc::ptr_eq(&first, &client.group()));
    assert!(server.take_requests().is_empty());

    server.then(Step::Reply(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec()));
    assert!(Rc::ptr_eq(&first, &client.after_lifetime().group()));
    let requests = server.take_requests();
    assert_eq!(field(&requests[0], "if-none-match"), Some("\"1\""));
    assert!(Rc::ptr_eq(&first, &client.group()));

    server.reply("200 OK\r\nETag: \"2\"", &entry("b"));
    assert_eq!(members(&client.after_lifetime().group()), ["sip:b@x.org"]);
    server.reply("404 Not Found", "");
    assert!(matches!(client.after_lifetime().find(), Ok(Found::Unknown)));
    assert_eq!(server.take_requests().len(), 2);
    assert!(matches!(client.find(), Ok(Found::Unknown)));
    assert!(server.take_requests().is_empty());
}

#[test]
fn digest_credentials() {
    let server = TestServer::new();
    let mut client = Client::with(&server, credentials());
    let challenge = |nonce: &str| {
        format!(
            "401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"r\"\r\n\
             WWW-Authenticate: Digest realm=\"r\", qop=\"auth\", algorithm=SHA-256, nonce=\"{nonce}\""
        )
    };
    server.reply(&challenge("one"), "no");
    server.reply("200 OK\r\nETag: \"1\"", &text(""));
    client.group();
    let requests = server.take_requests();
    assert_eq!(field(&requests[0], "authorization"), None);
    let answer = field(&requests[1], "authorization").unwrap();
    for part in [
        "Digest ",
        "username=\"Mufasa\"",
        "nonce=\"one\"",
        "nc=00000001",
        "algorithm=SHA-256",
        &format!("uri=\"{PATH}\""),
    ] {
        assert!(answer.contains(part), "{answer}");
    }
    assert!(!answer.contains("Circle"));

    // The next request answers the same challenge, until the server makes a new one.
    server.reply("200 OK", &text(""));
    client.after_lifetime().group();
    server.reply(&challenge("two"), "stale");
    server.reply("200 OK", &text(""));
    client.after_lifetime().group();
    let requests = server.take_requests();
    let answers: Vec<_> = requests
        .iter()
        .map(|request| field(request, "authorization").unwrap())
        .collect();
    assert!(answers[0].contains("nonce=\"one\"") && answers[0].contains("nc=00000002"));
    assert!(answers[2].contains("nonce=\"two\"") && answers[2].contains("nc=00000001"));
}

#[test]
fn basic_credentials() {
    let server = TestServer::new();
    let mut client = Client::with(&server, credentials());
    server.reply("401 No\r\nWWW-Authenticate: Basic realm=\"r\"", "");
    server.reply("200 OK", &text(""));
    client.group();
    let requests = server.take_requests();
    let answer = field(&requests[1], "authorization");
    assert_eq!(answer, Some("Basic TXVmYXNhOkNpcmNsZSBvZiBMaWZl"));
}

#[test]
fn credentials_that_do_not_help() {
    let challenge = "401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";
    let server = TestServer::new();
    server.reply(challenge, "");
    let mut client = Client::new(&server);
    assert_eq!(client.failure(), SourceFailure::Unauthorized);
    assert_eq!(server.take_requests().len(), 1);

    server.reply(challenge, "").reply(challenge, "");
    let mut client = Client::with(&server, credentials());
    assert_eq!(client.failure(), SourceFailure::Unauthorized);
    assert_eq!(server.take_requests().len(), 2);
    // The next request authenticates again, using the challenge that can be answered.
    let both = "401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-conf\"\r\n\
        WWW-Authenticate: Digest realm=\"cafe\", nonce=\"n\", qop=\"auth-int\", algorithm=sha-256";
    server.take_requests();
    server.reply(both, "").reply("200 OK", &text(""));
    client.now_ms += RETRY_AFTER_MS;
    client.group();
    let requests = server.take_requests();
    assert_eq!(field(&requests[0], "authorization"), None);
    let answer = field(&requests[1], "authorization").unwrap();
    assert!(
        answer.contains("realm=\"cafe\"") && answer.contains("qop=auth-int"),
        "{answer}"
    );
    // Nor do such challenges cause an endless loop.
    let mut client = Client::with(&server, credentials());
    let unknown = "401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth-conf\"";
    server.reply(unknown, "");
    assert_eq!(client.failure(), SourceFailure::Unauthorized);
    server.reply("200 OK", &text(""));
    client.now_ms += RETRY_AFTER_MS;
    client.group();
    for odd in [
        "401 No",
        "401 No\r\nWWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=SHA-1024",
        "401 No\r\nWWW-Authenticate: Negotiate, Digest nonce",
    ] {
        server.reply(odd, "");
        let mut client = Client::with(&server, credentials());
        assert_eq!(client.failure(), SourceFailure::Unauthorized);
    }
}

#[test]
fn a_password_needs_tls() {
    let private = |url: &str| super::super::http::is_private(&url.parse().unwrap());
    assert!(private("https://xdms.example.com/"));
    assert!(private("http://127.0.0.1:8080/") && private("http://[::1]/"));
    assert!(!private("http://xdms.example.com/") && !private("http://192.0.2.1/"));
    assert!(!private("http://127.0.0.1.example.com/"));
}

#[test]
fn external_lists_become_part_of_the_group() {
    let server = TestServer::new();
    let mut client = Client::new(&server);
    let list = |path: &str| format!("<external anchor='{}'/>", server.url(path));
    let one = server.url("/lists/one~~/resource-lists/list%5b@name=%22l1%22%5d");
    let group = text(&format!(
        "<entry uri='sip:0@x.org'/><external anchor='{one}'/>"
    ));
    let one = format!("<list><entry uri='sip:1@x.org'/>{}</list>", list("/two"));
    // Lists that refer to each other cause no endless loop.
    let two = format!("<list><entry uri='sip:2@x.org'/>{}</list>", list("/two"));
    server.reply("200 OK\r\nETag: \"g\"", &group);
    server.reply("200 OK\r\nETag: \"1\"", &one);
    server.reply("200 OK\r\nETag: \"2\"", &two);
    let first = client.group();
    assert_eq!(
        members(&first),
        ["sip:0@x.org", "sip:1@x.org", "sip:2@x.org"]
    );
    let requests = server.take_requests();
    let expected = "/lists/one~~/resource-lists/list%5b@name=%22l1%22%5d";
    assert_eq!(target(&requests[1]), expected);
    assert_eq!(target(&requests[2]), "/two");

    let unchanged = Step::Reply(b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec());
    for _ in 0..3 {
        server.then(unchanged.clone());
    }
    assert!(Rc::ptr_eq(&first, &client.after_lifetime().group()));
    let tags = |requests: &[String]| -> Vec<Option<String>> {
        let tag = |r: &String| field(r, "if-none-match").map(str::to_owned);
        requests.iter().map(tag).collect()
    };
    let all = [
        Some("\"g\"".into()),
        Some("\"1\"".into()),
        Some("\"2\"".into()),
    ];
    assert_eq!(tags(&server.take_requests()), all);

    // One of them has changed: the group is built again.
    server.then(unchanged.clone()).then(unchanged);
    server.reply("200 OK\r\nETag: \"3\"", "<list/>");
    server.reply("200 OK\r\nETag: \"g\"", &group);
    server.reply("200 OK\r\nETag: \"1\"", &one);
    server.reply("200 OK\r\nETag: \"3\"", "<list/>");
    let changed = client.after_lifetime().group();
    assert_eq!(members(&changed), ["sip:0@x.org", "sip:1@x.org"]);
}

#[test]
fn an_external_list_that_cannot_be_had_is_no_silent_loss() {
    let server = TestServer::new();
    let local = |path: &str| format!("<external anchor='{}'/>", server.url(path));
    let port = server.port;
    for (anchor, answer, cause) in [
        (
            server.url("/l"),
            "404 Not Found",
            SourceFailure::ExternalListMissing,
        ),
        (
            server.url("/l"),
            "403 Forbidden",
            SourceFailure::Status(403),
        ),
        (server.url("/l"), "500 Oops", SourceFailure::Status(500)),
        (
            server.url("/l"),
            "200 OK",
            SourceFailure::ExternalListDocument(GroupDocumentError::NotAList),
        ),
        (
            format!("https://127.0.0.1:{port}/l"),
            "",
            SourceFailure::ExternalListElsewhere,
        ),
        (
            format!("http://127.0.0.2:{port}/l"),
            "",
            SourceFailure::ExternalListElsewhere,
        ),
        (
            "http://127.0.0.1/l".into(),
            "",
            SourceFailure::ExternalListElsewhere,
        ),
        (
            format!("http://u@127.0.0.1:{port}/l"),
            "",
            SourceFailure::ExternalListElsewhere,
        ),
        ("../lists".into(), "", SourceFailure::ExternalListElsewhere),
        (
            "http://exa mple/".into(),
            "",
            SourceFailure::ExternalListElsewhere,
        ),
    ] {
        let list = format!("<external anchor='{anchor}'/>");
        server.reply("200 OK", &text(&list));
        if !answer.is_empty() {
            server.reply(answer, "<group xmlns='urn:oma:xml:poc:list-service'/>");
        }
        assert_eq!(Client::new(&server).failure(), cause, "{anchor}");
        let requests = server.take_requests().len();
        assert_eq!(requests, if answer.is_empty() { 1 } else { 2 });
    }
    server.reply("200 OK", &text(&local("/1")));
    for depth in 0..MAX_EXTERNAL_DEPTH {
        let deeper = local(&format!("/{}", depth + 2));
        server.reply("200 OK", &format!("<list>{deeper}</list>"));
    }
    let too_deep = SourceFailure::ExternalList(ExternalListError::TooDeep);
    assert_eq!(Client::new(&server).failure(), too_deep);
}

#[test]
fn a_server_that_does_not_answer_costs_one_request_its_time() {
    let server = TestServer::new();
    let drip = response("200 OK\r\nX: y", "")
        .strip_suffix(b"Content-Length: 0\r\n\r\n")
        .map(|head| [head, b"Content-Length: 100000\r\n\r\n"].concat())
        .unwrap_or_default();
    for step in [
        Step::Hang,
        Step::Drip(b"HTTP/1.1 200 OK\r\nX: ".to_vec()),
        Step::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec()),
        Step::Drip(drip),
    ] {
        server.then(step);
        let mut client = Client::with(
            &server,
            SourceOptions {
                timeout_ms: 60,
                ..SourceOptions::default()
            },
        );
        assert_eq!(client.failure(), SourceFailure::Timeout);
        // Later requests do not even connect.
        assert_eq!(client.failure(), SourceFailure::Timeout);
        client.now_ms = RETRY_AFTER_MS - 1;
        let error = client.find().unwrap_err();
        assert_eq!(error.retry_after_s, 1);
        // The server may have seen the first one after its time.
        assert!(server.take_requests().len() <= 1);
    }
}

#[test]
fn an_outage_ends() {
    let server = TestServer::new();
    let mut client = Client::new(&server);
    // A request that finds its connection closed is repeated once.
    server.then(Step::Close).then(Step::Close);
    assert_eq!(client.failure(), SourceFailure::Connection);
    server.drop_script();
    client.now_ms = RETRY_AFTER_MS;
    server.reply("503 Later", "");
    assert_eq!(client.failure(), SourceFailure::Status(503));
    client.now_ms = 2 * RETRY_AFTER_MS;
    server.reply("200 OK", &text(""));
    let group = client.group();
    // A known group is used through the next outage.
    server.then(Step::Close).then(Step::Close);
    assert!(Rc::ptr_eq(&group, &client.after_lifetime().group()));
    server.drop_script();
    let fault = client.sources.poll_fault().unwrap();
    assert_eq!(fault.cause, SourceFailure::Connection);
    assert_eq!(client.sources.flush(), 1);
}

#[test]
fn nothing_listens() {
    let mut server = TestServer::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    server.port = closed.local_addr().unwrap().port();
    drop(closed);
    let mut client = Client::new(&server);
    assert_eq!(client.failure(), SourceFailure::Connection);
}

#[test]
fn answers_that_are_of_no_use() {
    let server = TestServer::new();
    let long = " ".repeat(MAX_DOCUMENT_BYTES + 1);
    let head = format!("200 OK\r\nX: {}", "x".repeat(20 << 10));
    let moved = format!("302 Found\r\nLocation: {}", server.url("/elsewhere"));
    let not_a_group = SourceFailure::Document(GroupDocumentError::NotAGroup);
    let other = String::from_utf8(document("sip:h@example.com", "")).unwrap();
    for (step, cause) in [
        (response("200 OK", &long), SourceFailure::TooLong),
        (response("200 OK", "<resource-lists/>"), not_a_group),
        (response("200 OK", &other), SourceFailure::OtherGroup),
        (response("204 No Content", ""), SourceFailure::Status(204)),
        (response("403 Forbidden", ""), SourceFailure::Status(403)),
        (response(&moved, ""), SourceFailure::Redirected),
        (response("304 Not Modified", ""), SourceFailure::NotHttp),
        (response(&head, ""), SourceFailure::NotHttp),
        (
            b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec(),
            SourceFailure::NotHttp,
        ),
    ] {
        let shown = String::from_utf8_lossy(&step[..40.min(step.len())]).into_owned();
        server.then(Step::Reply(step));
        assert_eq!(Client::new(&server).failure(), cause, "{shown}");
        assert_eq!(server.take_requests().len(), 1);
    }
}

fn over_tls(host: &str, port: u16, ca_file: Option<&[u8]>) -> Result<Found, Unavailable> {
    let folder = TestFolder::new();
    let options = SourceOptions {
        ca_file: ca_file.map(|pem| {
            folder.write("ca.pem", pem);
            folder.path().join("ca.pem")
        }),
        ..SourceOptions::default()
    };
    let url = format!("xcap:https://{host}:{port}/root");
    let mut sources = GroupSources::new(&[url], &options).unwrap();
    sources.find(&Uri::parse(GROUP).unwrap(), 0, &NoDatabase)
}

#[test]
fn tls_with_a_server_that_is_vouched_for() {
    let serve = |host| serve_tls_once(host, response("200 OK", &text("")));
    let trusted = over_tls("127.0.0.1", serve("127.0.0.1"), Some(CERTIFICATE));
    assert!(matches!(trusted, Ok(Found::Group(_))), "{trusted:?}");
    // An unknown certificate, or one for another name.
    for (host, ca_file) in [("127.0.0.1", None), ("127.0.0.2", Some(CERTIFICATE))] {
        let error = over_tls(host, serve(host), ca_file).unwrap_err();
        assert_eq!(error.cause, SourceFailure::Tls, "{host}");
    }
    // A server without TLS, and a file that only looks like certificates, which is detected at
    // once.
    let plain = TestServer::new();
    let port = plain.reply("200 OK", &text("")).port;
    assert!(over_tls("127.0.0.1", port, Some(CERTIFICATE)).is_err());
    let odd = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let folder = TestFolder::new();
    folder.write("ca.pem", odd);
    let options = SourceOptions {
        ca_file: Some(folder.path().join("ca.pem")),
        ..SourceOptions::default()
    };
    let url = "xcap:https://127.0.0.1/root".to_owned();
    let refused = GroupSources::new(&[url], &options).err();
    assert!(
        matches!(refused, Some(SourceError::Authorities(_))),
        "{refused:?}"
    );
}

/// Whatever the server sends, the client returns a result.
#[test]
fn mutated_responses() {
    let server = TestServer::new();
    let sample = response(
        "200 OK\r\nETag: \"1\"\r\nWWW-Authenticate: Digest a=b",
        &text(""),
    );
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..100 {
        let mut bytes = sample.clone();
        for _ in 0..=random.usize(..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        server.then(Step::ReplyAndClose(bytes));
        let options = SourceOptions {
            timeout_ms: 1000,
            ..credentials()
        };
        match Client::with(&server, options).find() {
            Ok(Found::Group(group)) => assert!(group.uri().contains("example")),
            Ok(Found::Unknown) => {}
            Err(error) => assert_eq!(error.source, 1),
        }
        server.drop_script();
    }
}
