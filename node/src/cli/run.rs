//! `refpoint run`: the node itself, until SIGTERM or Ctrl-C.

use std::{collections::BTreeMap, sync::Arc};

use refpoint_protocol::machine;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    ConfigFile,
    failure::Failure,
    folder::{OpenFolder, node_secret},
    output::Output,
    owner,
};
use crate::{
    api::{self, socket::Socket},
    clock::Clock,
    config::{Config, NEXT_ROOT_KEY, ROOT_KEY},
    founding::{joined_federation, joined_hints},
    network::{Address, NetworkConfig},
    runtime::{Node, NodeBackend, Operator, Parts, RuntimeError},
    shutdown,
    store::{Opened, SledStore},
    telemetry,
};

/// Run this country's node.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(arguments: &Arguments, _output: &Output) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    owner::check(&config.data, "the node was not started")?;
    telemetry::start(&config.log, config.log_format).map_err(|why| {
        Failure::error("logging was not started", why, "correct `log` in the configuration")
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|error| {
        Failure::error("the node was not started", error, "look at the limits of processes and memory")
    })?;
    runtime.block_on(serve(config))
}

async fn serve(config: Config) -> Result<(), Failure> {
    let clock = Clock::start(0);
    if let Err(error) = config.check_named() {
        // Not a reason to stay away: messages still come and go. A passphrase that is needed ends it next.
        tracing::error!(%error, "the configuration names what is not there");
    }
    let secret = node_secret(&config)?;
    let (config, folder) = tokio::task::spawn_blocking(move || {
        let folder = OpenFolder::open(&config);
        (config, folder)
    })
    .await
    .map_err(|error| Failure::error("the data folder was not opened", error, "report this: it is a fault"))?;
    let OpenFolder { store, opened } = folder?;
    if let Some(recovered) = &opened.recovered {
        tracing::error!(cause = %recovered.cause, copy = %recovered.copy.display(), "storage was recovered");
    }
    let Some(federation) = joined_federation(store.as_ref())? else {
        return Err(Failure::error(
            "the node was not started",
            format!("{} has not joined a federation", config.member),
            "join first: refpoint join federation.join --fingerprint F --root-key keys/root.key",
        ));
    };
    let mut first_addresses = BTreeMap::new();
    for hint in joined_hints(store.as_ref())?.into_iter().filter(|hint| hint.member != config.member) {
        first_addresses.insert(hint.member, hint.addresses);
    }
    let hints = first_addresses.values().flatten();
    let hints = hints.filter_map(|address| address.parse::<Address>().ok()).collect();
    let addresses: Vec<String> = config.announce.iter().map(ToString::to_string).collect();
    let listen = config.listening().into_iter().map(Address::from).collect();
    let mut network = NetworkConfig::new(federation, listen);
    network.reachable = !addresses.is_empty();
    network.allow_private = config.allow_private_addresses;
    network.dial.targets_max = config.connections_max;
    // Taken before anything runs, so that a second node on this socket is refused and changes nothing.
    let socket = Socket::bind(&config.socket).map_err(|error| {
        let remedy = "stop the other node, or choose another `socket` in the configuration";
        Failure::error("the node was not started", error, remedy)
    })?;
    let metrics = listen_for_metrics(&config).await?;
    let store: Arc<SledStore> = Arc::from(store);
    let node = Node::start(Parts {
        machine: machine::Config {
            federation,
            member: config.member.clone(),
            node: secret.key(),
            addresses: addresses.clone(),
            software: concat!("refpoint ", env!("CARGO_PKG_VERSION")).to_owned(),
            connections_max: config.connections_max,
        },
        signing: secret.signing_key().clone(),
        store: Arc::clone(&store) as Arc<dyn crate::store::Store>,
        network,
        hints,
        alert_command: config.alert_command.clone(),
        clock,
    })
    .await
    .map_err(|error| failed(&config, error))?;
    tracing::info!(member = %config.member, federation = %federation.short(), "the node is running");
    let stop = CancellationToken::new();
    let operator = Operator {
        root_keys: [ROOT_KEY, NEXT_ROOT_KEY].map(|file| config.folder().join(file)).to_vec(),
        alert_configured: !config.alert_command.is_empty(),
        first_addresses,
        storage_notes: notes(&opened),
    };
    let backend = NodeBackend::new(node.handle().clone(), operator).with_snapshots_of(store);
    let backend = Arc::new(backend);
    let figures = metrics
        .map(|listener| tokio::spawn(api::metrics::serve(listener, Arc::clone(&backend), stop.clone())));
    let serving = tokio::spawn(api::serve(socket, backend, stop.clone()));
    let signals = tokio::spawn(shutdown::on_signal(stop.clone()));
    let ended = node.run_until(stop.clone()).await;
    stop.cancel();
    let tasks =
        [("the API", Some(serving)), ("the metrics' port", figures), ("the signal handler", Some(signals))];
    for (what, task) in tasks.into_iter().filter_map(|(what, task)| Some((what, task?))) {
        match task.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "{what} failed"),
            Err(error) => tracing::error!(%error, "{what} ended badly"),
        }
    }
    ended.map_err(|error| failed(&config, error))?;
    tracing::info!("stopped");
    Ok(())
}

/// Takes the port of `/metrics`, if one is configured.
async fn listen_for_metrics(config: &Config) -> Result<Option<TcpListener>, Failure> {
    let Some(address) = config.metrics_listen else { return Ok(None) };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let remedy = "stop what uses the port, or choose another `metrics_listen` in the configuration";
        Failure::error("the node was not started", format!("{address}, for /metrics: {error}"), remedy)
    })?;
    Ok(Some(listener))
}

fn failed(config: &Config, error: RuntimeError) -> Failure {
    let remedy = match &error {
        RuntimeError::Store(_) => "look at the disk, then start the node again: it checks its storage first",
        RuntimeError::Network(_) => "stop what uses the address, or correct `listen` in the configuration",
        RuntimeError::System(_) => "start it again; if this comes back, report the log",
    };
    Failure::error(format!("the node of {} stopped", config.member), error, remedy)
}

/// What storage did when it was opened, for `status`.
fn notes(opened: &Opened) -> Vec<String> {
    let recovered = opened.recovered.as_ref().map(|recovered| {
        format!(
            "the database was recovered ({}); {} acknowledged batches may be lost; it lies as it was in {}",
            recovered.cause,
            recovered.lost,
            recovered.copy.display()
        )
    });
    let set_aside = (opened.set_aside > 0)
        .then(|| format!("{} damaged records were set aside and are fetched again", opened.set_aside));
    recovered.into_iter().chain(set_aside).collect()
}
