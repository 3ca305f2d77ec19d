//! What `ringsock serve` offers on its engine, and what it tells of itself to whoever runs it.

mod admin;
mod api;
mod cross_origin;
mod health;
mod methods;
mod metrics;
mod page;
mod process;
mod query;
mod site;
mod topics;

pub use admin::Admin;
pub use api::ApiAccess;
pub use cross_origin::CrossOrigin;
pub use metrics::Metrics;
pub use site::Site;
pub use topics::{InvalidOverflow, OverflowRules};
