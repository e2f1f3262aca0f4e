//! Entries of the table for parameters: the list, their values, and changes while the service runs.

use std::ffi::c_int;
use std::sync::LazyLock;

use super::bindings::{cpm_parameter, cpm_service, cpm_str};
use super::boundary::boundary;
use super::handle::Handle as _;
use super::host::{ABSENT, borrowed, lend};
use super::service::{ServiceStage, on_service};
use crate::log::at;
use crate::policy::{ALL_PARAMETERS, Settings};
use crate::processes::Proxy as _;

/// The values of each parameter, described for the operator.
static VALUES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let kinds = ALL_PARAMETERS.iter().map(|parameter| parameter.kind);
    kinds.map(|kind| kind.to_string()).collect()
});

pub(super) extern "C" fn parameter(number: usize, room: *mut cpm_parameter) -> c_int {
    let Some(known) = ALL_PARAMETERS.get(number).filter(|_| !room.is_null()) else {
        return 0;
    };
    boundary(
        || {
            // Kamailio's numbers are ints, and all tunable values fit into them.
            let int = |number: usize| c_int::try_from(number).unwrap_or(c_int::MAX);
            let numbers = known.numbers();
            let (min, max) = numbers.unwrap_or_default();
            let described = cpm_parameter {
                name: lend(known.name.as_bytes()),
                help: lend(known.help.as_bytes()),
                values: lend(VALUES[number].as_bytes()),
                is_repeatable: c_int::from(known.is_repeatable()),
                is_number: c_int::from(numbers.is_some()),
                is_tunable: c_int::from(known.is_tunable),
                is_checked: c_int::from(known.is_checked()),
                min: int(min),
                max: int(max),
            };
            // SAFETY: not NULL, and C lends space for one parameter. The texts are static.
            unsafe { room.write(described) };
            1
        },
        |_| 0,
    )
}

pub(super) extern "C" fn value(
    service: *const cpm_service,
    number: usize,
    value_number: usize,
) -> cpm_str {
    // SAFETY: NULL or a live handle, for the duration of the call (cpm.h).
    let service = unsafe { cpm_service::get(service) };
    let (Some(service), Some(known)) = (service, ALL_PARAMETERS.get(number)) else {
        return ABSENT;
    };
    boundary(
        || {
            let lend_value = |settings: &Settings| {
                let values = settings.values(known);
                values
                    .get(value_number)
                    .map_or(ABSENT, |value| lend(value.as_bytes()))
            };
            match service.stage.try_borrow().as_deref() {
                Ok(ServiceStage::Configuring(settings)) => lend_value(settings),
                Ok(ServiceStage::Running(running)) => lend_value(running.control().settings()),
                Err(_) => ABSENT,
            }
        },
        |_| ABSENT,
    )
}

pub(super) extern "C" fn service_tune(
    service: *mut cpm_service,
    name: cpm_str,
    value: cpm_str,
    only_try: c_int,
) -> c_int {
    on_service(
        service,
        std::ptr::null_mut(),
        -1,
        "changing a parameter",
        |_, running, proxy| {
            // SAFETY: lent for the duration of this call (cpm.h).
            let (name, value) = unsafe { (borrowed(name), borrowed(value)) };
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            match running.tune(&name, &value, only_try != 0) {
                Ok(()) => 0,
                Err(error) => {
                    proxy.log(
                        at!(Error),
                        format_args!("parameter {name}: \"{value}\" {error}"),
                    );
                    -1
                }
            }
        },
    )
}
