use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use cpm_testbed::{Bench, Certificate, Redis};

use super::super::database::tests::message;
use super::super::record::SenderOf;
use super::*;

const LEASE: Duration = Duration::from_secs(60);

fn settings(name: &str, lease: Duration) -> NodeSettings {
    NodeSettings {
        name: name.to_owned(),
        lease,
        replicas: 0,
        content: None,
        key_check: "same".to_owned(),
    }
}

fn engine(url: &str, name: &str, lease: Duration) -> RedisEngine {
    open(url, settings(name, lease))
}

fn open(url: &str, settings: NodeSettings) -> RedisEngine {
    let server = ServerAddress::parse(url).unwrap();
    let mut engine = RedisEngine::new(server, settings);
    engine.open().unwrap();
    engine
}

fn keep(engine: &mut RedisEngine, ids: &[u64]) -> Result<(), Failure> {
    let messages: Vec<Kept> = ids.iter().map(|id| message(*id)).collect();
    engine.write(&Batch {
        kept: messages.iter().collect(),
        taken_until_s: unix_s() + 100,
        ..Batch::default()
    })
}

fn write_outcomes(engine: &mut RedisEngine, ended: &[(u64, &[u8])], done: &[u64]) {
    let batch = Batch {
        ended: ended.to_vec(),
        done: done.to_vec(),
        ..Batch::default()
    };
    engine.write(&batch).unwrap();
}

fn left_over(engine: &mut RedisEngine) -> Vec<(u64, Vec<u8>)> {
    let mut all = Vec::new();
    loop {
        let some = engine.left_over(1000).unwrap();
        if some.is_empty() {
            all.sort();
            return all;
        }
        all.extend(some.iter().map(|kept| (kept.id, kept.ended.to_vec())));
    }
}

/// Looks at the leases of others now.
fn look(engine: &mut RedisEngine) {
    engine.look = Instant::now();
    engine.tend().unwrap();
}

/// Everything in the server but what stays for good.
fn keys(redis: &Redis) -> Vec<String> {
    let mut keys = redis.ask(&["KEYS", "*"]);
    keys.retain(|key| !["{cpm}:epoch", "{cpm}:key"].contains(&&**key));
    keys.sort();
    keys
}

#[test]
fn messages_stay_until_they_are_over_and_the_next_process_has_them_at_once() {
    let bench = Bench::new("redis_messages_stay");
    let redis = bench.redis();
    let mut first = engine(&redis.url(), "one", LEASE);
    keep(&mut first, &[1, 2, 3]).unwrap();
    assert_eq!(first.bytes(), Some(3 * (2003 + ROW_BYTES)));
    write_outcomes(&mut first, &[(2, b"somebody"), (9, b"unknown")], &[1]);
    let read = first.read(&[1, 2]).unwrap();
    assert_eq!(read[0], None);
    let second = read[1].clone().unwrap();
    assert_eq!((second.record, second.version), (message(2).record, 1));
    assert_eq!(
        (second.expires_s, &second.ended[..]),
        (4_000_000_000, &b"somebody"[..])
    );
    // The process is gone, and its lease is not over.
    drop(first);
    let survey = survey(
        &ServerAddress::parse(&redis.url()).unwrap(),
        &settings("one", LEASE),
    );
    let survey = survey.unwrap();
    // A set: all three messages have the same one.
    assert_eq!(
        (survey.taken, survey.notices),
        (vec![Bytes::from("who")], vec![])
    );
    let mut next = engine(&redis.url(), "one", LEASE);
    assert_eq!(
        left_over(&mut next),
        [(2, b"somebody".to_vec()), (3, vec![])]
    );
    assert_eq!(next.bytes(), Some(2 * (2000 + ROW_BYTES)));
    write_outcomes(&mut next, &[], &[2, 3]);
    let forgotten = Batch {
        forgotten: Some(3),
        ..Batch::default()
    };
    redis.ask(&["ZADD", "{cpm}:taken:one", "1", "who"]);
    next.write(&forgotten).unwrap();
    assert_eq!(keys(&redis), ["{cpm}:lease:2", "{cpm}:owners"]);
    assert_eq!(next.bytes(), Some(0));
}

