//! `refpoint message show`: one message, its text behind a margin that it cannot reach, and what was said.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    api::{
        backend::IdPrefix,
        views::message::{AttachmentData, MessageBox, MessageView},
    },
    cli::{
        failure::Failure,
        human,
        message::{list::precedence, timeline},
        node::{Node, converse, id},
        output::Output,
        safe_text::{block, file_name, line},
    },
    client::Client,
};

/// Which message, and where to put its files.
#[derive(clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    node: Node,
    /// The message's id, or the first four or more of its digits.
    id: String,
    /// Save its attachments into this folder; nothing is ever overwritten.
    #[arg(long, value_name = "FOLDER")]
    save_attachments: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, output: &Output) -> Result<(), Failure> {
    let id = id(&arguments.id)?;
    let client = arguments.node.client()?;
    converse(async {
        let message = client.message(&id).await?;
        output.result(page(&message), &message)?;
        match &arguments.save_attachments {
            Some(folder) => save(&client, &id, &message, folder, output).await,
            None => Ok(()),
        }
    })
}

fn page(message: &MessageView) -> String {
    let row = &message.row;
    let mut page = format!("{}   TLP:{}   message {}\n", precedence(row), row.tlp, row.id);
    let mut add = |label: &str, text: &str| page.push_str(&format!("{label:<11} {text}\n"));
    if row.drill {
        add("DRILL", "this is an exercise");
    }
    add("from", &human::member(&row.sender));
    let recipients: Vec<String> = row.recipients.iter().map(human::member).collect();
    add("to", &recipients.join(", "));
    add("made", &human::instant(row.created));
    if let Some(received) = row.received {
        add("came", &human::instant(received));
    }
    add("expires", &human::instant(row.expires));
    if let Some(answers) = row.answers {
        add("answers", &answers.to_string());
    }
    if row.unproven {
        add("UNPROVEN", "the signer's key may not have counted when this was made: call back before you act");
    }
    if let Some(reference) = &message.reference {
        add("reference", &line(reference.reveal()));
    }
    if let Some(form) = &message.form {
        add("form", &line(&form.code));
        for (field, value) in form.fields.reveal() {
            add("", &format!("{}: {}", line(field), line(value)));
        }
    }
    for file in &message.files {
        let name = line(file.name.reveal());
        let size = human::bytes(file.bytes);
        add("attachment", &format!("{} {name} ({}, {size})", file.number, line(&file.media_type)));
        add("", &format!("  SHA-256 {}", file.sha256));
    }
    match (&message.text, message.erased) {
        (Some(text), _) => page.push_str(&format!("\n{}", block(text.reveal()))),
        (None, true) => {
            page.push_str("\nthe content was erased here, as it is a day after the acknowledgement\n")
        }
        (None, false) => page.push_str("\nthere is no text\n"),
    }
    page.push('\n');
    page.push_str(&timeline::states(&row.states, human::now()));
    page.push('\n');
    page.push_str(&timeline::lines(&message.timeline));
    let nobody = row.states.iter().all(|state| !state.is_acknowledged());
    if row.folder == MessageBox::Inbox && row.answers.is_none() && nobody {
        page.push_str(&format!(
            "\nnobody here has taken it yet: refpoint message ack {} --as ROLE\n",
            row.id.short()
        ));
    }
    page
}

async fn save(
    client: &Client,
    id: &IdPrefix,
    message: &MessageView,
    folder: &Path,
    output: &Output,
) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let what = format!("the attachments were not saved in {}", folder.display());
        Failure::error(what, error, "name a folder that is yours and on a disk with room")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    for file in &message.files {
        let AttachmentData { attachment, data } = client.attachment(id, file.number).await?;
        let digest: [u8; 32] = Sha256::digest(data.as_slice()).into();
        if digest != *file.sha256.as_bytes() || attachment.sha256 != file.sha256 {
            let what = format!("attachment {} was not saved", file.number);
            let why = "its bytes do not have the SHA-256 that the message names";
            return Err(Failure::unverified(what, why, "try again; if it stays so, see refpoint status"));
        }
        let name = file_name(file.name.reveal(), file.number);
        let saved = write_new(folder, &name, data.as_slice()).map_err(failed)?;
        output.talk(format!("saved attachment {} as {}", file.number, saved.display()));
    }
    if message.files.is_empty() {
        output.talk("the message has no attachments");
    }
    Ok(())
}

/// Writes a new file: another name if one of this name is there.
fn write_new(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<PathBuf> {
    let (stem, extension) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()).unwrap_or((name, ""));
    for number in 0..COPIES_MAX {
        let name = match (number, extension) {
            (0, _) => name.to_owned(),
            (_, "") => format!("{stem}-{number}"),
            _ => format!("{stem}-{number}.{extension}"),
        };
        let path = folder.join(name);
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(mut file) => {
                file.write_all(bytes)?;
                file.sync_all()?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("{COPIES_MAX} files with the name {name} are there"),
    ))
}

/// Files of one name in one folder.
const COPIES_MAX: u32 = 1_000;
