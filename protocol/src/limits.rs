//! Every bound of the protocol, with its unit and its reason.
// LONG: one list, which the table in SPEC.md mirrors.

use core::time::Duration;

/// The largest integer on the wire, 2^53 − 1: what every language's CBOR library keeps exact.
pub const INTEGER_MAX: u64 = (1 << 53) - 1;

/// How deep arrays and maps may nest: our documents need six, and some decoders stop at 127.
pub const DEPTH_MAX: usize = 16;

/// Bytes of a charter version: 196 members at about 250 B each, their signatures, and room to double.
pub const CHARTER_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a key set: 32 nodes and the hashes of 400 earlier key sets.
pub const KEY_SET_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a chain header's payload: its fields need about 300; headers are kept for ever.
pub const HEADER_BYTES_MAX: usize = 512;

/// Bytes of a chain body: a reference point with a dozen channels in four languages fits ten times over.
pub const BODY_BYTES_MAX: usize = 16 * 1024;

/// Headers of one chain: eleven years of daily renewal under one key set.
pub const CHAIN_LENGTH_MAX: u64 = 4_096;

/// Random bytes that open every chain body, so that its hash tells nothing about its content.
pub const BODY_SALT_BYTES: usize = 16;

/// Bytes of any envelope's payload: the largest of the documents is the charter.
pub const PAYLOAD_BYTES_MAX: usize = CHARTER_BYTES_MAX;

/// Signatures of one envelope: every one of 256 members, doubled for a second algorithm.
pub const SIGNATURES_MAX: usize = 512;

/// Bytes of one verification key or signature of any algorithm: room for a post-quantum signature.
pub const SIGNATURE_BYTES_MAX: usize = 8 * 1024;

/// Signatures of a document, unless its kind says otherwise: its signer's, and a second one of another algorithm.
pub const DOCUMENT_SIGNATURES_MAX: usize = 2;

/// Bytes of their keys and signatures: Ed25519, and ML-DSA-87 (FIPS 204: 2,592 and 4,627) with room.
pub const DOCUMENT_SIGNATURES_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a charter's keys and signatures: each of [`SIGNATURES_MAX`] with the 96 of Ed25519.
pub const CHARTER_SIGNATURES_BYTES_MAX: usize = SIGNATURES_MAX * 96;

/// Signatures of a key set: the present root's, in a rotation the next root's, both doubled for a second algorithm.
pub const KEY_SET_SIGNATURES_MAX: usize = 4;

/// Bytes of a key set's keys and signatures: Ed25519 twice, and ML-DSA-65 (FIPS 204: 1,952 and 3,309) twice.
pub const KEY_SET_SIGNATURES_BYTES_MAX: usize = 12 * 1024;

/// Bytes of a document kind's name.
pub const KIND_BYTES_MAX: usize = 32;

/// Members of a charter: 196 countries, and room for bureaus.
pub const MEMBERS_MAX: usize = 256;

/// Stewards of a charter: signatures that people must gather by hand.
pub const STEWARDS_MAX: usize = 32;

/// The fewest stewards: of two, either could stop the other, and one could do as it likes.
pub const STEWARDS_MIN: usize = 3;

/// Bytes of a joining request: its fields need about 300, eight addresses of 255 bytes the rest.
pub const REQUEST_BYTES_MAX: usize = 4 * 1024;

/// Addresses in a joining request: two networks, both IP versions, and as many names.
pub const REQUEST_ADDRESSES_MAX: usize = 8;

/// Bytes of one address in a joining request: the longest DNS name, a colon and a port.
pub const REQUEST_ADDRESS_BYTES_MAX: usize = 260;

/// Nodes of one key set: a country runs two or three.
pub const NODES_PER_MEMBER_MAX: usize = 8;

/// Earlier key sets that one key set can name: what fits in [`KEY_SET_BYTES_MAX`] beside eight nodes.
pub const KEY_SET_ANCESTORS_MAX: usize = 384;

/// Charter tips that a version may name as parents.
pub const CHARTER_PARENTS_MAX: usize = 16;

/// Rotations of a root key within one incarnation: one in several years; a charter version begins a new incarnation.
pub const GENERATION_MAX: u64 = 6;

/// Key-set tips kept of one member and generation: nine prove that something is broken, no more are kept.
pub const KEY_SET_TIPS_MAX: usize = 8;

