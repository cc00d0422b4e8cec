//! Fingerprints as QR codes on the terminal: a telephone's camera reads what a mouth would take minutes for.

use qrcode::{EcLevel, QrCode, render::unicode::Dense1x2};

/// A text as a QR code of half blocks, dark on light as cameras expect it even on dark terminals. Empty if the text is
/// too long for one: what is read aloud is there anyway.
pub(super) fn code(text: &str) -> String {
    let Ok(code) = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::M) else {
        return String::new();
    };
    // A terminal's letters are light: the blocks that are drawn are the light ones.
    code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build()
}

/// A root key's fingerprint in the letters that make the smallest code.
pub(super) fn root(member: &str, fingerprint: &str) -> String {
    let digits = fingerprint.replace(' ', "").to_uppercase();
    code(&format!("REFPOINT ROOT {member} {digits}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_fits_a_terminal() {
        let drawn = root("X-A-LONG-BUREAU-NAME", &"a1b2 ".repeat(16));
        let width = drawn.lines().map(|line| line.chars().count()).max();
        assert!(width.is_some_and(|width| (29..=60).contains(&width)), "{width:?}");
        assert!(drawn.lines().count() <= 30);
        assert!(code(&"x".repeat(10_000)).is_empty());
    }
}
