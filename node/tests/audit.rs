//! Bundles as operators export and auditors check them, by running the program: parts of tests that have a federation.

use std::fs;

use serde_json::Value;

use crate::{
    founding::{Founding, assert_failed, parsed, run_in, text},
    processes::Federation,
};

/// Three members that joined and never met: each holds its own key set alone.
pub(crate) fn stopped_folders_are_exported_and_checked_without_a_node(founding: &Founding, federation: &str) {
    let desk = &founding.desk;
    let files = ["fr.audit", "sg.audit", "br.audit"].map(|name| desk.join(name));
    for (unit, file) in founding.units.iter().zip(&files) {
        let exported = unit.run_ok(&["audit", "export", text(file)]);
        assert_eq!(exported["bundle"]["documents"]["key-set"], 1);
        assert_eq!(exported["bundle"]["member"], unit.code);
        assert_failed(&unit.run(&["audit", "export", text(file)]), 1, "exists already");
        assert!(!file.with_extension("audit.part").exists());
    }
    // On a machine with no node, folder or configuration.
    let auditor = |arguments: &[&str]| run_in(desk, None, arguments);
    let verify = |file: &str| auditor(&["audit", "verify", file, "--federation", federation]);
    let report = parsed(&verify(text(&files[0])));
    assert_eq!(report["charter"]["version"], 1);
    assert_eq!(report["members"].as_array().unwrap().len(), 3);
    let lacking: Vec<&str> =
        report["not_held"].as_array().unwrap().iter().map(|it| it.as_str().unwrap()).collect();
    assert!(lacking.iter().any(|it| it.starts_with("SG: any key set")), "{lacking:?}");
    let compared =
        auditor(&["audit", "compare", text(&files[0]), text(&files[1]), "--federation", federation]);
    let compared = parsed(&compared);
    assert_eq!(
        (&compared["verdict"], compared["differences"].as_array().unwrap().len()),
        (&"behind".into(), 2)
    );

    let whole = fs::read_to_string(&files[0]).unwrap();
    let other = "0".repeat(64);
    assert_failed(&auditor(&["audit", "verify", text(&files[0]), "--federation", &other]), 4, "AU-03");
    assert_failed(&auditor(&["audit", "verify", text(&files[0]), "--federation", "7a7a"]), 2, "64 digits");
    let bad = desk.join("bad.audit");
    for (changed, told) in [
        (whole.replacen("key-set p", "key-set o", 1), "AU-04"),
        (whole.split("\n\n").next().unwrap().to_owned(), "cut off"),
        (whole.replacen("\nkey-set ", "\n", 1), "line 4 is damaged"),
        ("a letter\n".to_owned(), "no audit bundle"),
        (whole.replacen("bundle 1", "bundle 7", 1), "version \"7\""),
    ] {
        assert!(changed != whole, "{told}");
        fs::write(&bad, changed).unwrap();
        assert_failed(&verify(text(&bad)), 4, told);
    }
    assert_failed(&verify("nothing.audit"), 1, "nothing.audit");
}

/// Running nodes cosign each other's journals, and go on from what they cosigned.
pub(crate) fn running_nodes_witness_each_other(federation: &Federation) {
    let unit = federation.unit(0);
    let witness = || unit.run_ok(&["audit", "witness"]);
    let members = |reply: &Value| -> Vec<String> {
        let cosigned = reply["cosigned"].as_array().unwrap().iter();
        // In the order in which they answered.
        let mut members: Vec<_> = cosigned.map(|it| it["member"].as_str().unwrap().to_owned()).collect();
        members.sort();
        members
    };
    let first = witness();
    assert_eq!(members(&first).len(), 2, "{first}");
    let again = witness();
    assert_eq!(members(&again), members(&first), "{again}");
    assert!(again["entries"].as_u64() >= first["entries"].as_u64() && again["began"] == first["began"]);
    // What the witness holds of it is the signed checkpoint.
    let held = federation.unit(1).run_ok(&["audit", "witnessed"]);
    let of = |node: &&Value| node["newest"]["member"] == unit.code;
    let node = held["nodes"].as_array().unwrap().iter().find(of).unwrap();
    assert!(node["newest"]["entries"].as_u64() >= again["entries"].as_u64(), "{held}");
    assert!(node["newest"]["note"].as_str().unwrap().starts_with("refpoint-journal/"), "{held}");
    assert!(node["refuted"].as_array().unwrap().is_empty(), "{held}");
}