/// Key sets of one generation that may stand beside one of them, neither naming the other: two lines of
/// descent that go on in parallel for years; past it the generation is broken, which bounds the work.
pub const KEY_SET_UNRELATED_MAX: usize = 64;

/// Review date of a key set unless said: a yearly duty with a month's grace.
pub const KEY_SET_REVIEW_DEFAULT: Duration = Duration::from_secs(400 * 86_400);

/// How long a reference point's header stays fresh; it is renewed daily, so a week survives an outage.
pub const FRESHNESS: Duration = Duration::from_secs(7 * 86_400);

/// How often a node renews its headers.
pub const RENEWAL_INTERVAL: Duration = Duration::from_secs(86_400);

/// Days a sealing key is valid: bounds what a stolen disk opens.
pub const SEALING_KEY_VALIDITY: Duration = Duration::from_secs(30 * 86_400);

/// How long before its start a successor sealing key is published, so that every sender has it in time.
pub const SEALING_KEY_LEAD: Duration = Duration::from_secs(7 * 86_400);

/// How long after its end a sealing key's seed is kept: the longest message lifetime and a day.
pub const SEALING_SEED_GRACE: Duration = Duration::from_secs(15 * 86_400);

/// Bytes of an introduction frame.
pub const INTRODUCTION_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of all introduction frames of one direction, lengths included: a charter four times its bound.
pub const INTRODUCTION_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of charter data in one `versions` frame: leaves room for the frame's own fields.
pub const INTRODUCTION_SLICE_BYTES: usize = 60 * 1024;

/// How long one introduction frame may take.
pub const INTRODUCTION_FRAME_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the whole introduction may take.
pub const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a refuser reads on so that its refusal arrives before the connection's reset.
pub const REFUSAL_LINGER: Duration = Duration::from_secs(2);

/// Recipients of one message: a working group's stewards, not a broadcast.
pub const RECIPIENTS_MAX: usize = 32;

/// Bytes of one attachment.
pub const ATTACHMENT_BYTES_MAX: usize = 1024 * 1024;

/// Bytes of a message body before padding: text and attachments.
pub const MESSAGE_BODY_BYTES_MAX: usize = 1024 * 1024 + 256 * 1024;

/// Bytes of a parcel in its frame: the largest padded body, the sealed header and the clear part.
pub const PARCEL_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a relay frame other than a parcel: a receipt, or an offer of 1,024 ids.
pub const RELAY_FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a repair request or response.
pub const REPAIR_BYTES_MAX: usize = 1024 * 1024;

/// Ids in one offer frame: 32 KiB.
pub const OFFER_IDS_MAX: usize = 1_024;

/// A message's lifetime unless said: a long weekend.
pub const EXPIRY_DEFAULT: Duration = Duration::from_secs(72 * 3_600);

/// A message's longest lifetime.
pub const EXPIRY_MAX: Duration = Duration::from_secs(14 * 86_400);

/// Bytes of a message's text: forty pages.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// Bytes of a message's own reference: one line.
pub const REFERENCE_BYTES_MAX: usize = 128;

/// Attachments of one message.
pub const ATTACHMENTS_MAX: usize = 16;

/// Bytes of an attachment's name: what file systems take.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 255;

/// Bytes of a media type (RFC 6838, section 4.2).
pub const MEDIA_TYPE_BYTES_MAX: usize = 127;

/// Fields of a form.
pub const FORM_FIELDS_MAX: usize = 64;

/// Bytes of a form's or field's code.
pub const FORM_CODE_BYTES_MAX: usize = 32;

/// Bytes of a form field's value: two pages.
pub const FORM_VALUE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of a speaker's role, or of the form of an answer, in a statement: a line.
pub const STATEMENT_TEXT_BYTES_MAX: usize = 256;

/// Bytes of a message header's payload: 32 recipients of at most 19 bytes and about 250 bytes of the rest.
pub const MESSAGE_HEADER_BYTES_MAX: usize = 2 * 1024;

/// Bytes of a receipt's payload: its fields need about 200.
pub const RECEIPT_BYTES_MAX: usize = 512;

/// Bytes of what a parcel seals: the header in its envelope and the content key, with room for a
/// post-quantum signature.
pub const SEALED_BYTES_MAX: usize = 16 * 1024;

