//! Which proxy a test runs.

/// A proxy that the module is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Kamailio: `KAMAILIO` may name a binary other than Debian's.
    Kamailio,
    /// OpenSIPS: `OPENSIPS` names the binary, `OPENSIPS_SRC` the source tree with its modules.
    OpenSips,
}

impl Product {
    /// The proxy whose module is tested: Kamailio, or what `PROXY` says.
    #[track_caller]
    pub fn under_test() -> Self {
        let name = std::env::var("PROXY").unwrap_or_default();
        match name.as_str() {
            "" | "kamailio" => Product::Kamailio,
            "opensips" => Product::OpenSips,
            other => panic!("PROXY is {other:?}, not kamailio or opensips"),
        }
    }

    /// As in names of files and folders.
    pub fn name(self) -> &'static str {
        match self {
            Product::Kamailio => "kamailio",
            Product::OpenSips => "opensips",
        }
    }
}
