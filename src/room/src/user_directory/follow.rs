//! Keeping the user directory up: a follower of the log writes the words of users whose profile has changed, and who is in
//! a room that everybody may join or read. It looks at what is so now, so that it may see a change twice.

use std::collections::BTreeSet;

use serde::Deserialize;
use storage::{
    Change, Error, Follower, Result, Txn, View,
    membership::{self, Membership},
    profile,
    room::{self, RoomNumber},
    user::{self, UserNumber},
    user_directory::{self as directory, Entry},
};

use super::words;
use crate::{HistoryVisibility, rooms::Rooms, state_read::current_of};

/// The name of the follower's cursor.
const FOLLOWER: &str = "user_directory";
/// Raised when the same profiles and rooms give other rows: then the directory is made anew.
const VERSION: u32 = 1;
/// Users, or rooms, of one batch.
const BATCH: usize = 500;

/// What has to be looked at.
#[derive(Default)]
struct Changed {
    profiles: BTreeSet<UserNumber>,
    rooms: BTreeSet<RoomNumber>,
    members: BTreeSet<(RoomNumber, UserNumber)>,
}

impl Rooms {
    /// Keeps the user directory up until the store closes.
    pub async fn keep_user_directory(self) {
        match self.follow_users().await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => tracing::error!(%error, "the user directory is not kept up any more"),
        }
    }

    async fn follow_users(&self) -> Result<()> {
        let mut follower = Follower::new(self.store(), FOLLOWER)?;
        if self.store().read(|view| directory::version(view))? != Some(VERSION) {
            self.make_user_directory().await?;
        }
        loop {
            let page = follower.next().await?;
            let mut changed = Changed::default();
            for change in page.commits.iter().flat_map(|(_, changes)| changes.iter()) {
                changed.note(change);
            }
            for room in &changed.rooms {
                self.note_openness(*room).await?;
            }
            let rows = self.store().read(|view| rows(view, &changed))?;
            let Some((last, others)) = rows.split_last() else {
                follower.skip(page.to).await?;
                continue;
            };
            for batch in others {
                self.write_directory(|txn| batch.write(txn)).await?;
            }
            follower.pass(page.to, |txn| last.write(txn)).await?;
        }
    }

    /// Makes the whole directory, from the accounts and the rooms.
    async fn make_user_directory(&self) -> Result<()> {
        self.write_directory(|txn| {
            directory::clear(txn);
            Ok(())
        })
        .await?;
        let mut after = UserNumber(0);
        loop {
            let accounts = self
                .store()
                .read(|view| user::accounts(view, after, BATCH))?;
            let Some((last, _)) = accounts.last() else {
                break;
            };
            after = *last;
            let users: Vec<_> = accounts.into_iter().map(|(user, _)| user).collect();
            let words = self.store().read(|view| word_rows(view, &users))?;
            let rows = Rows {
                words,
                ..Rows::default()
            };
            self.write_directory(|txn| rows.write(txn)).await?;
        }
        let mut after = None;
        loop {
            let rooms = self.store().read(|view| room::list(view, after, BATCH))?;
            let Some((last, _)) = rooms.last() else {
                break;
            };
            after = Some(*last);
            for (room, _) in rooms {
                self.note_openness(room).await?;
            }
        }
        self.write_directory(|txn| {
            directory::set_version(txn, VERSION);
            Ok(())
        })
        .await
    }

    async fn write_directory(&self, closure: impl Fn(&mut Txn<'_>) -> Result<()>) -> Result<()> {
        self.store().write(closure)?.durable().await;
        Ok(())
    }

    /// Looks whether everybody may join or read a room. If that has changed, it is noted of all its local members, and
    /// of the room at last, so that after a crash it is done again.
    async fn note_openness(&self, room: RoomNumber) -> Result<()> {
        let (was, is) = self.store().read(|view| {
            Ok::<_, Error>((directory::is_open(view, room)?, self.is_open(view, room)?))
        })?;
        if was == is {
            return Ok(());
        }
        let mut after = None;
        loop {
            let members = self
                .store()
                .read(|view| membership::local_joined(view, room, after, BATCH))?;
            let Some(last) = members.last() else {
                break;
            };
            after = Some(*last);
            self.write_directory(|txn| {
                for user in &members {
                    directory::set_open_member(txn, room, *user, is);
                }
                Ok(())
            })
            .await?;
        }
        self.write_directory(|txn| {
            directory::set_open(txn, room, is);
            Ok(())
        })
        .await
    }

    /// Whether a room has "a `public` join rule" or "a `world_readable` history visibility". A damaged room is closed.
    fn is_open(&self, view: &dyn View, room: RoomNumber) -> Result<bool> {
        #[derive(Deserialize)]
        struct JoinRules {
            join_rule: String,
        }

        let Some(head) = room::head(view, room)? else {
            return Ok(false);
        };
        let read = |event_type| match current_of(view, room, &head, event_type) {
            Err(Error::Corrupt { .. }) => Ok(None),
            read => read,
        };
        let rules = read("m.room.join_rules")?;
        let rules = rules.and_then(|event| event.content_as::<JoinRules>().ok());
        let visibility = read("m.room.history_visibility")?;
        let visibility = visibility.map(|event| HistoryVisibility::from_content(event.content()));
        Ok(rules.is_some_and(|rules| rules.join_rule == "public")
            || visibility == Some(HistoryVisibility::WorldReadable))
    }
}

