//! The Wycheproof sets for every primitive that the protocol uses, run against the very crates that it links.
//! Each test says how many cases it must have run, so that a set that shrinks or stops loading is noticed.

use chacha20poly1305::{
    ChaCha20Poly1305, KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use ed25519_dalek::{Signature, VerifyingKey};
use hkdf::Hkdf;
use ml_kem::{Decapsulate, FromSeed, KeyExport, MlKem768, TryKeyInit, array::Array, ml_kem_768};
use sha2::Sha256;
use wycheproof::{TestResult, aead, eddsa, hkdf as hkdf_sets, mlkem, xdh};

/// Cases run, by what the set expects of them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    valid: usize,
    invalid: usize,
    acceptable: usize,
}

impl Ran {
    fn count(&mut self, expected: TestResult) {
        match expected {
            TestResult::Valid => self.valid += 1,
            TestResult::Invalid => self.invalid += 1,
            TestResult::Acceptable => self.acceptable += 1,
        }
    }
}

#[test]
fn ed25519_verifies_strictly_as_wycheproof_expects() {
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        let key: [u8; 32] = group.key.pk.as_slice().try_into().unwrap();
        let key = VerifyingKey::from_bytes(&key).unwrap();
        for test in group.tests {
            let verdict = Signature::from_slice(&test.sig)
                .and_then(|signature| key.verify_strict(&test.msg, &signature))
                .is_ok();
            assert_eq!(verdict, test.result == TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 88, invalid: 63, acceptable: 0 });
}

#[test]
fn x25519_agrees_on_every_shared_secret() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        for test in group.tests {
            let private: [u8; 32] = test.private_key.as_slice().try_into().unwrap();
            let public: [u8; 32] = test.public_key.as_slice().try_into().unwrap();
            let shared = x25519_dalek::x25519(private, public);
            // "Acceptable" marks low-order and non-canonical keys: the function is total, and X-Wing hashes its
            // inputs, so the result must still be the one that every other implementation computes.
            assert_eq!(shared, *test.shared_secret.as_slice(), "case {}: {}", test.tc_id, test.comment);
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 264, invalid: 0, acceptable: 254 });
}

#[test]
fn chacha20_poly1305_opens_only_what_is_whole() {
    let ran = run_aead::<ChaCha20Poly1305>(aead::TestName::ChaCha20Poly1305, 12);
    assert_eq!(ran, Ran { valid: 256, invalid: 69, acceptable: 0 });
}

#[test]
fn xchacha20_poly1305_opens_only_what_is_whole() {
    let ran = run_aead::<XChaCha20Poly1305>(aead::TestName::XChaCha20Poly1305, 24);
    assert_eq!(ran, Ran { valid: 246, invalid: 69, acceptable: 0 });
}

#[test]
fn hkdf_sha256_expands_as_wycheproof_expects() {
    let set = hkdf_sets::TestSet::load(hkdf_sets::TestName::HkdfSha256).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        for test in group.tests {
            let mut okm = vec![0_u8; test.size];
            let verdict = Hkdf::<Sha256>::new(Some(&test.salt), &test.ikm).expand(&test.info, &mut okm);
            assert_eq!(verdict.is_ok(), test.result == TestResult::Valid, "case {}", test.tc_id);
            if verdict.is_ok() {
                assert_eq!(okm, test.okm.as_slice(), "case {}: {}", test.tc_id, test.comment);
            }
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 83, invalid: 3, acceptable: 0 });
}

#[test]
fn ml_kem_768_decapsulates_as_wycheproof_expects() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        for test in group.tests {
            let seed = Array::try_from(test.seed.as_ref().unwrap().as_slice());
            let ciphertext = ml_kem_768::Ciphertext::try_from(test.ct.as_ref().unwrap().as_slice());
            match (seed, ciphertext) {
                (Ok(seed), Ok(ciphertext)) => {
                    assert_eq!(test.result, TestResult::Valid, "case {}: {}", test.tc_id, test.comment);
                    let (private, public) = MlKem768::from_seed(&seed);
                    assert_eq!(public.to_bytes().as_slice(), test.encaps_key.as_ref().unwrap().as_slice());
                    let shared = private.decapsulate(&ciphertext);
                    assert_eq!(shared.as_slice(), test.shared_secret.as_ref().unwrap().as_slice());
                }
                // A seed or ciphertext of another length has no form here.
                _ => assert_eq!(test.result, TestResult::Invalid, "case {}: {}", test.tc_id, test.comment),
            }
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 161, invalid: 40, acceptable: 0 });
}

#[test]
fn ml_kem_768_encapsulates_only_to_keys_in_form() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768Encaps).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        for test in group.tests {
            let public =
                ml_kem_768::EncapsulationKey::new_from_slice(test.encaps_key.as_ref().unwrap().as_slice());
            assert_eq!(
                public.is_ok(),
                test.result == TestResult::Valid,
                "case {}: {}",
                test.tc_id,
                test.comment
            );
            if let Ok(public) = public {
                let random = Array::try_from(test.msg.as_ref().unwrap().as_slice()).unwrap();
                let (ciphertext, shared) = public.encapsulate_deterministic(&random);
                assert_eq!(ciphertext.as_slice(), test.ct.as_ref().unwrap().as_slice());
                assert_eq!(shared.as_slice(), test.shared_secret.as_ref().unwrap().as_slice());
            }
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 133, invalid: 132, acceptable: 0 });
}

#[test]
fn ml_kem_768_makes_the_same_key_from_a_seed() {
    let set = mlkem::TestSet::load(mlkem::TestName::MlKem768KeyGenSeed).unwrap();
    let mut ran = Ran::default();
    for group in set.test_groups {
        for test in group.tests {
            let seed = Array::try_from(test.seed.as_ref().unwrap().as_slice()).unwrap();
            let (_, public) = MlKem768::from_seed(&seed);
            assert_eq!(public.to_bytes().as_slice(), test.encaps_key.as_ref().unwrap().as_slice());
            ran.count(test.result);
        }
    }
    assert_eq!(ran, Ran { valid: 100, invalid: 0, acceptable: 0 });
}

/// Runs one AEAD set both ways: valid cases seal to the given bytes and open again, invalid ones do not open.
fn run_aead<A: KeyInit + Aead>(name: aead::TestName, nonce_bytes: usize) -> Ran {
    let mut ran = Ran::default();
    for group in aead::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            ran.count(test.result);
            if test.nonce.len() != nonce_bytes {
                assert_eq!(test.result, TestResult::Invalid, "case {}: {}", test.tc_id, test.comment);
                continue;
            }
            let cipher = A::new_from_slice(&test.key).unwrap();
            let nonce = test.nonce.as_slice().try_into().unwrap();
            let sealed = [test.ct.as_slice(), test.tag.as_slice()].concat();
            let opened = cipher.decrypt(nonce, Payload { msg: &sealed, aad: &test.aad });
            if test.result == TestResult::Valid {
                assert_eq!(opened.unwrap(), test.pt.as_slice(), "case {}", test.tc_id);
                let again = cipher.encrypt(nonce, Payload { msg: &test.pt, aad: &test.aad }).unwrap();
                assert_eq!(again, sealed, "case {}", test.tc_id);
            } else {
                assert!(opened.is_err(), "case {}: {}", test.tc_id, test.comment);
            }
        }
    }
    ran
}
