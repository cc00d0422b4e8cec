//! What a message says, read from files and standard input alone: arguments are visible to every user of a
//! machine, and stay in the shell's history.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use refpoint_protocol::{limits::ATTACHMENT_BYTES_MAX, redact::Redacted};

use crate::{
    api::views::send::{AttachmentUpload, CONTENT_BYTES_MAX, LINE_BYTES_MAX, NAME_BYTES_MAX},
    cli::failure::Failure,
    text_file::without_mark,
};

/// Where a message's content is.
#[derive(clap::Args)]
pub(super) struct Content {
    /// The text's file, or - for standard input.
    #[arg(long = "file", value_name = "FILE", required_unless_present = "attach")]
    text_file: Option<PathBuf>,
    /// A file to attach; may be given several times.
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
    /// A file with the case reference, one line.
    #[arg(long, value_name = "FILE")]
    reference_file: Option<PathBuf>,
}

impl Content {
    pub(super) fn text(&self) -> Result<Option<Redacted<String>>, Failure> {
        let Some(file) = &self.text_file else { return Ok(None) };
        let bytes = read(file, CONTENT_BYTES_MAX)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            let why = "it is not UTF-8 text";
            Failure::error(
                format!("{} was not read", shown(file)),
                why,
                "save it as UTF-8, or attach it with --attach",
            )
        })?;
        Ok(Some(Redacted(without_mark(&text).to_owned())))
    }

    pub(super) fn reference(&self) -> Result<Option<Redacted<String>>, Failure> {
        let Some(file) = &self.reference_file else { return Ok(None) };
        let bytes = read(file, LINE_BYTES_MAX + MARK_AND_LINE_END_BYTES)?;
        let text = String::from_utf8(bytes).map_err(|_| {
            Failure::error(
                format!("{} was not read", shown(file)),
                "it is not UTF-8 text",
                "save it as UTF-8",
            )
        })?;
        Ok(Some(Redacted(without_mark(&text).trim().to_owned())))
    }

    pub(super) fn attachments(&self) -> Result<Vec<AttachmentUpload>, Failure> {
        self.attach.iter().map(|file| attachment(file)).collect()
    }
}

fn attachment(file: &Path) -> Result<AttachmentUpload, Failure> {
    let data = read(file, ATTACHMENT_BYTES_MAX)?;
    let name = file.file_name().and_then(|name| name.to_str()).filter(|name| name.len() <= NAME_BYTES_MAX);
    let name = name.ok_or_else(|| {
        Failure::usage(
            format!("{} was not attached", shown(file)),
            "it has no plain name",
            "give it a short name",
        )
    })?;
    let media_type = media_type(name).to_owned();
    Ok(AttachmentUpload { name: Redacted(name.to_owned()), media_type, data: data.into() })
}

/// Reads a file or standard input, at most `max` bytes.
fn read(file: &Path, max: usize) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| {
        Failure::error(format!("{} was not read", shown(file)), error, "name a file that you may read")
    };
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(failed)?)
    };
    let mut bytes = Vec::new();
    source.take(max as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > max {
        let why = format!("it has more than {max} bytes");
        let hint = "send large evidence by another channel, and here its SHA-256";
        return Err(Failure::error(format!("{} was not read", shown(file)), why, hint));
    }
    Ok(bytes)
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}

/// The media type that a name's ending stands for, among those that units exchange.
fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "txt" | "log" => "text/plain",
        "csv" => "text/csv",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "zip" => "application/zip",
        "eml" => "message/rfc822",
        _ => "application/octet-stream",
    }
}

/// Bytes of a byte order mark and a Windows line end around a line.
const MARK_AND_LINE_END_BYTES: usize = 5;
