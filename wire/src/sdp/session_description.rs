use super::SdpError;

/// Maximum length of a session description. One with MSRP media alone has less than 2 KiB; one of a
/// client that also offers audio and video has some 6 KiB.
pub const MAX_SDP_BYTES: usize = 32 * 1024;
/// Maximum number of m= lines. RFC 4566 sets no limit; an answer must repeat each of them.
pub const MAX_MEDIA: usize = 16;
/// Maximum number of attributes in one section. Media with ICE candidates have about fifty.
pub const MAX_ATTRIBUTES: usize = 128;

/// The frame of an offer or answer: the lines needed for the MSRP media line; others are dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDescription {
    /// Host or address of the session's c= line, without a multicast suffix.
    pub connection: Option<String>,
    /// Value of the first t= line, which an answer repeats (RFC 3264 §6).
    pub timing: Option<String>,
    /// Attributes before the first m= line.
    pub attributes: Vec<Attribute>,
    /// The media in the order of their m= lines.
    pub media: Vec<Media>,
}

/// One media section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// `message` for MSRP.
    pub kind: String,
    /// 0 if the media is refused or not offered.
    pub port: u16,
    /// For example `TCP/MSRP`.
    pub protocol: String,
    /// The part after the protocol; `*` for MSRP.
    pub formats: String,
    /// Host or address of the section's c= line.
    pub connection: Option<String>,
    /// Attributes of this section.
    pub attributes: Vec<Attribute>,
}

/// An a= line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    /// The part before the first colon.
    pub name: String,
    /// The part after it; `None` if there is no colon.
    pub value: Option<String>,
}

impl SessionDescription {
    /// Parses a description. Lines may end with LF alone (RFC 4566 §5 asks for that leniency), and
    /// with blanks before that; empty lines are ignored, as by other parsers.
    ///
    /// # Errors
    ///
    /// [`SdpError`] for faults of the frame; the attributes are not checked.
    pub fn parse(body: &[u8]) -> Result<Self, SdpError> {
        if body.len() > MAX_SDP_BYTES {
            return Err(SdpError::TooLarge);
        }
        let text = std::str::from_utf8(body).map_err(|_| SdpError::NotText)?;
        let lines = text.split('\n');
        let lines = lines.map(|line| line.trim_end_matches([' ', '\t', '\r']));
        let mut lines = lines.filter(|line| !line.is_empty()).map(|line| {
            if line.chars().any(|c| c.is_control() && c != '\t') {
                return Err(SdpError::NotText);
            }
            line.split_once('=')
                .filter(|(letter, _)| matches!(letter.as_bytes(), [b'a'..=b'z']))
                .ok_or(SdpError::MalformedLine)
        });
        if lines.next().transpose()? != Some(("v", "0")) {
            return Err(SdpError::MalformedLine);
        }
        let mut session = Self {
            connection: None,
            timing: None,
            attributes: Vec::new(),
            media: Vec::new(),
        };
        for line in lines {
            let (letter, value) = line?;
            session.take_line(letter, value)?;
        }
        Ok(session)
    }

    fn take_line(&mut self, letter: &str, value: &str) -> Result<(), SdpError> {
        if letter == "m" {
            if self.media.len() == MAX_MEDIA {
                return Err(SdpError::TooManyMedia);
            }
            self.media.push(parse_media(value)?);
            return Ok(());
        }
        let (connection, attributes) = match self.media.last_mut() {
            Some(media) => (&mut media.connection, &mut media.attributes),
            None => (&mut self.connection, &mut self.attributes),
        };
        match letter {
            // A section may have several c= lines for layered multicast; the first is ours.
            "c" if connection.is_none() => *connection = Some(parse_connection(value)?),
            "t" if self.timing.is_none() => self.timing = Some(value.to_owned()),
            "a" => {
                if attributes.len() == MAX_ATTRIBUTES {
                    return Err(SdpError::TooManyAttributes);
                }
                let (name, value) = match value.split_once(':') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (value, None),
                };
                attributes.push(Attribute {
                    name: name.to_owned(),
                    value,
                });
            }
            _ => {}
        }
        Ok(())
    }
}

/// `message 7394 TCP/MSRP *`
fn parse_media(value: &str) -> Result<Media, SdpError> {
    let mut parts = value.splitn(4, ' ');
    let mut next = || {
        parts
            .next()
            .filter(|part| !part.is_empty())
            .ok_or(SdpError::MalformedMedia)
    };
    let (kind, port, protocol, formats) = (next()?, next()?, next()?, next()?);
    // A number of ports may follow after a slash (RFC 4566 §5.14).
    let port = port.split('/').next().unwrap_or(port);
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(SdpError::MalformedMedia);
    }
    Ok(Media {
        kind: kind.to_owned(),
        port: port.parse().map_err(|_| SdpError::MalformedMedia)?,
        protocol: protocol.to_owned(),
        formats: formats.to_owned(),
        connection: None,
        attributes: Vec::new(),
    })
}

