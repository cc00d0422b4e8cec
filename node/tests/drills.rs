//! A drill among running nodes: part of a test that has a federation.

use std::fs;

use serde_json::Value;

use crate::{founding::text, processes::Federation};

/// France drills Singapore, which is away, and Brazil, whose alarm rings into `rang`.
pub(crate) fn a_drill_names_who_is_away_and_times_who_answers(
    federation: &mut Federation,
    rang: &std::path::Path,
) {
    let (fr, sg, br) = (0, 1, 2);
    federation.kill(sg);
    federation.until(fr, "Singapore's absence", |status| status["peers"]["connected"] == 1);
    let started = federation.unit(fr).run_ok(&["drill", "start", "--all", "--within", "1h", "--yes"]);
    assert_eq!(started["asked"], serde_json::json!(["BR", "SG"]));
    let id = started["drill"].as_str().unwrap().to_owned();
    let report = |federation: &Federation, what: &str, holds: &dyn Fn(&Value, &Value) -> bool| {
        let both = |value: &Value| holds(&value["members"][0], &value["members"][1]);
        federation.ask_until(fr, &["drill", "report", &id], what, both)
    };
    let delivered = |brazil: &Value, singapore: &Value| {
        brazil["state"] == "delivered" && singapore["delivered"].is_null()
    };
    let told = report(federation, "a drill delivered at Brazil alone", &delivered);
    assert_eq!((&told["over"], &told["members"][1]["member"]), (&false.into(), &"SG".into()));
    assert_eq!(told["members"][0]["delivered"]["clock"], "here");

    // At Brazil it rings, marked; it counts as a drill and as nothing else.
    let is_drill = |line: &str| line.contains("\"drill\":true");
    let is_rung = |_: &Value| fs::read_to_string(rang).unwrap().lines().last().is_some_and(is_drill);
    let status = federation.until(br, "the alarm about the drill", is_rung);
    let alarm: Value =
        serde_json::from_str(fs::read_to_string(rang).unwrap().lines().last().unwrap()).unwrap();
    assert_eq!((&alarm["drill"], &alarm["precedence"]), (&true.into(), &"priority".into()));
    assert_eq!(status["unacknowledged_drills"], 1);
    let priority = |row: &Value| row["precedence"] == "priority";
    assert!(!status["unacknowledged"].as_array().unwrap().iter().any(priority), "{status}");
    let inbox = federation.inbox(br);
    let row = inbox.last().unwrap();
    assert_eq!((&row["drill"], &row["id"]), (&true.into(), &started["messages"][0]), "after the requests");
    federation.unit(br).run_ok(&["message", "ack", row["id"].as_str().unwrap(), "--as", "ZEBRA-ROLE"]);

    let acknowledged = |brazil: &Value, _: &Value| brazil["acknowledged"]["in_time"] == true;
    let told = report(federation, "Brazil's answer", &acknowledged);
    assert!(!told.to_string().contains("ZEBRA"), "no role, no person: {told}");
    let proof = federation.founding.desk.join("drill.proof");
    let message = started["messages"][0].as_str().unwrap();
    let proven = federation.unit(fr).run_ok(&["audit", "proof", message, text(&proof)]);
    assert_eq!(proven["proof"]["drill"], true, "nobody takes it for a request: {proven}");
    let status = federation.unit(fr).run_ok(&["status"]);
    assert_eq!((&status["outbox_waiting"], &status["outbox_waiting_drills"]), (&0.into(), &1.into()));
    let checked = federation.unit(fr).run(&["drill", "report", "--check"]);
    let said = String::from_utf8_lossy(&checked.stderr);
    assert!(checked.status.code() == Some(5) && said.contains("SG"), "{said}");

    // The next one is compared with it, also after a restart; it is called off, and nobody waits for it any more.
    let next = federation.unit(fr).run_ok(&["drill", "start", "--all", "--yes"]);
    let is_here = |value: &Value| value["members"][0]["state"] == "delivered";
    federation.ask_until(fr, &["drill", "report"], "the next drill at Brazil", is_here);
    let off = federation.unit(fr).run_ok(&["drill", "withdraw", "--as", "ZEBRA-ROLE", "--yes"]);
    assert_eq!((&off["drill"], &off["messages"][0]["message"]), (&next["drill"], &next["messages"][0]));
    let is_spared = |value: &Value| value["members"][1]["state"] == "stopped";
    federation.ask_until(fr, &["drill", "report"], "that Singapore does not get it", is_spared);
    let withdrawn = next["messages"][0].as_str().unwrap();
    let is_marked = |value: &Value| value.to_string().contains("withdrawn");
    federation.ask_until(br, &["message", "receipts", withdrawn], "the mark at Brazil", is_marked);
    federation.kill(fr);
    federation.start(fr);
    let compared = |value: &Value| value["members"][0]["acknowledged_before"]["answered"] == 1;
    let newest = federation.ask_until(fr, &["drill", "report"], "the comparison", compared);
    assert_eq!(newest["earlier"][0]["drill"], id.as_str());
}
