//! Configuration, key passphrases and the sample federation, by running the program.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

#[test]
fn the_sample_is_ready_to_run_and_its_keys_serve() {
    let root = tempfile::tempdir().unwrap();
    let made = parsed(&run(root.path(), &["sample", "s", "--run", "KE,BR,KE"]));
    assert_eq!((&made["members"], &made["sample"]), (&Value::from(196), &Value::from(true)));
    let running = made["running"].as_array().unwrap();
    let codes: Vec<&str> = running.iter().map(|place| place["member"].as_str().unwrap()).collect();
    assert_eq!(codes, ["BR", "KE"]);
    for place in running {
        let config = place["config"].as_str().unwrap();
        let shown = parsed(&run(root.path(), &["config", "show", "--config", config]));
        let value = |key: &str| {
            let settings = shown["settings"].as_array().unwrap();
            settings.iter().find(|setting| setting["key"] == key).unwrap()["value"].clone()
        };
        assert_eq!(value("allow_private_addresses"), "true");
        assert_eq!(value("listen"), format!("\"{}\"", place["listen"].as_str().unwrap()));
        let keys = Path::new(place["folder"].as_str().unwrap()).join("keys");
        let [key, passphrase] = ["root.key", "sample-passphrase"].map(|name| keys.join(name));
        let issue = ["keys", "issue", "--yes", "--config", config, "--root-key", text(&key)];
        let issued =
            parsed(&run(root.path(), &[&issue[..], &["--passphrase-file", text(&passphrase)]].concat()));
        assert_eq!(issued["epoch"], 1);
        // The entry that the first key set's chain shows is carried over until the new chain has one.
        let node = &issued["nodes"][0];
        assert_eq!((node["reference_point"].is_string(), node["node_record"].is_string()), (true, false));
    }
}

#[test]
fn a_sample_leaves_other_folders_alone_and_knows_its_members() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("mine"), "mine").unwrap();
    let refused = run(root.path(), &["sample", ".", "--run", "KE"]);
    assert_failed(&refused, 1, "is not empty");
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1);
    assert_failed(&run(root.path(), &["sample", "s", "--run", "XX"]), 1, "XX is not one");
    assert!(!root.path().join("s").exists());
    let deep = "d".repeat(100);
    assert_failed(&run(root.path(), &["sample", &deep, "--run", "KE"]), 1, "too long for a Unix socket");
}

