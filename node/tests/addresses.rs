//! Addresses of every kind that an operator can write: names, both families of IP, and all of a machine's own.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::processes::{DEADLINE, Federation};

/// What stands before a unit's port.
#[derive(Clone, Copy)]
pub(crate) struct Hosts {
    pub(crate) listen: &'static str,
    pub(crate) announce: &'static str,
}

impl Hosts {
    pub(crate) const LOOPBACK: Self = Self { listen: "127.0.0.1", announce: "127.0.0.1" };
}

/// A name that leads to this machine, an IPv6 address, and a node that awaits both families at one port.
const HOSTS: [Hosts; 3] = [
    Hosts { listen: "127.0.0.1", announce: "localhost" },
    Hosts { listen: "[::1]", announce: "[::1]" },
    Hosts { listen: "[::]", announce: "127.0.0.1" },
];

#[test]
fn a_name_an_ipv6_address_and_both_families_at_one_port_make_one_mesh() {
    let mut federation = Federation::founded_at(HOSTS);
    federation.run_all();
    let place = |at: usize, host: &str| format!("{host}:{}", federation.unit(at).port.unwrap());
    let digest = |at: usize| federation.unit(at).run_ok(&["status"])["directory_digest"].clone();
    for (at, hosts) in HOSTS.iter().enumerate() {
        let signed = |status: &Value| status["chain"]["last"].is_string();
        let status = federation.until(at, "its own record", signed);
        assert_eq!(status["announced"], Value::from(vec![place(at, hosts.announce)]));
    }
    let status = federation.unit(1).run_ok(&["status"]);
    assert_eq!(status["listening"], Value::from(vec![place(1, "[::1]")]));
    let listening = federation.unit(2).run_ok(&["status"])["listening"].clone();
    for host in ["127.0.0.1", "[::1]"] {
        assert!(listening.as_array().unwrap().contains(&place(2, host).into()), "{host}: {listening}");
    }
    let began = Instant::now();
    while digest(0) != digest(1) || digest(1) != digest(2) {
        assert!(began.elapsed() < DEADLINE, "the three records did not spread");
        std::thread::sleep(Duration::from_millis(100));
    }
    // What each announces leads to it, from both others' machine, and is shown as it was written.
    for (at, hosts) in HOSTS.iter().enumerate() {
        let told: Value = serde_json::from_slice(&federation.unit(at).run(&["doctor"]).stdout).unwrap();
        let line = |check: &str| {
            let lines = told["checks"].as_array().unwrap();
            lines
                .iter()
                .find(|line| line["check"] == check)
                .unwrap_or_else(|| panic!("{check}: {told}"))
                .clone()
        };
        for check in ["announced address", "reached from outside"] {
            let line = line(check);
            assert_eq!(line["verdict"], "OK", "{line}");
            assert!(line["what"].as_str().unwrap().contains(&place(at, hosts.announce)), "{line}");
        }
    }
    let peers = federation.unit(0).run_ok(&["peers"]);
    let of =
        |code: &str| peers.as_array().unwrap().iter().find(|peer| peer["member"] == code).unwrap().clone();
    // Whoever dialled, the connection with Singapore is one over IPv6 or came from France's name's address.
    let singapore = of("SG");
    let address = singapore["addresses"][0].as_str().unwrap();
    match singapore["direction"].as_str().unwrap() {
        "outbound" => assert_eq!(address, place(1, "[::1]")),
        _ => assert!(address.starts_with("127.0.0.1:"), "{peers}"),
    }
}
