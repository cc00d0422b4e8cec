//! Signed notes (C2SP `signed-note`), checkpoints of logs (C2SP `tlog-checkpoint`) and witnesses' cosignatures (C2SP
//! `tlog-cosignature`): the text, its signatures, and nothing about whose key counts.

use std::fmt::Write as _;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::{ids::TreeRoot, time::Timestamp};

/// A text with signatures under it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What is signed: lines, each with its end.
    pub text: String,
    /// The signatures, in their order.
    pub signatures: Vec<NoteSignature>,
}

/// One signature under a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name: without spaces and plus signs.
    pub name: String,
    /// The first four bytes of the hash of name, algorithm and key.
    pub key_hash: [u8; 4],
    /// The signature.
    pub signature: Vec<u8>,
}

/// Why bytes are no signed note or checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not text, or with control characters.
    #[error("it is not plain text")]
    Text,
    /// No empty line that parts text and signatures, or no end of the last line.
    #[error("its text and its signatures are not parted by an empty line, or its end is missing")]
    Parts,
    /// A signature's line.
    #[error("line {0} of its signatures is not of the form '— name base64'")]
    SignatureLine(usize),
    /// More signatures than its writer's.
    #[error("it has {0} signatures, its writer's alone is expected")]
    Signatures(usize),
    /// Not signed by the one that it says to be from.
    #[error("it is not signed by the node that it names")]
    Unsigned,
    /// A checkpoint's line.
    #[error("its {0} is not in form")]
    Checkpoint(&'static str),
}

impl Note {
    /// Signs a text with an Ed25519 key under a name.
    #[must_use]
    pub fn sign(text: String, name: &str, key: &SigningKey) -> Self {
        let key_hash = key_hash(ED25519, name, key.verifying_key().as_bytes());
        let signature = key.sign(text.as_bytes()).to_bytes().to_vec();
        Self { text, signatures: vec![NoteSignature { name: name.to_owned(), key_hash, signature }] }
    }

    /// Signs a checkpoint as a witness (C2SP `tlog-cosignature`, `cosignature/v1`): that it continues all that this key
    /// cosigned of its log before, at that time.
    #[must_use]
    pub fn cosign(&self, name: &str, key: &SigningKey, seconds: u64) -> NoteSignature {
        let key_hash = key_hash(COSIGNATURE, name, key.verifying_key().as_bytes());
        let signature = key.sign(&cosigned_bytes(&self.text, seconds)).to_bytes();
        NoteSignature::cosignature(name, key_hash, seconds, &signature)
    }

    /// When this Ed25519 key cosigned under this name, in seconds since 1970 by its clock.
    #[must_use]
    pub fn cosigned_by(&self, name: &str, key: &[u8; 32]) -> Option<u64> {
        let verifying = VerifyingKey::from_bytes(key).ok()?;
        let hash = key_hash(COSIGNATURE, name, key);
        let mut own = self.signatures.iter().filter(|it| it.name == name && it.key_hash == hash);
        own.find_map(|it| {
            let (seconds, signature) = it.timed()?;
            let signature = ed25519_dalek::Signature::from_bytes(signature);
            let bytes = cosigned_bytes(&self.text, seconds);
            verifying.verify_strict(&bytes, &signature).is_ok().then_some(seconds)
        })
    }

    /// Reads a note.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        let whole = std::str::from_utf8(bytes).map_err(|_| NoteError::Text)?;
        if whole.chars().any(|character| character.is_control() && character != '\n') {
            return Err(NoteError::Text);
        }
        let (text, signatures) = whole.rsplit_once("\n\n").ok_or(NoteError::Parts)?;
        let signatures = signatures.strip_suffix('\n').ok_or(NoteError::Parts)?;
        let lines = signatures.split('\n').enumerate();
        let signatures = lines
            .map(|(at, line)| NoteSignature::parse(line).ok_or(NoteError::SignatureLine(at + 1)))
            .collect::<Result<_, _>>()?;
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// Whether this Ed25519 key signed under this name. Strict, like every signature here (SPEC, section 4).
    #[must_use]
    pub fn is_signed_by(&self, name: &str, key: &[u8; 32]) -> bool {
        let Ok(verifying) = VerifyingKey::from_bytes(key) else { return false };
        let hash = key_hash(ED25519, name, key);
        let mut own = self.signatures.iter().filter(|it| it.name == name && it.key_hash == hash);
        own.any(|it| {
            let signature = ed25519_dalek::Signature::from_slice(&it.signature);
            signature.is_ok_and(|signature| verifying.verify_strict(self.text.as_bytes(), &signature).is_ok())
        })
    }
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.text)?;
        for NoteSignature { name, key_hash, signature } in &self.signatures {
            writeln!(f, "— {name} {}", STANDARD.encode([key_hash.as_slice(), signature].concat()))?;
        }
        Ok(())
    }
}

