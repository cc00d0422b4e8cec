//! `refpoint audit`: take the directory away as one file, and check such files without any node.

mod compare;
mod export;
mod heads;
mod proof;
mod shown;
mod verify;
mod witness;
mod witnessed;

use std::{fs, path::Path, thread};

use clap::Subcommand;
use refpoint_protocol::{
    audit::{AuditError, Audited, Frame, Refused},
    ids::FederationId,
};

use super::{failure::Failure, output::Output};
use crate::fingerprint::heard;

/// Export the directory with all its signatures, check such a bundle without a node, compare two; see who holds the same; have the journal cosigned; show what was cosigned of others'; prove what became of a message.
#[derive(Subcommand)]
pub(super) enum Command {
    Export(export::Arguments),
    Heads(heads::Arguments),
    Verify(verify::Arguments),
    Compare(compare::Arguments),
    Witness(witness::Arguments),
    Witnessed(witnessed::Arguments),
    Proof(proof::Arguments),
}

pub(super) fn run(command: &Command, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Export(arguments) => export::run(arguments, output),
        Command::Heads(arguments) => heads::run(arguments, output),
        Command::Verify(arguments) => verify::run(arguments, output),
        Command::Compare(arguments) => compare::run(arguments, output),
        Command::Witness(arguments) => witness::run(arguments, output),
        Command::Witnessed(arguments) => witnessed::run(arguments, output),
        Command::Proof(arguments) => proof::run(arguments, output),
    }
}

/// Which federation is believed, whatever a bundle says of itself.
#[derive(clap::Args)]
struct Pinned {
    /// The federation's fingerprint, as two stewards read it aloud; spaces do not matter.
    #[arg(long, value_name = "FINGERPRINT")]
    federation: String,
}

impl Pinned {
    fn federation(&self) -> Result<FederationId, Failure> {
        heard(&self.federation).map(FederationId::from_bytes).map_err(|error| {
            Failure::usage(
                "the federation's fingerprint is not understood",
                error,
                "give all 64 digits as two stewards read them aloud, or as `refpoint status` of a trusted node shows them",
            )
        })
    }
}

/// Reads a file that is to be checked.
fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let what = || format!("{} was not checked", file.display());
    let hint = "name a file that `refpoint audit export` or `refpoint audit proof` wrote";
    let unread = |error| Failure::error(what(), error, hint);
    let bytes = fs::metadata(file).map_err(unread)?.len();
    if bytes > BUNDLE_BYTES_MAX {
        let why = format!("it has {bytes} bytes; a bundle of at most {BUNDLE_BYTES_MAX} is read");
        return Err(Failure::error(what(), why, hint));
    }
    fs::read(file).map_err(unread)
}

/// Reads a bundle of a federation whose fingerprint was given, and checks everything in it.
pub(super) fn pinned(file: &Path, federation: &str, output: &Output) -> Result<Audited, Failure> {
    let federation = Pinned { federation: federation.to_owned() }.federation()?;
    audited(file, federation, output)
}

/// Reads a bundle and checks everything in it, on all processors.
fn audited(file: &Path, federation: FederationId, output: &Output) -> Result<Audited, Failure> {
    audited_bytes(&read(file)?, file, federation, output)
}

/// Checks everything in a bundle that was read from this file.
fn audited_bytes(
    bytes: &[u8],
    file: &Path,
    federation: FederationId,
    output: &Output,
) -> Result<Audited, Failure> {
    let refused = |refused: Refused| {
        Failure::unverified(format!("{} is refused", file.display()), &refused, remedy(&refused))
    };
    let frame = Frame::read(bytes).map_err(|fault| refused(fault.into()))?;
    if frame.federation != federation {
        // Its documents would all be false: not one is opened.
        let fault = AuditError::OtherFederation { pinned: federation, got: frame.federation };
        return Err(refused(fault.into()));
    }
    let bar = output.progress(frame.documents() as u64, "documents checked");
    let opened = opened(&frame, &bar);
    bar.finish_and_clear();
    Audited::of(&frame, opened, federation).map_err(refused)
}

/// Opens every document; a third of a second for 10,000 signatures and one processor.
fn opened(
    frame: &Frame<'_>,
    bar: &indicatif::ProgressBar,
) -> Vec<Result<refpoint_protocol::evidence::AnyDocument, AuditError>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let count = frame.documents();
    let part = count.div_ceil(threads).max(1);
    let open = |first: usize| {
        let part = first..(first + part).min(count);
        part.map(|index| {
            let opened = frame.open(index);
            bar.inc(1);
            opened
        })
        .collect::<Vec<_>>()
    };
    thread::scope(|scope| {
        let firsts = (0..count).step_by(part);
        let running: Vec<_> = firsts.map(|first| (first, scope.spawn(move || open(first)))).collect();
        // A thread that failed is done again here, where its fault is seen.
        running
            .into_iter()
            .flat_map(|(first, thread)| thread.join().unwrap_or_else(|_| open(first)))
            .collect()
    })
}

fn remedy(refused: &Refused) -> &'static str {
    match refused.faults.first() {
        Some(AuditError::NotABundle) => "name a file that `refpoint audit export` wrote",
        Some(AuditError::Newer(_)) => "use a newer version of refpoint",
        Some(AuditError::Truncated) => {
            "have it sent again, as an attachment; if it stays so, ask for another export"
        }
        Some(AuditError::OtherFederation { .. }) => {
            "do not use it, unless you mistyped the fingerprint: two stewards read out the right one"
        }
        _ => {
            "do not use it: it was damaged or somebody changed it; ask its exporter for the original, and another member for its own"
        }
    }
}

/// Bytes of a bundle that is read: all headers that 196 members can sign in ten years, twice.
const BUNDLE_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;
