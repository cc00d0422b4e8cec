//! What may be signed in the model: by the owners, by stewards together, and by the thief.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ed25519_dalek::SigningKey;
use refpoint_protocol::{
    document::{Signature, Verified},
    evidence::{AnyDocument, Evidence},
    ids::{CharterId, Epoch, Generation, Incarnation, KeySetId, MemberCode, NodeKey, RootKey},
    membership::{
        charter::{Charter, MemberEntry, MemberStatus, WorkingGroup, root_hash},
        key_set::{KeySet, NodeState, Opening, Rotation},
        settlement::{Certificate, Span, Voice},
    },
    testing::{FOUNDED, Federation, Unit, chains::IntoAny, entry, key, node_key, root_key, verified},
};

type Version = Arc<Verified<Charter>>;
type Set = Arc<Verified<KeySet>>;

/// The root key of a member as it was founded.
pub(super) fn root_of(unit: &Unit) -> RootKey {
    root_key(&unit.root)
}

/// All documents, and who signed them in truth.
pub(super) struct Pool {
    pub(super) federation: Federation,
    pub(super) documents: Vec<Signed>,
    nodes: BTreeMap<&'static str, NodeKey>,
    /// The roots of active stewards by version, as the model means them.
    stewards: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

/// One document.
pub(super) struct Signed {
    pub(super) name: &'static str,
    pub(super) document: AnyDocument,
    /// Whether some state accepts it.
    pub(super) good: bool,
    /// Of a charter version: its parents, and whose root keys signed it.
    pub(super) parents: Vec<&'static str>,
    pub(super) by: Vec<&'static str>,
    /// Of a certificate: the version that it settles, with whose signers' nodes it agrees.
    pub(super) settles: Option<&'static str>,
}

impl Pool {
    #[expect(clippy::too_many_lines, reason = "a list of documents")]
    pub(super) fn new() -> Self {
        let federation = Federation::new(77, &["BR", "FR", "KE"], 1);
        let (br, fr, ke) = (federation.unit("BR"), federation.unit("FR"), federation.unit("KE"));
        let code = ke.code.clone();
        let fresh = federation.root(&code, 5);
        let fresher = federation.root(&code, 6);
        let jordan: MemberCode = "JO".parse().unwrap();
        let jordan_root = federation.root(&jordan, 0);
        let thief: MemberCode = "TH".parse().unwrap();
        let (thief_root, thief_node) = (key(77, "thief root", 0), key(77, "thief node", 0));
        let named = |name: &str| match name {
            "BR" => &br.root,
            "FR" => &fr.root,
            "KE" => &ke.root,
            "fresh" => &fresh,
            "fresher" => &fresher,
            "JO" => &jordan_root,
            _ => &thief_root,
        };
        let sign = |parents: &[&Version], by: &[&str], change: &dyn Fn(&mut Charter)| -> Version {
            let keys: Vec<&SigningKey> = by.iter().map(|name| named(name)).collect();
            federation.successor(parents, change, &keys)
        };
        // A charter has three stewards at least, so Jordan comes with the version that suspends Kenya.
        let suspend = |charter: &mut Charter| {
            charter.members[2].status = MemberStatus::Suspended;
            charter.members.insert(2, federation.first_entry(&jordan));
            charter.stewards = vec![br.code.clone(), fr.code.clone(), jordan.clone()];
        };
        let reinstate = |charter: &mut Charter| kenya(charter).status = MemberStatus::Active;
        // Other content than the version that two stewards sign: a version's id is its content's.
        let reinstate_elsewhere = |charter: &mut Charter| {
            reinstate(charter);
            kenya(charter).group = WorkingGroup::Mena;
        };
        let replace_by = |root: &SigningKey| {
            let (root, next) = (root_key(root), root_hash(&root_key(&federation.root(&code, 9))));
            move |charter: &mut Charter| {
                let it = kenya(charter);
                it.status = MemberStatus::Active;
                it.incarnation = it.incarnation.next().unwrap();
                (it.root, it.next) = (root, next);
            }
        };
        let group = |member: usize, group: WorkingGroup| {
            move |charter: &mut Charter| charter.members[member].group = group
        };
        let admit = |charter: &mut Charter| {
            let mut entry = federation.first_entry(&thief);
            entry.root = root_key(&thief_root);
            charter.members.push(entry);
        };
        let take_over = |charter: &mut Charter| {
            let it = &mut charter.members[0];
            it.incarnation = it.incarnation.next().unwrap();
            it.root = root_key(&thief_root);
        };
        let mut pool = Self {
            federation: federation.clone(),
            documents: Vec::new(),
            nodes: BTreeMap::from([
                ("kenya 0", node_key(&ke.nodes[0])),
                ("kenya 1", node_key(&federation.node(&code, 1))),
                ("kenya 2", node_key(&federation.node(&code, 2))),
                ("stolen node", node_key(&br.nodes[0])),
                ("thief", node_key(&thief_node)),
            ]),
            stewards: BTreeMap::new(),
        };
        let all: BTreeSet<&'static str> = ["BR", "FR", "KE"].into();
        pool.stewards.insert("founding", all.clone());
        let founding = &federation.founding;
        let mut add = |name,
                       good,
                       parents: &[(&'static str, &Version)],
                       by: &[&'static str],
                       change: &dyn Fn(&mut Charter)| {
            let held: Vec<&Version> = parents.iter().map(|(_, version)| *version).collect();
            let version = sign(&held, by, change);
            let parents = parents.iter().map(|(name, _)| *name).collect();
            let document = version.any();
            let by = by.to_vec();
            pool.documents.push(Signed { name, document, good, parents, by, settles: None });
            version
        };
        let (v, x) = (true, false);
        let first = [("founding", founding)];
        // Second versions.
        let suspended = add("suspend", v, &first, &["BR", "FR", "JO"], &suspend);
        let replaced = add("replace the root", v, &first, &["BR", "FR", "fresh"], &replace_by(&fresh));
        let left = add("with brazil", v, &first, &["BR", "KE"], &group(2, WorkingGroup::Mena));
        let right = add("with france", v, &first, &["FR", "KE"], &group(1, WorkingGroup::Americas));
        add("admitted alone", x, &first, &["KE", "thief"], &admit);
        add("taken over alone", x, &first, &["KE", "thief"], &take_over);
        add("changed alone", x, &first, &["KE"], &group(0, WorkingGroup::Africa));
        // Third versions.
        let after = [("suspend", &suspended)];
        add("reinstate", v, &after, &["BR", "FR"], &reinstate);
        let by = ["BR", "FR", "fresher"];
        add("replace the root of the suspended", v, &after, &by, &replace_by(&fresher));
        add("counted though suspended", x, &after, &["BR", "KE"], &group(0, WorkingGroup::Africa));
        add("reinstated by himself", x, &after, &["BR", "KE"], &reinstate_elsewhere);
        add("admitted after suspension", x, &after, &["KE", "thief"], &admit);
        let after = [("replace the root", &replaced)];
        add("with the new root", v, &after, &["BR", "fresh"], &group(0, WorkingGroup::Africa));
        add("with the old root", x, &after, &["FR", "KE"], &group(0, WorkingGroup::Mena));
        add("admitted with the old root", x, &after, &["KE", "thief"], &admit);
        let suspended_after =
            add("suspend after", v, &[("with brazil", &left)], &["BR", "FR", "JO"], &suspend);
        add("suspend on the other side", v, &[("with france", &right)], &["BR", "FR", "JO"], &suspend);
        let both = [("with brazil", &left), ("with france", &right)];
        add("merge", v, &both, &["BR", "FR"], &|_| {});
        add("merged alone", x, &both, &["KE", "thief"], &admit);
        let stewards = |names: &[&'static str]| names.iter().copied().collect::<BTreeSet<_>>();
        pool.stewards.insert("suspend", stewards(&["BR", "FR", "JO"]));
        pool.stewards.insert("replace the root", stewards(&["BR", "FR", "fresh"]));
        pool.stewards.insert("with brazil", all.clone());
        pool.stewards.insert("with france", all);

        // Key sets.
        let renew = |earlier: &[&Set], root: &SigningKey, nodes: Vec<_>| {
            federation.next_key_set(earlier, |set| set.nodes = nodes, root)
        };
        let compromised = |node: &SigningKey| {
            let mut listed = entry(1, node);
            (listed.state, listed.since) = (NodeState::Compromised, Some(FOUNDED));
            listed
        };
        let (old, new) = (&ke.nodes[0], &federation.node(&code, 1));
        let lists = renew(&[&ke.key_set], &ke.root, vec![entry(0, old), entry(1, &thief_node)]);
        let moves = renew(&[&ke.key_set], &ke.root, vec![compromised(old), entry(0, new)]);
        let follows = renew(&[&ke.key_set, &moves], &ke.root, vec![entry(0, old), entry(1, &thief_node)]);
        let revokes = renew(
            &[&br.key_set],
            &br.root,
            vec![compromised(&br.nodes[0]), entry(0, &federation.node(&br.code, 1))],
        );
        let relists = renew(&[&br.key_set], &ke.root, vec![entry(0, &br.nodes[0])]);
        let by_node =
            renew(&[&br.key_set], &br.nodes[0], vec![entry(0, &br.nodes[0]), entry(1, &thief_node)]);
        let third = &federation.node(&code, 2);
        let anew = federation.first_key_set(&replaced, &code, &fresh, std::slice::from_ref(third));
        let stale = federation.first_key_set(&replaced, &code, &ke.root, std::slice::from_ref(&thief_node));
        let rotation = rotation(&federation, ke, new);
        let impostor = {
            let mut set = rotation.payload().clone();
            if let Some(Rotation::Opens(opening)) = &mut set.rotation {
                opening.root = root_key(&thief_root);
            }
            verified(&set, federation.id, &[&thief_root])
        };
        for (name, good, set) in [
            ("thief lists", v, Arc::clone(&lists)),
            ("moves", v, moves),
            ("thief follows", v, follows),
            ("revokes", v, revokes),
            ("under the new root", v, anew),
            ("rotation", v, rotation),
            ("relisted by another's root", x, relists),
            ("listed by the stolen node", x, Arc::clone(&by_node)),
            ("old root under the new incarnation", x, stale),
            ("rotation to another root", x, impostor),
        ] {
            pool.documents.push(Signed::unlike_charters(name, good, set.any()));
        }

        // Certificates: all three members' heads, since two of three are not more than two thirds. Kenya's may be the
        // thief's, by the root that he has; Brazil's head is worth nothing to him without France's.
        let honest = |code: &str, tip: &Version| Voice {
            head: federation.head(code, 0, &[tip]),
            key_sets: vec![Arc::clone(&federation.unit(code).key_set)],
        };
        let thiefs = |code: &str, tip: &Version, lists: &Set| {
            let mut head = federation.head(code, 0, &[tip]).payload().clone();
            head.node = node_key(&thief_node);
            let key_sets = vec![Arc::clone(lists)];
            Voice { head: verified(&head, federation.id, &[&thief_node]), key_sets }
        };
        let others = |tip: &Version| vec![honest("BR", tip), honest("FR", tip)];
        let all = |tip: &Version| [others(tip), vec![honest("KE", tip)]].concat();
        for (name, good, settles, charter, base, voices) in [
            ("all settle", v, "with brazil", &left, founding, all(&left)),
            ("all with the thief settle", v, "with brazil", &left, founding, {
                [others(&left), vec![thiefs("KE", &left, &lists)]].concat()
            }),
            ("all settle after", v, "suspend after", &suspended_after, &left, all(&suspended_after)),
            ("two settle", x, "with brazil", &left, founding, others(&left)),
            ("the thief settles", x, "with france", &right, founding, {
                vec![honest("BR", &right), thiefs("KE", &right, &lists)]
            }),
            ("all of another version settle", x, "with france", &right, founding, all(&left)),
            ("settled by what the stolen node lists", x, "with brazil", &left, founding, {
                vec![thiefs("BR", &left, &by_node), honest("FR", &left), honest("KE", &left)]
            }),
        ] {
            let span = Span { charter: charter.id().into(), base: base.id().into() };
            let certificate = Certificate::assemble(span, voices, federation.id).expect("its form is good");
            let document = Arc::new(certificate).any();
            let settles = Some(settles);
            pool.documents.push(Signed { settles, ..Signed::unlike_charters(name, good, document) });
        }
        pool
    }

    /// What every node was given when it joined.
    pub(super) fn founding(&self) -> Vec<AnyDocument> {
        let sets = self.federation.units.iter().map(|unit| unit.key_set.any());
        std::iter::once(self.federation.founding.any()).chain(sets).collect()
    }

    pub(super) fn at(&self, name: &str) -> usize {
        self.documents.iter().position(|signed| signed.name == name).expect("the pool has it")
    }

    /// A charter version of the pool.
    pub(super) fn version(&self, name: &str) -> CharterId {
        self.documents[self.at(name)].document.id().into()
    }

    pub(super) fn good(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.documents.len()).filter(|at| self.documents[*at].good)
    }

    pub(super) fn bad(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.documents.len()).filter(|at| !self.documents[*at].good)
    }

    pub(super) fn charters(&self) -> impl Iterator<Item = (usize, &Signed)> {
        self.documents.iter().enumerate().filter(|(_, signed)| !signed.parents.is_empty())
    }

    pub(super) fn stewards_of(&self, version: &str) -> &BTreeSet<&'static str> {
        &self.stewards[version]
    }

    /// Whether a document can exist beside others: an honest steward signs one successor of a version.
    pub(super) fn may_exist(&self, at: usize, beside: &BTreeSet<usize>) -> bool {
        // A certificate can exist where the version can that it settles.
        let stands_for = |at: usize| self.documents[at].settles.map_or(at, |version| self.at(version));
        let candidate = &self.documents[stands_for(at)];
        let honest =
            |signed: &Signed, name: &&str| *name != "KE" && *name != "thief" && signed.by.contains(name);
        let others = beside.iter().map(|other| stands_for(*other)).filter(|other| *other != stands_for(at));
        !others.map(|other| &self.documents[other]).any(|other| {
            let share_parent = candidate.parents.iter().any(|parent| other.parents.contains(parent));
            share_parent && candidate.by.iter().any(|name| honest(other, name))
        })
    }

    /// Whether it is evidence now, not waiting and not refused.
    pub(super) fn is_held(&self, evidence: &Evidence, at: usize) -> bool {
        let document = &self.documents[at].document;
        let id = document.id();
        match document {
            AnyDocument::Charter(_) => evidence.trust().charter(&id.into()).is_some(),
            AnyDocument::Settlement(_) => evidence.trust().settlements().any(|held| held.id() == id),
            _ => evidence.trust().key_set(&id.into()).is_some(),
        }
    }

    pub(super) fn is_active(&self, evidence: &Evidence, node: &str) -> bool {
        evidence.membership().is_active_node(&self.nodes[node])
    }
}

impl Signed {
    /// A document whose signers the model need not count.
    const fn unlike_charters(name: &'static str, good: bool, document: AnyDocument) -> Self {
        Self { name, document, good, parents: Vec::new(), by: Vec::new(), settles: None }
    }
}

fn kenya(charter: &mut Charter) -> &mut MemberEntry {
    charter.members.iter_mut().find(|entry| entry.code.as_str() == "KE").expect("a member stays for ever")
}

/// The owner's rotation to the root that the charter announced, from the first key set on.
fn rotation(federation: &Federation, unit: &Unit, node: &SigningKey) -> Set {
    let set = KeySet {
        generation: Generation(1),
        epoch: Epoch(0),
        incarnation: Incarnation(0),
        ancestors: Vec::new(),
        nodes: vec![entry(0, node)],
        rotation: Some(Rotation::Opens(Opening {
            alg: Signature::ED25519,
            root: root_key(&unit.next),
            next: root_hash(&root_key(&federation.root(&unit.code, 2))),
            after: None,
            base: Some(KeySetId::from(unit.key_set.id())),
        })),
        ..unit.key_set.payload().clone()
    };
    verified(&set, federation.id, &[&unit.next])
}