#[test]
fn another_node_takes_over_when_the_lease_is_over_and_a_stale_owner_writes_nothing() {
    let bench = Bench::new("redis_take_over");
    let redis = bench.redis();
    let mut stale = engine(&redis.url(), "one", LEASE);
    let mut other = engine(&redis.url(), "two", LEASE);
    keep(&mut stale, &[1, 2]).unwrap();
    keep(&mut other, &[7]).unwrap();
    look(&mut other);
    assert!(!other.news().has_left_over, "the lease is not over");
    let left_ms: u128 = redis.ask(&["PTTL", "{cpm}:lease:1"])[0].parse().unwrap();
    assert!((1..=LEASE.as_millis()).contains(&left_ms), "{left_ms}");
    // Both are over, and nobody has noticed.
    redis.ask(&["DEL", "{cpm}:lease:1", "{cpm}:lease:2"]);
    other.tend().unwrap();
    assert!(!other.news().has_left_over, "others get time to come back");
    look(&mut other);
    assert!(other.news().has_left_over);
    assert_eq!(left_over(&mut other), [(1, vec![]), (2, vec![])]);
    let before = redis.ask(&["HGETALL", "{cpm}:msg:1"]);
    let batch = Batch {
        ended: vec![(1, b"late")],
        done: vec![2],
        ..Batch::default()
    };
    let failure = stale.write(&batch).unwrap_err();
    assert!(
        failure.why.contains("another node has taken over"),
        "{}",
        failure.why
    );
    assert_eq!(redis.ask(&["HGETALL", "{cpm}:msg:1"]), before);
    assert_eq!(redis.ask(&["EXISTS", "{cpm}:msg:2"]), ["1"]);
    let mut lost = stale.news().lost;
    lost.sort();
    assert_eq!(lost, [1, 2]);
    assert!(keep(&mut stale, &[3]).is_err(), "without a lease");
    // It goes on as a node like any other, and changes nothing of what is not its own.
    stale.close();
    stale.open().unwrap();
    write_outcomes(&mut stale, &[(1, b"late")], &[2]);
    assert_eq!(redis.ask(&["HGETALL", "{cpm}:msg:1"]), before);
    assert_eq!(stale.read(&[1]).unwrap(), [None]);
    keep(&mut stale, &[3]).unwrap();
    // Who leaves is not waited for.
    stale.leave();
    look(&mut other);
    assert_eq!(left_over(&mut other), [(3, vec![])]);
    assert_eq!(redis.ask(&["HVALS", "{cpm}:owners"]), ["two"]);
}

#[test]
fn a_slow_renewal_loses_nothing_as_long_as_nobody_has_taken_over() {
    let bench = Bench::new("redis_slow_renewal");
    let redis = bench.redis();
    let mut only = engine(&redis.url(), "one", LEASE);
    keep(&mut only, &[1]).unwrap();
    redis.ask(&["DEL", "{cpm}:lease:1"]);
    keep(&mut only, &[2]).unwrap();
    only.tend().unwrap();
    assert_eq!(redis.ask(&["EXISTS", "{cpm}:lease:1"]), ["1"]);
    assert_eq!(only.read(&[1]).unwrap().len(), 1);
    assert!(only.news().lost.is_empty());
}

#[test]
fn what_it_had_outlives_the_server_and_what_it_lost_is_noticed() {
    let bench = Bench::new("redis_restarts");
    let redis = bench.redis();
    let mut one = engine(&redis.url(), "one", LEASE);
    keep(&mut one, &[1]).unwrap();
    let redis = redis.kill_and_start(|| {});
    let failure = keep(&mut one, &[2]).unwrap_err();
    assert_eq!(failure.refusal, Refusal::Down);
    assert!(one.read(&[1]).is_err(), "until it is opened");
    one.open().unwrap();
    assert!(one.read(&[1]).unwrap()[0].is_some());
    keep(&mut one, &[2]).unwrap();
    redis.ask(&["FLUSHALL"]);
    let failure = keep(&mut one, &[3]).unwrap_err();
    assert!(
        failure.why.contains("has lost what was in it"),
        "{}",
        failure.why
    );
    // Nobody else has what was in it: it is not given up.
    assert!(one.news().lost.is_empty());
    one.close();
    one.open().unwrap();
    keep(&mut one, &[3]).unwrap();
}

