//! Which charter version is the newest: as a file, the running node or the stopped node's folder has it.

use std::{path::Path, sync::Arc};

use refpoint_protocol::{
    document::Unverified,
    membership::{Trust, charter::Charter},
};

use crate::{
    armor::Label,
    ceremony::{AnyCeremony, Hint},
    cli::{
        ConfigFile, charter::check_founded, failure::Failure, folder::OpenFolder, keys::evidence_from,
        node::converse,
    },
    client::{Client, ClientError},
    founding::{joined_hints, stored_evidence},
};

/// The charter versions that are held, without any key set, and where nodes are.
pub(super) struct Newest {
    pub(super) trust: Trust,
    pub(super) hints: Vec<Hint>,
}

/// Reads them from a complete charter's file, else from the node.
pub(super) fn newest(file: Option<&Path>, config: &ConfigFile) -> Result<Newest, Failure> {
    match file {
        Some(file) => from_file(file),
        None => from_node(config),
    }
}

/// The versions that the running node holds, `None` if no node runs.
pub(super) fn of_running_node(client: &Client) -> Result<Option<Newest>, Failure> {
    match converse(async { Ok(client.own_documents().await) })? {
        Ok(documents) => {
            let evidence = evidence_from(&documents)?;
            Ok(Some(Newest { trust: charters_of(evidence.trust())?, hints: documents.hints }))
        }
        Err(ClientError::NotRunning { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn from_node(config: &ConfigFile) -> Result<Newest, Failure> {
    let config = config.load()?;
    if let Some(newest) = of_running_node(&Client::new(&config.socket))? {
        return Ok(newest);
    }
    let folder = OpenFolder::open(&config)?;
    let evidence = stored_evidence(&*folder.store, &config.member)?;
    Ok(Newest { trust: charters_of(evidence.trust())?, hints: joined_hints(&*folder.store)? })
}

fn from_file(file: &Path) -> Result<Newest, Failure> {
    let (_, ceremony) = AnyCeremony::read(file, &[Label::Federation])?;
    let incomplete = |why| {
        let what = format!("{} is not used", file.display());
        Failure::unverified(what, why, "name a complete charter, as `charter combine` writes it")
    };
    match ceremony {
        AnyCeremony::Founding(ceremony) => {
            check_founded(&ceremony).map_err(incomplete)?;
            let id = ceremony.federation();
            let founding = Unverified::<Charter>::open(ceremony.envelope().clone())
                .and_then(|open| open.verify(id))
                .map_err(|error| incomplete(error.to_string()))?;
            let mut trust = Trust::new(id);
            trust.accept_charter(Arc::new(founding)).map_err(|error| incomplete(error.to_string()))?;
            Ok(Newest { trust, hints: ceremony.hints() })
        }
        AnyCeremony::Later(proposal) => {
            Ok(Newest { trust: proposal.accepted().map_err(incomplete)?, hints: proposal.hints() })
        }
    }
}

/// The charter versions alone that are applied, whatever settled them.
fn charters_of(trust: &Trust) -> Result<Trust, Failure> {
    let mut charters = Trust::new(trust.federation());
    for version in trust.applied_charters() {
        charters.accept_charter(Arc::clone(version)).map_err(|error| {
            Failure::error("the charter is not read", error, "report this: the fault is the program's")
        })?;
    }
    Ok(charters)
}
