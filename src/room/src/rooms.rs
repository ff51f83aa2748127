//! [`Rooms`]: the handle to everything about rooms, and what it shares: the store, the locks, the caches.

use std::sync::Arc;

use event::{Pdu, RoomVersion, signature::SigningKey};
use limit::Limits;
use parking_lot::Mutex;
use quick_cache::{
    DefaultHashBuilder, OptionsBuilder, Weighter,
    sync::{Cache, DefaultLifecycle},
};
use ruma_common::{OwnedServerName, OwnedUserId, RoomId, RoomVersionId};
use storage::{
    Clock, Store,
    room::{EventNumber, RoomHead, RoomNumber},
    state::StateRef,
    user::UserNumber,
};

use crate::{
    auth_graph::AuthGraph,
    charge::Charges,
    lock::{Cached, LockedRoom, Locks},
    named_state::WeighedNames,
    notification::OwnRules,
    reader_cache::ReaderCache,
    room_txn::RoomTxn,
    server_notices::Notices,
};

/// Bytes a small cache entry takes besides its content, roughly.
const ENTRY_BYTES: u64 = 64;

/// What the rooms of this server need to know about it.
#[derive(Clone, Debug)]
pub struct Options {
    /// This server.
    pub server_name: OwnedServerName,
    /// The key with which it signs events.
    pub signing_key: SigningKey,
    /// The version of new rooms whose creator names none.
    pub default_version: RoomVersionId,
    /// How long the original of a redacted event is kept for moderators, in milliseconds.
    pub redaction_retention_ms: u64,
    /// Bytes of memory for events, auth graphs and states together.
    pub cache_bytes: u64,
    /// How often users may do what.
    pub limits: Limits,
    /// What the operator chose.
    pub policy: Policy,
}

/// What the operator of a server chooses; by default nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether all users of this server can be found by all.
    pub search_all_users: bool,
    /// Whether a room is forgotten when it is left: "the server will automatically forget the room — just as if the user
    /// had called `/forget` themselves".
    pub forget_on_leave: bool,
    /// Who tells users something in the server's name.
    pub notices: Option<Notices>,
}

/// All rooms of this server. Cheap to clone.
#[derive(Clone)]
pub struct Rooms {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) options: Options,
    pub(crate) locks: Locks,
    /// Events that rules asked for. Used and changed under the room's lock only, so nothing stale can enter.
    pub(crate) pdus: Cache<(RoomNumber, EventNumber), Pdu, Bytes>,
    /// Events as readers of published snapshots see them.
    pub(crate) shown: ReaderCache,
    pub(crate) users: Cache<OwnedUserId, UserNumber, Bytes>,
    /// What a set of states resolved to: the inputs, sorted, and the outcome.
    pub(crate) resolutions: Cache<(RoomNumber, Vec<StateRef>), StateRef, Bytes>,
    /// Auth graphs. Each is used under its room's lock only.
    pub(crate) graphs: Cache<RoomNumber, WeighedGraph, Bytes>,
    /// What users have said about being notified.
    pub(crate) own_rules: Cache<UserNumber, OwnRules, Bytes>,
    /// Names behind the numbers of states.
    pub(crate) names: Cache<RoomNumber, WeighedNames, Bytes>,
    /// Held while a room for server notices is looked for or made.
    pub(crate) notices: tokio::sync::Mutex<()>,
}

/// An auth graph, and the bytes it had when it was put into the cache: an entry's weight must not change there.
#[derive(Clone)]
pub(crate) struct WeighedGraph {
    pub(crate) bytes: u64,
    pub(crate) graph: Arc<Mutex<AuthGraph>>,
}

/// Weighs cache entries by their bytes.
#[derive(Clone)]
pub(crate) struct Bytes;

impl Weighter<(RoomNumber, EventNumber), Pdu> for Bytes {
    fn weight(&self, _: &(RoomNumber, EventNumber), pdu: &Pdu) -> u64 {
        ENTRY_BYTES + pdu.memory() as u64
    }
}

