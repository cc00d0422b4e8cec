//! Members come, go and come back by command, in folders of their own, exactly as units would do it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use serde_json::Value;

use crate::{
    founding::{Founding, Unit, assert_failed, parsed, tampered, text},
    processes::Federation,
};

/// Proposes on one unit's machine, has it signed on others', and combines it; gives the complete file.
fn version(federation: &Federation, name: &str, propose: &[&str], at: usize, signers: &[usize]) -> PathBuf {
    let desk = &federation.founding.desk;
    let proposal = desk.join(format!("{name}.proposal"));
    let mut arguments = vec!["charter", "propose"];
    arguments.extend(propose);
    arguments.extend(["--out", text(&proposal)]);
    federation.unit(at).run_ok(&arguments);
    let mut copies = Vec::new();
    for signer in signers {
        let unit = federation.unit(*signer);
        let copy = desk.join(format!("{name}-{}.signed", unit.code));
        unit.run_ok(&sign(&proposal, &unit.root_key(), &copy, &[]));
        copies.push(copy);
    }
    let complete = desk.join(format!("{name}.join"));
    let mut arguments = vec!["charter", "combine", "--out", text(&complete)];
    arguments.extend(copies.iter().map(|copy| text(copy)));
    assert_eq!(parsed(&federation.founding.on_desk(&arguments))["charter"]["complete"], true);
    complete
}

fn sign<'a>(file: &'a Path, root: &'a Path, out: &'a Path, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments =
        vec!["charter", "sign", text(file), "--root-key", text(root), "--yes", "--out", text(out)];
    arguments.extend(more);
    arguments
}

fn is_version(number: u64) -> impl Fn(&Value) -> bool {
    move |status| status["charter"]["version"] == number
}

fn is_connected(peers: u64) -> impl Fn(&Value) -> bool {
    move |status| status["peers"]["connected"] == peers
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&entry.path(), &place),
            kind if kind.is_file() => drop(fs::copy(entry.path(), place).unwrap()),
            // A socket is made anew.
            _ => {}
        }
    }
}

