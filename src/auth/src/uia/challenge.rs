//! The body of the 401 answer.

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::Flow;

/// An authentication type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// `m.login.password`
    Password,
    /// `m.login.dummy`
    Dummy,
    /// `m.login.registration_token`
    RegistrationToken,
}

impl Stage {
    /// The name in `type`, in flows and in lists of completed stages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "m.login.password",
            Self::Dummy => "m.login.dummy",
            Self::RegistrationToken => "m.login.registration_token",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::Password, Self::Dummy, Self::RegistrationToken]
            .into_iter()
            .find(|stage| stage.as_str() == name)
    }
}

impl Serialize for Stage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// What a client must still do. It serialises to the body of the 401 answer.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// The flows among which the client chooses.
    pub flows: &'static [&'static [Stage]],
    /// To be sent with the next attempt.
    pub session: String,
    /// The stages completed so far.
    pub completed: Vec<Stage>,
    /// Why the last attempt failed: `errcode` and `error`.
    pub error: Option<(&'static str, &'static str)>,
}

impl Challenge {
    pub(super) fn new(
        flows: &'static [Flow],
        session: String,
        completed: Vec<Stage>,
        refusal: Option<Refusal>,
    ) -> Self {
        Self {
            flows,
            session,
            completed,
            error: refusal.map(|Refusal { errcode, error }| (errcode, error)),
        }
    }
}

impl Serialize for Challenge {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Stages {
            stages: &'static [Stage],
        }
        let flows: Vec<_> = self.flows.iter().map(|stages| Stages { stages }).collect();
        let mut body = serializer.serialize_map(None)?;
        body.serialize_entry("flows", &flows)?;
        // No stage has parameters yet.
        body.serialize_entry("params", &serde_json::Map::new())?;
        body.serialize_entry("session", &self.session)?;
        if !self.completed.is_empty() {
            body.serialize_entry("completed", &self.completed)?;
        }
        if let Some((errcode, error)) = self.error {
            body.serialize_entry("errcode", errcode)?;
            body.serialize_entry("error", error)?;
        }
        body.end()
    }
}

/// Why an attempt failed that may be made again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    errcode: &'static str,
    error: &'static str,
}

impl Refusal {
    /// Too old, completed, or of another operation: all the same to whoever asks.
    pub(crate) fn unknown_session() -> Self {
        Self {
            errcode: "M_FORBIDDEN",
            error: "The session is unknown or belongs to another operation",
        }
    }

    pub(crate) fn not_offered() -> Self {
        Self {
            errcode: "M_FORBIDDEN",
            error: "This stage is not offered here",
        }
    }

    pub(crate) fn wrong_password() -> Self {
        Self {
            errcode: "M_FORBIDDEN",
            error: "Invalid password",
        }
    }

    pub(crate) fn invalid_registration_token() -> Self {
        Self {
            errcode: "M_UNAUTHORIZED",
            error: "Invalid registration token",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Challenge, Refusal, Stage};

    #[test]
    fn a_challenge_is_the_body_of_the_specification() {
        let flows: &[&[Stage]] = &[&[Stage::Dummy], &[Stage::Password, Stage::Dummy]];
        let first = Challenge::new(flows, "xyz".to_owned(), Vec::new(), None);
        let flows_json = json!([
            { "stages": ["m.login.dummy"] },
            { "stages": ["m.login.password", "m.login.dummy"] },
        ]);
        assert_eq!(
            serde_json::to_value(first).unwrap(),
            json!({ "flows": flows_json, "params": {}, "session": "xyz" })
        );
        let completed = vec![Stage::Password];
        let refusal = Some(Refusal::wrong_password());
        let second = Challenge::new(flows, "xyz".to_owned(), completed, refusal);
        assert_eq!(
            serde_json::to_value(second).unwrap(),
            json!({
                "flows": flows_json,
                "params": {},
                "session": "xyz",
                "completed": ["m.login.password"],
                "errcode": "M_FORBIDDEN",
                "error": "Invalid password",
            })
        );
    }
}
