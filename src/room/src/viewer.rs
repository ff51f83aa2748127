//! [`Viewer`]: one reader of one room in one view. What is shown to a client is read through it, so that events of a
//! page share their look-ups, and so that no path forgets to ask whether the reader may see an event.

use std::{cell::OnceCell, collections::HashMap, sync::Arc};

use event::{Pdu, RoomVersion};
use ruma_common::{EventId, MilliSecondsSinceUnixEpoch, RoomVersionId};
use storage::{
    Error, Result, View,
    event::{self as events, EventMeta},
    membership::{self, Member, Membership},
    room::{EventNumber, RoomHead, RoomNumber, StateKeyNumber},
    state::{self, StateRef},
    user::UserNumber,
};

use crate::{
    Actor, HistoryVisibility,
    ignored::Ignored,
    reader_cache::{CacheKey, ReaderCache},
    visibility::Standing,
};

/// One reader, one room, one view.
pub struct Viewer<'a> {
    pub(crate) view: &'a dyn View,
    pub(crate) room: RoomNumber,
    pub(crate) head: Arc<RoomHead>,
    pub(crate) version: RoomVersion,
    pub(crate) actor: &'a Actor,
    pub(crate) now: MilliSecondsSinceUnixEpoch,
    pub(crate) standing: Standing,
    /// The reader's membership now.
    pub(crate) current: Option<Member>,
    keys: OnceCell<Keys>,
    pub(crate) sights: HashMap<StateRef, Sight>,
    memberships: HashMap<EventNumber, Option<Membership>>,
    ignored: OnceCell<Arc<Ignored>>,
    pub(crate) cache: &'a ReaderCache,
}

/// The dictionary's numbers of what decides who may see; none where the room never had it.
#[derive(Clone, Copy)]
struct Keys {
    /// The reader's member event.
    member: Option<StateKeyNumber>,
    history: Option<StateKeyNumber>,
}

/// What of a state decides who may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sight {
    pub visibility: HistoryVisibility,
    /// The reader's membership.
    pub membership: Option<Membership>,
}

impl<'a> Viewer<'a> {
    /// A reader of a room; `None` if there is no such room.
    pub(crate) fn new(
        view: &'a dyn View,
        cache: &'a ReaderCache,
        room: RoomNumber,
        actor: &'a Actor,
        now: MilliSecondsSinceUnixEpoch,
    ) -> Result<Option<Self>> {
        let Some(head) = cache.head(view, room)? else {
            return Ok(None);
        };
        let version = version_of(&head)?;
        let mut viewer = Self {
            view,
            room,
            head,
            version,
            actor,
            now,
            standing: Standing::Never,
            current: membership::of(view, room, actor.user)?,
            keys: OnceCell::new(),
            sights: HashMap::new(),
            memberships: HashMap::new(),
            ignored: OnceCell::new(),
            cache,
        };
        viewer.standing = viewer.find_standing()?;
        Ok(Some(viewer))
    }

    /// The head of the room in this view.
    pub fn head(&self) -> &RoomHead {
        &self.head
    }

    /// The version of the room.
    pub fn version(&self) -> RoomVersion {
        self.version
    }

    /// The reader's membership now, if they ever had one.
    pub fn member(&self) -> Option<&Member> {
        self.current.as_ref()
    }

