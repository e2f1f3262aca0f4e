//! Trusted authorities and the user's credentials.

use std::fs;

use cpm_client::Credentials;
use cpm_wire::sip::Uri;

use crate::args::{Login, ServerArguments};
use crate::exit::Problem;
use crate::net::{Trust, read_certificates};

/// The trusted certificates.
pub(crate) fn trust(arguments: &ServerArguments) -> Result<Trust, Problem> {
    Ok(Trust {
        authorities: match &arguments.ca_file {
            Some(file) => read_certificates(file)
                .map_err(|error| Problem::local(format!("{}: {error}", file.display())))?,
            None => Vec::new(),
        },
        insecure: arguments.insecure,
    })
}

/// User name and password, if there is a password.
pub(crate) fn credentials(login: &Login, address: &str) -> Result<Option<Credentials>, Problem> {
    let password = match &login.password_file {
        Some(file) => {
            let text = fs::read_to_string(file)
                .map_err(|error| Problem::local(format!("{}: {error}", file.display())))?;
            text.lines().next().map(str::to_owned)
        }
        None => std::env::var("CPM_CLIENT_PASSWORD").ok(),
    };
    let Some(password) = password else {
        return Ok(None);
    };
    let own = Uri::parse(address)
        .ok()
        .and_then(|uri| uri.user().map(str::to_owned));
    let user = login.user.clone().or(own).unwrap_or_default();
    Ok(Some(Credentials { user, password }))
}
