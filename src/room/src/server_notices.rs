//! Server notices: what the server, through a user of its own, tells a user. "Servers should manage exactly 1 server
//! notices room per user."

use event::{build::Draft, json};
use ruma_common::{OwnedEventId, OwnedMxcUri, OwnedTransactionId, OwnedUserId, UserId};
use ruma_events::TimelineEventType;
use serde_json::{
    json,
    value::{RawValue as RawJsonValue, to_raw_value},
};
use storage::{
    account_data,
    membership::{self, Membership},
    notice_room, profile,
    room::{self, RoomNumber},
    user::{self, Account, UserNumber},
};

use crate::{
    ActError, Actor, CreateError, CreateRoom, Preset,
    room_txn::RoomTxn,
    rooms::Rooms,
    send::{request_key, said_before},
};

/// Who speaks for the server, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    /// The user. Nobody can log in as it.
    pub user_id: OwnedUserId,
    /// Its display name.
    pub display_name: String,
    /// Its avatar.
    pub avatar_url: Option<OwnedMxcUri>,
    /// The name of the rooms.
    pub room_name: String,
}

/// Something to tell a user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The type of the event.
    pub event_type: String,
    /// A state event's key.
    pub state_key: Option<String>,
    /// The content.
    pub content: Box<RawJsonValue>,
    /// The administrator's transaction.
    pub txn_id: Option<OwnedTransactionId>,
}

/// Why nothing was said.
#[derive(Debug, thiserror::Error)]
pub enum NoticeError {
    /// The server has no user for it.
    #[error("Server notices are not enabled on this server")]
    Disabled,
    /// There is no such user of this server, or the account is closed.
    #[error("User not found")]
    NotFound,
    /// The user of the notices can be logged in to: it is somebody's.
    #[error("The user of the server notices is somebody's account")]
    Taken,
    /// No room could be made.
    #[error(transparent)]
    Create(#[from] CreateError),
}

impl From<ActError> for NoticeError {
    fn from(error: ActError) -> Self {
        Self::Create(error.into())
    }
}

impl From<storage::Error> for NoticeError {
    fn from(error: storage::Error) -> Self {
        Self::Create(error.into())
    }
}

impl Rooms {
    /// Tells a user something in the server's name: in the room for that, which is made when it is needed first, and to
    /// which the user is invited again after having left. `admin` is who asked for it.
    ///
    /// # Errors
    ///
    /// See [`NoticeError`].
    pub async fn send_server_notice(
        &self,
        admin: &Actor,
        to: &UserId,
        notice: Notice,
    ) -> Result<OwnedEventId, NoticeError> {
        let notices = self.options().policy.notices.as_ref();
        let notices = notices.ok_or(NoticeError::Disabled)?;
        let target = self.noticed_user(to)?;
        let draft = Draft {
            event_type: TimelineEventType::from(notice.event_type.as_str()),
            state_key: notice.state_key,
            content: notice.content,
            redacts: None,
        };
        // Checked before a room is made for it.
        json::parse_own_object(draft.content.get())
            .map_err(|error| ActError::BadJson(error.to_string()))?;
        let (speaker, number) = {
            // One at a time: there is one room for each user.
            let _making = self.inner.notices.lock().await;
            let speaker = self.speaker(notices).await?;
            let number = match self.notice_room(target, speaker.user)? {
                Some(number) => number,
                None => self.make_notice_room(notices, &speaker, to, target).await?,
            };
            (speaker, number)
        };
        let endpoint = "send_server_notice";
        let commit = self.lock(number).await.write(|room| {
            room.free_of_charge();
            let key = request_key(admin, number, endpoint, notice.txn_id.as_ref());
            if let Some(event_id) = said_before(room, key.as_ref())? {
                return Ok(event_id);
            }
            // "Servers should invite the target user rather than automatically join them to the server notice room."
            let present = [Some(Membership::Join), Some(Membership::Invite)];
            if !present.contains(&room.member(to)?) {
                room.invite_again(&speaker, to)?;
            }
            let pdu = room.build_own(&speaker.user_id, &draft, room.now())?;
            let authorized = room.judge_own(pdu)?;
            let event_id = authorized.pdu().event_id().clone();
            room.store_unread(authorized, key)?;
            Ok::<_, ActError>(event_id)
        })?;
        Ok(commit.durable().await)
    }