#[test]
fn a_fourth_country_is_admitted_suspended_kept_out_and_taken_back() {
    let mut federation = Federation::running();
    let ke = federation.newcomer("KE");
    let desk = federation.founding.desk.clone();
    let request = federation.unit(ke).folder.join("KE.request");

    // The fingerprint that is read over the telephone is the one that the steward sees.
    let asked = federation.unit(ke).run_ok(&["charter", "show", "KE.request"]);
    let seen = federation.unit(0).run_ok(&["charter", "show", text(&request)]);
    assert_eq!(
        (asked["fingerprint"].as_str().unwrap().len(), &asked["fingerprint"]),
        (79, &seen["fingerprint"])
    );

    let admitted = version(&federation, "admit", &["admit", text(&request)], 0, &[1, 2, ke]);
    let reviewed = federation.unit(2).run_ok(&["charter", "review", text(&admitted)]);
    assert_eq!(reviewed["charter"]["against"][0]["differences"][0]["change"], "admitted");
    assert_eq!(
        (&reviewed["follows_newest_here"], &reviewed["charter"]["key_sets"][0]),
        (&true.into(), &"KE".into())
    );
    federation.unit(0).run_ok(&["charter", "publish", text(&admitted), "--yes"]);
    (0..3).for_each(|at| drop(federation.until(at, "version 2", is_version(2))));

    join(&federation, ke, &admitted, &reviewed["charter"]);
    federation.start(ke);
    federation.until(ke, "the newcomer's mesh", is_connected(3));
    for at in 0..3 {
        federation.until(at, "the newcomer", is_connected(3));
    }
    assert!(federation.send(ke, "FR", &["--wait", "delivered", "--timeout", "30s"]).status.success());

    // Two proposals on one version: a root key signs one of them, unless it gives the first one up.
    let withdrawal = desk.join("withdrawal.proposal");
    federation.unit(2).run_ok(&["charter", "propose", "withdraw", "KE", "--out", text(&withdrawal)]);
    let suspended = version(&federation, "suspend", &["suspend", "KE"], 1, &[0, 1]);
    let second = desk.join("second.signed");
    let refused = federation.unit(0).run(&sign(&withdrawal, &federation.unit(0).root_key(), &second, &[]));
    assert_failed(&refused, 4, "has signed another document");

    // What the member's disk held before it is suspended, to bring it back later as an old node.
    federation.terminate(ke);
    let old = federation.unit(ke).folder.join("old");
    copy(&federation.unit(ke).folder.join("data"), &old);
    federation.start(ke);
    federation.until(ke, "its return", is_connected(3));

    // Brazil's node is away and hears nothing of what follows.
    federation.kill(2);
    let began = Instant::now();
    federation.unit(1).run_ok(&["charter", "publish", text(&suspended), "--yes"]);
    federation.until(ke, "that it is cut off", is_connected(0));
    for at in 0..2 {
        federation.until(at, "that the member is gone", is_connected(1));
    }
    let seconds = began.elapsed().as_secs_f64();
    assert!(seconds < 15.0, "cut off after {seconds:.1} s");
    federation.until(ke, "that it knows why", |status| {
        status["charter"]["this_member_active"] == false && status["charter"]["version"] == 3
    });
    let stopped = federation.send(0, "KE", &["--wait", "delivered", "--timeout", "5s"]);
    assert!(!stopped.status.success());

    // The proposal that was overtaken is told so.
    let overtaken = federation.unit(0).run(&sign(&withdrawal, &federation.unit(0).root_key(), &second, &[]));
    assert_failed(&overtaken, 4, "propose the change anew");
    assert!(!second.exists());

    // Old documents change nothing.
    let again = federation.unit(0).run_ok(&["charter", "import", text(&admitted)]);
    let documents = again["documents"].as_array().unwrap();
    assert!(documents.iter().all(|document| document["outcome"] == "known"), "{again}");
    federation.until(0, "that nothing changed", |status| is_version(3)(status) && is_connected(1)(status));

    // Nor does an old node that a friend lets in, who has heard nothing yet: both are told by the next who knows.
    [0, 1, ke].into_iter().for_each(|at| federation.kill(at));
    let data = federation.unit(ke).folder.join("data");
    fs::remove_dir_all(&data).unwrap();
    copy(&old, &data);
    federation.start(2);
    federation.start(ke);
    federation.until(2, "that the friend lets it in", is_connected(1));
    federation.start(0);
    federation.until(ke, "that the old node is told", |status| {
        is_version(3)(status) && is_connected(0)(status) && status["charter"]["this_member_active"] == false
    });
    federation.start(1);
    (0..3).for_each(|at| drop(federation.until(at, "the mesh without it", is_connected(2))));
    assert_eq!(federation.unit(ke).run_ok(&["status"])["peers"]["connected"], 0);

    let back = version(&federation, "reinstate", &["reinstate", "KE"], 0, &[0, 2]);
    federation.unit(2).run_ok(&["charter", "publish", text(&back), "--yes"]);
    federation.until(ke, "that it is back", is_connected(3));
    let sent = federation.send(0, "KE", &["--wait", "delivered", "--timeout", "30s"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

/// Joins with the file that was sent and the fingerprints that were heard.
fn join(federation: &Federation, at: usize, file: &Path, charter: &Value) {
    let unit = federation.unit(at);
    let heard = charter["federation_fingerprint"].as_str().unwrap();
    let version = charter["fingerprint"].as_str().unwrap();
    let alone = unit.run(&["join", text(file), "--fingerprint", heard]);
    assert_failed(&alone, 2, "recent");
    let swapped = unit.run(&["join", text(file), "--fingerprint", heard, "--version-fingerprint", heard]);
    assert_failed(&swapped, 4, "fingerprint is another");
    let joined = unit.run_ok(&["join", text(file), "--fingerprint", heard, "--version-fingerprint", version]);
    assert_eq!((&joined["member"], &joined["epoch"]), (&unit.code.into(), &0.into()));
}

/// A node signs its first head twenty seconds after its start, so this takes as long.
#[test]
fn three_nodes_settle_a_version_and_a_stolen_key_puts_nothing_in_its_place() {
    let mut federation = Federation::founded();
    let desk = federation.founding.desk.clone();
    let (ke, jo) = (federation.newcomer("KE"), federation.newcomer("JO"));
    let join = desk.join("federation.join");
    let admit = |federation: &Federation, newcomer: usize, stewards: [usize; 2]| {
        let unit = federation.unit(newcomer);
        let request = unit.folder.join(format!("{}.request", unit.code));
        let propose = ["admit", text(&request), "--charter", text(&join)];
        version(federation, unit.code, &propose, stewards[0], &[stewards[0], stewards[1], newcomer])
    };
    let settled = admit(&federation, ke, [0, 1]);
    // A thief of France's root key has no record of what it signed.
    fs::remove_file(federation.unit(0).folder.join("keys/root.key.signed")).unwrap();
    let beside = admit(&federation, jo, [0, 2]);

    federation.run_all();
    federation.unit(1).run_ok(&["charter", "publish", text(&settled), "--yes"]);
    (0..3).for_each(|at| drop(federation.until(at, "version 2", is_version(2))));
    // Their next heads name it.
    for at in 0..3 {
        federation.kill(at);
        federation.start(at);
    }
    for at in 0..3 {
        federation.until(at, "that version 2 is settled", |status| status["charter"]["settled"] == 2);
    }

    federation.unit(2).run_ok(&["charter", "import", text(&beside)]);
    for at in 0..3 {
        let status = federation.until(at, "the version beside it", |status| {
            status["charter"]["beside_count"] == 1 && is_version(2)(status)
        });
        assert_eq!(status["charter"]["beside"][0]["signed_by"], serde_json::json!(["BR", "FR"]), "{status}");
        let findings = status["findings"].as_array().unwrap();
        assert!(findings.iter().any(|it| it["code"] == "charter-beside-settled"), "{status}");
    }
    assert_failed(&federation.send(0, "JO", &[]), 1, "JO");

    // Each keeps what settled it: a start needs no head.
    federation.kill(1);
    federation.start(1);
    federation.until(1, "its return", |status| status["peers"]["connected"] == 2);
    let status = federation.unit(1).run_ok(&["status"]);
    assert_eq!((&status["charter"]["settled"], &status["charter"]["version"]), (&2.into(), &2.into()));
}

#[test]
fn a_proposal_that_could_never_be_a_version_is_refused_with_the_rule() {
    let founding = Founding::prepared();
    founding.combined();
    let propose = |what: &[&str]| {
        let mut arguments = vec!["charter", "propose"];
        arguments.extend(what);
        arguments.extend(["--charter", "federation.join"]);
        founding.on_desk(&arguments)
    };
    for (what, told) in [
        (&["suspend", "BR"][..], "CH-08"),
        (&["withdraw", "BR", "--stewards", "FR,SG", "--threshold", "2"], "CH-08"),
        (&["stewards", "--set", "BR,FR,SG", "--threshold", "3"], "CH-09"),
        (&["stewards", "--set", "BR,FR,SG", "--threshold", "1"], "CH-09"),
        (&["stewards", "--set", "BR,FR,SG", "--threshold", "2"], "changes nothing"),
        (&["reinstate", "BR"], "BR is active"),
        (&["suspend", "KE"], "does not list KE"),
        (&["admit", "BR.request"], "BR is active"),
        (&["replace-root", "BR.request"], "lists already"),
    ] {
        assert_failed(&propose(what), 4, told);
    }
    assert!(!founding.desk.join("charter.proposal").exists());
    // Nothing is known of a charter where there is neither a node nor a file.
    let nowhere = founding.on_desk(&["charter", "propose", "suspend", "BR"]);
    assert_failed(&nowhere, 1, "refpoint.toml");
    assert_failed(&propose(&["admit", "federation.join"]), 4, "FEDERATION");
}

#[test]
fn a_version_is_signed_offline_and_what_was_given_up_stays_on_record() {
    let founding = Founding::prepared();
    let federation = founding.combined();
    let desk = &founding.desk;
    let newcomers = ["KE", "JO"].map(|code| {
        let unit = Unit::new(code, desk.parent().unwrap().join(code), None);
        parsed(&unit.init(&[]));
        unit
    });
    let propose = |at: usize| {
        let request = newcomers[at].folder.join(format!("{}.request", newcomers[at].code));
        let out = desk.join(format!("{}.proposal", newcomers[at].code));
        let arguments = ["charter", "propose", "admit", text(&request), "--charter", "federation.join"];
        parsed(&founding.on_desk(&[&arguments[..], &["--out", text(&out)]].concat()));
        out
    };
    let (kenya, jordan) = (propose(0), propose(1));
    let signed = |unit: &Unit, file: &Path, more: &[&str]| {
        let out = desk.join(format!("{}-{}.signed", file.file_stem().unwrap().to_str().unwrap(), unit.code));
        (unit.run(&sign(file, &unit.root_key(), &out, more)), out)
    };
    let [fr, sg, br] = &founding.units;
    let first = parsed(&signed(fr, &kenya, &[]).0)["charter"]["id"].as_str().unwrap().to_owned();
    let (refused, _) = signed(fr, &jordan, &[]);
    assert_failed(&refused, 4, &format!("--give-up {}", &first[..8]));
    assert_failed(&signed(fr, &jordan, &["--give-up", "00000000"]).0, 1, "names no document");
    let (given_up, fr_copy) = signed(fr, &jordan, &["--give-up", &first[..8]]);
    assert_eq!(parsed(&given_up)["member"], "FR");
    let record = fs::read_to_string(fr.folder.join("keys/root.key.signed")).unwrap();
    assert!(record.lines().any(|line| line.starts_with("given-up charter after") && line.ends_with(&first)));

    // A member that is neither a steward nor new signs nothing; copies of two proposals are not combined.
    assert_failed(&signed(&newcomers[0], &jordan, &[]).0, 4, "neither a steward's nor new");
    let (kenya_signed, sg_copy) = signed(sg, &kenya, &[]);
    parsed(&kenya_signed);
    let combine = |files: &[&Path]| {
        let mut arguments = vec!["charter", "combine"];
        arguments.extend(files.iter().map(|file| text(file)));
        founding.on_desk(&arguments)
    };
    assert_failed(&combine(&[&fr_copy, &sg_copy]), 4, "another charter");
    // A steward who signs twice counts once.
    assert_failed(
        &combine(&[&fr_copy, &fr_copy]),
        1,
        "1 more of the stewards BR, SG; the new root key of JO",
    );
    let (_, br_copy) = signed(br, &jordan, &[]);
    assert_failed(&combine(&[&fr_copy, &br_copy]), 1, "missing: the new root key of JO");
    let (own, jo_copy) = signed(&newcomers[1], &jordan, &[]);
    assert!(parsed(&own)["key_set"].is_string());
    // The same again is the same file.
    let before = fs::read(&jo_copy).unwrap();
    fs::remove_file(&jo_copy).unwrap();
    assert!(signed(&newcomers[1], &jordan, &[]).0.status.success());
    assert_eq!(fs::read(&jo_copy).unwrap(), before);
    let complete = parsed(&combine(&[&fr_copy, &br_copy, &jo_copy]));
    assert_eq!(complete["charter"]["federation_fingerprint"], *federation);

    let file = desk.join("charter-2.join");
    assert_failed(&founding.on_desk(&["charter", "publish", text(&file), "--yes"]), 1, "refpoint.toml");
    assert_failed(&fr.run(&["charter", "publish", text(&file), "--yes"]), 3, "not running");
    assert_failed(&fr.run(&["charter", "import", text(&file)]), 3, "not running");
    let bad = desk.join("bad.join");
    fs::write(&bad, tampered(&fs::read_to_string(&file).unwrap())).unwrap();
    assert_failed(&fr.run(&["charter", "publish", text(&bad), "--yes"]), 4, "bad.join");
    let partial = desk.join("partial.join");
    fs::write(&partial, fs::read_to_string(&fr_copy).unwrap().replace("SIGNED CHARTER", "FEDERATION"))
        .unwrap();
    assert_failed(&fr.run(&["charter", "publish", text(&partial), "--yes"]), 4, "signatures are missing");
    let heard = ["--fingerprint", &federation, "--version-fingerprint"];
    let print = complete["charter"]["fingerprint"].as_str().unwrap();
    let join = |unit: &Unit, file: &Path| unit.run(&[&["join", text(file)], &heard[..], &[print]].concat());
    assert_failed(&join(&newcomers[1], &partial), 4, "CH-1");
    assert_failed(&join(&newcomers[0], &file), 4, "does not list KE");
    // A founding member that has not joined yet may use the later file, with its root key.
    assert_failed(&join(br, &file), 2, "--root-key");
    let joined = parsed(&join(&newcomers[1], &file));
    assert_eq!((&joined["member"], &joined["version"]), (&"JO".into(), &2.into()));
    assert_eq!(joined["key_set"], parsed(&own)["key_set"]);
    // Another federation's proposal is signed by nobody here.
    let strangers = Founding::prepared();
    strangers.combined();
    let request = newcomers[0].folder.join("KE.request");
    let alien = desk.join("alien.proposal");
    let arguments = [
        "charter",
        "propose",
        "admit",
        text(&request),
        "--charter",
        "federation.join",
        "--out",
        text(&alien),
    ];
    parsed(&strangers.on_desk(&arguments));
    assert_failed(&signed(fr, &alien, &[]).0, 4, "neither a steward's nor new");
}