#[test]
fn a_server_that_is_full_says_so_and_lets_go() {
    let bench = Bench::new("redis_full");
    let redis = bench.redis();
    let mut one = engine(&redis.url(), "one", LEASE);
    keep(&mut one, &[1]).unwrap();
    redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(keep(&mut one, &[2]).unwrap_err().refusal, Refusal::Full);
    one.open().unwrap();
    write_outcomes(&mut one, &[], &[1]);
    redis.ask(&["CONFIG", "SET", "maxmemory", "0"]);
    keep(&mut one, &[2]).unwrap();
    // One at a time: Redis 6.2 takes no more.
    for [name, value] in [
        ["maxmemory-policy", "allkeys-lru"],
        ["maxmemory", "100mb"],
        ["appendonly", "no"],
    ] {
        redis.ask(&["CONFIG", "SET", name, value]);
    }
    let server = ServerAddress::parse(&redis.url()).unwrap();
    let notices = survey(&server, &settings("two", LEASE)).unwrap().notices;
    assert!(notices[0].contains("lies in memory"), "{notices:?}");
    assert!(notices[1].contains("noeviction"), "{notices:?}");
}

#[test]
fn too_few_replicas_keep_nothing() {
    let bench = Bench::new("redis_replicas");
    let redis = bench.redis();
    let server = ServerAddress::parse(&redis.url()).unwrap();
    let node = NodeSettings {
        replicas: 1,
        ..settings("one", LEASE)
    };
    let mut one = RedisEngine::new(server, node);
    one.open().unwrap();
    let failure = keep(&mut one, &[1]).unwrap_err();
    assert!(failure.why.contains("0 of 1 replicas"), "{}", failure.why);
}

#[test]
fn senders_and_arrivals_are_shared() {
    let bench = Bench::new("redis_shared");
    let redis = bench.redis();
    let mut one = engine(&redis.url(), "one", LEASE);
    let mut two = engine(&redis.url(), "two", LEASE);
    let sender = |uri: &str| SenderOf {
        name: SenderName([0xab; 16]),
        uri: uri.to_owned(),
        ttl_s: 100,
    };
    for uri in ["sip:anne@example.com", "sip:mallory@example.com"] {
        let noted = sender(uri);
        let other = SenderOf {
            name: SenderName([1; 16]),
            ..sender("sip:carol@example.com")
        };
        let batch = Batch {
            senders: vec![&noted, &other],
            ..Batch::default()
        };
        one.write(&batch).unwrap();
    }
    let names = [[0xab; 16], [0; 16], [1; 16]].map(SenderName);
    let found = two.find_senders(&names).unwrap();
    // The sender of a known message does not change.
    let expected = [
        Some("sip:anne@example.com"),
        None,
        Some("sip:carol@example.com"),
    ];
    assert_eq!(
        found.iter().map(Option::as_deref).collect::<Vec<_>>(),
        expected
    );
    let lifetime = redis.ask(&["TTL", "{cpm}:s:abababababababababababababababab"]);
    assert!(
        (1..=100).contains(&lifetime[0].parse().unwrap()),
        "{lifetime:?}"
    );

    one.tell_arrived(&[1 << 12, 5 << 12]);
    assert_eq!(one.tends(), Some(Duration::ZERO));
    one.tend().unwrap();
    two.tend().unwrap();
    assert_eq!(two.news().arrived, [1 << 12, 5 << 12]);
    one.tend().unwrap();
    assert!(one.news().arrived.is_empty(), "it has told that itself");
    two.tend().unwrap();
    assert!(two.news().arrived.is_empty(), "once");
}

