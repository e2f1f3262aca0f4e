use super::GroupDocumentError::*;
use super::*;
use crate::xml::XmlError;

/// In the style of the examples of OMA XDM Group.
const EXAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<group xmlns="urn:oma:xml:poc:list-service"
xmlns:rl="urn:ietf:params:xml:ns:resource-lists"
xmlns:cr="urn:ietf:params:xml:ns:common-policy"
xmlns:ocr="urn:oma:xml:xdm:common-policy"
xmlns:oxe="urn:oma:xml:xdm:extensions">
  <list-service uri="sip:crew@groups.example.com">
<display-name xml:lang="en">Night &amp; Day <![CDATA[<Crew>]]></display-name>
<list>
  <entry uri="tel:+1-555-0100"/>
  <entry uri=" sip:ada@example.com "><rl:display-name>Ada L.</rl:display-name></entry>
  <external anchor="http://xcap.example.com/resource-lists/users/sip:ada@example.com/index/~~/resource-lists/list%5b1%5d"/>
</list>
<max-participant-count> 10 </max-participant-count>
<invite-members>true</invite-members>
<cr:ruleset>
  <cr:rule id="a7c">
    <cr:conditions><is-list-member/></cr:conditions>
    <cr:actions>
      <join-handling>true</join-handling>
      <allow-initiate-conference>true</allow-initiate-conference>
      <allow-anonymity>false</allow-anonymity>
    </cr:actions>
    <cr:transformations/>
  </cr:rule>
  <cr:rule id="a7d">
    <cr:conditions>
      <cr:identity>
        <cr:one id="sip:zoe@example.org"/>
        <cr:many domain="example.net"><cr:except id="tel:+15550101"/><cr:except domain="b.example.net"/></cr:many>
      </cr:identity>
      <cr:validity>
        <cr:from>2026-01-01T00:00:00Z</cr:from><cr:until>2027-01-01T00:00:00Z</cr:until>
      </cr:validity>
      <ocr:external-list><ocr:entry anc="http://xcap.example.com/guests"/></ocr:external-list>
    </cr:conditions>
    <cr:actions><allow-anonymity>1</allow-anonymity></cr:actions>
  </cr:rule>
</cr:ruleset>
<oxe:supported-services>
  <oxe:service enabler="oma_poc"><oxe:group-media><oxe:poc-speech/></oxe:group-media></oxe:service>
  <oxe:service enabler="urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group"/>
</oxe:supported-services>
  </list-service>
</group>
"#;

/// The only group of a document.
fn group(document: &str) -> Group {
    let mut groups = Group::parse(document.as_bytes()).unwrap();
    assert_eq!(groups.len(), 1);
    groups.remove(0)
}

fn with_content(content: &str) -> String {
    format!(
        "<group xmlns='urn:oma:xml:poc:list-service' xmlns:rl='{RESOURCE_LISTS}' \
         xmlns:cr='{COMMON_POLICY}' xmlns:o='urn:other' xmlns:x='urn:oma:xml:xdm:extensions'>\
         <list-service uri='sip:g@example.com'>{content}</list-service></group>"
    )
}

fn with_conditions(conditions: &str) -> String {
    with_content(&format!(
        "<cr:ruleset><cr:rule id='r'><cr:conditions>{conditions}</cr:conditions></cr:rule></cr:ruleset>"
    ))
}

fn conditions(conditions: &str) -> Vec<Condition> {
    let group = group(&with_conditions(conditions));
    group.ruleset.unwrap().rules.remove(0).conditions
}

fn error(document: &str) -> GroupDocumentError {
    Group::parse(document.as_bytes()).unwrap_err()
}

fn members(group: &Group) -> Vec<(&str, Option<&str>)> {
    group.members().map(|m| (m.uri, m.display_name)).collect()
}

