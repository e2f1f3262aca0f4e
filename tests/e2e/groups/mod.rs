//! Shared by the tests of pre-defined groups: a folder of group documents, a proxy that serves it,
//! and helpers for its responses.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cpm_testbed::{
    Agent, Bench, CpmMessage, GroupDocument, PATIENCE, Proxy, ProxyConfig, Received, Request,
    cpm_message, group_document,
};

use crate::common::{HANDLE, cpm_proxy};

mod outages;
mod outgoing;
mod refusals;
mod rules;
mod sources;

/// A sender with this identity is a member of no group.
pub(crate) const ANNE: &str = "sip:anne@example.com";

/// Everybody may send, but not anonymously.
pub(crate) const ALL_MAY_SEND: &str = "<cp:rule id=\"all\">
  <cp:conditions><cp:identity><cp:many/></cp:identity></cp:conditions>
  <cp:actions><allow-initiate-conference>true</allow-initiate-conference></cp:actions>
</cp:rule>";

/// The address of a group of this domain.
pub(crate) fn address(name: &str) -> String {
    format!("sip:{name}@groups.example.com")
}

/// The group with this name, to which everybody may send.
pub(crate) fn open_group(name: &str) -> GroupDocument {
    group_document(&address(name)).rules(ALL_MAY_SEND)
}

/// A folder of group documents.
pub(crate) struct GroupFolder(PathBuf);

impl GroupFolder {
    pub(crate) fn new(bench: &Bench, name: &str) -> Self {
        let path = bench.folder().join(name);
        fs::create_dir(&path).expect("the folder of a test can be written to");
        GroupFolder(path)
    }

    /// The value of group_source.
    pub(crate) fn source(&self) -> String {
        format!("dir:{}", self.0.display())
    }

    /// Puts a document there atomically, as an operator should.
    pub(crate) fn put(&self, name: &str, document: &GroupDocument) {
        self.put_text(name, &document.xml());
    }

    pub(crate) fn put_text(&self, name: &str, text: &str) {
        let hidden = self.0.join(format!(".{name}"));
        fs::write(&hidden, text).expect("a group document can be written");
        fs::rename(hidden, self.0.join(format!("{name}.xml"))).expect("it can be renamed");
    }

    pub(crate) fn remove(&self, name: &str) {
        fs::remove_file(self.0.join(format!("{name}.xml"))).expect("it was there");
    }
}

/// A proxy that treats addresses of this domain as groups and finds them at `source`.
pub(crate) fn group_proxy(source: &str) -> ProxyConfig {
    cpm_proxy(HANDLE).set("cpm", "group_source", source).set(
        "cpm",
        "group_uri",
        "sip:*@groups.example.com",
    )
}

/// A message from `sender` to a group.
pub(crate) fn to_group(sender: &str, name: &str) -> CpmMessage {
    cpm_message(sender, &address(name))
}

/// Waits for the final response, whatever it is.
#[track_caller]
pub(crate) fn answer_to(agent: &Agent, request: &Request) -> Received {
    loop {
        let response = agent.recv_response(request, PATIENCE);
        let response = response.expect("requests to groups are answered");
        if response.status().is_some_and(|status| status >= 200) {
            return response;
        }
    }
}

/// Sends a request and waits for the final response.
#[track_caller]
pub(crate) fn ask(agent: &Agent, request: &Request, proxy: &Proxy) -> Received {
    agent.send(request, proxy.udp());
    answer_to(agent, request)
}

/// Repeats the request until it gets this response: a change in a source takes effect after a
/// while.
#[track_caller]
pub(crate) fn ask_until(agent: &Agent, request: &Request, proxy: &Proxy, code: u16) -> Received {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = ask(agent, &request.again(), proxy);
        if response.status() == Some(code) {
            return response;
        }
        assert!(
            Instant::now() < deadline,
            "it never came to {code}, at last:\n{:?}",
            *response
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The URIs of the next `count` copies that this agent receives, in alphabetical order.
#[track_caller]
pub(crate) fn recipients(agent: &Agent, count: usize) -> Vec<String> {
    let copies = agent.expect_requests("MESSAGE", count);
    let mut uris: Vec<String> = copies
        .iter()
        .map(|copy| copy.uri().unwrap_or_default().to_owned())
        .collect();
    uris.sort_unstable();
    uris
}
