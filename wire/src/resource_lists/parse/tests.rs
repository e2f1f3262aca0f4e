use super::super::{MAX_ATTRIBUTES, MAX_NAMESPACE_BINDINGS};
use super::ResourceListsError::*;
use super::*;

/// The shape of the example in RFC 5364 §6.
const EXAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"
          xmlns:cp="urn:ietf:params:xml:ns:copycontrol">
  <list>
    <display-name>Friends</display-name>
    <entry uri="sip:bill@example.com" cp:copyControl="to" />
    <entry uri="sip:randy@example.net" cp:copyControl="to" cp:anonymize="true"/>
    <list name="inner">
      <entry uri="sip:joe@example.org" cp:copyControl="cc"><display-name xml:lang="en">Joe &lt;J&#46;&gt;</display-name></entry>
    </list>
    <entry uri="sip:ted@example.net" cp:copyControl="bcc"/>
    <entry uri="tel:+15551234"/>
  </list>
</resource-lists>
"#;

fn error(document: &str) -> ResourceListsError {
    match ResourceLists::parse(document.as_bytes()) {
        Err(error) => error,
        Ok(lists) => panic!(
            "{document:?} gave {:?}",
            lists.entries().collect::<Vec<_>>()
        ),
    }
}

fn with_list(content: &str) -> String {
    format!(
        "<resource-lists xmlns='{RESOURCE_LISTS_NAMESPACE}' xmlns:cp='{COPY_CONTROL_NAMESPACE}' \
         xmlns:o='urn:other'><list>{content}</list></resource-lists>"
    )
}

/// URI and display name of each entry.
fn read(content: &str) -> Vec<(String, Option<String>)> {
    let lists = ResourceLists::parse(with_list(content).as_bytes()).unwrap();
    lists
        .entries()
        .map(|e| (e.uri.to_owned(), e.display_name.map(str::to_owned)))
        .collect()
}

#[test]
fn entries_in_document_order() {
    use CopyControl::*;
    let lists = ResourceLists::parse(EXAMPLE.as_bytes()).unwrap();
    let entries: Vec<_> = lists.entries().collect();
    let entry = |uri, display_name, copy_control, anonymize| Entry {
        uri,
        display_name,
        copy_control,
        anonymize,
    };
    assert_eq!(
        entries,
        [
            entry("sip:bill@example.com", None, Some(To), false),
            entry("sip:randy@example.net", None, Some(To), true),
            entry("sip:joe@example.org", Some("Joe <J.>"), Some(Cc), false),
            entry("sip:ted@example.net", None, Some(Bcc), false),
            entry("tel:+15551234", None, None, false),
        ]
    );
    assert_eq!((lists.len(), lists.is_empty()), (5, false));
}

#[test]
fn an_empty_list_is_a_list() {
    assert!(
        ResourceLists::parse(with_list("").as_bytes())
            .unwrap()
            .is_empty()
    );
    let none = format!("<resource-lists xmlns=\"{RESOURCE_LISTS_NAMESPACE}\"/>");
    assert!(ResourceLists::parse(none.as_bytes()).unwrap().is_empty());
}

#[test]
fn any_prefix_will_do() {
    let document = format!(
        "\u{feff}<?xml version='1.0' encoding='utf-8'?><!-- x --><?pi?>\
         <r:resource-lists xmlns:r='urn:ietf:params:xml:ns:resource&#45;lists'>\
         <r:list><r:entry c:copyControl='cc' xmlns:c='{COPY_CONTROL_NAMESPACE}' uri='a:b'/>\
         <entry uri='in:no-namespace'/></r:list></r:resource-lists ><!-- y -->\n"
    );
    let lists = ResourceLists::parse(document.as_bytes()).unwrap();
    let entries: Vec<_> = lists.entries().map(|e| (e.uri, e.copy_control)).collect();
    assert_eq!(entries, [("a:b", Some(CopyControl::Cc))]);
}

#[test]
fn declarations_end_with_their_element() {
    let content = "<o:x xmlns='urn:other' xmlns:o='urn:ietf:params:xml:ns:copycontrol'>\
        <entry uri='no'/></o:x><entry uri='a:b' o:copyControl='nonsense'/>";
    assert_eq!(read(content), [("a:b".to_owned(), None)]);
    assert_eq!(
        read("<x xmlns=''><entry uri='no'/></x><entry uri='a:b'/>").len(),
        1
    );
}

