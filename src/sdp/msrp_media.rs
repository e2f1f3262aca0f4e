use bytes::Bytes;

use super::{Attribute, SdpError, SessionDescription};
use crate::msrp::Path;

/// Longest fingerprint: that of SHA-512.
pub const MAX_FINGERPRINT_BYTES: usize = 64;

/// Port of an MSRP URI that names none (RFC 4975 §6).
const DEFAULT_PORT: u16 = 2855;

/// What carries MSRP (RFC 4975 §8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// `TCP/MSRP`
    Tcp,
    /// `TCP/TLS/MSRP`
    Tls,
}

impl Transport {
    /// The protocol as it stands in an m= line.
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

/// Which way content goes, as the author of the description sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Both ways; also what the absence of the attribute means.
    #[default]
    SendRecv,
    /// The author only sends.
    SendOnly,
    /// The author only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

/// Value of `a=setup` (RFC 4145 §4, RFC 6135).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The author connects.
    Active,
    /// The author waits for a connection.
    Passive,
    /// The author can do either; only in offers.
    ActPass,
    /// No connection for now.
    HoldConn,
}

/// Who opens the connection, as seen from our end.
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

/// Where to open the TCP connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionTarget<'a> {
    /// Host name, or IP address without brackets.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
}

/// What a description says about its MSRP media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MsrpMedia<'a> {
    /// Position among the m= lines.
    pub index: usize,
    /// Transport of the m= line.
    pub transport: Transport,
    /// Host or address of the c= line that holds for this media.
    pub address: &'a str,
    /// Port of the m= line, not 0.
    pub port: u16,
    /// `a=path`
    pub path: Path,
    /// `a=accept-types`, as written.
    pub accept_types: &'a str,
    /// `a=accept-wrapped-types`, as written.
    pub accept_wrapped_types: Option<&'a str>,
    /// `a=max-size`: the longest message that the author takes, in bytes.
    pub max_size: Option<u64>,
    /// `a=file-selector`
    pub file_selector: Option<FileSelector>,
    /// Direction of this media, or of the session.
    pub direction: Direction,
    /// `a=setup` of this media, or of the session.
    pub setup: Option<Setup>,
    /// Whether `a=msrp-cema` is there.
    pub msrp_cema: bool,
    /// `a=fingerprint` of this media, or of the session; the first if there are several.
    pub fingerprint: Option<Fingerprint>,
    /// All attributes of this media, those above included.
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
        // The scheme of the last URI is that of the far end's last hop, and none of our business.
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
                .transpose()?,
            file_selector: of_media("file-selector")
                .map(FileSelector::parse)
                .transpose()?,
            direction: direction(&media.attributes)
                .or_else(|| direction(&session.attributes))
                .unwrap_or_default(),
            setup: of_either("setup").map(parse_setup).transpose()?,
            msrp_cema: media.attributes.iter().any(|a| is(a, "msrp-cema")),
            fingerprint: of_either("fingerprint")
                .map(Fingerprint::parse)
                .transpose()?,
            attributes: &media.attributes,
        })
    }

    /// Where to connect if we are the active end: c= and m= lines between two ends that know RFC 6714, else
    /// the first URI of `a=path` (RFC 4975). We always offer msrp-cema, so the peer decides.
    pub fn connection_target(&self) -> ConnectionTarget<'_> {
        // RFC 6714 §4.1: no connection to c= and m= where relays are on the path.
        if self.msrp_cema && self.path.uris().nth(1).is_none() {
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

    /// Our role if this is the answer to an offer of ours with `a=setup:actpass`. Without `a=setup` the
    /// offerer connects (RFC 4975 §8.5); so it does if the answer repeats `actpass` against RFC 4145.
    ///
    /// # Errors
    /// [`SdpError::HeldConnection`].
    pub fn role_of_offerer(&self) -> Result<Role, SdpError> {
        match self.setup {
            Some(Setup::Active) => Ok(Role::Passive),
            Some(Setup::Passive | Setup::ActPass) | None => Ok(Role::Active),
            Some(Setup::HoldConn) => Err(SdpError::HeldConnection),
        }
    }

    /// Our role if this is an offer that we answer: passive wherever the offer permits it.
    ///
    /// # Errors
    /// [`SdpError::HeldConnection`].
    pub fn role_of_answerer(&self) -> Result<Role, SdpError> {
        match self.setup {
            Some(Setup::Active | Setup::ActPass) | None => Ok(Role::Passive),
            Some(Setup::Passive) => Ok(Role::Active),
            Some(Setup::HoldConn) => Err(SdpError::HeldConnection),
        }
    }
}

impl FileSelector {
    /// Parses the attribute's value. A space after the colon of a selector is tolerated: some clients write
    /// `size: 1234`. So is a selector that occurs twice, of which the first counts.
    ///
    /// # Errors
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

fn parse_setup(value: &str) -> Result<Setup, SdpError> {
    match value.trim().to_ascii_lowercase().as_str() {
        "active" => Ok(Setup::Active),
        "passive" => Ok(Setup::Passive),
        "actpass" => Ok(Setup::ActPass),
        "holdconn" => Ok(Setup::HoldConn),
        _ => Err(SdpError::MalformedSetup),
    }
}

fn parse_size(value: &str) -> Option<u64> {
    let digits = value.trim();
    digits
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
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
        assert_eq!(media.connection_target(), target);
        assert_eq!(
            MsrpMedia::of(&session, &[Transport::Tcp]),
            Err(SdpError::NoMsrpMedia)
        );
    }

    #[test]
    fn defaults_and_connection_target() {
        let plain = session(PLAIN);
        let media = MsrpMedia::of(&plain, &BOTH).unwrap();
        assert_eq!(
            (media.direction, media.setup),
            (Direction::SendRecv, Some(Setup::Active))
        );
        assert_eq!(
            media.connection_target(),
            ConnectionTarget {
                host: "192.0.2.9",
                port: 7000
            }
        );
        let cema = session(&format!("{PLAIN}a=msrp-cema\n"));
        let media = MsrpMedia::of(&cema, &BOTH).unwrap();
        assert_eq!(
            media.connection_target(),
            ConnectionTarget {
                host: "192.0.2.1",
                port: 7654
            }
        );
    }

    #[test]
    fn roles() {
        let with = |setup: &str| session(&format!("{PLAIN}a=setup:{setup}\n"));
        for (setup, offerer, answerer) in [
            ("active", Ok(Role::Passive), Ok(Role::Passive)),
            ("passive", Ok(Role::Active), Ok(Role::Active)),
            ("actpass", Ok(Role::Active), Ok(Role::Passive)),
            (
                "holdconn",
                Err(SdpError::HeldConnection),
                Err(SdpError::HeldConnection),
            ),
        ] {
            let session = with(setup);
            let media = MsrpMedia::of(&session, &BOTH).unwrap();
            assert_eq!(
                (media.role_of_offerer(), media.role_of_answerer()),
                (offerer, answerer),
                "{setup}"
            );
        }
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
