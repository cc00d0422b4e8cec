//! What sample members publish: generated from the file, recognisable as no real unit's.

use refpoint_protocol::{
    crypto::SealingSeed,
    directory::{
        node_record::{NodeRecord, ReadableKind},
        reference_point::{Channel, ChannelKind, LocalText, OnDuty, ReferencePoint},
    },
    document::Kind,
    limits::SEALING_KEY_VALIDITY,
    time::Timestamp,
};

use crate::{countries::Country, reference_point_file::usual_competences};

/// The entry of the country in this row of the file, counted from 1.
pub(super) fn reference_point(country: &Country, row: usize, salt: [u8; 16]) -> ReferencePoint {
    let host = format!("{}.example", country.code.as_str().to_lowercase());
    let languages: Vec<String> = country.language_codes().take(LANGUAGES_SHOWN).map(str::to_owned).collect();
    ReferencePoint {
        salt,
        names: names(country, &languages),
        agency: Some("Sample national police".to_owned()),
        channels: vec![
            Channel {
                kind: ChannelKind::Telephone,
                value: format!("+{} 5550 {row}", country.calling_code),
                always: true,
                note: None,
            },
            Channel {
                kind: ChannelKind::Email,
                value: format!("duty@cyber.{host}"),
                always: false,
                note: Some("read in office hours".to_owned()),
            },
        ],
        on_duty: Some(OnDuty { role: "duty officer".to_owned(), languages: languages.clone() }),
        languages,
        competences: usual_competences(),
        time_zone: country.time_zone.clone(),
        sample: true,
    }
}

/// English, and those of the network's other official languages that are the country's too.
fn names(country: &Country, languages: &[String]) -> Vec<LocalText> {
    let mut names = vec![("en", format!("Cybercrime Unit, {} (sample)", country.name_en))];
    for (language, text) in [
        ("fr", format!("Unité de cybercriminalité, {} (exemple)", country.name_fr)),
        ("es", format!("Unidad de Ciberdelincuencia, {} (ejemplo)", country.name_es)),
        ("ar", format!("وحدة الجرائم الإلكترونية، {} (مثال)", country.name_ar)),
    ] {
        if languages.iter().any(|spoken| spoken == language) {
            names.push((language, text));
        }
    }
    names.into_iter().map(|(language, text)| LocalText { language: language.to_owned(), text }).collect()
}

/// The record of a node that does not run: no address, and a sealing key whose seed nobody keeps.
pub(super) fn offline_node_record(salt: [u8; 16], seed: [u8; 32], now: Timestamp) -> NodeRecord {
    let key = SealingSeed::from_bytes(seed).expand().entry(now, now.after(SEALING_KEY_VALIDITY));
    NodeRecord {
        salt,
        addresses: Vec::new(),
        sealing_keys: vec![key],
        reads: Kind::ALL
            .iter()
            .map(|kind| ReadableKind { kind: kind.name().to_owned(), version: 1 })
            .collect(),
        wire: vec![1],
        software: concat!("refpoint ", env!("CARGO_PKG_VERSION"), " (sample)").to_owned(),
    }
}

/// Languages of an entry: a few countries have a dozen.
const LANGUAGES_SHOWN: usize = 8;
