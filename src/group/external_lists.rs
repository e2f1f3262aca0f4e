use super::error::ExternalListError;
use super::list_set::{ListSet, MAX_EXTERNAL_LISTS};
use super::member_list::{Member, MemberList};
use crate::sip::Uri;

/// Maximum depth of a reference: a list of the document is 1, a list that such a list refers to is
/// 2.
pub const MAX_EXTERNAL_DEPTH: usize = 3;

/// The external lists of a group, fetched or not. Each anchor has one entry, however many lists and
/// rules refer to it.
#[derive(Debug, Clone, Default)]
pub(super) struct ExternalLists {
    lists: Vec<ExternalList>,
    /// Lists that the document's lists refer to.
    listed: ListSet,
}

#[derive(Debug, Clone)]
struct ExternalList {
    anchor: String,
    /// Depth of the reference that was seen first.
    depth: usize,
    list: Option<MemberList>,
    /// The lists that this one refers to.
    nested: ListSet,
}

impl ExternalLists {
    /// The entry of an anchor that the document itself names; `None` if there are too many.
    pub(super) fn refer(&mut self, anchor: &str) -> Option<ListSet> {
        let known = self.lists.iter().position(|list| list.anchor == anchor);
        known.or_else(|| self.push(anchor, 1)).map(ListSet::of)
    }

    /// Makes lists part of the members.
    pub(super) fn mark_listed(&mut self, lists: ListSet) {
        self.listed = self.listed | lists;
    }

    pub(super) fn awaited(&self) -> impl Iterator<Item = &str> {
        let awaited = self.lists.iter().filter(|list| list.list.is_none());
        awaited.map(|list| list.anchor.as_str())
    }

    pub(super) fn add(
        &mut self,
        anchor: &str,
        list: MemberList,
        room_for_members: usize,
    ) -> Result<(), ExternalListError> {
        let place = self
            .lists
            .iter()
            .position(|known| known.anchor == anchor && known.list.is_none())
            .ok_or(ExternalListError::NotAwaited)?;
        if list.len() > room_for_members {
            return Err(ExternalListError::TooManyMembers);
        }
        let depth = self.lists[place].depth + 1;
        let is_new = |anchor: &&str| !self.lists.iter().any(|known| known.anchor == *anchor);
        let new = list.anchors().filter(is_new).count();
        if new > 0 && depth > MAX_EXTERNAL_DEPTH {
            return Err(ExternalListError::TooDeep);
        }
        if self.lists.len() + new > MAX_EXTERNAL_LISTS {
            return Err(ExternalListError::TooManyExternalLists);
        }
        let mut nested = ListSet::default();
        for anchor in list.anchors() {
            let known = self.lists.iter().position(|known| known.anchor == anchor);
            if let Some(place) = known.or_else(|| self.push(anchor, depth)) {
                nested = nested | ListSet::of(place);
            }
        }
        self.lists[place].nested = nested;
        self.lists[place].list = Some(list);
        Ok(())
    }

    pub(super) fn member_count(&self) -> usize {
        self.lists
            .iter()
            .flat_map(|list| &list.list)
            .map(MemberList::len)
            .sum()
    }

