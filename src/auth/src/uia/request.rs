//! A request with its `auth` taken out of the body.

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use storage::user::UserNumber;

use super::Operation;

/// `auth` is not what the specification describes (`M_BAD_JSON`, or `M_NOT_JSON` for the body).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuth {
    /// The body is not JSON (`M_NOT_JSON`).
    #[error("The body is not JSON")]
    NotJson,
    /// The body is not an object (`M_BAD_JSON`).
    #[error("The body is not a JSON object")]
    NotAnObject,
    /// `auth` is not an object (`M_BAD_JSON`).
    #[error("auth is not an object")]
    AuthNotAnObject,
    /// A field of `auth` is missing or has the wrong type (`M_BAD_JSON`).
    #[error("A field of auth is missing or has the wrong type")]
    Field,
}

/// A request to an endpoint with interactive authentication.
#[derive(Clone)]
pub struct UiaRequest {
    /// The body without `auth`.
    pub body: Map<String, Value>,
    pub(super) auth: Option<AuthDict>,
    method: String,
    path: String,
    body_hash: [u8; 32],
}

/// The `auth` of a request.
#[derive(Clone)]
pub(super) struct AuthDict {
    /// `type`
    pub stage: Option<String>,
    pub session: Option<String>,
    fields: Map<String, Value>,
}

/// Name and password of the stage `m.login.password`.
pub(super) struct Credentials {
    pub user: String,
    pub password: String,
}

impl UiaRequest {
    /// Takes `auth` out of a body; an empty body is an empty object. `path` is the path as the
    /// client sent it.
    pub fn new(method: &str, path: &str, body: &[u8]) -> Result<Self, BadAuth> {
        let body = if body.is_empty() { b"{}" } else { body };
        let body: Value = serde_json::from_slice(body).map_err(|_| BadAuth::NotJson)?;
        let Value::Object(mut body) = body else {
            return Err(BadAuth::NotAnObject);
        };
        // `null` is how some clients say that they have nothing to show yet.
        let auth = match body.remove("auth") {
            None | Some(Value::Null) => None,
            Some(Value::Object(fields)) => Some(AuthDict::new(fields)?),
            Some(_) => return Err(BadAuth::AuthNotAnObject),
        };
        // Keys of a map are sorted, so the same body in another order has the same hash.
        let text = serde_json::to_vec(&body).map_err(|_| BadAuth::NotJson)?;
        Ok(Self {
            body,
            auth,
            method: method.to_owned(),
            path: path.to_owned(),
            body_hash: Sha256::digest(text).into(),
        })
    }

    /// What a session is bound to.
    ///
    /// Registration binds no body: nothing has been allowed to anybody before its last stage, and
    /// clients ask for the flows with an empty body first.
    pub(crate) fn operation(&self, user: Option<UserNumber>) -> Operation {
        Operation {
            method: self.method.clone(),
            path: self.path.clone(),
            user,
            body_hash: user.map(|_| self.body_hash),
        }
    }
}

impl AuthDict {
    fn new(mut fields: Map<String, Value>) -> Result<Self, BadAuth> {
        Ok(Self {
            stage: take_text(&mut fields, "type")?,
            session: take_text(&mut fields, "session")?,
            fields,
        })
    }

    /// Name and password. The identifier is `identifier` or the deprecated `user`.
    pub(super) fn password(&self) -> Result<Credentials, BadAuth> {
        let user = match self.fields.get("identifier") {
            Some(identifier) => match identifier.get("type").and_then(Value::as_str) {
                Some("m.id.user") => identifier.get("user"),
                Some(_) => Some(&Value::Null),
                None => None,
            },
            None => self.fields.get("user"),
        };
        let user = match user {
            Some(Value::String(user)) => user.clone(),
            // Nobody is known by any other identifier, and no user id is empty.
            Some(Value::Null) => String::new(),
            _ => return Err(BadAuth::Field),
        };
        Ok(Credentials {
            user,
            password: self.text("password")?,
        })
    }

    /// The token of the stage `m.login.registration_token`.
    pub(super) fn token(&self) -> Result<String, BadAuth> {
        self.text("token")
    }

    fn text(&self, name: &str) -> Result<String, BadAuth> {
        match self.fields.get(name) {
            Some(Value::String(text)) => Ok(text.clone()),
            _ => Err(BadAuth::Field),
        }
    }
}

fn take_text(fields: &mut Map<String, Value>, name: &str) -> Result<Option<String>, BadAuth> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(BadAuth::Field),
    }
}

#[cfg(test)]
mod tests {
    use storage::user::UserNumber;

    use super::{BadAuth, UiaRequest};

    fn request(body: &str) -> UiaRequest {
        UiaRequest::new("POST", "/x", body.as_bytes()).unwrap()
    }

    #[test]
    fn the_same_body_is_the_same_operation_whatever_its_auth() {
        let user = Some(UserNumber(1));
        let first = request(r#"{"a":1,"b":2}"#).operation(user);
        let second = request(r#"{"b":2, "auth":{"type":"m.login.dummy"}, "a":1}"#);
        assert_eq!(first, second.operation(user));
        assert_ne!(first, request(r#"{"a":1,"b":3}"#).operation(user));
        assert_ne!(first, second.operation(Some(UserNumber(2))));
        assert_eq!(request("").operation(user), request("{}").operation(user));
    }

    #[test]
    fn malformed_auth_is_named() {
        let new = |body: &str| UiaRequest::new("POST", "/x", body.as_bytes()).err();
        assert_eq!(new("{"), Some(BadAuth::NotJson));
        assert_eq!(new("[]"), Some(BadAuth::NotAnObject));
        assert_eq!(new(r#"{"auth":3}"#), Some(BadAuth::AuthNotAnObject));
        assert_eq!(new(r#"{"auth":{"type":3}}"#), Some(BadAuth::Field));
        assert_eq!(new(r#"{"auth":{"session":[]}}"#), Some(BadAuth::Field));
        assert!(request(r#"{"auth":null}"#).auth.is_none());
        assert!(request(r#"{"auth":{}}"#).auth.unwrap().password().is_err());
    }
}
