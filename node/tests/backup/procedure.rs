//! The procedure of node/OPERATIONS.md, as it stands there: its commands are read from the document and run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::{Shelf, rows};
use crate::processes::Federation;

const SG: usize = 1;
const FR: usize = 0;

/// The commands of the code blocks below a heading.
fn commands(heading: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("OPERATIONS.md");
    let document = fs::read_to_string(path).unwrap();
    let (_, section) = document.split_once(&format!("\n## {heading}\n")).expect(heading);
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let lines: Vec<String> = blocks.flat_map(str::lines).map(str::to_owned).collect();
    assert!(!lines.is_empty(), "{heading} has no commands");
    lines
}

/// A machine on which Singapore's operator types.
struct Operator<'a> {
    federation: &'a mut Federation,
    shelf: &'a Shelf,
    /// What stands for each thing that the document names.
    places: Vec<(String, String)>,
    /// Where the operator is.
    at: PathBuf,
}

impl Operator<'_> {
    fn follow(&mut self, heading: &str) {
        for command in commands(heading) {
            self.type_in(&command);
        }
    }

    fn type_in(&mut self, command: &str) {
        match command {
            "sudo systemctl stop refpoint" => return,
            "sudo systemctl start refpoint" => return self.federation.start(SG),
            _ => {}
        }
        let mut line = command.replace("sudo -u refpoint ", "");
        for (named, here) in &self.places {
            line = line.replace(named, here);
        }
        if let Some(folder) = line.strip_prefix("cd ") {
            self.at = folder.into();
            return;
        }
        let publishes = line.contains("directory publish");
        if publishes {
            line = format!("{line} --yes");
            let entry = refpoint::reference_point_file::text_of(
                &refpoint_protocol::testing::chains::reference_point(7),
            );
            fs::write(self.at.join("reference-point.toml"), entry).unwrap();
            self.federation.until(SG, "the restored node", |status| status["peers"]["connected"] == 2);
        }
        let program = Path::new(env!("CARGO_BIN_EXE_refpoint")).parent().unwrap();
        let search = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh")
            .args(["-c", &line])
            .current_dir(&self.at)
            .env("PATH", search)
            .env("REFPOINT_PASSPHRASE_FILE", &self.shelf.passphrase)
            .env("REFPOINT_BACKUP_PASSPHRASE_FILE", &self.shelf.passphrase)
            .env_remove("REFPOINT_CONFIG")
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}\n{}", String::from_utf8_lossy(&output.stderr));
        if line.starts_with("refpoint init ") {
            let config = self.at.join("refpoint.toml");
            let settings = fs::read_to_string(&config).unwrap();
            fs::write(&config, format!("{settings}allow_private_addresses = true\n")).unwrap();
        }
    }
}

fn send(federation: &Federation) {
    let output = federation.send(FR, "SG", &["--wait", "delivered", "--timeout", "60s"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn has(federation: &Federation, count: usize) {
    let all = |value: &Value| {
        assert!(rows(value).len() <= count, "doubled");
        rows(value).len() == count
    };
    federation.ask_until(SG, &["message", "inbox", "--all"], "every message, once", all);
}

#[test]
fn the_written_procedure_brings_a_lost_node_back_with_and_without_a_backup() {
    let mut federation = Federation::running();
    let shelf = Shelf::of(&federation, SG);
    let folder = federation.unit(SG).folder.clone();
    let (port, fingerprint) = (federation.unit(SG).port.unwrap(), federation.unit(FR).run_ok(&["status"]));
    let fingerprint = fingerprint["federation_fingerprint"].as_str().unwrap().to_owned();
    let node = federation.unit(SG).run_ok(&["keys", "export", "SG", "--out", "own.documents"]);
    let node = node["nodes"][0].as_str().unwrap()[..8].to_owned();
    let desk = federation.founding.desk.clone();
    let documents = desk.join("SG.documents").display().to_string();
    let other = federation.unit(FR).folder.join("refpoint.toml").display().to_string();
    let place = |named: &str, here: String| (named.to_owned(), here);
    let places = vec![
        place("/var/lib/refpoint", folder.display().to_string()),
        place("/media/backup", shelf.folder.display().to_string()),
        place("/media/root.key", shelf.file("root.key").display().to_string()),
        place("node.sg.example:4001", format!("127.0.0.1:{port} --listen 127.0.0.1:{port}")),
        place("federation.join", desk.join("federation.join").display().to_string()),
        place("--documents SG.documents", format!("--documents {documents}")),
        place("--out SG.documents", format!("--out {documents} --config {other}")),
        place("…", fingerprint),
        place("1a2b3c4d", node),
    ];
    send(&federation);
    let mut operator = Operator { federation: &mut federation, shelf: &shelf, places, at: folder.clone() };
    operator.follow("Back up");
    send(operator.federation);
    operator.federation.kill(SG);
    fs::remove_dir_all(&folder).unwrap();
    operator.at = desk;
    operator.follow("Restore");
    has(operator.federation, 2);

    // Once more, and the backups are gone too.
    operator.federation.kill(SG);
    fs::remove_dir_all(&folder).unwrap();
    fs::create_dir(&folder).unwrap();
    operator.follow("Rebuild without a backup");
    has(operator.federation, 2);
    let shown = |value: &Value| value["freshness"] == "fresh";
    operator.federation.ask_until(FR, &["directory", "show", "SG"], "Singapore's entry", shown);
    send(operator.federation);
    has(operator.federation, 3);
}