/// Two running nodes that hold one directory export the same.
pub(crate) fn running_nodes_export_one_directory(federation: &Federation) {
    let desk = &federation.founding.desk;
    for at in 0..3 {
        federation.until(at, "its own record", |status| status["chain"]["last"].is_string());
    }
    let digest = |at| federation.unit(at).run_ok(&["status"])["directory_digest"].clone();
    let everywhere = |status: &Value| (1..3).all(|at| digest(at) == status["directory_digest"]);
    federation.until(0, "one directory everywhere", everywhere);
    let [one, two] = [0, 2].map(|at| {
        let unit = federation.unit(at);
        let file = desk.join(format!("{}.audit", unit.code));
        let exported = unit.run_ok(&["audit", "export", text(&file)]);
        let counts = &exported["bundle"]["documents"];
        assert_eq!((&counts["charter"], &counts["key-set"]), (&1.into(), &3.into()));
        assert!(counts["node-record"].as_u64().unwrap() >= 3, "{counts}");
        file
    });
    let pinned = ["--federation", federation.fingerprint()];
    let arguments = [&["audit", "compare", text(&one), text(&two)], &pinned[..]].concat();
    let compared: Value = parsed(&run_in(desk, None, &arguments));
    assert_eq!(compared["verdict"], "same", "{compared}");
    // What was published is listed, and no content of it is in the file.
    let bundle = fs::read_to_string(&one).unwrap();
    let report = parsed(&run_in(desk, None, &[&["audit", "verify", text(&one)], &pinned[..]].concat()));
    let members = report["members"].as_array().unwrap();
    let singapore = members.iter().find(|it| it["member"] == "SG").unwrap();
    assert!(singapore["reference_point"]["sequence"].is_u64(), "{singapore}");
    // It began, took two key sets in, and published a record.
    let journalled = report["bundle"]["journal"]["entries"].as_u64().unwrap();
    assert!(journalled >= 3, "{report}");
    assert!(report["forks"].as_array().unwrap().is_empty() && !bundle.contains("Cybercrime Unit"));
}

/// The sender's node writes what proves its message; it is checked without a node, and every changed line is found.
pub(crate) fn a_message_is_proven_to_whoever_has_no_node(federation: &Federation, id: &str) {
    let (unit, desk) = (federation.unit(0), &federation.founding.desk);
    let file = desk.join("message.proof");
    let written = unit.run_ok(&["audit", "proof", &id[..12], text(&file)]);
    assert_failed(&unit.run(&["audit", "proof", id, text(&file)]), 1, "exists already");
    let auditor = |file: &std::path::Path| {
        run_in(desk, None, &["audit", "verify", text(file), "--federation", federation.fingerprint()])
    };
    let proven = parsed(&auditor(&file));
    assert_eq!(proven, written["proof"], "the node says of it what an auditor does");
    assert_eq!((&proven["message"], &proven["header"]["sender"]), (&id.into(), &"FR".into()));
    assert_eq!(proven["drill"], false);
    let of = |key: &str, word: &str| -> Vec<String> {
        let all = proven[key].as_array().unwrap().iter().filter(|it| word.is_empty() || it["word"] == word);
        all.map(|it| it["member"].as_str().unwrap().to_owned()).collect()
    };
    let mut delivered = of("delivered", "");
    delivered.sort();
    assert_eq!(delivered, ["BR", "SG"], "{proven}");
    assert_eq!(of("said", "acknowledged"), ["BR"], "{proven}");
    // Everything that the journal has of it was cosigned since; before, the journal was cosigned without it.
    let journal = proven["journal"].as_array().unwrap();
    assert!(journal.len() >= 4, "queued, delivered to two, acknowledged: {proven}");
    let resting = |on: &str| journal.iter().filter(|entry| entry["rests_on"] == on).count();
    assert_eq!((resting("header"), resting("receipt"), resting("statement")), (1, 2, 1), "{proven}");
    for entry in journal {
        assert_eq!(entry["after"]["by"].as_array().unwrap().len(), 2, "{entry}");
        assert_eq!(entry["before"]["by"].as_array().unwrap().len(), 2, "{entry}");
    }
    // The whole journal in a bundle: every step, no content, and what others cosigned of it.
    let bundle = desk.join("messages.audit");
    let exported = unit.run_ok(&["audit", "export", text(&bundle), "--messages"]);
    let kept = &exported["bundle"]["journal"];
    assert!(kept["messages"].as_u64().unwrap() >= 4, "{exported}");
    assert_eq!(kept["cosigned"]["by"].as_array().unwrap().len(), 2, "{exported}");
    let report = parsed(&auditor(&bundle));
    assert_eq!(report["bundle"], exported["bundle"]);
    let compared = run_in(
        desk,
        None,
        &[
            "audit",
            "compare",
            text(&desk.join("FR.audit")),
            text(&bundle),
            "--federation",
            federation.fingerprint(),
        ],
    );
    let verdict = &parsed(&compared)["verdict"];
    assert!(
        *verdict == "same" || *verdict == "behind",
        "the journal has grown since, and continues itself: {verdict}"
    );
    assert!(!fs::read_to_string(&bundle).unwrap().contains("ZEBRA"));

    let whole = fs::read_to_string(&file).unwrap();
    assert!(!whole.contains("ZEBRA-TEXT"));
    let bad = desk.join("bad.proof");
    for (changed, told) in [
        (whole.replacen("receipt ", "receipt  ", 1), "MP-01"),
        (
            whole
                .lines()
                .filter(|line| !line.starts_with("statement "))
                .map(|line| format!("{line}\n"))
                .collect(),
            "MP-02",
        ),
        (whole.replacen("proof 1", "proof 9", 1), "version"),
    ] {
        assert!(changed != whole, "{told}");
        fs::write(&bad, changed).unwrap();
        assert_failed(&auditor(&bad), 4, told);
    }
}
