//! Ed25519 signatures with a verdict, made so that verifiers which differ are told apart. The verdicts were computed
//! by an independent implementation of the equation of SPEC, section 4.

use ed25519_dalek::{Signature, VerifyingKey};
use serde_json::{Value, json};

use super::bytes_of;

struct Case {
    name: &'static str,
    key: &'static str,
    signature: &'static str,
    message: &'static str,
    /// The condition of SPEC, section 4, that is broken; 0 if the signature is valid.
    broken: u8,
}

/// Every case with its verdict.
pub(super) fn vectors() -> Value {
    let cases: Vec<Value> = CASES
        .iter()
        .map(|case| {
            assert_eq!(is_valid(case), case.broken == 0, "{}", case.name);
            let mut value = json!({
                "name": case.name,
                "key": case.key,
                "signature": case.signature,
                "message": case.message,
                "valid": case.broken == 0,
            });
            if case.broken != 0 {
                value["rule"] = json!("DO-03");
                value["broken_condition"] = json!(case.broken);
            }
            value
        })
        .collect();
    json!({
        "about": "Ed25519 over `message`. A verifier that differs in one verdict splits the directory.",
        "cases": cases,
    })
}

fn is_valid(case: &Case) -> bool {
    let key = <[u8; 32]>::try_from(bytes_of(case.key)).expect("32 bytes");
    let signature = Signature::from_slice(&bytes_of(case.signature)).expect("64 bytes");
    VerifyingKey::from_bytes(&key)
        .is_ok_and(|key| key.verify_strict(&bytes_of(case.message), &signature).is_ok())
}

const CASES: [Case; 22] = [
    Case {
        name: "an ordinary signature",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    a613010d44dc1889cc48d18ace30089f8abe044e488e81aa8af74d003ff8e308",
        message: "726566706f696e74",
        broken: 0,
    },
    Case {
        name: "another signature by the same key",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "156edbf6895d4d89b9dc34e30a612cc7aaec2d86a2dcd30745f863c2b3d9b4d9\
                    ce9b93bfc05c101cb26daa1825c1143d8fb281e1383ea2bb8f3628eb2b68a20b",
        message: "726566706f696e74",
        broken: 0,
    },
    Case {
        name: "s not reduced: s + L",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    93e7f6695e3f2be1a2e5c82dad2ae7b38abe044e488e81aa8af74d003ff8e318",
        message: "726566706f696e74",
        broken: 1,
    },
    Case {
        name: "s = L",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "0100000000000000000000000000000000000000000000000000000000000000\
                    edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010",
        message: "726566706f696e74",
        broken: 1,
    },
    Case {
        name: "the message changed",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    a613010d44dc1889cc48d18ace30089f8abe044e488e81aa8af74d003ff8e308",
        message: "726566706f696e54",
        broken: 3,
    },
    Case {
        name: "s changed",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    a713010d44dc1889cc48d18ace30089f8abe044e488e81aa8af74d003ff8e308",
        message: "726566706f696e74",
        broken: 3,
    },
    Case {
        name: "key of order 1, R of order 1, s = 0",
        key: "0100000000000000000000000000000000000000000000000000000000000000",
        signature: "0100000000000000000000000000000000000000000000000000000000000000\
                    0000000000000000000000000000000000000000000000000000000000000000",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "key of order 1, R of large order",
        key: "0100000000000000000000000000000000000000000000000000000000000000",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "key of order 8, the equation holds",
        key: "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e742033",
        broken: 2,
    },
    Case {
        name: "key of order 4, cofactored alone",
        key: "0000000000000000000000000000000000000000000000000000000000000080",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e742031",
        broken: 2,
    },
    Case {
        name: "R of order 1, the equation holds",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "0100000000000000000000000000000000000000000000000000000000000000\
                    553ae52f0fb283b48da47a0f196a2753c73d6be0c9c5d9e035d97a503fb05f07",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "R of order 2, cofactored alone",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f\
                    b565f8896a3680f919365701a31d6e22b620417309bff7d874e324616435d00e",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "mixed-order key, k divisible by 8: the equation holds",
        key: "130ed84222e5feceb2e711da516177edc56d60680a0d23d4b31f2ae44773c023",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e8f56c7c3b9c42ab6e7c6fa1cd69eeafdd70718951690047be1ba085f4d9f408",
        message: "726566706f696e742031",
        broken: 0,
    },
    Case {
        name: "mixed-order key, cofactored alone",
        key: "130ed84222e5feceb2e711da516177edc56d60680a0d23d4b31f2ae44773c023",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    0833691502c6d8efffc18568c1ff8db08dc6f37ba91c07a62581e2108a7cf50c",
        message: "726566706f696e742030",
        broken: 3,
    },
    Case {
        name: "mixed-order R, cofactored alone",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "070a840ebffbb9840dbc2754c1aeadc7d893be5a2b3a4081fe267796e195d69d\
                    af98777b96f4ca6a579a43cc141f4d14677f3fe2802fdd4aa0c2a0696fc78309",
        message: "726566706f696e74",
        broken: 3,
    },
    Case {
        name: "mixed-order key and R that cancel: the equation holds",
        key: "130ed84222e5feceb2e711da516177edc56d60680a0d23d4b31f2ae44773c023",
        signature: "070a840ebffbb9840dbc2754c1aeadc7d893be5a2b3a4081fe267796e195d69d\
                    3e8bfaff88c8755651707e744dd09c3450bb7c792052717fdb7f1ca752a74500",
        message: "726566706f696e742030",
        broken: 0,
    },
    Case {
        name: "key of order 1 in a non-canonical encoding (y = p + 1)",
        key: "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "R of order 1 in a non-canonical encoding (y = p + 1)",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f\
                    b079ccf70e3867ec8691519d60b61465c7d8c514f164bfd28a66900a0f9d250a",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "key of order 1 with the sign of x = 0 set",
        key: "0100000000000000000000000000000000000000000000000000000000000080",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "R of order 1 with the sign of x = 0 set",
        key: "7b9e012168d5cf55b1f9ea0103980fd488462568d6076b51c77d506d47d8afe6",
        signature: "0100000000000000000000000000000000000000000000000000000000000080\
                    551e0827f9b37eb28f3cc79292baf852d52fce9598eddb49c4e9844c3dc4450e",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "key that is no point",
        key: "0200000000000000000000000000000000000000000000000000000000000000",
        signature: "bab4a408c0f75c0dd19c6f4ae60848b961203a8ea9475e1a166e010d97b54705\
                    e47ba17f2d351eeda9515dbde8276602b2de021229b2405bbc2d2dc786001108",
        message: "726566706f696e74",
        broken: 2,
    },
    Case {
        name: "all zeros",
        key: "0000000000000000000000000000000000000000000000000000000000000000",
        signature: "0000000000000000000000000000000000000000000000000000000000000000\
                    0000000000000000000000000000000000000000000000000000000000000000",
        message: "726566706f696e74",
        broken: 2,
    },
];
