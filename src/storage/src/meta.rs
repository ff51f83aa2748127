//! Facts about the whole store, beside its schema version.

use ruma_common::{OwnedServerName, ServerName};

use crate::{Key, Result, Txn, View, table::META};

fn server_name_key() -> Key {
    META.key().raw(b"server_name")
}

/// The name of the server that this store belongs to, once it has started for the first time.
pub fn server_name(view: &impl View) -> Result<Option<OwnedServerName>> {
    let Some(bytes) = view.get(&server_name_key())? else {
        return Ok(None);
    };
    let corrupt = || META.corrupt("not a server name");
    let text = String::from_utf8(bytes).map_err(|_| corrupt())?;
    OwnedServerName::try_from(text)
        .map(Some)
        .map_err(|_| corrupt())
}

/// Gives a new store its server.
pub fn set_server_name(txn: &mut Txn<'_>, name: &ServerName) {
    txn.expect_absent(server_name_key());
    txn.put(server_name_key(), name.as_str());
}
