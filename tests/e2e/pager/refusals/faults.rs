//! For each fault, a request with it and the response.

use super::*;

const LIST_FIELDS: &str =
    "Content-Type: application/resource-lists+xml\r\nContent-Disposition: recipient-list";

/// Forbids everything that can be forbidden.
pub(super) fn strict(config: ProxyConfig) -> ProxyConfig {
    config
        .set("cpm", "required_user_agent", "CPM-client/OMA2")
        .set("cpm", "allow_anonymity", "no")
        .set("cpm", "max_recipients", "3")
        .set("cpm", "require_ids", "yes")
}

pub(super) const VETO: &str = "event_route[cpm:authorize] {
    if (is_present_hf(\"X-Veto\")) drop;
}";

/// A request to be built, valid at first.
#[derive(Clone)]
pub(super) struct Draft {
    pub(super) service: &'static str,
    /// Header fields to replace or remove.
    pub(super) header_fields: Vec<(&'static str, Option<&'static str>)>,
    /// Additional lines of header fields.
    pub(super) repeated: Vec<(&'static str, &'static str)>,
    pub(super) list_fields: String,
    /// The resource list; `None`: the body has none.
    pub(super) list: Option<String>,
    /// Whether the body has parts besides the list.
    pub(super) message: bool,
    /// Final change of Content-Type and body.
    pub(super) reshape: fn(&str, &[u8]) -> (String, Vec<u8>),
}

impl Draft {
    pub(super) fn new(service: &'static str) -> Self {
        Draft {
            service,
            header_fields: Vec::new(),
            repeated: Vec::new(),
            list_fields: LIST_FIELDS.to_owned(),
            list: Some(resource_lists(&[to("sip:bill@127.0.0.1:9")])),
            message: true,
            reshape: |content_type, body| (content_type.to_owned(), body.to_vec()),
        }
    }

    pub(super) fn set(&mut self, name: &'static str, value: &'static str) {
        self.header_fields.push((name, Some(value)));
    }

    pub(super) fn remove(&mut self, name: &'static str) {
        self.header_fields.push((name, None));
    }

    /// A list whose only entry is this text.
    pub(super) fn entry(&mut self, entry: &str) {
        self.list = Some(format!(
            "<resource-lists xmlns=\"urn:ietf:params:xml:ns:resource-lists\" \
             xmlns:cp=\"urn:ietf:params:xml:ns:copycontrol\"><list>{entry}</list></resource-lists>"
        ));
    }

    pub(super) fn request(&self) -> Request {
        let message = cpm_message("sip:anne@example.com", self.service).recipients([]);
        let cpim = message.cpim();
        let (content_type, body) = match &self.list {
            Some(list) if self.message => (
                format!("multipart/mixed;boundary=\"{BOUNDARY}\""),
                multipart(&[
                    ("Content-Type: message/cpim", &cpim),
                    (&self.list_fields, list.as_bytes()),
                ]),
            ),
            Some(list) => (
                "application/resource-lists+xml".to_owned(),
                list.clone().into_bytes(),
            ),
            None => ("message/cpim".to_owned(), cpim),
        };
        let (content_type, body) = (self.reshape)(&content_type, &body);
        let mut request = message.request().with_body(&content_type, body);
        for (name, value) in &self.header_fields {
            request = match value {
                Some(value) => request.with(name, value),
                None => request.without(name),
            };
        }
        for (name, value) in &self.repeated {
            request = request.and(name, value);
        }
        request
    }
}

/// The configuration under which a fault occurs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Under {
    /// All requirements set.
    Strict,
    /// The same with `missing_list_code=400`.
    MissingListIs400,
    /// The same with nobody trusted.
    NobodyTrusted,
}

pub(super) struct Fault {
    /// For the manual.
    pub(super) when: &'static str,
    pub(super) under: Under,
    pub(super) make: fn(&mut Draft),
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// The header field with details.
    pub(super) header: Option<(&'static str, &'static str)>,
}

