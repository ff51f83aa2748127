//! The table: every error of a domain crate with its status and errcode.

use std::time::Duration;

use auth::{
    AccountError, BadAuth, DeviceError, LoginError, ModerationError, PasswordError, RegisterError,
    SharedSecretError, TokenError, UiaError,
};
use http::StatusCode;
use limit::TooSoon;
use media::{DownloadError, PreviewError, ThumbnailError, UploadError, WaitError};
use room::{ActError, AliasError, CreateError, NoticeError, ReadError};
use ruma_common::api::error::{ErrorKind, ResourceLimitExceededErrorData, UnknownTokenErrorData};
use sync::{PresenceError, SyncError, TypingError};
use user::{
    AccountDataError, FilterError, ProfileError, PusherError, TagError, push_rules::PushRuleError,
};

use super::{Error, Inner};

/// When to try again what was refused because the processor is busy.
const BUSY_RETRY: Duration = Duration::from_secs(2);

fn soft_logout() -> ErrorKind {
    let mut data = UnknownTokenErrorData::new();
    data.soft_logout = true;
    ErrorKind::UnknownToken(data)
}

fn failed(what: &'static str, error: &dyn std::error::Error) -> Error {
    tracing::error!(%error, "{what} failed");
    Error::internal()
}

fn busy() -> Error {
    Error::too_many_requests(BUSY_RETRY)
}

impl From<TooSoon> for Error {
    fn from(error: TooSoon) -> Self {
        Self::too_many_requests(error.retry_after)
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        failed("the store", &error)
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unknown => Self::unknown_token(),
            TokenError::Expired => Self::new(
                StatusCode::UNAUTHORIZED,
                soft_logout(),
                "The access token has expired",
            ),
            TokenError::Locked => Self::locked(),
            TokenError::Storage(error) => error.into(),
        }
    }
}

impl From<PasswordError> for Error {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => busy(),
            PasswordError::Hash(_) => failed("a password check", &error),
        }
    }
}

impl From<BadAuth> for Error {
    fn from(error: BadAuth) -> Self {
        match error {
            BadAuth::NotJson => Self::not_json(error.to_string()),
            BadAuth::NotAnObject | BadAuth::AuthNotAnObject | BadAuth::Field => {
                Self::bad_json(error.to_string())
            }
        }
    }
}

impl From<UiaError> for Error {
    fn from(error: UiaError) -> Self {
        match error {
            UiaError::Challenge(challenge) => Self(Box::new(Inner::Interactive(challenge))),
            UiaError::OtherUser => Self::forbidden(error.to_string()),
            UiaError::BadJson(error) => error.into(),
            UiaError::TooSoon(error) => error.into(),
            UiaError::Password(error) => error.into(),
            UiaError::Storage(error) => error.into(),
        }
    }
}

impl From<RegisterError> for Error {
    fn from(error: RegisterError) -> Self {
        let message = error.to_string();
        match error {
            RegisterError::GuestsDisabled => Self::no_guests(message),
            RegisterError::Disabled | RegisterError::NotThatGuest => Self::forbidden(message),
            RegisterError::UserInUse => Self::bad_request(ErrorKind::UserInUse, message),
            RegisterError::InvalidUsername(_) => {
                Self::bad_request(ErrorKind::InvalidUsername, message)
            }
            RegisterError::MissingPassword | RegisterError::MissingUsername => {
                Self::missing_param(message)
            }
            RegisterError::GuestToken(error) => error.into(),
            RegisterError::WeakPassword(_) => Self::bad_request(ErrorKind::WeakPassword, message),
            RegisterError::Device(_) => Self::invalid_param(message),
            RegisterError::Uia(error) => error.into(),
            RegisterError::TooSoon(error) => error.into(),
            RegisterError::Password(error) => error.into(),
            RegisterError::Storage(error) => error.into(),
        }
    }
}

impl From<SharedSecretError> for Error {
    fn from(error: SharedSecretError) -> Self {
        let message = error.to_string();
        match error {
            SharedSecretError::Disabled | SharedSecretError::UnknownNonce => {
                Self::bad_request(ErrorKind::Unknown, message)
            }
            SharedSecretError::WrongMac => {
                Self::new(StatusCode::FORBIDDEN, ErrorKind::Unknown, message)
            }
            SharedSecretError::Register(error) => error.into(),
        }
    }
}

impl From<LoginError> for Error {
    fn from(error: LoginError) -> Self {
        let message = error.to_string();
        match error {
            LoginError::Forbidden => Self::forbidden(message),
            LoginError::Deactivated => {
                Self::new(StatusCode::FORBIDDEN, ErrorKind::UserDeactivated, message)
            }
            LoginError::Locked => Self::locked(),
            LoginError::Device(_) => Self::invalid_param(message),
            LoginError::TooSoon(error) => error.into(),
            LoginError::Password(error) => error.into(),
            LoginError::Storage(error) => error.into(),
        }
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        let message = error.to_string();
        match error {
            AccountError::NotFound => Self::not_found(message),
            AccountError::Deactivated => {
                Self::new(StatusCode::FORBIDDEN, ErrorKind::UserDeactivated, message)
            }
            AccountError::WeakPassword(_) => Self::bad_request(ErrorKind::WeakPassword, message),
            AccountError::Password(error) => error.into(),
            AccountError::Storage(error) => error.into(),
        }
    }
}

