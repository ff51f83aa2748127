//! The user directory is made of what was there before it, and again when it is to be.

use std::time::{Duration, Instant};

use serde_json::json;
use storage::{
    Error,
    user::{self, Account},
    user_directory as directory,
};

use super::server::{Server, state};
use crate::{Actor, Rooms};

/// An account, which the directory asks for.
async fn account(server: &Server, actor: &Actor) {
    let commit = server.store().write::<_, Error>(|txn| {
        user::put_account(txn, actor.user, &Account::default());
        Ok(())
    });
    commit.unwrap().durable().await;
}

/// Waits until somebody is found, or not.
async fn finds(rooms: &Rooms, actor: &Actor, term: &str, expected: &[&Actor]) {
    let begun = Instant::now();
    loop {
        let found = rooms.search_users(actor, term, 10).await.unwrap().results;
        let found: Vec<_> = found.iter().map(|user| &user.user_id).collect();
        if found
            == expected
                .iter()
                .map(|user| &user.user_id)
                .collect::<Vec<_>>()
        {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{found:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn the_directory_is_made_of_what_is_there() {
    let server = Server::new();
    let (alice, bob) = (server.user("alice").await, server.user("bob").await);
    for user in [&alice, &bob] {
        account(&server, user).await;
    }
    let room = server.public_room(&alice).await;
    finds(&server.rooms, &bob, "alice", &[]).await;
    let keeper = tokio::spawn(server.rooms.clone().keep_user_directory());
    finds(&server.rooms, &bob, "alice", &[&alice]).await;
    keeper.abort();
    assert!(keeper.await.unwrap_err().is_cancelled());
    // What happens while nobody keeps it is seen later.
    let rule = state("m.room.join_rules", "", &json!({ "join_rule": "invite" }));
    server.rooms.send_state(&alice, &room, rule).await.unwrap();
    let keeper = tokio::spawn(server.rooms.clone().keep_user_directory());
    finds(&server.rooms, &bob, "alice", &[]).await;
    keeper.abort();
    assert!(keeper.await.unwrap_err().is_cancelled());
    // As another version would have left it: it is made anew.
    let commit = server.store().write::<_, Error>(|txn| {
        directory::put(txn, alice.user, &directory::Entry::default())?;
        directory::set_version(txn, 0);
        Ok(())
    });
    commit.unwrap().durable().await;
    server.join(&bob, &server.public_room(&alice).await).await;
    tokio::spawn(server.rooms.clone().keep_user_directory());
    finds(&server.rooms, &bob, "alice", &[&alice]).await;
    let version = server.store().read(|view| directory::version(view));
    assert_eq!(version.unwrap(), Some(1));
}
