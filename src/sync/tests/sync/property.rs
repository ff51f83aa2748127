//! Whatever happens in rooms and whenever clients sync, with whatever limit: they get every event that
//! they may see exactly once, and the state that they build is the room's.

use std::collections::{BTreeMap, BTreeSet};

use hearth_sync::Filter;
use proptest::{collection::vec, prelude::*, test_runner::Config};
use room::{Actor, Direction, EventFilter, MessagesRequest, PageToken};
use ruma_common::{OwnedRoomId, RoomId};
use serde_json::{Value, json};

use crate::{
    foreign::Says,
    server::{Client, Server},
};

const NAMES: [&str; 3] = ["alice", "bob", "carol"];
const HISTORIES: [&str; 3] = ["shared", "joined", "invited"];

#[derive(Clone, Debug)]
enum Step {
    Say {
        user: usize,
        room: usize,
        times: usize,
    },
    Topic {
        user: usize,
        room: usize,
    },
    Rename {
        user: usize,
        room: usize,
    },
    Join {
        user: usize,
        room: usize,
    },
    Leave {
        user: usize,
        room: usize,
    },
    Invite {
        user: usize,
        room: usize,
    },
    Kick {
        user: usize,
        room: usize,
    },
    Ban {
        user: usize,
        room: usize,
    },
    Unban {
        user: usize,
        room: usize,
    },
    Late {
        user: usize,
        room: usize,
        behind: usize,
        topic: bool,
    },
    Sync {
        user: usize,
        limit: u32,
        twice: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..NAMES.len(), 0..HISTORIES.len());
    prop_oneof![
        6 => (place(), 1..6usize).prop_map(|((user, room), times)| Step::Say { user, room, times }),
        3 => place().prop_map(|(user, room)| Step::Topic { user, room }),
        2 => place().prop_map(|(user, room)| Step::Rename { user, room }),
        4 => place().prop_map(|(user, room)| Step::Join { user, room }),
        2 => place().prop_map(|(user, room)| Step::Leave { user, room }),
        1 => place().prop_map(|(user, room)| Step::Invite { user, room }),
        1 => place().prop_map(|(user, room)| Step::Kick { user, room }),
        1 => place().prop_map(|(user, room)| Step::Ban { user, room }),
        1 => place().prop_map(|(user, room)| Step::Unban { user, room }),
        4 => (place(), 0..9usize, any::<bool>()).prop_map(|((user, room), behind, topic)| {
            Step::Late { user, room, behind, topic }
        }),
        8 => (0..NAMES.len(), 1..8u32, any::<bool>())
            .prop_map(|(user, limit, twice)| Step::Sync { user, limit, twice }),
    ]
}

/// A client that remembers.
struct Rememberer {
    client: Client,
    joined: BTreeMap<OwnedRoomId, Remembered>,
    /// Rooms whose state has been changed on a branch.
    forked: BTreeSet<OwnedRoomId>,
}

#[derive(Default)]
struct Remembered {
    events: BTreeSet<String>,
    state: BTreeMap<(String, String), String>,
}

impl Rememberer {
    async fn sync(&mut self, server: &Server, limit: u32, twice: bool) {
        let filter = json!({ "room": { "timeline": { "limit": limit } } });
        self.client.filter = Filter::new(&serde_json::from_value(filter).unwrap()).into();
        let before = self.client.clone();
        let answer = self.client.sync().await;
        if twice {
            let again = before.ask(before.request()).await.unwrap();
            assert_eq!(again, answer, "the same `since` gives the same content");
        }
        for (room_id, room) in answer["rooms"]["leave"].as_object().unwrap() {
            let room_id = RoomId::parse(room_id.as_str()).unwrap();
            self.leave(&room_id, room);
        }
        for (room_id, room) in answer["rooms"]["join"].as_object().unwrap() {
            let room_id = RoomId::parse(room_id.as_str()).unwrap();
            self.join(server, &room_id, room).await;
        }
        self.compare_states(server).await;
    }

