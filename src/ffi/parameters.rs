//! The entries of the table that are about parameters: what there are, their values, and changing them while the
//! service runs.

use std::ffi::c_int;
use std::rc::Rc;
use std::sync::LazyLock;

use super::bindings::{cpm_parameter, cpm_service, cpm_str};
use super::boundary::boundary;
use super::host::{ABSENT, CHost, borrowed, lend};
use super::service::{ServiceHandle, Stage, table};
use crate::controlling::{Host, LogLevel};
use crate::policy::ALL_PARAMETERS;

/// What values of each parameter look like.
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
            // Kamailio's numbers are ints, and what can change while running fits into them.
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
            // SAFETY: not NULL, and C lends room for one parameter. The texts live as long as the
            // program.
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
    // SAFETY: NULL or a live handle (cpm.h).
    let service = unsafe { service.cast::<ServiceHandle>().as_ref() };
    let (Some(service), Some(known)) = (service, ALL_PARAMETERS.get(number)) else {
        return ABSENT;
    };
    boundary(
        || {
            let settings = match &service.stage {
                Stage::Configuring(settings) => settings,
                Stage::Running(running) => running.settings(),
            };
            let values = settings.values(known);
            values
                .get(value_number)
                .map_or(ABSENT, |value| lend(value.as_bytes()))
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
    // SAFETY: the handle is NULL or from `service_new`, not freed, and no other call uses it now: one thread per
    // process, and not from within another call (cpm.h).
    let Some(service) = (unsafe { service.cast::<ServiceHandle>().as_mut() }) else {
        return -1;
    };
    // SAFETY: the service lives.
    let host = CHost::new(unsafe { table(service.host) }, std::ptr::null_mut());
    boundary(
        || {
            // SAFETY: lent for the duration of this call (cpm.h).
            let (name, value) = unsafe { (borrowed(name), borrowed(value)) };
            let (name, value) = (
                String::from_utf8_lossy(name),
                String::from_utf8_lossy(value),
            );
            let Stage::Running(running) = &service.stage else {
                return -1;
            };
            match running.tuned(&name, &value) {
                Ok(_) if only_try != 0 => 0,
                Ok(tuned) => {
                    service.stage = Stage::Running(Rc::new(tuned));
                    0
                }
                Err(error) => {
                    host.log(
                        LogLevel::Error,
                        format_args!("parameter {name}: \"{value}\" {error}"),
                    );
                    -1
                }
            }
        },
        |place| {
            host.log(
                LogLevel::Critical,
                format_args!("panic at {place} while changing a parameter"),
            );
            -1
        },
    )
}
