//! `refpoint init`: a folder that its owner alone can use, or nothing.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{Founding, Hosts, Unit, assert_failed};

#[test]
fn init_writes_a_folder_that_its_owner_alone_can_use() {
    let founding = Founding::prepared();
    let unit = &founding.units[1];
    let mode = |path: &str| fs::metadata(unit.folder.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("keys"), 0o700);
    for key in ["keys/node.key", "keys/storage.key", "keys/root.key", "keys/next-root.key"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    let root = fs::read_to_string(unit.root_key()).unwrap();
    assert!(root.contains("BEGIN AGE ENCRYPTED FILE") && !root.contains("secret "), "{root}");
    unit.run_ok(&["config", "check", "--config", "refpoint.toml"]);
    let shown = unit.run_ok(&["config", "show"]);
    assert_eq!(shown["settings"][0]["value"], "\"SG\"");
    let request = unit.run_ok(&["charter", "show", "SG.request"]);
    assert_eq!(request["request"]["addresses"][0], "node.sg.example:4001");
    // The entry is made for Singapore and waits for what only the unit knows.
    let entry = fs::read_to_string(unit.folder.join("reference-point.toml")).unwrap();
    assert!(entry.contains("Asia/Singapore") && entry.contains("+65"), "{entry}");
    assert!(refpoint::reference_point_file::parse(&entry, [0; 16]).is_err());
}

#[test]
fn init_overwrites_nothing_and_takes_back_what_it_began() {
    let founding = Founding::prepared();
    let unit = &founding.units[0];
    let before = fs::read(unit.root_key()).unwrap();
    assert_failed(&unit.init(&[]), 1, "exists already");
    assert_eq!(fs::read(unit.root_key()).unwrap(), before);

    let folder = founding.desk.join("other");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("refpoint.toml"), "member = \"KE\"\n").unwrap();
    let other = Unit { code: "KE", folder: folder.clone(), port: None, hosts: Hosts::LOOPBACK };
    other.write_passphrase("a passphrase of Kenya");
    assert_failed(&other.init(&[]), 1, "refpoint.toml exists already");
    assert!(!folder.join("keys").exists());
}

#[test]
fn init_refuses_what_it_cannot_use_and_makes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let unit = Unit { code: "KE", folder: root.path().join("ke"), port: None, hosts: Hosts::LOOPBACK };
    fs::create_dir(&unit.folder).unwrap();
    unit.write_passphrase("short");
    assert_failed(&unit.init(&[]), 1, "at least 12");
    unit.write_passphrase("a passphrase of Kenya");
    fs::set_permissions(unit.passphrase(), fs::Permissions::from_mode(0o644)).unwrap();
    assert_failed(&unit.init(&[]), 1, "chmod 600");
    fs::set_permissions(unit.passphrase(), fs::Permissions::from_mode(0o600)).unwrap();
    for (arguments, told) in [
        (&["init", "--member", "Kenya", "--announce", "a.example:1"][..], "member code"),
        (&["init", "--member", "KE", "--announce", "a.example"], "no port"),
        (&["init", "--member", "KE"], "--announce"),
        (&["init", "--member", "X-DESK", "--announce", "a.example:1"], "--group"),
        (&["init", "--member", "KE", "--announce", "a.example:1", "--group", "Moon"], "Africa"),
        (&["init", "--member", "KE", "--announce", "a.example:1", "--listen", "4001"], "--listen"),
    ] {
        assert_failed(&unit.run(arguments), 2, told);
    }
    let left: Vec<_> = fs::read_dir(&unit.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["passphrase"]);
}
