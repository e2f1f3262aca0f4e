//! `match`: the duplicate test of 7.2.1.1-19 and 7.2.1.2-done-4.

use cpm_client::{Comparison, Folder, HeaderSet, StoredMessage};
use serde_json::json;

use crate::args::Match;
use crate::exit::{Exit, Problem};
use crate::report::Report;
use crate::store;

/// Compares a SIP copy with an object of the message store.
pub(crate) fn run(arguments: &Match, report: &Report) -> Result<(), Problem> {
    let sip = store::read(&arguments.sip)?;
    let stored = store::read(&arguments.stored)?;
    let reason = difference(&sip, &stored, &arguments.folder);
    match reason {
        Ok(note) => {
            let words = format!("the same message{note}");
            report.say(
                &words,
                json!({ "event": "match", "same": true, "note": note }),
            );
            Ok(())
        }
        Err(reason) => {
            Err(Problem::local(format!("not the same message: {reason}")).with(Exit::Different))
        }
    }
}

fn difference(sip: &StoredMessage, stored: &StoredMessage, name: &str) -> Result<String, String> {
    let conversation = sip.field("Conversation-ID").unwrap_or("");
    // The other party is the recipient of a sent message, and the sender of a received one.
    let others = ["To", "P-Asserted-Identity", "From"]
        .into_iter()
        .filter_map(|field| sip.uri(field));
    let mut one_to_one = others.map(|uri| Folder::OneToOne(uri).matches(name));
    if !one_to_one.any(|fits| fits) && !Folder::Group(conversation).matches(name) {
        return Err(format!("the folder {name} is of another conversation"));
    }
    match HeaderSet::of(sip).compare(&HeaderSet::of(stored)) {
        Comparison::Differs(row) => Err(format!("{row} differs")),
        Comparison::Same {
            payload_types_differ: true,
        } => {
            Ok(" (its payload types differ, which another device may be the reason of)".to_owned())
        }
        Comparison::Same {
            payload_types_differ: false,
        } => Ok(String::new()),
    }
}