#[test]
fn the_node_key_can_be_under_a_passphrase_too() {
    let root = tempfile::tempdir().unwrap();
    for (name, line) in [("root-pass", "a passphrase for roots"), ("node-pass", "a passphrase for nodes")] {
        fs::write(root.path().join(name), line).unwrap();
        fs::set_permissions(root.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let mut init = vec!["init", "--member", "X-DESK", "--group", "mena", "--dial-out-only", "--dir", "node"];
    init.extend(["--passphrase-file", "root-pass", "--node-passphrase-file", "node-pass"]);
    if cfg!(debug_assertions) {
        init.extend(["--work-factor", "4"]);
    }
    let made = parsed(&run(root.path(), &init));
    assert_eq!((&made["member"], &made["group"]), (&Value::from("X-DESK"), &Value::from("MENA")));
    for key in ["node.key", "storage.key"] {
        let file = fs::read_to_string(root.path().join("node/keys").join(key)).unwrap();
        assert!(file.contains("BEGIN AGE ENCRYPTED FILE"), "{file}");
    }
    let shown = parsed(&run(root.path(), &["config", "show", "--config", "node/refpoint.toml"]));
    let settings = shown["settings"].as_array().unwrap();
    let of = |key: &str| settings.iter().find(|setting| setting["key"] == key).unwrap().clone();
    assert!(of("passphrase_file")["value"].as_str().unwrap().ends_with("/node-pass\""));
    assert_eq!(
        (of("announce")["value"].clone(), of("data")["from"].clone()),
        ("[]".into(), "default".into())
    );
    // The passphrase is asked for before the folder is touched: a wrong one changes nothing.
    fs::write(root.path().join("node-pass"), "another passphrase").unwrap();
    let issue = ["keys", "issue", "--root-key", "node/keys/root.key", "--config", "node/refpoint.toml"];
    assert_failed(&run(root.path(), &issue), 4, "does not open");
    assert!(!root.path().join("node/data").exists());
}

#[test]
fn init_listens_on_the_announced_port_unless_another_is_said() {
    let root = tempfile::tempdir().unwrap();
    let passphrase = root.path().join("pass");
    fs::write(&passphrase, "a passphrase for roots").unwrap();
    fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
    let init = |dir: &str, more: &[&str]| {
        let mut arguments =
            vec!["init", "--member", "KE", "--dir", dir, "--passphrase-file", text(&passphrase)];
        if cfg!(debug_assertions) {
            arguments.extend(["--work-factor", "4"]);
        }
        arguments.extend(more);
        let config = root.path().join(dir).join("refpoint.toml");
        let made = parsed(&run(root.path(), &arguments));
        (made["listen"].as_str().unwrap().to_owned(), fs::read_to_string(config).unwrap())
    };
    let (listen, config) = init("one", &["--announce", "node.ke.example:4777"]);
    assert!(listen == "0.0.0.0:4777" && config.contains("listen = \"0.0.0.0:4777\""), "{config}");
    let other = ["--announce", "node.ke.example:443", "--listen", "127.0.0.1:4001"];
    assert_eq!(init("two", &other).0, "127.0.0.1:4001");
    assert_eq!(init("three", &["--dial-out-only"]).0, "0.0.0.0:4001");
    let both = ["--announce", "node.ke.example:4001", "--announce", "[2001:db8::1]:4001"];
    assert_eq!(init("four", &both).0, "[::]:4001", "an IPv6 address is announced");
    let entry = fs::read_to_string(root.path().join("one/reference-point.toml")).unwrap();
    assert!(entry.contains("#preservation = \"performs\""), "nobody has read it: {entry}");
}

#[test]
fn root_leaves_nothing_of_its_own_in_the_folder_of_the_nodes_user() {
    if !rustix::process::geteuid().is_root() {
        // Another user cannot make the folder; the rule itself is tested with the command.
        return;
    }
    let root = tempfile::tempdir().unwrap();
    parsed(&run(root.path(), &["sample", "s", "--run", "KE"]));
    let folder = root.path().join("s/KE");
    let config = folder.join("refpoint.toml");
    let keys = folder.join("keys/root.key");
    let before = fs::read_dir(folder.join("data")).unwrap().count();
    for place in [&folder, &folder.join("data")] {
        std::os::unix::fs::chown(place, Some(4_000_000), None).unwrap();
    }
    for arguments in [
        &["run", "--config", text(&config)][..],
        &["keys", "issue", "--yes", "--config", text(&config), "--root-key", text(&keys)],
        &["init", "--member", "SG", "--dial-out-only", "--dir", text(&folder.join("new"))],
        &["backup", "restore", text(&config), "--dir", text(&folder.join("new"))],
    ] {
        let refused = run(root.path(), arguments);
        assert_failed(&refused, 1, "belongs to user 4000000");
        assert_failed(&refused, 1, "sudo -u '#4000000'");
    }
    assert_eq!(fs::read_dir(folder.join("data")).unwrap().count(), before);
    assert!(!folder.join("new").exists());
}

#[test]
fn what_a_configuration_names_must_be_there() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("refpoint.toml");
    let write = |more: &str| {
        let good = "member = \"KE\"\nlisten = \"127.0.0.1:4001\"\nannounce = \"node.ke.example:4001\"\n";
        fs::write(&file, format!("{good}{more}")).unwrap();
    };
    let check = || run(root.path(), &["config", "check"]);
    for level in ["loud", "verbose", "info,refpoint=debug,loud", ""] {
        write(&format!("log = \"{level}\"\n"));
        assert_failed(&check(), 1, "line 4");
    }
    for level in ["warn", "OFF", "info,refpoint=debug", "refpoint::network"] {
        write(&format!("log = \"{level}\"\n"));
        assert_eq!(parsed(&check())["valid"], true, "{level}");
    }
    write("passphrase_file = \"absent\"\nalert_command = [\"no-such-siren\", \"-x\"]\n");
    for told in ["line 4", "chmod 600", "line 5", "there is no program \"no-such-siren\"", "whole path"] {
        assert_failed(&check(), 1, told);
    }
    let program = root.path().join("siren");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o644)).unwrap();
    write(&format!("alert_command = [{:?}]\n", text(&program)));
    assert_failed(&check(), 1, "is not a program that can be run");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(parsed(&check())["valid"], true);
    write("alert_command = [\"./siren\"]\n");
    assert_failed(&check(), 1, "is no whole path");
    write("alert_command = [\"sh\", \"-c\", \"true\"]\n");
    assert_eq!(parsed(&check())["valid"], true);
}