    /// The number of the reader's own `(m.room.member, user)`, if the room ever had one.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn member_key(&self) -> Result<Option<StateKeyNumber>> {
        Ok(self.keys()?.member)
    }

    pub(crate) fn history_key(&self) -> Result<Option<StateKeyNumber>> {
        Ok(self.keys()?.history)
    }

    fn keys(&self) -> Result<Keys> {
        if let Some(keys) = self.keys.get() {
            return Ok(*keys);
        }
        let keys = [
            ("m.room.member", self.actor.user_id.as_str()),
            ("m.room.history_visibility", ""),
        ];
        let mut numbers = state::key_numbers(self.view, self.room, &keys)?.into_iter();
        let member = numbers.next().flatten();
        let history = numbers.next().flatten();
        Ok(*self.keys.get_or_init(|| Keys { member, history }))
    }

    /// The meta row of an event that this room refers to by number.
    pub(crate) fn meta(&self, event: EventNumber) -> Result<EventMeta> {
        events::meta(self.view, self.room, event)?.ok_or_else(|| missing(event))
    }

    /// Events that this room refers to by number, with their meta rows.
    pub(crate) fn with_metas(
        &self,
        numbers: Vec<EventNumber>,
    ) -> Result<Vec<(EventNumber, EventMeta)>> {
        let metas = events::metas(self.view, self.room, &numbers)?;
        let numbers = numbers.into_iter().zip(metas);
        numbers
            .map(|(event, meta)| Ok((event, meta.ok_or_else(|| missing(event))?)))
            .collect()
    }

    /// The number and the meta row of an event of this room.
    pub(crate) fn find(&self, event_id: &EventId) -> Result<Option<(EventNumber, EventMeta)>> {
        let Some(event) = events::number(self.view, self.room, event_id)? else {
            return Ok(None);
        };
        Ok(events::meta(self.view, self.room, event)?
            .filter(|meta| meta.event_id == event_id)
            .map(|meta| (event, meta)))
    }

    /// An event whose meta row is known.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn pdu(&self, event: EventNumber, meta: &EventMeta) -> Result<Pdu> {
        let key = CacheKey {
            room: self.room,
            event,
            redacted_by: meta.redacted_by,
        };
        if let Some(pdu) = self.cache.get(&key) {
            return Ok(pdu);
        }
        let body = events::body(self.view, self.room, event)?.ok_or_else(|| missing(event))?;
        let pdu = Pdu::from_stored(body, meta.event_id.clone(), self.version)
            .map_err(|error| corrupt(&error.to_string()))?
            .with_rejected(meta.rejected.is_some());
        self.cache.insert(key, pdu.clone());
        Ok(pdu)
    }

    /// An event by number.
    pub(crate) fn load(&self, event: EventNumber) -> Result<Pdu> {
        self.pdu(event, &self.meta(event)?)
    }

    /// What decides visibility in a state.
    pub(crate) fn sight(&mut self, at: StateRef) -> Result<Sight> {
        if let Some(sight) = self.sights.get(&at) {
            return Ok(*sight);
        }
        let sight = Sight {
            visibility: self.visibility_at(at)?,
            membership: self.own_membership_at(at)?,
        };
        self.sights.insert(at, sight);
        Ok(sight)
    }

    /// The same for every reader, and for ever: a redaction leaves `history_visibility` in the content.
    fn visibility_at(&mut self, at: StateRef) -> Result<HistoryVisibility> {
        if let Some(visibility) = self.cache.visibility(self.room, at) {
            return Ok(visibility);
        }
        let visibility = match self.value(at, self.history_key()?)? {
            Some(event) => HistoryVisibility::from_content(self.load(event)?.content()),
            None => HistoryVisibility::default(),
        };
        self.cache.insert_visibility(self.room, at, visibility);
        Ok(visibility)
    }

    fn own_membership_at(&mut self, at: StateRef) -> Result<Option<Membership>> {
        if at == self.head.state
            && let Some(member) = &self.current
            && member.event.is_some()
        {
            return Ok(Some(member.membership));
        }
        match self.value(at, self.member_key()?)? {
            Some(event) => self.membership_of(event),
            None => Ok(None),
        }
    }

    /// What a key holds in a state.
    pub(crate) fn value(
        &self,
        at: StateRef,
        key: Option<StateKeyNumber>,
    ) -> Result<Option<EventNumber>> {
        match key {
            Some(key) => state::value(self.view, self.room, at, key),
            None => Ok(None),
        }
    }

    /// The membership that a member event sets.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn membership_of(&mut self, event: EventNumber) -> Result<Option<Membership>> {
        if let Some(membership) = self.memberships.get(&event) {
            return Ok(*membership);
        }
        let membership = membership(&self.load(event)?);
        self.memberships.insert(event, membership);
        Ok(membership)
    }

    /// Whether the reader ignores a user.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn ignores(&self, user: UserNumber) -> Result<bool> {
        self.ignored()?.contains(self.view, user)
    }

    /// Whom the reader ignores.
    pub(crate) fn ignored(&self) -> Result<&Ignored> {
        if let Some(ignored) = self.ignored.get() {
            return Ok(ignored);
        }
        let ignored = Ignored::of(self.view, self.cache, self.actor.user)?;
        Ok(self.ignored.get_or_init(|| ignored))
    }
}

/// The version of a room whose head was written by this server.
pub(crate) fn version_of(head: &RoomHead) -> Result<RoomVersion> {
    RoomVersionId::try_from(head.version.as_str())
        .ok()
        .and_then(|id| RoomVersion::from_id(&id))
        .ok_or_else(|| Error::Corrupt {
            table: "room head",
            reason: format!("room version {} is not supported", head.version),
        })
}

/// The membership in a member event.
pub(crate) fn membership(pdu: &Pdu) -> Option<Membership> {
    Membership::parse(pdu.membership()?.as_str())
}

fn missing(event: EventNumber) -> Error {
    corrupt(&format!("event {} is missing", event.0))
}

fn corrupt(reason: &str) -> Error {
    Error::Corrupt {
        table: "event",
        reason: reason.to_owned(),
    }
}