#[test]
fn a_group_document() {
    let group = group(EXAMPLE);
    assert_eq!(group.uri(), "sip:crew@groups.example.com");
    assert_eq!(group.display_name(), Some("Night & Day <Crew>"));
    assert_eq!(
        members(&group),
        [
            ("tel:+1-555-0100", None),
            ("sip:ada@example.com", Some("Ada L."))
        ]
    );
    assert_eq!(group.max_participants(), Some(10));
    assert!(group.supports_cpm());
    let anchors: Vec<_> = group.awaited_anchors().collect();
    assert_eq!(anchors.len(), 2);
    assert_eq!(anchors[0], "http://xcap.example.com/guests");
    assert!(anchors[1].ends_with("/list%5b1%5d"));

    let rules = &group.ruleset.as_ref().unwrap().rules;
    assert_eq!(rules.len(), 2);
    assert_eq!(rules[0].conditions, [Condition::IsListMember]);
    assert!(rules[0].grants.may_send && !rules[0].grants.anonymity_allowed);
    assert!(!rules[1].grants.may_send && rules[1].grants.anonymity_allowed);
    assert_eq!(
        rules[1].conditions[..2],
        [
            Condition::Identity(vec![
                Identity::One("sip:zoe@example.org".to_owned()),
                Identity::Many {
                    domain: Some("example.net".to_owned()),
                    exceptions: vec![
                        Exception::Id("tel:+15550101".to_owned()),
                        Exception::Domain("b.example.net".to_owned())
                    ],
                },
            ]),
            Condition::Validity(vec![Interval {
                from: 1_767_225_600,
                until: 1_798_761_600
            }]),
        ]
    );
}

#[test]
fn prefixes_and_namespaces_of_other_releases() {
    let other_prefixes = EXAMPLE
        .replace(
            "xmlns=\"urn:oma:xml:poc:list-service\"",
            "xmlns=\"urn:oma:xml:poc:list-service\" xmlns:g=\"urn:oma:xml:poc:list-service\"",
        )
        .replace("<list>", "<g:list>")
        .replace("</list>", "</g:list>")
        .replace("<cr:", "<rules:")
        .replace("</cr:", "</rules:")
        .replace("xmlns:cr=", "xmlns:rules=");
    let draft = EXAMPLE.replace("oma:xml:poc:list-service", "oma:params:xml:ns:list-service");
    let group_namespace = EXAMPLE.replace("oma:xml:xdm:extensions", "oma:xml:xdm:group");
    // Everything in the default namespace, or in the namespace of the lists or the rules.
    let by_default = EXAMPLE
        .replace("oxe:", "")
        .replace("ocr:", "")
        .replace("<rl:", "<");
    let by_default = by_default.replace("</rl:", "</");
    let mixed = EXAMPLE
        .replace("<allow-", "<cr:allow-")
        .replace("</allow-", "</cr:allow-")
        .replace("<is-list-member", "<ocr:is-list-member")
        .replace("<entry", "<rl:entry")
        .replace("</entry", "</rl:entry");
    let expected = group(EXAMPLE);
    for document in [other_prefixes, draft, group_namespace, by_default, mixed] {
        let found = group(&document);
        assert_eq!(members(&found), members(&expected), "{document}");
        assert!(found.supports_cpm(), "{document}");
        let (found, expected) = (found.ruleset.unwrap(), expected.ruleset.as_ref().unwrap());
        for (found, expected) in found.rules.iter().zip(&expected.rules) {
            assert_eq!(found.conditions, expected.conditions, "{document}");
            assert_eq!(found.grants, expected.grants, "{document}");
        }
    }
}

#[test]
fn groups_with_extensions_of_3gpp() {
    let content = "<list><entry uri='sip:a@example.com'><rl:display-name>A</rl:display-name>\
        <m:on-network-required xmlns:m='urn:3gpp:ns:mcpttGroupInfo:1.0'/>\
        <m:mcdata-mcdata-id xmlns:m='urn:3gpp:ns:mcpttGroupInfo:1.0' uri='sip:no@example.com'/></entry></list>\
        <o:list><entry uri='sip:no@example.com'/></o:list>\
        <x:supported-services><x:service enabler='urn:urn-7:3gpp-service.ims.icsi.mcptt'>\
        <x:group-media><o:speech/>cpm</x:group-media></x:service></x:supported-services>";
    let group = group(&with_content(content));
    assert_eq!(members(&group), [("sip:a@example.com", Some("A"))]);
    assert!(!group.supports_cpm());
}

