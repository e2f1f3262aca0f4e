//! The command line.

use std::net::{AddrParseError, IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use cpm_client::{OMA_RELEASE, SipTransport};
use cpm_wire::locating::{Wanted, parse_server};

use crate::net::{NameServers, Server};

/// Sends and receives CPM Standalone Messages: a CPM Client (OMA CPM 7.2) for the command line.
#[derive(Debug, Parser)]
#[command(name = "cpm-client", version)]
pub(crate) struct Arguments {
    /// Tells everything as JSON, one object a line, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Writes every SIP and MSRP message to standard error as it is sent or received; password
    /// digests are blanked out
    #[arg(long, global = true)]
    pub(crate) trace: bool,
    /// Records the same in a file for Wireshark; what goes over TLS is in it in clear
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) pcap: Option<PathBuf>,
    /// The profile of the configuration file whose settings count where the command line and the
    /// environment say nothing
    #[arg(long, value_name = "NAME", env = "CPM_CLIENT_PROFILE", global = true)]
    pub(crate) profile: Option<String>,
    /// The configuration file; without it, cpm-client/config.toml in the user's configuration
    /// folder
    #[arg(long, value_name = "FILE", env = "CPM_CLIENT_CONFIG", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sends one message: to one, to an ad-hoc group, to a group, or to many
    Send(Box<Send>),
    /// Registers or just listens, answers, prints and stores messages
    Receive(Box<Receive>),
    /// A conversation in the terminal, with one or with several
    Chat(Box<Chat>),
    /// Says whether a message that came by SIP and one from the message store are the same
    Match(Match),
    /// Writes a completion script for a shell
    Completion {
        /// For which shell
        shell: Shell,
    },
    /// Writes the man pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
}

