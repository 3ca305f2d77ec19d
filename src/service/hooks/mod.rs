//! Hooks: a backend that decides over HTTP who may connect, subscribe and publish, and that is told what happens.
//!
//! Owns when the backend is asked, what it is asked, and what holds when it does not answer. Never lets a core wait.
//! Only `calls` and `courier` make calls, on the thread of `outbound`, and only they and `attendance` read a clock.

mod answer;
mod attendance;
mod backend_desk;
mod breaker;
mod calls;
mod courier;
mod fact;
mod fact_queue;
mod facts;
mod fallback;
mod metrics;
mod occupancy;
mod point;
mod question;
mod rules;
mod settings;
mod signature;

pub use answer::{ANSWER_BYTES_MAX, Denied, InvalidAnswer, REASON_BYTES_MAX, Verdict};
pub(in crate::service) use attendance::Attendance;
pub(in crate::service) use backend_desk::{Asked, BackendDesk};
pub use breaker::{Breaker, BreakerLimits, Call, NotCalled, Outcome, State};
pub use calls::Hooks;
pub use courier::{Courier, CurrentRules};
pub use fact::{About, Departure, Fact, FactKind, FactKinds};
pub use fact_queue::{BATCH_MAX, Batch, FactCounts, FactQueue, Numbered, Step};
pub use facts::Facts;
pub use fallback::{Decision, Fallback, Verdicts};
pub use metrics::HookMetrics;
pub use occupancy::Occupancy;
pub use point::{CALL_ENDS, FALLBACKS, Pass, Point, PointCounts, PointRules, REJECTIONS, Ruling};
pub use question::{Asker, Event, Held, Question, Visit};
pub use rules::{HookFault, HookRules};
pub use settings::{DecidingHook, FallbackChoice, HeaderNames, HookSettings, WrittenSecret};
pub use signature::{InvalidSecret, SigningSecret, sign};