impl Fault {
    /// The duties that its refusal at this address proves.
    pub(super) fn duties(&self, service: &str) -> &'static [&'static str] {
        let is_exploder = service == EXPLODER;
        match self.header {
            NOT_AUTHORISED => &["9.1.1-1", "9.1.1-1-w"],
            WRONG_VERSION => &["9.1.1-2", "9.1.1-2-w"],
            NOT_ANONYMOUS if is_exploder => &["9.1.1-5a", "9.1.1-5a-w"],
            NOT_ANONYMOUS => &["9.1.1-3a", "9.1.1-3a-w"],
            TOO_MANY if is_exploder => &["9.1.1-5b", "9.1.1-5b-w"],
            TOO_MANY => &["9.1.1-3b", "9.1.1-3b-w"],
            NO_DESTINATIONS if self.when != "the resource list is empty" => &[],
            NO_DESTINATIONS if is_exploder => &["9.1.1-5c", "9.1.1-5c-w"],
            NO_DESTINATIONS => &["9.1.1-3c", "9.1.1-3c-w"],
            _ => &[],
        }
    }
}

const NOT_AUTHORISED: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"127 Service not authorised\""));

const WRONG_VERSION: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"132 Version not supported\""));

const NOT_ANONYMOUS: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"119 Anonymity not allowed\""));

const TOO_MANY: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"102 Too many recipients\""));

const NO_DESTINATIONS: Option<(&str, &str)> =
    Some(("Warning", "399 example.com \"129 No destinations\""));

const ENCODING: Option<(&str, &str)> = Some(("Accept-Encoding", "identity"));

const fn fault(
    when: &'static str,
    make: fn(&mut Draft),
    code: u16,
    reason: &'static str,
    header: Option<(&'static str, &'static str)>,
) -> Fault {
    Fault {
        when,
        under: Under::Strict,
        make,
        code,
        reason,
        header,
    }
}