/// `send`
#[derive(Debug, Args)]
pub(crate) struct Send {
    /// The text; without it and without --file it is read from standard input
    pub(crate) text: Option<String>,

    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) login: Login,

    /// The sender's address
    #[arg(
        long,
        value_name = "URI",
        env = "CPM_CLIENT_FROM",
        help_heading = "From whom"
    )]
    pub(crate) from: String,
    /// The sender's name, for people
    #[arg(long, value_name = "NAME", help_heading = "From whom")]
    pub(crate) name: Option<String>,
    /// Which registered address is to be the originator's (P-Preferred-Identity)
    #[arg(long, value_name = "URI", help_heading = "From whom")]
    pub(crate) identity: Option<String>,
    /// States P-Asserted-Identity itself, as a trusted element would: to try a server of which this
    /// machine is a trusted_peer
    #[arg(long, value_name = "URI", help_heading = "From whom")]
    pub(crate) assert: Option<String>,
    /// Asks that recipients do not learn who sent it
    #[arg(long, help_heading = "From whom")]
    pub(crate) anonymous: bool,
    /// Where answers should go
    #[arg(long, value_name = "URI", help_heading = "From whom")]
    pub(crate) reply_to: Option<String>,

    /// A recipient; may be repeated with --via
    #[arg(long, value_name = "URI", help_heading = "To whom")]
    pub(crate) to: Vec<String>,
    /// A recipient who is shown as cc
    #[arg(long, value_name = "URI", help_heading = "To whom")]
    pub(crate) cc: Vec<String>,
    /// A recipient whom the others do not see
    #[arg(long, value_name = "URI", help_heading = "To whom")]
    pub(crate) bcc: Vec<String>,
    /// Recipients from a file: resource-lists XML, or one a line, with `to`, `cc` or `bcc` before
    /// it or not
    #[arg(long, value_name = "FILE", help_heading = "To whom")]
    pub(crate) list: Option<PathBuf>,
    /// How several are reached: exploder (1-to-many) or adhoc (ad-hoc group) with the address
    /// provisioned for it, or group with the address of a pre-defined group
    #[arg(long, num_args = 2, value_names = ["KIND", "URI"], help_heading = "To whom")]
    pub(crate) via: Option<Vec<String>>,
    /// Replies to a message that `receive --store` or `send --store` has kept
    #[arg(long, value_name = "FILE", help_heading = "To whom")]
    pub(crate) reply: Option<PathBuf>,
    /// Replies to the addresses of --to alone, not also to where the message came from
    #[arg(long, requires = "reply", help_heading = "To whom")]
    pub(crate) only_to: bool,
    /// The conversation that it belongs to; without it and without --reply a new one begins
    #[arg(long, value_name = "ID", help_heading = "To whom")]
    pub(crate) conversation: Option<String>,

    /// A file to send; may be repeated, each is a part of its own
    #[arg(long, value_name = "FILE", help_heading = "What")]
    pub(crate) file: Vec<PathBuf>,
    /// The type of standard input and of files whose name does not tell
    #[arg(long, value_name = "TYPE", help_heading = "What")]
    pub(crate) content_type: Option<String>,
    /// A subject
    #[arg(long, value_name = "TEXT", help_heading = "What")]
    pub(crate) subject: Option<String>,
    /// After so many seconds the message is worth nothing any more
    #[arg(long, value_name = "SECONDS", help_heading = "What")]
    pub(crate) expires: Option<u32>,
    /// Which reports are wanted
    #[arg(
        long,
        value_name = "REPORTS",
        value_delimiter = ',',
        help_heading = "What"
    )]
    pub(crate) notify: Vec<Notify>,

    /// Route of the request, such as the Service-Route of the registration; may be repeated
    #[arg(long, value_name = "URI", help_heading = "How")]
    pub(crate) route: Vec<String>,
    /// Our own IP address for SIP and MSRP, where the system would choose another one
    #[arg(long, value_name = "ADDRESS", help_heading = "How")]
    pub(crate) local: Option<IpAddr>,
    /// What carries MSRP
    #[arg(long, value_enum, default_value = "tcp", help_heading = "How")]
    pub(crate) msrp: Msrp,
    /// Largest MSRP chunk in bytes; 0: the message in one chunk
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 65_536,
        help_heading = "How"
    )]
    pub(crate) chunk_size: usize,
    /// Largest message in bytes that goes in one SIP MESSAGE
    #[arg(long, value_name = "BYTES", default_value_t = cpm_client::PAGER_MAX_BYTES, help_heading = "How")]
    pub(crate) pager_max: usize,
    /// What --pager-max is measured of
    #[arg(long, value_enum, default_value = "cpim", help_heading = "How")]
    pub(crate) pager_size_of: PagerSizeOf,
    /// Session-Expires of the INVITE; uac is against the specification, to try a server
    #[arg(long, value_enum, default_value = "absent", help_heading = "How")]
    pub(crate) session_expires: SessionExpiresKind,
    /// The interval that --session-expires names, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 1800,
        help_heading = "How"
    )]
    pub(crate) session_interval: u32,
    /// The release of OMA CPM that User-Agent names
    #[arg(
        long,
        value_name = "RELEASE",
        default_value = OMA_RELEASE,
        help_heading = "How"
    )]
    pub(crate) oma_release: String,

    /// Keeps a copy of what was sent in this folder
    #[arg(long, value_name = "FOLDER", help_heading = "What is told and kept")]
    pub(crate) store: Option<PathBuf>,
    /// Shows what each recipient has got, as `cpm.session` of the proxy says: its jsonrpcs over
    /// http://HOST:PORT/PATH, udp:HOST:PORT or unix:PATH (datagram socket)
    #[arg(
        long,
        value_name = "URL",
        env = "CPM_CLIENT_WATCH",
        help_heading = "What is told and kept"
    )]
    pub(crate) watch: Option<String>,
    /// Stays so long after sending, or till everybody has told all that --notify asks for, and says
    /// who has told what
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "notify",
        help_heading = "What is told and kept"
    )]
    pub(crate) wait_notifications: Option<u64>,
    /// Where SIP comes in meanwhile, UDP and TCP; without it, only over the way to the server
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        requires = "wait_notifications",
        help_heading = "What is told and kept"
    )]
    pub(crate) listen: Option<SocketAddr>,
    /// Registers meanwhile with this registrar, such as sip:example.com, by way of the server
    #[arg(
        long,
        value_name = "URI",
        requires = "wait_notifications",
        help_heading = "What is told and kept"
    )]
    pub(crate) register: Option<String>,
    /// How progress is shown
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        help_heading = "What is told and kept"
    )]
    pub(crate) progress: ProgressKind,
}

