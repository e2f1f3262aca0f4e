//! Reads group documents and lists (OMA XDM Group, RFC 4826, RFC 4745).

use super::date_time::parse_date_time;
use super::error::GroupDocumentError;
use super::list_set::ListSet;
use super::member_list::{MAX_ANCHOR_BYTES, MAX_MEMBER_URI_BYTES, MAX_MEMBERS, MemberList};
use super::pre_defined::Group;
use super::rules::{
    self, Condition, Exception, Identity, Interval, MAX_RULE_PARTS, MediaList, MediaSet, Rule,
};
use super::supported_services::names_cpm;
use crate::sip::Uri;
use crate::xml::{self, Attributes, Name, Visitor};

/// Maximum nesting of elements. The deepest meaningful one is at 8; the rest allows lists inside
/// lists, and extensions.
pub const MAX_DEPTH: usize = 32;

/// Maximum length of one document: enough for `MAX_MEMBERS` entries of usual length.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;

/// Maximum number of groups in one document. OMA XDM Group has one document for each group, the
/// schema allows more.
pub const MAX_GROUPS: usize = 64;

/// The namespaces of RFC 4826 and RFC 4745. Those of OMA begin with [`OMA_NAMESPACES`].
const RESOURCE_LISTS: &str = "urn:ietf:params:xml:ns:resource-lists";
const COMMON_POLICY: &str = "urn:ietf:params:xml:ns:common-policy";

/// `urn:oma:xml:poc:list-service` (the group), `urn:oma:xml:xdm:extensions` and
/// `urn:oma:xml:xdm:group` (supported services), `urn:oma:xml:xdm:common-policy` and
/// `urn:oma:xml:prs:pres-rules` (conditions), and their names in drafts such as
/// `urn:oma:params:xml:ns:list-service`.
const OMA_NAMESPACES: &str = "urn:oma:";

/// A name that ends the namespaces in which lists are written, in any release.
const LIST_SERVICE: &str = ":list-service";

impl Group {
    /// Parses a group document, which has one or more groups, in document order.
    ///
    /// The elements are those of OMA XDM Group, RFC 4826 and RFC 4745:
    /// - `list` with `entry`, `external` and nested lists; also several of them;
    /// - `max-participant-count`;
    /// - `supported-services` with `service` elements, identified by their `enabler` attribute,
    ///   their text or the text of a child; `group-media` is ignored;
    /// - `ruleset`, whose rules [`Self::permissions`] describes.
    ///
    /// `invite-members` and everything else that concerns sessions is ignored, and so is any
    /// element of another namespace with its content.
    ///
    /// The namespaces of these elements have changed between releases, and implementations confuse
    /// them. So an element is recognised by its local name if its namespace is that of RFC 4826 or
    /// RFC 4745 or any of OMA's (`urn:oma:…`).
    ///
    /// Takes linear time and no more memory than a small multiple of the document.
    ///
    /// # Errors
    ///
    /// Any [`GroupDocumentError`] except [`GroupDocumentError::NotAList`].
    pub fn parse(document: &[u8]) -> Result<Vec<Self>, GroupDocumentError> {
        let parser = read(Root::Group, document)?;
        if parser.groups.is_empty() {
            return Err(GroupDocumentError::NoListService);
        }
        Ok(parser.groups)
    }
}

impl MemberList {
    /// Parses the result of fetching an external reference: a resource-lists document, or only a
    /// `list` of one, as XCAP extracts it (RFC 4826, RFC 4825 §7.10).
    ///
    /// # Errors
    ///
    /// Any [`GroupDocumentError`] that does not concern groups.
    pub fn parse(document: &[u8]) -> Result<Self, GroupDocumentError> {
        Ok(read(Root::List, document)?.group.list)
    }
}

fn read(root: Root, document: &[u8]) -> Result<Parser, GroupDocumentError> {
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

/// The expected kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Root {
    Group,
    List,
}

/// An open element, as far as it matters to this parser.
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
    /// A child of a service whose text may name the service.
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
    /// Skipped with its content.
    Ignored,
}

impl Element {
    /// Whether its text is meaningful.
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
    /// Text of the innermost open element that has text.
    text: String,
    groups: Vec<Group>,
    /// The open group, and its open rule.
    group: Group,
    rule: Rule,
    /// A `from` that waits for its `until`.
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
            // An empty element in the schema, a boolean in practice.
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
            // An element that XCAP extracts from a document may lack its declarations.
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

    /// The meaning of an element of a known namespace in this position.
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
            // Otherwise a member would be lost silently.
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

    /// An element without meaning here. In a condition it makes the condition one that is not
    /// understood.
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

    /// Adds a condition, and returns its element.
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
                // It is unknown who is excepted.
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

    /// Marks the open part of an identity condition as not understood.
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
mod tests;
