//! Who asks. The endpoint's declared authentication decides which type a handler gets.

use http::request::Parts;
use ruma_common::api::auth_scheme::{
    AccessTokenOptional, AppserviceTokenOptional, AuthScheme, NoAccessToken, NoAuthentication,
};

use crate::{Result, Services};

/// An authentication scheme of ruma's, and who it lets in.
pub(crate) trait Authenticate: AuthScheme {
    /// What the handler learns about who asks.
    type Identity: Send + 'static;

    /// Looks at the head of a request.
    fn identify(
        services: &Services,
        head: &Parts,
    ) -> impl Future<Output = Result<Self::Identity>> + Send;
}

macro_rules! anybody {
    ($($scheme:ty),*) => {$(
        impl Authenticate for $scheme {
            type Identity = ();

            async fn identify(_: &Services, _: &Parts) -> Result<()> {
                Ok(())
            }
        }
    )*};
}

anybody!(
    NoAuthentication,
    NoAccessToken,
    AppserviceTokenOptional,
    AccessTokenOptional
);
