use std::net::IpAddr;

use bytes::Bytes;

use super::{Attribute, SdpError, SessionDescription};
use crate::msrp::{Authority, Path};

/// Maximum length of a fingerprint: that of SHA-512.
pub const MAX_FINGERPRINT_BYTES: usize = 64;

/// Port of an MSRP URI without a port (RFC 4975 §6).
const DEFAULT_PORT: u16 = 2855;
/// Port of an m= line whose author accepts no connection (RFC 4145 §4.1).
const DISCARD_PORT: u16 = 9;

/// The transport of MSRP (RFC 4975 §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `TCP/MSRP`
    Tcp,
    /// `TCP/TLS/MSRP`
    Tls,
}

impl Transport {
    /// The protocol as written in an m= line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP/MSRP",
            Self::Tls => "TCP/TLS/MSRP",
        }
    }

    fn parse(protocol: &str) -> Option<Self> {
        [Self::Tcp, Self::Tls]
            .into_iter()
            .find(|t| protocol.eq_ignore_ascii_case(t.as_str()))
    }
}

/// Direction of the content, from the view of the description's author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways; also the default without the attribute.
    #[default]
    SendRecv,
    /// The author only sends.
    SendOnly,
    /// The author only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Whether the author sends.
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the author receives.
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The direction that the end with content to send offers, or answers to this one of the author
    /// (RFC 3264 §6.1).
    pub fn for_sender(self) -> Self {
        match self.receives() {
            true => Self::SendOnly,
            false => Self::Inactive,
        }
    }

    /// The direction that the receiving end answers to this one of the author (RFC 3264 §6.1).
    pub fn for_receiver(self) -> Self {
        match self.sends() {
            true => Self::RecvOnly,
            false => Self::Inactive,
        }
    }
}

/// Value of `a=setup` (RFC 4145 §4, RFC 6135). `holdconn` is not one: MSRP ignores it (RFC 6135
/// §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The author connects.
    Active,
    /// The author waits for a connection.
    Passive,
    /// The author can do either; only in offers.
    ActPass,
}

/// Which side opens the connection, from our view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We connect.
    Active,
    /// The peer connects.
    Passive,
}

/// `a=file-selector` (RFC 5547 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSelector {
    /// Size of the file in bytes.
    pub size: Option<u64>,
    /// The other selectors as written, with single spaces between them.
    pub others: String,
}

/// `a=fingerprint` (RFC 8122 §5): the hash of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint {
    /// Name of the hash function in lower case, such as `sha-256`.
    pub hash: String,
    /// The hash of the certificate in DER form.
    pub value: Vec<u8>,
}

/// The destination of the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTarget<'a> {
    /// Host name, or IP address without brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
}

/// The MSRP media of a description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpMedia<'a> {
    /// Position among the m= lines.
    pub index: usize,
    /// Transport of the m= line.
    pub transport: Transport,
    /// Host or address of the c= line that applies to this media.
    pub address: &'a str,
    /// Port of the m= line, not 0.
    pub port: u16,
    /// `a=path`
    pub path: Path,
    /// `a=accept-types`, as written.
    pub accept_types: &'a str,
    /// `a=accept-wrapped-types`, as written.
    pub accept_wrapped_types: Option<&'a str>,
    /// `a=max-size`: the longest message that the author accepts, in bytes. A value beyond 64 bits
    /// means no limit.
    pub max_size: Option<u64>,
    /// `a=file-selector`
    pub file_selector: Option<FileSelector>,
    /// Direction of this media, or of the session.
    pub direction: Direction,
    /// `a=setup` of this media, or of the session.
    pub setup: Option<Setup>,
    /// Whether `a=msrp-cema` is present.
    pub msrp_cema: bool,
    /// `a=fingerprint` of this media, or of the session; the first if there are several.
    pub fingerprint: Option<Fingerprint>,
    /// All attributes of this media, including those above.
    pub attributes: &'a [Attribute],
}