#[test]
fn other_namespaces_are_skipped_with_all_they_hold() {
    let content = "<o:x a='1'><entry uri='no'/><external/><o:x>&amp;t<![CDATA[<]]></o:x></o:x>text\
        <entry uri='a:b' o:uri='no' unknown='x' cp:count='2'><o:y/>t<display-name>A<o:z>B</o:z>C\
        </display-name><display-name>second</display-name></entry>";
    assert_eq!(read(content), [("a:b".to_owned(), Some("AC".to_owned()))]);
}

#[test]
fn copy_control_without_namespace() {
    let content = "<entry uri='a:b' copyControl='bcc' anonymize='1'/>\
        <entry uri='a:c' copyControl='to' cp:copyControl=' cc ' anonymize='true' cp:anonymize='false'/>";
    let lists = ResourceLists::parse(with_list(content).as_bytes()).unwrap();
    let read: Vec<_> = lists
        .entries()
        .map(|e| (e.copy_control, e.anonymize))
        .collect();
    assert_eq!(
        read,
        [
            (Some(CopyControl::Bcc), true),
            (Some(CopyControl::Cc), false)
        ]
    );
}

#[test]
fn texts_are_unescaped_and_normalized() {
    let content = "<entry uri=\" a:b?x=1&amp;y=&quot;&#x41;&#10;\tz\r\nz \">\r\n\
        <display-name>&apos;a&#13;\r\nb\rc<![CDATA[<&amp;>]]>\u{e9}</display-name></entry>";
    let name = "'a\r\nb\nc<&amp;>\u{e9}".to_owned();
    assert_eq!(
        read(content),
        [("a:b?x=1&y=\"A\n z z".to_owned(), Some(name))]
    );
    assert_eq!(read("<entry uri='a:b'><display-name/></entry>")[0].1, None);
}

#[test]
fn not_well_formed() {
    let head = format!("<resource-lists xmlns='{RESOURCE_LISTS_NAMESPACE}'>");
    for document in [
        "",
        " ",
        "text",
        "<",
        "<a",
        "<!-- -->",
        "<?xml version='1.0'?>",
        "<?xml?><a/>",
        "<?xml version='2.0'?><a/>",
        "x<a xmlns='x'/>",
        "\u{1}",
        "&amp;",
        &format!(" <?xml version='1.0'?>{head}</resource-lists>"),
        &head,
        &format!("{head}<list></resource-lists>"),
        &format!("{head}</list>"),
        &format!("{head}</resource-lists>x"),
        &format!("{head}</resource-lists>{head}</resource-lists>"),
        &format!("{head}</resource-lists>&amp;"),
        &format!("{head}</resource-lists><![CDATA[]]>"),
        &format!("{head}</resource-lists></resource-lists>"),
        &format!("{head}\0</resource-lists>"),
    ] {
        assert_eq!(error(document), Malformed, "{document:?}");
    }
    for content in [
        "<entry uri='a' uri='b'/>",
        "<entry uri='a'b='c'/>",
        "<entry uri=a/>",
        "<entry uri/>",
        "<entry uri='a/>",
        "<entry uri='<'/>",
        "<entry uri='a&'/>",
        "<entry uri='a&#0;'/>",
        "<entry uri='a' o='&#xd800;'/>",
        "<entry uri='a&#+9;'/>",
        "<entry uri='a&#;'/>",
        "<entry uri='a' z:b=''/>",
        "<z:entry uri='a'/>",
        "<entry uri='a' =''/>",
        "<1/>",
        "< a/>",
        "</>",
        "<a:b:c/>",
        "<:a/>",
        "<o:/>",
        "<o:1/>",
        "<entry uri='a' xmlns:p=''/>",
        "<entry uri='a' xmlns:xmlns='a'/>",
        "<entry xmlns:c='urn:ietf:params:xml:ns:copycontrol' uri='a' c:copyControl='to' cp:copyControl='cc'/>",
        "<o:a>&</o:a>",
        "<o:a>& b;</o:a>",
        "<o:a>]]></o:a>",
        "<!-- -- -->",
        "<![CDATA[",
        "<!x>",
        "<?",
        "<o:a></o:b>",
        "<o:a></o:a b='c'>",
        "<?xml version='1.0'?>",
        "<entry uri='a'/ >",
    ] {
        assert_eq!(error(&with_list(content)), Malformed, "{content:?}");
    }
}

