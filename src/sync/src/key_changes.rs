//! `/keys/changes`: what sync tells of device lists, for a client that was away.

use room::Actor;
use storage::Snapshot;

use crate::{DeviceLists, SyncError, SyncToken, Syncer, stream::device_list::Reader};

impl Syncer {
    /// Whose devices and keys changed since a token, and with whom the user shares no room any more.
    ///
    /// > This may be used by the server as a hint to check its caches are up to date.
    ///
    /// So is `to`: what came after it is told as well.
    pub async fn key_changes(
        &self,
        actor: &Actor,
        (from, to): (SyncToken, SyncToken),
    ) -> Result<DeviceLists, SyncError> {
        let inner = &self.inner;
        let (from, latest) = (from.position(), from.position().max(to.position()));
        if latest > inner.store.read(|snapshot| snapshot.position()) {
            return Err(SyncError::InvalidToken);
        }
        let connection = inner.notifier.connect(actor.user, &inner.epochs)?;
        let Some(snapshot) = inner.caught_up().await else {
            return Err(SyncError::Closing);
        };
        let changed = connection.changed_after(from);
        let (rooms, actor) = (inner.rooms.clone(), actor.clone());
        let read = move |_: &Snapshot| {
            let reader = Reader {
                view: &snapshot,
                rooms: &rooms,
                actor: &actor,
            };
            reader.since(from, &changed)
        };
        Ok(inner.store.read_heavy(read).await?)
    }
}
