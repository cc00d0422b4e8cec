//! The commands as people and scripts run them: the real program against a node in memory.

mod card;
mod doctor;
mod drills;
mod looking;
mod messages;
mod program;
