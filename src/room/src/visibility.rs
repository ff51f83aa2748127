//! Who may see an event: the one place where it is asked.

use storage::{
    Result,
    event::EventMeta,
    membership::Membership,
    room::{EventNumber, TimelinePosition},
    state::StateRef,
};

use self::rule::{JoinedLater, allows};
use crate::viewer::{Sight, Viewer};

mod rule;

pub use self::rule::HistoryVisibility;

/// So many changes of a membership are looked through for the last leave. Who was invited and kicked more often
/// since, sees what they saw as a member at the time of the event, and no more.
const MAX_CHANGES: usize = 64;

/// How a reader stands to a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Joined now.
    Joined,
    /// Was joined, and is no longer: nothing behind the leave is for them.
    Departed {
        /// The place of the leave (or ban).
        at: TimelinePosition,
        /// The state after it.
        state: StateRef,
    },
    /// Never joined.
    Never,
    /// "After this API is called, a user will no longer be able to retrieve history for this room": what everybody may
    /// read is left.
    Forgotten,
}

impl Viewer<'_> {
    /// Looks for the reader's last time as a member.
    pub(crate) fn find_standing(&mut self) -> Result<Standing> {
        let Some(member) = &self.current else {
            return Ok(Standing::Never);
        };
        if member.membership == Membership::Join {
            return Ok(Standing::Joined);
        }
        if member.forgotten {
            return Ok(Standing::Forgotten);
        }
        let Some(mut event) = member.event else {
            return Ok(Standing::Never);
        };
        for _ in 0..MAX_CHANGES {
            let meta = self.meta(event)?;
            let Some((before, after)) = meta.state_before.zip(meta.state_after) else {
                break;
            };
            let Some(previous) = self.value(before, self.member_key()?)? else {
                break;
            };
            if self.membership_of(previous)? == Some(Membership::Join) {
                return Ok(match meta.timeline {
                    Some(at) => Standing::Departed { at, state: after },
                    None => Standing::Never,
                });
            }
            event = previous;
        }
        Ok(Standing::Never)
    }

    /// Whether the reader may see an event of this room.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn may_see(&mut self, event: EventNumber) -> Result<bool> {
        let meta = self.meta(event)?;
        self.may_see_meta(event, &meta)
    }

    /// As [`Self::may_see`], for an event whose meta row is known.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn may_see_meta(&mut self, event: EventNumber, meta: &EventMeta) -> Result<bool> {
        // "Servers must still send state events sent by ignored users to clients."
        let is_ignored = meta.state_key.is_none()
            && meta.sender != self.actor.user
            && self.ignores(meta.sender)?;
        Ok(!is_ignored && self.may_see_history(event, meta)?)
    }

    /// Whether history visibility lets the reader see an event, whoever sent it.
    pub(crate) fn may_see_history(&mut self, event: EventNumber, meta: &EventMeta) -> Result<bool> {
        // "Unknown state: deny." Outliers, rejected and soft-failed events are never shown by themselves.
        let Some((before, after)) = meta.state_before.zip(meta.state_after) else {
            return Ok(false);
        };
        if !meta.is_visible() {
            return Ok(false);
        }
        let sight = self.sight(before)?;
        if self.sight_allows(meta, sight) {
            return Ok(true);
        }
        if meta.state_key.is_none() {
            return Ok(false);
        }
        if meta.state_key == self.history_key()? {
            // "The user should be allowed to see the event if the `history_visibility` before *or* after the event would
            // allow them to see it."
            let visibility = self.sight(after)?.visibility;
            return Ok(self.sight_allows(
                meta,
                Sight {
                    visibility,
                    ..sight
                },
            ));
        }
        if meta.state_key == self.member_key()? && self.standing != Standing::Forgotten {
            // "Likewise, for the user's own `m.room.member` events, the user should be allowed to see the event if their
            // `membership` before *or* after the event would allow them to see it." Own leaves and bans are always shown.
            let membership = self.membership_of(event)?;
            return Ok(
                matches!(membership, Some(Membership::Leave | Membership::Ban))
                    || self.sight_allows(
                        meta,
                        Sight {
                            membership,
                            ..sight
                        },
                    ),
            );
        }
        Ok(false)
    }

    fn sight_allows(&self, meta: &EventMeta, sight: Sight) -> bool {
        let behind_the_leave = match self.standing {
            Standing::Departed { at, .. } => meta.timeline.is_none_or(|place| place > at),
            Standing::Joined | Standing::Never | Standing::Forgotten => false,
        };
        // A fork may bring events at which the reader was joined long after they left.
        let membership = sight
            .membership
            .filter(|_| self.standing != Standing::Forgotten)
            .filter(|membership| !(behind_the_leave && *membership == Membership::Join));
        let joined_later = match self.standing {
            Standing::Joined => JoinedLater::Yes,
            Standing::Departed { .. } if !behind_the_leave => JoinedLater::Yes,
            Standing::Departed { .. } | Standing::Never | Standing::Forgotten => JoinedLater::No,
        };
        allows(sight.visibility, membership, joined_later)
    }
}
