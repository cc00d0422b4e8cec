//! `refpoint charter show`: what a ceremony file says, whichever it is.

use std::path::PathBuf;

use serde_json::json;

use super::{described, shown};
use crate::{
    armor::Label,
    ceremony::{Ceremony, label_of, read_request},
    cli::{failure::Failure, init::group_name, output::Output},
    fingerprint::spoken,
};

#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    /// A joining request, a draft, a signed copy or federation.join.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    if label_of(&arguments.file)? != Label::JoiningRequest {
        let (label, ceremony) = Ceremony::read(&arguments.file, &Label::ALL)?;
        let machine = json!({ "holds": label.text(), "charter": described(&ceremony) });
        return output.result(format!("{}\n\n{}", label.text(), shown(&ceremony)), &machine);
    }
    let request = read_request(&arguments.file)?;
    let said = request.payload();
    let at = if said.addresses.is_empty() { "dials out only".to_owned() } else { said.addresses.join(", ") };
    let print = spoken(said.root.as_bytes());
    let human = format!(
        "{}\n\nmember       {}\ngroup        {}\nfingerprint  {print}\nnode         {} at {at}",
        Label::JoiningRequest.text(),
        said.member,
        group_name(said.group),
        said.node.short(),
    );
    let machine = json!({ "holds": Label::JoiningRequest.text(), "request": said, "fingerprint": print });
    output.result(human, &machine)
}
