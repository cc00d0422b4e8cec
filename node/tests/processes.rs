//! Whole nodes as processes on loopback: founded by command, run, killed, brought back.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use refpoint::{reference_point_file::text_of, sample::listen_on_free_port};
use refpoint_protocol::testing::chains;
use serde_json::Value;

use crate::{
    addresses::Hosts,
    audit, drills,
    founding::{Founding, Unit, assert_failed, parsed, text},
};

/// Longer than any step takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Words that stand in messages and entries, and must stand in no log.
const MARKERS: [&str; 5] = ["ZEBRA-TEXT", "ZEBRA-REFERENCE", "ZEBRA-ROLE", "ZEBRA-FILE", "+254 5550"];

/// Three members that founded a federation, ready to run.
pub(crate) struct Federation {
    pub(crate) founding: Founding,
    /// Units that came later.
    more: Vec<Unit>,
    nodes: Vec<Option<Child>>,
    fingerprint: String,
    /// What the command said that drafted the charter of a federation that takes another's place.
    pub(crate) drafted: Option<Value>,
}

impl Federation {
    pub(crate) fn founded() -> Self {
        Self::founded_at([Hosts::LOOPBACK; 3])
    }

    pub(crate) fn founded_at(hosts: [Hosts; 3]) -> Self {
        Self::founded_by(hosts, |founding| (None, founding.combined()), None)
    }

    /// One that takes the place of the federation whose bundle this is; each member keeps what its node there shows.
    pub(crate) fn founded_after(bundle: &Path, old_federation: &str, old: &[PathBuf; 3]) -> Self {
        let found = |founding: &Founding| {
            let (drafted, fingerprint) = founding.combined_after(bundle, old_federation);
            (Some(drafted), fingerprint)
        };
        Self::founded_by([Hosts::LOOPBACK; 3], found, Some(old))
    }

    fn founded_by(
        hosts: [Hosts; 3],
        found: impl Fn(&Founding) -> (Option<Value>, String),
        old: Option<&[PathBuf; 3]>,
    ) -> Self {
        // Held until all are known, so that no port is given twice.
        let held = [(); 3].map(|()| listen_on_free_port().unwrap());
        let ports = [0, 1, 2].map(|at: usize| Some(held[at].local_addr().unwrap().port()));
        let founding = Founding::prepared_at([0, 1, 2].map(|at: usize| (ports[at], hosts[at])));
        let (drafted, fingerprint) = found(&founding);
        let join = founding.desk.join("federation.join");
        for (at, unit) in founding.units.iter().enumerate() {
            let root = unit.root_key();
            let arguments = ["join", text(&join), "--fingerprint", &fingerprint, "--root-key", text(&root)];
            let before = old.map(|old| ["--before", text(&old[at])]);
            unit.run_ok(&[&arguments[..], before.as_ref().map_or(&[], |it| &it[..])].concat());
            let config = unit.folder.join("refpoint.toml");
            let settings = fs::read_to_string(&config).unwrap();
            fs::write(config, format!("{settings}\nallow_private_addresses = true\n")).unwrap();
        }
        drop(held);
        Self { founding, more: Vec::new(), nodes: vec![None, None, None], fingerprint, drafted }
    }

    pub(crate) fn running() -> Self {
        let mut federation = Self::founded();
        federation.run_all();
        federation
    }

    pub(crate) fn run_all(&mut self) {
        (0..3).for_each(|at| self.start(at));
        for at in 0..3 {
            self.until(at, "a mesh of three", |status| status["peers"]["connected"] == 2);
        }
    }

    /// The federation's fingerprint, as it is read aloud.
    pub(crate) fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    pub(crate) fn unit(&self, at: usize) -> &Unit {
        self.founding.units.iter().chain(&self.more).nth(at).unwrap()
    }

    /// A further unit after `init`, not yet a member; gives its place.
    pub(crate) fn newcomer(&mut self, code: &'static str) -> usize {
        self.further(code, code)
    }

    /// A further folder of a member after `init`; gives its place.
    pub(crate) fn further(&mut self, code: &'static str, name: &str) -> usize {
        let port = listen_on_free_port().unwrap().local_addr().unwrap().port();
        let folder = self.founding.desk.parent().unwrap().join(name);
        let unit = Unit::new(code, folder, Some(port));
        parsed(&unit.init(&[]));
        let config = unit.folder.join("refpoint.toml");
        let settings = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{settings}\nallow_private_addresses = true\n")).unwrap();
        self.more.push(unit);
        self.nodes.push(None);
        self.nodes.len() - 1
    }

