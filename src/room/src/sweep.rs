//! Redactions of many events because of one, behind the request that asked for them: what somebody sent who was removed from
//! the room (MSC4293), and what points to a redacted event (MSC3912).
//!
//! What is to be done stands in a queue on disk, written in the commit of the event that asks for it; the queue is worked off in
//! small batches, each under the lock of its room, and goes on after a crash where it was.

use std::time::Duration;

use event::{Pdu, build::Draft};
use ruma_common::EventId;
use ruma_events::{TimelineEventType, room::member::MembershipState};
use serde::Deserialize;
use storage::{
    Change, Error, Order, Result, Tail,
    event::{self as events, EventMeta},
    membership::Membership,
    relation::{self, Span},
    room::{EventNumber, RoomNumber, TimelinePosition},
    sweep::{self, Sweep},
    timeline, user,
};

use crate::{
    ActError, redact::redaction_draft, room_txn::RoomTxn, rooms::Rooms, viewer::membership,
};

/// Rows that are looked at, and events that are redacted, under one hold of a room's lock.
const ROWS: usize = 256;
const REDACTIONS: usize = 32;

/// Between two batches in one room others have their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// Events whose work is done in turn.
const AT_ONCE: usize = 16;

/// Relation types that "any relation type" stands for.
pub(crate) const MAX_REL_TYPES: usize = 64;

/// Memberships of one user that are followed back for their join.
const MAX_JOINS: usize = 64;

impl Rooms {
    /// Works off what is to be redacted until the store closes.
    pub async fn sweep(self) {
        match self.work_off_sweeps().await {
            Ok(()) | Err(Error::Closed) => {}
            Err(error) => tracing::error!(%error, "redactions of many events do not go on"),
        }
    }

    async fn work_off_sweeps(&self) -> Result<()> {
        let mut tail = Tail::new(self.store());
        loop {
            loop {
                let waiting = self.store().read(|view| sweep::waiting(view, AT_ONCE))?;
                if waiting.is_empty() {
                    break;
                }
                for (room, by) in waiting {
                    self.sweep_on(room, by).await?;
                }
                tokio::time::sleep(PAUSE).await;
            }
            loop {
                let page = tail.next().await?;
                let mut changes = page.commits.iter().flat_map(|(_, changes)| changes.iter());
                // What asks for such redactions is one itself, or a change of a membership.
                if changes.any(|change| {
                    matches!(change, Change::EventMeta { .. } | Change::Membership { .. })
                }) {
                    break;
                }
            }
        }
    }

    /// Does the next part of the work that one event asks for.
    async fn sweep_on(&self, room: RoomNumber, by: EventNumber) -> Result<()> {
        let written = self.lock(room).await.write(|room| {
            room.free_of_charge();
            room.sweep_part(by)
        });
        let commit = match written {
            // A damaged room must not keep the others waiting.
            Err(ActError::Storage(error)) if !matches!(error, Error::Corrupt { .. }) => {
                return Err(error);
            }
            Err(error) => {
                tracing::error!(%error, room.number = room.0, "redactions of many events are given up");
                self.store().write(|txn| {
                    sweep::put(txn, room, by, None);
                    Ok::<_, Error>(())
                })?
            }
            Ok(commit) => commit,
        };
        commit.durable().await;
        Ok(())
    }
}

/// MSC4293: "A new flag is added to `m.room.member` events where the target user is kicked or banned: `redact_events`."
fn asks_for_sweep(pdu: &Pdu) -> bool {
    #[derive(Deserialize)]
    struct Content {
        #[serde(default)]
        redact_events: Option<serde_json::Value>,
        #[serde(default, rename = "org.matrix.msc4293.redact_events")]
        unstable: Option<serde_json::Value>,
    }

    let removes = matches!(
        pdu.membership(),
        Some(MembershipState::Leave | MembershipState::Ban)
    );
    // "The flag has no effect when applied to self-leaves or other membership states."
    if !removes || pdu.state_key() == Some(pdu.sender().as_str()) {
        return false;
    }
    serde_json::from_str::<Content>(pdu.content().get())
        .is_ok_and(|content| [content.redact_events, content.unstable].contains(&Some(true.into())))
}

impl RoomTxn<'_, '_> {
    /// Notes what is to be redacted because of a kick or a ban.
    pub(crate) fn begin_sweep(&mut self, pdu: &Pdu, event: EventNumber) -> Result<()> {
        if !asks_for_sweep(pdu) || !self.may_sweep(pdu)? {
            return Ok(());
        }
        let Some(meta) = events::meta(self.txn, self.number, event)? else {
            return Ok(());
        };
        let (Some(at), Some(target)) = (meta.timeline, pdu.state_key()) else {
            return Ok(());
        };
        let Ok(target) = ruma_common::UserId::parse(target) else {
            return Ok(());
        };
        let Some(until) = self.joined_since(&meta)? else {
            return Ok(());
        };
        let user = self.user_number(&target)?;
        let sweep = Sweep::Sender {
            user,
            at: TimelinePosition(at.0 - 1),
            until,
        };
        sweep::put(self.txn, self.number, event, Some(&sweep));
        Ok(())
    }

