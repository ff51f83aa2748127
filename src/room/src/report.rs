//! Reports of events, rooms and users, kept for the operator of the server.

use ruma_common::{EventId, RoomId, UserId};
use storage::{
    report::{self, Report},
    room, user,
};

use crate::{Actor, ReadError, rooms::Rooms, visibility::Standing};

/// Characters of a reason that are kept.
const MAX_REASON: usize = 4_096;

impl Rooms {
    /// "Report an event in a joined room as inappropriate."
    ///
    /// # Errors
    ///
    /// [`ReadError::NotFound`]: "The event was not found or you are not joined to the room where the event resides." An
    /// event that the user may not see is not found either.
    pub async fn report_event(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        event_id: &EventId,
        reason: Option<&str>,
    ) -> Result<(), ReadError> {
        let sender = self.store().read(|view| {
            self.view_room(view, actor, room_id, ReadError::NotFound, |viewer| {
                if viewer.standing != Standing::Joined {
                    return Err(ReadError::NotFound);
                }
                let (_, meta) = viewer.find_visible(event_id)?;
                Ok(user::id(view, meta.sender)?)
            })
        })?;
        let report = Report {
            room_id: Some(room_id.to_string()),
            event_id: Some(event_id.to_string()),
            user_id: sender.map(|sender| sender.to_string()),
            ..self.report(actor, reason)
        };
        Ok(self.add_report(&report).await?)
    }

    /// "Reports a room as inappropriate to the server […]. The caller is not required to be joined to the room to report
    /// it." Nobody learns whether there is such a room: "Homeservers that wish to conceal this information MAY return 200
    /// responses regardless of the existence of the reported room."
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn report_room(
        &self,
        actor: &Actor,
        room_id: &RoomId,
        reason: Option<&str>,
    ) -> storage::Result<()> {
        if self
            .store()
            .read(|view| room::number(view, room_id))?
            .is_none()
        {
            return Ok(());
        }
        let report = Report {
            room_id: Some(room_id.to_string()),
            ..self.report(actor, reason)
        };
        self.add_report(&report).await
    }

    /// "Report a user as inappropriate." Nobody learns whether there is such a user: "the server chose to not disclose
    /// whether the users exists".
    ///
    /// # Errors
    ///
    /// The store failed.
    pub async fn report_user(
        &self,
        actor: &Actor,
        user_id: &UserId,
        reason: Option<&str>,
    ) -> storage::Result<()> {
        if self
            .store()
            .read(|view| user::number(view, user_id))?
            .is_none()
        {
            return Ok(());
        }
        let report = Report {
            user_id: Some(user_id.to_string()),
            ..self.report(actor, reason)
        };
        self.add_report(&report).await
    }

    /// A report of nothing yet.
    fn report(&self, actor: &Actor, reason: Option<&str>) -> Report {
        let reason = reason.map(|reason| reason.chars().take(MAX_REASON).collect());
        Report {
            received_ts: self.clock().now_ms(),
            reporter: actor.user_id.to_string(),
            room_id: None,
            event_id: None,
            user_id: None,
            reason,
        }
    }

    async fn add_report(&self, report: &Report) -> storage::Result<()> {
        let commit = self.store().write(|txn| report::add(txn, report))?;
        let number = commit.durable().await;
        tracing::info!(report.number = number, "a user has reported something");
        Ok(())
    }
}
