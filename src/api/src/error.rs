//! Errors as HTTP: the only place that knows status codes. `error/domain.rs` is the table of the domain crates'
//! errors.

mod device;
mod domain;
mod keys;

pub(crate) use self::keys::errcode_of;

use std::{borrow::Cow, time::Duration};

use auth::Challenge;
use axum::body::Body;
use bytes::BytesMut;
use http::{HeaderValue, StatusCode, header};
use ruma_common::api::{
    OutgoingResponseExt as _,
    error::{
        DeserializationError, Error as MatrixError, ErrorBody, ErrorKind, FromHttpRequestError,
        LimitExceededErrorData, RetryAfter, StandardErrorBody, UnknownTokenErrorData,
    },
};

/// The most characters of a parser's message that a client gets back: it may quote the client's own text.
const MAX_MESSAGE: usize = 256;

/// The body of 401 `M_USER_LOCKED`.
const LOCKED: &str =
    r#"{"errcode":"M_USER_LOCKED","error":"This account is locked","soft_logout":true}"#;

/// ruma has no name for it.
const INVALID_SIGNATURE: &str = "M_INVALID_SIGNATURE";

/// Why a request is not answered with success.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
enum Inner {
    Matrix {
        status: StatusCode,
        kind: ErrorKind,
        message: Cow<'static, str>,
    },
    /// "The homeserver returns an HTTP 401 response with […] flows": more stages are needed.
    Interactive(Box<Challenge>),
    /// The account is locked; ruma has no `soft_logout` for this code.
    Locked,
}

impl Error {
    /// An error with everything chosen by the caller; the functions below have names for most.
    fn new(status: StatusCode, kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner::Matrix {
            status,
            kind,
            message: message.into(),
        }))
    }

    fn bad_request(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, kind, message)
    }

    /// The body is not JSON in UTF-8.
    pub(crate) fn not_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::NotJson, message)
    }

    /// The body is JSON, but not as the endpoint needs it.
    pub(crate) fn bad_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::BadJson, message)
    }

    /// Something required is absent.
    pub(crate) fn missing_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::MissingParam, message)
    }

    /// A parameter of path or query has a value that cannot be.
    pub(crate) fn invalid_param(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::InvalidParam, message)
    }

    /// Not allowed.
    pub(crate) fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, ErrorKind::Forbidden, message)
    }

    /// There is no such thing, or the asker may not know of it.
    pub(crate) fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorKind::NotFound, message)
    }

    /// "The server did not understand the request. This is expected to be returned with a 404 HTTP status code if the
    /// endpoint is not implemented."
    pub(crate) fn unknown_endpoint() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            ErrorKind::Unrecognized,
            "Unrecognized request",
        )
    }

    /// "Or a 405 HTTP status code if the endpoint is implemented, but the incorrect HTTP method is used."
    pub(crate) fn wrong_method() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            ErrorKind::Unrecognized,
            "Unrecognized request",
        )
    }

    /// "No access token was specified for the request."
    pub(crate) fn missing_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::MissingToken,
            "Missing access token",
        )
    }

    /// "The access or refresh token specified was not recognised."
    pub(crate) fn unknown_token() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            ErrorKind::UnknownToken(UnknownTokenErrorData::new()),
            "Unknown access token",
        )
    }

    /// Something is larger than it may be.
    pub(crate) fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, ErrorKind::TooLarge, message)
    }

    /// "M_UNKNOWN: An unknown error has occurred": a bad request for which there is no better code.
    pub(crate) fn unknown(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(ErrorKind::Unknown, message)
    }

    /// "When a locked account is used, servers MUST respond with 401 M_USER_LOCKED with `soft_logout` set to true."
    fn locked() -> Self {
        Self(Box::new(Inner::Locked))
    }

    /// "M_THREEPID_MEDIUM_NOT_SUPPORTED: The homeserver does not support adding a third party identifier of the given
    /// medium": it has no identity server that could find somebody by one.
    pub(crate) fn no_third_party_invites() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ErrorKind::ThreepidMediumNotSupported,
            "This server cannot invite by third-party identifiers",
        )
    }

    /// "M_GUEST_ACCESS_FORBIDDEN: The room or resource does not permit guests to access it."
    pub(crate) fn no_guests(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ErrorKind::GuestAccessForbidden,
            message,
        )
    }

    /// "403 Forbidden error response with `M_USER_SUSPENDED` as the error code".
    pub(crate) fn suspended() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            ErrorKind::UserSuspended,
            "You cannot perform this action while suspended.",
        )
    }

    /// "HTTP 429 […] The response SHOULD include a `Retry-After` header": done too often.
    fn too_many_requests(retry_after: Duration) -> Self {
        let mut data = LimitExceededErrorData::new();
        data.retry_after = Some(RetryAfter::Delay(retry_after));
        let kind = ErrorKind::LimitExceeded(data);
        Self::new(StatusCode::TOO_MANY_REQUESTS, kind, "Too many requests")
    }

    /// The URL is longer than any endpoint needs.
    pub(crate) fn url_too_long() -> Self {
        Self::new(
            StatusCode::URI_TOO_LONG,
            ErrorKind::TooLarge,
            "The URL is too long",
        )
    }

    /// The body is compressed.
    pub(crate) fn compressed() -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ErrorKind::Unrecognized,
            "Compressed request bodies are not supported",
        )
    }

    /// The body did not come in time.
    pub(crate) fn timeout() -> Self {
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            ErrorKind::Unknown,
            "The request body did not arrive in time",
        )
    }

    /// Our fault. What it was has been logged by the caller of this function; the client learns nothing of it.
    pub(crate) fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            ErrorKind::Unknown,
            "Internal server error",
        )
    }

    /// "M_INVALID_SIGNATURE: For example, the self-signing or user-signing key had an incorrect signature."
    fn invalid_signature(message: impl Into<Cow<'static, str>>) -> Self {
        Self::bad_request(custom(INVALID_SIGNATURE), message)
    }

    /// The answer as HTTP.
    pub(crate) fn into_response(self) -> http::Response<Body> {
        let (status, body) = match *self.0 {
            Inner::Matrix {
                status,
                kind,
                message,
            } => {
                let body = StandardErrorBody::new(kind, message.into_owned());
                let error = MatrixError::new(status, ErrorBody::Standard(body));
                match error.try_into_http_response::<BytesMut>() {
                    Ok(response) => return response.map(|bytes| Body::from(bytes.freeze())),
                    Err(error) => {
                        tracing::error!(%error, "an error could not be written as JSON");
                        (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
                    }
                }
            }
            Inner::Interactive(challenge) => (
                StatusCode::UNAUTHORIZED,
                serde_json::to_vec(&challenge).unwrap_or_default(),
            ),
            Inner::Locked => (StatusCode::UNAUTHORIZED, LOCKED.as_bytes().to_vec()),
        };
        let mut response = http::Response::new(Body::from(body));
        *response.status_mut() = status;
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        response
    }
}

