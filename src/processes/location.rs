//! Where the store of a service is.

use std::fs;
use std::time::Duration;

use crate::controlling::ControllingFunction;
use crate::policy::StoreKind;
use crate::store::{ContentFolder, Location, NodeSettings, ServerAddress, StoreError};

/// Where accepted messages are kept; `None`: in memory only.
///
/// # Errors
/// The authorities for its server cannot be read.
pub(super) fn location(service: &ControllingFunction) -> Result<Option<Location>, StoreError> {
    let settings = service.settings();
    let Some(store) = &settings.store else {
        return Ok(None);
    };
    match store.kind() {
        StoreKind::Folder(dir) => Ok(Some(Location::Folder(dir.clone()))),
        StoreKind::Server(url) => {
            let check = service.ids().derived("store check");
            let node = NodeSettings {
                name: settings.store_node.clone().unwrap_or_else(host_name),
                lease: Duration::from_secs(settings.store_lease_s as u64),
                replicas: settings.store_replicas,
                content: settings
                    .store_content
                    .as_deref()
                    .map(ContentFolder::of_nodes),
                key_check: hex::encode(&check[..8]),
            };
            let Some(mut server) = ServerAddress::parse(url) else {
                return Ok(None);
            };
            if store.is_tls() {
                let trusting = server.trusting(settings.store_ca_file.as_deref());
                server = trusting.map_err(|why| StoreError::of_server(&server, why))?;
            }
            Ok(Some(Location::Server(Box::new(server), node)))
        }
    }
}

/// The name of this machine.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
