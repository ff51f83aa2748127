//! Why an act or a read of a client is refused, in Matrix words. Which errcode that is, `api` knows.

/// Why an act was not done.
#[derive(Debug, thiserror::Error)]
pub enum ActError {
    /// The rules of the room do not allow it.
    #[error("{0}")]
    Forbidden(String),
    /// The actor is not joined to the room, or there is no such room.
    #[error("you are not in this room")]
    NotJoined,
    /// There is no such room or event, or the actor may not know of it.
    #[error("there is no such room or event, or it is not for you")]
    NotFound,
    /// The content is not canonical JSON, or has the wrong shape for its type.
    #[error("{0}")]
    BadJson(String),
    /// A parameter is impossible.
    #[error("{0}")]
    InvalidParam(String),
    /// The event, or one of its keys, is too large.
    #[error("{0}")]
    TooLarge(String),
    /// "The request is an attempt to send a duplicate annotation."
    #[error("you have annotated this event with the same key before")]
    DuplicateAnnotation,
    /// "One or more aliases within the `m.room.canonical_alias` event do not point to the room ID for which the state event
    /// is to be sent to."
    #[error("an alias does not point to this room")]
    BadAlias,
    /// Another server would have to take part.
    #[error("this needs another server to take part, which this server cannot do yet")]
    NeedsFederation,
    /// "The account has been suspended and can only be used for limited actions."
    #[error("You cannot perform this action while suspended.")]
    Suspended,
    /// "The homeserver rejected the invite due to invite blocking."
    #[error("{0} does not want to be invited by you")]
    InviteBlocked(ruma_common::OwnedUserId),
    /// Somebody is to be invited by an address, and no identity server is known here that could find them.
    #[error("this server cannot invite by third-party identifiers")]
    ThirdPartyInvite,
    /// "The client must not expect to be able to reject an invite to join the server notices room."
    #[error("You cannot reject this invite")]
    ServerNoticeRoom,
    /// "The room does not permit guests to access it."
    #[error("Guests cannot join this room")]
    NoGuests,
    /// The actor does this too often.
    #[error(transparent)]
    TooSoon(#[from] limit::TooSoon),
    /// Refused for a reason without an errcode of its own.
    #[error("{0}")]
    Unknown(String),
    /// The store failed: nobody's fault but ours.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}

impl ActError {
    pub(crate) fn bad_json(reason: impl Into<String>) -> Self {
        Self::BadJson(reason.into())
    }
}

/// Why a room was not created.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// "The homeserver doesn't support the requested room version."
    #[error("this room version is not supported")]
    UnsupportedRoomVersion,
    /// "The initial state implied by the parameters to the request is invalid."
    #[error("{0}")]
    InvalidRoomState(String),
    /// "The room alias specified is already taken."
    #[error("this room alias is already taken")]
    RoomInUse,
    /// As for acts in a room that exists.
    #[error(transparent)]
    Act(#[from] ActError),
}

impl CreateError {
    pub(crate) fn bad_json(reason: impl Into<String>) -> Self {
        Self::Act(ActError::bad_json(reason))
    }
}

impl From<storage::Error> for CreateError {
    fn from(error: storage::Error) -> Self {
        Self::Act(error.into())
    }
}

/// Why something was not shown.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The reader is not in the room and never was, or has forgotten it; or there is no such room.
    #[error("you are not in this room")]
    Forbidden,
    /// There is no such event or state, or the reader may not see it. Which of these is not told.
    #[error("there is no such room, event or state, or it is not for you")]
    NotFound,
    /// A parameter is impossible.
    #[error("{0}")]
    InvalidParam(String),
    /// The store failed.
    #[error(transparent)]
    Storage(#[from] storage::Error),
}