impl NoteSignature {
    /// A witness's, from its parts.
    fn cosignature(name: &str, key_hash: [u8; 4], seconds: u64, signature: &[u8; 64]) -> Self {
        let signature = [seconds.to_be_bytes().as_slice(), signature].concat();
        Self { name: name.to_owned(), key_hash, signature }
    }

    /// The one that this key is said to have made under this name.
    #[must_use]
    pub fn claimed_cosignature(name: &str, key: &[u8; 32], seconds: u64, signature: &[u8; 64]) -> Self {
        Self::cosignature(name, key_hash(COSIGNATURE, name, key), seconds, signature)
    }

    /// Time and signature of a witness's.
    #[must_use]
    pub fn timed(&self) -> Option<(u64, &[u8; 64])> {
        let (seconds, signature) = self.signature.split_first_chunk::<8>()?;
        Some((u64::from_be_bytes(*seconds), signature.try_into().ok()?))
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, encoded) = line.strip_prefix("— ")?.split_once(' ')?;
        if name.is_empty() || name.contains('+') || name.chars().any(char::is_whitespace) {
            return None;
        }
        let bytes = STANDARD.decode(encoded).ok()?;
        let (key_hash, signature) = bytes.split_first_chunk::<4>()?;
        let signature = (!signature.is_empty()).then(|| signature.to_vec())?;
        Some(Self { name: name.to_owned(), key_hash: *key_hash, signature })
    }
}

/// How a log stood: the body of a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many leaves it had.
    pub size: u64,
    /// Their root.
    pub root: TreeRoot,
    /// What else its writer says, a line each; none is empty.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// The note's text.
    #[must_use]
    pub fn text(&self) -> String {
        let Self { origin, size, root, extensions } = self;
        let mut text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root.as_bytes()));
        for line in extensions {
            // Writing to a string does not fail.
            let _infallible = writeln!(text, "{line}");
        }
        text
    }

    /// The time in its only further line: that name and milliseconds since 1970.
    #[must_use]
    pub fn time(&self, name: &str) -> Option<Timestamp> {
        let [line] = self.extensions.as_slice() else { return None };
        let digits = line.strip_prefix(name)?.strip_prefix(' ')?;
        let time = Timestamp::from_millis(digits.parse().ok()?);
        (time.as_millis().to_string() == digits).then_some(time)
    }

    /// Reads a note's text.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`].
    pub fn parse(text: &str) -> Result<Self, NoteError> {
        let lines = text.strip_suffix('\n').ok_or(NoteError::Checkpoint("end"))?;
        let mut lines = lines.split('\n');
        let mut next = |what| lines.next().filter(|line| !line.is_empty()).ok_or(NoteError::Checkpoint(what));
        let origin = next("origin")?.to_owned();
        let size = next("size")?;
        let root = next("root")?;
        let plain = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| plain).ok_or(NoteError::Checkpoint("size"))?;
        let root = STANDARD.decode(root).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let root = TreeRoot::from_bytes(root.ok_or(NoteError::Checkpoint("root"))?);
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(NoteError::Checkpoint("extension"));
        }
        Ok(Self { origin, size, root, extensions })
    }
}

/// What a witness signs.
fn cosigned_bytes(text: &str, seconds: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {seconds}\n{text}").into_bytes()
}

/// The first four bytes of SHA-256 of the name, a line's end, the algorithm and the key.
fn key_hash(algorithm: u8, name: &str, key: &[u8; 32]) -> [u8; 4] {
    let digest =
        Sha256::new().chain_update(name).chain_update([b'\n', algorithm]).chain_update(key).finalize();
    digest.first_chunk::<4>().copied().unwrap_or_default()
}

/// The algorithm's number in `signed-note`.
const ED25519: u8 = 1;

