//! Which requests are too long for a datagram (RFC 3261 §18.1.1): the core's `udp_mtu` is compared
//! with the bytes that are sent.

use cpm_testbed::{Bench, Product, cpm_message, to};

use crate::common::{EXPLODER, HANDLE, cpm_proxy};

const LIMIT: usize = 1300;

const SETTINGS: &str = "udp_mtu=1300\nudp_mtu_try_proto=TCP\n";

/// How far below the limit the proxy may already use TCP. OpenSIPS writes a number of one to eight
/// hexadecimal digits into Via, which is not known beforehand; eight are assumed.
fn unknown_digits() -> usize {
    match Product::under_test() {
        Product::Kamailio => 0,
        Product::OpenSips => 7,
    }
}

#[test]
fn what_fits_goes_in_a_datagram_and_what_is_a_byte_longer_does_not() {
    let bench = Bench::new("what_fits_goes_in_a_datagram");
    let routes = format!("{SETTINGS}{HANDLE}");
    let (anne, bill) = (bench.agent(), bench.agent());
    // Routed by the Request-URI, and by a proxy in a Route; with an advertised name in Via.
    for (n, configure) in [
        cpm_proxy(&routes),
        cpm_proxy(&routes).set(
            "cpm",
            "outbound_proxy",
            &format!("sip:127.0.0.1:{};lr", bill.port()),
        ),
        cpm_proxy(&format!(
            "advertised_address=\"proxy.example.com\"\nadvertised_port=5099\n{routes}"
        )),
    ]
    .into_iter()
    .enumerate()
    {
        let proxy = bench.proxy(&configure);
        let copy_of = |text: usize| {
            let request = cpm_message("sip:anne@example.com", EXPLODER)
                .recipients([to(&bill.uri("bill"))])
                .text(&"y".repeat(text))
                .request();
            anne.send(&request, proxy.tcp());
            anne.expect_response(&request, 202);
            bill.expect_request("MESSAGE")
        };
        let other = copy_of(1).raw().len() - 1;
        assert!(other < 1000, "{other} bytes beside the text");
        assert_eq!(copy_of(1000 - other).way().transport(), "UDP");
        assert_eq!(copy_of(1400 - other).way().transport(), "TCP");
        let mut sizes = [0, 0];
        // The branches of tm and of the express lane differ in length, by up to 16 bytes.
        for text in (LIMIT - other - 12)..(LIMIT - other + 24) {
            let copy = copy_of(text);
            let size = copy.raw().len();
            let fits = copy.way().transport() == "UDP";
            let least = if fits {
                0
            } else {
                LIMIT + 1 - unknown_digits()
            };
            let most = if fits { LIMIT } else { usize::MAX };
            assert!((least..=most).contains(&size), "{n}: {size} bytes, {fits}");
            sizes[usize::from(fits)] += 1;
        }
        assert!(sizes[0] > 1 && sizes[1] > 1, "{sizes:?}");
        proxy.stop();
    }
}
