//! The table of errors, as far as it is about keys of devices and of cross-signing.

use user::{
    cross_signing::{CrossSigningError, RefusedSignature, SignatureFailure},
    key::KeyError,
};

use super::{Error, INVALID_SIGNATURE, bounded};

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::BadJson(_) => Self::bad_json(bounded(message)),
            KeyError::Invalid(_) => Self::invalid_param(bounded(message)),
            KeyError::Signature => Self::invalid_signature(message),
            KeyError::TooLarge(_) => Self::too_large(message),
            KeyError::DeviceGone => Self::unknown_token(),
            KeyError::Storage(error) => error.into(),
        }
    }
}

impl From<CrossSigningError> for Error {
    fn from(error: CrossSigningError) -> Self {
        let message = error.to_string();
        match error {
            CrossSigningError::BadJson(_) => Self::bad_json(bounded(message)),
            CrossSigningError::Invalid(_) => Self::invalid_param(message),
            CrossSigningError::TooLarge => Self::too_large(message),
            CrossSigningError::Signature(_) => Self::invalid_signature(message),
            CrossSigningError::NoMasterKey => Self::missing_param(message),
            // The handler asks for confirmation before it gives up.
            CrossSigningError::KeyIdInUse | CrossSigningError::Unconfirmed => {
                Self::forbidden(message)
            }
            CrossSigningError::Storage(error) => error.into(),
        }
    }
}

impl From<SignatureFailure> for Error {
    fn from(error: SignatureFailure) -> Self {
        match error {
            SignatureFailure::TooMany => Self::invalid_param(error.to_string()),
            SignatureFailure::Storage(error) => error.into(),
        }
    }
}

/// The errcode of one entry of an answer that is a success as a whole.
pub(crate) fn errcode_of(reason: RefusedSignature) -> &'static str {
    match reason {
        RefusedSignature::NotFound => "M_NOT_FOUND",
        RefusedSignature::BadJson => "M_BAD_JSON",
        RefusedSignature::Different => "M_INVALID_PARAM",
        RefusedSignature::Invalid => INVALID_SIGNATURE,
        RefusedSignature::TooLarge => "M_TOO_LARGE",
    }
}
