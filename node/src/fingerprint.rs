//! Fingerprints: 32 bytes as people read them aloud and type them in.

/// Sixteen groups of four hexadecimal digits: all 256 bits, so that nobody can prepare a look-alike.
#[must_use]
pub fn spoken(bytes: &[u8; 32]) -> String {
    let groups: Vec<String> =
        bytes.chunks(2).map(|pair| pair.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    groups.join(" ")
}

/// Why a text is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FingerprintError {
    /// Another number of digits: a shortened one proves nothing.
    #[error("it has {0} hexadecimal digits, all 64 are needed")]
    Length(usize),
    /// Something that is no digit.
    #[error("it has a {0:?}, which is no hexadecimal digit")]
    Digit(char),
}

/// Reads what was typed: spaces, dashes, colons and capitals do not matter.
///
/// # Errors
/// [`FingerprintError`].
pub fn heard(text: &str) -> Result<[u8; 32], FingerprintError> {
    let mut digits = Vec::with_capacity(64);
    for character in
        text.chars().filter(|character| !character.is_whitespace() && !"-:.".contains(*character))
    {
        let digit = character.to_digit(16).ok_or(FingerprintError::Digit(character))?;
        digits.push(u8::try_from(digit).unwrap_or_default());
    }
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |sum, digit| sum << 4 | digit)).collect();
    match <[u8; 32]>::try_from(bytes) {
        Ok(bytes) if digits.len() == 64 => Ok(bytes),
        _ => Err(FingerprintError::Length(digits.len())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn what_is_spoken_is_heard() {
        let bytes: [u8; 32] = std::array::from_fn(|index| u8::try_from(index * 7).unwrap());
        assert_eq!(heard(&spoken(&bytes)), Ok(bytes));
        assert_eq!(heard(&spoken(&bytes).to_uppercase().replace(' ', "-")), Ok(bytes));
        assert_eq!(spoken(&bytes).split(' ').count(), 16);
    }

    #[test]
    fn a_shortened_or_mistyped_one_is_refused() {
        let whole = spoken(&[0xA7; 32]);
        assert_eq!(heard(&whole[..whole.len() - 1]), Err(FingerprintError::Length(63)));
        assert_eq!(heard(&format!("{whole} 00")), Err(FingerprintError::Length(66)));
        assert_eq!(heard("a7a7 xyz"), Err(FingerprintError::Digit('x')));
        assert_eq!(heard(""), Err(FingerprintError::Length(0)));
    }
}
