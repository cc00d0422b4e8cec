//! A bundle that is checked as an auditor does it: by the program, without a node.

use std::{collections::BTreeMap, path::Path, process::Command, time::Instant};

use refpoint::countries::Country;
use refpoint_protocol::{
    audit::{BundleWriter, Exporter},
    directory::header::ChainKind,
    document::{Kind, encode},
    evidence::AnyDocument,
    ids::DocumentId,
    testing::{
        Federation,
        chains::{ChainWriter, IntoAny as _},
        node_key,
    },
};

use super::{Figure, percentile};

/// Measures `refpoint audit verify` on a bundle of every member and so many signatures, with the start of the process.
pub(super) fn measure(program: &Path) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("refpoint.bundle");
    let (federation, documents) = directory()?;
    std::fs::write(&file, bundle(&federation, &documents)?)?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let mut command = Command::new(program);
        command
            .args(["audit", "verify", "--json"])
            .arg(&file)
            .args(["--federation", &federation.id.to_string()]);
        let output = command.output()?;
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let said: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let counts = said.pointer("/bundle/documents").and_then(serde_json::Value::as_object);
        let checked: u64 = counts.into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum();
        anyhow::ensure!(Ok(checked) == u64::try_from(documents.len()), "{said}");
    }
    Ok(vec![Figure {
        name: "verify_10000",
        value: percentile(&mut times, 50),
        unit: "ms",
        ratio: None,
        aim: "<= 1000",
    }])
}

/// The founding of all members, and renewals of their nodes' chains in turn until there are enough signatures.
fn directory() -> anyhow::Result<(Federation, Vec<AnyDocument>)> {
    let countries = Country::all().map_err(|error| anyhow::anyhow!("{error}"))?;
    let codes: Vec<&str> = countries.iter().map(|country| country.code.as_str()).collect();
    let federation = Federation::new(3, &codes, 1);
    let mut documents = vec![federation.founding.any()];
    documents.extend(federation.units.iter().map(|unit| unit.key_set.any()));
    let mut chains: Vec<ChainWriter> = federation
        .units
        .iter()
        .flat_map(|unit| CHAINS.map(|kind| ChainWriter::new(&federation, unit, 0, kind)))
        .collect();
    let mut signatures: usize = documents.iter().map(|document| document.envelope().signatures.len()).sum();
    while signatures < SIGNATURES {
        for chain in &mut chains {
            let header = chain.write(b"a body that no bundle holds");
            signatures += header.envelope().signatures.len();
            documents.push(header);
        }
    }
    Ok((federation, documents))
}

fn bundle(federation: &Federation, documents: &[AnyDocument]) -> anyhow::Result<String> {
    let mut sorted: BTreeMap<(usize, DocumentId), &AnyDocument> = BTreeMap::new();
    for document in documents {
        let place = Kind::EVIDENCE.iter().position(|kind| *kind == document.kind());
        sorted.insert((place.ok_or_else(|| anyhow::anyhow!("no evidence"))?, document.id()), document);
    }
    let unit = federation.units.first().ok_or_else(|| anyhow::anyhow!("a member"))?;
    let key = unit.nodes.first().ok_or_else(|| anyhow::anyhow!("a node"))?;
    let exporter = Exporter { federation: federation.id, member: unit.code.clone(), node: node_key(key) };
    let (mut writer, mut text) = BundleWriter::begin(federation.id);
    for document in sorted.values() {
        text.push_str(&writer.document(document.kind(), document.id(), &encode(&**document.envelope())?)?);
    }
    let newest = documents.iter().filter_map(AnyDocument::header).map(|header| header.issued).max();
    text.push_str(&writer.finish(&exporter, key, newest.unwrap_or_default()));
    Ok(text)
}

const CHAINS: [ChainKind; 2] = [ChainKind::NodeRecord, ChainKind::ReferencePoint];

/// Signatures in the bundle, at least.
const SIGNATURES: usize = 10_000;

const ROUNDS: usize = 7;