    /// "This means having a power level higher than or equal to `redact` *and* `events["m.room.redaction"]` (if set)."
    fn may_sweep(&self, pdu: &Pdu) -> Result<bool> {
        let levels = self.power_levels()?;
        Ok(levels.is_some_and(|levels| {
            let sending = levels.message(&TimelineEventType::RoomRedaction);
            levels.has(pdu.sender(), levels.redact) && levels.has(pdu.sender(), sending)
        }))
    }

    /// The place of the join since which the user of a member event had been in the room: "up to the point of the user's
    /// previous membership event"; a new name or avatar in between is none for this.
    fn joined_since(&self, meta: &EventMeta) -> Result<Option<TimelinePosition>> {
        let (Some(key), Some(mut before)) = (meta.state_key, meta.state_before) else {
            return Ok(None);
        };
        let mut since = None;
        for _ in 0..MAX_JOINS {
            let Some(own) = self.state_event_of_key(before, key)? else {
                break;
            };
            if membership(&own.pdu) != Some(Membership::Join) {
                break;
            }
            let Some(of) = events::meta(self.txn, self.number, own.number)? else {
                break;
            };
            since = of.timeline;
            match of.state_before {
                Some(earlier) => before = earlier,
                None => break,
            }
        }
        Ok(since)
    }

    /// Does a part of what one event asks for, and notes what is left.
    fn sweep_part(&mut self, by: EventNumber) -> Result<(), ActError> {
        let left = match sweep::get(self.txn, self.number, by)? {
            Some(Sweep::Sender { user, at, until }) => {
                let at = self.sweep_sender(by, user, (at, until))?;
                at.map(|at| Sweep::Sender { user, at, until })
            }
            Some(Sweep::Children {
                sender,
                parent,
                rel_types,
                after,
                reason,
            }) => {
                let rest = self.sweep_children((sender, &parent), &reason, (rel_types, after))?;
                rest.map(|(rel_types, after)| Sweep::Children {
                    sender,
                    parent,
                    rel_types,
                    after,
                    reason,
                })
            }
            None => return Ok(()),
        };
        sweep::put(self.txn, self.number, by, left.as_ref());
        Ok(())
    }

    /// Redacts events of a user between two places. Where to go on; nothing if it is done.
    fn sweep_sender(
        &mut self,
        by: EventNumber,
        user: user::UserNumber,
        (at, until): (TimelinePosition, TimelinePosition),
    ) -> Result<Option<TimelinePosition>> {
        let rows = timeline::back_from(self.txn, self.number, at, ROWS)?;
        let numbers: Vec<_> = rows.iter().map(|row| row.event).collect();
        let metas = events::metas(self.txn, self.number, &numbers)?;
        let mut redacted = 0;
        for (row, meta) in rows.iter().zip(metas) {
            if row.at <= until {
                return Ok(None);
            }
            if redacted == REDACTIONS {
                return Ok(Some(row.at));
            }
            let Some(meta) = meta else { continue };
            if meta.sender != user || meta.redacted_by.is_some() {
                continue;
            }
            let original = self.pdu(row.event)?;
            if matches!(
                original.event_type(),
                TimelineEventType::RoomCreate | TimelineEventType::RoomMember
            ) {
                continue;
            }
            // "No `m.room.redaction` events are sent [...]. Instead, the user's events are redacted locally by the server."
            self.strip((by, row.event), meta, &original)?;
            redacted += 1;
        }
        Ok(rows
            .last()
            .filter(|_| rows.len() == ROWS)
            .map(|row| TimelinePosition(row.at.0 - 1)))
    }

    /// Redacts events that point to one. What is left; nothing if it is done.
    fn sweep_children(
        &mut self,
        (sender, parent): (user::UserNumber, &str),
        reason: &Option<String>,
        (mut rel_types, after): (Vec<String>, TimelinePosition),
    ) -> Result<Option<(Vec<String>, TimelinePosition)>, ActError> {
        let (Some(rel_type), Some(sender), Ok(parent)) = (
            rel_types.last(),
            user::id(self.txn, sender)?,
            EventId::parse(parent),
        ) else {
            return Ok(None);
        };
        let span = Span {
            after,
            ..Span::all(rel_type)
        };
        let first = (Order::Forward, REDACTIONS);
        let children = relation::children(self.txn, self.number, &parent, span, first)?;
        let Some(last) = children.last().map(|child| child.at) else {
            rel_types.pop();
            let begin = TimelinePosition(i64::MIN);
            return Ok((!rel_types.is_empty()).then_some((rel_types, begin)));
        };
        for child in children {
            let pdu = self.pdu(child.event)?;
            // "If an event that matches the redaction criteria cannot be redacted by the user sending the redaction request
            // (because of insufficient permissions), it is ignored."
            if !self.may_redact_of(&sender, &pdu)? {
                continue;
            }
            let draft: Draft = redaction_draft(pdu.event_id(), reason.as_deref());
            match self.say(&sender, &draft, None) {
                Ok(_) => {}
                // Who may not speak here any more redacts nothing more.
                Err(ActError::Forbidden(_) | ActError::NotJoined) => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Ok(Some((rel_types, last)))
    }
}
