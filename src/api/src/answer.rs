//! What handlers return: ruma's response types, or JSON that a domain crate wrote already.

use std::collections::BTreeMap;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use ruma_common::api::{OutgoingResponse, OutgoingResponseExt as _};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Error, Result};

/// JSON that was written elsewhere, sent as it is with status 200.
pub(crate) struct Json(pub Bytes);

/// Something that becomes an HTTP response.
pub(crate) trait Answer: Send {
    /// The response.
    fn into_response(self) -> Result<http::Response<Body>>;
}

impl<T: OutgoingResponse + Send> Answer for T {
    fn into_response(self) -> Result<http::Response<Body>> {
        match self.try_into_http_response::<BytesMut>() {
            Ok(response) => Ok(response.map(|bytes| Body::from(bytes.freeze()))),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                Err(Error::internal())
            }
        }
    }
}

impl Answer for Json {
    fn into_response(self) -> Result<http::Response<Body>> {
        let mut response = http::Response::new(Body::from(self.0));
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        Ok(response)
    }
}

impl Json {
    /// A value of this crate's making.
    pub(crate) fn of(value: &impl Serialize) -> Result<Self> {
        match serde_json::to_vec(value) {
            Ok(text) => Ok(Self(Bytes::from(text))),
            Err(error) => {
                tracing::error!(%error, "an answer could not be written");
                Err(Error::internal())
            }
        }
    }

    /// An object of these fields.
    pub(crate) fn object(fields: impl IntoIterator<Item = (String, Box<RawValue>)>) -> Self {
        let fields: BTreeMap<String, Box<RawValue>> = fields.into_iter().collect();
        let text = serde_json::to_vec(&fields).expect("text keys and raw JSON serialise");
        Self(Bytes::from(text))
    }
}

impl From<Box<RawValue>> for Json {
    fn from(value: Box<RawValue>) -> Self {
        Self(Bytes::from(String::from(Box::<str>::from(value))))
    }
}

/// A body that has been checked, as JSON for a domain crate.
pub(crate) fn raw(body: &[u8]) -> Result<&RawValue> {
    serde_json::from_slice(body).map_err(|_| Error::not_json("The request body is not JSON"))
}