impl<'a> MsrpMedia<'a> {
    /// The first m= line for MSRP that is not refused and whose transport is among `accepted`.
    ///
    /// # Errors
    /// [`SdpError`] if there is none, or one of its attributes cannot be used.
    pub fn of(session: &'a SessionDescription, accepted: &[Transport]) -> Result<Self, SdpError> {
        let (index, media, transport) = session
            .media
            .iter()
            .enumerate()
            .filter(|(_, media)| media.kind.eq_ignore_ascii_case("message") && media.port != 0)
            .find_map(|(index, media)| {
                let transport = Transport::parse(&media.protocol)?;
                accepted
                    .contains(&transport)
                    .then_some((index, media, transport))
            })
            .ok_or(SdpError::NoMsrpMedia)?;
        let address = media
            .connection
            .as_deref()
            .or(session.connection.as_deref())
            .ok_or(SdpError::NoConnection)?;
        let of_media = |name| value(&media.attributes, name);
        let of_either = |name| of_media(name).or_else(|| value(&session.attributes, name));

        let path = of_media("path").ok_or(SdpError::MalformedPath)?;
        let path = Path::parse(&Bytes::copy_from_slice(path.as_bytes()))
            .map_err(|_| SdpError::MalformedPath)?;
        // The scheme of the last URI concerns the far end's last hop, not us.
        if path.first().is_secure() != (transport == Transport::Tls) {
            return Err(SdpError::MalformedPath);
        }
        let accept_types = of_media("accept-types")
            .map(str::trim)
            .filter(|types| !types.is_empty())
            .ok_or(SdpError::NoAcceptTypes)?;
        Ok(Self {
            index,
            transport,
            address,
            port: media.port,
            path,
            accept_types,
            accept_wrapped_types: of_media("accept-wrapped-types").map(str::trim),
            max_size: of_media("max-size")
                .map(|size| parse_size(size).ok_or(SdpError::MalformedMaxSize))
                .transpose()?
                .filter(|&size| size < u64::MAX),
            file_selector: of_media("file-selector")
                .map(FileSelector::parse)
                .transpose()?,
            direction: direction(&media.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or_default(),
            setup: of_either("setup").map(parse_setup).transpose()?.flatten(),
            msrp_cema: media.attributes.iter().any(|a| is(a, "msrp-cema")),
            fingerprint: of_either("fingerprint")
                .map(Fingerprint::parse)
                .transpose()?,
            attributes: &media.attributes,
        })
    }

    /// The destination if we are the active end. `cema`: whether the offer, ours or this one, has
    /// msrp-cema. If so, the c= and m= lines give it, regardless of an answer to that offer (RFC
    /// 6714 §4.2, §4.3); with relays on the path, or without msrp-cema in the offer, the first URI
    /// of `a=path` does (RFC 4975, 4976).
    pub fn connection_target(&self, cema: bool) -> ConnectionTarget<'_> {
        if cema && !self.has_relay() && self.lines_say_where() {
            return ConnectionTarget {
                host: self.address,
                port: self.port,
            };
        }
        let authority = self.path.first().authority();
        ConnectionTarget {
            host: authority.host,
            port: authority.port.unwrap_or(DEFAULT_PORT),
        }
    }

    /// Whether this offer needs msrp-cema and lacks it: c= and m= lines do not match `a=path`, so a
    /// middlebox that relies on it has changed them. Such an offer is rejected (RFC 6714 §4.3).
    pub fn lacks_cema(&self) -> bool {
        !self.msrp_cema && !self.lines_fit_path()
    }

    /// Whether this answer to our offer with msrp-cema is unusable, so that an offer without
    /// msrp-cema must follow (RFC 6714 §4.2): it lacks msrp-cema, there is a middlebox on the path,
    /// and its author would bypass it as the connecting end, or has a relay, whose address is then
    /// not in c= and m= lines.
    pub fn wants_offer_without_cema(&self) -> bool {
        self.lacks_cema() && (self.has_relay() || self.role_of_offerer() == Role::Passive)
    }