    fn leave(&mut self, room_id: &RoomId, room: &Value) {
        let events = room["timeline"]["events"].as_array().unwrap();
        let own = self.client.actor.user_id.as_str();
        let departure = events.iter().position(|event| {
            let membership = event["content"]["membership"].as_str();
            event["state_key"] == own && matches!(membership, Some("leave" | "ban"))
        });
        if let Some(departure) = departure {
            let behind = events.iter().skip(departure + 1);
            for event in behind {
                assert_eq!(event["state_key"], own, "nothing comes behind the leave");
            }
        }
        self.joined.remove(room_id);
    }

    async fn join(&mut self, server: &Server, room_id: &RoomId, room: &Value) {
        let remembered = self.joined.entry(room_id.to_owned()).or_default();
        let after = room.get("state_after");
        let state = after.unwrap_or(&room["state"])["events"].as_array();
        let timeline = room["timeline"]["events"].as_array().unwrap();
        let limited = room["timeline"]["limited"] == true;
        let told = state.unwrap().iter();
        let told = told.chain(timeline.iter().filter(|_| after.is_none()));
        for event in told {
            if let Some(state_key) = event["state_key"].as_str() {
                let key = (text(&event["type"]), state_key.to_owned());
                remembered.state.insert(key, text(&event["event_id"]));
            }
        }
        let shown: BTreeSet<_> = timeline
            .iter()
            .map(|event| text(&event["event_id"]))
            .collect();
        assert_eq!(
            shown.len(),
            timeline.len(),
            "no event twice in one timeline"
        );
        if limited || remembered.events.is_empty() {
            let from = text(&room["timeline"]["prev_batch"]).parse().unwrap();
            let earlier = history(server, &self.client.actor, room_id, Some(from)).await;
            assert!(
                earlier.is_disjoint(&shown),
                "`prev_batch` is in front of the timeline"
            );
            remembered.events.extend(earlier);
            remembered.events.extend(shown);
        } else {
            assert!(remembered.events.is_disjoint(&shown), "an event came twice");
            remembered.events.extend(shown);
        }
    }

    async fn compare_states(&self, server: &Server) {
        for (room_id, remembered) in &self.joined {
            let state = server
                .rooms
                .state(&self.client.actor, room_id)
                .await
                .unwrap();
            let state = state.iter().map(|event| {
                let event: Value = serde_json::from_str(event.get()).unwrap();
                let key = (text(&event["type"]), text(&event["state_key"]));
                (key, text(&event["event_id"]))
            });
            // A timeline that shows an event which lost against another branch misleads a client that
            // takes the state from it; that is what `state_after` is for.
            if self.client.use_state_after || !self.forked.contains(room_id) {
                assert_eq!(remembered.state, state.collect(), "{room_id}");
            }
        }
    }