/// How long after its expiry a message is still accepted: clocks differ, and late truth is told.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(86_400);

/// How long the sender keeps a message's content after its acknowledgement.
pub const KEEP_AFTER_ACKNOWLEDGED: Duration = Duration::from_secs(86_400);

/// How long message ids are remembered against replays.
pub const MESSAGE_ID_KEPT: Duration = Duration::from_secs(400 * 86_400);

/// A clock further than this from the median of three members is wrong.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(600);

/// Members whose clocks make a median, and whose repair lets a node sign its own chain again; where the charter has
/// fewer other active members, all of them.
pub const WITNESSES: usize = 3;

/// How long a returning node waits for [`WITNESSES`] repairs before fewer suffice.
pub const RESUME_WAIT: Duration = Duration::from_secs(600);

/// Messages that this node sends and still holds in memory: days of load at a message a second.
pub const OUTBOX_ROWS_MAX: usize = 200_000;

/// Received messages held in memory: past it those that are acknowledged make room, then senders wait.
pub const INBOX_ROWS_MAX: usize = 200_000;

/// Received messages of one sender in memory that nobody acknowledged: a fifth, so that its flood closes the
/// inbox to itself alone.
pub const INBOX_ROWS_PER_SENDER_MAX: usize = INBOX_ROWS_MAX / 5;

/// Received messages that every sender may have in memory, however many others have: a day of one a few
/// minutes. All members together take as much again as [`INBOX_ROWS_MAX`] at most.
pub const INBOX_ROWS_PER_SENDER_MIN: usize = 512;

/// Message ids remembered at once: a message a minute for 400 days, and as many statements; past it senders wait.
pub const MESSAGE_IDS_MAX: usize = 1_000_000;

/// Parcels of one class that one member may have opened here at once: what a pair of nodes that has lost a disk
/// offers anew, and far more than people write.
pub const INBOX_BURST: u32 = 32_768;

/// The interval that earns a member one more parcel to be opened: ten a second, whoever floods for how long.
pub const INBOX_INTERVAL: Duration = Duration::from_millis(100);

/// Ids remembered of one sender: a message every few minutes for 400 days.
pub const MESSAGE_IDS_PER_SENDER_MAX: usize = MESSAGE_IDS_MAX / 5;

/// Ids that every sender may have remembered, however many others have: five a day for 400 days.
pub const MESSAGE_IDS_PER_SENDER_MIN: usize = 2_048;

/// Statements in memory, about whatever message: five of each message that fits.
pub const STATEMENTS_MAX: usize = 1_000_000;

/// Statements of one speaker in memory.
pub const STATEMENTS_PER_SPEAKER_MAX: usize = STATEMENTS_MAX / 5;

/// Statements that every speaker may have in memory, however many others have.
pub const STATEMENTS_PER_SPEAKER_MIN: usize = 2_048;

/// Statements kept of one member about one message: each of the nine words a few times.
pub const STATEMENTS_PER_MEMBER_MAX: usize = 32;

/// Statements kept about messages that are not known here: a lost disk's worth of acknowledgements.
pub const ORPHAN_STATEMENTS_MAX: usize = 4_096;

/// The same of one member.
pub const ORPHAN_STATEMENTS_PER_MEMBER_MAX: usize = 1_024;

/// The same that every member may have, however many others have: what it said of the last few messages.
pub const ORPHAN_STATEMENTS_PER_MEMBER_MIN: usize = 32;

/// Parcels sealed or sent to one node and not answered yet: twice what keeps a loopback link busy.
pub const IN_FLIGHT_PER_PEER_MAX: usize = 128;

/// Bytes of parcels in flight to one node: eight large ones; one is always allowed.
pub const IN_FLIGHT_BYTES_PER_PEER_MAX: usize = 8 * 1024 * 1024;

/// The share of any in-flight or opening bound that normal parcels leave to urgent ones: one in this many.
pub const URGENT_RESERVE: usize = 10;

/// Parcels of one peer that are being opened at once.
pub const OPENING_PER_PEER_MAX: usize = 256;

/// Bytes of parcels that are being opened at once, of all peers: what waits in memory for the crypto pool.
pub const OPENING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Opened messages that wait for their signer's key set.
pub const HELD_MESSAGES_MAX: usize = 256;

