//! Small encodings that the nouns share: hashes of ids in keys, ids inside CBOR, and variable-length numbers.

use sha2::{Digest, Sha256};

/// The first 128 bits of the SHA-256 of an id: what stands for a string in keys.
pub(crate) fn hash16(bytes: &[u8]) -> u128 {
    let digest = Sha256::digest(bytes);
    digest
        .iter()
        .take(16)
        .fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

/// [`hash16`] of several parts, none of which can run into the next.
pub(crate) fn hash16_of(parts: &[&str]) -> u128 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    hasher
        .finalize()
        .iter()
        .take(16)
        .fold(0, |hash, byte| (hash << 8) | u128::from(*byte))
}

/// Appends a number: seven bits a byte, the lowest first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes a number off the front.
pub(crate) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// A signed number as an unsigned one that is small when the number is near 0.
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The inverse of [`zigzag`].
pub(crate) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

/// Identifiers as CBOR text, for `#[cbor(with = "crate::hash::text")]`.
pub(crate) mod text {
    use minicbor::{
        Decoder, Encoder,
        decode::Error,
        encode::{self as encoding, Write},
    };

    /// Writes the text.
    pub(crate) fn encode<C, T: AsRef<str>, W: Write>(
        value: &T,
        encoder: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), encoding::Error<W::Error>> {
        encoder.str(value.as_ref())?;
        Ok(())
    }

    /// Reads the text and checks that it is an identifier.
    pub(crate) fn decode<'b, C, T: TryFrom<&'b str>>(
        decoder: &mut Decoder<'b>,
        _: &mut C,
    ) -> Result<T, Error> {
        T::try_from(decoder.str()?).map_err(|_| Error::message("not an identifier"))
    }
}

#[cfg(test)]
mod tests {
    use super::{put_varint, take_varint, unzigzag, zigzag};

    #[test]
    fn varints_return() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = bytes.as_slice();
            assert_eq!(take_varint(&mut rest), Some(value));
            assert!(rest.is_empty());
        }
        for value in [0, 1, -1, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }
}
