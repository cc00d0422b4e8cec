//! The machine around the node: disk, addresses, descriptors, the alert command.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    net::{IpAddr, TcpListener, ToSocketAddrs as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use super::Line;
use crate::{
    config::{Config, Host},
    network::address::is_public,
};

/// Free space, and that a file can be written and brought to the device, with how long that takes.
#[must_use]
pub(super) fn disk(data: &Path) -> Vec<Line> {
    let free = match rustix::fs::statvfs(data) {
        Ok(space) => space_line(data, space.f_bavail.saturating_mul(space.f_frsize)),
        Err(error) => Line::fail(
            "disk space",
            format!("cannot look at {}: {error}", data.display()),
            "check that the data folder exists and is yours, or correct `data` in the configuration",
        ),
    };
    let synced = match slowest_sync(data) {
        Ok(slowest) if slowest <= SYNC_SLOW => {
            Line::ok("disk writes", format!("a durable write takes at most {} ms", slowest.as_millis()))
        }
        Ok(slowest) => Line::warn(
            "disk writes",
            format!("a durable write took {} ms: every receipt waits that long", slowest.as_millis()),
            "move the data folder to a local solid-state disk",
        ),
        Err(error) => Line::fail(
            "disk writes",
            format!("cannot write to {}: {error}", data.display()),
            "run this as the node's own user; free space; if the device fails, replace it and restore a backup",
        ),
    };
    vec![free, synced]
}

fn space_line(data: &Path, free: u64) -> Line {
    let megabytes = free / 1_000_000;
    let what = format!("{megabytes} MB are free on the disk of {}", data.display());
    match free {
        0..DISK_FAILING_BYTES => Line::fail(
            "disk space",
            format!("{what}: messages are refused"),
            "free space; the node goes on by itself",
        ),
        DISK_FAILING_BYTES..DISK_LOW_BYTES => {
            Line::warn("disk space", what, "free space, or use a larger disk")
        }
        _ => Line::ok("disk space", what),
    }
}

/// The slowest of a few durable writes.
fn slowest_sync(data: &Path) -> io::Result<Duration> {
    let path = data.join(format!(".doctor.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let tried = (0..SYNCS_TRIED).try_fold(Duration::ZERO, |slowest, _| {
        let began = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_all()?;
        Ok(began.elapsed().max(slowest))
    });
    let removed = fs::remove_file(&path);
    tried.and_then(|slowest| removed.map(|()| slowest))
}

/// Whether the port is there: bound by the running node, else free for it.
#[must_use]
pub(super) fn listening(config: &Config, running_on: Option<&[String]>) -> Line {
    let check = "listening";
    match running_on {
        Some([]) => Line::fail(
            check,
            format!("the node listens nowhere; {} was wanted", config.listen),
            "look at the node's log, stop what uses the port, then restart the node",
        ),
        Some(addresses) => Line::ok(check, format!("on {}", addresses.join(", "))),
        None => match TcpListener::bind(config.listen) {
            Ok(_) => Line::ok(check, format!("{} is free for the node", config.listen)),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Line::fail(
                check,
                format!("{} is in use by another program", config.listen),
                "stop that program (ss -ltnp names it), or change `listen` in the configuration",
            ),
            Err(error) => Line::fail(
                check,
                format!("cannot listen on {}: {error}", config.listen),
                "write an address of this machine into `listen`, 0.0.0.0:PORT for all of them",
            ),
        },
    }
}

/// Whether announced names lead to addresses that others can dial.
#[must_use]
pub(super) fn announced(config: &Config) -> Vec<Line> {
    let check = "announced address";
    if config.announce.is_empty() {
        return vec![Line::ok(check, "none: this node dials out alone")];
    }
    let line = |to: &crate::config::HostPort| {
        let addresses: Vec<IpAddr> = match &to.host {
            Host::Address(ip) => vec![*ip],
            Host::Name(name) => match (name.as_str(), to.port).to_socket_addrs() {
                Ok(found) => found.map(|socket| socket.ip()).collect(),
                Err(error) => {
                    let what = format!("{name} does not resolve: {error}");
                    let fix = "add the name to the DNS, or correct `announce` and restart the node";
                    return Line::fail(check, what, fix);
                }
            },
        };
        if !config.allow_private_addresses && !addresses.iter().copied().any(is_public) {
            let what = format!("{to} leads to no public address, and others dial no other");
            let fix = "announce the public name or address, or have every member set allow_private_addresses";
            return Line::fail(check, what, fix);
        }
        Line::ok(check, format!("{to} resolves"))
    };
    config.announce.iter().map(line).collect()
}

/// Whether the node may open as many files and connections as it is configured for. Asked of the process that
/// holds the data folder, else of this one.
#[must_use]
pub(super) fn descriptors(config: &Config) -> Line {
    let check = "open files";
    let holder = fs::read_to_string(config.data.join("lock")).ok();
    let process =
        holder.as_deref().and_then(|text| text.trim().strip_prefix("process ")?.parse::<u32>().ok());
    let of_node = process.and_then(|id| limit_in(&fs::read_to_string(format!("/proc/{id}/limits")).ok()?));
    let own = || rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    limit_line(check, of_node.unwrap_or_else(own), config.connections_max)
}

fn limit_line(check: &'static str, limit: u64, connections: usize) -> Line {
    // A second one for the moment in which a spare is closed.
    let needed = 2 * connections as u64 + DESCRIPTORS_BESIDE;
    let what = format!("{limit} may be open, {needed} are needed for {connections} connections");
    if limit < needed {
        let fix =
            format!("set LimitNOFILE={} in refpoint.service, or lower connections_max", needed.max(8_192));
        Line::fail(check, what, fix)
    } else {
        Line::ok(check, what)
    }
}

