//! A clock that jumps while the proxy runs.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use cpm_testbed::{Answer, Bench, ProxyConfig, cpm_message, preloaded, to};

use super::{ANNE, expect_messages, keeping};
use crate::common::{EXPLODER, counter, exchange, expect_counter};
use crate::storing::deferring;

const YEAR_S: i64 = 365 * 86_400;

/// The wall clock of one proxy, which may be wrong.
struct Clock {
    library: PathBuf,
    path: PathBuf,
    wrong_by: File,
}

impl Clock {
    fn new(bench: &Bench) -> Self {
        let source = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/e2e/kamailio/store/wrong_clock.c"
        );
        let library = preloaded(source.as_ref(), bench.folder());
        let path = bench.folder().join("wrong_by");
        let wrong_by = File::create(&path).expect("the folder is there");
        let clock = Clock {
            library,
            path,
            wrong_by,
        };
        clock.set(0);
        clock
    }

    /// It is wrong by so many seconds from now on.
    fn set(&self, seconds: i64) {
        let bytes = seconds.to_ne_bytes();
        self.wrong_by.write_all_at(&bytes, 0).expect("it is open");
    }

    fn of(&self, config: ProxyConfig) -> ProxyConfig {
        config
            .variable("LD_PRELOAD", &self.library.display().to_string())
            .variable("CPM_CLOCK", &self.path.display().to_string())
    }
}

#[test]
fn a_clock_that_jumps_makes_nothing_expire_and_nothing_stay() {
    let bench = Bench::new("a_clock_that_jumps");
    let (anne, bill) = (bench.agent(), bench.agent());
    let clock = Clock::new(&bench);
    let config = clock.of(deferring(keeping(&bench), "86400"));
    bill.answers(Answer::code(480));
    let mut proxy = bench.proxy(&config);
    let message = || cpm_message(ANNE, EXPLODER).recipients([to(&bill.uri("bill"))]);
    let mut waiting = 0;
    // A year forward, then two years back; each message was accepted by another clock.
    for wrong_by in [YEAR_S, -YEAR_S, 0] {
        for _ in 0..2 {
            exchange(&anne, &message().request(), &proxy, 202);
            bill.expect_request("MESSAGE");
            waiting += 1;
            expect_counter(&proxy, "waiting", waiting);
            clock.set(wrong_by);
        }
        assert_eq!(counter(&proxy, "expired"), 0);
        proxy.kill();
        proxy = bench.proxy(&config);
        bill.expect_requests("MESSAGE", waiting as usize);
        expect_counter(&proxy, "waiting", waiting);
        assert_eq!(counter(&proxy, "expired"), 0);
        expect_messages(&bench, waiting as u32);
    }
    // What its sender wants for two seconds is of use for two seconds, whatever the clock says.
    let short = message().request().with("Expires", "2");
    exchange(&anne, &short, &proxy, 202);
    bill.expect_request("MESSAGE");
    clock.set(-YEAR_S);
    expect_counter(&proxy, "expired", 1);
    expect_counter(&proxy, "waiting", waiting);
    proxy.stop();
}
