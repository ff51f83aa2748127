//! Joining, leaving, inviting; who is in a room.

use std::{collections::BTreeMap, sync::Arc};

use ::room::{JoinRoom, JoinedMember, MembersRequest, Removal};
use ruma_client_api::membership::{
    ban_user, forget_room, get_member_events,
    invite_user::{self, v3::InvitationRecipient},
    join_room_by_id, join_room_by_id_or_alias, joined_members, joined_rooms, kick_user, leave_room,
    unban_user,
};
use ruma_common::{OwnedUserId, RoomId};
use ruma_events::room::member::MembershipState;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use storage::membership::Membership;

use crate::{
    Args, Error, Result, Services,
    answer::{Json, raw},
    client::{actor, page_token, room_of_id_or_alias},
};

/// `POST /_matrix/client/v3/rooms/{roomId}/join`
pub(crate) async fn join(
    services: Arc<Services>,
    args: Args<join_room_by_id::v3::Request>,
) -> Result<join_room_by_id::v3::Response> {
    let request = args.request;
    let join = JoinRoom {
        reason: request.reason,
        extra: Some(raw(&args.body)?.to_owned()),
    };
    let room_id = request.room_id;
    services
        .rooms
        .join(&actor(args.requester), &room_id, join)
        .await?;
    Ok(join_room_by_id::v3::Response::new(room_id))
}

/// `POST /_matrix/client/v3/join/{roomIdOrAlias}`
pub(crate) async fn join_by_id_or_alias(
    services: Arc<Services>,
    args: Args<join_room_by_id_or_alias::v3::Request>,
) -> Result<join_room_by_id_or_alias::v3::Response> {
    let request = args.request;
    let room_id = room_of_id_or_alias(&services, request.room_id_or_alias)?;
    let join = JoinRoom {
        reason: request.reason,
        extra: Some(raw(&args.body)?.to_owned()),
    };
    services
        .rooms
        .join(&actor(args.requester), &room_id, join)
        .await?;
    Ok(join_room_by_id_or_alias::v3::Response::new(room_id))
}

