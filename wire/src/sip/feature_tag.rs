//! The service requested by a request: ICSI values in Accept-Contact (RFC 3840, RFC 3841, 3GPP TS
//! 24.229 §7.9).

use super::grammar::{trim_lws, unescape};
use super::list::{Parameters, split_list};

/// Whether the Accept-Contact values ask for an IMS communication service.
///
/// `values` are the values of all Accept-Contact header fields, `icsi` is the plain URN, for
/// example `urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg`. It must match a whole member of a
/// `+g.3gpp.icsi-ref` list, so that a longer ICSI with the same beginning does not match. Of a
/// malformed value, the part before the fault counts. Nothing is allocated.
pub fn carries_icsi<'a>(values: impl IntoIterator<Item = &'a str>, icsi: &str) -> bool {
    values.into_iter().flat_map(split_list).any(|value| {
        let parameters = &value[value.find(';').unwrap_or(value.len())..];
        Parameters::new(parameters).flatten().any(|parameter| {
            is_icsi_ref(parameter.name)
                && parameter
                    .raw_value
                    .is_some_and(|list| list_has_member(list, icsi))
        })
    })
}

/// Some clients omit the `+` that RFC 3840 §9 puts before tags outside the base set.
fn is_icsi_ref(name: &str) -> bool {
    name.strip_prefix('+')
        .unwrap_or(name)
        .eq_ignore_ascii_case("g.3gpp.icsi-ref")
}

/// Commas split the list before escapes are resolved: an escaped comma belongs to its member.
fn list_has_member(list: &str, icsi: &str) -> bool {
    let list = list
        .strip_prefix('"')
        .and_then(|list| list.strip_suffix('"'))
        .unwrap_or(list);
    list.split(',').any(|member| {
        let member = trim_lws(member);
        // RFC 3840 §9: text in brackets is a string, compared with its case; else it is a token.
        match member
            .strip_prefix('<')
            .and_then(|member| member.strip_suffix('>'))
        {
            Some(string) => plain_bytes(string).eq(icsi.bytes()),
            None => {
                let lower = |byte: u8| byte.to_ascii_lowercase();
                plain_bytes(member).map(lower).eq(icsi.bytes().map(lower))
            }
        }
    })
}

/// The text without backslashes and `%` escapes.
fn plain_bytes(text: &str) -> impl Iterator<Item = u8> {
    let mut bytes = text.bytes();
    let without_backslashes = std::iter::from_fn(move || match bytes.next()? {
        b'\\' => bytes.next(),
        byte => Some(byte),
    });
    // The upper half marks escaped reserved characters, which are equivalent here.
    unescape(without_backslashes).map(|character| character as u8)
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;
    use crate::test_random::mutate_text;

    const MSG: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg";
    const GROUP: &str = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg.group";

    #[test]
    fn forms_seen_on_the_wire() {
        for value in [
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="urn%3aurn-7%3a3gpp-service.ims.icsi.oma.cpm.msg";require;explicit"#,
            r#"*;require;explicit; +G.3GPP.ICSI-Ref = "urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;g.3gpp.icsi-ref="URN%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="<urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg>""#,
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3Aother, urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;audio, *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="urn:urn-7:3gpp-service.ims.icsi.oma.cpm.ms\g""#,
            "*;+g.3gpp.icsi-ref=urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg",
        ] {
            assert!(carries_icsi([value], MSG), "{value}");
            assert!(!carries_icsi([value], GROUP), "{value}");
        }
    }

    #[test]
    fn only_the_whole_icsi_matches() {
        for value in [
            "",
            "*",
            "*;+g.3gpp.icsi-ref",
            r#"*;+g.3gpp.icsi-ref="""#,
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg.group""#,
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.largemsg""#,
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.ms""#,
            r#"*;+g.3gpp.icsi-ref="!urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="a%2Curn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="<URN:urn-7:3gpp-service.ims.icsi.oma.cpm.msg>""#,
            r#"*;+g.3gpp.iari-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#,
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg"#,
            r#"*;x="+g.3gpp.icsi-ref=urn:urn-7:3gpp-service.ims.icsi.oma.cpm.msg""#,
        ] {
            assert!(!carries_icsi([value], MSG), "{value}");
        }
    }

    #[test]
    fn every_header_field_counts() {
        let fields = [
            "*;audio",
            r#"*;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg.group""#,
        ];
        assert!(carries_icsi(fields, GROUP));
        assert!(!carries_icsi([], GROUP));
    }

    #[test]
    fn mutated_values_never_panic() {
        let mut random = Rng::with_seed(0x1c51);
        let sample =
            r#"*;audio, *;+g.3gpp.icsi-ref="urn%3Aurn-7%3A3gpp-service.ims.icsi.oma.cpm.msg""#;
        let mut matches = 0;
        for _ in 0..10_000 {
            let value = mutate_text(&mut random, sample, b"%\"\\<>,;=3A .");
            let carried = [MSG, GROUP].map(|icsi| carries_icsi([value.as_str()], icsi));
            matches += usize::from(carried[0]);
            assert!(!carried[1] || value.contains("group"), "{value}");
        }
        assert!(matches > 500, "only {matches} mutants match");
    }
}