impl From<ModerationError> for Error {
    fn from(error: ModerationError) -> Self {
        let message = error.to_string();
        match error {
            ModerationError::NotAdministrator
            | ModerationError::Yourself
            | ModerationError::Administrator => Self::forbidden(message),
            ModerationError::NotLocal => Self::invalid_param(message),
            ModerationError::NotFound => Self::not_found(message),
            ModerationError::Storage(error) => error.into(),
        }
    }
}

impl From<DeviceError> for Error {
    fn from(error: DeviceError) -> Self {
        let message = error.to_string();
        match error {
            DeviceError::NotFound => Self::not_found(message),
            DeviceError::Invalid(_) => Self::invalid_param(message),
            DeviceError::Storage(error) => error.into(),
        }
    }
}

impl From<ProfileError> for Error {
    fn from(error: ProfileError) -> Self {
        let message = error.to_string();
        match error {
            ProfileError::InvalidKey | ProfileError::ValueTooLong(_) => {
                Self::invalid_param(message)
            }
            ProfileError::KeyTooLarge => Self::bad_request(ErrorKind::KeyTooLarge, message),
            ProfileError::InvalidValue(_) => Self::bad_json(message),
            ProfileError::ProfileTooLarge => Self::bad_request(ErrorKind::ProfileTooLarge, message),
            ProfileError::Storage(error) => error.into(),
        }
    }
}

impl From<PushRuleError> for Error {
    fn from(error: PushRuleError) -> Self {
        let message = error.to_string();
        match error {
            PushRuleError::NotFound => Self::not_found(message),
            PushRuleError::Invalid(_) | PushRuleError::TooLarge => Self::invalid_param(message),
            PushRuleError::Storage(error) => error.into(),
        }
    }
}

impl From<PusherError> for Error {
    fn from(error: PusherError) -> Self {
        let message = error.to_string();
        match error {
            PusherError::Missing(_) => Self::missing_param(message),
            PusherError::Invalid(_) | PusherError::TooMany => Self::invalid_param(message),
            PusherError::Storage(error) => error.into(),
        }
    }
}

impl From<TagError> for Error {
    fn from(error: TagError) -> Self {
        let message = error.to_string();
        match error {
            TagError::NameTooLong | TagError::InvalidOrder => Self::invalid_param(message),
            TagError::TooLarge => Self::too_large(message),
            TagError::Storage(error) => error.into(),
        }
    }
}

impl From<AccountDataError> for Error {
    fn from(error: AccountDataError) -> Self {
        let message = error.to_string();
        match error {
            // "405: This type of account_data is controlled by the server; it cannot be modified by clients."
            AccountDataError::ServerManaged(_) => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, ErrorKind::BadJson, message)
            }
            AccountDataError::NotAnObject => Self::bad_json(message),
            AccountDataError::TooLarge => Self::too_large(message),
            AccountDataError::Storage(error) => error.into(),
        }
    }
}

impl From<FilterError> for Error {
    fn from(error: FilterError) -> Self {
        let message = error.to_string();
        match error {
            FilterError::TooLarge => Self::too_large(message),
            FilterError::TooMany => {
                let data = ResourceLimitExceededErrorData::new(String::new());
                Self::bad_request(ErrorKind::ResourceLimitExceeded(data), message)
            }
            FilterError::Storage(error) => error.into(),
        }
    }
}

impl From<ActError> for Error {
    fn from(error: ActError) -> Self {
        let message = error.to_string();
        match error {
            ActError::Forbidden(_) | ActError::NotJoined | ActError::NeedsFederation => {
                Self::forbidden(message)
            }
            ActError::NotFound => Self::not_found(message),
            ActError::BadJson(_) => Self::bad_json(message),
            ActError::InvalidParam(_) => Self::invalid_param(message),
            ActError::TooLarge(_) => Self::too_large(message),
            ActError::DuplicateAnnotation => {
                Self::bad_request(ErrorKind::DuplicateAnnotation, message)
            }
            ActError::BadAlias => Self::bad_request(ErrorKind::BadAlias, message),
            ActError::Suspended => Self::suspended(),
            ActError::InviteBlocked(_) => {
                Self::new(StatusCode::FORBIDDEN, ErrorKind::InviteBlocked, message)
            }
            ActError::ThirdPartyInvite => Self::no_third_party_invites(),
            ActError::ServerNoticeRoom => {
                let kind = ErrorKind::CannotLeaveServerNoticeRoom;
                Self::new(StatusCode::FORBIDDEN, kind, message)
            }
            ActError::NoGuests => Self::no_guests(message),
            ActError::TooSoon(error) => error.into(),
            ActError::Unknown(_) => Self::unknown(message),
            ActError::Storage(error) => error.into(),
        }
    }
}

