//! The relay machine through its door: two or more nodes, a virtual clock, a network that loses and doubles, and
//! disks that keep exactly what was persisted.

mod bounds;
mod copies;
mod custody;
mod custody_faults;
mod custody_shares;
mod delivery;
mod drills;
mod faults;
mod recovery;
mod returned;
mod schedules;
mod statements;
mod vectors;
mod world;
