//! Whole running nodes in this process, over memory: what they do when a disk or a peer fails them.

mod alerts;
mod full_disk;
mod metrics;
mod rogue;
mod settlements;
mod stopping;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use refpoint::{
    clock::Clock,
    network::{Address, NetworkConfig, TransportKind},
    runtime::{Node, NodeBackend, Operator, Parts, Unanswered},
    store::{MemoryStore, Store as _},
};
use refpoint_protocol::{
    document::encode,
    ids::{DocumentId, MemberCode, MessageId},
    machine::{self, Command, CommandRefused, Machine, Reply},
    message::{
        body::{Body, Statement, Tlp, Word},
        draft::{Draft, StatementDraft},
        header::Precedence,
    },
    redact::Redacted,
    relay::views::{MessageView, RecipientState},
    storage::{Change, Table},
    testing::{Federation, Unit, node_key},
    time::Timestamp,
};
use tokio_util::sync::CancellationToken;

/// The members of the tests' federations.
const CODES: [&str; 4] = ["BR", "FR", "KE", "SG"];

/// Longer than any step here takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// A running node of a member, and its store, whose faults come on demand.
struct Running {
    unit: Unit,
    store: Arc<MemoryStore>,
    node: Node,
    address: Address,
}

impl Running {
    /// A node that knows the founding, every member's key set, and an address to dial.
    async fn start(federation: &Federation, code: &str, hints: &[&Self]) -> Self {
        let store = Arc::new(MemoryStore::new());
        store.apply(&founding(federation)).unwrap();
        Self::start_on(federation, code, hints, store, Vec::new()).await
    }

    async fn start_on(
        federation: &Federation,
        code: &str,
        hints: &[&Self],
        store: Arc<MemoryStore>,
        alert_command: Vec<String>,
    ) -> Self {
        let unit = federation.unit(code).clone();
        let mut network = NetworkConfig::new(federation.id, vec![Address::memory(0)]);
        network.transport = TransportKind::Memory;
        network.allow_private = true;
        network.memory_bytes_max = usize::MAX;
        let node = Node::start(Parts {
            machine: machine::Config {
                federation: federation.id,
                member: unit.code.clone(),
                node: node_key(&unit.nodes[0]),
                addresses: Vec::new(),
                software: "test".to_owned(),
                connections_max: 256,
            },
            signing: unit.nodes[0].clone(),
            store: store.clone(),
            network,
            hints: hints.iter().map(|other| other.address.clone()).collect(),
            alert_command,
            clock: Clock::start(0),
        });
        let node = node.await.unwrap();
        let address =
            wait_for(async || node.handle().network().summary().await.unwrap().listening.first().cloned());
        let address = address.await;
        Self { unit, store, node, address }
    }

    fn backend(&self) -> NodeBackend {
        let operator = Operator {
            root_keys: Vec::new(),
            alert_configured: false,
            first_addresses: BTreeMap::new(),
            storage_notes: Vec::new(),
        };
        NodeBackend::new(self.node.handle().clone(), operator)
    }

    /// Looks at the machine until it shows what is wanted.
    async fn until<T: Send + 'static>(
        &self,
        wanted: impl Fn(&Machine, Timestamp) -> Option<T> + Clone + Send + 'static,
    ) -> T {
        wait_for(async || self.node.handle().query(wanted.clone()).await.unwrap()).await
    }

    /// Waits until it can seal a message for `other` and is connected with it.
    async fn until_knows(&self, other: &Self) {
        let (node, member) = (node_key(&other.unit.nodes[0]), other.unit.code.clone());
        self.until(move |machine, now| {
            let evidence = machine.evidence();
            let mut listings = evidence.listings().iter().filter(|listing| listing.member == member);
            let sealable = listings.any(|listing| evidence.directory().sealing_key(listing, now).is_some());
            (sealable && machine.connected().contains_key(&node)).then_some(())
        })
        .await;
    }

    async fn send(&self, to: &Self, precedence: Precedence, text: &str) -> Result<MessageId, CommandRefused> {
        self.send_to(&to.unit.code, precedence, text).await
    }

    async fn send_to(
        &self,
        to: &MemberCode,
        precedence: Precedence,
        text: &str,
    ) -> Result<MessageId, CommandRefused> {
        let draft = Draft { recipients: vec![to.clone()], precedence, lifetime: None, body: body(text) };
        let reply = self.node.handle().command(Command::Send(Box::new(draft))).await.unwrap()?;
        let Reply::Queued { message, .. } = reply else { panic!("another answer than queued") };
        Ok(message)
    }

    async fn acknowledge(&self, message: MessageId) {
        let (answers, word, role) = (message, Word::Acknowledged, Redacted("duty".into()));
        let statement = Statement { answers, word, role, will: Some(true), form: None, by: None };
        let draft = Box::new(StatementDraft { statement, text: None });
        self.node.handle().command(Command::State(draft)).await.unwrap().unwrap();
    }

    async fn until_delivered(&self, message: MessageId) {
        self.until(move |machine, _| match machine.messages().message(&message) {
            Some(MessageView::Sent(sent)) => {
                sent.recipients.iter().all(|it| it.state == RecipientState::Delivered).then_some(())
            }
            _ => None,
        })
        .await;
    }

    /// Stops it in order.
    async fn stop(self) -> Result<(), refpoint::runtime::RuntimeError> {
        let stop = CancellationToken::new();
        stop.cancel();
        self.node.run_until(stop).await
    }
}

/// The rows of a store that knows the founding and every member's first key set.
fn founding(federation: &Federation) -> Vec<Change> {
    let charter = DocumentId::from(federation.id);
    let mut changes = vec![Change::put(
        Table::Charters,
        *charter.as_bytes(),
        encode(&**federation.founding.envelope()).unwrap(),
    )];
    for unit in &federation.units {
        let row = encode(&**unit.key_set.envelope()).unwrap();
        changes.push(Change::put(Table::KeySets, *unit.key_set.id().as_bytes(), row));
    }
    changes
}

fn body(text: &str) -> Body {
    Body {
        tlp: Tlp::Amber,
        text: Some(Redacted(text.to_owned())),
        reference: None,
        attachments: Vec::new(),
        statement: None,
        drill: false,
        form: None,
    }
}

/// Asks again and again until there is an answer.
async fn wait_for<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let asked = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(DEADLINE, asked).await.expect("the awaited state did not come in time")
}