/// `POST /_matrix/client/v3/rooms/{roomId}/leave`
pub(crate) async fn leave(
    services: Arc<Services>,
    args: Args<leave_room::v3::Request>,
) -> Result<leave_room::v3::Response> {
    let request = args.request;
    services
        .rooms
        .leave(&actor(args.requester), &request.room_id, request.reason)
        .await?;
    Ok(leave_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/forget`
pub(crate) async fn forget(
    services: Arc<Services>,
    args: Args<forget_room::v3::Request>,
) -> Result<forget_room::v3::Response> {
    services
        .rooms
        .forget(&actor(args.requester), &args.request.room_id)
        .await?;
    Ok(forget_room::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/invite`
pub(crate) async fn invite(
    services: Arc<Services>,
    args: Args<invite_user::v3::Request>,
) -> Result<invite_user::v3::Response> {
    let (actor, room_id) = (actor(args.requester), &args.request.room_id);
    let rooms = &services.rooms;
    let InvitationRecipient::UserId(invited) = args.request.recipient else {
        rooms.invite_by_third_party_id(&actor, room_id).await?;
        return Ok(invite_user::v3::Response::new());
    };
    rooms
        .invite(&actor, room_id, &invited.user_id, invited.reason)
        .await?;
    Ok(invite_user::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/kick`
pub(crate) async fn kick(
    services: Arc<Services>,
    args: Args<kick_user::v3::Request>,
) -> Result<kick_user::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let removal = removal(&args.body, request.reason)?;
    services
        .rooms
        .kick(&actor, &request.room_id, &request.user_id, removal)
        .await?;
    Ok(kick_user::v3::Response::new())
}

/// `POST /_matrix/client/v3/rooms/{roomId}/ban`
pub(crate) async fn ban(
    services: Arc<Services>,
    args: Args<ban_user::v3::Request>,
) -> Result<ban_user::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    let removal = removal(&args.body, request.reason)?;
    services
        .rooms
        .ban(&actor, &request.room_id, &request.user_id, removal)
        .await?;
    Ok(ban_user::v3::Response::new())
}

/// MSC4293: "`redact_events` is also added to the `/kick` and `/ban` endpoints and is proxied to the resulting event."
fn removal(body: &[u8], reason: Option<String>) -> Result<Removal> {
    const NAMES: [&str; 2] = ["redact_events", "org.matrix.msc4293.redact_events"];

    #[derive(Deserialize)]
    struct Flags {
        #[serde(default)]
        redact_events: bool,
        #[serde(default, rename = "org.matrix.msc4293.redact_events")]
        unstable: bool,
    }

    let flags: Flags =
        serde_json::from_slice(body).map_err(|error| Error::bad_json(error.to_string()))?;
    let given = [flags.redact_events, flags.unstable];
    let mut names = NAMES.into_iter().zip(given);
    Ok(Removal {
        reason,
        redact_events: names.find(|(_, given)| *given).map(|(name, _)| name),
    })
}

/// `POST /_matrix/client/v3/rooms/{roomId}/unban`
pub(crate) async fn unban(
    services: Arc<Services>,
    args: Args<unban_user::v3::Request>,
) -> Result<unban_user::v3::Response> {
    let (actor, request) = (actor(args.requester), args.request);
    services
        .rooms
        .unban(&actor, &request.room_id, &request.user_id, request.reason)
        .await?;
    Ok(unban_user::v3::Response::new())
}

/// `GET /_matrix/client/v3/rooms/{roomId}/members`
pub(crate) async fn members(
    services: Arc<Services>,
    args: Args<get_member_events::v3::Request>,
) -> Result<Json> {
    #[derive(Serialize)]
    struct Members {
        chunk: Vec<Box<RawValue>>,
    }
    let request = args.request;
    let members = MembersRequest {
        at: page_token(request.at.as_deref())?,
        membership: membership(request.membership.as_ref())?,
        not_membership: membership(request.not_membership.as_ref())?,
    };
    let room_id: &RoomId = &request.room_id;
    let chunk = services
        .rooms
        .members(&actor(args.requester), room_id, members)
        .await?;
    Json::of(&Members { chunk })
}

fn membership(state: Option<&MembershipState>) -> Result<Option<Membership>> {
    state
        .map(|state| {
            Membership::parse(state.as_str())
                .ok_or_else(|| Error::invalid_param("Unknown membership"))
        })
        .transpose()
}

/// `GET /_matrix/client/v3/rooms/{roomId}/joined_members`
pub(crate) async fn joined_members(
    services: Arc<Services>,
    args: Args<joined_members::v3::Request>,
) -> Result<Json> {
    #[derive(Serialize)]
    struct Joined {
        joined: BTreeMap<OwnedUserId, RoomMember>,
    }
    let joined = services
        .rooms
        .joined_members(&actor(args.requester), &args.request.room_id)
        .await?;
    let joined = joined
        .into_iter()
        .map(|(user_id, member)| (user_id, RoomMember::from(member)));
    Json::of(&Joined {
        joined: joined.collect(),
    })
}

/// Written with `null` for what is not set, as clients are used to.
#[derive(Serialize)]
struct RoomMember {
    display_name: Option<String>,
    avatar_url: Option<String>,
}

impl From<JoinedMember> for RoomMember {
    fn from(member: JoinedMember) -> Self {
        Self {
            display_name: member.display_name,
            avatar_url: member.avatar_url,
        }
    }
}

/// `GET /_matrix/client/v3/joined_rooms`
pub(crate) async fn joined_rooms(
    services: Arc<Services>,
    args: Args<joined_rooms::v3::Request>,
) -> Result<joined_rooms::v3::Response> {
    let rooms = services.rooms.joined_rooms(&actor(args.requester))?;
    Ok(joined_rooms::v3::Response::new(rooms))
}
