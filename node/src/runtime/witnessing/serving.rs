//! Cosigning others' journals.

use refpoint_protocol::{
    audit::{
        note::Note,
        witness::{
            CosignAnswer, CosignRefusal, CosignRequest, Cosignature, HeardJournal, Judged, Witness,
            WitnessFault, WitnessName, WitnessedRow,
        },
    },
    ids::{MemberCode, NodeKey},
    machine::{Input, JournalNews, Machine},
    membership::NodeStanding,
    storage::{Change, Table},
    time::Timestamp,
};

use super::Run;
use crate::{
    network::CosignAsked,
    runtime::{carry::tell, jobs::Identity},
    store::{Store, StoreError},
};

/// What came of a request.
struct Served {
    answer: CosignAnswer,
    news: Option<JournalNews>,
}

/// Why a request was not served.
enum NotServed {
    Fault(WitnessFault),
    Store(StoreError),
    Bug(String),
}

impl From<StoreError> for NotServed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Run {
    /// Answers one request of a node.
    pub(super) async fn serve(&mut self, asked: CosignAsked) -> Result<(), StoreError> {
        let CosignAsked { from, request, token } = asked;
        let now = self.clock.now();
        let answer = if self.limits.allow(from, now) {
            self.judged(from, *request, now).await?
        } else {
            Some(CosignAnswer::Refused(CosignRefusal::Busy))
        };
        if let Some(answer) = answer
            && self.handle.network.answer_cosign(token, answer).await.is_err()
        {
            tracing::debug!("the network had stopped");
        }
        Ok(())
    }

    /// The answer; `None` to what no honest node asks.
    async fn judged(
        &mut self,
        from: NodeKey,
        request: CosignRequest,
        now: Timestamp,
    ) -> Result<Option<CosignAnswer>, StoreError> {
        let look = move |machine: &Machine, now| {
            let (membership, own) = (machine.evidence().membership(), &machine.config().member);
            let member = machine.connected().get(&from).map(|connection| connection.member.clone())?;
            let active = membership.node_of(&member, &from).is_some_and(NodeStanding::is_active);
            let asked = membership.witnesses_asked(own);
            let heard = machine.heard_journal(now, &from).cloned();
            Some((member, active, machine.clocks().is_wrong(now, asked), heard))
        };
        let refused = |why| Ok(Some(CosignAnswer::Refused(why)));
        let (member, heard) = match self.handle.query(look).await {
            Err(_) => return Ok(None),
            Ok(None | Some((_, false, _, _))) => return refused(CosignRefusal::NotActive),
            Ok(Some((_, true, true, _))) => return refused(CosignRefusal::Clock),
            Ok(Some((member, true, false, heard))) => (member, heard),
        };
        let (handle, asker) = (self.handle.clone(), member.clone());
        let served = tokio::task::spawn_blocking(move || {
            let heard = heard.as_ref();
            serve(handle.store.as_ref(), &handle.identity, (&asker, from), (&request, heard), now)
        });
        match served.await {
            Ok(Ok(Served { answer, news })) => {
                if let Some(news) = news {
                    tracing::warn!(%member, peer = %from.short(), ?news, "a journal that this node witnesses");
                    tell(&self.orders, Input::Journal(news));
                }
                Ok(Some(answer))
            }
            Ok(Err(NotServed::Fault(fault))) => {
                let (rule, what) = (fault.rule(), fault.to_string());
                tell(&self.orders, Input::Fault { from, rule, what, push: None });
                Ok(None)
            }
            Ok(Err(NotServed::Store(error))) if error.is_fatal() => Err(error),
            Ok(Err(NotServed::Store(error))) => {
                tracing::warn!(%error, "a journal was not cosigned");
                refused(CosignRefusal::Busy)
            }
            Ok(Err(NotServed::Bug(error))) => {
                tracing::error!(%error, "a journal was not cosigned");
                refused(CosignRefusal::Busy)
            }
            Err(error) => {
                tracing::error!(%error, "a journal was not cosigned");
                refused(CosignRefusal::Busy)
            }
        }
    }
}