    fn has_relay(&self) -> bool {
        self.path.uris().nth(1).is_some()
    }

    /// RFC 6714 §4.4: whether c= and m= lines name the end of one of the URIs in `a=path`. A name
    /// and an address are assumed to match, since nothing is looked up for this; lines without
    /// information match anything.
    fn lines_fit_path(&self) -> bool {
        let fits = |authority: Authority<'_>| {
            let port = authority.port.unwrap_or(DEFAULT_PORT);
            let addresses = (
                self.address.parse::<IpAddr>(),
                authority.host.parse::<IpAddr>(),
            );
            let same_host = match addresses {
                (Ok(one), Ok(other)) => one == other,
                (Err(_), Err(_)) => {
                    let names =
                        [self.address, authority.host].map(|name| name.trim_end_matches('.'));
                    names[0].eq_ignore_ascii_case(names[1])
                }
                _ => true,
            };
            same_host && port == self.port
        };
        !self.lines_say_where() || self.path.uris().any(|uri| fits(uri.authority()))
    }

    /// Not the lines of an author that accepts no connection (RFC 4145 §4.1), or has no address
    /// yet.
    fn lines_say_where(&self) -> bool {
        let address = self.address.parse::<IpAddr>();
        self.port != DISCARD_PORT && !address.is_ok_and(|address| address.is_unspecified())
    }

    /// Our role if this is the answer to our offer with `a=setup:actpass`. Without `a=setup` the
    /// offerer connects (RFC 4975 §8.5); also if the answer repeats `actpass` in violation of RFC
    /// 4145.
    pub fn role_of_offerer(&self) -> Role {
        match self.setup {
            Some(Setup::Active) => Role::Passive,
            Some(Setup::Passive | Setup::ActPass) | None => Role::Active,
        }
    }

    /// Our role if this is an offer that we answer: passive if the offer permits it.
    pub fn role_of_answerer(&self) -> Role {
        match self.setup {
            Some(Setup::Active | Setup::ActPass) | None => Role::Passive,
            Some(Setup::Passive) => Role::Active,
        }
    }
}

impl FileSelector {
    /// Parses the attribute's value. A space after the colon of a selector is tolerated: some
    /// clients write `size: 1234`. So is a repeated selector, of which the first applies.
    ///
    /// # Errors
    ///
    /// [`SdpError::MalformedFileSelector`].
    pub fn parse(value: &str) -> Result<Self, SdpError> {
        let (mut size, mut others) = (None, String::new());
        let mut rest = value.trim();
        while !rest.is_empty() {
            let (name, after) = rest
                .split_once(':')
                .ok_or(SdpError::MalformedFileSelector)?;
            let after = after.trim_start();
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
                return Err(SdpError::MalformedFileSelector);
            }
            // A file name is quoted, and quotes inside are percent-encoded (RFC 5547 §6).
            let quoted = after
                .strip_prefix('"')
                .map(|inside| inside.find('"').map(|end| end + 2));
            let len = match quoted {
                Some(end) => end.ok_or(SdpError::MalformedFileSelector)?,
                None => after.find(' ').unwrap_or(after.len()),
            };
            let (selected, left) = after.split_at(len);
            if name.eq_ignore_ascii_case("size") {
                let parsed = parse_size(selected).ok_or(SdpError::MalformedFileSelector)?;
                size.get_or_insert(parsed);
            } else {
                let space = if others.is_empty() { "" } else { " " };
                others.extend([space, name, ":", selected]);
            }
            rest = left.trim_start();
        }
        Ok(Self { size, others })
    }
}