/// The same of one peer.
pub const HELD_MESSAGES_PER_PEER_MAX: usize = 64;

/// The same that every peer may have, however many others have: whoever is new sends more than one.
pub const HELD_MESSAGES_PER_PEER_MIN: usize = 4;

/// Bytes of opened messages that wait for their signer's key set.
pub const HELD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The same of one peer: one of the largest.
pub const HELD_BYTES_PER_PEER_MAX: usize = 4 * 1024 * 1024;

/// The same that every peer may have, however many others have: a message of text and forms.
pub const HELD_BYTES_PER_PEER_MIN: usize = 64 * 1024;

/// How long an opened message waits for its signer's key set: the sender sends it again anyway.
pub const HELD_WAIT: Duration = Duration::from_secs(60);

/// The first retry of an unanswered parcel comes within this; each further bound doubles.
pub const RETRY_FIRST: Duration = Duration::from_secs(2);

/// The longest bound of a retry: an urgent message asks again every few minutes.
pub const RETRY_MAX: Duration = Duration::from_secs(300);

/// How long a parcel may stay unanswered before it is sent again, beside its transfer time.
pub const RECEIPT_WAIT: Duration = Duration::from_secs(20);

/// The slowest link for which transfer time is allowed, in bytes a second: a satellite telephone's.
pub const SLOWEST_LINK_BYTES_PER_SECOND: usize = 8 * 1024;

/// Every so many parcels to one peer the longest waiting goes first, whatever its precedence (ageing).
pub const AGEING_INTERVAL: u64 = 8;

/// Custodians that a parcel is handed to: it survives the loss of any three of its four holders.
pub const CUSTODIANS_MAX: usize = 3;

/// Custodians of one parcel over its life, those that fell silent included: bounds what a row holds.
pub const CUSTODIANS_EVER_MAX: usize = 8;

/// How long the recipient of a flash or immediate message may be out of reach before custodians are asked: a lost
/// connection is dialled again within it.
pub const CUSTODY_AFTER_URGENT: Duration = Duration::from_secs(5);

/// The same for priority and routine: a restart takes less.
pub const CUSTODY_AFTER: Duration = Duration::from_secs(60);

/// How soon custodians are looked for again while a parcel has fewer than it should.
pub const CUSTODY_AGAIN: Duration = Duration::from_secs(30);

/// A custodian that has been away for so long is counted no more, and another is asked.
pub const CUSTODIAN_SILENT: Duration = Duration::from_secs(600);

/// How long a custodian that refused is not asked again for the same parcel.
pub const CUSTODIAN_REST: Duration = Duration::from_secs(300);

/// Parcels handed to one custodian and not answered yet: beside the direct ones, they fit its stream's queue.
pub const CUSTODY_IN_FLIGHT_MAX: usize = 32;

/// Bytes of parcels handed to one custodian and not answered yet.
pub const CUSTODY_IN_FLIGHT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Parcels out of custody that one recipient has not answered yet.
pub const HAND_OVER_IN_FLIGHT_MAX: usize = 64;

/// Bytes of parcels out of custody that one recipient has not answered yet.
pub const HAND_OVER_IN_FLIGHT_BYTES_MAX: usize = 6 * 1024 * 1024;

/// Bytes of parcels that one member may have in custody here: thousands of messages, or sixty large ones.
pub const CUSTODY_BYTES_PER_MEMBER_MAX: u64 = 64 * 1024 * 1024;

/// Bytes of all parcels in custody here: what any disk of these years has to spare.
pub const CUSTODY_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;

/// Parcels that one member may have in custody here, with the answers that wait for it.
pub const CUSTODY_ROWS_PER_MEMBER_MAX: usize = 4_096;

/// Parcels in custody here, with the answers that wait: a kilobyte of memory each.
pub const CUSTODY_ROWS_MAX: usize = 65_536;

/// Parcels that one member may hand over for custody at once: each is written to the disk.
pub const CUSTODY_BURST: u32 = 1_024;

/// The interval that earns a member one more parcel in custody: 50 a second.
pub const CUSTODY_INTERVAL: Duration = Duration::from_millis(20);

/// How long after a parcel's expiry its answer waits for a sender that is away.
pub const CUSTODY_ANSWER_KEPT: Duration = Duration::from_secs(14 * 86_400);

