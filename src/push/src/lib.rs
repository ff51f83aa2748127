//! Floor 4: tells push gateways of what notifies users who are not looking. A follower of the log.
//!
//! | module | owns |
//! |---|---|
//! | `follow` | what a commit means to users with pushers: rows in a queue on disk, in the commit of the cursor |
//! | `badge` | how much a user has not read, remembered room by room |
//! | `send` | one task for each pusher with something in its queue: order, retries, how many at once |
//! | `message` | the JSON of a notification |
//!
//! What waits and when a gateway is tried again is on disk, so a restart changes neither. What is sent is read when it is sent:
//! a redacted event, or one of a room that the user has left, is not.

mod badge;
mod follow;
mod message;
mod send;

use std::{collections::HashMap, sync::Arc};

use outbound::Client;
use parking_lot::Mutex;
use room::{Actor, Rooms};
use storage::{Error, Result, Store, View, pusher::PusherId, user::UserNumber};
use tokio::sync::{Notify, Semaphore};

use self::badge::Badges;

/// Requests to all gateways at once.
const AT_ONCE: usize = 64;

/// The pushers of this server's users. Cheap to clone.
#[derive(Clone)]
pub struct Push {
    inner: Arc<Inner>,
}

struct Inner {
    rooms: Rooms,
    client: Client,
    /// The pushers for which a task runs, and what tells it to look again.
    running: Mutex<HashMap<(UserNumber, PusherId), Arc<Notify>>>,
    badges: Badges,
    requests: Semaphore,
    /// A slow gateway takes some of the requests, not all: those of each host.
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Push {
    /// Sends through `client`, which knows which addresses are not asked.
    pub fn new(rooms: Rooms, client: Client) -> Self {
        Self {
            inner: Arc::new(Inner {
                rooms,
                client,
                running: Mutex::default(),
                badges: Badges::default(),
                requests: Semaphore::new(AT_ONCE),
                hosts: Mutex::default(),
            }),
        }
    }

    /// Follows the log until the store closes.
    pub async fn run(self) {
        match self.follow().await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => tracing::error!(%error, "nothing is pushed any more"),
        }
    }

    fn store(&self) -> &Store {
        self.inner.rooms.store()
    }

    fn now_ms(&self) -> u64 {
        self.inner.rooms.clock().now_ms()
    }
}

/// A user as a reader of rooms.
fn reader(view: &dyn View, user: UserNumber) -> Result<Option<Actor>> {
    let user_id = storage::user::id(view, user)?;
    Ok(user_id.map(|user_id| Actor::without_device(user_id, user)))
}
