//! Leaving rooms behind the request that made it so: guests leave a room that does not let them in any more, and users whose
//! account is closed leave all rooms.
//!
//! Who is to leave stands in a queue on disk, written in the commit of the event, or of the account. It is worked off one
//! membership at a time; where it stands is written in the commit with which somebody leaves.

use std::time::Duration;

use storage::{
    Change, Error, Result, Tail, View,
    departure::{self, Departing, Departure},
    membership::{self, Membership},
    room::RoomNumber,
    user::{self, UserNumber},
};

use crate::{ActError, Actor, room_txn::RoomTxn, rooms::Rooms};

/// Entries that are worked off in turn.
const AT_ONCE: usize = 16;

/// After somebody has left, the next one waits for so long: everybody in the room is told of each.
const PAUSE: Duration = Duration::from_millis(5);

/// Members of a room, or rooms of a user, that are read at once.
const PAGE: usize = 256;

impl Rooms {
    /// Lets those leave who are to leave, until the store closes.
    pub async fn work_off_departures(self) {
        match self.follow_departures().await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "guests and closed accounts do not leave rooms any more")
            }
        }
    }

    async fn follow_departures(&self) -> Result<()> {
        let mut tail = Tail::new(self.store());
        loop {
            loop {
                let waiting = self
                    .store()
                    .read(|view| departure::waiting(view, AT_ONCE))?;
                if waiting.is_empty() {
                    break;
                }
                for entry in waiting {
                    self.depart(entry).await?;
                }
                tokio::time::sleep(PAUSE).await;
            }
            loop {
                let page = tail.next().await?;
                let mut changes = page.commits.iter().flat_map(|(_, changes)| changes.iter());
                if changes.any(|change| *change == Change::Departure) {
                    break;
                }
            }
        }
    }

    /// Lets the next one leave, or takes the entry for done if there is none.
    async fn depart(&self, entry: Departing) -> Result<()> {
        let store = self.store();
        let who = entry.who;
        let next = store
            .read_heavy(move |view| next(view, who, entry.done))
            .await?;
        let Some((actor, room)) = next else {
            let commit = store.write(|txn| departure::advance(txn, &entry, None))?;
            commit.durable().await;
            return Ok(());
        };
        let done = match who {
            Departure::Guests(_) => actor.user.0,
            Departure::User(_) => room.0,
        };
        let written = self
            .lock(room)
            .await
            .write(|locked| locked.depart(&actor, &entry, done));
        let commit = match written {
            Ok(commit) => commit,
            Err(ActError::Storage(error)) if !matches!(error, Error::Corrupt { .. }) => {
                return Err(error);
            }
            // A room that does not let somebody go must not hold back the others.
            Err(error) => {
                tracing::warn!(%error, room.number = room.0, user.id = %actor.user_id,
                    "somebody cannot leave a room and stays in it");
                store.write(|txn| departure::advance(txn, &entry, Some(done)).map(drop))?
            }
        };
        commit.durable().await;
        Ok(())
    }
}

/// The next who is to leave, and which room, behind those that are done.
fn next(view: &dyn View, who: Departure, done: Option<u64>) -> Result<Option<(Actor, RoomNumber)>> {
    match who {
        Departure::Guests(room) => {
            let guest = next_guest(view, room, done.map(UserNumber))?;
            Ok(guest.map(|actor| (actor, room)))
        }
        Departure::User(user) => {
            let room = next_room(view, user, done.map(RoomNumber))?;
            let user_id = user::id(view, user)?;
            let actor = user_id.map(|user_id| Actor::without_device(user_id, user));
            Ok(actor.zip(room))
        }
    }
}

fn next_guest(
    view: &dyn View,
    room: RoomNumber,
    mut after: Option<UserNumber>,
) -> Result<Option<Actor>> {
    loop {
        let members = membership::local_joined(view, room, after, PAGE)?;
        let Some(last) = members.last() else {
            return Ok(None);
        };
        after = Some(*last);
        let accounts = user::accounts_of(view, &members)?;
        let mut members = members.into_iter().zip(accounts);
        let guest = members.find(|(_, account)| account.as_ref().is_some_and(|it| it.guest));
        if let Some((user, _)) = guest
            && let Some(user_id) = user::id(view, user)?
        {
            return Ok(Some(Actor::without_device(user_id, user)));
        }
    }
}

/// The user's next room in which they are, or are asked to come, or ask to.
fn next_room(
    view: &dyn View,
    user: UserNumber,
    mut after: Option<RoomNumber>,
) -> Result<Option<RoomNumber>> {
    let present = [Membership::Join, Membership::Invite, Membership::Knock];
    loop {
        let rooms = membership::by_user_after(view, user, after, PAGE)?;
        let Some((last, _)) = rooms.last() else {
            return Ok(None);
        };
        after = Some(*last);
        let mut rooms = rooms.iter();
        let next = rooms.find(|(_, member)| present.contains(&member.membership));
        if let Some((room, _)) = next {
            return Ok(Some(*room));
        }
    }
}

impl RoomTxn<'_, '_> {
    /// Lets somebody leave, unless what made it so is not so any more.
    fn depart(&mut self, actor: &Actor, entry: &Departing, done: u64) -> Result<(), ActError> {
        let (done, leaves) = match entry.who {
            Departure::Guests(_) if self.lets_guests_in()? => (None, false),
            // The guest may have become a user meanwhile.
            Departure::Guests(_) => {
                let account = user::account_guarded(self.txn, actor.user)?;
                (Some(done), account.is_some_and(|account| account.guest))
            }
            Departure::User(_) => (Some(done), true),
        };
        if !departure::advance(self.txn, entry, done)? || !leaves {
            return Ok(());
        }
        self.free_of_charge();
        self.leave(actor, None)
    }
}