/// Answers passed back to one sender and not echoed yet.
pub const ANSWERS_IN_FLIGHT_MAX: usize = 64;

/// How long an answer that was passed back may stay without its echo before it is passed again.
pub const ANSWER_ECHO_WAIT: Duration = Duration::from_secs(60);

/// Bytes of composed content kept in memory so that a first seal reads nothing from the disk.
pub const CONTENT_AT_HAND_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Frames of offered ids in one exchange: 65,536 messages.
pub const OFFER_FRAMES_MAX: usize = 64;

/// How long after a connect a node offers again what it keeps for the other: past every exchange that is still
/// under way, on the slowest link too.
pub const OFFER_AGAIN_FIRST: Duration = Duration::from_secs(60);

/// The longest time between two offers on one connection: each doubles the last, and costs one hash where
/// nothing changed.
pub const OFFER_AGAIN_MAX: Duration = Duration::from_secs(3_600);

/// Timers handled by one wake, so that no wake is long.
pub const TIMERS_PER_WAKE_MAX: usize = 1_024;

/// Documents that wait for an ancestor, for each bearer.
pub const PENDING_PER_BEARER_MAX: usize = 64;

/// Bytes of documents that wait for an ancestor, for each bearer: two charters and change.
pub const PENDING_BYTES_PER_BEARER_MAX: usize = 1024 * 1024;

/// Pushed documents of one signing key: one a minute after a burst of five.
pub const PUSH_BURST: u32 = 5;

/// The interval that earns a signing key one more push.
pub const PUSH_INTERVAL: Duration = Duration::from_secs(60);

/// How often a node repairs with a random member.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(60);

/// Bytes of evidence that the nodes of one member may bring by repair at once: a year of a whole federation,
/// 392 chains of 365 headers of about 450 bytes.
pub const INTAKE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// What a member earns anew a minute, 94 MB a day: five hundred times what a federation publishes, and little
/// enough that its stewards have weeks to end a member that fills everybody's disk.
pub const INTAKE_BYTES_PER_MINUTE: u64 = 64 * 1024;

/// Nodes connected at once: all 196 members, and some with two.
pub const CONNECTED_NODES_MAX: usize = 256;

/// Bytes of a stored record's key: two 32-byte ids, or a setting's name, with room.
pub const STORED_KEY_BYTES_MAX: usize = 256;

/// Bytes of a stored record's value: the largest is a message's ciphertext, with room to double.
pub const STORED_VALUE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The wire version that this program speaks.
pub const WIRE_VERSION: u64 = 1;

/// A repair without an answer for this long is given up; the next one starts anew.
pub const REPAIR_STALLED: Duration = Duration::from_secs(60);

/// Events kept for those who resume: an hour of the busiest hour seen in exercises.
pub const EVENTS_KEPT: u64 = 4_096;

const _: () = assert!(PARCEL_BYTES_MAX * 2 <= STORED_VALUE_BYTES_MAX);

/// Bytes of an address: a DNS name of 253 bytes, a colon and a port.
pub const ADDRESS_BYTES_MAX: usize = 253 + 6;

/// Addresses of one node: two networks in both IP families, doubled.
pub const ADDRESSES_MAX: usize = 8;

/// Sealing keys in one node record: the current one, its successor, and room for a change of KEM.
pub const SEALING_KEYS_MAX: usize = 4;

/// Document kinds that one node record can name: this version knows seven.
pub const READABLE_KINDS_MAX: usize = 32;

/// Wire versions that one node can speak: two adjacent ones during an upgrade.
pub const WIRE_VERSIONS_MAX: usize = 8;

/// Bytes of a program's name and version.
pub const SOFTWARE_BYTES_MAX: usize = 64;

/// Bytes of a BCP 47 language code (RFC 5646, section 4.4.1: 35 letters suffice for every registered one).
pub const LANGUAGE_BYTES_MAX: usize = 35;

/// Names of one unit: a country's official languages, the working languages, and room to spare.
pub const UNIT_NAMES_MAX: usize = 16;

/// Bytes of a unit's or agency's name: eighty characters of three bytes.
pub const UNIT_NAME_BYTES_MAX: usize = 256;

