//! The settings of the services, which a reload replaces for all cores at once.

use std::sync::Arc;

use super::api::ApiAccess;
use super::auth::AccessRules;
use super::cross_origin::CrossOrigin;
use super::hooks::HookRules;
use super::topics::OverflowRules;

/// The settings of the services of one server. Each request is answered by the settings in force when it comes; a
/// session keeps what it was given then.
#[derive(Clone, Debug, Default)]
pub struct ServiceSettings {
    /// Policies for messages that a subscriber cannot take.
    pub overflow: OverflowRules,
    /// The clients that may publish over HTTP.
    pub api: ApiAccess,
    /// The origins whose pages may use the API.
    pub api_origins: CrossOrigin,
    /// The subprotocols that the server supports.
    pub subprotocols: Vec<String>,
    /// The rules of access; `None` lets everybody in.
    pub access: Option<Arc<AccessRules>>,
    /// The rules of hooks; `None` without hooks. With a hook that decides there are rules of access, too.
    pub hooks: Option<Arc<HookRules>>,
}