/// The same of a witness's timed signature.
const COSIGNATURE: u8 = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn note() -> (Note, SigningKey) {
        let key = SigningKey::from_bytes(&[7; 32]);
        let root = TreeRoot::from_bytes([9; 32]);
        let checkpoint =
            Checkpoint { origin: "a/log".into(), size: 12, root, extensions: vec!["time 3".into()] };
        (Note::sign(checkpoint.text(), "a/log", &key), key)
    }

    #[test]
    fn a_checkpoint_round_trips_and_every_flipped_bit_is_found() {
        let (note, key) = note();
        let text = note.to_string();
        let key = key.verifying_key().to_bytes();
        let read = Note::parse(text.as_bytes()).unwrap();
        assert_eq!(read, note);
        assert!(read.is_signed_by("a/log", &key) && !read.is_signed_by("b/log", &key));
        let checkpoint = Checkpoint::parse(&read.text).unwrap();
        assert_eq!((checkpoint.size, checkpoint.text()), (12, read.text));
        for bit in 0..text.len() * 8 {
            let mut bytes = text.clone().into_bytes();
            *bytes.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            let good = Note::parse(&bytes).is_ok_and(|read| read.is_signed_by("a/log", &key));
            assert!(!good, "bit {bit}");
        }
    }

    /// The example of the Go project's `note` package, from which the form stems, with its key.
    #[test]
    fn the_example_of_another_implementation_verifies() {
        let vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        let bytes = STANDARD.decode(vkey.rsplit('+').next().unwrap()).unwrap();
        let (algorithm, key) = bytes.split_first().unwrap();
        let key: [u8; 32] = key.try_into().unwrap();
        assert_eq!((*algorithm, key_hash(ED25519, "PeterNeumann", &key)), (1, [0xc7, 0x4f, 0x20, 0xa3]));
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
        assert!(Note::parse(text.as_bytes()).unwrap().is_signed_by("PeterNeumann", &key));
    }

    #[test]
    fn a_cosignature_is_timed_and_bound_to_its_text_name_and_key() {
        let (note, key) = note();
        let public = key.verifying_key().to_bytes();
        let line = note.cosign("a/witness", &key, 1_700_000_000);
        let (seconds, signature) = line.timed().unwrap();
        assert_eq!(NoteSignature::claimed_cosignature("a/witness", &public, seconds, signature), line);
        let mut cosigned = note.clone();
        cosigned.signatures.push(line.clone());
        let read = Note::parse(cosigned.to_string().as_bytes()).unwrap();
        assert_eq!(read, cosigned);
        assert_eq!(read.cosigned_by("a/witness", &public), Some(1_700_000_000));
        assert!(read.is_signed_by("a/log", &public), "the log's own signature still counts");
        assert_eq!(read.cosigned_by("b/witness", &public), None);
        assert_eq!(note.cosigned_by("a/log", &public), None, "a log's signature is no witness's");
        let mut relabelled = line;
        relabelled.name = "a/log".to_owned();
        let relabelled = Note { signatures: vec![relabelled], ..note };
        assert!(!relabelled.is_signed_by("a/log", &public), "nor the other way round");
        for bit in 0..72 * 8 {
            let mut changed = cosigned.clone();
            *changed.signatures.last_mut().unwrap().signature.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            assert_eq!(changed.cosigned_by("a/witness", &public), None, "bit {bit}");
        }
    }

    #[test]
    fn what_is_out_of_form_is_refused() {
        let (note, _) = note();
        let text = note.to_string();
        for (bad, error) in [
            (text.trim_end().to_owned(), NoteError::Parts),
            (text.replace("\n\n", "\n"), NoteError::Parts),
            (text.replace("time 3", "time\r3"), NoteError::Text),
            (text.replace("— a/log", "- a/log"), NoteError::SignatureLine(1)),
            (format!("{text}\n"), NoteError::Parts),
        ] {
            assert_eq!(Note::parse(bad.as_bytes()), Err(error), "{bad}");
        }
        for bad in ["", "a/log\n12\n", "a/log\n012\nCQkJ\n", "a/log\n+1\nCQkJ\n", "\n12\nCQkJ\n"] {
            assert!(Checkpoint::parse(bad).is_err(), "{bad:?}");
        }
    }
}
