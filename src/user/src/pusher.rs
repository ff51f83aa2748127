//! The pushers of a user: where clients ask to be told of notifications.

use ruma_common::{OwnedDeviceId, UserId};
use serde::{Deserialize, Serialize};
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use storage::{
    pusher::{self, Pusher, PusherId},
    user::UserNumber,
};
use url::Url;

use crate::Users;

/// How many pushers a user may have.
pub const MAX_PUSHERS: usize = 50;

/// "Max length, 512 bytes."
const MAX_PUSHKEY_BYTES: usize = 512;

/// "Max length, 64 chars."
const MAX_APP_ID_CHARS: usize = 64;

/// The longest of the other texts.
const MAX_TEXT_BYTES: usize = 512;

/// The largest `data`, as JSON.
const MAX_DATA_BYTES: usize = 4_096;

/// Other users whose pushers of the same key are ended at once.
const MAX_OTHERS: usize = 100;

/// Why a pusher is not set.
#[derive(Debug, thiserror::Error)]
pub enum PusherError {
    /// `M_MISSING_PARAM`
    #[error("Missing parameter: {0}")]
    Missing(&'static str),
    /// `M_INVALID_PARAM`
    #[error("{0}")]
    Invalid(&'static str),
    /// `M_INVALID_PARAM`: there are 50.
    #[error("There are too many pushers")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

/// `POST /_matrix/client/v3/pushers/set`: "If `kind` is `null`, the pusher [...] is deleted."
#[derive(Debug, Deserialize)]
pub struct SetPusher {
    kind: Option<String>,
    app_id: String,
    pushkey: String,
    app_display_name: Option<String>,
    device_display_name: Option<String>,
    profile_tag: Option<String>,
    lang: Option<String>,
    data: Option<Map<String, Value>>,
    #[serde(default)]
    append: bool,
    /// MSC3881
    enabled: Option<bool>,
    /// The same by its unstable name, which goes first.
    #[serde(rename = "org.matrix.msc3881.enabled")]
    unstable_enabled: Option<bool>,
}

impl SetPusher {
    fn switches(&self) -> Option<bool> {
        self.unstable_enabled.or(self.enabled)
    }
}

/// A pusher as its owner sees it.
#[derive(Serialize)]
struct Shown<'a> {
    pushkey: &'a str,
    kind: &'a str,
    app_id: &'a str,
    app_display_name: &'a str,
    device_display_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    profile_tag: Option<&'a str>,
    lang: &'a str,
    data: &'a RawValue,
    #[serde(rename = "org.matrix.msc3881.enabled")]
    enabled: bool,
    #[serde(
        rename = "org.matrix.msc3881.device_id",
        skip_serializing_if = "Option::is_none"
    )]
    device_id: Option<&'a OwnedDeviceId>,
}

/// Whose pusher it is.
#[derive(Clone, Copy, Debug)]
pub struct PusherOwner<'a> {
    /// The user's number.
    pub user: UserNumber,
    /// The user.
    pub user_id: &'a UserId,
    /// The device that asks.
    pub device_id: Option<&'a OwnedDeviceId>,
}

impl Users {
    /// The pushers of a user, as content of `GET /pushers`.
    pub fn pushers(&self, user: UserNumber) -> storage::Result<Box<RawValue>> {
        #[derive(Serialize)]
        struct Content<'a> {
            pushers: Vec<Shown<'a>>,
        }

