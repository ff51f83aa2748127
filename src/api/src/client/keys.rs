//! Keys of devices and of cross-signing.

use std::{collections::BTreeMap, sync::Arc};

use auth::{Requester, UiaRequest};
use ruma_client_api::keys::{
    claim_keys, get_key_changes, get_keys, upload_keys, upload_signatures, upload_signing_keys,
};
use ruma_common::{
    OwnedDeviceId, OwnedOneTimeKeyId, OwnedUserId, encryption::OneTimeKey, serde::Raw,
};
use serde::Serialize;
use serde_json::value::RawValue;
use user::{
    cross_signing::{Confirmation, CrossSigningError, CrossSigningUpload, Owner, RefusedSignature},
    key::{KeyOwner, KeyUpload},
};

use crate::{
    Args, Error, Result, Services,
    answer::Json,
    client::{actor, token},
};

fn owner(requester: &Requester) -> Owner<'_> {
    Owner {
        user: requester.user,
        user_id: &requester.user_id,
    }
}

/// `POST /_matrix/client/v3/keys/upload`
pub(crate) async fn upload(
    services: Arc<Services>,
    args: Args<upload_keys::v3::Request>,
) -> Result<Json> {
    #[derive(Serialize)]
    struct Uploaded {
        one_time_key_counts: BTreeMap<String, u64>,
    }

    let (requester, request) = (&args.requester, &args.request);
    let device_id = requester.device_id.as_deref();
    let device_id = device_id.ok_or_else(|| Error::invalid_param("Only devices have keys"))?;
    let upload = KeyUpload {
        device_keys: request.device_keys.as_ref().map(|keys| keys.json()),
        one_time_keys: by_name(&request.one_time_keys),
        fallback_keys: by_name(&request.fallback_keys),
    };
    let owner = KeyOwner {
        user: requester.user,
        user_id: &requester.user_id,
        device_id,
    };
    let one_time_key_counts = services.users.upload_keys(owner, &upload).await?;
    Json::of(&Uploaded {
        one_time_key_counts,
    })
}

/// One-time or fallback keys as they were written, by their names.
pub(super) fn by_name(
    keys: &BTreeMap<OwnedOneTimeKeyId, Raw<OneTimeKey>>,
) -> Vec<(&str, &RawValue)> {
    let keys = keys.iter();
    keys.map(|(name, key)| (name.as_str(), key.json()))
        .collect()
}

/// `POST /_matrix/client/v3/keys/query`
pub(crate) async fn query(
    services: Arc<Services>,
    args: Args<get_keys::v3::Request>,
) -> Result<Json> {
    let (asker, wanted) = (args.requester.user, args.request.device_keys);
    Json::of(&services.users.query_keys(asker, wanted).await?)
}

/// `POST /_matrix/client/v3/keys/claim`
pub(crate) async fn claim(
    services: Arc<Services>,
    args: Args<claim_keys::v3::Request>,
) -> Result<Json> {
    let wanted = args.request.one_time_keys.into_iter();
    let wanted: BTreeMap<OwnedUserId, BTreeMap<OwnedDeviceId, String>> = wanted
        .map(|(user_id, devices)| {
            let devices = devices.into_iter();
            let devices = devices.map(|(device_id, algorithm)| (device_id, algorithm.to_string()));
            (user_id, devices.collect())
        })
        .collect();
    Json::of(&services.users.claim_keys(&wanted).await?)
}

/// `GET /_matrix/client/v3/keys/changes`
pub(crate) async fn changes(
    services: Arc<Services>,
    args: Args<get_key_changes::v3::Request>,
) -> Result<Json> {
    let place = |text: &str| {
        let token = token(Some(text), "sync")?;
        token.ok_or_else(|| Error::invalid_param("Unknown sync token"))
    };
    let (from, to) = (place(&args.request.from)?, place(&args.request.to)?);
    let actor = actor(args.requester);
    Json::of(&services.syncer.key_changes(&actor, (from, to)).await?)
}

/// `POST /_matrix/client/v3/keys/device_signing/upload`
pub(crate) async fn upload_cross_signing(
    services: Arc<Services>,
    args: Args<upload_signing_keys::v3::Request>,
    uia: UiaRequest,
) -> Result<upload_signing_keys::v3::Response> {
    let (requester, request) = (&args.requester, &args.request);
    let upload = CrossSigningUpload {
        master_key: request.master_key.as_ref().map(|key| key.json()),
        self_signing_key: request.self_signing_key.as_ref().map(|key| key.json()),
        user_signing_key: request.user_signing_key.as_ref().map(|key| key.json()),
    };
    let (users, owner) = (&services.users, owner(requester));
    let unconfirmed = users.set_cross_signing_keys(owner, &upload, Confirmation::Missing);
    match unconfirmed.await {
        Err(CrossSigningError::Unconfirmed) => {
            services.auth.confirm(requester, &uia).await?;
            let confirmed = users.set_cross_signing_keys(owner, &upload, Confirmation::Given);
            confirmed.await?;
        }
        done => done?,
    }
    Ok(upload_signing_keys::v3::Response::new())
}

/// `POST /_matrix/client/v3/keys/signatures/upload`
pub(crate) async fn upload_signatures(
    services: Arc<Services>,
    args: Args<upload_signatures::v3::Request>,
) -> Result<Json> {
    #[derive(Serialize)]
    struct Uploaded {
        failures: BTreeMap<OwnedUserId, BTreeMap<String, Failure>>,
    }

    let signed = args.request.signed_keys.iter();
    let signed: BTreeMap<OwnedUserId, BTreeMap<String, &RawValue>> = signed
        .map(|(user_id, keys)| {
            let keys = keys.iter().map(|(id, key)| (id.to_owned(), key));
            (user_id.clone(), keys.collect())
        })
        .collect();
    let owner = owner(&args.requester);
    let refused = services.users.add_signatures(owner, &signed).await?;
    let failures = refused.into_iter().map(|(user_id, refused)| {
        let refused = refused.into_iter();
        let failures = refused.map(|(id, reason)| (id, Failure::from(reason)));
        (user_id, failures.collect())
    });
    Json::of(&Uploaded {
        failures: failures.collect(),
    })
}

/// Why the signatures of one key are not kept.
#[derive(Serialize)]
struct Failure {
    errcode: &'static str,
    error: String,
}

impl From<RefusedSignature> for Failure {
    fn from(reason: RefusedSignature) -> Self {
        Self {
            errcode: crate::error::errcode_of(reason),
            error: reason.to_string(),
        }
    }
}