impl Fingerprint {
    fn parse(value: &str) -> Result<Self, SdpError> {
        let (hash, hex) = value
            .trim()
            .split_once(' ')
            .ok_or(SdpError::MalformedFingerprint)?;
        let octet = |pair: &str| match pair.as_bytes() {
            [a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => {
                u8::from_str_radix(pair, 16).ok()
            }
            _ => None,
        };
        let value: Option<Vec<u8>> = hex
            .split(':')
            .take(MAX_FINGERPRINT_BYTES + 1)
            .map(octet)
            .collect();
        let value = value.filter(|value| value.len() <= MAX_FINGERPRINT_BYTES);
        let token = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if hash.is_empty() || !hash.bytes().all(token) {
            return Err(SdpError::MalformedFingerprint);
        }
        Ok(Self {
            hash: hash.to_ascii_lowercase(),
            value: value.ok_or(SdpError::MalformedFingerprint)?,
        })
    }

    /// The attribute's value.
    pub fn write(&self) -> String {
        let octets: Vec<String> = self
            .value
            .iter()
            .map(|octet| format!("{octet:02X}"))
            .collect();
        format!("{} {}", self.hash, octets.join(":"))
    }
}

fn is(attribute: &Attribute, name: &str) -> bool {
    attribute.name.eq_ignore_ascii_case(name)
}

fn value<'a>(attributes: &'a [Attribute], name: &str) -> Option<&'a str> {
    attributes
        .iter()
        .find(|a| is(a, name))
        .and_then(|a| a.value.as_deref())
}

fn direction(attributes: &[Attribute]) -> Option<Direction> {
    attributes.iter().find_map(
        |attribute| match attribute.name.to_ascii_lowercase().as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        },
    )
}

fn parse_setup(value: &str) -> Result<Option<Setup>, SdpError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "active" => Ok(Some(Setup::Active)),
        "passive" => Ok(Some(Setup::Passive)),
        "actpass" => Ok(Some(Setup::ActPass)),
        "holdconn" => Ok(None),
        _ => Err(SdpError::MalformedSetup),
    }
}

