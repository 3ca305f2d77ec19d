//! What `ringsock serve` offers on its engine.

mod site;

pub use site::Site;
