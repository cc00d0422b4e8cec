//! Backups that are whole, and backups that are not: each fault has its name and exit code 4.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use age::secrecy::ExposeSecret as _;
use refpoint::store::Store as _;
use refpoint_protocol::storage::Table;

use super::{Shelf, quick};
use crate::{
    founding::{assert_failed, parsed, text},
    processes::Federation,
};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_backup_of_a_running_and_of_a_stopped_node_is_whole_and_its_owners_alone() {
    let mut federation = Federation::founded();
    let shelf = Shelf::of(&federation, 0);
    let made = shelf.back_up(federation.unit(0), "stopped.age");
    let roots = made["root_keys_left_out"].as_array().unwrap();
    assert_eq!(roots.len(), 2, "both root keys lie there still: {made}");
    federation.start(0);
    federation.until(0, "the node", |status| status["member"] == "FR");
    federation.send(0, "BR", &[]);
    let made = shelf.back_up(federation.unit(0), "running.age");
    assert_eq!(made["messages"]["sent"], 1);
    let folder = &federation.unit(0).folder;
    assert!(!folder.join("data/snapshot").exists(), "nothing is left behind");
    assert_eq!(mode(&shelf.file("running.age")), 0o600);
    let bytes = fs::read(shelf.file("running.age")).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1\n"));
    for marker in ["ZEBRA-TEXT", "secret ", "member = "] {
        assert!(!bytes.windows(marker.len()).any(|window| window == marker.as_bytes()), "{marker}");
    }
    for (name, running, sent) in [("stopped.age", false, 0), ("running.age", true, 1)] {
        let found = parsed(&shelf.verify(name));
        assert_eq!((&found["member"], &found["running"]), (&"FR".into(), &running.into()));
        assert_eq!((&found["messages"]["sent"], &found["root_keys"]), (&sent.into(), &false.into()));
        assert_eq!(found["schema"], 6);
        let files = found["files"].as_array().unwrap();
        assert_eq!(files.len(), 4, "{files:?}");
    }
    // Nothing is overwritten unless that is asked for, and root keys go in when they are asked for.
    let (file, passphrase) = (shelf.file("running.age"), text(&shelf.passphrase).to_owned());
    let mut again = vec!["backup", "create", text(&file), "--passphrase-file", &passphrase];
    again.extend(quick());
    assert_failed(&federation.unit(0).run(&again), 1, "--force");
    assert_eq!(fs::read(&file).unwrap(), bytes);
    again.extend(["--force", "--with-root-keys"]);
    federation.unit(0).run_ok(&again);
    let found = parsed(&shelf.verify("running.age"));
    assert_eq!((&found["root_keys"], found["files"].as_array().unwrap().len()), (&true.into(), 7));
    let left: Vec<_> = fs::read_dir(&shelf.folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| !name.to_str().unwrap().ends_with(".part")), "{left:?}");

    // A restored folder is whole, its owner's, and marked, although this node had signed nothing at that time.
    let into = federation.founding.desk.join("again");
    let restored = parsed(&shelf.restore("stopped.age", &into));
    assert!(restored["afterwards"].to_string().contains("Never run two copies"));
    assert_eq!((mode(&into.join("keys")), mode(&into.join("keys/node.key"))), (0o700, 0o600));
    for file in ["refpoint.toml", "reference-point.toml", "keys/node.key", "keys/storage.key"] {
        assert_eq!(fs::read(into.join(file)).unwrap(), fs::read(folder.join(file)).unwrap(), "{file}");
    }
    assert!(!into.join("keys/root.key").exists());
    let hosts = crate::addresses::Hosts::LOOPBACK;
    let unit = crate::founding::Unit { code: "FR", folder: into.clone(), port: None, hosts };
    assert!(unit.store().value(Table::OwnState, b"signed-before").unwrap().is_some());
    assert!(unit.store().value(Table::OwnState, b"journal-ended").unwrap().is_some());
    // A second restore finds it occupied.
    assert_failed(&shelf.restore("stopped.age", &into), 1, "is not empty");
}

