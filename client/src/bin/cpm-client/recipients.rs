//! Recipients from the command line and from files.

use std::fs;
use std::path::Path;

use cpm_client::{Destination, Recipient, ReplySource, StoredMessage, reply_address};
use cpm_wire::resource_lists::{CopyControl, ResourceLists};

use crate::args::Send;
use crate::exit::Problem;

/// The recipients given on the command line.
pub(crate) fn destination(
    send: &Send,
    reply: Option<&StoredMessage>,
) -> Result<(Destination, Option<(ReplySource, String)>), Problem> {
    let mut recipients = Vec::new();
    for (uris, role) in [
        (&send.to, CopyControl::To),
        (&send.cc, CopyControl::Cc),
        (&send.bcc, CopyControl::Bcc),
    ] {
        recipients.extend(uris.iter().map(|uri| with_role(uri, Some(role))));
    }
    if let Some(file) = &send.list {
        recipients.extend(read_list(file)?);
    }
    let via = match send.via.as_deref() {
        None => None,
        Some([kind, uri]) => Some((kind.as_str(), uri.clone())),
        Some(_) => return Err(Problem::local("--via takes a kind and an address")),
    };
    let to_one = !matches!(via, Some(("exploder" | "adhoc", _)));
    // Explicit recipients take precedence over the originator.
    let named_anew = send.only_to || to_one && (via.is_some() || !recipients.is_empty());
    let reply_to = match reply {
        Some(item) if !named_anew => Some(reply_address(item, to_one).ok_or_else(|| {
            Problem::local("the message to reply to names no sender").advise("name one with --to")
        })?),
        _ => None,
    };
    if to_one
        && via.is_none()
        && let Some((_, address)) = &reply_to
    {
        recipients.push(with_role(address, None));
    }
    let mut destination = reach(via, recipients)?;
    if let Some((_, address)) = &reply_to {
        destination.insert(address);
    }
    Ok((destination, reply_to))
}

/// The destination of these recipients, as `--via` says.
pub(crate) fn reach(
    via: Option<(&str, String)>,
    recipients: Vec<Recipient>,
) -> Result<Destination, Problem> {
    Ok(match via {
        Some(("exploder", exploder)) => Destination::ToMany {
            exploder,
            recipients,
        },
        Some(("adhoc", controlling)) => Destination::AdHoc {
            controlling,
            recipients,
        },
        Some(("group", group)) if recipients.is_empty() => Destination::Group(group),
        Some(("group", _)) => {
            return Err(Problem::local(
                "a group has its own members: --via group takes no --to",
            ));
        }
        Some((other, _)) => {
            let words = format!("--via {other}: exploder, adhoc or group is wanted");
            return Err(Problem::local(words));
        }
        None => match <[Recipient; 1]>::try_from(recipients) {
            Ok([one]) => Destination::One(one.uri),
            Err(all) if all.is_empty() => {
                return Err(Problem::local("nobody to send to").advise("name somebody with --to"));
            }
            Err(_) => {
                return Err(
                    Problem::local("several recipients, and no way to reach them at once")
                        .advise("add --via exploder URI, or --via adhoc URI"),
                );
            }
        },
    })
}

/// A recipient with this visibility.
pub(crate) fn with_role(uri: &str, copy_control: Option<CopyControl>) -> Recipient {
    Recipient {
        copy_control,
        ..Recipient::to(uri)
    }
}

/// Recipients of a file: resource-lists XML (RFC 4826), or one per line. A line may begin with
/// `to`, `cc` or `bcc`; empty lines and text after `#` are ignored.
fn read_list(file: &Path) -> Result<Vec<Recipient>, Problem> {
    let problem = |words: String| Problem::local(format!("{}: {words}", file.display()));
    let bytes = fs::read(file).map_err(|error| problem(error.to_string()))?;
    let text = std::str::from_utf8(&bytes).map_err(|error| problem(error.to_string()))?;
    if text.trim_start().starts_with('<') {
        let lists = ResourceLists::parse(&bytes).map_err(|error| problem(error.to_string()))?;
        let entries = lists.entries().map(|entry| Recipient {
            uri: entry.uri.to_owned(),
            display_name: entry.display_name.map(str::to_owned),
            copy_control: entry.copy_control,
            anonymize: entry.anonymize,
        });
        return Ok(entries.collect());
    }
    let mut recipients = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line
            .split('#')
            .next()
            .unwrap_or("")
            .split_whitespace()
            .collect();
        let recipient = match words[..] {
            [] => continue,
            [uri] => with_role(uri, Some(CopyControl::To)),
            ["to", uri] => with_role(uri, Some(CopyControl::To)),
            ["cc", uri] => with_role(uri, Some(CopyControl::Cc)),
            ["bcc", uri] => with_role(uri, Some(CopyControl::Bcc)),
            _ => return Err(problem(format!("not a recipient: {line}"))),
        };
        recipients.push(recipient);
    }
    Ok(recipients)
}
