//! The sample federation: the 196 members of `config/members.csv`, founded in one process.
//!
//! It serves the demo, tests and benchmarks. Every key is drawn afresh and every entry is marked as a sample:
//! addresses lie under `.example`, telephone numbers are of the form `+<calling code> 5550 <row>`. Members
//! that do not run publish no address. Nothing here may be taken for a real unit.

mod entry;
mod folder;
mod ports;

use refpoint_protocol::{
    directory::{
        header::{ChainPayload, Header, NodeRecordHeader, ReferencePointHeader},
        reference_point::ReferencePoint,
    },
    document::{EncodeError, Envelope, FormError, Payload as _, Signature, encode, sign},
    ids::{
        CharterVersion, ContentHash, DocumentId, FederationId, Incarnation, KeySetId, MemberCode, Sequence,
    },
    limits::FRESHNESS,
    membership::charter::{Charter, MemberEntry, MemberKind, MemberStatus, WorkingGroup},
    time::Timestamp,
};
use sha2::{Digest, Sha256};

pub use folder::{FolderError, Placement, RunningMember};
pub use ports::listen_on_free_port;

use crate::{
    countries::Country,
    founding::{first_key_set, sign_key_set},
    keyfile::{NodeSecret, RootSecret, random_32},
};

/// A founded federation with every member's keys and documents.
pub struct Sample {
    /// Its id.
    pub federation: FederationId,
    /// Charter version 1, signed by every member.
    pub charter: Envelope,
    /// All members, by code.
    pub members: Vec<SampleMember>,
}

/// One member of the sample.
pub struct SampleMember {
    /// The country.
    pub country: &'static Country,
    /// Its root key.
    pub root: RootSecret,
    /// Its one node's key.
    pub node: NodeSecret,
    /// Its first key set.
    pub key_set: Envelope,
    /// Its directory entry.
    pub entry: ReferencePoint,
    /// The entry as published.
    pub reference_point: Published,
    /// Its node record as published; a member that runs publishes its own.
    pub node_record: Option<Published>,
}

/// The first header of a chain, and its body.
pub struct Published {
    /// The signed header.
    pub header: Envelope,
    /// The body.
    pub body: Vec<u8>,
}

/// Where keys and salts come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Draw {
    /// From the system: a new federation each time.
    System,
    /// From a seed: the same federation each time, for benchmarks. Its keys are known to everybody.
    Seeded {
        /// The seed.
        seed: u64,
        /// How much was drawn.
        drawn: u64,
    },
}

/// Why there is no sample.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The compiled-in file cannot be read.
    #[error("the compiled-in members.csv cannot be read: {0}")]
    Countries(&'static str),
    /// A member that is to run is not in the file.
    #[error("{0} is not one of the 196 members of the sample")]
    Unknown(MemberCode),
    /// The system gives no randomness.
    #[error("the system gives no randomness: {0}")]
    Randomness(#[from] getrandom::Error),
    /// What was made breaks a rule.
    #[error(transparent)]
    Form(#[from] FormError),
    /// What was made has no canonical form.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

impl Draw {
    /// 32 bytes that were not drawn before.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn bytes(&mut self) -> Result<[u8; 32], getrandom::Error> {
        match self {
            Self::System => Ok(*random_32()?),
            Self::Seeded { seed, drawn } => {
                *drawn += 1;
                let mut hash = Sha256::new_with_prefix(b"refpoint sample");
                hash.update(seed.to_be_bytes());
                hash.update(drawn.to_be_bytes());
                Ok(hash.finalize().into())
            }
        }
    }

    fn salt(&mut self) -> Result<[u8; 16], getrandom::Error> {
        let bytes = self.bytes()?;
        Ok(std::array::from_fn(|index| bytes.get(index).copied().unwrap_or_default()))
    }
}

impl Sample {
    /// Founds the federation. `running` members publish their own node records when they run; `told` hears of
    /// each member that is done.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn found(
        draw: &mut Draw,
        running: &[MemberCode],
        now: Timestamp,
        mut told: impl FnMut(),
    ) -> Result<Self, SampleError> {
        let countries = Country::all().map_err(SampleError::Countries)?;
        if let Some(unknown) = running.iter().find(|code| Country::find(code).is_none()) {
            return Err(SampleError::Unknown(unknown.clone()));
        }
        let mut keys = Vec::with_capacity(countries.len());
        for _ in countries {
            let [root, next] = [RootSecret::from_seed(&draw.bytes()?), RootSecret::from_seed(&draw.bytes()?)];
            keys.push((root, next.commitment(), NodeSecret::from_seed(&draw.bytes()?)));
        }
        let charter = Charter {
            version: CharterVersion(1),
            nonce: Some(ContentHash::from_bytes(draw.bytes()?)),
            refounds: None,
            parents: Vec::new(),
            threshold: (STEWARDS_PER_GROUP * GROUPS.len() / 2 + 1) as u64,
            stewards: stewards(countries, running),
            members: countries
                .iter()
                .zip(&keys)
                .map(|(country, (root, next, _))| entry(country, root, *next))
                .collect(),
        };
        charter.check_form()?;
        let roots: Vec<_> = keys.iter().map(|(root, _, _)| root.signing_key()).collect();
        let signed = sign(&charter, None, &roots)?;
        let federation = FederationId::from(signed.id(None));
        let mut members = Vec::with_capacity(countries.len());
        for ((row, country), (root, _, node)) in countries.iter().enumerate().zip(keys) {
            let runs = running.contains(&country.code);
            let Some(listed) = charter.member(&country.code) else { continue };
            let set = first_key_set(listed, federation.into(), node.key(), now);
            let key_set = sign_key_set(&set, federation, &root)?;
            let maker =
                ChainMaker { federation, key_set: key_set.id(Some(federation)).into(), node: &node, now };
            let entry = entry::reference_point(country, row + 1, draw.salt()?);
            let reference_point = maker.publish(&country.code, encode(&entry)?, ReferencePointHeader)?;
            let node_record = if runs {
                None
            } else {
                let record = entry::offline_node_record(draw.salt()?, draw.bytes()?, now);
                Some(maker.publish(&country.code, encode(&record)?, NodeRecordHeader)?)
            };
            members.push(SampleMember { country, root, node, key_set, entry, reference_point, node_record });
            told();
        }
        Ok(Self { federation, charter: signed, members })
    }

    /// A member by its code.
    #[must_use]
    pub fn member(&self, code: &MemberCode) -> Option<&SampleMember> {
        self.members.iter().find(|member| member.country.code == *code)
    }
}

/// Makes the first header of a node's chains.
struct ChainMaker<'a> {
    federation: FederationId,
    key_set: KeySetId,
    node: &'a NodeSecret,
    now: Timestamp,
}

