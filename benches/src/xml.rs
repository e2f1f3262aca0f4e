//! The contestants written in C: libxml2's tree, its callbacks, and expat's (`xml/`).

use std::ffi::{CStr, c_char, c_int};

use crate::parsing::Tally;

#[repr(C)]
struct CTally {
    entries: usize,
    uri_bytes: usize,
}

type CParse = unsafe extern "C" fn(*const c_char, usize, *mut CTally) -> c_int;

unsafe extern "C" {
    fn libxml2_dom(document: *const c_char, length: usize, tally: *mut CTally) -> c_int;
    fn libxml2_sax(document: *const c_char, length: usize, tally: *mut CTally) -> c_int;
    fn expat_sax(document: *const c_char, length: usize, tally: *mut CTally) -> c_int;
    fn libxml2_version() -> *const c_char;
    fn expat_version() -> *const c_char;
}

/// `xmlReadMemory`, a walk through the tree, `xmlFreeDoc`.
pub fn parse_by_libxml2(document: &[u8]) -> Option<Tally> {
    call(libxml2_dom, document)
}

/// `xmlSAXUserParseMemory` with a handler for start tags and their namespaces (SAX2).
pub fn parse_by_libxml2_sax(document: &[u8]) -> Option<Tally> {
    call(libxml2_sax, document)
}

/// `XML_Parse` with namespaces and a handler for start tags.
pub fn parse_by_expat(document: &[u8]) -> Option<Tally> {
    call(expat_sax, document)
}

/// The names and versions of the two libraries.
pub fn versions() -> [String; 2] {
    // SAFETY: both give strings that are constants of their libraries, ended by NUL.
    let texts = unsafe {
        [
            CStr::from_ptr(libxml2_version()),
            CStr::from_ptr(expat_version()),
        ]
    };
    texts.map(|text| text.to_string_lossy().replace('_', " "))
}

fn call(parse: CParse, document: &[u8]) -> Option<Tally> {
    let mut tally = CTally {
        entries: 0,
        uri_bytes: 0,
    };
    // SAFETY: the functions of `xml/contestants.h` read `length` bytes from `document`, write
    // `tally`, and keep neither.
    let result = unsafe { parse(document.as_ptr().cast(), document.len(), &raw mut tally) };
    (result == 0).then_some(Tally {
        entries: tally.entries,
        uri_bytes: tally.uri_bytes,
    })
}