#[test]
fn lists_inside_lists_and_several_lists() {
    let content = "<list><display-name>x</display-name><entry uri='a:1'/><list><list><entry uri='a:2'/></list>\
        <external anchor='e:1'><display-name>e</display-name></external></list><entry uri='a:1'/></list>\
        <display-name/><display-name>second</display-name>\
        <rl:list><rl:entry uri='a:3'><display-name>n</display-name><display-name>m</display-name></rl:entry>\
        <external anchor=' e:1 '/></rl:list>";
    let group = group(&with_content(content));
    assert_eq!(
        members(&group),
        [
            ("a:1", None),
            ("a:2", None),
            ("a:1", None),
            ("a:3", Some("n"))
        ]
    );
    assert_eq!(group.awaited_anchors().collect::<Vec<_>>(), ["e:1"]);
    assert_eq!(group.display_name(), Some(""));
}

#[test]
fn several_groups_keep_to_themselves() {
    let content = "<list><entry uri='a:1'/></list><cr:ruleset/></list-service>\
        <list-service uri='sip:h@example.com'>";
    let groups = Group::parse(with_content(content).as_bytes()).unwrap();
    let counts: Vec<_> = groups
        .iter()
        .map(|g| (g.uri(), g.members().count()))
        .collect();
    assert_eq!(counts, [("sip:g@example.com", 1), ("sip:h@example.com", 0)]);
    assert!(groups[0].ruleset.is_some() && groups[1].ruleset.is_none());
    let uri = Uri::parse("sip:g@EXAMPLE.com").unwrap();
    assert!(groups[0].has_address(&uri) && !groups[1].has_address(&uri));
}

#[test]
fn services_by_attribute_and_by_text() {
    for (services, expected) in [
        ("", false),
        ("<x:supported-services/>", false),
        ("<x:supported-services>cpm</x:supported-services>", false),
        (
            "<x:supported-services><x:service/></x:supported-services>",
            false,
        ),
        (
            "<x:supported-services><x:service enabler='poc'/></x:supported-services>",
            false,
        ),
        (
            "<x:supported-services><x:service enabler='poc'/><x:service enabler='cpm'/></x:supported-services>",
            true,
        ),
        (
            "<x:supported-services><service>urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg</service></x:supported-services>",
            true,
        ),
        (
            "<x:supported-services><x:service><x:icsi>poc</x:icsi>\n<x:icsi>urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg\n</x:icsi></x:service></x:supported-services>",
            true,
        ),
        (
            "<x:supported-services><x:service><o:icsi>cpm</o:icsi></x:service></x:supported-services>",
            false,
        ),
        (
            "<supported-services><service enabler='oma_cpm'/></supported-services>",
            true,
        ),
        (
            "<o:supported-services><service enabler='oma_cpm'/></o:supported-services>",
            false,
        ),
    ] {
        assert_eq!(
            group(&with_content(services)).supports_cpm(),
            expected,
            "{services}"
        );
    }
}

#[test]
fn conditions_that_are_not_understood() {
    for unknown in [
        "<cr:sphere value='work'/>",
        "<x:anonymous-request/>",
        "<o:is-list-member/>",
        "<is-list-member>false</is-list-member>",
        "<is-list-member><o:x/></is-list-member>",
        "<cr:validity><cr:from>2026-01-01T00:00:00Z</cr:from></cr:validity>",
        "<cr:validity><cr:until>2026-01-01T00:00:00Z</cr:until></cr:validity>",
        "<cr:validity><cr:from>now</cr:from><cr:until>2026-01-01T00:00:00Z</cr:until></cr:validity>",
        "<cr:validity><cr:from>2025-01-01T00:00:00</cr:from><cr:until>2026-01-01T00:00:00Z</cr:until></cr:validity>",
        "<cr:validity><cr:from>2025-01-01T00:00:00Z</cr:from><cr:until>2026-01-01T00:00:00Z</cr:until><o:x/></cr:validity>",
    ] {
        assert_eq!(conditions(unknown), [Condition::Never], "{unknown}");
        let both = conditions(&format!(
            "<is-list-member>1</is-list-member>{unknown}<other-identity/>"
        ));
        assert_eq!(
            both,
            [
                Condition::IsListMember,
                Condition::Never,
                Condition::OtherIdentity
            ],
            "{unknown}"
        );
    }
}

