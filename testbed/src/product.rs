//! Which proxy a test runs.

/// A proxy that the module is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Kamailio: `KAMAILIO` names another binary than Debian's.
    Kamailio,
    /// OpenSIPS: the binary is `OPENSIPS`, its modules are in the tree `OPENSIPS_SRC`.
    OpenSips,
}

impl Product {
    /// The one whose module is tested: Kamailio, or what `PROXY` says.
    #[track_caller]
    pub fn under_test() -> Self {
        let name = std::env::var("PROXY").unwrap_or_default();
        match name.as_str() {
            "" | "kamailio" => Product::Kamailio,
            "opensips" => Product::OpenSips,
            other => panic!("PROXY is {other:?}, not kamailio or opensips"),
        }
    }

    /// As in the names of files and folders.
    pub fn name(self) -> &'static str {
        match self {
            Product::Kamailio => "kamailio",
            Product::OpenSips => "opensips",
        }
    }
}