#[test]
fn every_damage_to_a_backup_is_named_and_restores_nothing() {
    let federation = Federation::founded();
    let shelf = Shelf::of(&federation, 1);
    shelf.back_up(federation.unit(1), "good.age");
    let good = fs::read(shelf.file("good.age")).unwrap();
    let header = good.windows(4).position(|window| window == b"\n---").unwrap();
    let into = shelf.folder.join("into");
    let spoilt = |name: &str, bytes: &[u8], told: &str| {
        fs::write(shelf.file("bad.age"), bytes).unwrap();
        let found = shelf.verify("bad.age");
        assert_failed(&found, 4, told);
        assert_failed(&shelf.restore("bad.age", &into), 4, told);
        assert!(!into.exists(), "{name}: a damaged backup begins nothing");
    };
    for at in [header + 60, good.len() / 2, good.len() - 1] {
        let mut flipped = good.clone();
        flipped[at] ^= 1;
        spoilt("flipped", &flipped, "damaged");
    }
    for length in [header, good.len() / 2, good.len() - 1] {
        spoilt("cut", &good[..length], "cut");
    }
    spoilt("long", &[good.as_slice(), b"x"].concat(), "damaged");
    spoilt("none", b"refpoint", "");
    spoilt("empty", b"", "");
    let other = age::scrypt::Recipient::new(refpoint::keyfile::passphrase_from("the passphrase of SG"));
    spoilt("other", &age::encrypt(&other, b"something else altogether").unwrap(), "holds no backup");
    let mut edited = b"refpoint backup\nM".to_vec();
    edited.extend([0, 0, 0, 10, 0xA1, 0x66]);
    edited.extend(b"format");
    edited.extend([0x18, 0x63]);
    fs::write(shelf.file("bad.age"), age::encrypt(&other, &edited).unwrap()).unwrap();
    assert_failed(&shelf.verify("bad.age"), 1, "form 99");
    fs::write(shelf.file("passphrase"), "another passphrase\n").unwrap();
    assert_failed(&shelf.verify("good.age"), 4, "does not open");
    assert_failed(&shelf.verify("none.age"), 1, "none.age");
}

#[test]
fn a_backup_for_a_recipient_needs_its_identity() {
    let federation = Federation::founded();
    let shelf = Shelf::of(&federation, 2);
    let (identity, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
    let save = |name: &str, identity: &age::x25519::Identity| {
        let file = shelf.file(name);
        fs::write(&file, format!("# made elsewhere\n{}\n", identity.to_string().expose_secret())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    save("identity", &identity);
    save("other", &other);
    let (file, recipient) = (shelf.file("it.age"), identity.to_public().to_string());
    let unit = federation.unit(2);
    let create = |recipient: &str| unit.run(&["backup", "create", text(&file), "--recipient", recipient]);
    assert_failed(&create("age1nobody"), 2, "not an age recipient");
    parsed(&create(&recipient));
    let verify = |identity: &str| shelf.run(&["backup", "verify", "it.age", "--identity", identity]);
    assert_eq!(parsed(&verify("identity"))["member"], "BR");
    assert_failed(&verify("other"), 4, "none of the identities");
    assert_failed(&verify("passphrase"), 1, "no age identity");
    assert_failed(&shelf.verify("it.age"), 2, "--identity");
    fs::set_permissions(shelf.file("identity"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_failed(&verify("identity"), 1, "chmod 600");
    shelf.back_up(unit, "under.age");
    assert_failed(
        &shelf.run(&["backup", "verify", "under.age", "--identity", "other"]),
        2,
        "under a passphrase",
    );
}

#[test]
fn settings_that_named_other_places_are_settled_and_keys_under_a_passphrase_stay_so() {
    let federation = Federation::founded();
    let shelf = Shelf::of(&federation, 0);
    let unit = federation.unit(0);
    let elsewhere = federation.founding.desk.join("elsewhere");
    fs::rename(unit.folder.join("data"), &elsewhere).unwrap();
    let config = unit.folder.join("refpoint.toml");
    let settings = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("{settings}data = {:?}\nalert_command = [\"page\"]\n", text(&elsewhere)))
        .unwrap();
    shelf.back_up(unit, "it.age");
    let into = shelf.folder.join("into");
    let restored = parsed(&shelf.restore("it.age", &into));
    assert!(restored["notes"].to_string().contains("now \\\"data\\\""), "{}", restored["notes"]);
    assert!(restored["notes"].to_string().contains("alert command"));
    let text = fs::read_to_string(into.join("refpoint.toml")).unwrap();
    assert!(text.contains("\ndata = \"data\"\n") && text.contains("alert_command = [\"page\"]"), "{text}");
    assert!(into.join("data/database").exists());
}
