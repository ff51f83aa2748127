//! Files: upload, download, thumbnails. The deprecated endpoints are those of ruma's module `media`, the others of
//! `authenticated_media`.

#![expect(
    deprecated,
    reason = "the old endpoints are served where the operator wants them"
)]

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::{HeaderName, HeaderValue, Response, header};
use js_int::UInt;
use media::{
    Access, Download, MediaId, Method, SECURITY_HEADERS, ThumbnailRequest, Upload, UploadError,
};
use ruma_client_api::{
    authenticated_media::{
        get_content, get_content_as_filename, get_content_thumbnail, get_media_config,
        get_media_preview,
    },
    media as legacy,
};
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedServerName, media as ruma};

use crate::{
    Args, Error, Result, Services,
    answer::{Answer, Json},
    extract::Unread,
};

/// A file of the largest size comes within this at 90 kB a second; from first to last byte, not for each read.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(600);

/// What an address names does not change. Nobody but the client that asked keeps it.
const CACHE: HeaderValue = HeaderValue::from_static("private, max-age=86400, immutable");

/// POST /_matrix/media/v3/upload
pub(crate) async fn upload(
    services: Arc<Services>,
    args: Args<legacy::create_content::v3::Request>,
    mut body: Unread,
) -> Result<legacy::create_content::v3::Response> {
    let upload = Upload {
        content_type: args.request.content_type,
        file_name: args.request.filename,
        uploader: args.requester.user,
        declared_size: body.declared_size(),
    };
    let uri = in_time(services.media.upload(body.stream(), upload)).await?;
    Ok(legacy::create_content::v3::Response::new(uri))
}

/// POST /_matrix/media/v1/create
pub(crate) async fn create(
    services: Arc<Services>,
    args: Args<legacy::create_mxc_uri::v1::Request>,
) -> Result<legacy::create_mxc_uri::v1::Response> {
    let created = services.media.create(args.requester.user).await?;
    let mut response = legacy::create_mxc_uri::v1::Response::new(created.uri);
    let expires = UInt::new_saturating(created.expires_ms);
    response.unused_expires_at = Some(MilliSecondsSinceUnixEpoch(expires));
    Ok(response)
}

/// PUT /_matrix/media/v3/upload/{serverName}/{mediaId}
pub(crate) async fn upload_to(
    services: Arc<Services>,
    args: Args<legacy::create_content_async::v3::Request>,
    mut body: Unread,
) -> Result<Json> {
    let id = media_id(&args.request.media_id)?;
    let upload = Upload {
        content_type: args.request.content_type,
        file_name: args.request.filename,
        uploader: args.requester.user,
        declared_size: body.declared_size(),
    };
    let to = (&*args.request.server_name, id);
    in_time(services.media.upload_to(to, body.stream(), upload)).await?;
    Ok(Json::object([]))
}

async fn in_time<T>(uploading: impl Future<Output = Result<T, UploadError>>) -> Result<T> {
    match tokio::time::timeout(UPLOAD_TIMEOUT, uploading).await {
        Ok(uploaded) => Ok(uploaded?),
        Err(_) => Err(Error::timeout()),
    }
}

/// GET /_matrix/client/v1/media/config
pub(crate) async fn config(
    services: Arc<Services>,
    _: Args<get_media_config::v1::Request>,
) -> Result<get_media_config::v1::Response> {
    Ok(get_media_config::v1::Response::new(upload_size(&services)))
}

/// GET /_matrix/client/v1/media/preview_url
pub(crate) async fn preview(
    services: Arc<Services>,
    args: Args<get_media_preview::v1::Request>,
) -> Result<Json> {
    Ok(Json(
        services.media.preview(&args.request.url).await?.into(),
    ))
}

/// GET /_matrix/media/v3/preview_url: it needs a token, so it is served even where the other old endpoints are not.
pub(crate) async fn legacy_preview(
    services: Arc<Services>,
    args: Args<legacy::get_media_preview::v3::Request>,
) -> Result<Json> {
    Ok(Json(
        services.media.preview(&args.request.url).await?.into(),
    ))
}

/// GET /_matrix/client/v1/media/download/{serverName}/{mediaId}
pub(crate) async fn download(
    services: Arc<Services>,
    args: Args<get_content::v1::Request>,
) -> Result<Content> {
    let request = args.request;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    download_by(&services, Access::Authenticated, asked, None).await
}

/// GET /_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}
pub(crate) async fn download_as(
    services: Arc<Services>,
    args: Args<get_content_as_filename::v1::Request>,
) -> Result<Content> {
    let request = args.request;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    download_by(
        &services,
        Access::Authenticated,
        asked,
        Some(&request.filename),
    )
    .await
}