    fn noticed_user(&self, to: &UserId) -> Result<UserNumber, NoticeError> {
        let found = self.store().read(|view| {
            let Some(number) = user::number(view, to)? else {
                return Ok(None);
            };
            let account = user::account(view, number)?;
            let open = account.filter(|account| !account.deactivated);
            Ok::<_, storage::Error>(open.map(|_| number))
        })?;
        found.ok_or(NoticeError::NotFound)
    }

    /// The user who speaks for the server, made now if there is none, and called as the configuration says.
    async fn speaker(&self, notices: &Notices) -> Result<Actor, NoticeError> {
        let commit = self.store().write(|txn| {
            let number = user::ensure(txn, &notices.user_id)?;
            match user::account_guarded(txn, number)? {
                Some(account) if account.password_hash.is_some() => {
                    return Err(NoticeError::Taken);
                }
                Some(_) => {}
                None => {
                    let account = Account {
                        created_ts: self.clock().now_ms(),
                        ..Account::default()
                    };
                    user::put_account(txn, number, &account);
                }
            }
            let present = profile::get_guarded(txn, number)?;
            if present.displayname.as_ref() != Some(&notices.display_name) {
                let name = to_raw_value(&notices.display_name).expect("text is JSON");
                profile::put_field(txn, number, profile::DISPLAYNAME, &name);
            }
            if present.avatar_url != notices.avatar_url {
                match &notices.avatar_url {
                    Some(url) => {
                        let url = to_raw_value(url).expect("text is JSON");
                        profile::put_field(txn, number, profile::AVATAR_URL, &url);
                    }
                    None => profile::delete_field(txn, number, profile::AVATAR_URL)?,
                }
            }
            Ok(number)
        })?;
        let speaker = commit.durable().await;
        Ok(Actor::without_device(notices.user_id.clone(), speaker))
    }

    /// The user's room, if the server can still speak there.
    fn notice_room(
        &self,
        target: UserNumber,
        speaker: UserNumber,
    ) -> storage::Result<Option<RoomNumber>> {
        self.store().read(|view| {
            let Some(number) = notice_room::of(view, target)? else {
                return Ok(None);
            };
            let member = membership::of(view, number, speaker)?;
            Ok(member
                .filter(|member| member.membership == Membership::Join)
                .map(|_| number))
        })
    }

    async fn make_notice_room(
        &self,
        notices: &Notices,
        speaker: &Actor,
        to: &UserId,
        target: UserNumber,
    ) -> Result<RoomNumber, NoticeError> {
        // The user reads, and answers nobody.
        let levels = json!({ "users_default": -10 });
        let request = CreateRoom {
            preset: Some(Preset::PrivateChat),
            name: Some(notices.room_name.clone()),
            power_level_content_override: Some(to_raw_value(&levels).expect("levels are JSON")),
            invite: vec![to.to_owned()],
            ..CreateRoom::default()
        };
        // "Servers must identify this room to clients with the `m.server_notice` tag."
        let tags = json!({ "tags": { "m.server_notice": {} } });
        let tags = to_raw_value(&tags).expect("tags are JSON");
        let room_id = self
            .make_room(speaker, request, None, |room| {
                let number = room.number();
                notice_room::put(room.txn(), target, number);
                account_data::put(room.txn(), target, Some(number), "m.tag", &tags)?;
                Ok(())
            })
            .await?;
        let number = self.store().read(|view| room::number(view, &room_id))?;
        number.ok_or_else(|| ActError::NotFound.into())
    }
}

impl RoomTxn<'_, '_> {
    /// Whether a user speaks for the server.
    pub(crate) fn speaks_for_server(&self, user_id: &UserId) -> bool {
        let notices = self.rooms.options.policy.notices.as_ref();
        notices.is_some_and(|notices| notices.user_id == user_id)
    }

    /// "Attempting to reject the invite must result in a `M_CANNOT_LEAVE_SERVER_NOTICE_ROOM` error. Servers should not
    /// prevent the user leaving the room after joining the server notices room."
    pub(crate) fn check_not_rejecting_notices(&self, actor: &Actor) -> Result<(), ActError> {
        if notice_room::of(self.view(), actor.user)? == Some(self.number())
            && self.member(&actor.user_id)? == Some(Membership::Invite)
        {
            return Err(ActError::ServerNoticeRoom);
        }
        Ok(())
    }
}
