//! Floor 6: HTTP. Requests in, one call to a domain crate, answers out.
//!
//! Nothing is decided here and no table is opened: a handler translates. [`routes`] lists every path that is
//! served; [`error`] is the only place that knows status codes.
//!
//! | module | owns |
//! |---|---|
//! | [`mod@router`] | the route tables, the axum router made from them |
//! | `endpoint` | a ruma endpoint and its handler, with their types erased |
//! | `extract` | bodies with limits, path parameters, [`Args`] |
//! | `json` | what every JSON body must be before ruma sees it |
//! | `identity` | who asks, by the endpoint's declared authentication |
//! | `answer` | what handlers return |
//! | [`error`] | domain errors -> status and errcode |
//! | `layer` | what holds for every request: span, CORS, panics, length of the URL |
//! | `unread` | what is left of a body when its request is answered |
//! | `address` | the client's address behind trusted proxies |
//! | `client` | handlers, named after ruma's modules |

mod address;
mod answer;
mod client;
mod endpoint;
pub mod error;
mod extract;
mod identity;
mod json;
mod layer;
pub mod router;
mod services;
mod unread;

pub use address::Peer;
pub use error::Error;
pub(crate) use extract::Args;
pub use layer::layered;
pub use router::{Route, router, routes};
pub use services::Services;

/// The result of a handler.
pub type Result<T, E = Error> = std::result::Result<T, E>;
