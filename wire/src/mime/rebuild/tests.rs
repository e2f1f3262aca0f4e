use super::super::EntityFields;
use super::*;

fn entity(content_type: &'static str, body: impl Into<Bytes>) -> Entity {
    let content_type = Some(Bytes::from_static(content_type.as_bytes()));
    Entity::parse(
        EntityFields {
            content_type,
            ..EntityFields::default()
        },
        body.into(),
    )
    .unwrap()
}

fn mixed(body: impl Into<Bytes>) -> Entity {
    entity("multipart/mixed; boundary=b", body)
}

/// The `n`th leaf replaced or removed.
fn change(entity: &Entity, n: usize, new: Option<NewPart>) -> Result<Option<Rebuilt>, MimeError> {
    entity.with_leaf(entity.leaves().nth(n).unwrap().id(), new)
}

fn part(content: &'static [u8]) -> NewPart {
    NewPart {
        header_fields: vec![HeaderField::from_static("Content-Type", "x/y")],
        content: Bytes::from_static(content),
    }
}

fn fields(rebuilt: &Rebuilt) -> Vec<(&[u8], &[u8])> {
    let fields = rebuilt.header_fields.as_ref().unwrap();
    fields
        .iter()
        .map(|field| (&field.name[..], &field.value[..]))
        .collect()
}

const THREE: &str =
    "pre\r\n--b \r\nA: 1\r\n\r\none\r\n--b\n\ntwo\n--b\r\n\r\nthree\r\n--b-- \r\nepi";

#[test]
fn removing_one_of_three_keeps_the_rest_bit_for_bit() {
    let three = mixed(THREE);
    let without = |n: usize| change(&three, n, None).unwrap().unwrap();
    assert_eq!(
        without(0).body,
        "pre\r\n--b\n\ntwo\n--b\r\n\r\nthree\r\n--b-- \r\nepi"
    );
    assert_eq!(
        without(1).body,
        "pre\r\n--b \r\nA: 1\r\n\r\none\r\n--b\r\n\r\nthree\r\n--b-- \r\nepi"
    );
    assert_eq!(
        without(2).body,
        "pre\r\n--b \r\nA: 1\r\n\r\none\r\n--b\n\ntwo\n--b-- \r\nepi"
    );
    assert_eq!(without(2).header_fields, None);
}

#[test]
fn replacing_keeps_the_rest_bit_for_bit() {
    let three = mixed(THREE);
    let with = |n: usize| change(&three, n, Some(part(b"new"))).unwrap().unwrap().body;
    let new = "Content-Type: x/y\r\n\r\nnew";
    assert_eq!(with(0), THREE.replace("A: 1\r\n\r\none", new));
    assert_eq!(with(1), THREE.replace("\ntwo", new));
    assert_eq!(with(2), THREE.replace("\r\nthree", new));
    let reread = mixed(with(1));
    assert_eq!(reread.leaves().nth(1).unwrap().content().unwrap(), "new");
}

#[test]
fn replacing_an_empty_part() {
    let body = "--b\r\n\r\n--b--";
    let rebuilt = change(&mixed(body), 0, Some(part(b"new")))
        .unwrap()
        .unwrap();
    assert_eq!(rebuilt.body, "--b\r\nContent-Type: x/y\r\n\r\nnew\r\n--b--");
}

#[test]
fn the_last_part_becomes_the_body() {
    let body = Bytes::from_static(
        b"--b\r\nContent-Type: application/resource-lists+xml\r\n\r\n<x/>\r\n--b\r\n\
        Content-Language: en,\r\n  de\r\nP-Asserted-Identity: <sip:eve@example.com>\r\n\
        MIME-Version: 1.0\r\nContent-Length: 99\r\nContent-Transfer-Encoding: binary\r\n\
        content-id: <1@x>\r\nContent-Type: message/cpim\r\n\r\nhello\r\n--b--\r\n",
    );
    let rebuilt = change(&mixed(body.clone()), 0, None).unwrap().unwrap();
    assert_eq!(rebuilt.body, "hello");
    assert!(
        body.as_ptr_range().contains(&rebuilt.body.as_ptr()),
        "not copied"
    );
    let expected: [(&[u8], &[u8]); 3] = [
        (b"Content-Language", b"en, de"),
        (b"content-id", b"<1@x>"),
        (b"Content-Type", b"message/cpim"),
    ];
    assert_eq!(fields(&rebuilt), expected);
}

