//! Where a store is.

use std::path::PathBuf;

use super::content::ContentFolder;
use super::redis_engine::NodeSettings;
use super::server::ServerAddress;

/// Where the store is.
#[derive(Clone, Debug)]
pub enum Location {
    /// In a folder of this machine.
    Folder(PathBuf),
    /// On a server that several nodes share.
    Server(Box<ServerAddress>, NodeSettings),
}

impl Location {
    /// Where the content of large messages is. `None`: they are not kept.
    pub fn content(&self) -> Option<ContentFolder> {
        match self {
            Location::Folder(dir) => Some(ContentFolder::of_store(dir)),
            Location::Server(_, node) => node.content.clone(),
        }
    }
}