/// `receive`
#[derive(Debug, Args)]
pub(crate) struct Receive {
    /// The user's address
    #[arg(long, value_name = "URI", env = "CPM_CLIENT_FROM")]
    pub(crate) address: String,
    /// Where SIP comes in: ADDRESS:PORT over UDP and TCP, tls:ADDRESS:PORT over TLS; each once;
    /// port 0: any
    #[arg(
        long,
        value_name = "[tls:]ADDRESS:PORT",
        default_value = "127.0.0.1:5062"
    )]
    pub(crate) listen: Vec<Listen>,
    /// Where MSRP comes in; without it the same address, any port
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) msrp_listen: Option<SocketAddr>,
    /// What carries MSRP; without it, tls if there is a certificate
    #[arg(long, value_enum)]
    pub(crate) msrp: Option<Msrp>,
    /// Certificate of our own (PEM), for SIP and MSRP over TLS
    #[arg(long, value_name = "FILE", requires = "tls_private_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// The key to it (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_private_key: Option<PathBuf>,

    /// Registers with this registrar, such as sip:example.com, by way of --server
    #[arg(long, value_name = "URI")]
    pub(crate) register: Option<String>,
    /// Lifetime of the registration in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    pub(crate) expires: u32,
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) login: Login,

    /// Keeps each message in this folder, and its parts as files of their own
    #[arg(long, value_name = "FOLDER")]
    pub(crate) store: Option<PathBuf>,
    /// Ends after so many messages
    #[arg(long, value_name = "NUMBER")]
    pub(crate) count: Option<usize>,
    /// Refuses every message with this status code
    #[arg(long, value_name = "CODE")]
    pub(crate) reject: Option<u16>,
    /// Sends no disposition notifications, whatever senders ask for
    #[arg(long, conflicts_with = "display")]
    pub(crate) no_imdn: bool,
    /// Also tells senders who want to know it that their message was displayed
    #[arg(long)]
    pub(crate) display: bool,
    /// States P-Asserted-Identity in notifications, as a trusted element would: to try a server of
    /// which this machine is a trusted_peer
    #[arg(long, value_name = "URI")]
    pub(crate) assert: Option<String>,
    /// Largest message in bytes; up to 16 may come at once, each kept in memory until it is whole
    #[arg(long, value_name = "BYTES", default_value_t = 100 << 20)]
    pub(crate) max_size: u64,
    /// The release of OMA CPM that User-Agent and Server name
    #[arg(long, value_name = "RELEASE", default_value = OMA_RELEASE)]
    pub(crate) oma_release: String,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) progress: ProgressKind,
}

/// `chat`
#[derive(Debug, Args)]
pub(crate) struct Chat {
    #[command(flatten)]
    pub(crate) server: ServerArguments,
    #[command(flatten)]
    pub(crate) login: Login,

    /// The user's address
    #[arg(
        long,
        value_name = "URI",
        env = "CPM_CLIENT_FROM",
        help_heading = "From whom"
    )]
    pub(crate) from: String,
    /// The user's name, for people
    #[arg(long, value_name = "NAME", help_heading = "From whom")]
    pub(crate) name: Option<String>,
    /// States P-Asserted-Identity itself, as a trusted element would: to try a server of which this
    /// machine is a trusted_peer
    #[arg(long, value_name = "URI", help_heading = "From whom")]
    pub(crate) assert: Option<String>,
    /// Whom to talk to; several with --via
    #[arg(long, value_name = "URI", help_heading = "To whom")]
    pub(crate) to: Vec<String>,
    /// How several are reached: exploder, adhoc or group, and the address, as for `send`
    #[arg(long, num_args = 2, value_names = ["KIND", "URI"], help_heading = "To whom")]
    pub(crate) via: Option<Vec<String>>,
    /// Where SIP comes in, UDP and TCP; port 0: any
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:0",
        help_heading = "How"
    )]
    pub(crate) listen: SocketAddr,
    /// Registers with this registrar, such as sip:example.com, by way of the server
    #[arg(long, value_name = "URI", help_heading = "How")]
    pub(crate) register: Option<String>,
    /// The release of OMA CPM that User-Agent and Server name
    #[arg(
        long,
        value_name = "RELEASE",
        default_value = OMA_RELEASE,
        help_heading = "How"
    )]
    pub(crate) oma_release: String,
    /// Keeps what is sent and what comes in this folder; files that come are kept in the current
    /// one otherwise
    #[arg(long, value_name = "FOLDER", help_heading = "What is kept")]
    pub(crate) store: Option<PathBuf>,
}

