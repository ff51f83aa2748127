//! Who asks. The endpoint's declared authentication decides which type a handler gets.

use std::net::IpAddr;

use auth::Requester;
use ruma_common::{
    UserId,
    api::auth_scheme::{
        AccessToken, AccessTokenOptional, AppserviceTokenOptional, AuthScheme, NoAccessToken,
        NoAuthentication, extract_bearer_or_query_token,
    },
};

use crate::{Error, Result, Services};

/// An authentication scheme of ruma's, and who it lets in.
pub(crate) trait Authenticate: AuthScheme {
    /// Nobody is let in without an access token.
    const NEEDS_TOKEN: bool = false;
    /// What a request shows.
    type Shown: Send;
    /// What the handler learns about who asks.
    type Identity: Send + 'static;

    /// Looks at the head of a request.
    fn shown<T>(request: &http::Request<T>) -> Result<Self::Shown>;

    /// Finds out who it is.
    fn identify(
        services: &Services,
        shown: Self::Shown,
        address: IpAddr,
    ) -> impl Future<Output = Result<Self::Identity>> + Send;

    /// The user, if a user it is.
    fn user(identity: &Self::Identity) -> Option<&UserId>;

    /// Whether it is a guest.
    fn is_guest(identity: &Self::Identity) -> bool;
}

macro_rules! anybody {
    ($($scheme:ty),*) => {$(
        impl Authenticate for $scheme {
            type Shown = ();
            type Identity = ();

            fn shown<T>(_: &http::Request<T>) -> Result<()> {
                Ok(())
            }

            async fn identify(_: &Services, (): (), _: IpAddr) -> Result<()> {
                Ok(())
            }

            fn user((): &()) -> Option<&UserId> {
                None
            }

            fn is_guest((): &()) -> bool {
                false
            }
        }
    )*};
}

// A token of an application service says nothing yet: there are none.
anybody!(NoAuthentication, NoAccessToken, AppserviceTokenOptional);

impl Authenticate for AccessToken {
    const NEEDS_TOKEN: bool = true;
    type Shown = Shown;
    type Identity = Requester;

    fn shown<T>(request: &http::Request<T>) -> Result<Shown> {
        Ok(Shown {
            token: token(request)?.ok_or_else(Error::missing_token)?,
            logs_out: logs_out(request.uri().path()),
        })
    }

    async fn identify(services: &Services, shown: Shown, address: IpAddr) -> Result<Requester> {
        if shown.logs_out {
            return Ok(services.auth.requester_to_log_out(&shown.token).await?);
        }
        requester(services, &shown.token, address).await
    }

    fn user(requester: &Requester) -> Option<&UserId> {
        Some(&requester.user_id)
    }

    fn is_guest(requester: &Requester) -> bool {
        requester.is_guest
    }
}

/// An access token, and whether it is about to end.
pub(crate) struct Shown {
    token: String,
    logs_out: bool,
}

/// Account locking spares `POST /logout` and `POST /logout/all`: who is locked may still leave. The whole path is
/// compared, since the end of a path can be a name that a user chose.
fn logs_out(path: &str) -> bool {
    let rest = ["/_matrix/client/v3/", "/_matrix/client/r0/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix));
    matches!(rest, Some("logout" | "logout/all"))
}

impl Authenticate for AccessTokenOptional {
    type Shown = Option<String>;
    type Identity = Option<Requester>;

    fn shown<T>(request: &http::Request<T>) -> Result<Option<String>> {
        token(request)
    }

    async fn identify(
        services: &Services,
        token: Option<String>,
        address: IpAddr,
    ) -> Result<Option<Requester>> {
        match token {
            Some(token) => requester(services, &token, address).await.map(Some),
            None => Ok(None),
        }
    }

    fn user(requester: &Option<Requester>) -> Option<&UserId> {
        requester.as_ref().map(|requester| &*requester.user_id)
    }

    fn is_guest(requester: &Option<Requester>) -> bool {
        requester
            .as_ref()
            .is_some_and(|requester| requester.is_guest)
    }
}

fn token<T>(request: &http::Request<T>) -> Result<Option<String>> {
    // Another scheme, or bytes that no token has.
    extract_bearer_or_query_token(request).map_err(|_| Error::missing_token())
}

async fn requester(services: &Services, token: &str, address: IpAddr) -> Result<Requester> {
    let requester = services.auth.requester(token).await?;
    services.auth.seen(&requester, address);
    Ok(requester)
}
