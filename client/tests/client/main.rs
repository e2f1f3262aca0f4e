//! The program `cpm-client` as a user runs it: its traffic is captured and checked by tshark, its
//! output is read. The tests against the module need the result of `make build`,
//! `target/kamailio/cpm.so`.

mod answers;
mod certificates;
mod challenges;
mod chatting;
mod common;
mod endings;
mod face;
mod failures;
mod killed;
mod large_mode;
mod lists;
mod locating;
mod matching;
mod module;
mod notifications;
mod packages;
mod pager;
mod profiles;
mod reaching;
mod receiving;
mod recording;
mod registering;
mod replies;
mod servers;
mod strangers;
mod terminal;
mod transports;
mod tutorial;