#[test]
fn a_transfer_encoding_is_taken_off_the_new_body() {
    let body = "--b\r\n\r\nx\r\n--b\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--b--";
    let rebuilt = change(&mixed(body), 0, None).unwrap().unwrap();
    assert_eq!(rebuilt.body, "hi");
    let expected: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"text/plain")];
    assert_eq!(fields(&rebuilt), expected);
    let broken = body.replace("aGk=", "a*");
    assert_eq!(
        change(&mixed(broken), 0, None),
        Err(MimeError::MalformedBase64)
    );
}

#[test]
fn nothing_is_left() {
    assert_eq!(change(&mixed("--b\r\n\r\nx\r\n--b--"), 0, None), Ok(None));
    assert_eq!(change(&entity("a/b", "x"), 0, None), Ok(None));
    let nested =
        "--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--c\r\n\r\nx\r\n--c--\r\n--b--";
    assert_eq!(change(&mixed(nested), 0, None), Ok(None));
}

#[test]
fn replacing_a_body_without_parts() {
    let rebuilt = change(&entity("a/b", "x"), 0, Some(part(b"new")))
        .unwrap()
        .unwrap();
    assert_eq!(
        (rebuilt.body, rebuilt.header_fields),
        ("new".into(), Some(part(b"").header_fields))
    );
}

const NESTED: &str = "--b\r\nContent-Type: multipart/alternative; boundary=c\r\n\r\n\
    --c\r\nX: 1\r\n\r\none\r\n--c\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--c--\r\nepi\r\n\
    --b\r\n\r\nthree\r\n--b--\r\n";

#[test]
fn a_nested_multipart_becomes_its_last_part() {
    let rebuilt = change(&mixed(NESTED), 0, None).unwrap().unwrap();
    assert_eq!(
        rebuilt.body,
        "--b\r\nContent-Transfer-Encoding: base64\r\n\r\ndHdv\r\n--b\r\n\r\nthree\r\n--b--\r\n"
    );
    assert_eq!(rebuilt.header_fields, None);
}

#[test]
fn a_surviving_multipart_becomes_the_body() {
    let rebuilt = change(&mixed(NESTED), 2, None).unwrap().unwrap();
    let expected: [(&[u8], &[u8]); 1] = [(b"Content-Type", b"multipart/alternative; boundary=c")];
    assert_eq!(fields(&rebuilt), expected);
    assert!(rebuilt.body.starts_with(b"--c\r\n") && rebuilt.body.ends_with(b"--c--\r\nepi"));
    let reread = entity("multipart/alternative; boundary=c", rebuilt.body);
    assert_eq!(reread.leaves().nth(1).unwrap().content().unwrap(), "two");
}

#[test]
fn collapsing_goes_up_through_multiparts_with_one_part() {
    let body = "--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n\
        --c\r\n\r\none\r\n--c\r\n\r\ntwo\r\n--c--\r\n--b--\r\n";
    let rebuilt = change(&mixed(body), 0, None).unwrap().unwrap();
    assert_eq!(rebuilt.body, "two");
    let one_deep = "--b\r\nContent-Type: multipart/x; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c--\r\n\
        --b\r\n\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--";
    let rebuilt = change(&mixed(one_deep), 0, None).unwrap().unwrap();
    assert_eq!(rebuilt.body, "--b\r\n\r\ntwo\r\n--b\r\n\r\nthree\r\n--b--");
}

#[test]
fn a_name_that_sip_does_not_know_cannot_become_one_of_its_fields() {
    for (name, is_fine) in [
        ("Content-x!%*+`'~", true),
        ("Content-Typs}se", false),
        ("content-{", false),
        ("Content-#", false),
        ("Content-$&^|", false),
        ("X-}", true),
    ] {
        let body = format!("--b\r\n{name}: 1\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--");
        let verdict = change(&mixed(body.clone()), 1, None).map(|_| ());
        assert_eq!(verdict.is_ok(), is_fine, "{name}: {verdict:?}");
        // As long as it stays a part, the rules of MIME apply.
        let body = body.replace("--b--", "--b\r\n\r\nthree\r\n--b--");
        assert!(change(&mixed(body.clone()), 1, None).is_ok(), "{name}");
    }
}

