//! The demo as its user runs it: every step works, nothing but loopback is opened, nothing is left behind.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::{Command, Stdio},
};

#[test]
fn every_step_works_on_loopback_alone_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut demo = Command::new(env!("CARGO_BIN_EXE_refpoint"))
        .args(["--json", "demo", "--once"])
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut steps, mut remote) = (0, BTreeSet::new());
    for line in BufReader::new(demo.stdout.take().unwrap()).lines() {
        let step: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert!(step["ms"].is_u64() && step["what"].is_string());
        steps += 1;
        remote.extend(addresses_of(demo.id()));
    }
    let ended = demo.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(steps > 30, "{steps} steps");
    assert!(!remote.is_empty(), "the nodes' sockets were not seen");
    let outside: Vec<_> = remote.iter().filter(|address| !address.is_loopback()).collect();
    assert!(outside.is_empty(), "sockets beyond loopback: {outside:?}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo left something behind");
}

/// Local and remote addresses of every TCP and UDP socket that the process or a child of it has open.
fn addresses_of(demo: u32) -> BTreeSet<IpAddr> {
    let mut sockets = BTreeSet::new();
    for process in processes_of(demo) {
        let Ok(files) = std::fs::read_dir(format!("/proc/{process}/fd")) else { continue };
        for file in files.flatten() {
            let target = std::fs::read_link(file.path()).unwrap_or_default();
            let target = target.to_string_lossy().into_owned();
            sockets.extend(
                target.strip_prefix("socket:[").and_then(|it| it.strip_suffix(']')).map(String::from),
            );
        }
    }
    let mut addresses = BTreeSet::new();
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let text = std::fs::read_to_string(format!("/proc/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            if fields.get(9).is_some_and(|inode| sockets.contains(*inode)) {
                // A listener's remote address is the unspecified one.
                addresses.extend(
                    [fields[1], fields[2]].map(address).into_iter().filter(|it| !it.is_unspecified()),
                );
            }
        }
    }
    addresses
}

fn processes_of(demo: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{demo}/task/{demo}/children")).unwrap_or_default();
    let mut all: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    // Children are listed under the thread that started them.
    if let Ok(threads) = std::fs::read_dir(format!("/proc/{demo}/task")) {
        for thread in threads.flatten() {
            let text = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            all.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    all.push(demo);
    all
}

/// `0100007F:1F90` and the longer form of IPv6: hexadecimal in the machine's own byte order, word by word.
fn address(text: &str) -> IpAddr {
    let (hexadecimal, _) = text.split_once(':').unwrap();
    let word = |at: usize| u32::from_str_radix(&hexadecimal[at..at + 8], 16).unwrap().to_le_bytes();
    if hexadecimal.len() == 8 {
        return IpAddr::V4(Ipv4Addr::from(word(0)));
    }
    let bytes: Vec<u8> = (0..4).flat_map(|index| word(index * 8)).collect();
    let address = Ipv6Addr::from(<[u8; 16]>::try_from(bytes).unwrap());
    address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
}
