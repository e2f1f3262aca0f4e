//! The configuration of a proxy under test.

use std::path::{Path, PathBuf};

use crate::product::Product;

/// Shared and private memory in MiB: enough for thousands of transactions, and small enough that a
/// leak shows soon.
pub(crate) const SHARED_MEMORY_MIB: &str = "64";
pub(crate) const PRIVATE_MEMORY_MIB: &str = "8";

/// A configuration in the making. The proxy listens on 127.0.0.1, UDP and TCP on one port; what the
/// bench asks it through is always loaded.
///
/// Modules, parameters and script are written as for Kamailio. What has another name in OpenSIPS is
/// translated (`opensips.rs`), so that a test is written once.
///
/// Everywhere in the text `@PORT@` is the proxy's port, `@CTL@` its control socket and `@FOLDER@`
/// a folder of this proxy alone.
#[derive(Debug, Clone)]
pub struct ProxyConfig {
    pub(crate) product: Product,
    pub(crate) template: Option<String>,
    pub(crate) children: u32,
    pub(crate) over_ipv6: bool,
    pub(crate) mpath: Vec<PathBuf>,
    pub(crate) modules: Vec<String>,
    pub(crate) parameters: Vec<Parameter>,
    pub(crate) routes: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
}

/// A parameter of a module.
#[derive(Debug, Clone)]
pub(crate) struct Parameter {
    pub(crate) module: String,
    pub(crate) name: String,
    pub(crate) value: Value,
}

#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
}

/// Where a proxy runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) port: u16,
    /// The control socket.
    pub(crate) ctl: &'a Path,
    /// A folder that goes when the proxy goes.
    pub(crate) scratch: &'a Path,
}

impl ProxyConfig {
    /// For the proxy under test ([`Product::under_test`]), with this text as its routing blocks.
    pub fn new(routes: &str) -> Self {
        Self::of(Product::under_test(), routes)
    }

    /// For this proxy, whichever is under test.
    pub fn of(product: Product, routes: &str) -> Self {
        Self {
            product,
            template: None,
            children: 2,
            over_ipv6: false,
            mpath: Vec::new(),
            modules: Vec::new(),
            parameters: Vec::new(),
            routes: routes.to_owned(),
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Another frame than the bench's own. It must hold `@LISTEN@` and the control socket `@CTL@`:
    /// for Kamailio a `ctl` module on `unix:@CTL@`, for OpenSIPS an `mi_datagram` module on
    /// `@CTL@`.
    pub fn template(mut self, template: &str) -> Self {
        self.template = Some(template.to_owned());
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
        self.modules.push(module.to_owned());
        self
    }

    /// Sets a parameter that takes a string.
    pub fn set(self, module: &str, name: &str, value: &str) -> Self {
        self.with(module, name, Value::Text(value.to_owned()))
    }

    /// Sets a parameter that takes a number.
    pub fn set_number(self, module: &str, name: &str, value: i64) -> Self {
        self.with(module, name, Value::Number(value))
    }

    fn with(mut self, module: &str, name: &str, value: Value) -> Self {
        self.parameters.push(Parameter {
            module: module.to_owned(),
            name: name.to_owned(),
            value,
        });
        self
    }

    /// One more variable in the proxy's environment.
    pub fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// One more argument on the proxy's command line.
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// `loadmodule` lines.
    pub(crate) fn load_lines<'a>(modules: impl Iterator<Item = &'a str>) -> String {
        let lines = modules.map(|module| {
            let file = if module.ends_with(".so") { "" } else { ".so" };
            format!("loadmodule \"{module}{file}\"")
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// `modparam` lines, with a folder for the module's state: its default is the machine's own.
    pub(crate) fn parameter_lines(&self, parameters: &[Parameter]) -> String {
        let mut lines: Vec<String> = parameters.iter().map(Parameter::line).collect();
        let is_loaded = self.modules.iter().any(|module| module.contains("cpm.so"));
        let has_state = parameters.iter().any(|one| one.name == "state_dir");
        if is_loaded && !has_state {
            lines.push("modparam(\"cpm\", \"state_dir\", \"@FOLDER@/state\")".to_owned());
        }
        lines.join("\n")
    }
}

impl Parameter {
    fn line(&self) -> String {
        let Self {
            module,
            name,
            value,
        } = self;
        match value {
            Value::Text(text) => format!("modparam(\"{module}\", \"{name}\", \"{text}\")"),
            Value::Number(number) => format!("modparam(\"{module}\", \"{name}\", {number})"),
        }
    }
}
