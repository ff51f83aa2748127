//! What is said with a kick or a ban.

use ruma_common::{CanonicalJsonObject, CanonicalJsonValue};

/// `POST /rooms/{roomId}/kick` and `/ban`
#[derive(Clone, Debug, Default)]
pub struct Removal {
    /// "The reason the user has been kicked" or banned.
    pub reason: Option<String>,
    /// MSC4293: all that the user sent is redacted. Under the name that the client used.
    pub redact_events: Option<&'static str>,
}

impl Removal {
    pub(super) fn content(&self) -> CanonicalJsonObject {
        let flag = self.redact_events.iter();
        flag.map(|name| ((*name).to_owned(), CanonicalJsonValue::Bool(true)))
            .collect()
    }
}

impl From<Option<String>> for Removal {
    fn from(reason: Option<String>) -> Self {
        Self {
            reason,
            redact_events: None,
        }
    }
}