#[test]
fn a_new_part_cannot_forge_a_delimiter() {
    let nested = mixed(NESTED);
    for content in [&b"--b"[..], b"x\r\n--c--", b"x\n--bar", b"\r--b"] {
        let forged = change(&nested, 0, Some(part(content)));
        assert_eq!(forged, Err(MimeError::BoundaryCollision), "{content:?}");
    }
    assert!(change(&nested, 0, Some(part(b"x --b"))).is_ok());
    assert!(change(&nested, 2, Some(part(b"--c"))).is_ok());
    for (name, value) in [("", "x"), ("a b", "x"), ("A", "x\r\nB: y")] {
        let header_fields = vec![HeaderField::from_static(name, value)];
        let forged = change(
            &nested,
            0,
            Some(NewPart {
                header_fields,
                content: Bytes::new(),
            }),
        );
        assert_eq!(forged, Err(MimeError::MalformedPartHeader), "{name:?}");
    }
    assert_eq!(
        nested.with_leaf(LeafId(0), None),
        Err(MimeError::NoSuchLeaf)
    );
    assert_eq!(
        nested.with_leaf(LeafId(9), None),
        Err(MimeError::NoSuchLeaf)
    );
}

/// Any body either parses or not; and a body that parses can lose each of its leaves, after which
/// exactly the others remain.
#[test]
fn mutated_multiparts() {
    let mut random = fastrand::Rng::with_seed(1);
    let (mut parsed, mut rebuilt_bodies) = (0, 0);
    for round in 0..10_000 {
        let mut body = if round % 2 == 0 { NESTED } else { THREE }
            .as_bytes()
            .to_vec();
        for _ in 0..=random.usize(..4) {
            let at = random.usize(..body.len());
            match random.usize(..4) {
                0 => body[at] = b"-\r\n bc:;\"=\0\xff"[random.usize(..12)],
                1 => drop(body.remove(at)),
                2 => body.insert(at, b"-\r\n bc:;\"=\0\xff"[random.usize(..12)]),
                _ => {
                    let end = (at + random.usize(..40)).min(body.len());
                    let copy = body[at..end].to_vec();
                    let to = random.usize(..body.len());
                    body.splice(to..to, copy);
                }
            }
        }
        let content_type = Some(Bytes::from_static(b"multipart/mixed; boundary=b"));
        let fields = EntityFields {
            content_type,
            ..EntityFields::default()
        };
        let Ok(entity) = Entity::parse(fields, Bytes::from(body)) else {
            continue;
        };
        parsed += 1;
        let all: Vec<Bytes> = entity.leaves().map(|leaf| leaf.raw_content()).collect();
        for (n, leaf) in entity.leaves().enumerate() {
            let _ = leaf.content();
            let replaced = entity
                .with_leaf(leaf.id(), Some(part(b"new")))
                .unwrap()
                .unwrap();
            let mut expected = all.clone();
            expected[n] = Bytes::from_static(b"new");
            let reread: Vec<Bytes> = mixed(replaced.body)
                .leaves()
                .map(|leaf| leaf.raw_content())
                .collect();
            assert_eq!(reread, expected);

            let Ok(Some(rebuilt)) = entity.with_leaf(leaf.id(), None) else {
                continue;
            };
            if rebuilt.header_fields.is_none() {
                expected.remove(n);
                let reread: Vec<Bytes> = mixed(rebuilt.body)
                    .leaves()
                    .map(|leaf| leaf.raw_content())
                    .collect();
                assert_eq!(reread, expected);
                rebuilt_bodies += 1;
            }
        }
    }
    assert!(
        parsed > 1000 && rebuilt_bodies > 1000,
        "{parsed} {rebuilt_bodies}"
    );
}
