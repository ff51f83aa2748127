//! What an event was to one reader when it came, as it was counted then.

use std::collections::BinaryHeap;

use ruma_common::{MilliSecondsSinceUnixEpoch, OwnedRoomId, push::Action};
use serde_json::value::RawValue as RawJsonValue;
use storage::{
    Position, Result,
    event::EventMeta,
    membership::{self, Membership},
    room::RoomNumber,
    timeline::{self, Entry},
    unread::{self, Class, Mode, Reading, Thread, mark},
};

use super::count::Read;
use crate::{Actor, Form, Rooms, viewer::Viewer};

/// Events that are looked at for one page. A page that would need more ends earlier, with a token to go on from.
const MAX_LOOKED: usize = 5_000;

/// Events of one room that are read at once.
const BATCH: usize = 32;

/// What an event was to a reader.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notified {
    /// It counted, and was to be pushed.
    pub notify: bool,
    /// It counted as a highlight.
    pub highlight: bool,
    class: Option<Class>,
}

impl Notified {
    /// What it was, as actions.
    fn actions(self) -> Vec<Action> {
        use ruma_common::push::{HighlightTweakValue, SoundTweakValue, Tweak};

        let one_to_one = matches!(self.class, Some(Class::OneToOne | Class::OneToOneEncrypted));
        let sound = (one_to_one || self.highlight)
            .then_some(Action::SetTweak(Tweak::Sound(SoundTweakValue::Default)));
        let highlight = self
            .highlight
            .then_some(Action::SetTweak(Tweak::Highlight(HighlightTweakValue::Yes)));
        [Action::Notify]
            .into_iter()
            .chain(sound)
            .chain(highlight)
            .collect()
    }
}

impl Viewer<'_> {
    /// What an event of the live timeline was to the reader when it came; nothing if it was redacted since, or is one of
    /// their own. `reading` is theirs in this room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn notified(&self, entry: &Entry, meta: &EventMeta, reading: &Reading) -> Result<Notified> {
        if meta.sender == self.actor.user || meta.redacted_by.is_some() || entry.at.0 < 1 {
            return Ok(Notified::default());
        }
        let (view, room, at) = (self.view, self.room, entry.at);
        let before = storage::room::TimelinePosition(at.0 - 1);
        let counts = match meta.thread {
            Some(root) => {
                let until = unread::thread_counts(view, room, root, before)?;
                unread::thread_counts(view, room, root, at)?.since(until)
            }
            None => {
                let until = timeline::at_or_before(view, room, before)?;
                entry
                    .main
                    .since(until.map(|entry| entry.main).unwrap_or_default())
            }
        };
        let class = counts.class();
        let modes = reading.modes.iter().rev();
        let mode = modes
            .into_iter()
            .find(|(behind, _)| *behind < at)
            .map_or_else(Mode::default, |(_, mode)| *mode);
        let (notify, highlight) = class.map_or((false, false), |class| mode.of(class));
        let mark = mark::get(view, room, self.actor.user, at)?;
        let (more, more_highlight) = mark.map_or((0, 0), |mark| (mark.notify, mark.highlight));
        Ok(Notified {
            notify: i64::from(notify) + more > 0,
            highlight: i64::from(highlight) + more_highlight > 0,
            class,
        })
    }
}

/// The parameters of `GET /notifications`.
#[derive(Clone, Copy, Debug)]
pub struct NotificationsRequest {
    /// Only what came before this.
    pub from: Option<Position>,
    /// "Limit on the number of events to return in this request."
    pub limit: usize,
    /// "Allows basic filtering of events returned. Supply `highlight` to return only events where the notification had
    /// the highlight tweak set."
    pub only_highlights: bool,
}

/// An event that the reader was notified of.
#[derive(Clone, Debug)]
pub struct Notification {
    /// What it was to them.
    pub actions: Vec<Action>,
    /// The event.
    pub event: Box<RawJsonValue>,
    /// "Indicates whether the user has sent a read receipt indicating that they have read this message."
    pub read: bool,
    /// The room.
    pub room_id: OwnedRoomId,
    /// When it was sent, by its origin's clock.
    pub ts: MilliSecondsSinceUnixEpoch,
}

/// A page of notifications, the newest first.
#[derive(Clone, Debug, Default)]
pub struct NotificationsPage {
    /// The events.
    pub notifications: Vec<Notification>,
    /// Where to go on, if there may be more.
    pub next: Option<Position>,
}

