//! What `ringsock serve` offers on its engine, and what it tells of itself to whoever runs it.

mod admin;
mod api;
mod health;
mod metrics;
mod page;
mod process;
mod query;
mod site;
mod topics;

pub use admin::Admin;
pub use api::ApiAccess;
pub use metrics::Metrics;
pub use site::Site;
pub use topics::{InvalidOverflow, OverflowRules};
