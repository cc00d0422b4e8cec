//! A member's names for people, out of the compiled-in list of countries.

use refpoint_protocol::ids::MemberCode;
use serde::{Deserialize, Serialize};

use crate::countries::Country;

/// A member's names in the languages of the network. A bureau, which the list does not hold, shows its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNames {
    /// English.
    pub en: String,
    /// French.
    pub fr: String,
    /// Spanish.
    pub es: String,
    /// Arabic.
    pub ar: String,
}

impl MemberNames {
    /// Looks the names up.
    #[must_use]
    pub fn of(member: &MemberCode) -> Self {
        let Some(country) = Country::find(member) else {
            let [en, fr, es, ar] = [(); 4].map(|()| member.to_string());
            return Self { en, fr, es, ar };
        };
        Self {
            en: country.name_en.clone(),
            fr: country.name_fr.clone(),
            es: country.name_es.clone(),
            ar: country.name_ar.clone(),
        }
    }
}

/// The member that somebody may have meant by `text`: a name in one of four languages, a three-letter code, or
/// the nearest two-letter code or English name.
#[must_use]
pub fn meant_by(text: &str) -> Option<&'static Country> {
    let wanted = text.trim().to_lowercase();
    let countries = Country::all().ok()?;
    let is_exact = |country: &&Country| {
        let names = [&country.name_en, &country.name_fr, &country.name_es, &country.name_ar, &country.alpha3];
        country.code.as_str().to_lowercase() == wanted
            || names.iter().any(|name| name.to_lowercase() == wanted)
    };
    if let Some(country) = countries.iter().find(is_exact) {
        return Some(country);
    }
    let similar = |country: &Country| strsim::jaro_winkler(&country.name_en.to_lowercase(), &wanted);
    let nearest = countries.iter().max_by(|a, b| similar(a).total_cmp(&similar(b)))?;
    (similar(nearest) >= SIMILARITY_MIN).then_some(nearest)
}

/// Jaro-Winkler similarity from which a name is worth asking about: `Kenia` to `Kenya` is 0.91.
const SIMILARITY_MIN: f64 = 0.85;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_come_in_four_languages_and_a_bureau_shows_its_code() {
        let names = MemberNames::of(&"JO".parse().unwrap());
        assert_eq!([names.en.as_str(), &names.fr, &names.es], ["Jordan", "Jordanie", "Jordania"]);
        assert_eq!(MemberNames::of(&"X-LO".parse().unwrap()).ar, "X-LO");
    }

    #[test]
    fn what_was_meant_is_found_by_name_code_or_near_miss() {
        for (text, code) in [
            ("ke", "KE"),
            ("KEN", "KE"),
            ("Kenia", "KE"),
            ("Alemania", "DE"),
            ("Brésil", "BR"),
            ("jordn", "JO"),
        ] {
            assert_eq!(meant_by(text).map(|country| country.code.as_str()), Some(code), "{text}");
        }
        assert_eq!(meant_by("zzzzzz"), None);
    }
}
