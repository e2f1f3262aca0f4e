//! An operator's question, as a host asks it.

use super::*;

/// The answer to a question: its fields, with an item for each record and part.
pub(super) fn query(
    service: *const cpm_service,
    query: cpm_query,
    argument: &str,
) -> (cpm_query_result, Vec<String>) {
    unsafe extern "C" fn record(to: *mut c_void) -> c_int {
        add(to, "record".to_owned())
    }
    unsafe extern "C" fn part(to: *mut c_void) -> c_int {
        add(to, "part".to_owned())
    }
    unsafe extern "C" fn text_field(to: *mut c_void, name: *const c_char, value: cpm_str) -> c_int {
        // SAFETY: a text that ends with NUL, lent for this call.
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        add(to, format!("{name}={}", text(value)))
    }
    unsafe extern "C" fn number_field(to: *mut c_void, name: *const c_char, value: u64) -> c_int {
        // SAFETY: as above.
        let name = unsafe { CStr::from_ptr(name) }.to_str().unwrap();
        add(to, format!("{name}={value}"))
    }
    fn add(to: *mut c_void, item: String) -> c_int {
        // SAFETY: what `query` was given, which nobody else uses meanwhile.
        unsafe { (*to.cast::<Vec<String>>()).push(item) };
        0
    }
    let visitor = cpm_answer_visitor {
        record: Some(record),
        part: Some(part),
        text: Some(text_field),
        number: Some(number_field),
    };
    let mut items: Vec<String> = Vec::new();
    let to = (&raw mut items).cast();
    let result = call!(query(
        service,
        query,
        lent(argument),
        &raw const visitor,
        to
    ));
    let fault: cpm_fault = call!(fault(query, result));
    // SAFETY: a text that ends with NUL and lives as long as the core.
    let told = unsafe { CStr::from_ptr(fault.text) };
    let is_answered = result == CPM_QUERY_ANSWERED;
    assert_eq!(
        (fault.code == 0, told.is_empty()),
        (is_answered, is_answered)
    );
    (result, items)
}