/// Channels of one unit: more would be a list that nobody tries to the end.
pub const CHANNELS_MAX: usize = 16;

/// Bytes of a channel's number or address: the longest e-mail address has 254.
pub const CHANNEL_VALUE_BYTES_MAX: usize = 256;

/// Bytes of a channel's note: two sentences.
pub const CHANNEL_NOTE_BYTES_MAX: usize = 512;

/// Languages that one unit or duty officer answers in.
pub const LANGUAGES_MAX: usize = 32;

/// Competences of one unit: six tasks, each performed or facilitated.
pub const COMPETENCES_MAX: usize = 12;

/// Bytes of a duty role: a role is two or three words and never a name.
pub const ROLE_BYTES_MAX: usize = 96;

/// Bytes of an IANA time zone name: the longest today has 32.
pub const TIME_ZONE_BYTES_MAX: usize = 64;

/// How long what a member's clock said counts: repairs ask at least three members within it.
pub const CLOCK_WITNESS_AGE: Duration = Duration::from_secs(3_600);

/// Signatures of one chain header: the node key's, and its second one of a post-quantum algorithm.
pub const HEADER_SIGNATURES_MAX: usize = 2;

/// Bytes of a chain header's keys and signatures: Ed25519, and ML-DSA-44 (FIPS 204: 1,312 and 2,420), the
/// smallest of its kind. No more, since anybody can wrap a header anew and everybody keeps it for ever.
pub const HEADER_SIGNATURES_BYTES_MAX: usize = 4 * 1024;

/// Bodies kept of one chain, the newest included: what a person needs to see of recent changes.
pub const BODIES_PER_CHAIN_MAX: usize = 5;

/// A header issued further than this after the reader's clock is marked *future*.
pub const FUTURE_TOLERANCE: Duration = CLOCK_SKEW_MAX;

/// Bearers whose pending documents are kept: every connected node, and this node itself.
pub const PENDING_BEARERS_MAX: usize = CONNECTED_NODES_MAX + 1;

/// Ids in one fetch, give or chain answer: 2,048 headers of about 470 bytes fill [`REPAIR_BYTES_MAX`].
pub const REPAIR_IDS_MAX: usize = 2_048;

/// Chains named in one chain request: both chains of two nodes of every member.
pub const REPAIR_CHAINS_MAX: usize = 1_024;

/// Positions in one answer: 4,096 of about 150 bytes stay under [`REPAIR_BYTES_MAX`].
pub const POSITIONS_MAX: usize = 4_096;

/// Pages of positions that one repair asks for of a kind: what lies beyond is left to later repairs.
pub const POSITION_PAGES_MAX: usize = 4;

/// Exchanges of one repair: a lying peer cannot keep a repair going; what is left is for the next.
pub const REPAIR_ROUNDS_MAX: usize = 64;

/// Bytes that one repair takes in and gives: a year's headers of a hundred chains.
pub const REPAIR_SESSION_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Pushed documents of one signing key that are refused within [`PUSH_INTERVAL`] before they count against the
/// member's node that brings them: an officer who publishes again and again stays below it.
pub const PUSH_EXCESS_MAX: u32 = 16;

/// Ids that one repair gives: about what [`REPAIR_SESSION_BYTES_MAX`] holds of headers.
pub const REPAIR_GIVEN_IDS_MAX: usize = 32 * 1024;

/// Signing keys whose push allowance is remembered: every root and node key of a full federation.
pub const PUSH_KEYS_MAX: usize = MEMBERS_MAX * (NODES_PER_MEMBER_MAX + 1);

/// Chains whose last pushed fork proof is remembered: one for each chain of a full federation.
pub const PUSH_FORKS_MAX: usize = MEMBERS_MAX * NODES_PER_MEMBER_MAX * 2;

/// Peers whose faults are remembered: those connected, and as many that were.
pub const FAULT_PEERS_MAX: usize = 2 * CONNECTED_NODES_MAX;

/// The interval in which faults are summed up: one line in the log for each peer and rule.
pub const FAULT_INTERVAL: Duration = Duration::from_secs(60);

/// Faults of one peer in an interval at which it is cut off. Honest nodes hand on what they verified; one of an
/// older version might hand over a few documents that a newer one refuses, with every repair.
pub const FAULTS_PER_INTERVAL_MAX: u64 = 256;

