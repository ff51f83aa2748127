//! What commits mean to users with pushers.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use storage::{
    Change, Error, Follower, Position, Result, View,
    log::Page,
    membership::{self, Membership},
    pusher::{self, Waiting},
    room::{EventNumber, RoomNumber},
    user::UserNumber,
};

use crate::{Push, reader};

/// The name of the follower's cursor.
const FOLLOWER: &str = "push";

/// Rooms whose members with pushers are kept in memory.
const MAX_ROOMS: usize = 10_000;

/// Users with pushers, and in which rooms they are.
struct Known {
    users: HashSet<UserNumber>,
    rooms: HashMap<RoomNumber, Arc<[UserNumber]>>,
}

/// Something to be told to all pushers of a user.
struct Found {
    user: UserNumber,
    place: (Position, u32),
    event: Option<(RoomNumber, EventNumber)>,
}

impl Push {
    pub(crate) async fn follow(&self) -> Result<()> {
        let mut follower = Follower::new(self.store(), FOLLOWER)?;
        let users = self.store().read(|view| pusher::all_users(view))?;
        for user in &users {
            self.wake(*user)?;
        }
        let mut known = Known {
            users: users.into_iter().collect(),
            rooms: HashMap::new(),
        };
        loop {
            let page = follower.next().await?;
            let found = self.found(&mut known, &page)?;
            if found.is_empty() {
                follower.skip(page.to).await?;
                continue;
            }
            let since_ms = self.now_ms();
            follower
                .pass(page.to, |txn| {
                    for found in &found {
                        let waiting = Waiting {
                            event: found.event,
                            since_ms,
                        };
                        // A pusher that ends at this moment takes its queue with it.
                        for pusher in pusher::list_guarded(txn, found.user)? {
                            if pusher.enabled {
                                let id = pusher.id();
                                pusher::put_waiting(txn, found.user, id, found.place, &waiting);
                            }
                        }
                    }
                    Ok::<_, Error>(())
                })
                .await?;
            let users: BTreeSet<_> = found.iter().map(|found| found.user).collect();
            for user in users {
                self.wake(user)?;
            }
        }
    }

    fn found(&self, known: &mut Known, page: &Page) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        let changes = page.commits.iter().flat_map(|(position, changes)| {
            let changes = (0_u32..).zip(changes.iter());
            changes.map(|(number, change)| ((*position, number), change))
        });
        self.store().read(|view| {
            for (place, change) in changes {
                self.look(view, known, (place, change), &mut found)?;
            }
            Ok(found)
        })
    }

    fn look(
        &self,
        view: &dyn View,
        known: &mut Known,
        (place, change): ((Position, u32), &Change),
        found: &mut Vec<Found>,
    ) -> Result<()> {
        match change {
            Change::Pushers { user } => {
                let user = UserNumber(*user);
                let has_any = !pusher::list(view, user)?.is_empty();
                let changed = match has_any {
                    true => known.users.insert(user),
                    false => known.users.remove(&user),
                };
                if changed {
                    for (room, _) in membership::by_user(view, user)? {
                        known.rooms.remove(&room);
                    }
                    self.inner.badges.forget(user, place.0);
                }
                // What waits may be sent at once by a pusher that was set anew.
                self.wake(user)?;
            }
            _ if known.users.is_empty() => {}
            Change::Event { room, event, .. } => {
                let at = (RoomNumber(*room), EventNumber(*event));
                self.look_at_event(view, known, (place, at), found)?;
            }
            // It may have been redacted.
            Change::EventMeta { room, .. } => {
                let room = RoomNumber(*room);
                self.note(&known.members(view, room)?, room, place.0);
            }
            Change::Membership { user, room } => {
                let (user, room) = (UserNumber(*user), RoomNumber(*room));
                if known.users.contains(&user) {
                    known.rooms.remove(&room);
                    self.inner.badges.note(user, room, place.0);
                    found.push(self.moved(view, place, (user, room))?);
                }
            }
            Change::Receipt { user, room } | Change::PrivateReceipt { user, room } => {
                let (user, room) = (UserNumber(*user), RoomNumber(*room));
                if known.users.contains(&user) {
                    self.inner.badges.note(user, room, place.0);
                    found.push(Found {
                        user,
                        place,
                        event: None,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What these users have not read in a room may have changed.
    fn note(&self, users: &[UserNumber], room: RoomNumber, position: Position) {
        for user in users {
            self.inner.badges.note(*user, room, position);
        }
    }

    fn look_at_event(
        &self,
        view: &dyn View,
        known: &mut Known,
        (place, at): ((Position, u32), (RoomNumber, EventNumber)),
        found: &mut Vec<Found>,
    ) -> Result<()> {
        let members = known.members(view, at.0)?;
        self.note(&members, at.0, place.0);
        if members.is_empty() {
            return Ok(());
        }
        let Some(meta) = storage::event::meta(view, at.0, at.1)? else {
            return Ok(());
        };
        for user in members.iter().copied() {
            // Who says something has read up to it.
            let event = (user != meta.sender).then_some(at);
            let tells = match event {
                None => true,
                Some(at) => match reader(view, user)? {
                    Some(reader) => self.inner.rooms.is_notified(view, at, &reader)?,
                    None => false,
                },
            };
            if tells {
                found.push(Found { user, place, event });
            }
        }
        Ok(())
    }

    /// A membership has changed: an invite is told, anything else may change the count.
    fn moved(
        &self,
        view: &dyn View,
        place: (Position, u32),
        (user, room): (UserNumber, RoomNumber),
    ) -> Result<Found> {
        let member = membership::of(view, room, user)?;
        let invited = member.filter(|member| member.membership == Membership::Invite);
        let event = invited.and_then(|member| member.event);
        Ok(Found {
            user,
            place,
            event: event.map(|event| (room, event)),
        })
    }
}

impl Known {
    /// The members of a room who have pushers.
    fn members(&mut self, view: &dyn View, room: RoomNumber) -> Result<Arc<[UserNumber]>> {
        if let Some(members) = self.rooms.get(&room) {
            return Ok(members.clone());
        }
        let joined = membership::local_joined(view, room, None, usize::MAX)?;
        let joined = joined.into_iter();
        let members: Arc<[_]> = joined.filter(|user| self.users.contains(user)).collect();
        if self.rooms.len() >= MAX_ROOMS {
            self.rooms.clear();
        }
        self.rooms.insert(room, members.clone());
        Ok(members)
    }
}
