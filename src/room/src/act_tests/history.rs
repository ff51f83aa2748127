//! Pages of history and contexts: order, tokens, filters, late arrivals.

use event::build::{Draft, Place, build};
use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedEventId, RoomId};
use ruma_events::TimelineEventType;
use serde_json::json;
use storage::{Position, room::TimelinePosition};

use super::server::{Server, bodies, raw, value};
use crate::{
    Actor, Arrival, Direction, EventFilter, Extras, Judgement, MessagesRequest, Page, PageToken,
    SendMessage,
};

fn request(from: Option<PageToken>, direction: Direction, limit: u64) -> MessagesRequest {
    MessagesRequest {
        from,
        to: None,
        direction,
        limit: Some(limit),
        filter: EventFilter::default(),
    }
}

fn filter(json: &serde_json::Value) -> EventFilter {
    serde_json::from_value(json.clone()).unwrap()
}

impl Server {
    /// All pages of a walk, and how many there were.
    async fn walk(
        &self,
        actor: &Actor,
        room: &RoomId,
        direction: Direction,
        limit: u64,
    ) -> (Vec<String>, usize) {
        let (mut ids, mut pages, mut from) = (Vec::new(), 0, None);
        loop {
            let page = self
                .page(actor, room, request(from, direction, limit))
                .await;
            pages += 1;
            ids.extend(page.chunk.iter().map(|event| event_id(&value(event))));
            from = page.end;
            if from.is_none() {
                return (ids, pages);
            }
        }
    }

    async fn page(&self, actor: &Actor, room: &RoomId, request: MessagesRequest) -> Page {
        self.rooms.messages(actor, room, request).await.unwrap()
    }

    /// The log position of the published snapshot: what a sync token holds.
    fn now(&self) -> Position {
        self.store().read(|view| view.position())
    }

    /// A message that arrives now and stands in the graph directly behind `after`.
    async fn late(
        &self,
        sender: &Actor,
        room: &RoomId,
        after: &OwnedEventId,
        body: &str,
    ) -> OwnedEventId {
        let number = self.store().read(|view| storage::room::number(view, room));
        let mut locked = self.rooms.lock(number.unwrap().unwrap()).await;
        let commit = locked.write::<_, storage::Error>(|room| {
            let before = room.pdu_by_id(after)?.unwrap();
            let draft = Draft {
                event_type: TimelineEventType::RoomMessage,
                state_key: None,
                content: raw(&json!({ "msgtype": "m.text", "body": body })),
                redacts: None,
            };
            let place = Place {
                version: room.version(),
                room_id: Some(room.room_id()),
                sender: &sender.user_id,
                prev_events: std::slice::from_ref(after),
                auth_events: before.auth_events(),
                depth: before.depth() + js_int::UInt::from(1_u32),
                origin_server_ts: MilliSecondsSinceUnixEpoch(js_int::UInt::from(1_u32)),
            };
            let key = &room.rooms.options.signing_key;
            let pdu = build(&draft, &place, key).unwrap().sign();
            let event_id = pdu.event_id().clone();
            let Judgement::Judged(judged) = room.judge(pdu, Arrival::Live)? else {
                panic!("a late message is judged");
            };
            room.persist(*judged, &Extras::default())?;
            Ok(event_id)
        });
        commit.unwrap().durable().await
    }
}

fn event_id(event: &serde_json::Value) -> String {
    event["event_id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn pages_of_every_size_show_everything_once() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    for n in 0..20 {
        server.say(&alice, &room, &n.to_string()).await;
    }
    let (all, _) = server.walk(&alice, &room, Direction::Forward, 1000).await;
    assert_eq!(all.len(), 26);
    for limit in [1, 2, 7, 26, 27] {
        let (forward, _) = server.walk(&alice, &room, Direction::Forward, limit).await;
        assert_eq!(forward, all, "{limit}");
        let (mut backward, _) = server.walk(&alice, &room, Direction::Backward, limit).await;
        backward.reverse();
        assert_eq!(backward, all, "{limit}");
    }
}

