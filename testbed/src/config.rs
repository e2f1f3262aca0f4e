//! The configuration of a proxy under test.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::kamailio;

/// The frame around the routing block. `@…@` marks what is filled in.
const TEMPLATE: &str = r#"#!KAMAILIO
debug=2
log_stderror=yes
memdbg=5
memlog=5
# One worker per listening socket and few others: a small machine runs many of these at once.
children=@CHILDREN@
tcp_children=@CHILDREN@
auto_aliases=no
dns=no
rev_dns=no
use_dns_cache=on
tcp_accept_no_cl=no
server_header="Server: kamailio"
@LISTEN@
@MPATH@
loadmodule "kex.so"
loadmodule "ctl.so"
modparam("ctl", "binrpc", "unix:@CTL@")
@MODULES@
@MODPARAMS@

@ROUTES@
"#;

/// A configuration in the making. The proxy listens on 127.0.0.1, UDP and TCP on one port; modules
/// `kex` and `ctl` are always there, since the bench asks through them whether the proxy is up.
///
/// Everywhere in the text `@PORT@` is the proxy's port, `@CTL@` its control socket and `@FOLDER@`
/// a folder of this proxy alone.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    template: String,
    children: u32,
    over_ipv6: bool,
    mpath: Vec<PathBuf>,
    modules: String,
    modparams: String,
    routes: String,
    arguments: Vec<String>,
}

impl ProxyConfig {
    /// With this text as its routing blocks.
    pub fn new(routes: &str) -> Self {
        Self {
            template: TEMPLATE.to_owned(),
            children: 2,
            over_ipv6: false,
            mpath: Vec::new(),
            modules: String::new(),
            modparams: String::new(),
            routes: routes.to_owned(),
            arguments: Vec::new(),
        }
    }

    /// Another frame than the bench's own. It must hold `@LISTEN@` and a `ctl` module on
    /// `unix:@CTL@`.
    pub fn template(mut self, template: &str) -> Self {
        self.template = template.to_owned();
        self
    }

    /// How many workers per transport (2 unless told).
    pub fn children(mut self, children: u32) -> Self {
        self.children = children;
        self
    }

    /// Listens on ::1 too.
    pub fn over_ipv6(mut self) -> Self {
        self.over_ipv6 = true;
        self
    }

    /// One more folder where modules are looked for, before the proxy's own.
    pub fn mpath(mut self, folder: impl AsRef<Path>) -> Self {
        self.mpath.push(folder.as_ref().to_owned());
        self
    }

    /// Loads a module: its name, or the path of its file.
    pub fn load(mut self, module: &str) -> Self {
        let file = if module.ends_with(".so") { "" } else { ".so" };
        // Writing into a String cannot fail.
        let _ = writeln!(self.modules, "loadmodule \"{module}{file}\"");
        self
    }

    /// Sets a parameter that takes a string.
    pub fn set(mut self, module: &str, name: &str, value: &str) -> Self {
        let _ = writeln!(
            self.modparams,
            "modparam(\"{module}\", \"{name}\", \"{value}\")"
        );
        self
    }

    /// Sets a parameter that takes a number.
    pub fn set_number(mut self, module: &str, name: &str, value: i64) -> Self {
        let _ = writeln!(
            self.modparams,
            "modparam(\"{module}\", \"{name}\", {value})"
        );
        self
    }

    /// One more argument on the proxy's command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// The text of the configuration file.
    pub(crate) fn write(&self, port: u16, ctl: &Path, folder: &Path) -> String {
        let mut listen = format!(
            "{}listen=udp:127.0.0.1:{port}\nlisten=tcp:127.0.0.1:{port}",
            kamailio::settings()
        );
        if self.over_ipv6 {
            let _ = write!(listen, "\nlisten=udp:[::1]:{port}\nlisten=tcp:[::1]:{port}");
        }
        let mpath = match &*self.mpath {
            [] => String::new(),
            folders => {
                let folders: Vec<_> = folders
                    .iter()
                    .map(|path| path.display().to_string())
                    .collect();
                format!(
                    "mpath=\"{}:{}\"",
                    folders.join(":"),
                    modules_folder().display()
                )
            }
        };
        let mut modparams = self.modparams.clone();
        // The default is the machine's own.
        if self.modules.contains("cpm.so") && !modparams.contains("\"state_dir\"") {
            modparams += "modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")\n";
        }
        self.template
            .replace("@LISTEN@", &listen)
            .replace("@MPATH@", &mpath)
            .replace("@CHILDREN@", &self.children.to_string())
            .replace("@MODULES@", self.modules.trim_end())
            .replace("@MODPARAMS@", modparams.trim_end())
            .replace("@ROUTES@", self.routes.trim())
            .replace("@PORT@", &port.to_string())
            .replace("@CTL@", &ctl.display().to_string())
            .replace("@FOLDER@", &folder.display().to_string())
    }
}

/// Where the packaged proxy keeps its modules, by architecture; `KAMAILIO_MODULES` names another.
fn modules_folder() -> PathBuf {
    if let Some(folder) = std::env::var_os("KAMAILIO_MODULES") {
        return folder.into();
    }
    let triplet = format!(
        "/usr/lib/{}-linux-gnu/kamailio/modules",
        std::env::consts::ARCH
    );
    let folders = [
        triplet.as_str(),
        "/usr/lib64/kamailio/modules",
        "/usr/local/lib64/kamailio/modules",
    ];
    let found = folders
        .into_iter()
        .find(|folder| Path::new(folder).is_dir());
    found.unwrap_or(folders[0]).into()
}