        let pushers = self.store.read(|view| pusher::list(view, user))?;
        let pushers = pushers.iter().filter_map(shown).collect();
        Ok(to_raw_value(&Content { pushers }).expect("texts are JSON"))
    }

    /// Sets, replaces or ends a pusher.
    ///
    /// # Errors
    ///
    /// See [`PusherError`].
    pub async fn set_pusher(
        &self,
        owner: PusherOwner<'_>,
        request: SetPusher,
        now_ms: u64,
    ) -> Result<(), PusherError> {
        let id = PusherId::of(&request.app_id, &request.pushkey);
        let new = match &request.kind {
            None => None,
            Some(_) => Some(checked(&request, owner.device_id, now_ms)?),
        };
        let commit = self.store.write::<_, PusherError>(|txn| {
            if let Some(device_id) = owner.device_id {
                // A device that ends at this moment takes its pushers with it, and one that has ended sets none.
                if storage::device::get_guarded(txn, owner.user, device_id)?.is_none() {
                    return Ok(());
                }
            }
            let old = pusher::list_guarded(txn, owner.user)?;
            let mut pushers = old.clone();
            let place = pushers.iter().position(|old| old.id() == id);
            match (&new, place.and_then(|place| pushers.get_mut(place))) {
                (Some(new), Some(old)) => {
                    // MSC3881: another device may switch it; it still is the pusher of the one that set it.
                    let owner = request.switches().and(old.device_id.take());
                    *old = new.clone();
                    old.device_id = owner.or_else(|| new.device_id.clone());
                }
                (Some(new), None) => pushers.push(new.clone()),
                (None, _) => pushers.retain(|old| old.id() != id),
            }
            if pushers.len() > MAX_PUSHERS {
                return Err(PusherError::TooMany);
            }
            pusher::put(txn, owner.user, &old, &pushers);
            if new.is_some() {
                pusher::forget_failures(txn, owner.user, id)?;
            }
            if new.is_none() || request.append {
                return Ok(());
            }
            // "Otherwise, the homeserver must remove any other pushers with the same App ID and pushkey for different users."
            for other in pusher::users_of(txn, id, MAX_OTHERS)? {
                if other != owner.user {
                    let old = pusher::list_guarded(txn, other)?;
                    let mut kept = old.clone();
                    kept.retain(|old| old.id() != id);
                    pusher::put(txn, other, &old, &kept);
                }
            }
            Ok(())
        })?;
        commit.durable().await;
        Ok(())
    }
}

fn shown(pusher: &Pusher) -> Option<Shown<'_>> {
    Some(Shown {
        pushkey: &pusher.pushkey,
        kind: &pusher.kind,
        app_id: &pusher.app_id,
        app_display_name: &pusher.app_display_name,
        device_display_name: &pusher.device_display_name,
        profile_tag: pusher.profile_tag.as_deref(),
        lang: &pusher.lang,
        data: serde_json::from_str(&pusher.data).ok()?,
        enabled: pusher.enabled,
        device_id: pusher.device_id.as_ref(),
    })
}

fn checked(
    request: &SetPusher,
    device_id: Option<&OwnedDeviceId>,
    now_ms: u64,
) -> Result<Pusher, PusherError> {
    if request.kind.as_deref() != Some("http") {
        return Err(PusherError::Invalid("kind: this server has http only"));
    }
    if request.pushkey.is_empty() || request.pushkey.len() > MAX_PUSHKEY_BYTES {
        return Err(PusherError::Invalid("pushkey: 1 to 512 bytes"));
    }
    if request.app_id.is_empty() || request.app_id.chars().count() > MAX_APP_ID_CHARS {
        return Err(PusherError::Invalid("app_id: 1 to 64 characters"));
    }
    let text = |name, value: &Option<String>| match value {
        None => Err(PusherError::Missing(name)),
        Some(value) if value.len() > MAX_TEXT_BYTES => {
            Err(PusherError::Invalid("a text is longer than 512 bytes"))
        }
        Some(value) => Ok(value.clone()),
    };
    let profile_tag = match &request.profile_tag {
        Some(_) => Some(text("profile_tag", &request.profile_tag)?),
        None => None,
    };
    let data = request.data.as_ref().ok_or(PusherError::Missing("data"))?;
    check_url(data)?;
    let data = serde_json::to_string(data).expect("a map of JSON values serialises");
    if data.len() > MAX_DATA_BYTES {
        return Err(PusherError::Invalid("data: at most 4 KiB"));
    }
    Ok(Pusher {
        app_id: request.app_id.clone(),
        pushkey: request.pushkey.clone(),
        kind: "http".to_owned(),
        app_display_name: text("app_display_name", &request.app_display_name)?,
        device_display_name: text("device_display_name", &request.device_display_name)?,
        profile_tag,
        lang: text("lang", &request.lang)?,
        data,
        device_id: device_id.cloned(),
        enabled: request.switches().unwrap_or(true),
        set_ts: now_ms,
    })
}

