//! Functions, variables and events in routing scripts in other languages: Lua, Python, JavaScript.

use std::fs;

use cpm_testbed::{Answer, Bench, ProxyConfig, Reply, Request, cpm_message, to};

use crate::both_modes::imdn::receipt;
use crate::common::{EXPLODER, cpm_proxy, exchange, expect_counter, expect_log_lines, reason};
use crate::groups::{ANNE, GroupFolder, open_group, recipients, to_group};
use crate::storing::{deferring, storing};

/// A single line, as in the native script.
const HANDLE: [(&str, &str); 3] = [
    (
        "lua",
        "function ksr_request_route()
    if KSR.cpm.handle() >= 0 then return 1 end
    KSR.sl.sl_send_reply(404, \"Not Ours\")
end",
    ),
    (
        "python",
        "    def ksr_request_route(self, msg):
        if KSR.cpm.handle() >= 0:
            return 1
        KSR.sl.sl_send_reply(404, \"Not Ours\")
        return 1",
    ),
    (
        "jsdt",
        "function ksr_request_route() {
    if (KSR.cpm.handle() >= 0) return 1;
    KSR.sl.sl_send_reply(404, \"Not Ours\");
}",
    ),
];

/// All steps, with the script's own code between them, and all events.
const STEPS: [(&str, &str); 3] = [
    (
        "lua",
        "function ksr_request_route()
    if KSR.cpm.classify() < 0 then
        if KSR.cpm.forward_imdn() >= 0 then return 1 end
        KSR.sl.sl_send_reply(404, \"Not Ours\")
        return 1
    end
    KSR.notice(\"seen \" .. KSR.pv.get(\"$cpm(kind)\") .. \" \" .. KSR.pv.get(\"$cpm(mode)\") .. \"\\n\")
    if KSR.pv.is_null(\"$cpm(originator)\") then
        KSR.pv.sets(\"$cpm(originator)\", \"sip:carol@example.com\")
    end
    local checked = KSR.cpm.check()
    if checked == 0 then return 1 end
    if checked < 0 then
        KSR.notice(\"refused \" .. KSR.pv.get(\"$cpm(code)\") .. \" \" .. KSR.pv.get(\"$cpm(warning)\") .. \"\\n\")
        KSR.cpm.reply()
        return 1
    end
    KSR.notice(\"last \" .. KSR.pv.get(\"$(cpm(recipient)[-1])\") .. \" of \" .. KSR.pv.get(\"$cpm(recipients)\") .. \"\\n\")
    KSR.cpm.fanout()
end
function cpm_event(name)
    if name == \"cpm:authorize\" then
        if KSR.pv.get(\"$cpm(originator)\") == \"sip:mallory@example.com\" then KSR.set_drop() end
    elseif name == \"cpm:checked\" then
        KSR.notice(\"checked \" .. KSR.pv.get(\"$cpm(recipients)\") .. \"\\n\")
    elseif name == \"cpm:recipient-request\" then
        if KSR.pv.get(\"$rU\") == \"dropped\" then KSR.set_drop() end
        KSR.hdr.append(\"X-Leg: \" .. KSR.pv.get(\"$rU\") .. \"\\r\\n\")
    else
        KSR.notice(\"ended \" .. name .. \" \" .. KSR.pv.get(\"$cpm(recipient)\") .. \" \" .. KSR.pv.get(\"$cpm(code)\") .. \"\\n\")
    end
end",
    ),
    (
        "python",
        "    def ksr_request_route(self, msg):
        if KSR.cpm.classify() < 0:
            if KSR.cpm.forward_imdn() >= 0:
                return 1
            KSR.sl.sl_send_reply(404, \"Not Ours\")
            return 1
        KSR.notice(\"seen \" + KSR.pv.get(\"$cpm(kind)\") + \" \" + KSR.pv.get(\"$cpm(mode)\") + \"\\n\")
        if KSR.pv.is_null(\"$cpm(originator)\"):
            KSR.pv.sets(\"$cpm(originator)\", \"sip:carol@example.com\")
        checked = KSR.cpm.check()
        if checked == 0:
            return 1
        if checked < 0:
            KSR.notice(\"refused \" + str(KSR.pv.get(\"$cpm(code)\")) + \" \" + KSR.pv.get(\"$cpm(warning)\") + \"\\n\")
            KSR.cpm.reply()
            return 1
        KSR.notice(\"last \" + KSR.pv.get(\"$(cpm(recipient)[-1])\") + \" of \" + str(KSR.pv.get(\"$cpm(recipients)\")) + \"\\n\")
        KSR.cpm.fanout()
        return 1
    def cpm_event(self, msg, name):
        if name == \"cpm:authorize\":
            if KSR.pv.get(\"$cpm(originator)\") == \"sip:mallory@example.com\":
                KSR.set_drop()
        elif name == \"cpm:checked\":
            KSR.notice(\"checked \" + str(KSR.pv.get(\"$cpm(recipients)\")) + \"\\n\")
        elif name == \"cpm:recipient-request\":
            if KSR.pv.get(\"$rU\") == \"dropped\":
                KSR.set_drop()
            KSR.hdr.append(\"X-Leg: \" + KSR.pv.get(\"$rU\") + \"\\r\\n\")
        else:
            KSR.notice(\"ended \" + name + \" \" + KSR.pv.get(\"$cpm(recipient)\") + \" \" + str(KSR.pv.get(\"$cpm(code)\")) + \"\\n\")
        return 1",
    ),
    (
        "jsdt",
        "function ksr_request_route() {
    if (KSR.cpm.classify() < 0) {
        if (KSR.cpm.forward_imdn() >= 0) return 1;
        KSR.sl.sl_send_reply(404, \"Not Ours\");
        return 1;
    }
    KSR.notice(\"seen \" + KSR.pv.get(\"$cpm(kind)\") + \" \" + KSR.pv.get(\"$cpm(mode)\") + \"\\n\");
    if (KSR.pv.is_null(\"$cpm(originator)\")) KSR.pv.sets(\"$cpm(originator)\", \"sip:carol@example.com\");
    var checked = KSR.cpm.check();
    if (checked == 0) return 1;
    if (checked < 0) {
        KSR.notice(\"refused \" + KSR.pv.get(\"$cpm(code)\") + \" \" + KSR.pv.get(\"$cpm(warning)\") + \"\\n\");
        KSR.cpm.reply();
        return 1;
    }
    KSR.notice(\"last \" + KSR.pv.get(\"$(cpm(recipient)[-1])\") + \" of \" + KSR.pv.get(\"$cpm(recipients)\") + \"\\n\");
    KSR.cpm.fanout();
}
function cpm_event(name) {
    if (name == \"cpm:authorize\") {
        if (KSR.pv.get(\"$cpm(originator)\") == \"sip:mallory@example.com\") KSR.set_drop();
    } else if (name == \"cpm:checked\") {
        KSR.notice(\"checked \" + KSR.pv.get(\"$cpm(recipients)\") + \"\\n\");
    } else if (name == \"cpm:recipient-request\") {
        if (KSR.pv.get(\"$rU\") == \"dropped\") KSR.set_drop();
        KSR.hdr.append(\"X-Leg: \" + KSR.pv.get(\"$rU\") + \"\\r\\n\");
    } else {
        KSR.notice(\"ended \" + name + \" \" + KSR.pv.get(\"$cpm(recipient)\") + \" \" + KSR.pv.get(\"$cpm(code)\") + \"\\n\");
    }
}",
    ),
];

/// The class that every Python script has; the script's own methods follow.
const PYTHON_CLASS: &str = "import KSR
def mod_init():
    return kamailio()
class kamailio:
    def child_init(self, rank):
        return 0
    def ksr_reply_route(self, msg):
        return 1
    def ksr_onsend_route(self, msg):
        return 1
";

/// A proxy with this routing script in another language.
pub(super) fn scripted(bench: &Bench, language: &str, script: &str) -> ProxyConfig {
    let (module, suffix, begin) = match language {
        "python" => ("app_python3", "py", PYTHON_CLASS),
        "jsdt" => ("app_jsdt", "js", ""),
        _ => ("app_lua", "lua", ""),
    };
    let file = bench.folder().join(format!("script.{suffix}"));
    let script = format!("{begin}{script}");
    fs::write(&file, script).expect("the folder of a test can be written to");
    cpm_proxy(&format!("cfgengine \"{language}\""))
        .load(module)
        .set(module, "load", &file.display().to_string())
}

/// A script of [`HANDLE`] that also has this function `cpm_event` for the module's events.
pub(crate) fn hearing(bench: &Bench, language: &str, cpm_event: &str) -> ProxyConfig {
    let known = HANDLE.into_iter().find(|(name, _)| *name == language);
    let (_, handle) = known.expect("a language that scripts are in");
    let script = format!("{handle}\n{cpm_event}");
    scripted(bench, language, &script).set("cpm", "event_callback", "cpm_event")
}

#[test]
fn one_line_is_enough_in_every_language() {
    for (language, script) in HANDLE {
        let bench = Bench::new(&format!("one_line_is_enough_{language}"));
        let folder = GroupFolder::new(&bench, "groups");
        let (anne, bill) = (bench.agent(), bench.agent());
        folder.put("lunch", &open_group("lunch").members([bill.uri("bill")]));
        let proxy = bench.proxy(
            &scripted(&bench, language, script)
                .set("cpm", "group_source", &folder.source())
                .set("cpm", "group_uri", "sip:*@groups.example.com"),
        );
        let capture = bench.capture();
        let message =
            cpm_message("sip:anne@example.com", EXPLODER).recipients([to(&bill.uri("bill"))]);
        exchange(&anne, &message.request(), &proxy, 202);
        recipients(&bill, 1);
        let refused = message.request().without("P-Asserted-Identity");
        exchange(&anne, &refused, &proxy, 403);
        let other = message.request().with_uri("sip:bill@example.com");
        exchange(&anne, &other, &proxy, 404);
        // Another process replies, and the script has nothing more to do.
        exchange(&anne, &to_group(ANNE, "lunch").request(), &proxy, 202);
        recipients(&bill, 1);
        // The same for a retransmission.
        let request = message.request();
        anne.send(&request, proxy.udp());
        anne.send(&request, proxy.udp());
        anne.expect_response(&request, 202);
        recipients(&bill, 1);
        bill.expect_nothing_until(|| proxy.ping());
        capture.stop().assert_clean();
        proxy.stop();
    }
}

#[test]
fn every_step_and_every_event_in_every_language() {
    for (language, script) in STEPS {
        let bench = Bench::new(&format!("every_step_{language}"));
        let (anne, bill, carol) = (bench.agent(), bench.agent(), bench.agent());
        carol.answers(Answer::Reply(Reply::new(603)));
        let proxy = bench.proxy(&scripted(&bench, language, script).set(
            "cpm",
            "event_callback",
            "cpm_event",
        ));
        let capture = bench.capture();
        let message = cpm_message("sip:anne@example.com", EXPLODER).recipients([
            to(&bill.uri("bill")),
            to(&bill.uri("dropped")),
            to(&carol.uri("carol")),
        ]);
        exchange(&anne, &message.request(), &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        assert_eq!(copy.headers("X-Leg"), ["bill"], "{language}");
        carol.expect_request("MESSAGE");
        proxy.expect_log("seen exploder pager");
        proxy.expect_log("checked 3");
        proxy.expect_log(&format!("last {} of 3", carol.uri("carol")));
        let (bill_uri, carol_uri) = (bill.uri("bill"), carol.uri("carol"));
        proxy.expect_log(&format!("ended cpm:recipient-delivered {bill_uri} 200"));
        proxy.expect_log(&format!("ended cpm:recipient-failed {carol_uri} 603"));

        // A receipt that returns is forwarded to the sender.
        let asking = cpm_message(&anne.uri("anne"), EXPLODER)
            .recipients([to(&bill_uri)])
            .request();
        exchange(&anne, &asking, &proxy, 202);
        bill.expect_request("MESSAGE");
        let told = receipt(&bill_uri, EXPLODER, &asking).request();
        exchange(&bill, &told, &proxy, 200);
        assert_eq!(anne.expect_request("MESSAGE").body(), told.body());

        // The script has set the sender.
        let unsigned = message.request().without("P-Asserted-Identity");
        exchange(&anne, &unsigned, &proxy, 202);
        let copy = bill.expect_request("MESSAGE");
        assert_eq!(
            copy.header("P-Asserted-Identity"),
            Some("<sip:carol@example.com>"),
            "{language}"
        );
        carol.expect_request("MESSAGE");
        let mallory = message
            .request()
            .with("P-Asserted-Identity", "<sip:mallory@example.com>");
        exchange(&anne, &mallory, &proxy, 403);
        proxy.expect_log("refused 403 127 Service not authorised");
        bill.expect_nothing_until(|| proxy.ping());
        expect_log_lines(&proxy, "ended cpm:recipient-delivered", 3);
        capture.stop().assert_clean();
        proxy.stop();
    }
}

#[test]
fn a_script_in_any_language_says_who_is_available() {
    for (language, script) in [
        (
            "lua",
            "function ksr_request_route()
    if KSR.cpm.handle() >= 0 then return 1 end
    KSR.cpm.recipient_available(KSR.pv.get(\"$tu\"))
    KSR.sl.sl_send_reply(200, \"OK\")
end",
        ),
        (
            "python",
            "    def ksr_request_route(self, msg):
        if KSR.cpm.handle() >= 0:
            return 1
        KSR.cpm.recipient_available(KSR.pv.get(\"$tu\"))
        KSR.sl.sl_send_reply(200, \"OK\")
        return 1",
        ),
        (
            "jsdt",
            "function ksr_request_route() {
    if (KSR.cpm.handle() >= 0) return 1;
    KSR.cpm.recipient_available(KSR.pv.get(\"$tu\"));
    KSR.sl.sl_send_reply(200, \"OK\");
}",
        ),
    ] {
        let bench = Bench::new(&format!("a_script_says_who_is_available_{language}"));
        let (anne, bill) = (bench.agent(), bench.agent());
        bill.answers(Answer::sequence([Answer::code(480), Answer::code(200)]));
        let config = storing(scripted(&bench, language, script), &bench);
        let proxy = bench.proxy(&deferring(config, "86400"));
        let request = cpm_message("sip:anne@example.com", EXPLODER)
            .recipients([to(&bill.uri("bill"))])
            .request();
        exchange(&anne, &request, &proxy, 202);
        bill.expect_request("MESSAGE");
        expect_counter(&proxy, "waiting", 1);
        let register = Request::new("REGISTER", "sip:scscf.example.com", &bill.uri("bill"));
        exchange(&bill, &register, &proxy, 200);
        bill.expect_request("MESSAGE");
        expect_counter(&proxy, "delivered", 1);
        proxy.stop();
    }
}

#[test]
fn a_callback_needs_a_script_of_its_own_language() {
    let bench = Bench::new("a_callback_needs_a_script");
    let native = cpm_proxy("request_route { exit; }").set("cpm", "event_callback", "cpm_event");
    let failure = bench.try_proxy(&native).expect_err("it has no KEMI script");
    let line = "parameter event_callback: \"cpm_event\" needs a script in another language";
    assert!(failure.log.contains(line), "{}", failure.log);
}

#[test]
fn events_reach_the_script_in_every_process() {
    const RECIPIENTS: usize = 8;
    let bench = Bench::new("events_reach_the_script");
    // So slow that a worker hands the rest over.
    let slowly = "function cpm_event(name)
    if name ~= \"cpm:recipient-request\" then return 1 end
    local begin = os.clock()
    while os.clock() - begin < 0.02 do end
    KSR.hdr.append(\"X-Process: \" .. KSR.pv.get(\"$pp\") .. \"\\r\\n\")
    return 1
end";
    let folder = GroupFolder::new(&bench, "groups");
    let (anne, all) = (bench.agent(), bench.agent());
    let uris: Vec<String> = (0..RECIPIENTS).map(|n| all.uri(&format!("u{n}"))).collect();
    folder.put("lunch", &open_group("lunch").members(&uris));
    let proxy = bench.proxy(
        &hearing(&bench, "lua", slowly)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com"),
    );
    let capture = bench.capture();
    let list = cpm_message(ANNE, EXPLODER).recipients(uris.iter().map(|uri| to(uri)));
    let group = to_group(ANNE, "lunch");
    let table = proxy.process_table();
    for (request, first) in [
        (list.request(), "udp receiver"),
        (group.request(), "CPM groups"),
    ] {
        exchange(&anne, &request, &proxy, 202);
        let seen: Vec<String> = all
            .expect_requests("MESSAGE", RECIPIENTS)
            .iter()
            .map(|copy| {
                let process = copy.header("X-Process").expect("the script has seen it");
                let known = table.iter().find(|(pid, _)| pid.to_string() == process);
                known.map(|(_, name)| name.clone()).unwrap_or_default()
            })
            .collect();
        for part in [first, "CPM fan-out"] {
            assert!(seen.iter().any(|name| name.starts_with(part)), "{seen:?}");
        }
    }
    capture.stop().assert_clean();
    proxy.stop();
}

/// Refuse as they like, and know what an originator may do.
const DECIDES: [(&str, &str); 3] = [
    (
        "lua",
        "function cpm_event(name)
    if name == \"cpm:authorize\" and KSR.hdr.is_present(\"X-Limit\") > 0 then
        KSR.pv.seti(\"$cpm(max_recipients)\", 1)
    elseif name == \"cpm:checked\" and KSR.pv.get(\"$cpm(recipients)\") > 2 then
        KSR.pv.seti(\"$cpm(code)\", 480)
        KSR.pv.sets(\"$cpm(reason)\", \"Not So Many\")
        KSR.pv.seti(\"$cpm(retry_after)\", 60)
        KSR.set_drop()
    end
    return 1
end",
    ),
    (
        "python",
        "    def cpm_event(self, msg, name):
        if name == \"cpm:authorize\" and KSR.hdr.is_present(\"X-Limit\") > 0:
            KSR.pv.seti(\"$cpm(max_recipients)\", 1)
        elif name == \"cpm:checked\" and KSR.pv.get(\"$cpm(recipients)\") > 2:
            KSR.pv.seti(\"$cpm(code)\", 480)
            KSR.pv.sets(\"$cpm(reason)\", \"Not So Many\")
            KSR.pv.seti(\"$cpm(retry_after)\", 60)
            KSR.set_drop()
        return 1",
    ),
    (
        "jsdt",
        "function cpm_event(name) {
    if (name == \"cpm:authorize\" && KSR.hdr.is_present(\"X-Limit\") > 0) {
        KSR.pv.seti(\"$cpm(max_recipients)\", 1);
    } else if (name == \"cpm:checked\" && KSR.pv.get(\"$cpm(recipients)\") > 2) {
        KSR.pv.seti(\"$cpm(code)\", 480);
        KSR.pv.sets(\"$cpm(reason)\", \"Not So Many\");
        KSR.pv.seti(\"$cpm(retry_after)\", 60);
        KSR.set_drop();
    }
}",
    ),
];

#[test]
fn a_script_in_any_language_says_how_it_refuses() {
    for (language, script) in DECIDES {
        let bench = Bench::new(&format!("how_it_refuses_{language}"));
        let folder = GroupFolder::new(&bench, "groups");
        let (anne, bill) = (bench.agent(), bench.agent());
        let users = |count: usize| (0..count).map(|n| bill.uri(&format!("user{n}")));
        folder.put("three", &open_group("three").members(users(3)));
        let config = hearing(&bench, language, script)
            .set("cpm", "group_source", &folder.source())
            .set("cpm", "group_uri", "sip:*@groups.example.com");
        let proxy = bench.proxy(&config);
        let message = |count| {
            let recipients = users(count).map(|uri| to(&uri));
            cpm_message(ANNE, EXPLODER).recipients(recipients).request()
        };
        for request in [message(3), to_group(ANNE, "three").request()] {
            let refused = exchange(&anne, &request, &proxy, 480);
            assert_eq!(reason(&refused), "Not So Many", "{language}");
            assert_eq!(refused.header("Retry-After"), Some("60"), "{language}");
        }
        let limited = message(2).with("X-Limit", "1");
        let refused = exchange(&anne, &limited, &proxy, 486);
        let warning = Some("399 example.com \"102 Too many recipients\"");
        assert_eq!(refused.header("Warning"), warning, "{language}");
        exchange(&anne, &message(1), &proxy, 202);
        bill.expect_request("MESSAGE");
        bill.expect_nothing_until(|| proxy.ping());
        proxy.stop();
    }
}
