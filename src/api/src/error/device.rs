//! The errors of what devices send each other and keep for later ones.

use http::StatusCode;
use ruma_common::api::error::{ErrorKind, WrongRoomKeysVersionErrorData};
use user::{DehydratedDeviceError, KeyBackupError, ToDeviceError};

use super::{Error, bounded};

impl From<ToDeviceError> for Error {
    fn from(error: ToDeviceError) -> Self {
        let message = error.to_string();
        match error {
            ToDeviceError::BadJson => Self::bad_json(message),
            ToDeviceError::TooLarge => Self::too_large(message),
            ToDeviceError::TooSoon(error) => error.into(),
            ToDeviceError::Storage(error) => error.into(),
        }
    }
}

impl From<KeyBackupError> for Error {
    fn from(error: KeyBackupError) -> Self {
        let message = error.to_string();
        match error {
            KeyBackupError::NotFound | KeyBackupError::KeyNotFound => Self::not_found(message),
            KeyBackupError::WrongVersion { current_version } => {
                let data = WrongRoomKeysVersionErrorData::new(current_version);
                let kind = ErrorKind::WrongRoomKeysVersion(data);
                Self::new(StatusCode::FORBIDDEN, kind, message)
            }
            KeyBackupError::InvalidParam(_) => Self::invalid_param(message),
            KeyBackupError::BadJson(_) => Self::bad_json(bounded(message)),
            KeyBackupError::TooLarge => Self::too_large(message),
            KeyBackupError::Storage(error) => error.into(),
        }
    }
}

impl From<DehydratedDeviceError> for Error {
    fn from(error: DehydratedDeviceError) -> Self {
        let message = error.to_string();
        match error {
            DehydratedDeviceError::NotFound => Self::not_found(message),
            DehydratedDeviceError::NotDehydrated => Self::forbidden(message),
            DehydratedDeviceError::Invalid(_) => Self::invalid_param(message),
            DehydratedDeviceError::BadJson => Self::bad_json(message),
            DehydratedDeviceError::TooLarge => Self::too_large(message),
            DehydratedDeviceError::Keys(error) => error.into(),
            DehydratedDeviceError::Storage(error) => error.into(),
        }
    }
}