/// What ruma could not read.
impl From<FromHttpRequestError> for Error {
    fn from(error: FromHttpRequestError) -> Self {
        match error {
            FromHttpRequestError::Deserialization(error) => error.into(),
            // The router matched the method already.
            FromHttpRequestError::MethodMismatch { .. } | _ => Self::wrong_method(),
        }
    }
}

impl From<DeserializationError> for Error {
    fn from(error: DeserializationError) -> Self {
        let mut message = bounded(error.to_string());
        // Serde tells of a type of ruma's here, and nothing of the body.
        if message.starts_with("data did not match any variant") {
            "The body has not the fields that it needs, or one of them is malformed"
                .clone_into(&mut message);
        }
        // "M_MISSING_PARAM: A required parameter was missing from the request." Serde has no code for it.
        if message.starts_with("missing field") {
            return Self::missing_param(message);
        }
        match error {
            // "M_NOT_JSON: Request did not contain valid JSON."
            DeserializationError::Json(error) if !error.is_data() => Self::not_json(message),
            DeserializationError::Utf8(_) => Self::not_json(message),
            // "M_BAD_JSON: Request contained valid JSON, but it was malformed in some way."
            DeserializationError::Json(_) => Self::bad_json(message),
            // "M_INVALID_PARAM: A parameter that was specified has the wrong value."
            _ => Self::invalid_param(message),
        }
    }
}

/// An errcode that ruma does not name.
fn custom(errcode: &str) -> ErrorKind {
    let kind = serde_json::from_value(serde_json::json!({ "errcode": errcode }));
    kind.expect("an errcode alone is an error kind")
}

fn bounded(message: String) -> String {
    if message.len() > MAX_MESSAGE {
        message.chars().take(MAX_MESSAGE).collect()
    } else {
        message
    }
}
