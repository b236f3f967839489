//! What is in the binary, by name.

use oblivia_protocol::System;

/// Every system of this build. A new system is a folder and a line here.
pub static SYSTEMS: &[&dyn System] =
    &[&crate::leveled::Leveled, &crate::hybrid::Hybrid, &crate::clear::Clear];

/// The system of an id.
pub fn find(id: &str) -> Option<&'static dyn System> {
    SYSTEMS.iter().copied().find(|s| s.id() == id)
}
