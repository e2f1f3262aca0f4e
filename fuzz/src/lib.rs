//! The functions of the fuzz targets, for one input each. They may only panic if the product has a fault.
//!
//! | file | targets |
//! |---|---|
//! | `sip` | `sip_message`, `uri`, `header` |
//! | `mime` | `multipart`, `transfer_encoding` |
//! | `digest` | `digest` |
//! | `dns` | `dns` |
//! | `locating` | `locating`: the machine that asks name servers |
//! | `xml` | `xml`, `resource_lists` |
//! | `group` | `group` |
//! | `cpim` | `cpim`, `imdn` |
//! | `sdp` | `sdp` |
//! | `msrp` | `msrp` |
//! | `fan_out` | `fan_out`: the machine that passes a large message to its legs |
//! | `session` | `session`: the machine of a large message session |
//! | `client` | `client`: the client's two machines |
//! | `mailbox` | `mailbox`: entries from other processes |
//! | `sessions` | `sessions`: the sessions process, without its relay |
//! | `store` | `store`: the store's data of a message; `redis_values` |
//! | `express` | `express`: the express lane |
//! | `request` | `request`: the complete path of a request through the Controlling Function |
//! | `handed_over` | `fan_out_job`, `accepted_invite`, `kept_invite` |

pub mod client;
#[cfg(test)]
mod corpus;
pub mod cpim;
pub mod digest;
pub mod dns;
pub mod express;
pub mod fan_out;
pub mod group;
pub mod handed_over;
pub mod locating;
pub mod mailbox;
pub mod mime;
pub mod msrp;
mod numbered;
pub mod request;
pub mod sdp;
pub mod session;
pub mod sessions;
pub mod sip;
pub mod store;
pub mod xml;

/// A function that takes one input.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("accepted_invite", handed_over::accepted_invite),
    ("client", client::client),
    ("cpim", cpim::cpim),
    ("digest", digest::digest),
    ("dns", dns::dns),
    ("express", express::express),
    ("fan_out", fan_out::fan_out),
    ("fan_out_job", handed_over::fan_out_job),
    ("group", group::group),
    ("header", sip::header),
    ("imdn", cpim::imdn),
    ("kept_invite", handed_over::kept_invite),
    ("locating", locating::locating),
    ("mailbox", mailbox::mailbox),
    ("msrp", msrp::msrp),
    ("multipart", mime::multipart),
    ("redis_values", store::redis_values),
    ("request", request::request),
    ("resource_lists", xml::resource_lists),
    ("sdp", sdp::sdp),
    ("session", session::session),
    ("sessions", sessions::sessions),
    ("sip_message", sip::message),
    ("store", store::store),
    ("transfer_encoding", mime::transfer_encoding),
    ("uri", sip::uri),
    ("xml", xml::xml),
];

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}
