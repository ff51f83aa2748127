//! Changed display names and avatars, carried into the rooms of the user behind the request that changed them.
//!
//! A follower of the log puts the user into a queue on disk; the queue is worked off room by room, one room of each
//! user in turn. Where it stands is written in the commit that changes the room, so that it goes on there after a crash.

use std::time::Duration;

use event::json;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ruma_common::{CanonicalJsonObject, CanonicalJsonValue, UserId};
use storage::{
    Change, Commit, Error, Follower, Result, View,
    membership::{self, Membership},
    profile::{
        self,
        carry::{self, Carried},
    },
    room::RoomNumber,
    user::{self, UserNumber},
};
use tokio::sync::Notify;

use crate::{
    ActError,
    membership::{ONCE, member_draft, set_or_remove},
    room_txn::RoomTxn,
    rooms::Rooms,
};

/// The name of the follower's cursor.
const FOLLOWER: &str = "profile";

/// Users whose profiles are carried at once.
const AT_ONCE: usize = 8;

/// After an event, the user's next one waits for so long: everybody in these rooms is told of each.
const PAUSE: Duration = Duration::from_millis(10);

/// Memberships of a user that are read at once.
const PAGE: usize = 64;

impl Rooms {
    /// Carries changed profiles into rooms until the store closes. "[Changes] to these fields cause an automatic
    /// propagation event to occur": "an `m.room.member` event (with a `membership` of `join`) is sent to every room the
    /// user is a member of".
    pub async fn carry_profiles(self) {
        let woken = Notify::new();
        let ended = tokio::select! {
            ended = self.note_profiles(&woken) => ended,
            ended = self.work_off(&woken) => ended,
        };
        match ended {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => {
                tracing::error!(%error, "changed profiles are not carried into rooms any more");
            }
        }
    }

    /// Puts users whose profile has changed into the queue.
    async fn note_profiles(&self, woken: &Notify) -> Result<()> {
        let mut follower = Follower::new(self.store(), FOLLOWER)?;
        loop {
            let page = follower.next().await?;
            let changes = page.commits.iter().flat_map(|(_, changes)| changes.iter());
            let mut users: Vec<_> = changes
                .filter_map(|change| match change {
                    Change::Profile { user } => Some(UserNumber(*user)),
                    _ => None,
                })
                .collect();
            users.sort_unstable();
            users.dedup();
            // Who joins a room after the change takes the new profile along.
            let mut members = Vec::with_capacity(users.len());
            for user in users {
                let rooms = |view: &dyn View| membership::by_user_after(view, user, None, 1);
                if !self.store().read(|view| rooms(view))?.is_empty() {
                    members.push(user);
                }
            }
            if members.is_empty() {
                follower.skip(page.to).await?;
                continue;
            }
            follower
                .pass(page.to, |txn| {
                    for user in &members {
                        carry::begin(txn, *user, page.to);
                    }
                    Ok::<_, Error>(())
                })
                .await?;
            woken.notify_one();
        }
    }

    /// Works off the queue: one room of each user, then the next one of each.
    async fn work_off(&self, woken: &Notify) -> Result<()> {
        loop {
            let mut after = None;
            loop {
                let users = self
                    .store()
                    .read(|view| carry::waiting(view, after, AT_ONCE))?;
                let Some((last, _)) = users.last() else {
                    break;
                };
                after = Some(*last);
                stream::iter(users)
                    .map(|(user, carried)| self.carry_on(user, carried))
                    .buffer_unordered(AT_ONCE)
                    .try_collect::<()>()
                    .await?;
            }
            if after.is_none() {
                woken.notified().await;
            }
        }
    }