    /// The members of all lists that are reachable from the document's lists.
    pub(super) fn listed_members(&self) -> impl Iterator<Item = Member<'_>> + Clone {
        let listed = self.reachable(self.listed);
        self.lists
            .iter()
            .enumerate()
            .filter(move |(place, _)| listed.has(*place))
            .flat_map(|(_, list)| &list.list)
            .flat_map(MemberList::members)
    }

    /// The lists that name one of the identities themselves.
    pub(super) fn naming(&self, identities: &[Uri<'_>]) -> ListSet {
        let names =
            |list: &ExternalList| list.list.as_ref().is_some_and(|l| l.names_any(identities));
        self.lists
            .iter()
            .enumerate()
            .filter(|(_, list)| names(list))
            .fold(ListSet::default(), |set, (place, _)| {
                set | ListSet::of(place)
            })
    }

    /// These lists, and all that lead to one of them.
    pub(super) fn leading_to(&self, lists: ListSet) -> ListSet {
        self.grown(lists, |set, place, list| match list.nested.meets(set) {
            true => ListSet::of(place),
            false => ListSet::default(),
        })
    }

    /// Whether one of these lists, as returned by [`Self::leading_to`], is part of the members.
    pub(super) fn any_listed_in(&self, leading: ListSet) -> bool {
        self.listed.meets(leading)
    }

    /// These lists and all lists reachable from them, whatever the references.
    fn reachable(&self, lists: ListSet) -> ListSet {
        self.grown(lists, |set, place, list| match set.has(place) {
            true => list.nested,
            false => ListSet::default(),
        })
    }

    /// The set extended by the results of `more` for each list, until nothing new is found.
    fn grown(
        &self,
        lists: ListSet,
        more: impl Fn(ListSet, usize, &ExternalList) -> ListSet,
    ) -> ListSet {
        let mut set = lists;
        // Each round except the last adds at least one list.
        loop {
            let lists = self.lists.iter().enumerate();
            let next = lists.fold(set, |set, (place, list)| set | more(set, place, list));
            if next == set {
                return set;
            }
            set = next;
        }
    }

    fn push(&mut self, anchor: &str, depth: usize) -> Option<usize> {
        if self.lists.len() == MAX_EXTERNAL_LISTS {
            return None;
        }
        self.lists.push(ExternalList {
            anchor: anchor.to_owned(),
            depth,
            list: None,
            nested: ListSet::default(),
        });
        Some(self.lists.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::group::{Group, MAX_MEMBERS, Medium};

    fn group(list: &str) -> Group {
        let document = format!(
            "<group xmlns='urn:oma:xml:poc:list-service'><list-service uri='sip:g@example.com'>\
             <list>{list}</list></list-service></group>"
        );
        Group::parse(document.as_bytes()).unwrap().remove(0)
    }

    fn list(content: &str) -> MemberList {
        MemberList::parse(format!("<list>{content}</list>").as_bytes()).unwrap()
    }

    fn members(group: &Group) -> Vec<&str> {
        group.members().map(|member| member.uri).collect()
    }

    fn awaited(group: &Group) -> Vec<&str> {
        group.awaited_anchors().collect()
    }

    #[test]
    fn members_of_external_lists_are_members() {
        let mut group =
            group("<external anchor='a'/><entry uri='sip:1@x.y'/><external anchor='b'/>");
        assert_eq!(members(&group), ["sip:1@x.y"]);
        assert_eq!(awaited(&group), ["a", "b"]);
        let b = list(
            "<entry uri='sip:2@x.y'><display-name>Two</display-name></entry><external anchor='c'/>",
        );
        group.add_external_list("b", b).unwrap();
        assert_eq!(awaited(&group), ["a", "c"]);
        group
            .add_external_list("c", list("<entry uri='sip:3@x.y'/>"))
            .unwrap();
        let a = list("<entry uri='sip:1@x.y'/><external anchor='c'/>");
        group.add_external_list("a", a).unwrap();
        assert!(awaited(&group).is_empty());
        // List c appears once, although two lists refer to it.
        assert_eq!(
            members(&group),
            ["sip:1@x.y", "sip:1@x.y", "sip:2@x.y", "sip:3@x.y"]
        );
        let two = group.members().nth(2).unwrap();
        assert_eq!(two.display_name, Some("Two"));

        let may_send = |uri| {
            let originator = [Uri::parse(uri).unwrap()];
            group
                .permissions(&originator, Medium::PagerMode, UNIX_EPOCH)
                .may_send
        };
        assert!(may_send("sip:3@X.Y"));
        assert!(!may_send("sip:4@x.y"));
    }

    #[test]
    fn lists_that_lead_to_each_other_end() {
        let mut group = group("<external anchor='a'/>");
        let a = list("<entry uri='a:1'/><external anchor='a'/><external anchor='b'/>");
        group.add_external_list("a", a).unwrap();
        assert_eq!(awaited(&group), ["b"]);
        let b = list("<external anchor='a'/><entry uri='a:2'/>");
        group.add_external_list("b", b).unwrap();
        assert!(awaited(&group).is_empty());
        assert_eq!(members(&group), ["a:1", "a:2"]);
    }

    #[test]
    fn lists_that_nobody_waits_for() {
        let mut group = group("<external anchor='a'/>");
        let unknown = group.add_external_list("b", list("<entry uri='a:1'/>"));
        assert_eq!(unknown, Err(ExternalListError::NotAwaited));
        group.add_external_list("a", list("")).unwrap();
        let again = group.add_external_list("a", list("<entry uri='a:1'/>"));
        assert_eq!(again, Err(ExternalListError::NotAwaited));
        assert!(members(&group).is_empty());
    }

    #[test]
    fn depth() {
        let mut group = group("<external anchor='1'/>");
        for depth in 1..MAX_EXTERNAL_DEPTH {
            let next = list(&format!("<external anchor='{}'/>", depth + 1));
            group.add_external_list(&depth.to_string(), next).unwrap();
        }
        let last = MAX_EXTERNAL_DEPTH.to_string();
        let deeper = list("<entry uri='a:1'/><external anchor='deeper'/>");
        let refused = group.add_external_list(&last, deeper);
        assert_eq!(refused, Err(ExternalListError::TooDeep));
        assert_eq!(awaited(&group), [last.as_str()]);
        // A list that is already known adds no depth.
        let back = list("<entry uri='a:1'/><external anchor='1'/>");
        group.add_external_list(&last, back).unwrap();
        assert_eq!(members(&group), ["a:1"]);
    }

    #[test]
    fn numbers() {
        let anchors = |from: usize, to: usize| -> String {
            (from..to)
                .map(|n| format!("<external anchor='{n}'/>"))
                .collect()
        };
        let mut full = group(&anchors(0, MAX_EXTERNAL_LISTS));
        let one_more = list("<external anchor='more'/><external anchor='1'/>");
        let refused = full.add_external_list("0", one_more);
        assert_eq!(refused, Err(ExternalListError::TooManyExternalLists));
        full.add_external_list("0", list("<external anchor='1'/>"))
            .unwrap();

        let mut group = group("<entry uri='a:1'/><external anchor='a'/><external anchor='b'/>");
        let entries = |count: usize| list(&"<entry uri='a:1'/>".repeat(count));
        let refused = group.add_external_list("a", entries(MAX_MEMBERS));
        assert_eq!(refused, Err(ExternalListError::TooManyMembers));
        group
            .add_external_list("a", entries(MAX_MEMBERS - 2))
            .unwrap();
        let refused = group.add_external_list("b", entries(2));
        assert_eq!(refused, Err(ExternalListError::TooManyMembers));
        group.add_external_list("b", entries(1)).unwrap();
        assert_eq!(group.members().count(), MAX_MEMBERS);
    }
}