impl From<CreateError> for Error {
    fn from(error: CreateError) -> Self {
        let message = error.to_string();
        match error {
            CreateError::UnsupportedRoomVersion => {
                Self::bad_request(ErrorKind::UnsupportedRoomVersion, message)
            }
            CreateError::InvalidRoomState(_) => {
                Self::bad_request(ErrorKind::InvalidRoomState, message)
            }
            CreateError::RoomInUse => Self::bad_request(ErrorKind::RoomInUse, message),
            CreateError::Act(error) => error.into(),
        }
    }
}

impl From<NoticeError> for Error {
    fn from(error: NoticeError) -> Self {
        let message = error.to_string();
        match error {
            NoticeError::Disabled => Self::unknown(message),
            NoticeError::NotFound => Self::not_found(message),
            NoticeError::Taken => failed("a server notice", &error),
            NoticeError::Create(error) => error.into(),
        }
    }
}

impl From<AliasError> for Error {
    fn from(error: AliasError) -> Self {
        let message = error.to_string();
        match error {
            AliasError::InUse => Self::new(StatusCode::CONFLICT, ErrorKind::Unknown, message),
            AliasError::Invalid(_) => Self::invalid_param(message),
            AliasError::Act(error) => error.into(),
        }
    }
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        let message = error.to_string();
        match error {
            ReadError::Forbidden => Self::forbidden(message),
            ReadError::NotFound => Self::not_found(message),
            ReadError::InvalidParam(_) => Self::invalid_param(message),
            ReadError::Storage(error) => error.into(),
        }
    }
}

impl From<TypingError> for Error {
    fn from(error: TypingError) -> Self {
        match error {
            TypingError::NotJoined => Self::forbidden(error.to_string()),
            TypingError::Storage(error) => error.into(),
        }
    }
}

impl From<PresenceError> for Error {
    fn from(error: PresenceError) -> Self {
        match error {
            PresenceError::Forbidden => Self::forbidden(error.to_string()),
            PresenceError::TooLarge => Self::too_large(error.to_string()),
            PresenceError::Storage(error) => error.into(),
        }
    }
}

impl From<SyncError> for Error {
    fn from(error: SyncError) -> Self {
        match error {
            SyncError::InvalidToken => Self::invalid_param(error.to_string()),
            SyncError::SessionEnded => Self::unknown_token(),
            SyncError::Storage(error) => error.into(),
            SyncError::Closing | _ => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                ErrorKind::Unknown,
                "The server is shutting down",
            ),
        }
    }
}

impl From<UploadError> for Error {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::TooLarge => Self::too_large("The file is too large"),
            // "M_FORBIDDEN […] The user has reached a quota for uploaded content."
            UploadError::Quota => Self::forbidden("Your quota for uploads is used up"),
            UploadError::Unknown => Self::not_found("Unknown media ID"),
            UploadError::OtherUser => Self::forbidden("This media ID belongs to another user"),
            UploadError::Overwrite => Self::new(
                StatusCode::CONFLICT,
                ErrorKind::CannotOverwriteMedia,
                "Media already uploaded",
            ),
            UploadError::BrokenOff => Self::unknown("The request body could not be read"),
            UploadError::Blob(error) => failed("an upload", &error),
            UploadError::Storage(error) => error.into(),
        }
    }
}

impl From<media::CreateError> for Error {
    fn from(error: media::CreateError) -> Self {
        match error {
            media::CreateError::TooManyPending { retry_after } => {
                Self::too_many_requests(retry_after)
            }
            media::CreateError::Storage(error) => error.into(),
        }
    }
}

impl From<PreviewError> for Error {
    fn from(error: PreviewError) -> Self {
        match error {
            PreviewError::Off => Self::not_found("URL previews are disabled on this server"),
            PreviewError::Url => Self::invalid_param("`url` is no URL that can be fetched"),
            PreviewError::Busy => busy(),
            PreviewError::Blob(_) | PreviewError::Storage(_) => failed("a URL preview", &error),
        }
    }
}

impl From<WaitError> for Error {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::NotYetUploaded => Self::new(
                StatusCode::GATEWAY_TIMEOUT,
                ErrorKind::NotYetUploaded,
                "Content has not yet been uploaded",
            ),
            WaitError::Storage(error) => error.into(),
        }
    }
}

impl From<DownloadError> for Error {
    fn from(error: DownloadError) -> Self {
        match error {
            DownloadError::Blob(error) => failed("a download", &error),
            DownloadError::Storage(error) => error.into(),
        }
    }
}

impl From<ThumbnailError> for Error {
    fn from(error: ThumbnailError) -> Self {
        match error {
            ThumbnailError::Unsupported => {
                Self::unknown("Cannot generate thumbnails for the requested content")
            }
            ThumbnailError::TooLarge => Self::too_large("Content is too large to thumbnail"),
            ThumbnailError::Busy => busy(),
            ThumbnailError::Blob(_) | ThumbnailError::Storage(_) => failed("a thumbnail", &error),
        }
    }
}
