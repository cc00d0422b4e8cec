//! A federation of the 196 sample members on this machine, five of them running, and what happens between them.
//!
//! Every figure printed is measured in this run. Nothing is opened but loopback sockets.

mod fleet;
mod strangers;
mod timeline;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use refpoint_protocol::{
    ids::{MemberCode, MessageId},
    message::{
        body::{Tlp, Word},
        header::Precedence,
    },
    redact::Redacted,
};

use self::{
    fleet::{Fleet, Member, until},
    timeline::Timeline,
};
use crate::{
    api::{
        backend::IdPrefix,
        views::{
            directory::PublishRequest,
            message::MessageBox,
            receipt::MachineWord,
            send::{SendRequest, StatementRequest},
            status::{ChainState, StatusView},
        },
    },
    client::ClientError,
    clock::Clock,
    fingerprint::spoken,
    sample::{Draw, FolderError, Sample, SampleError},
};

/// The members that run: one of each working group, and a second of Eurasia.
pub const RUNNING: [&str; 5] = ["BR", "FR", "JO", "KE", "SG"];

/// Why the demo stopped: which step failed, and how.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The federation could not be founded.
    #[error("the sample federation could not be founded: {0}")]
    Found(#[from] SampleError),
    /// A folder could not be made.
    #[error("a member's folder could not be made: {0}")]
    Folder(#[from] FolderError),
    /// A process could not be started or ended.
    #[error("a node could not be started or ended: {0}")]
    Start(String),
    /// A step did not happen in time.
    #[error("{what} did not happen in time; the node's log ends:\n{log}")]
    Late {
        /// The step.
        what: String,
        /// The end of the log.
        log: String,
    },
    /// A node did not do as asked.
    #[error("a node did not do as asked: {0}")]
    Client(#[from] ClientError),
    /// Something is not as it must be.
    #[error("{0}")]
    Wrong(String),
    /// A stranger was not refused as it must be.
    #[error("a stranger was not refused as it must be: {0}")]
    Stranger(String),
    /// Signals could not be listened for.
    #[error("signals cannot be listened for: {0}")]
    Signal(#[from] std::io::Error),
}

/// How the demo runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// End by itself after the last step.
    pub once: bool,
    /// Print one JSON object a line.
    pub json: bool,
    /// Where to keep the folders; a temporary folder that is removed, unless said.
    pub keep: Option<PathBuf>,
}

/// Runs the demo.
///
/// # Errors
/// [`DemoError`] naming the step that failed. The nodes are ended in any case.
pub async fn run(options: &Options) -> Result<(), DemoError> {
    let folder = Folder::make(options.keep.as_deref())?;
    let timeline = Timeline::start(options.json);
    let clock = Clock::start(0);
    let (sample, mut fleet) = found(&timeline, &folder.path, clock)?;
    let story = async {
        play(&timeline, &sample, &mut fleet, clock).await?;
        memory(&timeline, &fleet);
        if !options.once {
            look_around(&timeline, &fleet);
        }
        Ok(())
    };
    let mut outcome = tokio::select! {
        outcome = story => outcome,
        stopped = stop_signal() => stopped,
    };
    if outcome.is_ok() && !options.once {
        timeline.note("\nThe five nodes stay up until Ctrl-C.");
        outcome = stop_signal().await;
    }
    fleet.stop().await;
    outcome
}

fn found(timeline: &Timeline, folder: &Path, clock: Clock) -> Result<(Sample, Fleet), DemoError> {
    timeline.chapter("A federation (all members are samples: nobody here is real)");
    let running: Vec<MemberCode> = RUNNING.iter().filter_map(|code| code.parse().ok()).collect();
    let sample = Sample::found(&mut Draw::System, &running, clock.now(), || {})?;
    timeline.say("", &format!("{} members signed charter version 1", sample.members.len()));
    timeline.say("", &format!("fingerprint {}", spoken(sample.federation.as_bytes())));
    let places = sample.write_folders(&folder.join("nodes"), &running, || {})?;
    let fleet = Fleet::start(places)?;
    timeline.say("", "five nodes start as processes on loopback: Brazil, France, Jordan, Kenya, Singapore");
    Ok((sample, fleet))
}

async fn play(
    timeline: &Timeline,
    sample: &Sample,
    fleet: &mut Fleet,
    clock: Clock,
) -> Result<(), DemoError> {
    mesh(timeline, fleet).await?;
    converge(timeline, fleet).await?;
    request(timeline, fleet).await?;
    power_cut(timeline, fleet).await?;
    timeline.chapter("Who must not come in");
    let brazil = fleet.of(&code("BR")?)?;
    let why = strangers::other_federation(brazil.place.listen, clock).await?;
    timeline.say("BR", &format!("a node of another federation called and is not let in: {why}"));
    let closed = strangers::other_protocol(brazil.place.listen).await?;
    timeline.say("BR", &format!("a caller that speaks HTTP: {closed}"));
    let document = sample.members.first().map(|member| member.reference_point.header.clone());
    let document = document.ok_or_else(|| DemoError::Wrong("the sample is empty".to_owned()))?;
    let why = strangers::flipped_bit(&brazil.client, document).await?;
    timeline.say("BR", &format!("a signed document with one bit flipped is refused: {why}"));
    agree(timeline, fleet, "After all this").await
}

async fn mesh(timeline: &Timeline, fleet: &Fleet) -> Result<(), DemoError> {
    timeline.chapter("Mesh: TCP, TLS 1.3, introduction, Yamux");
    for (code, member) in fleet.all() {
        let connected = |status: &StatusView| status.facts.peers.connected == 4;
        let status = reach(&format!("the mesh of {code}"), member, connected).await?;
        timeline.say(code.as_str(), &format!("connected with {} nodes", status.facts.peers.connected));
    }
    let peers = fleet.of(&code("BR")?)?.client.peers().await?;
    let hybrid = peers.iter().filter(|peer| peer.group.as_deref() == Some("X25519MLKEM768")).count();
    timeline.say("BR", &format!("{hybrid} of 4 connections agreed on X25519MLKEM768 (post-quantum hybrid)"));
    agree(timeline, fleet, "At the start").await
}

/// All five hold the same directory.
async fn agree(timeline: &Timeline, fleet: &Fleet, when: &str) -> Result<(), DemoError> {
    let (_, first) = fleet.all().next().ok_or_else(|| DemoError::Wrong("no node runs".to_owned()))?;
    let digest = until("the same digest on all five", first, || async {
        let mut digests = Vec::new();
        for (_, member) in fleet.all() {
            digests.push(member.client.status().await.ok()?.facts.directory_digest);
        }
        digests.dedup();
        if let [digest] = digests.as_slice() { Some(digest.clone()) } else { None }
    })
    .await?;
    let entries = first.client.status().await?.facts.directory.entries;
    let digest: String = digest.chars().take(16).collect();
    timeline.say("", &format!("{when} all five hold the same {entries} entries: digest {digest}…"));
    Ok(())
}

async fn converge(timeline: &Timeline, fleet: &Fleet) -> Result<(), DemoError> {
    timeline.chapter("The directory converges after a change");
    let jordan = fleet.of(&code("JO")?)?;
    let signs = |status: &StatusView| matches!(status.facts.chain, ChainState::Publishing { .. });
    reach("three members telling Jordan what it signed before", jordan, signs).await?;
    timeline.say("JO", "three members have told it what it signed before: it may sign its records");
    for (code, member) in fleet.all() {
        reach(&format!("the records of {code}"), member, signs).await?;
    }
    let published = jordan.client.published().await?;
    let mut entry = published
        .reference_point
        .ok_or_else(|| DemoError::Wrong("Jordan has no reference point".to_owned()))?;
    entry.agency = Some("Sample cybercrime directorate, night shift".to_owned());
    let agency = entry.agency.clone();
    let began = Instant::now();
    let request = PublishRequest { reference_point: entry, replaces: published.sequence };
    let reply = jordan.client.publish(&request).await?;
    timeline.say("JO", &format!("publishes number {} of its entry", reply.sequence));
    let jordan = code("JO")?;
    for (code, member) in fleet.all().filter(|(code, _)| **code != jordan) {
        until(&format!("Jordan's new entry at {code}"), member, || async {
            let entry = member.client.directory_entry(&jordan).await.ok()?;
            (entry.reference_point?.agency == agency).then_some(())
        })
        .await?;
        timeline
            .say(code.as_str(), &format!("shows it {} ms after the command", began.elapsed().as_millis()));
    }
    Ok(())
}

async fn request(timeline: &Timeline, fleet: &Fleet) -> Result<(), DemoError> {
    timeline.chapter("A flash request to preserve data, from Brazil to Kenya");
    let (brazil, kenya) = (fleet.of(&code("BR")?)?, fleet.of(&code("KE")?)?);
    let began = Instant::now();
    let reply = brazil.client.send(&preservation("KE")?).await?;
    timeline.say(
        "BR",
        &format!("message {} is sealed for Kenya and queued: durable in Brazil's outbox", reply.id.short()),
    );
    delivered(brazil, reply.id).await?;
    timeline.say(
        "BR",
        &format!("Kenya's node says `delivered`, signed, after {} ms", began.elapsed().as_millis()),
    );
    let id = prefix(reply.id)?;
    let text = kenya.client.message(&id).await?.text.map_or(0, |text| text.reveal().chars().count());
    timeline.say("KE", &format!("the inbox shows it: FLASH, TLP:AMBER, {text} characters"));
    let statement = StatementRequest {
        word: Word::Acknowledged,
        role: Redacted("duty officer".to_owned()),
        will: Some(true),
        form: Some(Redacted("preservation order".to_owned())),
        by: None,
    };
    let began = Instant::now();
    kenya.client.state(&id, &statement).await?;
    timeline.say("KE", "a person acknowledges: it will be answered (played by this demo)");
    until("the acknowledgement at Brazil", brazil, || async {
        let view = brazil.client.receipts(&id).await.ok()?;
        view.recipients.first()?.is_acknowledged().then_some(())
    })
    .await?;
    timeline.say(
        "BR",
        &format!("shows `acknowledged` by Kenya's duty officer after {} ms", began.elapsed().as_millis()),
    );
    Ok(())
}

async fn power_cut(timeline: &Timeline, fleet: &mut Fleet) -> Result<(), DemoError> {
    timeline.chapter("Kenya's node is killed, written to, and comes back");
    let kenya = code("KE")?;
    fleet.kill(&kenya).await?;
    timeline.say("KE", "kill -9");
    let jordan = fleet.of(&code("JO")?)?;
    let gone = |status: &StatusView| status.facts.peers.connected == 3;
    reach("Jordan's notice that Kenya is gone", jordan, gone).await?;
    let reply = jordan.client.send(&preservation("KE")?).await?;
    let reason = reply.recipients.first().and_then(|contact| contact.reason.clone()).unwrap_or_default();
    timeline.say("JO", &format!("message {} is queued; Kenya is away: {reason}", reply.id.short()));
    let view = jordan.client.receipts(&prefix(reply.id)?).await?;
    if view.recipients.iter().any(|state| state.is_delivered()) {
        return Err(DemoError::Wrong("a message to a dead node was said to be delivered".to_owned()));
    }
    fleet.spawn(&kenya)?;
    let began = Instant::now();
    timeline.say("KE", "starts again");
    let jordan = fleet.of(&code("JO")?)?;
    delivered(jordan, reply.id).await?;
    timeline.say("JO", &format!("`delivered` {} ms after Kenya's start", began.elapsed().as_millis()));
    let member = fleet.of(&kenya)?;
    let rows = member.client.messages(MessageBox::Inbox, true).await?;
    let copies = rows.iter().filter(|row| row.id == reply.id).count();
    if copies != 1 || rows.len() != 2 {
        return Err(DemoError::Wrong(format!(
            "Kenya's inbox holds {copies} copies, {} rows in all",
            rows.len()
        )));
    }
    timeline.say("KE", "the inbox holds both messages, one copy each");
    let whole = |status: &StatusView| status.facts.peers.connected == 4;
    reach("Kenya's mesh after its return", member, whole).await?;
    Ok(())
}

fn memory(timeline: &Timeline, fleet: &Fleet) {
    timeline.chapter("Memory");
    for (code, member) in fleet.all() {
        if let Some(memory) = member.memory_mb() {
            timeline.say(code.as_str(), &format!("{memory} MB"));
        }
    }
    timeline.chapter(&format!("Done in {:.1} s", timeline.elapsed().as_secs_f64()));
}

fn look_around(timeline: &Timeline, fleet: &Fleet) {
    timeline.chapter("Look around, in another terminal:");
    let program =
        std::env::current_exe().map_or_else(|_| "refpoint".into(), |path| path.display().to_string());
    for (code, command) in [
        ("BR", "status"),
        ("BR", "peers"),
        ("FR", "directory list"),
        ("SG", "directory show KE"),
        ("KE", "message inbox --all"),
        ("BR", "message outbox --all"),
    ] {
        let config = fleet.all().find(|(member, _)| member.as_str() == code);
        if let Some((_, member)) = config {
            timeline.note(&format!("  {program} {command} --config {}", member.place.config.display()));
        }
    }
}

async fn reach(
    what: &str,
    member: &Member,
    holds: impl Fn(&StatusView) -> bool,
) -> Result<StatusView, DemoError> {
    let holds = &holds;
    until(what, member, || async move { member.client.status().await.ok().filter(|status| holds(status)) })
        .await
}

async fn delivered(sender: &Member, message: MessageId) -> Result<(), DemoError> {
    let id = prefix(message)?;
    let id = &id;
    until("the delivery", sender, || async move {
        let view = sender.client.receipts(id).await.ok()?;
        (view.recipients.first()?.machine == MachineWord::Delivered).then_some(())
    })
    .await
}

fn preservation(to: &str) -> Result<SendRequest, DemoError> {
    Ok(SendRequest {
        recipients: vec![code(to)?],
        precedence: Precedence::Flash,
        tlp: Tlp::Amber,
        text: Some(Redacted(REQUEST.to_owned())),
        reference: Some(Redacted("SAMPLE 2026/0417".to_owned())),
        form: None,
        attachments: Vec::new(),
        expires_in_seconds: None,
        drill: false,
    })
}

fn code(text: &str) -> Result<MemberCode, DemoError> {
    text.parse().map_err(|error: refpoint_protocol::ids::IdError| DemoError::Wrong(error.to_string()))
}

fn prefix(id: MessageId) -> Result<IdPrefix, DemoError> {
    id.to_string()
        .parse()
        .map_err(|error: crate::api::backend::IdPrefixError| DemoError::Wrong(error.to_string()))
}

async fn stop_signal() -> Result<(), DemoError> {
    let token = tokio_util::sync::CancellationToken::new();
    Ok(crate::shutdown::on_signal(token).await?)
}

/// The demo's folder, removed with it unless it is to be kept.
struct Folder {
    path: PathBuf,
    remove: bool,
}

impl Folder {
    fn make(keep: Option<&Path>) -> Result<Self, DemoError> {
        let path = keep.map_or_else(
            || std::env::temp_dir().join(format!("refpoint-demo-{}", std::process::id())),
            Path::to_path_buf,
        );
        crate::keyfile::make_owner_folder(&path)?;
        Ok(Self { path, remove: keep.is_none() })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.remove
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(folder = %self.path.display(), %error, "the demo's folder was not removed");
        }
    }
}

/// The sample request. The address is from a range kept for documentation (RFC 5737).
const REQUEST: &str = "Pedido urgente de preservação de dados / Urgent request for data preservation\n\
    Please preserve all subscriber, session and traffic data for 203.0.113.7, TCP port 443, \
    2026-11-23 21:00 to 22:00 UTC. Ransomware against a hospital is under way; the provider keeps its \
    records for 24 hours. A formal request follows within 60 days (SAMPLE: no real case).";