/// GET /_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}
pub(crate) async fn thumbnail(
    services: Arc<Services>,
    args: Args<get_content_thumbnail::v1::Request>,
) -> Result<Content> {
    let request = args.request;
    let size = (request.width, request.height);
    let wanted = wanted(size, request.method, request.animated)?;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    thumbnail_by(&services, Access::Authenticated, asked, wanted).await
}

/// GET /_matrix/media/v3/config: it needs a token, so it is served even where the other old endpoints are not.
pub(crate) async fn legacy_config(
    services: Arc<Services>,
    _: Args<legacy::get_media_config::v3::Request>,
) -> Result<legacy::get_media_config::v3::Response> {
    let size = upload_size(&services);
    Ok(legacy::get_media_config::v3::Response::new(size))
}

/// GET /_matrix/media/v3/download/{serverName}/{mediaId}
pub(crate) async fn legacy_download(
    services: Arc<Services>,
    args: Args<legacy::get_content::v3::Request>,
) -> Result<Content> {
    let request = args.request;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    download_by(&services, Access::Legacy, asked, None).await
}

/// GET /_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}
pub(crate) async fn legacy_download_as(
    services: Arc<Services>,
    args: Args<legacy::get_content_as_filename::v3::Request>,
) -> Result<Content> {
    let request = args.request;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    download_by(&services, Access::Legacy, asked, Some(&request.filename)).await
}

/// GET /_matrix/media/v3/thumbnail/{serverName}/{mediaId}
pub(crate) async fn legacy_thumbnail(
    services: Arc<Services>,
    args: Args<legacy::get_content_thumbnail::v3::Request>,
) -> Result<Content> {
    let request = args.request;
    let size = (request.width, request.height);
    let wanted = wanted(size, request.method, request.animated)?;
    let asked = (request.server_name, request.media_id, request.timeout_ms);
    thumbnail_by(&services, Access::Legacy, asked, wanted).await
}

fn upload_size(services: &Services) -> UInt {
    UInt::new_saturating(services.media.max_upload_size())
}

/// Origin and media id as they were sent, and how long the client waits for content that is to come.
type Asked = (OwnedServerName, String, Duration);

async fn download_by(
    services: &Services,
    access: Access,
    (origin, id, timeout): Asked,
    name: Option<&str>,
) -> Result<Content> {
    let (media, id) = (&services.media, media_id(&id)?);
    let mut found = media.download(&origin, &id, access, name).await?;
    if found.is_none() && media.wait_for_upload(&origin, &id, access, timeout).await? {
        found = media.download(&origin, &id, access, name).await?;
    }
    found.map(Content).ok_or_else(no_media)
}

async fn thumbnail_by(
    services: &Services,
    access: Access,
    (origin, id, timeout): Asked,
    wanted: ThumbnailRequest,
) -> Result<Content> {
    let (media, id) = (&services.media, media_id(&id)?);
    let mut found = media.thumbnail(&origin, &id, access, wanted).await?;
    if found.is_none() && media.wait_for_upload(&origin, &id, access, timeout).await? {
        found = media.thumbnail(&origin, &id, access, wanted).await?;
    }
    found.map(Content).ok_or_else(no_media)
}

fn media_id(text: &str) -> Result<MediaId> {
    MediaId::parse(text).ok_or_else(|| Error::invalid_param("Not a media id"))
}

fn no_media() -> Error {
    Error::not_found("There is no such media")
}

fn wanted(
    (width, height): (UInt, UInt),
    method: Option<ruma::Method>,
    animated: Option<bool>,
) -> Result<ThumbnailRequest> {
    let pixels = |side: UInt| u32::try_from(u64::from(side)).unwrap_or(u32::MAX);
    let method = match method {
        None | Some(ruma::Method::Scale) => Method::Scale,
        Some(ruma::Method::Crop) => Method::Crop,
        Some(_) => return Err(Error::invalid_param("`method` is neither crop nor scale")),
    };
    Ok(ThumbnailRequest {
        width: pixels(width),
        height: pixels(height),
        method,
        // "When not provided, the server SHOULD NOT return an animated thumbnail."
        animated: animated.unwrap_or(false),
    })
}

/// Content with its headers, sent as it is read.
pub(crate) struct Content(Download);

impl Answer for Content {
    fn into_response(self) -> Result<Response<Body>> {
        let Download {
            headers,
            size,
            content,
        } = self.0;
        let mut response = Response::new(Body::from_stream(content));
        let to = response.headers_mut();
        for (name, value) in SECURITY_HEADERS {
            to.insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        to.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        to.insert(header::CACHE_CONTROL, CACHE);
        for (name, value) in [
            (header::CONTENT_TYPE, headers.content_type),
            (header::CONTENT_DISPOSITION, headers.content_disposition),
        ] {
            let value = HeaderValue::try_from(value).map_err(|error| {
                tracing::error!(%error, "a header of media could not be written");
                Error::internal()
            })?;
            to.insert(name, value);
        }
        Ok(response)
    }
}
