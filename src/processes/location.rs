//! Where the store of a service is.

use std::fs;
use std::time::Duration;

use crate::controlling::ControllingFunction;
use crate::policy::StoreKind;
use crate::store::{ContentFolder, Location, NodeSettings, ServerAddress};

/// Where accepted messages are kept; `None`: in memory only.
pub(super) fn location(service: &ControllingFunction) -> Option<Location> {
    let settings = service.settings();
    match settings.store.as_ref()?.kind() {
        StoreKind::Folder(dir) => Some(Location::Folder(dir.clone())),
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
            Some(Location::Server(Box::new(ServerAddress::parse(url)?), node))
        }
    }
}

/// The name of this machine.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim().to_owned()
}