/// Rows that one batch writes.
#[derive(Default)]
struct Rows {
    members: Vec<(RoomNumber, UserNumber, bool)>,
    words: Vec<(UserNumber, Entry)>,
}

impl Rows {
    fn write(&self, txn: &mut Txn<'_>) -> Result<()> {
        for (room, user, is) in &self.members {
            directory::set_open_member(txn, *room, *user, *is);
        }
        let mut words = self.words.iter();
        words.try_for_each(|(user, entry)| directory::put(txn, *user, entry))
    }
}

/// What has to be written, in batches: nothing that stands there.
fn rows(view: &dyn View, changed: &Changed) -> Result<Vec<Rows>> {
    let mut batches = Vec::new();
    let members: Vec<_> = changed.members.iter().copied().collect();
    for members in members.chunks(BATCH) {
        batches.push(Rows {
            members: member_rows(view, members)?,
            words: Vec::new(),
        });
    }
    let users: Vec<_> = changed.profiles.iter().copied().collect();
    for users in users.chunks(BATCH) {
        batches.push(Rows {
            members: Vec::new(),
            words: word_rows(view, users)?,
        });
    }
    batches.retain(|rows| !rows.members.is_empty() || !rows.words.is_empty());
    Ok(batches)
}

/// Whether users whose membership has changed are in a room that everybody may join or read.
fn member_rows(
    view: &dyn View,
    members: &[(RoomNumber, UserNumber)],
) -> Result<Vec<(RoomNumber, UserNumber, bool)>> {
    let mut rows = Vec::new();
    for (room, user) in members {
        let member = membership::of(view, *room, *user)?;
        let joined = member.is_some_and(|member| member.membership == Membership::Join);
        let is =
            joined && directory::is_open(view, *room)? && user::account(view, *user)?.is_some();
        if is != directory::is_open_member(view, *room, *user)? {
            rows.push((*room, *user, is));
        }
    }
    Ok(rows)
}

/// The words of local users.
fn word_rows(view: &dyn View, users: &[UserNumber]) -> Result<Vec<(UserNumber, Entry)>> {
    let ids = user::ids(view, users)?;
    let present = directory::entries(view, users)?;
    let mut rows = Vec::new();
    for ((user, user_id), present) in users.iter().zip(ids).zip(present) {
        // Whoever has no account is remote: their servers say who they are.
        let account = user::account(view, *user)?;
        let Some((user_id, _)) = user_id.zip(account) else {
            continue;
        };
        let profile = profile::get(view, *user)?;
        let words = words::of_user(&user_id, profile.displayname.as_deref());
        let entry = Entry { words };
        if present.as_ref() != Some(&entry) {
            rows.push((*user, entry));
        }
    }
    Ok(rows)
}

impl Changed {
    fn note(&mut self, change: &Change) {
        match change {
            Change::Profile { user } => {
                self.profiles.insert(UserNumber(*user));
            }
            Change::State { room } => {
                self.rooms.insert(RoomNumber(*room));
            }
            Change::Membership { user, room } => {
                self.members.insert((RoomNumber(*room), UserNumber(*user)));
            }
            _ => {}
        }
    }
}