    fn log(&self, at: usize) -> PathBuf {
        log_of(self.unit(at))
    }

    pub(crate) fn start(&mut self, at: usize) {
        self.nodes[at] = Some(launch(self.unit(at)));
    }

    pub(crate) fn kill(&mut self, at: usize) {
        let mut child = self.nodes[at].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn terminate(&mut self, at: usize) -> Option<i32> {
        let mut child = self.nodes[at].take().unwrap();
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(8) {
            if let Some(status) = child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        None
    }

    /// Asks for the status until it is as expected.
    pub(crate) fn until(&self, at: usize, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        self.ask_until(at, &["status"], what, holds)
    }

    pub(crate) fn ask_until(
        &self,
        at: usize,
        arguments: &[&str],
        what: &str,
        holds: impl Fn(&Value) -> bool,
    ) -> Value {
        ask_until(self.unit(at), arguments, what, holds)
    }

    pub(crate) fn send(&self, at: usize, to: &str, more: &[&str]) -> std::process::Output {
        let file = self.unit(at).folder.join("message.txt");
        fs::write(&file, "ZEBRA-TEXT: preserve the logs of 203.0.113.7\n").unwrap();
        let mut arguments = vec!["message", "send", to, "--precedence", "flash", "--tlp", "amber"];
        arguments.extend(["--file", text(&file), "--yes"]);
        arguments.extend(more);
        self.unit(at).run(&arguments)
    }

    pub(crate) fn inbox(&self, at: usize) -> Vec<Value> {
        let value = self.unit(at).run_ok(&["message", "inbox", "--all"]);
        let rows = value.as_array().or_else(|| value["messages"].as_array());
        rows.unwrap().clone()
    }
}

impl Drop for Federation {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().flatten() {
            // It may have ended by itself.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

fn log_of(unit: &Unit) -> PathBuf {
    unit.folder.join("node.log")
}

fn launch(unit: &Unit) -> Child {
    let log = File::options().create(true).append(true).open(log_of(unit)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_refpoint"));
    command.arg("run").current_dir(&unit.folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.spawn().unwrap()
}

fn ask_until(unit: &Unit, arguments: &[&str], what: &str, holds: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let output = unit.run(arguments);
        let value = output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap());
        if let Some(value) = value.filter(&holds) {
            return value;
        }
        // The log names no dial that failed, but `peers` does.
        let log = || fs::read(log_of(unit)).unwrap_or_default();
        let said = || [output.stdout, unit.run(&["peers"]).stdout, log()].join(&b'\n');
        assert!(began.elapsed() < DEADLINE, "{what} did not happen:\n{}", String::from_utf8_lossy(&said()));
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn members_that_were_never_met_are_listed_with_the_reason() {
    let mut federation = Federation::founded();
    federation.start(0);
    let refused =
        |peer: &Value| peer["reason"].as_str().is_some_and(|why| why.contains("nobody listens there"));
    let both =
        |peers: &Value| peers.as_array().unwrap().len() == 2 && peers.as_array().unwrap().iter().all(refused);
    let peers = federation.ask_until(0, &["peers"], "a reason for each", both);
    for (peer, code) in peers.as_array().unwrap().iter().zip(["BR", "SG"]) {
        assert_eq!((&peer["member"], &peer["connected"]), (&code.into(), &false.into()));
        assert!(peer["addresses"][0].as_str().unwrap().starts_with("127.0.0.1:"), "{peer}");
    }
}

#[test]
fn two_machines_with_one_key_are_told_of_each_other_soon_and_blamed_for_nothing() {
    let mut federation = Federation::running();
    federation.until(0, "its own record", |status| status["chain"]["last"].is_string());
    assert_eq!(federation.terminate(0), Some(0));
    let first = federation.unit(0);
    let folder = first.folder.with_extension("copy");
    let copy = Unit { code: "FR", folder, port: None, hosts: Hosts::LOOPBACK };
    let copied = Command::new("cp").arg("-a").arg(&first.folder).arg(&copy.folder).status();
    assert!(copied.unwrap().success());
    // The copy was moved to another address, as a machine that takes over is.
    let free = listen_on_free_port().unwrap();
    let [old, new] =
        [first.port.unwrap(), free.local_addr().unwrap().port()].map(|port| format!("127.0.0.1:{port}"));
    let config = copy.folder.join("refpoint.toml");
    let settings = fs::read_to_string(&config).unwrap().replace(&old, &new);
    fs::write(config, settings).unwrap();
    drop(free);
    federation.start(0);
    federation.nodes.push(Some(launch(&copy)));
    for unit in [federation.unit(0), &copy] {
        let stopped = |status: &Value| status["chain"]["why"] == "another machine uses this node's key";
        let status = ask_until(unit, &["status"], "word of the twin", stopped);
        assert_eq!(status["findings"][0]["code"], "chain-stopped", "{status}");
    }
    // By a meeting or by a header, whichever came first; the line is written a moment after the state.
    for unit in [federation.unit(0), &copy] {
        let began = Instant::now();
        while !fs::read_to_string(log_of(unit)).unwrap().contains("another machine uses this node's key") {
            assert!(began.elapsed() < DEADLINE, "the log does not tell of the twin");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    for at in [1, 2] {
        let log = fs::read_to_string(federation.log(at)).unwrap();
        assert!(!log.contains("NW-05"), "{log}");
    }
}

#[test]
fn a_restarted_node_of_three_signs_when_the_two_others_have_told_it() {
    let mut federation = Federation::running();
    federation.until(0, "its own record", |status| status["chain"]["last"].is_string());
    federation.kill(0);
    federation.start(0);
    federation.until(0, "signing again", |status| status["chain"]["state"] == "publishing");
    let judged = |status: &Value| status["clock"]["offset_ms"].is_i64() && status["clock"]["asked"] == 2;
    federation.until(0, "a clock judged by two", judged);
}

#[test]
fn three_units_run_what_they_founded_and_a_request_is_answered() {
    let federation = Federation::running();
    let entry = federation.unit(1).folder.join("entry.toml");
    fs::write(&entry, text_of(&chains::reference_point(7))).unwrap();
    federation.unit(1).run_ok(&["directory", "publish", text(&entry), "--yes"]);
    let shown = |value: &Value| value["freshness"] == "fresh";
    federation.ask_until(0, &["directory", "show", "SG"], "Singapore's entry at France", shown);
    audit::running_nodes_export_one_directory(&federation);
    audit::running_nodes_witness_each_other(&federation);

    let reference = federation.unit(0).folder.join("reference.txt");
    fs::write(&reference, "ZEBRA-REFERENCE").unwrap();
    let attachment = federation.unit(0).folder.join("ZEBRA-FILE.bin");
    fs::write(&attachment, vec![0xA5; 1024 * 1024]).unwrap();
    let wait = ["--wait", "delivered", "--timeout", "30s"];
    let more = ["--reference-file", text(&reference), "--attach", text(&attachment)];
    let sent = parsed(&federation.send(0, "BR,SG", &[&wait[..], &more[..]].concat()));
    let id = sent["sent"]["id"].as_str().unwrap();
    for at in [1, 2] {
        let message = federation.unit(at).run_ok(&["message", "show", id]);
        assert_eq!(message["text"], "ZEBRA-TEXT: preserve the logs of 203.0.113.7\n");
        assert_eq!(message["files"][0]["bytes"], 1024 * 1024);
    }
    // Nobody has acknowledged: the wait ends with the code that says so.
    let unread = federation.send(0, "BR", &["--wait", "acknowledged", "--timeout", "2s"]);
    assert_eq!(unread.status.code(), Some(6), "{}", String::from_utf8_lossy(&unread.stderr));

    federation.unit(2).run_ok(&["message", "ack", id, "--as", "ZEBRA-ROLE", "--will", "yes", "--by", "+8h"]);
    let acknowledged = |value: &Value| {
        let recipients = value["recipients"].as_array().unwrap();
        recipients.iter().any(|it| it["member"] == "BR" && it["person"]["word"] == "acknowledged")
            && recipients.iter().any(|it| it["member"] == "SG" && it["person"].is_null())
    };
    federation.ask_until(0, &["message", "receipts", id], "the acknowledgement", acknowledged);
    audit::a_message_is_proven_to_whoever_has_no_node(&federation, id);

    for at in 0..3 {
        let log = fs::read_to_string(federation.log(at)).unwrap();
        for marker in MARKERS {
            assert!(!log.contains(marker), "{marker} stands in the log of {}", federation.unit(at).code);
        }
    }
}

#[test]
fn what_is_written_to_a_killed_node_arrives_once_and_the_alarm_rings() {
    let mut federation = Federation::founded();
    let rang = federation.unit(2).folder.join("rang");
    let config = federation.unit(2).folder.join("refpoint.toml");
    let settings = fs::read_to_string(&config).unwrap();
    let command = format!("alert_command = [\"sh\", \"-c\", \"cat >> {}\"]", text(&rang));
    fs::write(&config, format!("{settings}{command}\n")).unwrap();
    (0..3).for_each(|at| federation.start(at));
    for at in 0..3 {
        federation.until(at, "a mesh of three", |status| status["peers"]["connected"] == 2);
    }
    assert!(federation.send(0, "BR", &["--wait", "delivered", "--timeout", "30s"]).status.success());

    federation.kill(2);
    let away = federation.send(0, "BR", &["--wait", "delivered", "--timeout", "1s"]);
    assert_eq!(away.status.code(), Some(5), "{}", String::from_utf8_lossy(&away.stderr));
    // The sender dies too, with the message in its outbox alone.
    federation.kill(0);
    federation.start(2);
    federation.start(0);
    federation.until(2, "the second message at Brazil", |_| federation.inbox(2).len() == 2);
    federation.until(0, "an empty outbox at France", |status| status["outbox_waiting"] == 0);

    federation.kill(2);
    federation.start(2);
    federation.until(2, "Brazil's return", |status| status["peers"]["connected"] == 2);
    let inbox = federation.inbox(2);
    assert_eq!(inbox.len(), 2);
    // One that rang while the node was killed rings again: at least once each.
    let alarms = || fs::read_to_string(&rang).unwrap_or_default();
    let all = |_: &Value| inbox.iter().all(|row| alarms().contains(row["id"].as_str().unwrap()));
    federation.until(2, "an alarm about each", all);
    let alarms = alarms();
    let alarm: Value = serde_json::from_str(alarms.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&alarm["country"], &alarm["precedence"], &alarm["tlp"]),
        (&"FR".into(), &"flash".into(), &"AMBER".into())
    );
    assert!(!alarms.contains("ZEBRA-TEXT"));
    drills::a_drill_names_who_is_away_and_times_who_answers(&mut federation, &rang);
}

#[test]
fn a_message_outlives_its_sender_in_custody_and_the_receipt_finds_it_when_it_is_back() {
    let mut federation = Federation::running();
    assert!(federation.send(0, "BR", &["--wait", "delivered", "--timeout", "30s"]).status.success());
    federation.kill(2);
    federation.until(0, "Brazil's absence", |status| status["peers"]["connected"] == 1);
    let sent = federation.send(0, "BR", &["--wait", "delivered", "--timeout", "20s"]);
    assert_eq!(sent.status.code(), Some(5), "custody is no delivery");
    let said = String::from_utf8_lossy(&sent.stderr).into_owned();
    assert!(said.contains("custody 1 of 1"), "{said}");
    let outcome: Value = serde_json::from_slice(&sent.stdout).unwrap();
    let id = outcome["sent"]["id"].as_str().unwrap().to_owned();
    let receipts = federation.unit(0).run_ok(&["message", "receipts", &id]);
    let state = &receipts["recipients"][0];
    assert_eq!((&state["machine"], state["member"].as_str()), (&"custody".into(), Some("BR")));
    assert_eq!(state["reason"], "1 of 1, kept at SG until its node is back");
    assert_eq!(federation.unit(1).run_ok(&["status"])["held"], 1);

    // Its sender is gone for good, as far as anybody knows, and its custodian was killed too.
    federation.kill(0);
    federation.kill(1);
    federation.start(1);
    federation.until(1, "what Singapore kept", |status| status["held"] == 1);
    federation.start(2);
    let both = |value: &Value| {
        let rows = value.as_array().or_else(|| value["messages"].as_array()).unwrap();
        rows.len() == 2
    };
    federation.ask_until(2, &["message", "inbox", "--all"], "the message at Brazil", both);
    federation.until(1, "that nothing is kept", |status| status["held"] == 0);

    // The receipt waits for the sender, and needs no recipient any more.
    federation.kill(2);
    federation.start(0);
    let delivered = |value: &Value| value["recipients"][0]["machine"] == "delivered";
    federation.ask_until(0, &["message", "receipts", &id], "the receipt at France", delivered);
    assert_eq!(federation.unit(0).run_ok(&["status"])["peers"]["connected"], 1);
}

#[test]
fn a_node_stops_in_order_and_refuses_to_run_twice() {
    let mut federation = Federation::running();
    let twice = federation.unit(0).run(&["run"]);
    assert_failed(&twice, 1, "in use by another node");
    assert_eq!(federation.terminate(1), Some(0), "SIGTERM");
    // Its port is taken by somebody else now.
    let status = federation.unit(0).run_ok(&["status"]);
    let listening = status["listening"][0].as_str().unwrap().to_owned();
    let config = federation.unit(1).folder.join("refpoint.toml");
    let settings = fs::read_to_string(&config).unwrap();
    let own = settings.lines().find(|line| line.starts_with("listen")).unwrap().to_owned();
    fs::write(&config, settings.replace(&own, &format!("listen = \"{listening}\""))).unwrap();
    assert_failed(&federation.unit(1).run(&["run"]), 1, "cannot listen on");
    fs::write(&config, settings).unwrap();
    federation.start(1);
    federation.until(1, "its return", |status| status["peers"]["connected"] == 2);
    // What the commands say when nobody runs.
    federation.kill(2);
    assert_failed(&federation.unit(2).run(&["status"]), 3, "not running");
}

#[test]
fn a_running_node_takes_its_next_key_set_and_goes_on() {
    let federation = Federation::running();
    let unit = federation.unit(2);
    let issued = unit.run_ok(&["keys", "issue", "--root-key", text(&unit.root_key()), "--yes"]);
    assert_eq!(issued["epoch"], 1);
    federation.until(2, "the new epoch", |status| status["key_set"]["epoch"] == 1);
    let newer = |value: &Value| value["key_set_epoch"] == 1;
    federation.ask_until(0, &["directory", "show", "BR"], "Brazil's new key set at France", newer);
    let sent = federation.send(0, "BR", &["--wait", "delivered", "--timeout", "30s"]);
    assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
}

#[test]
fn the_doctor_has_another_node_dial_back_and_names_what_it_saw() {
    let mut federation = Federation::running();
    let check = |federation: &Federation, check: &str| {
        let output = federation.unit(0).run(&["doctor"]);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let lines = told["checks"].as_array().unwrap().clone();
        lines.into_iter().find(|line| line["check"] == check).unwrap_or_else(|| panic!("{check}: {told}"))
    };
    // Whoever is asked to dial back must hold its record.
    let began = Instant::now();
    let seen = loop {
        let seen = check(&federation, "reached from outside");
        if seen["verdict"] == "OK" {
            break seen;
        }
        // A dial that a busy machine did not manage is repeated after a minute, not sooner.
        assert!(began.elapsed() < 2 * DEADLINE, "{seen}");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(seen["what"].as_str().unwrap().contains("was introduced"), "{seen}");
    for name in ["key set", "listening", "open files", "announced address"] {
        let line = check(&federation, name);
        assert_eq!(line["verdict"], "OK", "{line}");
    }
    // The dial back was no connection: the mesh is as it was.
    federation.until(0, "the same mesh", |status| status["peers"]["connected"] == 2);
    federation.kill(0);
    let line = check(&federation, "key set");
    assert_eq!(line["verdict"], "OK", "{line}");
    assert_eq!(check(&federation, "storage")["verdict"], "OK");
}

#[test]
fn garbage_at_the_door_stops_nobody() {
    use std::io::{Read as _, Write as _};
    let federation = Federation::running();
    let status = federation.unit(0).run_ok(&["status"]);
    let listening = status["listening"][0].as_str().unwrap().to_owned();
    let socket = federation.unit(0).folder.join("data/refpoint.sock");
    for round in 0..20_u8 {
        let mut caller = std::net::TcpStream::connect(&listening).unwrap();
        let bytes: Vec<u8> =
            (0..2_000_u32).map(|at| (at as u8).wrapping_mul(31).wrapping_add(round)).collect();
        // The node may close before it has read everything.
        let _cut = caller.write_all(&bytes);
        let mut api = std::os::unix::net::UnixStream::connect(&socket).unwrap();
        api.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let _cut = api.write_all(&bytes);
        let mut answer = Vec::new();
        let _ended = api.read_to_end(&mut answer);
    }
    assert!(federation.send(1, "FR", &["--wait", "delivered", "--timeout", "30s"]).status.success());
    federation.until(0, "the mesh after the garbage", |status| status["peers"]["connected"] == 2);
}
