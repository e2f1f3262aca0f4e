//! What carries SIP.

/// What carries SIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// A connection with TLS.
    Tls,
}

impl Transport {
    /// Which one the value of a `transport` parameter names (RFC 3261 §19.1.1).
    pub fn of_parameter(value: &str) -> Option<Self> {
        let all = [Self::Udp, Self::Tcp, Self::Tls];
        let mut all = all.into_iter();
        all.find(|one| value.eq_ignore_ascii_case(one.as_str()))
    }

    /// As Via spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
        }
    }

    /// As a `transport` parameter spells it.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }

    /// Whether nothing has to be sent again.
    pub fn is_reliable(self) -> bool {
        self != Self::Udp
    }

    /// The port where nobody names another (RFC 3261 §19.1.2).
    pub fn default_port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
        }
    }
}
