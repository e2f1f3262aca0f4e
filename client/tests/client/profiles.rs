//! The configuration file: profiles and contacts.

use cpm_testbed::Bench;

use crate::common::{ANNE, Running, file, program, text, with_list};

fn run(config: &str, arguments: &[&str]) -> Running {
    let mut command = program();
    command.args(["--json", "--config", config]).args(arguments);
    Running::start(command, "")
}

#[test]
fn a_profile_stands_in_for_options_and_names_for_addresses() {
    let bench = Bench::new("client_a_profile_stands_in");
    let server = bench.agent();
    let other = bench.agent();
    let config = format!(
        "profile = 'home'
         [profiles.home]
         server = '127.0.0.1:{}'
         from = '{ANNE}'
         transport = 'udp'
         via = ['exploder', 'everybody']
         notify = ['delivered', 'displayed']
         anonymous = false
         pager-max = 1200
         receive.expires = 60
         [profiles.work]
         server = '127.0.0.1:{}'
         from = 'sip:anne@work.example.com'
         [contacts]
         everybody = 'sip:exploder@example.com'
         bill = 'sip:bill@example.com'
         team = ['bill', 'sip:carol@example.com']",
        server.port(),
        other.port()
    );
    let config = file(bench.folder(), "config.toml", config);
    let config = text(&config);
    run(config, &["send", "--to", "team", "--subject", "send", "Hi"]).succeeds();
    let request = server.expect_request("MESSAGE");
    assert_eq!(request.uri(), Some("sip:exploder@example.com"));
    let (_, _, list) = with_list(&request);
    let uris: Vec<&str> = list.iter().map(|(uri, _)| uri.as_str()).collect();
    assert_eq!(uris, ["sip:bill@example.com", "sip:carol@example.com"]);
    // The command line takes precedence, for each option.
    let named = [
        "--profile",
        "work",
        "send",
        "--from",
        "sip:a@example.com",
        "--to",
        "bill",
        "Hi",
    ];
    run(config, &named).succeeds();
    let request = other.expect_request("MESSAGE");
    assert_eq!(request.uri(), Some("sip:bill@example.com"));
    let from = request.header("From").unwrap_or_default();
    assert!(from.starts_with("<sip:a@example.com>"), "{from}");
    // So does the environment.
    let mut command = program();
    command.args(["--config", config, "send", "--to", "team", "Hi"]);
    command.env("CPM_CLIENT_FROM", "sip:b@example.com");
    Running::start(command, "").succeeds();
    let from = server.expect_request("MESSAGE");
    let from = from.header("From").unwrap_or_default();
    assert!(from.starts_with("<sip:b@example.com>"), "{from}");
}

#[test]
fn what_is_wrong_with_the_file_is_told() {
    let bench = Bench::new("client_what_is_wrong_with_the_file");
    let send = [
        "send",
        "--from",
        ANNE,
        "--server",
        "127.0.0.1:9",
        "--to",
        "bill",
        "Hi",
    ];
    let own = ["--profile", "home"];
    for (config, before, words) in [
        ("profiles.home = 1", &own[..], "there is no profile home"),
        (
            "profiles.home.colour = 1",
            &own,
            "there is no option --colour",
        ),
        (
            "profiles.home.sing.to = 'a'",
            &own,
            "there is no subcommand sing",
        ),
        (
            "profiles.home.receive.via = ['a', 'b']",
            &["--profile", "x"],
            "no profile x",
        ),
        (
            "profiles.home.anonymous = 'yes'",
            &own,
            "`anonymous` is true or false",
        ),
        (
            "profiles.home.subject = 1.5",
            &own,
            "`subject` is a text or a number",
        ),
        ("profile = 3", &[], "`profile` is the name of a profile"),
        ("contacts = 3", &own[..0], "`contacts` is a table"),
        (
            "[contacts]\nbill = 3",
            &[],
            "a contact is an address or a list",
        ),
        (
            "[contacts]\nanne = 'sip:a@b'",
            &[],
            "no address, and no contact",
        ),
        ("this is no TOML", &[], "config.toml"),
    ] {
        let file = file(bench.folder(), "config.toml", config);
        let mut command = program();
        command
            .args(["--config", text(&file)])
            .args(before)
            .args(send);
        let ended = Running::start(command, "").wait();
        // An invalid address is not the file's fault.
        let code = if words.contains("no address") { 1 } else { 2 };
        assert_eq!(ended.code, code, "{config}: {ended:?}");
        assert!(ended.errors.contains(words), "{config}: {}", ended.errors);
    }
    let mut command = program();
    command
        .args(["--config", "/nowhere/config.toml"])
        .args(send);
    let ended = Running::start(command, "").wait();
    assert_eq!(ended.code, 1, "{ended:?}");
    let mut command = program();
    command.env("XDG_CONFIG_HOME", bench.folder().join("none"));
    command.args(own).args(send);
    let ended = Running::start(command, "").wait();
    assert!(
        ended.code == 2 && ended.errors.contains("no configuration file"),
        "{ended:?}"
    );
}

#[test]
fn the_users_own_file_is_found() {
    let bench = Bench::new("client_the_users_own_file");
    let server = bench.agent();
    let folder = bench.folder().join("cpm-client");
    std::fs::create_dir_all(&folder).expect("the folder of a test can be written to");
    let config = format!("[contacts]\nbill = 'sip:bill@127.0.0.1:{}'", server.port());
    file(&folder, "config.toml", config);
    let mut command = program();
    command.env("XDG_CONFIG_HOME", bench.folder());
    command.args(["send", "--from", ANNE, "--to", "bill", "Hi"]);
    Running::start(command, "").succeeds();
    server.expect_request("MESSAGE");
}