#[test]
fn identities_that_are_not_understood_are_nobody() {
    for unknown in [
        "<cr:one/>",
        "<cr:one id='sip:a@example.com'><o:x/></cr:one>",
        "<cr:many><o:x/></cr:many>",
        "<cr:many><cr:one id='sip:a@example.com'/></cr:many>",
        "<cr:many domain='example.com'><cr:except/></cr:many>",
        "<cr:many domain='example.com'><cr:except id='nobody knows'/><cr:except id='a:b'/></cr:many>",
        "<cr:many domain='example.com'><cr:except id='a:b'><o:x/></cr:except></cr:many>",
    ] {
        let identity = format!("<cr:identity>{unknown}<o:x/><cr:id>a:b</cr:id></cr:identity>");
        assert_eq!(
            conditions(&identity),
            [Condition::Identity(vec![Identity::Nobody])],
            "{unknown}"
        );
    }
}

#[test]
fn documents_that_are_no_groups() {
    for (document, expected) in [
        ("<group/>", NotAGroup),
        ("<group xmlns='urn:other'/>", NotAGroup),
        (
            "<list-service xmlns='urn:oma:xml:poc:list-service' uri='a:b'/>",
            NotAGroup,
        ),
        (
            "<resource-lists xmlns='urn:ietf:params:xml:ns:resource-lists'/>",
            NotAGroup,
        ),
        (
            "<group xmlns='urn:oma:xml:poc:list-service'/>",
            NoListService,
        ),
        (
            "<group xmlns='urn:oma:xml:poc:list-service'><list-service/></group>",
            MissingUri,
        ),
        (
            "<group xmlns='urn:oma:xml:poc:list-service'><list-service uri=' '/></group>",
            MissingUri,
        ),
        (
            "<group xmlns='urn:oma:xml:poc:list-service'>",
            Xml(XmlError::Malformed),
        ),
        ("<p:group/>", Xml(XmlError::Malformed)),
        ("", Xml(XmlError::Malformed)),
    ] {
        assert_eq!(error(document), expected, "{document}");
    }
    for (content, expected) in [
        ("<list><entry/></list>", MissingUri),
        ("<list><entry uri=''/></list>", MissingUri),
        ("<list><external/></list>", MissingAnchor),
        ("<list><entry-ref ref='x'/></list>", EntryReference),
        ("<list><member/></list>", UnexpectedElement),
        (
            "<list><entry uri='a:b'><entry uri='a:c'/></entry></list>",
            UnexpectedElement,
        ),
        (
            "<max-participant-count>many</max-participant-count>",
            InvalidParticipantCount,
        ),
        (
            "<max-participant-count>-1</max-participant-count>",
            InvalidParticipantCount,
        ),
        ("<max-participant-count/>", InvalidParticipantCount),
        ("<list>&x;</list>", Xml(XmlError::UndefinedEntity)),
    ] {
        assert_eq!(error(&with_content(content)), expected, "{content}");
    }
    let external = "<x:external-list><x:entry/></x:external-list>";
    assert_eq!(error(&with_conditions(external)), MissingAnchor);
}

#[test]
fn limits() {
    let entries =
        |n: usize| with_content(&format!("<list>{}</list>", "<entry uri='a:b'/>".repeat(n)));
    assert_eq!(group(&entries(MAX_MEMBERS)).members().count(), MAX_MEMBERS);
    assert_eq!(error(&entries(MAX_MEMBERS + 1)), TooManyMembers);

    let uri = |n: usize| with_content(&format!("<list><entry uri='{}'/></list>", "a".repeat(n)));
    assert_eq!(group(&uri(MAX_MEMBER_URI_BYTES)).members().count(), 1);
    assert_eq!(error(&uri(MAX_MEMBER_URI_BYTES + 1)), UriTooLong);

    let anchors = |n: usize| -> String {
        (0..n)
            .map(|n| format!("<external anchor='{n}'/>"))
            .collect()
    };
    let listed = |n: usize| {
        with_content(&format!(
            "<list>{}<external anchor='0'/></list>",
            anchors(n)
        ))
    };
    let named = |n: usize| {
        with_conditions(&format!(
            "<x:external-list>{}</x:external-list>",
            anchors(n)
        ))
    };
    for document in [&listed as &dyn Fn(usize) -> String, &named] {
        let max = crate::group::MAX_EXTERNAL_LISTS;
        assert_eq!(group(&document(max)).awaited_anchors().count(), max);
        assert_eq!(error(&document(max + 1)), TooManyExternalLists);
    }

    let ones = |n: usize| {
        with_conditions(&format!(
            "<cr:identity>{}</cr:identity>",
            "<cr:one id='a:b'/>".repeat(n)
        ))
    };
    // The rule and the condition are parts too.
    assert!(Group::parse(ones(MAX_RULE_PARTS - 2).as_bytes()).is_ok());
    assert_eq!(error(&ones(MAX_RULE_PARTS - 1)), TooManyRuleParts);

    let groups = |n: usize| with_content(&"</list-service><list-service uri='a:b'>".repeat(n - 1));
    assert_eq!(
        Group::parse(groups(MAX_GROUPS).as_bytes()).unwrap().len(),
        MAX_GROUPS
    );
    assert_eq!(error(&groups(MAX_GROUPS + 1)), TooManyGroups);

    let nested = |n: usize| with_content(&("<list>".repeat(n) + &"</list>".repeat(n)));
    assert!(Group::parse(nested(MAX_DEPTH - 2).as_bytes()).is_ok());
    assert_eq!(error(&nested(MAX_DEPTH - 1)), Xml(XmlError::TooDeep));
    assert_eq!(
        error(&" ".repeat(MAX_DOCUMENT_BYTES + 1)),
        Xml(XmlError::TooLarge)
    );
}