#[test]
fn documents_in_other_encodings() {
    for name in ["UTF-16", "ISO-8859-1", ""] {
        let document = EXAMPLE.replace("encoding=\"UTF-8\"", &format!("encoding=\"{name}\""));
        assert_eq!(error(&document), NotUtf8, "{name:?}");
    }
    let little: Vec<u8> = EXAMPLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = EXAMPLE.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let marked = [b"\xff\xfe", &little[..]].concat();
    for document in [&little[..], &big, &marked, b"<a b='\xe9'/>"] {
        assert_eq!(ResourceLists::parse(document).unwrap_err(), NotUtf8);
    }
}

#[test]
fn document_types_and_entities() {
    let lists = with_list("<entry uri='a:b'><display-name>&e;</display-name></entry>");
    for subset in [
        "",
        " [<!ENTITY e 'x'>]",
        " [<!ENTITY e 'x'",
        " SYSTEM 'http://example.com/'",
    ] {
        let end = if subset.ends_with("'x'") { "" } else { ">" };
        assert_eq!(
            error(&format!("<!DOCTYPE resource-lists{subset}{end}{lists}")),
            DocumentType
        );
    }
    assert_eq!(error(&lists), UndefinedEntity);
    assert_eq!(error(&with_list("<entry uri='&e;'/>")), UndefinedEntity);
    assert_eq!(error(&with_list("<o:x o:y='&e;'/>")), UndefinedEntity);
}

#[test]
fn an_entity_bomb_is_refused_at_its_first_line() {
    let mut bomb = String::from("<!DOCTYPE resource-lists [<!ENTITY a0 \"lol\">");
    for level in 1..1000 {
        bomb.push_str(&format!(
            "<!ENTITY a{level} \"{}\">",
            format!("&a{};", level - 1).repeat(10)
        ));
    }
    bomb.push_str(&format!("]>{}", with_list("<entry uri='&a999;'/>")));
    assert_eq!(error(&bomb), DocumentType);
}

#[test]
fn elements_in_the_wrong_place() {
    for (content, expected) in [
        ("<entry-ref ref='x'/>", ExternalReference),
        (
            "<external anchor='http://example.com/'/>",
            ExternalReference,
        ),
        ("<entry uri='a'><entry uri='b'/></entry>", UnexpectedElement),
        (
            "<entry uri='a'><display-name><list/></display-name></entry>",
            UnexpectedElement,
        ),
        ("<unknown/>", UnexpectedElement),
        ("<resource-lists/>", UnexpectedElement),
        ("<entry/>", MissingUri),
        ("<entry uri=' '/>", MissingUri),
        ("<entry cp:uri='a:b'/>", MissingUri),
        ("<entry uri='a' cp:copyControl='TO'/>", UnknownCopyControl),
        ("<entry uri='a' copyControl=''/>", UnknownCopyControl),
        ("<entry uri='a' cp:anonymize='yes'/>", UnknownAnonymize),
    ] {
        assert_eq!(error(&with_list(content)), expected, "{content:?}");
    }
    let root = format!("<resource-lists xmlns='{RESOURCE_LISTS_NAMESPACE}'>");
    assert_eq!(
        error(&format!("{root}<entry uri='a'/></resource-lists>")),
        UnexpectedElement
    );
    for root in [
        "<resource-lists/>",
        "<list xmlns='urn:ietf:params:xml:ns:resource-lists'/>",
    ] {
        assert_eq!(error(root), NotResourceLists, "{root:?}");
    }
}

