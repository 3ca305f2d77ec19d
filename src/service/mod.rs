//! The services that `ringsock serve` runs on the engine, and the metrics and health endpoints for its operator.

mod admin;
mod api;
pub mod auth;
mod cross_origin;
mod health;
mod methods;
mod metrics;
mod page;
mod process;
mod query;
mod router;
mod settings;
mod topics;

pub use admin::Admin;
pub use api::ApiAccess;
pub use cross_origin::CrossOrigin;
pub(crate) use metrics::ExtraCounter;
pub use metrics::Metrics;
pub use router::Router;
pub use settings::ServiceSettings;
pub use topics::{InvalidOverflow, OverflowRules};