#[test]
fn an_entity_bomb_is_refused_at_its_first_line() {
    let mut bomb = String::from("<!DOCTYPE group [<!ENTITY a0 \"lol\">");
    for level in 1..1000 {
        let entities = format!("&a{};", level - 1).repeat(10);
        bomb.push_str(&format!("<!ENTITY a{level} \"{entities}\">"));
    }
    bomb.push_str(&format!(
        "]>{}",
        with_content("<display-name>&a999;</display-name>")
    ));
    assert_eq!(error(&bomb), Xml(XmlError::DocumentType));
}

#[test]
fn fetched_lists() {
    let read = |document: &str| {
        let list = MemberList::parse(document.as_bytes())?;
        let members: Vec<_> = list.members().map(|m| m.uri.to_owned()).collect();
        Ok((
            members,
            list.anchors().map(str::to_owned).collect::<Vec<_>>(),
        ))
    };
    let expected = Ok((
        vec!["a:1".to_owned(), "a:2".to_owned()],
        vec!["e:1".to_owned()],
    ));
    let content = "<entry uri='a:1'/><list><entry uri='a:2'/></list><external anchor='e:1'/>";
    for document in [
        format!("<resource-lists xmlns='{RESOURCE_LISTS}'><list>{content}</list></resource-lists>"),
        format!("<list xmlns='{RESOURCE_LISTS}'>{content}</list>"),
        format!("<list name='cut-out'>{content}</list>"),
        format!("<rl:list>{content}</rl:list>"),
    ] {
        assert_eq!(read(&document), expected, "{document}");
    }
    assert_eq!(read(EXAMPLE), Err(NotAList));
    assert_eq!(read("<entry uri='a:1'/>"), Err(NotAList));
    assert_eq!(read("<list xmlns='urn:other'/>"), Err(NotAList));
    assert_eq!(
        read("<list><entry-ref ref='x'/></list>"),
        Err(EntryReference)
    );
    assert_eq!(read("<list><x/></list>"), Ok((vec![], vec![])));
    let unknown = format!("<list xmlns='{RESOURCE_LISTS}'><x/></list>");
    assert_eq!(read(&unknown), Err(UnexpectedElement));
}

#[test]
fn mutated_documents() {
    const PIECES: [&str; 16] = [
        "<", ">", "&", "\"", "'", "/", "=", ":", " ", "\0", "<list>", "</list>", "<!--", "&#x",
        "xmlns=''", "\u{e9}",
    ];
    let mut random = fastrand::Rng::with_seed(1);
    let stranger = [Uri::parse("sip:stranger@example.org").unwrap()];
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
        let Ok(groups) = Group::parse(&document) else {
            continue;
        };
        parsed += 1;
        assert!(!groups.is_empty());
        for group in groups {
            assert!(group.members().all(|member| !member.uri.is_empty()));
            assert!(group.awaited_anchors().all(|anchor| !anchor.is_empty()));
            let now = std::time::UNIX_EPOCH;
            let allowed = group.permissions(&stranger, crate::group::Medium::PagerMode, now);
            let rules = group.ruleset.map_or(0, |ruleset| ruleset.rules.len());
            assert!(rules > 0 || !allowed.may_send);
        }
    }
    assert!(parsed > 500, "{parsed}");
}
