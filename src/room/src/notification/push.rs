//! What a push gateway is told of an event.

use event::{
    Pdu,
    auth::PowerLevels,
    push::{Context, Reader, Traits, UserRules, contains_word, in_force},
};
use ruma_common::{
    OwnedUserId,
    push::{Action, Ruleset},
};
use serde::Deserialize;
use storage::{
    Result, View, account_data,
    event::EventMeta,
    membership::Membership,
    room::{EventNumber, RoomNumber},
    timeline,
    unread::{self, Thread},
};

use super::{count::Read, names::displayname};
use crate::{Actor, Rooms, viewer::Viewer};

/// An event that a user is to be told of.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The event, redacted if it was since.
    pub pdu: Pdu,
    /// What the user's rules say is to be done.
    pub actions: Vec<Action>,
    /// "The current display name of the sender in the room in which the event occurred."
    pub sender_display_name: Option<String>,
    /// "The name of the room in which the event occurred."
    pub room_name: Option<String>,
    /// "An alias to display for the room in which the event occurred."
    pub room_alias: Option<String>,
    /// "The user receiving the notification is the subject of a member event."
    pub user_is_target: bool,
}

impl Rooms {
    /// Whether a user was notified of an event of the live timeline, and still is: they are in the room, and it was not
    /// redacted.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn is_notified(
        &self,
        view: &dyn View,
        (room, event): (RoomNumber, EventNumber),
        actor: &Actor,
    ) -> Result<bool> {
        let (Some(viewer), Some(meta)) = (
            self.viewer(view, room, actor)?,
            storage::event::meta(view, room, event)?,
        ) else {
            return Ok(false);
        };
        let membership = viewer.member().map(|member| member.membership);
        if membership == Some(Membership::Invite) {
            return viewer.invites(event, &meta);
        }
        let at = meta
            .timeline
            .filter(|_| membership == Some(Membership::Join));
        let Some(at) = at else { return Ok(false) };
        let Some(entry) = timeline::entry(view, room, at)? else {
            return Ok(false);
        };
        let reading = unread::reading(view, room, actor.user)?;
        let read = Read::new(reading);
        let thread = meta.thread.map_or(Thread::Main, Thread::Root);
        // Nobody is woken for what they have read by now.
        if at <= read.of(thread) {
            return Ok(false);
        }
        let notified = viewer.notified(&entry, &meta, &read.reading)?;
        Ok(notified.notify)
    }

    /// What a gateway is told of an event of which a user is notified; `None` if they are not, or not any more.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn pushed(
        &self,
        view: &dyn View,
        (room, event): (RoomNumber, EventNumber),
        actor: &Actor,
    ) -> Result<Option<Pushed>> {
        if !self.is_notified(view, (room, event), actor)? {
            return Ok(None);
        }
        let Some(mut viewer) = self.viewer(view, room, actor)? else {
            return Ok(None);
        };
        let meta = viewer.meta(event)?;
        let invited = viewer.member().map(|member| member.membership) == Some(Membership::Invite);
        if !invited && !viewer.may_see_meta(event, &meta)? {
            return Ok(None);
        }
        viewer.pushed(event, &meta).map(Some)
    }

    /// How many notifications of a room, which they are in, a user has not read.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn unread_notifications(
        &self,
        view: &dyn View,
        room: RoomNumber,
        actor: &Actor,
    ) -> Result<u64> {
        let Some(viewer) = self.viewer(view, room, actor)? else {
            return Ok(0);
        };
        Ok(viewer.unread_counts()?.all().notification_count)
    }
}

impl Viewer<'_> {
    /// `.m.rule.invite_for_me`: the event is the one that invites the reader, and their rules notify them of it.
    fn invites(&self, event: EventNumber, meta: &EventMeta) -> Result<bool> {
        let is_invite = self
            .member()
            .is_some_and(|member| member.event == Some(event));
        if !is_invite || meta.redacted_by.is_some() {
            return Ok(false);
        }
        let actions = self.actions(&self.pdu(event, meta)?)?;
        Ok(actions
            .iter()
            .any(|action| matches!(action, Action::Notify)))
    }

    fn pushed(&self, event: EventNumber, meta: &EventMeta) -> Result<Pushed> {
        let pdu = self.pdu(event, meta)?;
        let sender = self.current_state("m.room.member", pdu.sender().as_str())?;
        Ok(Pushed {
            actions: self.actions(&pdu)?,
            sender_display_name: sender.as_ref().and_then(displayname),
            room_name: self.text("m.room.name", |content: Name| content.name)?,
            room_alias: self.text("m.room.canonical_alias", |content: Alias| content.alias)?,
            user_is_target: pdu.state_key() == Some(self.actor.user_id.as_str())
                && pdu.type_str() == "m.room.member",
            pdu,
        })
    }

    fn current_state(&self, event_type: &str, state_key: &str) -> Result<Option<Pdu>> {
        let found = self.state_at(self.head.state, event_type, state_key)?;
        Ok(found.map(|(_, pdu)| pdu))
    }

    fn text<C: serde::de::DeserializeOwned>(
        &self,
        event_type: &str,
        text: impl FnOnce(C) -> Option<String>,
    ) -> Result<Option<String>> {
        let event = self.current_state(event_type, "")?;
        let content = event.and_then(|event| event.content_as::<C>().ok());
        Ok(content.and_then(text).filter(|text| !text.is_empty()))
    }

    /// What the reader's rules say now of an event.
    fn actions(&self, pdu: &Pdu) -> Result<Vec<Action>> {
        let stored = account_data::get(self.view, self.actor.user, None, "m.push_rules")?;
        let ruleset: Ruleset = in_force(stored.as_deref(), &self.actor.user_id);
        let traits = Traits::of(pdu);
        let create = self.current_state("m.room.create", "")?;
        let levels = self.current_state("m.room.power_levels", "")?;
        let levels = create.and_then(|create| {
            PowerLevels::from_state(self.version, &create, levels.as_ref()).ok()
        });
        let context = Context::new(
            pdu,
            &traits,
            &self.head.room_id,
            self.head.joined,
            levels.as_ref(),
        );
        let own = self.current_state("m.room.member", self.actor.user_id.as_str())?;
        let name = own.as_ref().and_then(displayname);
        let reader = Reader {
            user_id: &self.actor.user_id,
            named: is_named(&traits, &self.actor.user_id, name.as_deref()),
            display_name: &|| name.clone(),
        };
        let rules = UserRules::new(&ruleset);
        let rule = rules.deciding(&context, &reader);
        let rule = rule.and_then(|index| ruleset.iter().nth(index));
        Ok(rule.map(|rule| rule.actions().to_vec()).unwrap_or_default())
    }
}

/// Whether a name of the user stands in a text that mentions by names.
fn is_named(traits: &Traits, user_id: &OwnedUserId, name: Option<&str>) -> bool {
    let Some(text) = traits.by_defaults().text.map(str::to_lowercase) else {
        return false;
    };
    let names = [Some(user_id.localpart()), name];
    names.into_iter().flatten().any(|name| {
        let name = name.trim().to_lowercase();
        !name.is_empty() && contains_word(&text, &name)
    })
}

#[derive(Deserialize)]
struct Name {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Alias {
    alias: Option<String>,
}