/// A room of the walk: its newest events that have not been looked at, the newest last.
struct Walked<'a> {
    viewer: Viewer<'a>,
    read: Read,
    entries: Vec<Entry>,
}

impl Walked<'_> {
    fn fill(&mut self, up_to: storage::room::TimelinePosition) -> Result<Option<Position>> {
        let mut entries = timeline::back_from(self.viewer.view, self.viewer.room, up_to, BATCH)?;
        entries.reverse();
        self.entries = entries;
        Ok(self.next())
    }

    fn next(&self) -> Option<Position> {
        self.entries.last().filter(|entry| entry.at.0 > 0)?.position
    }
}

impl Rooms {
    /// "Paginate through the list of events that the user has been, or would have been notified about." In all joined
    /// rooms, in the order in which they came, the newest first.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn notifications(
        &self,
        actor: &Actor,
        request: NotificationsRequest,
    ) -> Result<NotificationsPage> {
        let (rooms, actor) = (self.clone(), actor.clone());
        self.store()
            .read_heavy(move |view| rooms.notifications_in(view, &actor, request))
            .await
    }

    fn notifications_in(
        &self,
        view: &dyn storage::View,
        actor: &Actor,
        request: NotificationsRequest,
    ) -> Result<NotificationsPage> {
        let mut rooms = Vec::new();
        let mut order = BinaryHeap::new();
        for (room, member) in membership::by_user(view, actor.user)? {
            if member.membership != Membership::Join {
                continue;
            }
            if let Some((walked, next)) = self.walked(view, (room, actor), request.from)? {
                order.push((next, rooms.len()));
                rooms.push(walked);
            }
        }
        let mut page = NotificationsPage::default();
        let mut looked = 0;
        while let Some((position, place)) = order.pop() {
            let full = page.notifications.len() >= request.limit || looked >= MAX_LOOKED;
            // What one commit has brought is on one page.
            if full && page.next != Some(position) {
                return Ok(page);
            }
            page.next = Some(position);
            looked += 1;
            let Some(walked) = rooms.get_mut(place) else {
                continue;
            };
            let Some(entry) = walked.entries.pop() else {
                continue;
            };
            if let Some(found) = walked.notification(&entry, request.only_highlights)? {
                page.notifications.push(found);
            }
            let next = match walked.next() {
                None if entry.at.0 > 1 => {
                    walked.fill(storage::room::TimelinePosition(entry.at.0 - 1))?
                }
                next => next,
            };
            order.extend(next.map(|next| (next, place)));
        }
        page.next = None;
        Ok(page)
    }

    fn walked<'a>(
        &'a self,
        view: &'a dyn storage::View,
        (room, actor): (RoomNumber, &'a Actor),
        from: Option<Position>,
    ) -> Result<Option<(Walked<'a>, Position)>> {
        let Some(viewer) = self.viewer(view, room, actor)? else {
            return Ok(None);
        };
        let up_to = match from {
            None => viewer.head.last_timeline(),
            Some(from) => {
                let before = Position(from.0.saturating_sub(1));
                let first = timeline::first_after(view, room, &viewer.head, before)?;
                storage::room::TimelinePosition(first.0 - 1)
            }
        };
        let read = Read::new(unread::reading(view, room, actor.user)?);
        let mut walked = Walked {
            viewer,
            read,
            entries: Vec::new(),
        };
        let next = walked.fill(up_to)?;
        Ok(next.map(|next| (walked, next)))
    }
}

impl Walked<'_> {
    fn notification(
        &mut self,
        entry: &Entry,
        only_highlights: bool,
    ) -> Result<Option<Notification>> {
        let viewer = &mut self.viewer;
        let meta = viewer.meta(entry.event)?;
        let notified = viewer.notified(entry, &meta, &self.read.reading)?;
        if !notified.notify
            || (only_highlights && !notified.highlight)
            || !viewer.may_see_meta(entry.event, &meta)?
        {
            return Ok(None);
        }
        let event = viewer.client_event_of(entry.event, &meta, Form::WithoutRoomId)?;
        let thread = meta.thread.map_or(Thread::Main, Thread::Root);
        let ts = js_int::UInt::new_saturating(meta.origin_server_ts);
        Ok(Some(Notification {
            actions: notified.actions(),
            event,
            read: entry.at <= self.read.of(thread),
            room_id: viewer.head.room_id.clone(),
            ts: MilliSecondsSinceUnixEpoch(ts),
        }))
    }
}
