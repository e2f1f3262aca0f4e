//! Documents of pre-defined groups as an XDMS keeps them (OMA XDM Group; RFC 4826, RFC 4745).

use std::fmt::Write as _;

use crate::cpm_message::escaped;

/// The rule of most groups: members may send, under their names.
pub const MEMBERS_MAY_SEND: &str = "<cp:rule id=\"members\">
  <cp:conditions><oxe:is-list-member/></cp:conditions>
  <cp:actions><allow-initiate-conference>true</allow-initiate-conference></cp:actions>
</cp:rule>";

/// What a document says that its group is for.
pub const FOR_CPM: &str = "<oxe:service enabler=\"urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg\"/>";

/// The document of the group with this address: for CPM, [`MEMBERS_MAY_SEND`], nobody in it yet.
pub fn group_document(uri: &str) -> GroupDocument {
    GroupDocument {
        uri: uri.to_owned(),
        list: String::new(),
        services: FOR_CPM.to_owned(),
        rules: MEMBERS_MAY_SEND.to_owned(),
    }
}

/// A group document in the making; [`xml`](Self::xml) gives its text.
#[derive(Debug, Clone)]
pub struct GroupDocument {
    uri: String,
    list: String,
    services: String,
    rules: String,
}

impl GroupDocument {
    /// With these members behind those that are there.
    pub fn members<M: AsRef<str>>(mut self, uris: impl IntoIterator<Item = M>) -> Self {
        for uri in uris {
            // Writing into a String cannot fail.
            let _ = writeln!(self.list, "  <rl:entry uri=\"{}\"/>", escaped(uri.as_ref()));
        }
        self
    }

    /// With a list that is kept elsewhere, in the place of its members.
    pub fn external(mut self, anchor: &str) -> Self {
        let _ = writeln!(self.list, "  <rl:external anchor=\"{}\"/>", escaped(anchor));
        self
    }

    /// Rules in place of [`MEMBERS_MAY_SEND`]; prefixes are `cp` (common-policy), `ocp` (OMA's
    /// conditions) and `oxe` (its extensions), OMA's actions have none.
    pub fn rules(mut self, rules: &str) -> Self {
        self.rules = rules.to_owned();
        self
    }

    /// Other supported services than [`FOR_CPM`].
    pub fn services(mut self, services: &str) -> Self {
        self.services = services.to_owned();
        self
    }

    /// The document.
    pub fn xml(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<group xmlns=\"urn:oma:xml:poc:list-service\"
  xmlns:rl=\"urn:ietf:params:xml:ns:resource-lists\"
  xmlns:cp=\"urn:ietf:params:xml:ns:common-policy\"
  xmlns:ocp=\"urn:oma:xml:xdm:common-policy\"
  xmlns:oxe=\"urn:oma:xml:xdm:extensions\">
<list-service uri=\"{}\">
<list>
{}</list>
<oxe:supported-services>{}</oxe:supported-services>
<cp:ruleset>
{}
</cp:ruleset>
</list-service>
</group>
",
            escaped(&self.uri),
            self.list,
            self.services,
            self.rules
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_says_what_it_was_told() {
        let xml = group_document("sip:g@x")
            .members(["sip:a@x?b&c"])
            .external("http://x/y")
            .services("")
            .rules("<cp:rule id=\"r\"/>")
            .xml();
        for part in [
            "<list-service uri=\"sip:g@x\">",
            "<rl:entry uri=\"sip:a@x?b&amp;c\"/>\n  <rl:external anchor=\"http://x/y\"/>",
            "<oxe:supported-services></oxe:supported-services>",
            "<cp:ruleset>\n<cp:rule id=\"r\"/>\n",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }
}
