//! The presence of those who share a room with the user.

use ruma_common::UserId;
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::{
    PresenceState, PresenceStatus, notifier::People, reader::Request, response::EventJson,
};

const TYPE: &str = "m.presence";

/// People of one answer.
const MAX_PEOPLE: usize = 1_000;

#[derive(Serialize)]
struct Event<'a> {
    content: Content,
    sender: &'a UserId,
    #[serde(rename = "type")]
    event_type: &'static str,
}

#[derive(Serialize)]
struct Content {
    presence: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_active_ago: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_msg: Option<String>,
    /// "If presence is `online`", whether they are right now.
    #[serde(skip_serializing_if = "Option::is_none")]
    currently_active: Option<bool>,
}

/// How these people are now. Where memory does not say who has changed, those who are there, and those who went since the
/// client looked.
pub(crate) fn events(request: &Request<'_>, people: &People) -> Vec<EventJson> {
    let Some(presence) = request.presence else {
        return Vec::new();
    };
    let filter = &request.filter.presence;
    if !filter.allows_type(TYPE) {
        return Vec::new();
    }
    let (users, all) = match people {
        People::Changed(users) => (users, false),
        People::All(users) => (users, true),
    };
    // What a client was shown by an earlier process may not be so any more.
    let is_stale = request.since.is_some() && request.since_epoch.is_none();
    let known = users.iter().filter_map(|user| presence.of(*user));
    let wanted = known.filter(|(user_id, status, changed)| {
        let is_news = !all
            || is_stale
            || status.state != PresenceState::Offline
            || request.since_epoch.is_some_and(|since| *changed > since);
        is_news && filter.allows_sender(user_id)
    });
    wanted
        .take(MAX_PEOPLE)
        .map(|(user_id, status, _)| event(&user_id, status))
        .collect()
}

fn event(sender: &UserId, status: PresenceStatus) -> EventJson {
    let online = status.state == PresenceState::Online;
    let event = Event {
        content: Content {
            presence: status.state.as_str(),
            last_active_ago: status.last_active_ago,
            status_msg: status.status_msg,
            currently_active: online.then_some(status.currently_active),
        },
        sender,
        event_type: TYPE,
    };
    to_raw_value(&event)
        .expect("text and numbers serialise")
        .into()
}