impl Weighter<OwnedUserId, UserNumber> for Bytes {
    fn weight(&self, user_id: &OwnedUserId, _: &UserNumber) -> u64 {
        ENTRY_BYTES + user_id.as_bytes().len() as u64
    }
}

impl Weighter<(RoomNumber, Vec<StateRef>), StateRef> for Bytes {
    fn weight(&self, (_, states): &(RoomNumber, Vec<StateRef>), _: &StateRef) -> u64 {
        ENTRY_BYTES + size_of_val(states.as_slice()) as u64
    }
}

impl Weighter<RoomNumber, WeighedGraph> for Bytes {
    fn weight(&self, _: &RoomNumber, graph: &WeighedGraph) -> u64 {
        ENTRY_BYTES + graph.bytes
    }
}

impl Weighter<RoomNumber, WeighedNames> for Bytes {
    fn weight(&self, _: &RoomNumber, names: &WeighedNames) -> u64 {
        ENTRY_BYTES + names.bytes
    }
}

impl Weighter<UserNumber, OwnRules> for Bytes {
    fn weight(&self, _: &UserNumber, rules: &OwnRules) -> u64 {
        ENTRY_BYTES + rules.bytes()
    }
}

/// A cache of one shard: shards would divide the bytes, and no large room would fit into one.
fn few_and_large<V: Clone>(bytes: u64) -> Cache<RoomNumber, V, Bytes>
where
    Bytes: Weighter<RoomNumber, V>,
{
    let options = OptionsBuilder::new()
        .estimated_items_capacity(64)
        .weight_capacity(bytes)
        .shards(1)
        .build()
        .expect("both capacities are given");
    Cache::with_options(
        options,
        Bytes,
        DefaultHashBuilder::default(),
        DefaultLifecycle::default(),
    )
}

impl Rooms {
    /// The rooms of `store`.
    pub fn new(store: Store, clock: Clock, options: Options) -> Self {
        let part = |share: u64| (options.cache_bytes / share).max(1 << 16);
        let cache_items = |share: u64| (part(share) / 512) as usize;
        let inner = Inner {
            pdus: Cache::with_weighter(cache_items(4), part(4), Bytes),
            shown: ReaderCache::new(part(4)),
            users: Cache::with_weighter(cache_items(16), part(16), Bytes),
            resolutions: Cache::with_weighter(cache_items(16), part(16), Bytes),
            graphs: few_and_large(part(4)),
            own_rules: Cache::with_weighter(cache_items(8), part(8), Bytes),
            names: few_and_large(part(4)),
            locks: Locks::new(part(4)),
            notices: tokio::sync::Mutex::default(),
            store,
            clock,
            options,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The store, for reads.
    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    /// The time of day.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// What was given to [`Self::new`].
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Waits for a room's lock; those who wait get it in the order in which they came. No network while it is held.
    pub async fn lock(&self, room: RoomNumber) -> LockedRoom {
        LockedRoom::new(self.clone(), room, self.inner.locks.lock(room).await)
    }

    /// Makes a room: `closure` stores its first events, all in one batch. `None` if the room is there already.
    ///
    /// # Errors
    ///
    /// Those of `closure` and of the store.
    pub fn found<R, E: From<storage::Error>>(
        &self,
        room_id: &RoomId,
        version: RoomVersion,
        mut closure: impl FnMut(&mut RoomTxn<'_, '_>) -> Result<R, E>,
    ) -> Result<storage::Commit<Option<(RoomNumber, R)>>, E> {
        let mut effects = None;
        let commit = self.inner.store.write(|txn| {
            let Some(number) = storage::room::allocate(txn, room_id)? else {
                return Ok(None);
            };
            let mut cached = Cached::of(RoomHead::new(room_id.to_owned(), version.id().as_str()));
            let mut room = RoomTxn::begin(txn, &self.inner, number, &mut cached, Charges::Free)?;
            let value = closure(&mut room)?;
            effects = Some(room.finish()?);
            Ok::<_, E>(Some((number, value)))
        })?;
        if let (Some(effects), Some((number, _))) = (effects, commit.value()) {
            effects.publish(&self.inner, *number);
        }
        Ok(commit)
    }
}