/// `match`
#[derive(Debug, Args)]
pub(crate) struct Match {
    /// The copy that came or went by SIP, as `--store` has kept it
    #[arg(long, value_name = "FILE")]
    pub(crate) sip: PathBuf,
    /// The object of the message store
    #[arg(long, value_name = "FILE")]
    pub(crate) stored: PathBuf,
    /// The folder of the message store that the object lies in
    #[arg(long, value_name = "NAME")]
    pub(crate) folder: String,
}

/// The server, and how to find it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArguments {
    /// The SIP proxy that all requests go to; without it, the host of the recipient's address
    #[arg(long, value_name = "HOST[:PORT]", env = "CPM_CLIENT_SERVER")]
    pub(crate) server: Option<String>,
    /// The name server that tells where the server's domain has its SIP servers (NAPTR, SRV);
    /// without it, those of the system
    #[arg(long, value_name = "ADDRESS[:PORT]", env = "CPM_CLIENT_NAMESERVER")]
    pub(crate) nameserver: Option<NameServer>,
    /// What carries SIP; auto: what the server's domain prefers, else UDP for what is small, TCP
    /// for the rest
    #[arg(long, value_enum, default_value = "auto", env = "CPM_CLIENT_TRANSPORT")]
    pub(crate) transport: TransportKind,
    /// Certificates (PEM) of the authorities that vouch for the other end; without it, Mozilla's
    /// list
    #[arg(long, value_name = "FILE", env = "CPM_CLIENT_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Believes any certificate: for a laboratory
    #[arg(long)]
    pub(crate) insecure: bool,
}

/// The user's credentials for a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Password")]
pub(crate) struct Login {
    /// User name; without it, the user of the address
    #[arg(long, value_name = "NAME", env = "CPM_CLIENT_USER")]
    pub(crate) user: Option<String>,
    /// A file with the password in its first line; or put the password into CPM_CLIENT_PASSWORD
    #[arg(long, value_name = "FILE", env = "CPM_CLIENT_PASSWORD_FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// The transport of SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportKind {
    /// By size.
    Auto,
    /// Datagrams.
    Udp,
    /// A connection.
    Tcp,
    /// With TLS.
    Tls,
}

/// An address that receives SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listen {
    /// Over UDP and TCP.
    Plain(SocketAddr),
    /// Over TLS.
    Tls(SocketAddr),
}

impl FromStr for Listen {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_prefix("tls:") {
            Some(address) => address.parse().map(Self::Tls),
            None => text.parse().map(Self::Plain),
        }
    }
}

/// A name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl FromStr for NameServer {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match parse_server(text) {
            Some(server) => Ok(Self(server)),
            None => text.parse().map(Self),
        }
    }
}

impl ServerArguments {
    /// The name servers for queries.
    pub(crate) fn name_servers(&self) -> NameServers {
        match self.nameserver {
            Some(NameServer(address)) => NameServers::one(address),
            None => NameServers::of_system(),
        }
    }

    /// The allowed transports to this server; `otherwise`: if nothing specifies one.
    pub(crate) fn wanted(&self, server: &Server, otherwise: Wanted) -> Wanted {
        match (self.transport, server.transport) {
            (TransportKind::Udp, _) => Wanted::Over(SipTransport::Udp),
            (TransportKind::Tcp, _) => Wanted::Over(SipTransport::Tcp),
            (TransportKind::Tls, _) => Wanted::Over(SipTransport::Tls),
            (TransportKind::Auto, Some(known)) => Wanted::Over(known),
            (TransportKind::Auto, None) => otherwise,
        }
    }
}

/// The transport of MSRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Msrp {
    /// A connection.
    Tcp,
    /// With TLS.
    Tls,
}

/// A notification about the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Notify {
    /// It was delivered.
    Delivered,
    /// It could not be delivered.
    Failed,
    /// It was displayed.
    Displayed,
    /// It was converted to another service.
    Interworked,
}

/// What `--pager-max` is measured of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PagerSizeOf {
    /// The message/cpim content.
    Cpim,
    /// The whole request.
    Request,
}

/// Session-Expires of the INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SessionExpiresKind {
    /// None, as the specification requires.
    Absent,
    /// Without refresher.
    Plain,
    /// `refresher=uas`
    Uas,
    /// `refresher=uac`
    Uac,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressKind {
    /// Bars on a terminal, else nothing.
    Auto,
    /// Lines.
    Plain,
    /// Nothing.
    None,
}