    async fn compare_events(&self, server: &Server) {
        let joined = server.rooms.joined_rooms(&self.client.actor).unwrap();
        assert_eq!(
            joined.into_iter().collect::<BTreeSet<_>>(),
            self.joined.keys().cloned().collect()
        );
        for (room_id, remembered) in &self.joined {
            let all = history(server, &self.client.actor, room_id, None).await;
            assert_eq!(remembered.events, all, "{room_id}");
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Everything that `/messages` shows, page by page.
async fn history(
    server: &Server,
    actor: &Actor,
    room_id: &RoomId,
    mut from: Option<PageToken>,
) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    loop {
        let request = MessagesRequest {
            from,
            to: None,
            direction: Direction::Backward,
            limit: Some(7),
            filter: EventFilter::default(),
        };
        let page = server
            .rooms
            .messages(actor, room_id, request)
            .await
            .unwrap();
        for event in &page.chunk {
            let event: Value = serde_json::from_str(event.get()).unwrap();
            assert!(events.insert(text(&event["event_id"])));
        }
        from = page.end;
        if from.is_none() {
            return events;
        }
    }
}

async fn act(server: &Server, users: &[Actor], rooms: &[OwnedRoomId], step: &Step, number: usize) {
    let creator = &users[0];
    match step {
        Step::Say { user, room, times } => {
            for n in 0..*times {
                let message = room::SendMessage {
                    event_type: "m.room.message".to_owned(),
                    content: crate::server::raw(&json!({ "body": format!("{number} {n}") })),
                    txn_id: None,
                };
                let _refused = server
                    .rooms
                    .send(&users[*user], &rooms[*room], message)
                    .await;
            }
        }
        Step::Topic { user, room } => {
            let state = room::SendState {
                event_type: "m.room.topic".to_owned(),
                state_key: String::new(),
                content: crate::server::raw(&json!({ "topic": format!("{number}") })),
            };
            let _refused = server
                .rooms
                .send_state(&users[*user], &rooms[*room], state)
                .await;
        }
        Step::Rename { user, room } => {
            let content = json!({ "membership": "join", "displayname": format!("{number}") });
            let state = room::SendState {
                event_type: "m.room.member".to_owned(),
                state_key: users[*user].user_id.to_string(),
                content: crate::server::raw(&content),
            };
            let rooms_of = server.rooms.joined_rooms(&users[*user]).unwrap();
            if rooms_of.contains(&rooms[*room]) {
                let _refused = server
                    .rooms
                    .send_state(&users[*user], &rooms[*room], state)
                    .await;
            }
        }
        Step::Join { user, room } => {
            let join = room::JoinRoom::default();
            let _refused = server.rooms.join(&users[*user], &rooms[*room], join).await;
        }
        // The creator stays, so that somebody can invite and ban.
        Step::Leave { user, room } if *user != 0 => {
            let _refused = server.rooms.leave(&users[*user], &rooms[*room], None).await;
        }
        Step::Invite { user, room } => {
            let target = &users[*user].user_id;
            let _refused = server
                .rooms
                .invite(creator, &rooms[*room], target, None)
                .await;
        }
        Step::Kick { user, room } if *user != 0 => {
            let target = &users[*user].user_id;
            let _refused = server
                .rooms
                .kick(creator, &rooms[*room], target, None)
                .await;
        }
        Step::Ban { user, room } if *user != 0 => {
            let target = &users[*user].user_id;
            let _refused = server.rooms.ban(creator, &rooms[*room], target, None).await;
        }
        Step::Unban { user, room } => {
            let target = &users[*user].user_id;
            let _refused = server
                .rooms
                .unban(creator, &rooms[*room], target, None)
                .await;
        }
        Step::Late {
            user,
            room,
            behind,
            topic,
        } => {
            let says = Says {
                sender: if *topic { creator } else { &users[*user] },
                event_type: if *topic {
                    "m.room.topic"
                } else {
                    "m.room.message"
                },
                state_key: topic.then_some(""),
                content: json!({ "topic": format!("late {number}"), "body": format!("late {number}") }),
            };
            server.arrive(&rooms[*room], *behind, says).await;
        }
        Step::Leave { .. } | Step::Kick { .. } | Step::Ban { .. } | Step::Sync { .. } => {}
    }
}

async fn play(steps: &[Step]) {
    let server = Server::new();
    let mut users = Vec::new();
    for name in NAMES {
        users.push(server.user(name).await);
    }
    let mut rooms = Vec::new();
    for history in HISTORIES {
        rooms.push(server.room_with_history(&users[0], history).await);
    }
    let mut clients: Vec<_> = users
        .iter()
        .enumerate()
        .map(|(number, user)| {
            let mut client = server.client(user);
            client.use_state_after = number == 1;
            Rememberer {
                client,
                joined: BTreeMap::new(),
                forked: BTreeSet::new(),
            }
        })
        .collect();
    for (number, step) in steps.iter().enumerate() {
        if let Step::Late {
            room, topic: true, ..
        } = step
        {
            for client in &mut clients {
                client.forked.insert(rooms[*room].clone());
            }
        }
        if let Step::Sync { user, limit, twice } = step {
            clients[*user].sync(&server, *limit, *twice).await;
        } else {
            act(&server, &users, &rooms, step, number).await;
        }
    }
    for client in &mut clients {
        client.sync(&server, 3, true).await;
        client.compare_events(&server).await;
    }
}

proptest! {
    #![proptest_config(Config { cases: 24, max_shrink_iters: 100, ..Config::default() })]

    #[test]
    fn nothing_is_lost_or_doubled(steps in vec(step(), 1..50)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(&steps));
    }
}