    /// Carries a user's profile into the next room.
    async fn carry_on(&self, user: UserNumber, carried: Carried) -> Result<()> {
        let next = self.store().read(|view| {
            let user_id = user::id(view, user)?;
            Ok::<_, Error>(user_id.zip(next_joined(view, user, carried.done)?))
        })?;
        let Some((user_id, room)) = next else {
            let commit = self
                .store()
                .write(|txn| carry::advance(txn, user, &carried, None))?;
            commit.durable().await;
            return Ok(());
        };
        let written = self.lock(room).await.write(|locked| {
            if !carry::advance(locked.txn(), user, &carried, Some(room))? {
                return Ok(false);
            }
            match locked.take_over_profile(&user_id, user) {
                Ok(said) => Ok(said),
                Err(ActError::Storage(error)) => Err(error),
                Err(error) => {
                    tracing::debug!(%error, room.number = room.0, user.id = %user_id,
                        "a room does not take over a changed profile");
                    Ok(false)
                }
            }
        });
        let commit = match written {
            // A damaged room must not keep the profile from the others.
            Err(error @ Error::Corrupt { .. }) => {
                tracing::error!(%error, room.number = room.0, user.id = %user_id,
                    "a room cannot take over a changed profile and is passed over");
                self.pass_over(user, carried, room)?
            }
            written => written?,
        };
        if commit.durable().await {
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Takes a room for done in which nothing was said.
    fn pass_over(
        &self,
        user: UserNumber,
        carried: Carried,
        room: RoomNumber,
    ) -> Result<Commit<bool>> {
        self.store().write(|txn| {
            carry::advance(txn, user, &carried, Some(room))?;
            Ok(false)
        })
    }
}

/// The user's next joined room behind one that is done.
fn next_joined(
    view: &dyn View,
    user: UserNumber,
    mut done: Option<RoomNumber>,
) -> Result<Option<RoomNumber>> {
    loop {
        let rooms = membership::by_user_after(view, user, done, PAGE)?;
        let mut joined = rooms
            .iter()
            .filter(|(_, member)| member.membership == Membership::Join);
        if let Some((room, _)) = joined.next() {
            return Ok(Some(*room));
        }
        match rooms.last() {
            Some((last, _)) => done = Some(*last),
            None => return Ok(None),
        }
    }
}

impl RoomTxn<'_, '_> {
    /// Says a joined user's membership anew, if display name or avatar differ from the profile. Whether that was needed.
    fn take_over_profile(&mut self, user_id: &UserId, user: UserNumber) -> Result<bool, ActError> {
        if self.member(user_id)? != Some(Membership::Join) {
            return Ok(false);
        }
        let Some(current) = self.state_event_of("m.room.member", user_id.as_str())? else {
            return Ok(false);
        };
        let Ok(content) = json::parse_object(current.pdu.content().get()) else {
            return Ok(false);
        };
        let profile = profile::get(self.view(), user)?;
        let url = profile.avatar_url.as_ref().map(|url| url.as_str());
        let Some(content) = with_profile(content, profile.displayname.as_deref(), url) else {
            return Ok(false);
        };
        let draft = member_draft(user_id, &content);
        let pdu = self.build_own(user_id, &draft, self.now())?;
        let authorized = self.judge_own(pdu)?;
        self.store_unread(authorized, None)?;
        Ok(true)
    }
}

/// The content of a member event with another profile; `None` if it has this one. A name that the user chose for one
/// room is replaced, as other servers do it.
fn with_profile(
    mut content: CanonicalJsonObject,
    displayname: Option<&str>,
    avatar_url: Option<&str>,
) -> Option<CanonicalJsonObject> {
    let fields = [
        (profile::DISPLAYNAME, displayname),
        (profile::AVATAR_URL, avatar_url),
    ];
    let is = |(key, value): &(&str, Option<&str>)| {
        content.get(*key).and_then(CanonicalJsonValue::as_str) == *value
    };
    if fields.iter().all(is) {
        return None;
    }
    for (key, value) in fields {
        set_or_remove(&mut content, key, value);
    }
    content.retain(|key, _| !ONCE.contains(&key.as_str()));
    Some(content)
}

#[cfg(test)]
mod tests {
    use event::json;

    use super::with_profile;

    #[test]
    fn what_a_changed_profile_makes_of_a_membership() {
        for (content, name, url, expected) in [
            (
                r#"{"displayname":"a","membership":"join"}"#,
                Some("a"),
                None,
                None,
            ),
            (
                r#"{"displayname":"a","membership":"join","reason":"r","x":1}"#,
                Some("b"),
                Some("mxc://x/y"),
                Some(r#"{"avatar_url":"mxc://x/y","displayname":"b","membership":"join","x":1}"#),
            ),
            (
                r#"{"avatar_url":"mxc://x/y","displayname":5,"membership":"join"}"#,
                None,
                None,
                Some(r#"{"membership":"join"}"#),
            ),
        ] {
            let content = json::parse_object(content).unwrap();
            let content = with_profile(content, name, url);
            let content = content.map(|content| json::to_string(&content));
            assert_eq!(content.as_deref(), expected);
        }
    }
}