/// Rules counted for one peer: more than VALIDATION.md lists for any one document kind.
pub const FAULT_RULES_MAX: usize = 64;

const _: () = assert!(INTRODUCTION_SLICE_BYTES < INTRODUCTION_FRAME_BYTES_MAX);
const _: () = assert!(CHARTER_BYTES_MAX * 2 < INTRODUCTION_BYTES_MAX);
const _: () = assert!(MESSAGE_BODY_BYTES_MAX < PARCEL_BYTES_MAX);
const _: () = assert!(REPAIR_IDS_MAX * 32 < REPAIR_BYTES_MAX / 8);

/// Bytes of a head: its fields need about 300, sixteen charter tips the rest.
pub const HEAD_BYTES_MAX: usize = 1024;

/// Charter tips that a head names: as many as one merge can name.
pub const HEAD_TIPS_MAX: usize = CHARTER_PARENTS_MAX;

/// How often a node signs a head while what it holds changes: minutes are what an auditor asks for, and 196 nodes
/// together cost each of them a kilobyte a second.
pub const HEAD_INTERVAL: Duration = Duration::from_secs(300);

/// How often at rest: that a node is silent is known within two hours, for a few bytes a second.
pub const HEAD_REST_INTERVAL: Duration = Duration::from_secs(3_600);

/// How long after a start the first head waits: the first repairs are done by then.
pub const HEAD_SETTLE: Duration = Duration::from_secs(20);

/// After this without a head a node is silent: one hourly head may be lost, with a quarter of an hour to spare.
pub const HEAD_SILENCE: Duration = Duration::from_secs(2 * 3_600 + 900);

/// Heads kept of each node, so that one that comes late is compared with its neighbours: twenty minutes of change.
pub const HEADS_KEPT_PER_NODE: usize = 4;

/// Nodes whose heads are kept: every member's, several each.
pub const HEARD_NODES_MAX: usize = 1_024;

/// Own digests that are remembered, to tell who is behind: two weeks of a change every five minutes.
pub const HEAD_HISTORY_MAX: usize = 4_096;

/// Faults of a bundle that are told one by one: enough to see what kind of damage it is, and one screen.
pub const AUDIT_FAULTS_SHOWN_MAX: usize = 32;

/// Gaps of one chain that are told one by one; a chain has at most half as many as it has headers.
pub const AUDIT_GAPS_SHOWN_MAX: usize = 64;

/// Bytes of a journal's checkpoint: about 450 with the longest names, and room for what a later version adds.
pub const CHECKPOINT_BYTES_MAX: usize = 1024;

/// Hashes of a consistency proof to a witness: what any two sizes below 2^63 ask for.
pub const WITNESS_PROOF_MAX: usize = 64;

/// Bytes of a request to cosign, or of its answer: a checkpoint and the longest proof.
pub const WITNESS_FRAME_BYTES_MAX: usize = 4096;

/// How many members' nodes are to cosign each checkpoint: one may be in league with the asker, and one away.
pub const WITNESSES_WANTED: usize = 3;

/// How often a node has its journal cosigned: between which hours something was journalled is then known.
pub const WITNESS_INTERVAL: Duration = Duration::from_secs(3_600);

/// How soon again after fewer than [`WITNESSES_WANTED`] cosigned.
pub const WITNESS_RETRY: Duration = Duration::from_secs(600);

/// How long after a start the first request waits: connections are up, and the records of the start are journalled.
pub const WITNESS_SETTLE: Duration = Duration::from_secs(60);

/// Nodes asked in one round, those that do not cosign included.
pub const WITNESS_ASKS_MAX: usize = 2 * WITNESSES_WANTED;

/// Requests of one node that a witness looks at in a row: a round, one that is answered with what is held, and an
/// operator who asks again.
pub const WITNESS_BURST: u32 = 8;

/// How long earns a node one more.
pub const WITNESS_EARNED: Duration = Duration::from_secs(60);

/// Ended journals of one node whose last checkpoint a witness keeps: a node is restored once in years.
pub const WITNESS_ENDED_MAX: usize = 4;

/// Documents of one import that its journal entry names: a charter version, a key set and what they stand on, many times
/// over; an entry stays a short row.
pub const IMPORTED_IDS_MAX: usize = 32;
