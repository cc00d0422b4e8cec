//! "Found the federation anew" in node/OPERATIONS.md, followed step by step by running the program.

use std::fs;

use refpoint::reference_point_file::text_of;
use refpoint_protocol::testing::chains;
use serde_json::Value;

use crate::{
    founding::{Founding, Unit, assert_failed, text},
    processes::Federation,
};

fn join(unit: &Unit, founding: &Founding, fingerprint: &str, more: &[&str]) -> std::process::Output {
    let (file, root) = (founding.desk.join("federation.join"), unit.root_key());
    let mut arguments = vec!["join", text(&file), "--fingerprint", fingerprint, "--root-key", text(&root)];
    arguments.extend(more);
    unit.run(&arguments)
}

#[test]
fn a_federation_is_founded_anew_and_shows_what_the_old_directory_said() {
    // The old federation: Singapore's entry is known to France, which exports the directory.
    let mut old = Federation::running();
    let entry = old.unit(1).folder.join("entry.toml");
    fs::write(&entry, text_of(&chains::reference_point(7))).unwrap();
    old.unit(1).run_ok(&["directory", "publish", text(&entry), "--yes"]);
    old.ask_until(0, &["directory", "show", "SG"], "Singapore's entry at France", |value| {
        value["freshness"] == "fresh"
    });
    let published = old.unit(0).run_ok(&["directory", "show", "SG"])["reference_point"].clone();
    let bundle = old.founding.desk.join("old.audit");
    old.unit(0).run_ok(&["audit", "export", text(&bundle)]);

    // The new one, in new folders with new keys, while the old nodes still run.
    let configs = [0, 1, 2].map(|at| old.unit(at).folder.join("refpoint.toml"));
    let mut new = Federation::founded_after(&bundle, old.fingerprint(), &configs);
    (0..3).for_each(|at| old.kill(at));
    let drafted = new.drafted.take().unwrap();
    let codes =
        |name: &str| -> Vec<String> { serde_json::from_value(drafted["before"][name].clone()).unwrap() };
    assert_eq!(codes("taken_over"), ["BR", "FR", "SG"]);
    assert!(codes("left_out").is_empty() && codes("new").is_empty());
    assert_eq!(drafted["charter"]["refounds"]["tips"].as_array().unwrap().len(), 1);
    assert_ne!(new.fingerprint(), old.fingerprint());

    // Until Singapore publishes again, the others see what it said before; then that alone.
    new.run_all();
    let shown = |at: usize| new.unit(at).run_ok(&["directory", "show", "SG"]);
    let inherited = shown(0);
    assert_eq!(inherited["before"]["reference_point"], published);
    assert_eq!(inherited["before"]["federation_fingerprint"], old.fingerprint());
    assert_eq!((&inherited["freshness"], &inherited["reference_point"]), (&"missing".into(), &Value::Null));
    let entry = new.unit(1).folder.join("entry.toml");
    fs::write(&entry, text_of(&chains::reference_point(8))).unwrap();
    new.unit(1).run_ok(&["directory", "publish", text(&entry), "--yes"]);
    new.ask_until(0, &["directory", "show", "SG"], "Singapore's new entry", |value| {
        value["freshness"] == "fresh"
    });
    assert_eq!(shown(0)["before"], Value::Null);
}

#[test]
fn only_the_federation_before_is_named_and_inherited_from() {
    let mut first = Federation::running();
    let bundle = first.founding.desk.join("first.audit");
    first.unit(0).run_ok(&["audit", "export", text(&bundle)]);
    let old = first.unit(0).folder.join("refpoint.toml");

    // A federation that takes nobody's place has nothing to inherit.
    let apart = Founding::prepared();
    let fingerprint = apart.combined();
    let unit = &apart.units[0];
    let refused = join(unit, &apart, &fingerprint, &["--before", text(&old)]);
    assert_failed(&refused, 4, "takes no other federation's place");
    assert!(join(unit, &apart, &fingerprint, &[]).status.success());
    let foreign = apart.desk.join("foreign.audit");
    unit.run_ok(&["audit", "export", text(&foreign)]);

    // One that takes another's place inherits from that one alone.
    let second = Founding::prepared();
    let (_, again) = second.combined_after(&foreign, &fingerprint);
    let refused = join(&second.units[0], &second, &again, &["--before", text(&old)]);
    assert_failed(&refused, 4, "is in another federation than the one before");
    first.kill(0);
    let away = join(&second.units[0], &second, &again, &["--before", text(&old)]);
    assert_failed(&away, 3, "federation.join was not joined");

    // Neither a wrong fingerprint nor a missing one founds anything.
    let requests = ["FR", "SG", "BR"].map(|code| second.desk.join(format!("{code}.request")));
    let draft = |more: &[&str]| {
        let mut arguments = vec!["charter", "new", "--threshold", "2", "--out", "other.draft"];
        arguments.extend(["--steward", "FR", "--steward", "SG", "--steward", "BR"]);
        arguments.extend(more);
        arguments.extend(requests.iter().map(|path| text(path)));
        second.on_desk(&arguments)
    };
    let wrong = draft(&["--refounds", text(&bundle), "--old-federation", &again]);
    assert_failed(&wrong, 4, "AU-03");
    assert_failed(&draft(&["--refounds", text(&bundle)]), 2, "--old-federation");
    assert!(!second.desk.join("other.draft").exists());
}
