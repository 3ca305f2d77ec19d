//! The services that `ringsock serve` runs on the engine, and the metrics and health endpoints for its operator.

mod admin;
#[cfg(feature = "services")]
mod api;
#[cfg(feature = "services")]
pub mod auth;
#[cfg(feature = "services")]
mod cross_origin;
#[cfg(feature = "services")]
mod desk;
#[cfg(feature = "services")]
mod entrance;
mod health;
#[cfg(feature = "services")]
pub mod hooks;
#[cfg(feature = "services")]
mod mail;
mod methods;
mod metrics;
#[cfg(feature = "services")]
mod page;
mod process;
mod query;
#[cfg(feature = "services")]
mod router;
#[cfg(feature = "services")]
mod settings;
#[cfg(feature = "services")]
mod topics;
#[cfg(feature = "services")]
mod wall_clock;

pub use admin::Admin;
#[cfg(feature = "services")]
pub use api::ApiAccess;
#[cfg(feature = "services")]
pub use cross_origin::CrossOrigin;
#[cfg(feature = "services")]
pub use mail::ServiceMail;
pub use metrics::Metrics;
pub(crate) use metrics::{ExtraCounter, ExtraGauge, Extras};
#[cfg(feature = "services")]
pub use router::Router;
#[cfg(feature = "services")]
pub use settings::ServiceSettings;
#[cfg(feature = "services")]
pub use topics::{InvalidOverflow, OverflowRules};