#[test]
fn the_operator_learns_what_waiting_cannot_mend() {
    let bench = Bench::new("redis_refuses");
    let redis = bench.redis();
    let started = |url: &str, node: &NodeSettings| {
        survey(&ServerAddress::parse(url).unwrap(), node).map(|survey| survey.notices)
    };
    let node = settings("one", LEASE);
    let free = bench.port();
    let notices = started(&format!("redis://127.0.0.1:{free}/0"), &node).unwrap();
    assert!(notices[0].contains("cannot be used now"), "{notices:?}");
    assert_eq!(started(&redis.url(), &node).unwrap(), [""; 0]);
    let other_key = NodeSettings {
        key_check: "other".to_owned(),
        ..node.clone()
    };
    let error = started(&redis.url(), &other_key).unwrap_err().to_string();
    assert!(error.contains("id_key_file"), "{error}");
    redis.ask(&["CONFIG", "SET", "requirepass", "secret"]);
    let port = redis.port();
    for url in [redis.url(), format!("redis://:wrong@127.0.0.1:{port}/0")] {
        let error = started(&url, &node).unwrap_err().to_string();
        assert!(error.contains(&format!(
            "the store redis://127.0.0.1:{port}/0 cannot be used"
        )));
        assert!(!error.contains("wrong@"), "{error}");
    }
    assert!(started(&format!("redis://:secret@127.0.0.1:{port}/0"), &node).is_ok());
    // A user of its own, who may touch no other keys.
    let rights = ["on", ">hidden", "~{cpm}:*", "+@all"];
    let user = ["ACL", "SETUSER", "cpm"];
    redis.ask(&[&["--no-auth-warning", "-a", "secret"], &user[..], &rights].concat());
    let with = |credentials: &str| redis.url_at(&format!("{credentials}@127.0.0.1"));
    let error = started(&with("cpm:secret"), &node).unwrap_err().to_string();
    assert!(!error.contains("secret"), "{error}");
    assert_eq!(started(&with("cpm:hidden"), &node).unwrap(), [""; 0]);
    let mut engine = engine(&with("cpm:hidden"), "one", LEASE);
    keep(&mut engine, &[1]).unwrap();
    assert_eq!(engine.read(&[1]).unwrap().len(), 1);
}

#[test]
fn a_server_over_tls_is_who_an_authority_says_it_is() {
    let bench = Bench::new("redis_over_tls");
    let certificate = Certificate::new(&["127.0.0.1"]);
    let redis = bench.redis_over_tls(&certificate);
    let authority = |name: &str, certificate: &Certificate| {
        let path = bench.folder().join(name);
        std::fs::write(&path, certificate.pem()).unwrap();
        path
    };
    let own = authority("own.pem", &certificate);
    let other = authority("other.pem", &Certificate::new(&["127.0.0.1"]));
    let at = |url: &str, authority: &Path| {
        let server = ServerAddress::parse(url).unwrap();
        server.trusting(Some(authority))
    };
    let node = settings("one", LEASE);
    let notices = |url: &str, authority: &Path| {
        let survey = survey(&at(url, authority).unwrap(), &node).unwrap();
        survey.notices.concat()
    };
    assert_eq!(notices(&redis.url(), &own), "");
    for (url, authority, why) in [
        (redis.url(), &other, "invalid peer certificate"),
        (redis.url_at("localhost"), &own, "not valid for"),
    ] {
        let notices = notices(&url, authority);
        assert!(notices.contains("cannot be used now"), "{notices}");
        assert!(notices.contains(why), "{notices}");
        let mut engine = RedisEngine::new(at(&url, authority).unwrap(), node.clone());
        let failure = engine.open().unwrap_err();
        assert!(failure.why.contains(why), "{failure:?}");
    }
    // The authorities of the system know neither.
    let server = ServerAddress::parse(&redis.url()).unwrap();
    let notices = survey(&server, &node).unwrap().notices.concat();
    assert!(notices.contains("UnknownIssuer"), "{notices}");
    assert!(redis.ask(&["KEYS", "*"]).concat().contains("{cpm}:key"));
    let mut engine = RedisEngine::new(at(&redis.url(), &own).unwrap(), node);
    engine.open().unwrap();
    keep(&mut engine, &[1]).unwrap();
    assert!(engine.read(&[1]).unwrap()[0].is_some());
    let error = at(&redis.url(), Path::new("/nowhere.pem")).unwrap_err();
    assert!(error.contains("authority file /nowhere.pem"), "{error}");
}

/// A server without TLS gets nothing but the beginning of a handshake.
#[test]
fn a_store_over_tls_says_nothing_in_clear_text() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let mut all = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut some = [0; 4096];
            let length = stream.read(&mut some).unwrap();
            all.push(some[..length].to_vec());
            stream.write_all(b"-ERR Protocol error\r\n").unwrap();
        }
        all
    });
    let url = format!("rediss://cpm:secret@127.0.0.1:{port}/0");
    let server = ServerAddress::parse(&url).unwrap();
    let node = settings("one", LEASE);
    let notices = survey(&server, &node).unwrap().notices.concat();
    assert!(notices.contains("cannot be used now"), "{notices}");
    assert!(RedisEngine::new(server, node).open().is_err());
    const HANDSHAKE: u8 = 22;
    for first in heard.join().unwrap() {
        assert_eq!(first[0], HANDSHAKE);
        let secret = first.windows(6).any(|word| word == b"secret");
        assert!(!secret, "the password is in it");
    }
}