/// Judges a request, makes durable what is remembered of it, and only then signs.
fn serve(
    store: &dyn Store,
    identity: &Identity,
    (member, node): (&MemberCode, NodeKey),
    (request, heard): (&CosignRequest, Option<&HeardJournal>),
    now: Timestamp,
) -> Result<Served, NotServed> {
    let held = match store.value(Table::Witnessed, node.as_bytes()) {
        Ok(row) => row.as_deref().map(WitnessedRow::from_row).transpose().map_err(|error| error.to_string()),
        Err(error) if error.is_fatal() => return Err(error.into()),
        Err(error) => Err(error.to_string()),
    };
    let held = held.unwrap_or_else(|error| {
        tracing::error!(%member, %error, "what this node cosigned of a journal is lost: it begins anew");
        None
    });
    let witness = Witness { federation: identity.federation, member: identity.member.clone() };
    let held = held.unwrap_or_default();
    let judged = witness.judge(now, (member, node), request, &held, heard).map_err(NotServed::Fault)?;
    let remember = |row: &WitnessedRow| {
        let row = row.to_row().map_err(|error| NotServed::Bug(error.to_string()))?;
        store.apply(&[Change::put(Table::Witnessed, *node.as_bytes(), row)])?;
        store.sync().map_err(NotServed::Store)
    };
    let (member, seconds) = (member.clone(), now.as_millis() / 1_000);
    match judged {
        Judged::Answer(answer) => Ok(Served { answer, news: None }),
        Judged::Refuted { row, doubt, answer } => {
            remember(&row)?;
            Ok(Served { answer, news: Some(JournalNews::Doubted { member, node, doubt }) })
        }
        Judged::Cosign { row, succeeds } => {
            remember(&row)?;
            let before = row.ended.last().cloned();
            let name = WitnessName {
                federation: identity.federation,
                member: identity.member.clone(),
                node: identity.node,
            };
            let note = Note::parse(request.checkpoint.as_bytes())
                .map_err(|error| NotServed::Bug(error.to_string()))?;
            let line = note.cosign(&name.to_string(), &identity.signing, seconds);
            let (time, signature) =
                line.timed().ok_or_else(|| NotServed::Bug("a cosignature has no time".to_owned()))?;
            let answer = CosignAnswer::Cosigned(Cosignature { time, signature: *signature, before });
            Ok(Served { answer, news: succeeds.then_some(JournalNews::Succeeded { member, node }) })
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use ed25519_dalek::SigningKey;
    use refpoint_protocol::{audit::Journal, ids::FederationId};

    use super::*;
    use crate::store::{Fullness, MemoryStore};

    const FEDERATION: FederationId = FederationId::from_bytes([1; 32]);
    const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

    fn identity(code: &str, seed: u8) -> Identity {
        let signing = SigningKey::from_bytes(&[seed; 32]);
        let node = NodeKey::from_bytes(signing.verifying_key().to_bytes());
        Identity { federation: FEDERATION, member: code.parse().unwrap(), node, signing }
    }

    #[test]
    fn what_is_cosigned_is_on_the_device_before_it_is_said() {
        let (store, witness, asker) = (MemoryStore::new(), identity("FR", 3), identity("KE", 4));
        let (journal, _) = Journal::begin(NOW, None, 0).unwrap();
        let who = (FEDERATION, asker.member.clone(), asker.node);
        let checkpoint = journal.checkpoint(who, &asker.signing, NOW).to_string();
        let request = CosignRequest { old: 0, checkpoint, proof: Vec::new() };
        let served = || serve(&store, &witness, (&asker.member, asker.node), (&request, None), NOW);
        store.fill_disk(Fullness::Full);
        assert!(matches!(served(), Err(NotServed::Store(_))), "what cannot be stored is not cosigned");
        store.fill_disk(Fullness::Space);
        let Ok(Served { answer: CosignAnswer::Cosigned(word), news: None }) = served() else { panic!() };
        store.crash();
        let row = store.value(Table::Witnessed, asker.node.as_bytes()).unwrap().unwrap();
        assert_eq!(WitnessedRow::from_row(&row).unwrap().newest.as_ref(), Some(&request.checkpoint));
        let name = WitnessName { federation: FEDERATION, member: "FR".parse().unwrap(), node: witness.node };
        let mut note = Note::parse(request.checkpoint.as_bytes()).unwrap();
        let key = witness.node.as_bytes();
        let line = refpoint_protocol::audit::note::NoteSignature::claimed_cosignature(
            &name.to_string(),
            key,
            word.time,
            &word.signature,
        );
        note.signatures.push(line);
        assert_eq!(note.cosigned_by(&name.to_string(), key), Some(NOW.as_millis() / 1_000));
        // After the crash it is held against another past.
        let (other, _) = Journal::begin(NOW, Some(journal.stands()), 0).unwrap();
        let who = (FEDERATION, asker.member.clone(), asker.node);
        let checkpoint = other.checkpoint(who, &asker.signing, NOW).to_string();
        let rewritten = CosignRequest { old: 1, checkpoint, proof: Vec::new() };
        let Ok(Served { answer, news }) =
            serve(&store, &witness, (&asker.member, asker.node), (&rewritten, None), NOW)
        else {
            panic!()
        };
        assert_eq!(answer, CosignAnswer::Held(request.checkpoint.clone()));
        assert!(matches!(news, Some(JournalNews::Doubted { .. })));
    }
}
