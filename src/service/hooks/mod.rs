//! Parts of hooks, by which a backend decides over HTTP: when it is asked, and how calls to it are signed.
//!
//! Never makes a call itself.

mod breaker;
mod fallback;
mod signature;

pub use breaker::{Breaker, BreakerLimits, Call, NotCalled, Outcome, State};
pub use fallback::{Decision, Fallback, Verdicts};
pub use signature::{InvalidSecret, SigningSecret, sign};
