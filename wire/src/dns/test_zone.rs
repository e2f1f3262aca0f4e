//! A name server's answers in tests.

use std::collections::HashMap;

use simple_dns::rdata::{A, AAAA, CNAME, NAPTR, RData, SRV};
use simple_dns::{CLASS, CharacterString, Name, Packet, RCODE, ResourceRecord};

/// Records by name, in the notation of [`record`].
pub(crate) type Zone = HashMap<&'static str, Vec<&'static str>>;

pub(crate) fn zone(records: &[(&'static str, &'static str)]) -> Zone {
    let mut zone = Zone::new();
    for (name, record) in records {
        zone.entry(name).or_default().push(record);
    }
    zone
}

pub(crate) fn record(text: &'static str) -> RData<'static> {
    let words: Vec<&str> = text.split(' ').collect();
    let number = |at: usize| words[at].parse().unwrap();
    let string = |at: usize| CharacterString::new(words[at].as_bytes()).unwrap();
    match words[0] {
        "A" => RData::A(A::from(words[1].parse::<std::net::Ipv4Addr>().unwrap())),
        "AAAA" => RData::AAAA(AAAA::from(words[1].parse::<std::net::Ipv6Addr>().unwrap())),
        "CNAME" => RData::CNAME(CNAME(Name::new_unchecked(words[1]))),
        "SRV" => RData::SRV(SRV {
            priority: number(1),
            weight: number(2),
            port: number(3),
            target: Name::new_unchecked(words[4].trim_end_matches('.')),
        }),
        "NAPTR" => RData::NAPTR(NAPTR {
            order: number(1),
            preference: number(2),
            flags: string(3),
            services: string(4),
            regexp: CharacterString::new(b"").unwrap(),
            replacement: Name::new_unchecked(words[5]),
        }),
        _ => panic!("{text}"),
    }
}

/// The answer of a name server with this zone.
pub(crate) fn answer(query: &[u8], zone: &Zone) -> Vec<u8> {
    let query = Packet::parse(query).unwrap();
    let mut reply = Packet::new_reply(query.id());
    reply.questions = query.questions.clone();
    let mut name = query.questions[0].qname.to_string();
    if !zone.contains_key(name.as_str()) {
        *reply.rcode_mut() = RCODE::NameError;
    }
    for _ in 0..4 {
        let mut alias = None;
        for text in zone.get(name.as_str()).into_iter().flatten() {
            let data = record(text);
            let is_asked = query.questions[0].qtype == data.type_code().into();
            if let RData::CNAME(target) = &data {
                alias = Some(target.0.to_string());
            } else if !is_asked {
                continue;
            }
            let owner = Name::new(&name).unwrap().into_owned();
            reply
                .answers
                .push(ResourceRecord::new(owner, CLASS::IN, 60, data));
        }
        match alias {
            Some(alias) => name = alias,
            None => break,
        }
    }
    reply.build_bytes_vec().unwrap()
}