impl ChainMaker<'_> {
    fn publish<P: ChainPayload>(
        &self,
        member: &MemberCode,
        body: Vec<u8>,
        of_chain: impl FnOnce(Header) -> P,
    ) -> Result<Published, SampleError> {
        let header = of_chain(Header {
            member: member.clone(),
            node: self.node.key(),
            key_set: self.key_set,
            sequence: Sequence(0),
            predecessor: DocumentId::from(self.key_set),
            issued: self.now,
            fresh_until: self.now.after(FRESHNESS),
            body: ContentHash::from_bytes(Sha256::digest(&body).into()),
            length: body.len() as u64,
        });
        header.check_form()?;
        Ok(Published { header: sign(&header, Some(self.federation), &[self.node.signing_key()])?, body })
    }
}

fn entry(country: &Country, root: &RootSecret, next: ContentHash) -> MemberEntry {
    MemberEntry {
        code: country.code.clone(),
        kind: MemberKind::of(&country.code),
        incarnation: Incarnation(0),
        alg: Signature::ED25519,
        root: root.key(),
        next,
        status: MemberStatus::Active,
        group: country.working_group,
    }
}

/// As many stewards of each working group, first those that run.
fn stewards(countries: &[Country], running: &[MemberCode]) -> Vec<MemberCode> {
    let mut chosen: Vec<MemberCode> = GROUPS
        .into_iter()
        .flat_map(|group| {
            let of_group = move |country: &&Country| country.working_group == group;
            let runs = |country: &&Country| running.contains(&country.code);
            let first = countries.iter().filter(of_group).filter(runs);
            let rest = countries.iter().filter(of_group).filter(move |country| !runs(country));
            first.chain(rest).take(STEWARDS_PER_GROUP).map(|country| country.code.clone())
        })
        .collect();
    chosen.sort();
    chosen
}

const GROUPS: [WorkingGroup; 4] =
    [WorkingGroup::Africa, WorkingGroup::Americas, WorkingGroup::Eurasia, WorkingGroup::Mena];

/// Twelve stewards, seven of whom must sign: no two groups alone can.
const STEWARDS_PER_GROUP: usize = 3;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use refpoint_protocol::evidence::{Evidence, verify_any};

    use super::*;
    use crate::clock::Clock;

    fn codes(texts: &[&str]) -> Vec<MemberCode> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_sample_is_a_federation_of_196_whose_entries_are_marked() {
        let now = Clock::start(0).now();
        let running = codes(&["BR", "FR", "JO", "KE", "SG"]);
        let mut told = 0;
        let sample = Sample::found(&mut Draw::System, &running, now, || told += 1).unwrap();
        assert_eq!(told, 196);
        let mut documents = vec![verify_any(sample.charter.clone(), sample.federation).unwrap()];
        let mut bodies = Vec::new();
        for member in &sample.members {
            documents.push(verify_any(member.key_set.clone(), sample.federation).unwrap());
            for published in member.node_record.iter().chain([&member.reference_point]) {
                documents.push(verify_any(published.header.clone(), sample.federation).unwrap());
                bodies.push(published.body.clone());
            }
        }
        let (headers, trust): (Vec<_>, _) = documents.into_iter().partition(|it| it.header().is_some());
        let (evidence, outcome) = Evidence::restore(sample.federation, trust, headers, &bodies);
        assert_eq!((outcome.rejected.len(), outcome.missing.len()), (0, 0));
        let members = evidence.directory().members(now);
        assert_eq!(members.len(), 196);
        for member in &sample.members {
            assert!(member.entry.sample);
            assert_eq!(member.node_record.is_some(), !running.contains(&member.country.code));
            let shown = crate::reference_point_file::text_of(&member.entry);
            assert_eq!(crate::reference_point_file::parse(&shown, member.entry.salt).unwrap(), member.entry);
        }
        let kenya = &sample.member(&running[3]).unwrap().entry;
        assert_eq!(kenya.channels[0].value, "+254 5550 89");
    }

    #[test]
    fn a_seed_gives_the_same_federation_and_the_system_another() {
        let now = Timestamp::from_millis(1_800_000_000_000);
        let found = |mut draw: Draw| Sample::found(&mut draw, &[], now, || ()).unwrap().federation;
        let seeded = |seed| found(Draw::Seeded { seed, drawn: 0 });
        assert_eq!(seeded(1), seeded(1));
        assert_ne!(seeded(1), seeded(2));
        assert_ne!(found(Draw::System), found(Draw::System));
    }

    #[test]
    fn an_unknown_member_cannot_run() {
        let result = Sample::found(&mut Draw::System, &codes(&["XX"]), Timestamp::default(), || ());
        assert!(matches!(result, Err(SampleError::Unknown(_))));
    }
}
