use super::date_time::parse_date_time;
use super::external_lists::ListSet;
use super::rules::{self, Condition, Exception, Identity, Interval, MediaList, MediaSet, Rule};
use super::supported_services::names_cpm;
use super::{
    Group, GroupDocumentError, MAX_ANCHOR_BYTES, MAX_MEMBER_URI_BYTES, MAX_MEMBERS, MAX_RULE_PARTS,
    MemberList,
};
use crate::sip::Uri;
use crate::xml::{self, Attributes, Name, Visitor};

/// Elements inside each other. The deepest that means something is 8; the rest is room for lists inside
/// lists and for extensions.
pub const MAX_DEPTH: usize = 32;

/// Length of one document: room for `MAX_MEMBERS` entries of usual length.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Groups of one document. OMA XDM Group has one document for each group, the schema allows more.
pub const MAX_GROUPS: usize = 64;

/// The namespaces of RFC 4826 and RFC 4745. Those of OMA have [`OMA_NAMESPACES`] in front.
const RESOURCE_LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";
const COMMON_POLICY: &str = "urn:ietf:params:xml:ns:common-policy";

/// `urn:oma:xml:poc:list-service` (the group), `urn:oma:xml:xdm:extensions` and `urn:oma:xml:xdm:group`
/// (supported services), `urn:oma:xml:xdm:common-policy` and `urn:oma:xml:prs:pres-rules` (conditions),
/// and their names in drafts such as `urn:oma:params:xml:ns:list-service`.
const OMA_NAMESPACES: &str = "urn:oma:";

/// A name that ends the namespaces in which lists are written, whatever the release.
const LIST_SERVICE: &str = ":list-service";

pub(super) fn parse_groups(document: &[u8]) -> Result<Vec<Group>, GroupDocumentError> {
    let parser = parse(Root::Group, document)?;
    if parser.groups.is_empty() {
        return Err(GroupDocumentError::NoListService);
    }
    Ok(parser.groups)
}

pub(super) fn parse_list(document: &[u8]) -> Result<MemberList, GroupDocumentError> {
    Ok(parse(Root::List, document)?.group.list)
}

fn parse(root: Root, document: &[u8]) -> Result<Parser, GroupDocumentError> {
    let limits = xml::Limits {
        depth: MAX_DEPTH,
        document_bytes: MAX_DOCUMENT_BYTES,
        fragment: root == Root::List,
    };
    let mut parser = Parser {
        root,
        open: Vec::new(),
        text: String::new(),
        groups: Vec::new(),
        group: Group::default(),
        rule: Rule::default(),
        validity_from: None,
        entries: 0,
        rule_parts: 0,
    };
    xml::scan(limits, document, &mut parser)?;
    Ok(parser)
}

/// What the document is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Group,
    List,
}

/// An open element, as far as this parser cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Group,
    ListService,
    GroupName,
    MaxParticipants,
    ResourceLists,
    List,
    Entry,
    EntryName,
    SupportedServices,
    Service,
    /// A child of a service whose text can say which service that is.
    ServiceName,
    Ruleset,
    Rule,
    Conditions,
    Identity,
    One,
    Many,
    Except,
    IsListMember,
    ExternalList,
    MediaList,
    AllMediaExcept,
    Validity,
    From,
    Until,
    Actions,
    AllowInitiateConference,
    AllowAnonymity,
    /// Skipped with all that is in it.
    Ignored,
}

impl Element {
    /// Whether its text means something.
    fn has_text(self) -> bool {
        use Element::*;
        matches!(
            self,
            GroupName
                | MaxParticipants
                | EntryName
                | Service
                | ServiceName
                | IsListMember
                | From
                | Until
                | AllowInitiateConference
                | AllowAnonymity
        )
    }
}

