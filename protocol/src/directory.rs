//! The directory: the chains that nodes publish, and the view computed from them.

pub mod header;
pub mod node_record;
pub mod reference_point;