/// The soft limit in a process's table of limits.
fn limit_in(table: &str) -> Option<u64> {
    let line = table.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// Whether the program that wakes people is there and can be run.
#[must_use]
pub(super) fn alert(config: &Config) -> Line {
    let check = "alert command";
    let Some(program) = config.alert_command.first() else {
        let fix = "set alert_command in the configuration; node/OPERATIONS.md says how under \"The alarm\"";
        return Line::warn(check, "none: a message that comes in wakes nobody", fix);
    };
    let fix = "install it, make it executable for the node's user, or correct alert_command";
    match found(program) {
        Found::Executable(path) => Line::ok(check, format!("{} can be run", path.display())),
        Found::NotExecutable(path) => Line::fail(check, format!("{} is not executable", path.display()), fix),
        Found::Nowhere => Line::fail(check, format!("{program} is not there"), fix),
    }
}

enum Found {
    Executable(PathBuf),
    NotExecutable(PathBuf),
    Nowhere,
}

fn found(program: &str) -> Found {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![PathBuf::from(program)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(program)).collect()
    };
    let mut present = None;
    for path in candidates {
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 => {
                return Found::Executable(path);
            }
            Ok(metadata) if metadata.is_file() => {
                present.get_or_insert(path);
            }
            _ => {}
        }
    }
    present.map_or(Found::Nowhere, Found::NotExecutable)
}

/// Durable writes that are tried: one may be lucky.
const SYNCS_TRIED: u32 = 8;

/// A durable write slower than this makes a flash message feel it.
const SYNC_SLOW: Duration = Duration::from_millis(250);

/// As in `status`: below this a week of the largest messages may not fit.
const DISK_LOW_BYTES: u64 = 2_000_000_000;

/// As in `status`: below this the database may fail to write within hours.
const DISK_FAILING_BYTES: u64 = 200_000_000;

/// Descriptors beside connections: the database, content files, the commands' socket and its callers.
const DESCRIPTORS_BESIDE: u64 = 192;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;
    use crate::cli::doctor::Verdict;

    fn config(more: &str) -> Config {
        let text = format!("member = \"SG\"\nlisten = \"127.0.0.1:1\"\n{more}");
        Config::parse(Path::new("/nowhere/refpoint.toml"), &text, None).unwrap()
    }

    fn failed(line: &Line, what: &str) {
        assert_eq!(line.verdict, Verdict::Fail, "{line:?}");
        assert!(line.what.contains(what), "{line:?}");
        assert!(line.fix.as_ref().is_some_and(|fix| fix.len() > 10), "{line:?}");
    }

    #[test]
    fn a_disk_that_is_full_or_cannot_be_written_fails() {
        let folder = tempfile::tempdir().unwrap();
        let good = disk(folder.path());
        assert_eq!(good[1].check, "disk writes");
        assert_ne!(good[1].verdict, Verdict::Fail, "{good:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        for line in disk(&folder.path().join("none")) {
            failed(&line, "none");
        }
        failed(&space_line(folder.path(), 199_000_000), "refused");
        assert_eq!(space_line(folder.path(), 1_999_000_000).verdict, Verdict::Warn);
        assert_eq!(space_line(folder.path(), 2_000_000_000).verdict, Verdict::Ok);
    }

    #[test]
    fn a_port_that_is_taken_or_not_here_fails() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut config = config("announce = []");
        config.listen = holder.local_addr().unwrap();
        failed(&listening(&config, None), "in use");
        failed(&listening(&config, Some(&[])), "nowhere");
        assert_eq!(listening(&config, Some(&["127.0.0.1:1".to_owned()])).verdict, Verdict::Ok);
        drop(holder);
        assert_eq!(listening(&config, None).verdict, Verdict::Ok);
        config.listen = "192.0.2.1:4001".parse().unwrap();
        failed(&listening(&config, None), "cannot listen");
    }

    #[test]
    fn an_announced_name_that_leads_nowhere_fails() {
        failed(&announced(&config("announce = [\"node.invalid:4001\"]"))[0], "does not resolve");
        failed(&announced(&config("announce = [\"10.0.0.1:4001\"]"))[0], "no public address");
        let allowed = config("announce = [\"10.0.0.1:4001\"]\nallow_private_addresses = true");
        assert_eq!(announced(&allowed)[0].verdict, Verdict::Ok);
        assert_eq!(announced(&config("announce = []"))[0].verdict, Verdict::Ok);
    }

    #[test]
    fn too_few_descriptors_fail() {
        let table =
            "Limit  Soft  Hard  Units\nMax open files            1024                 4096      files\n";
        assert_eq!(limit_in(table), Some(1024));
        assert_eq!(limit_line("open files", 1024, 256).verdict, Verdict::Ok);
        failed(&limit_line("open files", 512, 256), "512 may be open");
    }

    #[test]
    fn an_alert_command_that_cannot_be_run_fails() {
        let folder = tempfile::tempdir().unwrap();
        let script = folder.path().join("page");
        let line = |program: &str| alert(&config(&format!("announce = []\nalert_command = [{program:?}]")));
        failed(&line(script.to_str().unwrap()), "is not there");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o644)).unwrap();
        failed(&line(script.to_str().unwrap()), "not executable");
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(line(script.to_str().unwrap()).verdict, Verdict::Ok);
        assert_eq!(line("sh").verdict, Verdict::Ok);
        failed(&line("no-such-program-anywhere"), "is not there");
        assert_eq!(alert(&config("announce = []")).verdict, Verdict::Warn);
    }
}
