//! The JSON of a notification, as the Push Gateway API has it.

use bytes::Bytes;
use room::Pushed;
use ruma_common::{EventId, RoomId, UserId};
use serde::Serialize;
use serde_json::{Map, Value, value::RawValue};
use storage::pusher::Pusher;

/// What `data` of a pusher says.
pub(crate) struct PusherData {
    /// Where the gateway is.
    pub(crate) url: Option<url::Url>,
    /// `event_id_only`: nothing of the event is told but its id.
    id_only: bool,
    /// "Servers MUST forward the entire content including `format` and any custom keys but excluding `url`."
    forwarded: Map<String, Value>,
}

impl PusherData {
    pub(crate) fn of(pusher: &Pusher) -> Self {
        let mut data: Map<String, Value> = serde_json::from_str(&pusher.data).unwrap_or_default();
        let url = data.remove("url");
        Self {
            url: url.and_then(|url| url.as_str()?.parse().ok()),
            id_only: data.get("format").and_then(Value::as_str) == Some("event_id_only"),
            forwarded: data,
        }
    }
}

#[derive(Serialize)]
struct Body<'a> {
    notification: Notification<'a>,
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_id: Option<&'a RoomId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prio: Option<&'static str>,
    counts: Counts,
    devices: [Device<'a>; 1],
    #[serde(flatten)]
    told: Option<Told<'a>>,
}

/// "Counts whose value is zero should be omitted" would never clear a badge: it is told even then, as others do.
#[derive(Serialize)]
struct Counts {
    unread: u64,
}

#[derive(Serialize)]
struct Device<'a> {
    app_id: &'a str,
    pushkey: &'a str,
    pushkey_ts: u64,
    data: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tweaks: Option<Map<String, Value>>,
}

/// What `event_id_only` leaves out.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    sender: &'a UserId,
    content: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_is_target: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender_display_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room_alias: Option<&'a str>,
}

impl<'a> Told<'a> {
    fn of(event: &'a Pushed) -> Self {
        let pdu = &event.pdu;
        Self {
            event_type: pdu.type_str(),
            sender: pdu.sender(),
            content: pdu.content(),
            user_is_target: pdu.is_state().then_some(event.user_is_target),
            sender_display_name: event.sender_display_name.as_deref(),
            room_name: event.room_name.as_deref(),
            room_alias: event.room_alias.as_deref(),
        }
    }
}

/// What is sent to the gateway of a pusher: of an event, or, without one, of the count alone.
pub(crate) fn notification(
    pusher: &Pusher,
    data: PusherData,
    event: Option<&Pushed>,
    badge: u64,
) -> Bytes {
    let tweaks = event.map(tweaks);
    let prio = event.zip(tweaks.as_ref());
    let notification = Notification {
        event_id: event.map(|event| &**event.pdu.event_id()),
        room_id: event.map(|event| &**event.pdu.room_id()),
        prio: prio.map(|(event, tweaks)| priority(event, tweaks)),
        counts: Counts { unread: badge },
        told: event.filter(|_| !data.id_only).map(Told::of),
        devices: [Device {
            app_id: &pusher.app_id,
            pushkey: &pusher.pushkey,
            pushkey_ts: pusher.set_ts / 1000,
            data: data.forwarded,
            tweaks,
        }],
    };
    let body = serde_json::to_vec(&Body { notification });
    body.expect("text, numbers and JSON values serialise")
        .into()
}

/// "A dictionary of customisations made to the way this notification is to be presented. These are added by push rules."
fn tweaks(event: &Pushed) -> Map<String, Value> {
    let actions = serde_json::to_value(&event.actions).unwrap_or_default();
    let actions = actions.as_array().into_iter().flatten();
    actions
        .filter_map(|action| {
            let name = action.get("set_tweak")?.as_str()?.to_owned();
            let value = action.get("value").cloned().unwrap_or(Value::Bool(true));
            Some((name, value))
        })
        .collect()
}

/// "This may be used by push gateways to deliver less time-sensitive notifications in a way that will preserve battery power."
fn priority(event: &Pushed, tweaks: &Map<String, Value>) -> &'static str {
    let highlights = tweaks.get("highlight") == Some(&Value::Bool(true));
    // What an encrypted event is, only the device can tell.
    if highlights || tweaks.contains_key("sound") || event.pdu.type_str() == "m.room.encrypted" {
        "high"
    } else {
        "low"
    }
}