/// "MUST be an HTTPS URL with a path of `/_matrix/push/v1/notify`."
///
/// NOTSPEC: `http` will do. Gateways stand on the same machine or in the same network; which of these are asked is for the
/// operator to say.
fn check_url(data: &Map<String, Value>) -> Result<(), PusherError> {
    let url = data.get("url").ok_or(PusherError::Missing("data.url"))?;
    let url = url.as_str().and_then(|url| Url::parse(url).ok());
    let is_gateway = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/_matrix/push/v1/notify"
    };
    if url.as_ref().is_some_and(is_gateway) {
        return Ok(());
    }
    Err(PusherError::Invalid(
        "data.url: an HTTPS URL with a path of /_matrix/push/v1/notify",
    ))
}

#[cfg(test)]
mod tests {
    use ruma_common::user_id;
    use serde_json::{Value, json};

    use super::{MAX_PUSHERS, PusherError, PusherOwner, SetPusher};
    use crate::testing::House;

    fn pusher(pushkey: &str) -> Value {
        json!({
            "kind": "http", "app_id": "app", "pushkey": pushkey, "app_display_name": "App",
            "device_display_name": "Phone", "lang": "en",
            "data": { "url": "https://push.example.org/_matrix/push/v1/notify", "extra": [1] },
        })
    }

    impl House {
        async fn set(&self, body: Value) -> Result<(), PusherError> {
            let request: SetPusher = serde_json::from_value(body).unwrap();
            let owner = PusherOwner {
                user: self.alice,
                user_id: user_id!("@alice:example.org"),
                device_id: None,
            };
            self.users.set_pusher(owner, request, 7).await
        }

        fn keys(&self) -> Vec<String> {
            let all = self.users.pushers(self.alice).unwrap();
            let all: Value = serde_json::from_str(all.get()).unwrap();
            let all = all["pushers"].as_array().unwrap().iter();
            all.map(|pusher| pusher["pushkey"].as_str().unwrap().to_owned())
                .collect()
        }
    }

    #[tokio::test]
    async fn pushers_are_set_replaced_and_ended() {
        let house = House::new().await;
        house.set(pusher("a")).await.unwrap();
        house.set(pusher("b")).await.unwrap();
        let mut renamed = pusher("a");
        renamed["lang"] = json!("de");
        house.set(renamed).await.unwrap();
        assert_eq!(house.keys(), ["a", "b"]);
        house
            .set(json!({ "kind": null, "app_id": "app", "pushkey": "a" }))
            .await
            .unwrap();
        assert_eq!(house.keys(), ["b"]);
    }

    #[tokio::test]
    async fn b8_a_device_that_has_ended_sets_no_pusher() {
        let house = House::new().await;
        let request: SetPusher = serde_json::from_value(pusher("a")).unwrap();
        let owner = PusherOwner {
            user: house.alice,
            user_id: user_id!("@alice:example.org"),
            device_id: Some(&"GONE".into()),
        };
        house.users.set_pusher(owner, request, 7).await.unwrap();
        assert!(house.keys().is_empty());
    }

    #[tokio::test]
    async fn pushers_are_bounded_in_number_and_size() {
        let house = House::new().await;
        for (field, bad) in [
            ("kind", json!("email")),
            ("pushkey", json!("")),
            ("pushkey", json!("a".repeat(513))),
            ("app_id", json!("a".repeat(65))),
            ("lang", json!("a".repeat(513))),
            ("data", json!({ "url": "https://e.org/other" })),
            (
                "data",
                json!({ "url": "ftp://e.org/_matrix/push/v1/notify" }),
            ),
            (
                "data",
                json!({ "url": "https://a:b@e.org/_matrix/push/v1/notify" }),
            ),
            (
                "data",
                json!({ "url": "https://e.org/_matrix/push/v1/notify", "x": "a".repeat(4096) }),
            ),
            ("data", json!({ "url": 7 })),
        ] {
            let mut body = pusher("a");
            body[field] = bad;
            let refused = house.set(body).await;
            assert!(matches!(refused, Err(PusherError::Invalid(_))), "{field}");
        }
        for field in ["lang", "data", "app_display_name", "device_display_name"] {
            let mut body = pusher("a");
            body[field] = Value::Null;
            let refused = house.set(body).await;
            assert!(matches!(refused, Err(PusherError::Missing(_))), "{field}");
        }
        for number in 0..MAX_PUSHERS {
            house.set(pusher(&number.to_string())).await.unwrap();
        }
        let refused = house.set(pusher("more")).await;
        assert!(matches!(refused, Err(PusherError::TooMany)));
    }
}
