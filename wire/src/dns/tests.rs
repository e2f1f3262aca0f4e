//! Correct, wrong and hostile answers.

use std::time::{Duration, Instant};

use simple_dns::rdata::{RData, SRV};
use simple_dns::{CLASS, Name, Packet, ResourceRecord};

use super::test_zone::{answer, record, zone};
use super::{Kind, Question, Record, Reply};

#[test]
fn records_of_other_names_are_not_believed() {
    let question = Question::new("a.example", Kind::A).unwrap();
    let query = question.write(7).unwrap();
    let mut reply = Packet::new_reply(7);
    reply.questions = Packet::parse(&query).unwrap().questions;
    for (owner, data) in [
        ("b.example", record("A 203.0.113.66")),
        ("a.example", record("AAAA 2001:db8::66")),
        ("a.example.", record("SRV 1 1 1 b.example")),
    ] {
        let owner = Name::new_unchecked(owner.trim_end_matches('.'));
        reply
            .answers
            .push(ResourceRecord::new(owner, CLASS::IN, 60, data));
    }
    let records = question.read(&reply.build_bytes_vec().unwrap(), 7);
    assert!(matches!(records, Some(Reply::Records { records, .. }) if records.is_empty()));
}

#[test]
fn circles_and_floods_end() {
    let circle = zone(&[
        ("a.example", "CNAME b.example"),
        ("b.example", "CNAME a.example"),
    ]);
    let question = Question::new("a.example", Kind::A).unwrap();
    let packet = answer(&question.write(7).unwrap(), &circle);
    assert_eq!(question.read(&packet, 7), Some(Reply::Failed));
    // A name that points to itself, within an answer.
    let question = Question::new("a.example", Kind::A).unwrap();
    let mut packet = question.write(7).unwrap();
    packet[2] |= 0x80;
    packet[6..8].copy_from_slice(&[0, 1]);
    let here = packet.len() as u16;
    for pointer in [here, here + 1, 12, 0x3fff] {
        let name = (0xc000 | pointer).to_be_bytes();
        let record = [&name[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]].concat();
        // It must return, whatever the packet contains.
        let reply = question.read(&[&packet[..], &record].concat(), 7);
        let believed =
            matches!(&reply, Some(Reply::Records { records, .. }) if !records.is_empty());
        assert_eq!(believed, pointer == 12, "{pointer:x}");
    }
    // As many pointers to pointers as fit, and records that use all of them.
    let mut chain = packet.clone();
    while chain.len() < 8000 {
        let before = chain.len() as u16 - 2;
        chain.extend((0xc000 | before).to_be_bytes());
    }
    let end = (0xc000 | (chain.len() as u16 - 2)).to_be_bytes();
    while chain.len() < 16_000 {
        chain.extend([&end[..], &[0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 1, 2, 3, 4]].concat());
    }
    chain[6..8].copy_from_slice(&1000_u16.to_be_bytes());
    let begin = Instant::now();
    let _ = question.read(&chain, 7);
    assert!(begin.elapsed() < Duration::from_secs(1));
    // More addresses than any host has; some of them are taken.
    let mut reply = Packet::new_reply(7);
    let query = question.write(7).unwrap();
    reply.questions = Packet::parse(&query).unwrap().questions;
    for _ in 0..1000 {
        let owner = Name::new_unchecked("a.example");
        reply.answers.push(ResourceRecord::new(
            owner,
            CLASS::IN,
            60,
            record("A 192.0.2.1"),
        ));
    }
    let many = question.read(&reply.build_bytes_vec().unwrap(), 7);
    assert!(matches!(many, Some(Reply::Records { records, .. }) if records.len() == 32));
}

#[test]
fn any_bytes_are_survived() {
    let question = Question::new("a.example", Kind::Naptr).unwrap();
    let zone = zone(&[("a.example", "NAPTR 1 1 s SIP+D2U _sip._udp.a.example")]);
    let good = answer(&question.write(7).unwrap(), &zone);
    for at in 0..good.len() {
        for value in [0, 1, 0x3f, 0x7f, 0x80, 0xc0, 0xff] {
            let mut bad = good.clone();
            bad[at] = value;
            let _ = question.read(&bad, 7);
            let _ = question.read(&bad[..at], 7);
        }
    }
}

#[test]
fn of_too_many_servers_the_best_are_kept() {
    let question = Question::new("a.example", Kind::Srv).unwrap();
    let query = question.write(7).unwrap();
    let mut reply = Packet::new_reply(7);
    reply.questions = Packet::parse(&query).unwrap().questions;
    for port in 1..=100_u16 {
        let data = RData::SRV(SRV {
            priority: 100 - port,
            weight: 0,
            port,
            target: Name::new_unchecked("s.example"),
        });
        let owner = Name::new_unchecked("a.example");
        let record = ResourceRecord::new(owner, CLASS::IN, 60, data);
        reply.answers.push(record);
    }
    let Some(Reply::Records { records, .. }) = question.read(&reply.build_bytes_vec().unwrap(), 7)
    else {
        panic!("no records");
    };
    let ports = records.iter().map(|record| match record {
        Record::Srv(srv) => srv.port,
        _ => 0,
    });
    assert!(ports.eq((69..=100).rev()));
}