/// In the order of the checks.
pub(super) const FAULTS: &[Fault] = &[
    fault(
        "a header field that may occur once occurs twice, such as Content-Type, Max-Forwards or Conversation-ID",
        |draft| draft.repeated.push(("Content-Type", "text/plain")),
        400,
        "Two Content-Type Header Fields",
        None,
    ),
    fault(
        "nobody vouches for the originator: no P-Asserted-Identity, none that is a sip, sips or tel URI, and no `$cpm(originator)`",
        |draft| draft.remove("P-Asserted-Identity"),
        403,
        "Forbidden",
        NOT_AUTHORISED,
    ),
    Fault {
        under: Under::NobodyTrusted,
        ..fault(
            "P-Asserted-Identity comes from a peer that is no `trusted_peer`",
            |_| {},
            403,
            "Forbidden",
            NOT_AUTHORISED,
        )
    },
    fault(
        "`event_route[cpm:authorize]` said `drop`",
        |draft| draft.set("X-Veto", "yes"),
        403,
        "Forbidden",
        NOT_AUTHORISED,
    ),
    fault(
        "User-Agent names no product of `required_user_agent`, or is missing",
        |draft| draft.set("User-Agent", "IM-client/OMA1.0"),
        403,
        "Forbidden",
        WRONG_VERSION,
    ),
    fault(
        "Require names an extension that is not supported",
        |draft| draft.set("Require", "recipient-list-message, foo, 100rel"),
        420,
        "Bad Extension",
        Some(("Unsupported", "foo, 100rel")),
    ),
    fault(
        "Max-Forwards is 0",
        |draft| draft.set("Max-Forwards", "0"),
        483,
        "Too Many Hops",
        None,
    ),
    fault(
        "Max-Forwards is no number up to 255",
        |draft| draft.set("Max-Forwards", "many"),
        400,
        "Malformed Max-Forwards",
        None,
    ),
    fault(
        "From is no address",
        |draft| draft.set("From", "<sip:anne@exa mple.com>;tag=1"),
        400,
        "Malformed From",
        None,
    ),
    fault(
        "a list or a group has already forwarded it: Max-Breadth is 45 or less, or no number",
        |draft| draft.set("Max-Breadth", "45"),
        482,
        "Loop Detected",
        None,
    ),
    fault(
        "Conversation-ID is missing and `require_ids` is set",
        |draft| draft.remove("Conversation-ID"),
        400,
        "Missing Conversation-ID",
        None,
    ),
    fault(
        "Contribution-ID is missing and `require_ids` is set",
        |draft| draft.remove("Contribution-ID"),
        400,
        "Missing Contribution-ID",
        None,
    ),
    fault(
        "Privacy asks for anonymity (`id`, `user` or `header`) and `allow_anonymity` is no",
        |draft| draft.set("Privacy", "id"),
        403,
        "Forbidden",
        NOT_ANONYMOUS,
    ),
    fault(
        "the body or the resource list has a Content-Encoding",
        |draft| draft.list_fields.push_str("\r\nContent-Encoding: gzip"),
        415,
        "Unsupported Media Type",
        ENCODING,
    ),
    fault(
        "Content-Type breaks its grammar, or a part has two",
        |draft| draft.list_fields.push_str("\r\nContent-Type: text/plain"),
        400,
        "Malformed Content-Type",
        None,
    ),
    fault(
        "Content-Disposition breaks its grammar, or is given twice",
        |draft| draft.list_fields.push_str(";;="),
        400,
        "Malformed Content-Disposition",
        None,
    ),
    fault(
        "a part has a Content-Transfer-Encoding that MIME does not define",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: rot13")
        },
        400,
        "Unknown Content-Transfer-Encoding",
        None,
    ),
    fault(
        "a multipart is itself base64 or quoted-printable",
        |draft| draft.set("Content-Transfer-Encoding", "base64"),
        400,
        "Transfer-Encoded Multipart",
        None,
    ),
    fault(
        "a multipart has no boundary, or one that MIME does not allow",
        |draft| draft.reshape = |_, body| ("multipart/mixed".to_owned(), body.to_vec()),
        400,
        "Invalid Multipart Boundary",
        None,
    ),
    fault(
        "a multipart is cut short",
        |draft| {
            draft.reshape =
                |content_type, body| (content_type.to_owned(), body[..body.len() - 6].to_vec());
        },
        400,
        "Multipart Not Closed",
        None,
    ),
    fault(
        "a multipart has no parts",
        |draft| {
            draft.reshape = |content_type, _| {
                (
                    content_type.to_owned(),
                    format!("--{BOUNDARY}--\r\n").into_bytes(),
                )
            };
        },
        400,
        "Multipart Without Parts",
        None,
    ),
    fault(
        "the header of a part is not made of header fields, or of ones whose names SIP does not permit where the part becomes the body",
        |draft| draft.list_fields.push_str("\r\nno header field"),
        400,
        "Malformed Body Part Header",
        None,
    ),
    fault(
        "the header of a part is larger than 8 192 bytes",
        |draft| {
            let long = format!("\r\nContent-Description: {}", "x".repeat(8192));
            draft.list_fields.push_str(&long);
        },
        400,
        "Body Part Header Too Large",
        None,
    ),
    fault(
        "more than 64 parts",
        |draft| {
            draft.reshape = |content_type, _| {
                let parts = vec![("Content-Type: text/plain", "x".as_bytes()); 65];
                (content_type.to_owned(), multipart(&parts))
            };
        },
        400,
        "Too Many Body Parts",
        None,
    ),
    fault(
        "multiparts nested deeper than 8",
        |draft| {
            draft.reshape = |_, body| {
                let mut body = body.to_vec();
                let mut content_type = format!("multipart/mixed;boundary=\"{BOUNDARY}\"");
                for depth in 0..8 {
                    let head = format!("--b{depth}b\r\nContent-Type: {content_type}\r\n\r\n");
                    let tail = format!("\r\n--b{depth}b--\r\n");
                    body = [head.as_bytes(), &body, tail.as_bytes()].concat();
                    content_type = format!("multipart/mixed;boundary=b{depth}b");
                }
                (content_type, body)
            };
        },
        400,
        "Multipart Nested Too Deep",
        None,
    ),
    fault(
        "no resource list (the default, `missing_list_code` = 403)",
        |draft| draft.list = None,
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    Fault {
        under: Under::MissingListIs400,
        ..fault(
            "no resource list and `missing_list_code` = 400",
            |draft| draft.list = None,
            400,
            "Missing Resource List",
            None,
        )
    },
    fault(
        "the resource list is announced as base64 and is not",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: base64")
        },
        400,
        "Malformed Base64 Body",
        None,
    ),
    fault(
        "the resource list is announced as quoted-printable and is not",
        |draft| {
            draft
                .list_fields
                .push_str("\r\nContent-Transfer-Encoding: quoted-printable")
        },
        400,
        "Malformed Quoted-Printable Body",
        None,
    ),
    fault(
        "the resource list is not UTF-8",
        |draft| draft.list = Some("<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><r/>".to_owned()),
        400,
        "Resource List Not UTF-8",
        None,
    ),
    fault(
        "the resource list is not well-formed XML",
        |draft| draft.list = draft.list.as_ref().map(|list| list.replace("</list>", "")),
        400,
        "Malformed Resource List",
        None,
    ),
    fault(
        "the resource list has a document type",
        |draft| {
            draft.list = Some("<!DOCTYPE r [<!ENTITY a \"aaaaaaaa\">]><r>&a;&a;</r>".to_owned());
        },
        400,
        "Document Type In Resource List",
        None,
    ),
    fault(
        "the resource list refers to an entity that XML itself does not define",
        |draft| draft.entry("<entry uri=\"sip:&b;@example.com\"/>"),
        400,
        "Undefined Entity In Resource List",
        None,
    ),
    fault(
        "the document is no resource list of RFC 4826",
        |draft| draft.list = Some("<lists xmlns=\"urn:example\"/>".to_owned()),
        400,
        "Not A Resource List",
        None,
    ),
    fault(
        "an element stands where RFC 4826 has none",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\"><list/></entry>"),
        400,
        "Unexpected Element In Resource List",
        None,
    ),
    fault(
        "an entry-ref or external element points elsewhere",
        |draft| draft.entry("<external anchor=\"http://xcap.example.com/lists\"/>"),
        400,
        "External Reference In Resource List",
        None,
    ),
    fault(
        "an entry has no uri, or an empty one",
        |draft| draft.entry("<entry/>"),
        400,
        "Resource List Entry Without URI",
        None,
    ),
    fault(
        "a copyControl is neither to, cc nor bcc",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\" cp:copyControl=\"all\"/>"),
        400,
        "Unknown Copy Control In Resource List",
        None,
    ),
    fault(
        "an anonymize is neither true nor false",
        |draft| draft.entry("<entry uri=\"sip:bill@example.com\" cp:anonymize=\"maybe\"/>"),
        400,
        "Unknown Anonymize In Resource List",
        None,
    ),
    fault(
        "a URI in the list is longer than 1 024 bytes",
        |draft| {
            draft.entry(&format!(
                "<entry uri=\"sip:{}@example.com\"/>",
                "x".repeat(1024)
            ))
        },
        400,
        "Resource List URI Too Long",
        None,
    ),
    fault(
        "elements nested deeper than 32",
        |draft| draft.entry(&format!("{}{}", "<list>".repeat(40), "</list>".repeat(40))),
        400,
        "Resource List Nested Too Deep",
        None,
    ),
    fault(
        "an element with more than 32 attributes",
        |draft| {
            let attributes: String = (0..40).map(|n| format!(" a{n}=\"\"")).collect();
            draft.entry(&format!(
                "<entry uri=\"sip:bill@example.com\"{attributes}/>"
            ));
        },
        400,
        "Too Many Attributes In Resource List",
        None,
    ),
    fault(
        "more than 32 namespaces at one place",
        |draft| {
            let mut nested = "<entry uri=\"sip:bill@example.com\"/>".to_owned();
            for n in 0..3 {
                let spaces: String = (0..15)
                    .map(|m| format!(" xmlns:n{n}m{m}=\"urn:{n}:{m}\""))
                    .collect();
                nested = format!("<list{spaces}>{nested}</list>");
            }
            draft.entry(&nested);
        },
        400,
        "Too Many Namespaces In Resource List",
        None,
    ),
    fault(
        "an entry is not a URI",
        |draft| draft.entry("<entry uri=\"bill\"/>"),
        400,
        "Bad URI In Resource List",
        None,
    ),
    fault(
        "more distinct recipients than `max_recipients`",
        |draft| {
            draft.list = Some(resource_lists(
                &["a", "b", "c", "d"].map(|user| to(&format!("sip:{user}@127.0.0.1:9"))),
            ));
        },
        486,
        "Busy Here",
        TOO_MANY,
    ),
    fault(
        "the resource list is empty",
        |draft| draft.list = Some(resource_lists(&[])),
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    fault(
        "the resource list names nobody but the Controlling Function itself",
        |draft| draft.list = Some(resource_lists(&[to(EXPLODER), cc(CONTROLLING)])),
        403,
        "Forbidden",
        NO_DESTINATIONS,
    ),
    fault(
        "the body is nothing but a resource list",
        |draft| draft.message = false,
        400,
        "No Message Beside The Resource List",
        None,
    ),
];