#[test]
fn a_configuration_saved_by_a_windows_editor_is_read() {
    let root = tempfile::tempdir().unwrap();
    let text = "\u{feff}member = \"KE\"\r\nlisten = \"127.0.0.1:4001\"\r\nannounce = []\r\n";
    fs::write(root.path().join("refpoint.toml"), text).unwrap();
    assert_eq!(parsed(&run(root.path(), &["config", "check"]))["valid"], true);
}

#[test]
fn where_no_configuration_is_every_place_looked_at_is_named() {
    let root = tempfile::tempdir().unwrap();
    let here = root.path().canonicalize().unwrap().join("refpoint.toml");
    for told in [text(&here), "/var/lib/refpoint/refpoint.toml", "REFPOINT_CONFIG", "--config FILE"] {
        assert_failed(&run(root.path(), &["status"]), 1, told);
    }
}

#[test]
fn with_json_a_usage_error_is_json_too() {
    let root = tempfile::tempdir().unwrap();
    for (arguments, told) in [
        (&["conifg", "check"][..], "similar"),
        (&["message", "send"], "Usage"),
        (&["peers", "--up"], "--up"),
        (&[], "Usage"),
    ] {
        let refused = run(root.path(), arguments);
        assert_failed(&refused, 2, told);
        let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
        assert_eq!(error["error"]["exit"], "usage", "{error}");
        assert!(error["error"]["remedy"].as_str().unwrap().contains("--help"), "{error}");
    }
    let help = run(root.path(), &["--help"]);
    assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage"), "{help:?}");
}

#[test]
fn a_configuration_is_checked_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("refpoint.toml");
    let good = "member = \"KE\"\nlisten = \"127.0.0.1:4001\"\nannounce = \"node.ke.example:4001\"\n";
    fs::write(&file, good).unwrap();
    assert_eq!(parsed(&run(root.path(), &["config", "check"]))["valid"], true);
    fs::write(
        &file,
        format!("{good}conections_max = 9\nlog = \"refpoint=loud\"\nalert_command = \"siren\"\n"),
    )
    .unwrap();
    let refused = run(root.path(), &["config", "check"]);
    for told in ["line 4", "did you mean \"connections_max\"?", "line 5", "line 6", "list of texts"] {
        assert_failed(&refused, 1, told);
    }
    for (content, told) in
        [("\u{0}garbage", "not TOML"), (&"#".repeat(70_000), "larger than"), ("", "is missing")]
    {
        fs::write(&file, content).unwrap();
        assert_failed(&run(root.path(), &["config", "show"]), 1, told);
    }
    fs::write(&file, [0xFF, 0xFE]).unwrap();
    assert_failed(&run(root.path(), &["config", "show"]), 1, "cannot read");
    assert_failed(&run(root.path(), &["config"]), 2, "Usage");
    assert_failed(&run(root.path(), &["conifg", "check"]), 2, "similar");
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    let root = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
    command.args(["sample", "s", "--run", "KE"]).current_dir(root.path()).stdin(Stdio::null());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(root.path().join("s").exists(), "what was asked for is done");
}

/// Runs the program as a script would: no terminal, JSON results, nothing from the environment.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
    command.args(arguments).arg("--json").current_dir(folder).stdin(Stdio::null());
    for variable in ["REFPOINT_PASSPHRASE_FILE", "REFPOINT_CONFIG", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(variable);
    }
    command.output().unwrap()
}

fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The command failed with this code, said this on standard error, and printed no result.
fn assert_failed(output: &Output, code: i32, told: &str) {
    let errors = String::from_utf8_lossy(&output.stderr).replace("\\\"", "\"");
    assert_eq!(output.status.code(), Some(code), "{errors}");
    assert!(errors.contains(told), "{told:?} is not in: {errors}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
