//! Reads the file of parameters and the certificate again, for all processes at once.

use super::assembly::{Service, check_group_sources};
use super::letter;
use super::process::Process;
use super::proxy::Proxy;
use super::query::{QueryResult, Visitor, visit};
use crate::log::at;
use crate::policy::{ReloadError, Settings};
use crate::relay::TlsFiles;

impl Service {
    /// Takes over what the file of parameters says now, and the certificate as it is now. If any of
    /// it cannot be used, nothing changes, and the log says why. `visitor` gets the number of
    /// addresses, trusted peers and group sources in force.
    pub fn reload(&self, proxy: &dyn Proxy, visitor: &mut dyn Visitor) -> QueryResult {
        let other = |error: &dyn std::fmt::Display| ReloadError::Other(error.to_string());
        let replaced = self.current.replace(
            |error| ReloadError::Other(format!("the parameters {error}")),
            |now| {
                let settings = self.configured().reloaded(now)?;
                check_group_sources(&settings, proxy).map_err(|error| other(&error))?;
                self.check_processes(&settings)?;
                if self.control().large_mode().is_some()
                    && let Some(files) = TlsFiles::new(&settings)
                {
                    files.check().map_err(|error| other(&error))?;
                }
                Ok(settings)
            },
        );
        if let Err(error) = replaced {
            let line = format_args!("nothing is reloaded: {error}");
            proxy.log(at!(Error), line);
            return QueryResult::Refused;
        }
        let control = self.control();
        let settings = control.settings();
        let has_certificate = control.large_mode().is_some() && TlsFiles::new(settings).is_some();
        if has_certificate && !proxy.post(Process::Sessions, &letter::reload()) {
            let line = format_args!("the certificate is not reloaded: the sessions are busy");
            proxy.log(at!(Error), line);
            return QueryResult::NoAnswer;
        }
        let addresses = settings.exploder_uris.len() + settings.controlling_uris.len();
        let peers = settings.given_values("trusted_peer");
        let sources = settings.group_sources.len();
        proxy.log(
            at!(Notice),
            format_args!(
                "reloaded: {addresses} addresses, {peers} trusted peers, {sources} group sources"
            ),
        );
        let certificate = u8::from(has_certificate);
        visit(
            &format!(
                "addresses={addresses}\ttrusted_peers={peers}\tgroup_sources={sources}\tcertificate={certificate}\n"
            ),
            visitor,
        );
        QueryResult::Answered
    }

    /// Groups need the processes that were started for them.
    fn check_processes(&self, settings: &Settings) -> Result<(), ReloadError> {
        if !self.has_groups && !settings.group_sources.is_empty() {
            let line =
                "group_source: the proxy has started without groups, and has no processes for them";
            return Err(ReloadError::Other(line.to_owned()));
        }
        Ok(())
    }
}