/// `IN IP4 203.0.113.1`
fn parse_connection(value: &str) -> Result<String, SdpError> {
    let mut parts = value.split(' ');
    let (Some("IN"), Some("IP4" | "IP6"), Some(address), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(SdpError::MalformedConnection);
    };
    let address = address.split('/').next().unwrap_or(address);
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    if address.is_empty() || !address.bytes().all(valid) {
        return Err(SdpError::MalformedConnection);
    }
    Ok(address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use fastrand::Rng;

    /// RFC 4975 §4, offer of Alice, with audio before it.
    const OFFER: &str = "v=0\r\no=alice 2890844557 2890844559 IN IP4 atlanta.example.com\r\ns=-\r\n\
        c=IN IP4 atlanta.example.com\r\nt=0 0\r\na=tool:x\r\n\
        m=audio 49170 RTP/AVP 0 8\r\nc=IN IP6 2001:db8::1\r\na=rtpmap:0 PCMU/8000\r\n\
        m=message 7654 TCP/MSRP *\r\na=accept-types:text/plain\r\n\
        a=path:msrp://atlanta.example.com:7654/jshA7weztas;tcp\r\na=sendonly\r\n";

    #[test]
    fn frame() {
        let session = SessionDescription::parse(OFFER.as_bytes()).unwrap();
        assert_eq!(session.connection.as_deref(), Some("atlanta.example.com"));
        assert_eq!(session.timing.as_deref(), Some("0 0"));
        assert_eq!(session.attributes.len(), 1);
        let [audio, message] = &session.media[..] else {
            panic!()
        };
        assert_eq!(
            (audio.kind.as_str(), audio.port, audio.formats.as_str()),
            ("audio", 49170, "0 8")
        );
        assert_eq!(audio.connection.as_deref(), Some("2001:db8::1"));
        assert_eq!(
            (message.port, message.protocol.as_str()),
            (7654, "TCP/MSRP")
        );
        assert_eq!(
            message.attributes[2],
            Attribute {
                name: "sendonly".into(),
                value: None
            }
        );
        for lenient in ["\n", " \r\n", "\t \n", "\r\n\r\n", "\r\r\n", "\n \n"] {
            let text = OFFER.replace("\r\n", lenient);
            let parsed = SessionDescription::parse(text.as_bytes());
            assert_eq!(parsed.as_ref(), Ok(&session), "{lenient:?}");
        }
    }

    #[test]
    fn malformed() {
        use SdpError::*;
        for (text, error) in [
            ("", MalformedLine),
            ("v=1\r\n", MalformedLine),
            ("o=x\r\nv=0\r\n", MalformedLine),
            ("v=0\r\nfoo\r\n", MalformedLine),
            ("v=0\r\nA=b\r\n", MalformedLine),
            ("v=0\r\na=b\rc\r\n", NotText),
            ("v=0\r\nc=IN IP5 1.2.3.4\r\n", MalformedConnection),
            ("v=0\r\nc=IN IP4 \r\n", MalformedConnection),
            ("v=0\r\nc=IN IP4 a b\r\n", MalformedConnection),
            ("v=0\r\nm=message 1 TCP/MSRP\r\n", MalformedMedia),
            ("v=0\r\nm=message 65536 TCP/MSRP *\r\n", MalformedMedia),
            ("v=0\r\nm=message +1 TCP/MSRP *\r\n", MalformedMedia),
            ("v=0\r\nm=message  TCP/MSRP *\r\n", MalformedMedia),
        ] {
            assert_eq!(
                SessionDescription::parse(text.as_bytes()),
                Err(error),
                "{text:?}"
            );
        }
        assert_eq!(SessionDescription::parse(b"v=0\r\ns=\xff"), Err(NotText));
    }

    #[test]
    fn limits() {
        let parse = |line: &str, count| {
            SessionDescription::parse(format!("v=0\r\n{}", line.repeat(count)).as_bytes()).err()
        };
        assert_eq!(parse("a=b\r\n", MAX_ATTRIBUTES), None);
        assert_eq!(
            parse("a=b\r\n", MAX_ATTRIBUTES + 1),
            Some(SdpError::TooManyAttributes)
        );
        assert_eq!(parse("m=a 1 b c\r\n", MAX_MEDIA), None);
        assert_eq!(
            parse("m=a 1 b c\r\n", MAX_MEDIA + 1),
            Some(SdpError::TooManyMedia)
        );
        assert_eq!(parse("x=\r\n", MAX_SDP_BYTES / 4), Some(SdpError::TooLarge));
    }

    #[test]
    fn mutated_descriptions_never_panic() {
        let mut random = Rng::with_seed(9);
        for _ in 0..10_000 {
            let mut body = OFFER.as_bytes().to_vec();
            for _ in 0..1 + random.usize(..6) {
                let at = random.usize(..body.len());
                match random.usize(..3) {
                    0 => body[at] = random.u8(..),
                    1 => drop(body.remove(at)),
                    _ => body.insert(at, b"\r\n=: /am"[random.usize(..8)]),
                }
            }
            if let Ok(session) = SessionDescription::parse(&body) {
                assert!(session.media.len() <= MAX_MEDIA);
                let values = session.media.iter().flat_map(|m| &m.attributes);
                assert!(
                    values
                        .flat_map(|a| &a.value)
                        .all(|v| !v.contains(['\r', '\n']))
                );
            }
        }
    }
}