/// A message with this content.
fn keep_large(engine: &mut RedisEngine, id: u64, name: &str) {
    let kept = Kept {
        content: Some((name.to_owned(), 5)),
        ..message(id)
    };
    engine
        .write(&Batch {
            kept: vec![&kept],
            ..Batch::default()
        })
        .unwrap();
}

fn numbers(engine: &mut RedisEngine) -> Vec<u64> {
    left_over(engine).into_iter().map(|(id, _)| id).collect()
}

#[test]
fn a_large_message_goes_to_whoever_sees_its_content_or_back_to_its_node() {
    let bench = Bench::new("redis_large_goes_back");
    let redis = bench.redis();
    let folder = |name: &str| {
        let dir = bench.folder().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let (shared, elsewhere) = (folder("shared"), folder("elsewhere"));
    std::fs::write(shared.join("0a"), b"Hello").unwrap();
    let node = |name, dir: &std::path::Path, lease| {
        let content = Some(ContentFolder::of_nodes(dir));
        let settings = settings(name, lease);
        open(
            &redis.url(),
            NodeSettings {
                content,
                ..settings
            },
        )
    };
    let short = Duration::from_millis(1);
    let mut first = node("one", &shared, short);
    keep(&mut first, &[1]).unwrap();
    keep_large(&mut first, 2, "0a");
    keep_large(&mut first, 3, "0b");
    // Of the pager message and the large ones, this node can only deliver the first.
    let mut second = node("two", &elsewhere, LEASE);
    look(&mut second);
    assert_eq!(numbers(&mut second), [1]);
    assert_eq!(second.read(&[2, 3]).unwrap(), [None, None]);
    assert_eq!(redis.ask(&["ZCARD", "{cpm}:back:one"]), ["2"]);
    let expires = message(2).expires_s + ABANDONED.as_secs();
    let left_s: u64 = redis.ask(&["TTL", "{cpm}:msg:2"])[0].parse().unwrap();
    assert!((left_s + unix_s()).abs_diff(expires) <= 2, "{left_s}");
    // Its node has both back, also the one whose content it has lost, and hands on the other.
    assert!(first.tend().is_err());
    first.open().unwrap();
    assert_eq!(numbers(&mut first), [2, 3]);
    assert_eq!(redis.ask(&["TTL", "{cpm}:msg:2"]), ["-1"]);
    let mut third = node("three", &shared, LEASE);
    look(&mut third);
    let found = third.left_over(1000).unwrap();
    let found: Vec<_> = found
        .into_iter()
        .map(|kept| (kept.id, kept.content))
        .collect();
    assert_eq!(found, [(2, Some(("0a".to_owned(), 5)))]);
    assert_eq!(redis.ask(&["ZCARD", "{cpm}:back:one"]), ["1"]);
}

/// The node was only silent, and has its next lease before the other one sees what it lacks.
#[test]
fn a_large_message_goes_back_to_a_node_that_has_come_back_already() {
    let bench = Bench::new("redis_large_goes_back_late");
    let redis = bench.redis();
    let mut first = engine(&redis.url(), "one", Duration::from_millis(1));
    keep_large(&mut first, 2, "0a");
    let mut second = engine(&redis.url(), "two", LEASE);
    look(&mut second);
    assert!(first.tend().is_err());
    first.node.lease = LEASE;
    first.open().unwrap();
    assert_eq!(numbers(&mut first), [0; 0]);
    assert_eq!(numbers(&mut second), [0; 0]);
    look(&mut first);
    assert!(first.news().has_left_over);
    assert_eq!(numbers(&mut first), [2]);
}

#[test]
fn whoever_is_beyond_the_limit_of_arrivals_waits_for_the_schedule() {
    let bench = Bench::new("redis_many_arrivals");
    let redis = bench.redis();
    let mut first = engine(&redis.url(), "one", LEASE);
    let mut second = engine(&redis.url(), "two", LEASE);
    let all: Vec<u32> = (0..MAX_ARRIVED as u32 + 7).collect();
    first.tell_arrived(&all);
    first.tell_arrived(&all);
    assert_eq!(first.arrived.len(), MAX_ARRIVED);
    first.tend().unwrap();
    second.arrived_elsewhere = vec![0; 9];
    second.tend().unwrap();
    assert_eq!(second.news().arrived.len(), MAX_ARRIVED);
    assert!(second.news().arrived.is_empty());
}
