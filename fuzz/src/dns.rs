//! Packets of name servers.

use cpm_wire::dns::{Kind, Question, Record, Reply};

const ID: u16 = 7;

/// An answer to a question of each kind: only what was asked for is believed, and not for another
/// question. First byte: the kind; the rest is the packet behind our identifier.
pub fn dns(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv, Kind::Naptr][usize::from(first % 4)];
    let question = Question::new("a.example", kind).expect("a name");
    let packet = [&ID.to_be_bytes()[..], rest].concat();
    let Some(reply) = question.read(&packet, ID) else {
        return;
    };
    assert_eq!(question.read(&packet, ID + 1), None);
    let other = Question::new("b.example", kind).expect("a name");
    assert_eq!(other.read(&packet, ID), None);
    let Reply::Records { records, .. } = reply else {
        return;
    };
    assert!(records.len() <= packet.len() / 10);
    for record in records {
        match (kind, record) {
            (Kind::A, Record::Address(address)) => assert!(address.is_ipv4()),
            (Kind::Aaaa, Record::Address(address)) => assert!(address.is_ipv6()),
            (Kind::Srv, Record::Srv(srv)) => ask_next(&srv.target),
            (Kind::Naptr, Record::Naptr(naptr)) => ask_next(&naptr.replacement),
            (_, record) => panic!("{record:?} for {kind:?}"),
        }
    }
}

/// What a record names is the next question, if it is a name at all.
fn ask_next(name: &str) {
    if let Some(question) = Question::new(name, Kind::A) {
        let packet = question.write(ID).expect("a name fits");
        assert_eq!(question.read(&packet, ID), None, "a question is no answer");
    }
}
