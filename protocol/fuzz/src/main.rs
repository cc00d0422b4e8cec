#![no_main]
//! All fuzz targets in one program: which of them runs is said by the environment, in `REFPOINT_FUZZ_TARGET`.
//!
//! A target is one file here, one line below, and a folder of seeds in `corpus/`. It takes any bytes, and panics
//! at what must never be.

mod bundle;
mod canonical;
mod chain;
mod custody;
mod desk;
mod envelope;
mod head;
mod inbox;
mod introduction;
mod introduction_reader;
mod joining_request;
mod message_body;
mod message_proof;
mod outbox;
mod parcel;
mod pushed;
mod receipt;
mod relay_frame;
mod repair;
mod settlement;
mod witness;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| TARGET(bytes));

type Target = fn(&[u8]);

const TARGETS: [(&str, Target); 20] = [
    ("bundle", bundle::run),
    ("canonical", canonical::run),
    ("chain", chain::run),
    ("custody", custody::run),
    ("envelope", envelope::run),
    ("head", head::run),
    ("inbox", inbox::run),
    ("introduction", introduction::run),
    ("introduction_reader", introduction_reader::run),
    ("joining_request", joining_request::run),
    ("message_body", message_body::run),
    ("message_proof", message_proof::run),
    ("outbox", outbox::run),
    ("parcel", parcel::run),
    ("pushed", pushed::run),
    ("receipt", receipt::run),
    ("relay_frame", relay_frame::run),
    ("repair", repair::run),
    ("settlement", settlement::run),
    ("witness", witness::run),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("REFPOINT_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("REFPOINT_FUZZ_TARGET names no target: {name:?}")).1
});
