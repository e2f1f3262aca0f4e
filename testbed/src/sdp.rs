//! Session descriptions with one MSRP media (RFC 4566, RFC 4975 §8): writing and reading.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::msrp_address::address_of;
use crate::msrp_session::MsrpSession;

/// A description to send. It is what a conforming client writes, unless changed.
#[derive(Debug, Clone)]
pub struct SdpText {
    address: SocketAddr,
    protocol: String,
    attributes: Vec<(String, Option<String>)>,
    more: String,
}

impl SdpText {
    /// The offer of a client that sends a message of `size` bytes (7.2.1.2).
    pub fn offer(session: &MsrpSession, size: usize) -> Self {
        Self::of(session)
            .with("file-selector", &format!("size:{size}"))
            .flag("sendonly")
            .with("setup", "active")
            .flag("msrp-cema")
    }

    /// The answer of a client that receives a message.
    pub fn answer(session: &MsrpSession) -> Self {
        Self::of(session)
            .flag("recvonly")
            .with("setup", "passive")
            .flag("msrp-cema")
    }

    fn of(session: &MsrpSession) -> Self {
        let path = session.path();
        let secure = path.starts_with("msrps:");
        let text = Self {
            // A session's path is derived from an address.
            address: address_of(path).unwrap_or(SocketAddr::from(([127, 0, 0, 1], 9))),
            protocol: if secure { "TCP/TLS/MSRP" } else { "TCP/MSRP" }.to_owned(),
            attributes: Vec::new(),
            more: String::new(),
        }
        .with("path", path)
        .with("accept-types", "message/cpim")
        .with("accept-wrapped-types", "*");
        match session.own_fingerprint() {
            Some(fingerprint) => text.with("fingerprint", &fingerprint),
            None => text,
        }
    }

    /// Sets the attribute to this value, in its place or at the end.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.put(name, Some(value.to_owned()));
        self
    }

    /// Adds the attribute without a value.
    pub fn flag(mut self, name: &str) -> Self {
        self.put(name, None);
        self
    }

    /// Removes the attribute.
    pub fn without(mut self, name: &str) -> Self {
        self.attributes.retain(|(own, _)| own != name);
        self
    }

    /// Sets the address of c= and m=, independently of the path, like a middlebox (RFC 6714).
    pub fn at(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Sets the protocol in the m= line.
    pub fn over(mut self, protocol: &str) -> Self {
        protocol.clone_into(&mut self.protocol);
        self
    }

    /// Adds lines after all others, such as another media.
    pub fn and(mut self, lines: &str) -> Self {
        self.more.push_str(lines);
        self
    }

    /// The text.
    pub fn write(&self) -> String {
        let family = if self.address.is_ipv4() { "IP4" } else { "IP6" };
        let host = self.address.ip();
        let mut text = format!(
            "v=0\r\no=- 2890844526 2890844526 IN {family} {host}\r\ns=-\r\nc=IN {family} {host}\r\nt=0 0\r\n\
             m=message {} {} *\r\n",
            self.address.port(),
            self.protocol
        );
        for (name, value) in &self.attributes {
            // Writing to a String cannot fail.
            let _ = match value {
                Some(value) => write!(text, "a={name}:{value}\r\n"),
                None => write!(text, "a={name}\r\n"),
            };
        }
        text + &self.more
    }

    fn put(&mut self, name: &str, value: Option<String>) {
        match self.attributes.iter_mut().find(|(own, _)| own == name) {
            Some((_, old)) => *old = value,
            None => self.attributes.push((name.to_owned(), value)),
        }
    }
}

/// A received description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdpRead(Vec<(char, String)>);

impl SdpRead {
    /// Parses it.
    ///
    /// # Errors
    /// A violation of RFC 4566 §5: of a line, a line end, or the order of the first lines.
    pub fn of(text: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(text).into_owned();
        let Some(text) = text.strip_suffix("\r\n") else {
            return Err(format!("a description without an end: {text:?}"));
        };
        let mut lines = Vec::new();
        for line in text.split("\r\n") {
            let mut characters = line.chars();
            let (kind, equals) = (characters.next(), characters.next());
            let (Some(kind), Some('=')) = (kind.filter(char::is_ascii_lowercase), equals) else {
                return Err(format!("not a line of a description: {line:?}"));
            };
            lines.push((kind, characters.as_str().to_owned()));
        }
        let kinds: String = lines.iter().map(|(kind, _)| *kind).collect();
        match kinds.starts_with("vosct") {
            true => Ok(Self(lines)),
            false => Err(format!("lines in the order {kinds}")),
        }
    }

    /// The values of all lines of this kind.
    pub fn lines(&self, kind: char) -> Vec<&str> {
        let lines = self.0.iter().filter(|(own, _)| *own == kind);
        lines.map(|(_, value)| value.as_str()).collect()
    }

    /// The value of an attribute; empty if it has none.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let values = self.attributes(name);
        values.first().copied()
    }

    /// All values of the attribute with this name.
    pub fn attributes(&self, name: &str) -> Vec<&str> {
        let own = |line: &&str| line.split(':').next() == Some(name);
        let lines = self.lines('a').into_iter().filter(own);
        lines
            .map(|line| line.split_once(':').map_or("", |(_, value)| value))
            .collect()
    }

    /// The only URI of `a=path`.
    #[track_caller]
    pub fn path(&self) -> &str {
        let paths = self.attributes("path");
        assert_eq!(paths.len(), 1, "{self:?}");
        paths[0]
    }

    /// The address in c= and m=.
    #[track_caller]
    pub fn target(&self) -> SocketAddr {
        let host = self
            .lines('c')
            .first()
            .and_then(|line| line.split(' ').nth(2));
        let port = self.lines('m').iter().find_map(|line| {
            let mut words = line.split(' ');
            (words.next() == Some("message")).then(|| words.next())?
        });
        let address =
            host.and_then(|host| Some(SocketAddr::new(host.parse().ok()?, port?.parse().ok()?)));
        match address {
            Some(address) => address,
            None => panic!("no address in {self:?}"),
        }
    }
}
