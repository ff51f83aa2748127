//! Values: CBOR records with numbered fields, so that fields can be added without a migration.

use minicbor::{Decode, Encode};

use crate::{Result, table::Table};

/// The bytes of a record.
pub fn encode<T: Encode<()>>(value: &T) -> Vec<u8> {
    minicbor::to_vec(value).expect("writing to a Vec does not fail")
}

/// A record from its bytes. Unknown fields are skipped.
pub fn decode<'a, T: Decode<'a, ()>>(table: Table, bytes: &'a [u8]) -> Result<T> {
    minicbor::decode(bytes).map_err(|error| table.corrupt(error))
}
