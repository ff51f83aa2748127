//! What handlers return: ruma's response types, or JSON that a domain crate wrote already.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use ruma_common::api::{OutgoingResponse, OutgoingResponseExt as _};

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
