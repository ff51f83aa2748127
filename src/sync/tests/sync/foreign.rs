//! Events that were made elsewhere: behind older events of a room, so that its graph forks.

use event::build::{Draft, Place, build};
use js_int::UInt;
use room::{Actor, Arrival, Extras, Judgement, Persisted};
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId, room_version_id};
use serde_json::Value;
use storage::{
    View,
    event::EventMeta,
    room::{EventNumber, RoomNumber},
    state, timeline,
};

use crate::server::{Server, key, raw};

/// What a foreign event says.
pub struct Says<'a> {
    pub sender: &'a Actor,
    pub event_type: &'a str,
    pub state_key: Option<&'a str>,
    pub content: Value,
}

fn meta(view: &dyn View, room: RoomNumber, event: EventNumber) -> EventMeta {
    storage::event::meta(view, room, event).unwrap().unwrap()
}

impl Server {
    pub fn number(&self, room_id: &RoomId) -> RoomNumber {
        let number = self
            .store()
            .read(|view| storage::room::number(view, room_id));
        number.unwrap().unwrap()
    }

    /// An event arrives that follows the one `behind` places before the newest. What became of it.
    pub async fn arrive(&self, room_id: &RoomId, behind: usize, says: Says<'_>) -> Persisted {
        let number = self.number(room_id);
        let pdu = self.store().read(|view| {
            let head = storage::room::head(view, number).unwrap().unwrap();
            let rows = timeline::back_from(view, number, head.last_timeline(), behind + 1).unwrap();
            let prev = meta(view, number, rows.last().unwrap().event);
            let version = event::RoomVersion::from_id(&room_version_id!("12")).unwrap();
            let draft = Draft {
                event_type: says.event_type.into(),
                state_key: says.state_key.map(str::to_owned),
                content: raw(&says.content),
                redacts: None,
            };
            let types = event::auth::auth_types(
                version,
                &draft.event_type,
                &says.sender.user_id,
                says.state_key,
                &draft.content,
            );
            let auth_events: Vec<OwnedEventId> = types
                .unwrap()
                .iter()
                .filter_map(|(event_type, state_key)| {
                    let event_type = event_type.to_string();
                    let key = state::key_number(view, number, &event_type, state_key).unwrap()?;
                    let event = state::value(view, number, prev.state_after?, key).unwrap()?;
                    Some(meta(view, number, event).event_id)
                })
                .collect();
            let place = Place {
                version,
                room_id: Some(room_id),
                sender: &says.sender.user_id,
                prev_events: std::slice::from_ref(&prev.event_id),
                auth_events: &auth_events,
                depth: UInt::try_from(prev.depth + 1).unwrap(),
                origin_server_ts: MilliSecondsSinceUnixEpoch(
                    UInt::try_from(prev.origin_server_ts + 1).unwrap(),
                ),
            };
            build(&draft, &place, &key()).unwrap().sign()
        });
        let mut room = self.rooms.lock(number).await;
        let commit = room.write::<_, storage::Error>(|room| {
            match room.judge(pdu.clone(), Arrival::Live)? {
                Judgement::Judged(judged) => room.persist(*judged, &Extras::default()),
                other => panic!("{other:?}"),
            }
        });
        drop(room);
        commit.unwrap().durable().await
    }
}
