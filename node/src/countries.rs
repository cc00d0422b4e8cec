//! The 196 member countries of the network, compiled in from `config/members.csv`.
//!
//! It serves as defaults for `init` and as the sample federation. It decides nothing: who is a member is the
//! charter's to say.

use std::sync::LazyLock;

use refpoint_protocol::{ids::MemberCode, membership::charter::WorkingGroup};
use serde::Deserialize;

/// One row of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Country {
    /// ISO 3166-1 alpha-2 code.
    pub code: MemberCode,
    /// ISO 3166-1 alpha-3 code.
    pub alpha3: String,
    /// The name in English.
    pub name_en: String,
    /// The name in French.
    pub name_fr: String,
    /// The name in Spanish.
    pub name_es: String,
    /// The name in Arabic.
    pub name_ar: String,
    /// The regional working group.
    pub working_group: WorkingGroup,
    /// The capital.
    pub capital: String,
    /// Its latitude, in degrees.
    pub lat: f64,
    /// Its longitude, in degrees.
    pub lon: f64,
    /// The IANA time zone of the capital.
    pub time_zone: String,
    /// Official languages, BCP 47, separated by spaces.
    pub languages: String,
    /// The telephone calling code, without `+`.
    pub calling_code: String,
}

impl Country {
    /// All countries of the file, in its order (by code).
    ///
    /// # Errors
    /// What `csv` says of the compiled-in file; a test reads it, so never in a build that passed.
    pub fn all() -> Result<&'static [Self], &'static str> {
        match &*ALL {
            Ok(countries) => Ok(countries),
            Err(error) => Err(error),
        }
    }

    /// The country with this code, if the file has it.
    #[must_use]
    pub fn find(code: &MemberCode) -> Option<&'static Self> {
        Self::all().ok()?.iter().find(|country| country.code == *code)
    }

    /// The official languages one by one.
    pub fn language_codes(&self) -> impl Iterator<Item = &str> {
        self.languages.split_whitespace()
    }
}

static ALL: LazyLock<Result<Vec<Country>, String>> = LazyLock::new(|| {
    let mut reader = csv::Reader::from_reader(include_str!("../../config/members.csv").as_bytes());
    reader.deserialize().collect::<Result<_, csv::Error>>().map_err(|error| error.to_string())
});

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_compiled_in_file_has_196_distinct_members_in_four_groups() {
        let all = Country::all().unwrap();
        let codes: BTreeSet<&MemberCode> = all.iter().map(|country| &country.code).collect();
        let groups: BTreeSet<WorkingGroup> = all.iter().map(|country| country.working_group).collect();
        assert_eq!((all.len(), codes.len(), groups.len()), (196, 196, 4));
        assert!(all.iter().all(|country| country.language_codes().count() > 0));
        for country in all {
            jiff::tz::TimeZone::get(&country.time_zone).unwrap();
        }
        assert_eq!(Country::find(&"KE".parse().unwrap()).unwrap().calling_code, "254");
    }
}