#[tokio::test]
async fn from_and_to() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    for n in 1..=3 {
        server.say(&alice, &room, &n.to_string()).await;
    }
    let middle = PageToken::from(server.now());
    for n in 4..=6 {
        server.say(&alice, &room, &n.to_string()).await;
    }
    let page = server
        .page(&alice, &room, request(Some(middle), Direction::Backward, 2))
        .await;
    assert_eq!(bodies(&page), ["3", "2"]);
    let older = page.end.unwrap();
    let page = server
        .page(&alice, &room, request(Some(middle), Direction::Forward, 2))
        .await;
    assert_eq!(bodies(&page), ["4", "5"]);
    let page = server
        .page(&alice, &room, request(page.end, Direction::Forward, 5))
        .await;
    assert_eq!((bodies(&page), page.end), (vec!["6".to_owned()], None));
    // The end of one page is where the other direction begins.
    let page = server
        .page(&alice, &room, request(Some(older), Direction::Forward, 3))
        .await;
    assert_eq!(bodies(&page), ["2", "3", "4"]);
    for to in [older, middle] {
        let limited = MessagesRequest {
            to: Some(to),
            ..request(None, Direction::Backward, 100)
        };
        let page = server.page(&alice, &room, limited).await;
        let expected = if to == older {
            vec!["6", "5", "4", "3", "2"]
        } else {
            vec!["6", "5", "4"]
        };
        assert_eq!(bodies(&page), expected);
    }
    let limited = MessagesRequest {
        to: Some(middle),
        ..request(Some(older), Direction::Forward, 100)
    };
    assert_eq!(
        bodies(&server.page(&alice, &room, limited).await),
        ["2", "3"]
    );
}

/// A late event appears in sync at its arrival, then exactly once in pagination, with no loss between the two.
#[tokio::test]
async fn a_late_event_is_shown_once() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let first = server.say(&alice, &room, "1").await;
    server.say(&alice, &room, "2").await;
    server.say(&alice, &room, "3").await;
    let before = server.now();
    server.late(&alice, &room, &first, "late").await;
    server.say(&alice, &room, "4").await;
    // The order of the graph.
    assert_eq!(
        server.bodies(&alice, &room).await,
        ["4", "3", "late", "2", "1"]
    );
    // Before the arrival it was not there; what a sync from there shows comes in the order of arrival.
    let page = server
        .page(
            &alice,
            &room,
            request(Some(before.into()), Direction::Backward, 100),
        )
        .await;
    assert_eq!(bodies(&page), ["3", "2", "1"]);
    let page = server
        .page(
            &alice,
            &room,
            request(Some(before.into()), Direction::Forward, 100),
        )
        .await;
    assert_eq!(bodies(&page), ["late", "4"]);
    let prev_batch = PageToken::arrival(TimelinePosition(10));
    let page = server
        .page(
            &alice,
            &room,
            request(Some(prev_batch), Direction::Backward, 100),
        )
        .await;
    assert_eq!(bodies(&page), ["3", "late", "2", "1"]);
}

#[tokio::test]
async fn filters() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    server.say(&alice, &room, "a").await;
    server.say(&bob, &room, "b").await;
    server
        .send(&bob, &room, &json!({ "body": "c", "url": "mxc://a/b" }))
        .await;
    for (json, expected) in [
        (json!({ "types": ["m.room.message"] }), vec!["c", "b", "a"]),
        (json!({ "senders": [bob.user_id] }), vec!["c", "b"]),
        (json!({ "not_senders": [bob.user_id] }), vec!["a"]),
        (json!({ "contains_url": true }), vec!["c"]),
        (
            json!({ "types": ["m.room.*"], "contains_url": false }),
            vec!["b", "a"],
        ),
        (json!({ "not_types": ["m.room.message"] }), vec![]),
        (json!({ "rooms": [] }), vec![]),
    ] {
        let request = MessagesRequest {
            filter: filter(&json),
            ..request(None, Direction::Backward, 100)
        };
        assert_eq!(
            bodies(&server.page(&alice, &room, request).await),
            expected,
            "{json}"
        );
    }
    let lazy = MessagesRequest {
        filter: filter(&json!({ "lazy_load_members": true, "types": ["m.room.message"] })),
        ..request(None, Direction::Backward, 2)
    };
    let page = server.page(&alice, &room, lazy).await;
    let members: Vec<_> = page
        .state
        .iter()
        .map(|event| value(event)["state_key"].clone())
        .collect();
    assert_eq!(members, [json!(bob.user_id)]);
}

/// C7, CVE-2026-45076: pages that hold nothing for the reader do not end history.
#[tokio::test]
async fn c7_a_page_of_hidden_events_continues() {
    let server = Server::new();
    let (alice, bob, room) = server.two_in_a_room().await;
    server.say(&alice, &room, "first").await;
    for _ in 0..200 {
        server.say(&bob, &room, "spam").await;
    }
    server.say(&alice, &room, "last").await;
    let ignored = raw(&json!({ "ignored_users": { bob.user_id.as_str(): {} } }));
    let commit = server.store().write::<_, storage::Error>(|txn| {
        storage::account_data::put(txn, alice.user, None, "m.ignored_user_list", &ignored)
    });
    commit.unwrap().durable().await;
    let page = server
        .page(&alice, &room, request(None, Direction::Backward, 2))
        .await;
    assert_eq!(bodies(&page), ["last", "first"]);
}

