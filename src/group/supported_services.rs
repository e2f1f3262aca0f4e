/// Names of the CPM service in a `<supported-services>` element.
///
/// A document may use the enabler registered by OMA, or an IMS communication service identifier. A
/// group is for every use of CPM, so any ICSI of CPM is accepted: that of Standalone Messages
/// (`…oma.cpm.msg`, `.largemsg`, `.deferred`, each with or without `.group`) and that of sessions
/// and file transfers (`.session`, `.filetransfer`). Hence each name here also stands for all names
/// that continue it after a dot.
const CPM_NAMES: [&str; 4] = [
    "urn:urn-7:3gpp-service.ims.icsi.oma.cpm",
    "org.openmobilealliance.cpm",
    "oma_cpm",
    "cpm",
];

/// Whether the `enabler` attribute or the text of a service is CPM. Letter case does not matter,
/// and the colons of an ICSI may be escaped as in feature tags.
pub(super) fn names_cpm(service: &str) -> bool {
    let service = service.trim().to_ascii_lowercase().replace("%3a", ":");
    CPM_NAMES.iter().any(|name| {
        service
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_service() {
        for name in [
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg",
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.largemsg",
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group",
            "URN:urn-7:3gpp-service.ims.icsi.oma.cpm.session.group",
            " urn%3Aurn-7%3a3gpp-service.ims.icsi.oma.cpm.largemsg.group\n",
            "oma_cpm",
            "CPM",
            "org.openmobilealliance.cpm",
            "org.openmobilealliance.cpm.2.2",
        ] {
            assert!(names_cpm(name), "{name}");
        }
        for name in [
            "",
            "poc",
            "cpmx",
            "xcpm",
            "oma_cpm_not",
            "org.openmobilealliance.cp",
            "urn:urn-7:3gpp-service.ims.icsi.oma.cpmx.msg",
            "urn:urn-7:3gpp-service.ims.icsi.mcptt",
            "%3acpm",
        ] {
            assert!(!names_cpm(name), "{name}");
        }
    }
}