#[test]
fn limits() {
    let entries = |count: usize| with_list(&"<entry uri='a:b'/>".repeat(count));
    assert_eq!(
        ResourceLists::parse(entries(MAX_ENTRIES).as_bytes())
            .unwrap()
            .len(),
        MAX_ENTRIES
    );
    assert_eq!(error(&entries(MAX_ENTRIES + 1)), TooManyEntries);

    let uri = |length: usize| with_list(&format!("<entry uri='{}'/>", "a".repeat(length)));
    assert_eq!(
        ResourceLists::parse(uri(MAX_ENTRY_URI_BYTES).as_bytes())
            .unwrap()
            .len(),
        1
    );
    assert_eq!(error(&uri(MAX_ENTRY_URI_BYTES + 1)), UriTooLong);

    let nested = |depth: usize| {
        let lists = depth - 2;
        with_list(&("<list>".repeat(lists) + &"</list>".repeat(lists)))
    };
    assert!(ResourceLists::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(error(&nested(MAX_DEPTH + 1)), TooDeep);

    let tag = |prefix: &str, count: usize| {
        let attributes: String = (0..count).map(|n| format!(" {prefix}a{n}='x'")).collect();
        with_list(&format!("<o:x{attributes}/>"))
    };
    assert!(ResourceLists::parse(tag("", MAX_ATTRIBUTES).as_bytes()).is_ok());
    assert_eq!(error(&tag("", MAX_ATTRIBUTES + 1)), TooManyAttributes);
    assert!(ResourceLists::parse(tag("xmlns:", MAX_NAMESPACE_BINDINGS - 3).as_bytes()).is_ok());
    assert_eq!(
        error(&tag("xmlns:", MAX_NAMESPACE_BINDINGS - 2)),
        TooManyNamespaces
    );

    let blank = EXAMPLE.to_owned() + &" ".repeat(MAX_DOCUMENT_BYTES - EXAMPLE.len());
    assert!(ResourceLists::parse(blank.as_bytes()).is_ok());
    assert_eq!(error(&(blank + " ")), TooLarge);
}

#[test]
fn megabytes_of_nesting() {
    let megabytes = 8 << 20;
    let limits = Limits {
        document_bytes: usize::MAX,
        ..Limits::default()
    };
    for (tag, error) in [
        ("<list>", TooDeep),
        ("<o:x>", TooDeep),
        ("<o:x xmlns:o='urn:other'>", TooManyNamespaces),
    ] {
        let document = with_list(&tag.repeat(megabytes / tag.len()));
        assert_eq!(
            ResourceLists::parse(document.as_bytes()).unwrap_err(),
            TooLarge
        );
        let deep = ResourceLists::parse_with(limits, document.as_bytes());
        assert_eq!(deep.unwrap_err(), error, "{tag}");
    }
    // Without a limit the nesting is on the heap: no stack overflow.
    let limits = Limits {
        depth: usize::MAX,
        ..limits
    };
    let document = with_list(&"<list>".repeat(megabytes / 6));
    let unclosed = ResourceLists::parse_with(limits, document.as_bytes());
    assert_eq!(unclosed.unwrap_err(), Malformed);
}

#[test]
fn phrases_are_distinct_and_short() {
    let all = [
        TooLarge,
        NotUtf8,
        Malformed,
        DocumentType,
        UndefinedEntity,
        NotResourceLists,
        UnexpectedElement,
        ExternalReference,
        MissingUri,
        UriTooLong,
        UnknownCopyControl,
        UnknownAnonymize,
        TooManyEntries,
        TooDeep,
        TooManyAttributes,
        TooManyNamespaces,
    ];
    let phrases: std::collections::HashSet<String> = all.iter().map(|e| e.to_string()).collect();
    assert_eq!(phrases.len(), all.len());
    assert!(phrases.iter().all(|phrase| phrase.len() <= 40));
}

#[test]
fn mutated_documents() {
    const PIECES: [&str; 16] = [
        "<",
        ">",
        "&",
        "\"",
        "'",
        "/",
        "=",
        ":",
        " ",
        "\0",
        "<![CDATA[",
        "]]>",
        "<!--",
        "&#x",
        "xmlns=''",
        "\u{e9}",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let mut parsed = 0;
    for _ in 0..10_000 {
        let mut document = EXAMPLE.as_bytes().to_vec();
        for _ in 0..=random.usize(..3) {
            let at = random.usize(..document.len());
            let end = (at + random.usize(..12)).min(document.len());
            match random.usize(..4) {
                0 => document[at] ^= 1 << random.usize(..8),
                1 => drop(document.drain(at..end)),
                2 => drop(document.splice(at..at, PIECES[random.usize(..16)].bytes())),
                _ => document.truncate(document.len() - random.usize(..3)),
            }
        }
        let Ok(lists) = ResourceLists::parse(&document) else {
            continue;
        };
        parsed += 1;
        assert!(lists.texts.len() <= document.len());
        assert_eq!(lists.entries().count(), lists.len());
        assert!(lists.entries().all(|entry| !entry.uri.is_empty()));
    }
    assert!(parsed > 500, "{parsed}");
}
