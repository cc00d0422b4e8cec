//! One node as a process: how long it takes to listen, and what it takes at rest.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use refpoint::{
    clock::Clock,
    sample::{Draw, Sample},
};

use super::{Figure, percentile};

/// Measures single processes of the program.
pub(super) fn measure(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let code = "FR".parse()?;
    let sample = Sample::found(
        &mut Draw::Seeded { seed: 2, drawn: 0 },
        std::slice::from_ref(&code),
        Clock::start(0).now(),
        || {},
    )?;
    let folder = tempfile::tempdir()?;
    let places = sample.write_folders(&folder.path().join("nodes"), std::slice::from_ref(&code), || {})?;
    let place = places.first().ok_or_else(|| anyhow::anyhow!("a folder"))?;
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let begun = Instant::now();
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&place.config).stdout(Stdio::null()).stderr(Stdio::null());
        let child = Running(command.spawn()?);
        while std::net::TcpStream::connect(place.listen).is_err() {
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(20), "the node did not listen");
            std::thread::sleep(Duration::from_millis(1));
        }
        starts.push(begun.elapsed().as_secs_f64() * 1e3);
        if round == 0 {
            std::thread::sleep(Duration::from_secs(3));
            memory.push(resident_mb(child.0.id())?);
        }
    }
    Ok(vec![
        Figure {
            name: "start_to_listening",
            value: percentile(&mut starts, 50),
            unit: "ms",
            ratio: None,
            aim: "<= 300",
        },
        Figure {
            name: "idle_rss_alone",
            value: memory.first().copied().unwrap_or_default(),
            unit: "MB",
            ratio: None,
            aim: "<= 25",
        },
    ])
}

/// A process that ends with its handle.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}

/// The seconds of processor time that a process has used, as Linux counts them: by hundredths.
pub(super) fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    let line = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let after_name = line.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<f64> =
        after_name.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / 100.0)
}

/// Resident memory of a process in MB, as Linux counts it.
pub(super) fn resident_mb(process: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.map(|line| line.trim().trim_end_matches(" kB").trim().parse::<f64>());
    Ok(kilobytes.ok_or_else(|| anyhow::anyhow!("no VmRSS"))?? / 1024.0)
}

const ROUNDS: usize = 5;