struct Parser {
    root: Root,
    open: Vec<Element>,
    /// Of the innermost open element that has text.
    text: String,
    groups: Vec<Group>,
    /// The open group, and the open rule of its.
    group: Group,
    rule: Rule,
    /// The `from` that waits for its `until`.
    validity_from: Option<i64>,
    entries: usize,
    rule_parts: usize,
}

impl Visitor for Parser {
    type Error = GroupDocumentError;

    fn start(
        &mut self,
        name: Name<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<(), GroupDocumentError> {
        let element = match self.open.last() {
            Some(Element::Ignored) => Element::Ignored,
            None if !self.is_known(name.namespace) => return Err(self.wrong_root()),
            None => self.root(name.local)?,
            Some(&parent) if self.is_known(name.namespace) => {
                self.child(parent, name, attributes)?
            }
            Some(&parent) => self.unknown(parent)?,
        };
        if element.has_text() {
            self.text.clear();
        }
        self.open.push(element);
        Ok(())
    }

    fn text(&mut self, text: &str) {
        if self.open.last().is_some_and(|element| element.has_text()) {
            self.text.push_str(text);
        }
    }

    fn end(&mut self) -> Result<(), GroupDocumentError> {
        let text = self.text.trim_ascii();
        match self.open.pop() {
            Some(Element::ListService) => return self.end_group(),
            Some(Element::Rule) => {
                let rules = &mut self.group.ruleset.get_or_insert_default().rules;
                rules.push(std::mem::take(&mut self.rule));
            }
            Some(Element::GroupName) => {
                let name = &mut self.group.display_name;
                name.get_or_insert_with(|| self.text.clone());
            }
            Some(Element::EntryName) => self.group.list.name_last_entry(&self.text),
            Some(Element::MaxParticipants) => {
                let count = text.parse();
                let count = count.map_err(|_| GroupDocumentError::InvalidParticipantCount)?;
                self.group.max_participants = Some(count);
            }
            Some(Element::Service | Element::ServiceName) => {
                self.group.supports_cpm |= names_cpm(text);
                self.text.clear();
            }
            // An empty element by the schema, a boolean in the wild.
            Some(Element::IsListMember) if !text.is_empty() && !is_true(text) => {
                self.replace_condition(Condition::Never);
            }
            Some(Element::From) => {
                let from = parse_date_time(text);
                if from.is_none() || self.validity_from.is_some() {
                    self.replace_condition(Condition::Never);
                }
                self.validity_from = from;
            }
            Some(Element::Until) => {
                let interval = self.validity_from.take().zip(parse_date_time(text));
                match (interval, self.rule.conditions.last_mut()) {
                    (Some((from, until)), Some(Condition::Validity(intervals))) => {
                        intervals.push(Interval { from, until });
                    }
                    _ => self.replace_condition(Condition::Never),
                }
            }
            Some(Element::Validity) if self.validity_from.is_some() => {
                self.replace_condition(Condition::Never);
            }
            Some(Element::AllowInitiateConference) => {
                self.rule.grants.may_send |= is_true(text);
            }
            Some(Element::AllowAnonymity) => {
                self.rule.grants.anonymity_allowed |= is_true(text);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Parser {
    fn is_known(&self, namespace: &str) -> bool {
        matches!(namespace, RESOURCE_LISTS | COMMON_POLICY)
            || namespace.starts_with(OMA_NAMESPACES)
            // What XCAP cuts out of a document can lack its declarations.
            || (namespace.is_empty() && self.root == Root::List)
    }

    fn wrong_root(&self) -> GroupDocumentError {
        match self.root {
            Root::Group => GroupDocumentError::NotAGroup,
            Root::List => GroupDocumentError::NotAList,
        }
    }

    fn root(&self, local: &str) -> Result<Element, GroupDocumentError> {
        match (self.root, local) {
            (Root::Group, "group") => Ok(Element::Group),
            (Root::List, "resource-lists") => Ok(Element::ResourceLists),
            (Root::List, "list") => Ok(Element::List),
            _ => Err(self.wrong_root()),
        }
    }

    /// What an element of a known namespace is in this place.
    fn child(
        &mut self,
        parent: Element,
        name: Name<'_>,
        attributes: &Attributes<'_>,
    ) -> Result<Element, GroupDocumentError> {
        use Element::*;
        Ok(match (parent, name.local) {
            (Group, "list-service") => {
                self.start_group(attributes)?;
                ListService
            }
            (ListService, "display-name") => GroupName,
            (ListService | ResourceLists | List, "list") => List,
            (ListService, "max-participant-count") => MaxParticipants,
            (ListService, "supported-services") => SupportedServices,
            (ListService, "ruleset") => {
                self.group.ruleset.get_or_insert_default();
                Ruleset
            }

            (List, "entry") => {
                self.start_entry(attributes)?;
                Entry
            }
            (List, "external") => {
                let anchor = anchor(attributes.get("anchor"))?;
                self.group.list.add_anchor(anchor)?;
                Ignored
            }
            (List, "entry-ref") => return Err(GroupDocumentError::EntryReference),
            (List, "display-name") => Ignored,
            (List | ResourceLists, _)
                if name.namespace == RESOURCE_LISTS || name.namespace.ends_with(LIST_SERVICE) =>
            {
                return Err(GroupDocumentError::UnexpectedElement);
            }
            (Entry, "display-name") => EntryName,
            // A member that would be lost without a word.
            (Entry | EntryName, "entry" | "external" | "entry-ref" | "list") => {
                return Err(GroupDocumentError::UnexpectedElement);
            }

            (SupportedServices, "service") => {
                let enabler = attributes.get("enabler").unwrap_or_default();
                self.group.supports_cpm |= names_cpm(enabler);
                Service
            }
            (Service, "group-media") => Ignored,
            (Service, _) => ServiceName,

            (Ruleset, "rule") => {
                self.count_rule_part()?;
                self.rule = rules::Rule::default();
                Rule
            }
            (Rule, "conditions") => Conditions,
            (Rule, "actions") => Actions,
            (Actions, "allow-initiate-conference") => AllowInitiateConference,
            (Actions, "allow-anonymity") => AllowAnonymity,

            (Conditions, "identity") => {
                self.condition(Condition::Identity(Vec::new()), Identity)?
            }
            (Conditions, "is-list-member") => {
                self.condition(Condition::IsListMember, IsListMember)?
            }
            (Conditions, "external-list") => {
                self.condition(Condition::ExternalList(ListSet::default()), ExternalList)?
            }
            (Conditions, "other-identity") => self.condition(Condition::OtherIdentity, Ignored)?,
            (Conditions, "media-list") => {
                self.condition(Condition::MediaList(rules::MediaList::default()), MediaList)?
            }
            (Conditions, "validity") => {
                self.validity_from = None;
                self.condition(Condition::Validity(Vec::new()), Validity)?
            }
            (Identity | Many, "one" | "many" | "except") => {
                self.identity(parent, name.local, attributes)?
            }
            (ExternalList, "entry" | "external") => {
                // OMA common policy names the attribute anc, RFC 4826 anchor.
                let anchor = anchor(attributes.get("anc").or_else(|| attributes.get("anchor")))?;
                let list = self.group.external_lists.refer(anchor);
                let list = list.ok_or(GroupDocumentError::TooManyExternalLists)?;
                if let Some(Condition::ExternalList(lists)) = self.rule.conditions.last_mut() {
                    *lists = *lists | list;
                }
                Ignored
            }
            (MediaList, "all-media-except") => {
                if let Some(media) = self.media_list() {
                    media.all_except.get_or_insert_default();
                }
                AllMediaExcept
            }
            (MediaList | AllMediaExcept, "pager-mode-message") => {
                if let Some(media) = self.media_set(parent) {
                    media.pager_mode = true;
                }
                Ignored
            }
            (MediaList | AllMediaExcept, "message-session") => {
                if let Some(media) = self.media_set(parent) {
                    media.large_message_mode = true;
                }
                Ignored
            }
            (Validity, "from") => From,
            (Validity, "until") => Until,

            _ => self.unknown(parent)?,
        })
    }

    /// An element that means nothing here. In a condition it means that the condition is not understood.
    fn unknown(&mut self, parent: Element) -> Result<Element, GroupDocumentError> {
        match parent {
            Element::Conditions => {
                return self.condition(Condition::Never, Element::Ignored);
            }
            Element::One | Element::Many | Element::Except => self.replace_identity(),
            Element::Validity | Element::IsListMember | Element::From | Element::Until => {
                self.replace_condition(Condition::Never);
            }
            _ => {}
        }
        Ok(Element::Ignored)
    }

    fn start_group(&mut self, attributes: &Attributes<'_>) -> Result<(), GroupDocumentError> {
        if self.groups.len() == MAX_GROUPS {
            return Err(GroupDocumentError::TooManyGroups);
        }
        self.group = Group {
            uri: member_uri(attributes)?.to_owned(),
            ..Group::default()
        };
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), GroupDocumentError> {
        let group = &mut self.group;
        for anchor in group.list.anchors() {
            let list = group.external_lists.refer(anchor);
            let list = list.ok_or(GroupDocumentError::TooManyExternalLists)?;
            group.external_lists.mark_listed(list);
        }
        self.groups.push(std::mem::take(group));
        Ok(())
    }

    fn start_entry(&mut self, attributes: &Attributes<'_>) -> Result<(), GroupDocumentError> {
        if self.entries == MAX_MEMBERS {
            return Err(GroupDocumentError::TooManyMembers);
        }
        self.entries += 1;
        self.group.list.add_entry(member_uri(attributes)?);
        Ok(())
    }

    fn count_rule_part(&mut self) -> Result<(), GroupDocumentError> {
        if self.rule_parts == MAX_RULE_PARTS {
            return Err(GroupDocumentError::TooManyRuleParts);
        }
        self.rule_parts += 1;
        Ok(())
    }

    /// Adds a condition, whose element it gives back.
    fn condition(
        &mut self,
        condition: Condition,
        element: Element,
    ) -> Result<Element, GroupDocumentError> {
        self.count_rule_part()?;
        self.rule.conditions.push(condition);
        Ok(element)
    }

    /// Replaces the open condition, the last of its rule.
    fn replace_condition(&mut self, condition: Condition) {
        if let Some(last) = self.rule.conditions.last_mut() {
            *last = condition;
        }
    }

    /// A part of an identity condition (RFC 4745 §7).
    fn identity(
        &mut self,
        parent: Element,
        local: &str,
        attributes: &Attributes<'_>,
    ) -> Result<Element, GroupDocumentError> {
        self.count_rule_part()?;
        let (id, domain) = (attributes.get("id"), attributes.get("domain"));
        let Some(Condition::Identity(identities)) = self.rule.conditions.last_mut() else {
            return Ok(Element::Ignored);
        };
        match (parent, local) {
            (Element::Identity, "one") => {
                identities.push(id.map_or(Identity::Nobody, |id| Identity::One(trimmed(id))));
                Ok(Element::One)
            }
            (Element::Identity, "many") => {
                identities.push(Identity::Many {
                    domain: domain.map(trimmed),
                    exceptions: Vec::new(),
                });
                Ok(Element::Many)
            }
            (Element::Many, "except") => {
                let id = id.map(trimmed);
                // Nobody can tell who it is that is excepted.
                if id
                    .as_deref()
                    .map_or(domain.is_none(), |id| Uri::parse(id).is_err())
                {
                    self.replace_identity();
                } else if let Some(Identity::Many { exceptions, .. }) = identities.last_mut() {
                    exceptions.extend(id.map(Exception::Id));
                    exceptions.extend(domain.map(trimmed).map(Exception::Domain));
                }
                Ok(Element::Except)
            }
            _ => self.unknown(parent),
        }
    }

    /// Makes the open part of an identity condition one that is not understood.
    fn replace_identity(&mut self) {
        if let Some(Condition::Identity(identities)) = self.rule.conditions.last_mut()
            && let Some(last) = identities.last_mut()
        {
            *last = Identity::Nobody;
        }
    }

    fn media_list(&mut self) -> Option<&mut MediaList> {
        match self.rule.conditions.last_mut() {
            Some(Condition::MediaList(media)) => Some(media),
            _ => None,
        }
    }

    fn media_set(&mut self, parent: Element) -> Option<&mut MediaSet> {
        let media = self.media_list()?;
        match parent {
            Element::AllMediaExcept => media.all_except.as_mut(),
            _ => Some(&mut media.listed),
        }
    }
}

fn member_uri<'a>(attributes: &Attributes<'a>) -> Result<&'a str, GroupDocumentError> {
    match attributes.get("uri").map(str::trim_ascii) {
        None | Some("") => Err(GroupDocumentError::MissingUri),
        Some(uri) if uri.len() > MAX_MEMBER_URI_BYTES => Err(GroupDocumentError::UriTooLong),
        Some(uri) => Ok(uri),
    }
}

fn anchor(attribute: Option<&str>) -> Result<&str, GroupDocumentError> {
    match attribute.map(str::trim_ascii) {
        None | Some("") => Err(GroupDocumentError::MissingAnchor),
        Some(anchor) if anchor.len() > MAX_ANCHOR_BYTES => Err(GroupDocumentError::UriTooLong),
        Some(anchor) => Ok(anchor),
    }
}

fn trimmed(text: &str) -> String {
    text.trim_ascii().to_owned()
}

fn is_true(text: &str) -> bool {
    matches!(text, "true" | "1")
}

#[cfg(test)]
mod tests {
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
        let mut groups = parse_groups(document.as_bytes()).unwrap();
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
        parse_groups(document.as_bytes()).unwrap_err()
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
        let groups = parse_groups(with_content(content).as_bytes()).unwrap();
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

        let uri =
            |n: usize| with_content(&format!("<list><entry uri='{}'/></list>", "a".repeat(n)));
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
        assert!(parse_groups(ones(MAX_RULE_PARTS - 2).as_bytes()).is_ok());
        assert_eq!(error(&ones(MAX_RULE_PARTS - 1)), TooManyRuleParts);

        let groups =
            |n: usize| with_content(&"</list-service><list-service uri='a:b'>".repeat(n - 1));
        assert_eq!(
            parse_groups(groups(MAX_GROUPS).as_bytes()).unwrap().len(),
            MAX_GROUPS
        );
        assert_eq!(error(&groups(MAX_GROUPS + 1)), TooManyGroups);

        let nested = |n: usize| with_content(&("<list>".repeat(n) + &"</list>".repeat(n)));
        assert!(parse_groups(nested(MAX_DEPTH - 2).as_bytes()).is_ok());
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
            format!(
                "<resource-lists xmlns='{RESOURCE_LISTS}'><list>{content}</list></resource-lists>"
            ),
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
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = move |below: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % below as u64) as usize
        };
        let stranger = [Uri::parse("sip:stranger@example.org").unwrap()];
        let mut parsed = 0;
        for _ in 0..10_000 {
            let mut document = EXAMPLE.as_bytes().to_vec();
            for _ in 0..1 + next(3) {
                let at = next(document.len());
                let end = (at + next(12)).min(document.len());
                match next(4) {
                    0 => document[at] ^= 1 << next(8),
                    1 => drop(document.drain(at..end)),
                    2 => drop(document.splice(at..at, PIECES[next(16)].bytes())),
                    _ => document.truncate(document.len() - next(3)),
                }
            }
            let Ok(groups) = parse_groups(&document) else {
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
}
