//! `refpoint charter show`: what a ceremony file says, whichever it is.

use std::path::PathBuf;

use serde_json::json;

use super::{described, review::CEREMONIES, shown, version};
use crate::{
    armor::Label,
    ceremony::{AnyCeremony, label_of, read_documents, read_request},
    cli::{failure::Failure, init::group_name, output::Output, qr},
    fingerprint::spoken,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A joining request, a draft, a proposal, a signed copy, a complete charter or signed documents.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    match label_of(&arguments.file)? {
        Label::JoiningRequest => show_request(arguments, output),
        Label::SignedDocuments => show_documents(arguments, output),
        Label::CharterDraft | Label::CharterProposal | Label::SignedCharter | Label::Federation => {
            let (label, ceremony) = AnyCeremony::read(&arguments.file, &CEREMONIES)?;
            let (text, value) = match &ceremony {
                AnyCeremony::Founding(founding) => (shown(founding), described(founding)),
                AnyCeremony::Later(later) => (version::shown_in_full(later), version::described(later)),
            };
            let machine = json!({ "holds": label.text(), "charter": value });
            output.result(format!("{}\n\n{text}", label.text()), &machine)
        }
    }
}

fn show_documents(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let documents = read_documents(&arguments.file)?;
    let kinds: Vec<&str> = documents.iter().map(|envelope| envelope.kind.as_str()).collect();
    let label = Label::SignedDocuments.text();
    let human = format!("{label}\n\n{} documents: {}", kinds.len(), kinds.join(", "));
    output.result(human, &json!({ "holds": label, "kinds": kinds }))
}

fn show_request(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let request = read_request(&arguments.file)?;
    let said = request.payload();
    let at = if said.addresses.is_empty() { "dials out only".to_owned() } else { said.addresses.join(", ") };
    let print = spoken(said.root.as_bytes());
    let human = format!(
        "{}\n\nmember       {}\ngroup        {}\nfingerprint  {print}\nnode         {} at {at}\n\n{}",
        Label::JoiningRequest.text(),
        said.member,
        group_name(said.group),
        said.node.short(),
        qr::root(said.member.as_str(), &print),
    );
    let machine = json!({ "holds": Label::JoiningRequest.text(), "request": said, "fingerprint": print });
    output.result(human, &machine)
}