/// A size in bytes; a value beyond 64 bits becomes the largest one.
fn parse_size(value: &str) -> Option<u64> {
    let digits = value.trim();
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(lines: &str) -> SessionDescription {
        let text = format!(
            "v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nc=IN IP4 192.0.2.1\nt=0 0\na=setup:active\n{lines}"
        );
        SessionDescription::parse(text.as_bytes()).unwrap()
    }

    const BOTH: [Transport; 2] = [Transport::Tcp, Transport::Tls];
    const PLAIN: &str = "m=message 7654 TCP/MSRP *\na=accept-types:message/cpim\n\
        a=path:msrp://192.0.2.9:7000/s;tcp\n";

    #[test]
    fn everything_said() {
        let text = "m=message 0 TCP/MSRP *\nm=audio 9 RTP/AVP 0\nm=message 7654 TCP/TLS/MSRP *\n\
            c=IN IP6 2001:db8::7\na=accept-types: message/cpim text/plain\na=accept-wrapped-types:*\n\
            a=path:msrps://[2001:db8::9]/a;tcp msrp://far/b;tcp\na=max-size:1000\n\
            a=file-selector:name:\"a b\" size: 1234 type:image/jpeg\na=sendonly\na=setup:actpass\n\
            a=msrp-cema\na=fingerprint:SHA-1 4A:ad:00\n";
        let session = session(text);
        let media = MsrpMedia::of(&session, &BOTH).unwrap();
        assert_eq!(
            (media.index, media.transport, media.port),
            (2, Transport::Tls, 7654)
        );
        assert_eq!(media.address, "2001:db8::7");
        assert_eq!(media.accept_types, "message/cpim text/plain");
        assert_eq!(
            (media.accept_wrapped_types, media.max_size),
            (Some("*"), Some(1000))
        );
        let selector = media.file_selector.clone().unwrap();
        assert_eq!(
            (selector.size, selector.others.as_str()),
            (Some(1234), "name:\"a b\" type:image/jpeg")
        );
        assert_eq!(
            (media.direction, media.setup),
            (Direction::SendOnly, Some(Setup::ActPass))
        );
        let fingerprint = media.fingerprint.clone().unwrap();
        assert_eq!(
            (fingerprint.value.as_slice(), fingerprint.write()),
            (&[0x4a, 0xad, 0][..], "sha-1 4A:AD:00".into())
        );
        // Relays are on the path: RFC 6714 does not apply.
        let target = ConnectionTarget {
            host: "2001:db8::9",
            port: 2855,
        };
        assert_eq!(media.connection_target(true), target);
        assert_eq!(
            MsrpMedia::of(&session, &[Transport::Tcp]),
            Err(SdpError::NoMsrpMedia)
        );
    }

    /// The media of [`PLAIN`] with these lines changed or added.
    fn with<T>(changes: &[(&str, &str)], more: &str, look: impl FnOnce(&MsrpMedia<'_>) -> T) -> T {
        let mut text = format!("v=0\nc=IN IP4 192.0.2.1\na=setup:active\n{PLAIN}{more}\n");
        for (from, to) in changes {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let session = SessionDescription::parse(text.as_bytes()).unwrap();
        look(&MsrpMedia::of(&session, &BOTH).unwrap())
    }

    #[test]
    fn defaults() {
        with(&[], "", |media| {
            assert_eq!(
                (media.direction, media.setup, media.max_size),
                (Direction::SendRecv, Some(Setup::Active), None)
            );
        });
    }

    #[test]
    fn where_to_connect() {
        let lines = ("192.0.2.1".to_owned(), 7654);
        let path = ("192.0.2.9".to_owned(), 7000);
        let target = |changes: &[(&str, &str)], more: &str, cema| {
            with(changes, more, |media| {
                let target = media.connection_target(cema);
                (target.host.to_owned(), target.port)
            })
        };
        // RFC 6714 §4.2, last paragraph: the answer's msrp-cema does not matter.
        assert_eq!(target(&[], "a=msrp-cema", true), lines);
        assert_eq!(target(&[], "", true), lines);
        assert_eq!(target(&[], "", false), path);
        let relay = [("a=path:", "a=path:msrp://192.0.2.9:7000/r;tcp ")];
        assert_eq!(target(&relay, "a=msrp-cema", true), path);
        // Lines without information.
        assert_eq!(target(&[("message 7654", "message 9")], "", true), path);
        assert_eq!(target(&[("IP4 192.0.2.1", "IP4 0.0.0.0")], "", true), path);
        assert_eq!(
            target(&[("192.0.2.9:7000", "192.0.2.9")], "", false).1,
            2855
        );
    }

    #[test]
    fn what_needs_msrp_cema() {
        let lacks =
            |changes: &[(&str, &str)], more: &str| with(changes, more, |media| media.lacks_cema());
        let again = |changes: &[(&str, &str)], more: &str| {
            with(changes, more, |media| media.wants_offer_without_cema())
        };
        let (fit, relay) = (
            ("192.0.2.9:7000", "192.0.2.1:7654"),
            ("a=path:", "a=path:msrp://relay:1/r;tcp "),
        );
        let passive = "a=setup:passive";
        assert!(lacks(&[], "") && !lacks(&[], "a=msrp-cema") && !lacks(&[fit], ""));
        // One of the URIs suffices: without msrp-cema, c= and m= may be the author's own or those
        // of the relay.
        assert!(
            !lacks(&[fit, relay], "")
                && lacks(
                    &[
                        ("msrp://192.0.2.9", "msrp://10.9.9.9"),
                        relay,
                        ("IP4 192.0.2.1", "IP4 192.0.2.2")
                    ],
                    ""
                )
        );
        // Another port, another host.
        assert!(lacks(&[("192.0.2.9:7000", "192.0.2.1:7655")], ""));
        assert!(lacks(
            &[
                ("IP4 192.0.2.1", "IP4 b.example"),
                ("192.0.2.9:7000", "a.example:7654")
            ],
            ""
        ));
        assert!(!lacks(
            &[
                ("IP4 192.0.2.1", "IP4 A.example."),
                ("192.0.2.9:7000", "a.example:7654")
            ],
            ""
        ));
        assert!(!lacks(
            &[
                ("IP4 192.0.2.1", "IP6 2001:DB8::1"),
                ("192.0.2.9:7000", "[2001:db8:0::1]:7654")
            ],
            ""
        ));
        // Names are not looked up, and these lines carry no information.
        assert!(!lacks(&[("192.0.2.9:7000", "a.example:7654")], ""));
        assert!(
            !lacks(&[("message 7654", "message 9")], "")
                && !lacks(&[("IP4 192.0.2.1", "IP4 0.0.0.0")], "")
        );

        // The answerer connects by our path, past the middlebox.
        assert!(again(&[], "a=setup:active") && !again(&[], "a=setup:active\na=msrp-cema"));
        assert!(!again(&[fit], "a=setup:active"));
        assert!(!again(&[], passive), "we connect by c= and m=");
        assert!(again(
            &[("192.0.2.9:7000", "192.0.2.9:7001"), relay],
            passive
        ));
        assert!(!again(&[fit, relay], passive));
    }

    #[test]
    fn roles() {
        for (setup, offerer, answerer) in [
            ("active", Role::Passive, Role::Passive),
            ("passive", Role::Active, Role::Active),
            ("actpass", Role::Active, Role::Passive),
            // RFC 6135 §4.2.1: it is ignored.
            ("holdconn", Role::Active, Role::Passive),
        ] {
            let roles = with(&[], &format!("a=setup:{setup}"), |media| {
                (media.role_of_offerer(), media.role_of_answerer())
            });
            assert_eq!(roles, (offerer, answerer), "{setup}");
        }
    }

    #[test]
    fn numbers_beyond_64_bits() {
        let huge = "99999999999999999999";
        with(
            &[],
            &format!("a=max-size:{huge}\na=file-selector:size:{huge}"),
            |media| {
                assert_eq!(media.max_size, None);
                assert_eq!(media.file_selector.as_ref().unwrap().size, Some(u64::MAX));
            },
        );
    }

    #[test]
    fn malformed() {
        use SdpError::*;
        for (extra, error) in [
            ("a=max-size:x", MalformedMaxSize),
            ("a=max-size:", MalformedMaxSize),
            ("a=setup:both", MalformedSetup),
            ("a=file-selector:size", MalformedFileSelector),
            ("a=file-selector:size:-1", MalformedFileSelector),
            ("a=file-selector:name:\"x", MalformedFileSelector),
            ("a=fingerprint:sha-1", MalformedFingerprint),
            ("a=fingerprint:sha-1 +A:00", MalformedFingerprint),
        ] {
            let session = session(&format!("{PLAIN}{extra}\n"));
            assert_eq!(MsrpMedia::of(&session, &BOTH).err(), Some(error), "{extra}");
        }
        for (text, error) in [
            ("", NoMsrpMedia),
            ("m=message 9 TCP/MSRP *\na=accept-types:*\n", MalformedPath),
            (
                "m=message 9 TCP/MSRP *\na=accept-types:*\na=path:msrps://h/s;tcp\n",
                MalformedPath,
            ),
            (
                "m=message 9 TCP/MSRP *\na=path:msrp://h/s;tcp\n",
                NoAcceptTypes,
            ),
        ] {
            assert_eq!(
                MsrpMedia::of(&session(text), &BOTH).err(),
                Some(error),
                "{text}"
            );
        }
        let long = vec!["00"; MAX_FINGERPRINT_BYTES + 1].join(":");
        assert!(Fingerprint::parse(&format!("sha-512 {long}")).is_err());
        assert!(Fingerprint::parse(&format!("sha-512 {}", &long[3..])).is_ok());
    }
}
