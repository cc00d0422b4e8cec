//! The three kinds of secret, each a type of its own, wiped from memory when dropped.

use std::fmt;

use ed25519_dalek::SigningKey;
use refpoint_protocol::ids::{ContentHash, NodeKey, RootKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Kinds of key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyKind {
    /// A node key.
    Node,
    /// A root key, or a next root key: the same until it is revealed.
    Root,
    /// A storage key.
    Storage,
}

/// A secret that has a file of its own.
pub trait Secret: Sized {
    /// What its file says that it is.
    const KIND: KeyKind;

    /// Takes 64 hexadecimal digits, `None` for anything else.
    fn from_hex(text: &str) -> Option<Self>;

    /// The secret in hexadecimal, for its file alone.
    fn secret_hex(&self) -> Zeroizing<String>;

    /// What may be known of it, in hexadecimal.
    fn public_hex(&self) -> String;
}

/// A node's online signing key.
pub struct NodeSecret(SigningKey);

/// A member's offline signing key.
pub struct RootSecret(SigningKey);

/// The key under which a node's stored messages are encrypted.
pub struct StorageKey(Zeroizing<[u8; 32]>);

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Node, Self::Root, Self::Storage];

    /// The name in files and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node key",
            Self::Root => "root key",
            Self::Storage => "storage key",
        }
    }

    /// Whether such a key is never plain on a disk: a root key decides who a country is.
    #[must_use]
    pub const fn needs_passphrase(self) -> bool {
        matches!(self, Self::Root)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl NodeSecret {
    /// Draws a new key.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self::from_seed(&*random_32()?))
    }

    /// The key of a seed: for sample federations, whose keys are worth nothing.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> NodeKey {
        NodeKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// The key that signs.
    #[must_use]
    pub const fn signing_key(&self) -> &SigningKey {
        &self.0
    }

    /// The seed, from which libp2p makes the same key.
    #[must_use]
    pub fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }
}

impl RootSecret {
    /// Draws a new key.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self::from_seed(&*random_32()?))
    }

    /// The key of a seed: for sample federations, whose keys are worth nothing.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public key.
    #[must_use]
    pub fn key(&self) -> RootKey {
        RootKey::from_bytes(self.0.verifying_key().to_bytes())
    }

    /// What a charter says of this key while it is the next one: the hash of its 32 public bytes.
    #[must_use]
    pub fn commitment(&self) -> ContentHash {
        ContentHash::from_bytes(Sha256::digest(self.key().as_bytes()).into())
    }

    /// The key that signs.
    #[must_use]
    pub const fn signing_key(&self) -> &SigningKey {
        &self.0
    }
}

impl StorageKey {
    /// Draws a new key.
    ///
    /// # Errors
    /// If the system has no randomness to give.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self(random_32()?))
    }

    /// Takes 32 bytes, for tests and sample federations.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The key's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl Secret for NodeSecret {
    const KIND: KeyKind = KeyKind::Node;

    fn from_hex(text: &str) -> Option<Self> {
        Some(Self::from_seed(&*bytes_from_hex(text)?))
    }

    fn secret_hex(&self) -> Zeroizing<String> {
        hex(&self.seed())
    }

    fn public_hex(&self) -> String {
        self.key().to_string()
    }
}

impl Secret for RootSecret {
    const KIND: KeyKind = KeyKind::Root;

    fn from_hex(text: &str) -> Option<Self> {
        Some(Self::from_seed(&*bytes_from_hex(text)?))
    }

    fn secret_hex(&self) -> Zeroizing<String> {
        hex(&Zeroizing::new(self.0.to_bytes()))
    }

    fn public_hex(&self) -> String {
        self.key().to_string()
    }
}

impl Secret for StorageKey {
    const KIND: KeyKind = KeyKind::Storage;

    fn from_hex(text: &str) -> Option<Self> {
        bytes_from_hex(text).map(Self)
    }

    fn secret_hex(&self) -> Zeroizing<String> {
        hex(&self.0)
    }

    fn public_hex(&self) -> String {
        let mut hash = Sha256::new_with_prefix(b"refpoint storage key");
        hash.update(self.0.as_slice());
        ContentHash::from_bytes(hash.finalize().into()).to_string()
    }
}

/// Draws 32 bytes from the system.
///
/// # Errors
/// If the system has no randomness to give.
pub(crate) fn random_32() -> Result<Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(bytes.as_mut_slice())?;
    Ok(bytes)
}

fn hex(bytes: &[u8; 32]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(64));
    for byte in bytes {
        for digit in [byte >> 4, byte & 0x0F] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or_default());
        }
    }
    text
}

fn bytes_from_hex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |digit: Option<&u8>| char::from(*digit?).to_digit(16);
        *byte = u8::try_from(digit(pair.first())? << 4 | digit(pair.last())?).ok()?;
    }
    Some(bytes)
}