#[tokio::test]
async fn context() {
    let server = Server::new();
    let alice = server.user("alice").await;
    let room = server.public_room(&alice).await;
    let mut ids = Vec::new();
    for n in 0..9 {
        ids.push(server.say(&alice, &room, &n.to_string()).await);
    }
    server.topic(&alice, &room, "later").await;
    let around = (Some(4), EventFilter::default());
    let context = server
        .rooms
        .context(&alice, &room, &ids[4], around)
        .await
        .unwrap();
    let body = |event: &serde_json::value::RawValue| {
        value(event)["content"]["body"].as_str().unwrap().to_owned()
    };
    assert_eq!(body(&context.event), "4");
    assert_eq!(
        context
            .events_before
            .iter()
            .map(|e| body(e))
            .collect::<Vec<_>>(),
        ["3", "2"]
    );
    assert_eq!(
        context
            .events_after
            .iter()
            .map(|e| body(e))
            .collect::<Vec<_>>(),
        ["5", "6"]
    );
    // "The state of the room at the last event returned."
    let types: Vec<_> = context
        .state
        .iter()
        .map(|event| value(event)["type"].clone())
        .collect();
    assert!(types.contains(&json!("m.room.create")) && !types.contains(&json!("m.room.topic")));
    let page = server
        .page(
            &alice,
            &room,
            request(Some(context.start), Direction::Backward, 2),
        )
        .await;
    assert_eq!(bodies(&page), ["1", "0"]);
    let page = server
        .page(
            &alice,
            &room,
            request(Some(context.end), Direction::Forward, 2),
        )
        .await;
    assert_eq!(bodies(&page), ["7", "8"]);
    let lazy = (Some(0), filter(&json!({ "lazy_load_members": true })));
    let context = server
        .rooms
        .context(&alice, &room, &ids[0], lazy)
        .await
        .unwrap();
    assert!(context.events_before.is_empty() && context.events_after.is_empty());
    assert!(context.state.len() >= 6);
}

/// B15: a token names a place and gives no right; any numbers in it are a place.
#[tokio::test]
async fn b15_extreme_tokens_are_places() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    let room = server.public_room(&alice).await;
    server.say(&alice, &room, "x").await;
    let (low, high) = (i64::MIN, i64::MAX);
    let mut tokens = vec![format!("l1_{}", u64::MAX), "l1_0".to_owned()];
    for at in [low, -1, 0, 1, high] {
        tokens.push(format!("a1_{at}"));
        for depth in [0, 1, u64::MAX] {
            tokens.push(format!("t1_{depth}_{at}"));
        }
    }
    for token in tokens {
        let token: PageToken = token.parse().unwrap();
        for direction in [Direction::Backward, Direction::Forward] {
            let whole = MessagesRequest {
                to: Some(token),
                ..request(Some(token), direction, 100)
            };
            assert!(
                server.page(&alice, &room, whole).await.chunk.is_empty(),
                "{token}"
            );
            let page = server
                .page(&alice, &room, request(Some(token), direction, 100))
                .await;
            assert!(page.chunk.len() <= 7, "{token}");
            let stranger = server
                .rooms
                .messages(&bob, &room, request(Some(token), direction, 100));
            assert!(stranger.await.is_err());
        }
        let members = crate::MembersRequest {
            at: Some(token),
            ..crate::MembersRequest::default()
        };
        assert!(server.rooms.members(&alice, &room, members).await.is_ok());
    }
}

/// A redaction names its target where old and new clients look for it.
#[tokio::test]
async fn redactions_name_their_target_twice() {
    let server = Server::new();
    let alice = server.user("alice").await;
    for version in ["10", "11"] {
        let create = crate::CreateRoom {
            room_version: Some(version.try_into().unwrap()),
            ..crate::CreateRoom::default()
        };
        let room = server.rooms.create(&alice, create).await.unwrap();
        let target = server.say(&alice, &room, "x").await;
        let message = SendMessage {
            event_type: "m.room.redaction".to_owned(),
            content: raw(&json!({ "redacts": target, "reason": "r" })),
            txn_id: None,
        };
        let redaction = server.rooms.send(&alice, &room, message).await.unwrap();
        let shown = value(&server.rooms.event(&alice, &room, &redaction).unwrap());
        assert_eq!(shown["redacts"], target.as_str(), "{version}");
        assert_eq!(
            shown["content"],
            json!({ "redacts": target, "reason": "r" }),
            "{version}"
        );
        let gone = value(&server.rooms.event(&alice, &room, &target).unwrap());
        assert_eq!(gone["content"], json!({}));
        assert_eq!(
            gone["unsigned"]["redacted_because"]["event_id"],
            redaction.as_str()
        );
    }
}
