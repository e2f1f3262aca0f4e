//! stub
#![allow(missing_docs)]
use crate::group::Group;
use crate::sip::Uri;
use std::rc::Rc;
#[derive(Default)]
pub struct Options {
    pub user: Option<String>,
    pub password: Option<String>,
    pub ca_file: Option<String>,
    pub timeout_ms: u64,
    pub lifetime_s: u64,
    pub x: u8,
}
pub enum Found {
    Group(Rc<Group>),
    Unknown,
}
pub struct Unavailable {
    pub retry_after_s: u32,
}
impl std::fmt::Display for Unavailable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}
pub struct SourceError;
impl std::fmt::Display for SourceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("x")
    }
}
pub struct DatabaseError;
pub trait GroupDatabase {
    fn document(&self, url: &str, group_uri: &str) -> Result<Option<Vec<u8>>, DatabaseError>;
}
pub struct GroupSources(Vec<String>);
impl GroupSources {
    pub fn new(urls: &[String], _o: Options) -> Result<Self, SourceError> {
        Ok(GroupSources(urls.to_vec()))
    }
    pub fn find(
        &mut self,
        uri: &Uri<'_>,
        _now: u64,
        db: &dyn GroupDatabase,
    ) -> Result<Found, Unavailable> {
        for u in &self.0 {
            if let Some(db_url) = u.strip_prefix("db:") {
                match db.document(db_url, uri.as_str()) {
                    Ok(Some(d)) => {
                        return Group::parse(&d)
                            .map(|mut g| Found::Group(Rc::new(g.remove(0))))
                            .map_err(|_| Unavailable { retry_after_s: 5 });
                    }
                    Ok(None) => {}
                    Err(_) => return Err(Unavailable { retry_after_s: 5 }),
                }
            }
            if let Some(dir) = u.strip_prefix("dir:") {
                if let Ok(d) = std::fs::read(format!("{dir}/{}.xml", uri.user().unwrap_or(""))) {
                    return Group::parse(&d)
                        .map(|mut g| Found::Group(Rc::new(g.remove(0))))
                        .map_err(|_| Unavailable { retry_after_s: 5 });
                }
            }
        }
        Ok(Found::Unknown)
    }
    pub fn flush(&mut self) -> usize {
        0
    }
}
