//! The `state` section of a room: what a client must know besides the timeline.
//!
//! `state` describes the start of the timeline, `state_after` its end. A change that no event of the
//! timeline explains (the filter hides it, it came through a fork, or a resolution decided it) is in
//! either of them, so that what a client builds is the room's current state.

use std::collections::{BTreeMap, HashMap};

use storage::{
    room::{EventNumber, StateKeyNumber},
    state::{self, StateRef},
};

use super::timeline::Shown;
use crate::{
    filter::Members,
    lazy::Sent,
    reader::{Result, RoomReader},
};

/// What a state section is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delta<'a> {
    /// The state that the client has; none if it has nothing of the room.
    pub(crate) known: Option<StateRef>,
    /// The state at the end of the timeline.
    pub(crate) end: StateRef,
    /// The timeline that the client gets.
    pub(crate) timeline: &'a [Shown],
    /// Users whose membership a client with lazy-loaded members needs besides the senders'.
    pub(crate) heroes: &'a [StateKeyNumber],
}

/// The events of a state section, and the memberships among them and in the timeline, which the client
/// has from now on.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) events: Vec<EventNumber>,
    pub(crate) members: Vec<Sent>,
}

type Entries = BTreeMap<StateKeyNumber, EventNumber>;

/// The events that the client needs.
pub(crate) fn section(room: &RoomReader<'_>, delta: Delta<'_>) -> Result<Section> {
    let mut entries = match delta.known {
        Some(known) => changed(room, known, delta.end)?,
        None => whole(room, delta.end)?,
    };
    let shown = shown_by_key(delta.timeline);
    let lazy = room.request.filter.members != Members::All;
    let needed = if lazy {
        needed_members(room, &delta)?
    } else {
        Vec::new()
    };
    for (key, event) in absent_members(room, &delta, &needed, &entries)? {
        entries.insert(key, event);
    }
    if room.request.use_state_after.is_none() {
        rewind(room, &mut entries, &delta, (&shown, &needed))?;
    }
    let members = if lazy {
        sent_members(room, &delta, &entries, (&shown, &needed))?
    } else {
        Vec::new()
    };
    Ok(Section {
        events: entries.into_values().collect(),
        members,
    })
}

fn changed(room: &RoomReader<'_>, known: StateRef, end: StateRef) -> Result<Entries> {
    let changes = state::diff(room.request.view, room.number, known, end)?;
    // "When a sync is `limited`, the server MUST return membership events for events in the gap [...],
    // regardless as to whether or not they are redundant": none are left out.
    Ok(changes
        .into_iter()
        .filter_map(|change| Some((change.key, change.after?)))
        .collect())
}

fn whole(room: &RoomReader<'_>, end: StateRef) -> Result<Entries> {
    let view = room.request.view;
    if room.request.filter.members == Members::All {
        return Ok(state::full(view, room.number, end)?.into_iter().collect());
    }
    let keys = state::other_keys(view, room.number)?;
    let events = state::values(view, room.number, end, &keys)?;
    Ok(keys
        .into_iter()
        .zip(events)
        .filter_map(|(key, event)| Some((key, event?)))
        .collect())
}

/// The state events of a timeline, of each key in their order.
fn shown_by_key(timeline: &[Shown]) -> HashMap<StateKeyNumber, Vec<EventNumber>> {
    let mut shown: HashMap<_, Vec<_>> = HashMap::new();
    for event in timeline {
        if let Some(key) = event.meta.state_key {
            shown.entry(key).or_default().push(event.event);
        }
    }
    shown
}

/// From the end of the timeline to its start: what the timeline shows is not in `state`, but what stood
/// there before.
fn rewind(
    room: &RoomReader<'_>,
    entries: &mut Entries,
    delta: &Delta<'_>,
    (shown, needed): (
        &HashMap<StateKeyNumber, Vec<EventNumber>>,
        &[StateKeyNumber],
    ),
) -> Result<()> {
    let Some(at_start) = delta
        .timeline
        .first()
        .and_then(|first| first.meta.state_before)
    else {
        return Ok(());
    };
    let view = room.request.view;
    let value = |at: StateRef, key| state::value(view, room.number, at, key);
    for (key, events) in shown {
        let end = value(delta.end, *key)?;
        let explained = end.is_none_or(|end| events.contains(&end));
        if !explained {
            // Another event won than those of the timeline: the client must at least get it.
            continue;
        }
        let known = match delta.known {
            // A member that was not told before is not known, although it has not changed.
            _ if needed.binary_search(key).is_ok() => {
                known_members(room, delta, &[*key]).pop().flatten()
            }
            Some(known) => value(known, *key)?,
            None => None,
        };
        match value(at_start, *key)? {
            Some(start) if Some(start) != known && !events.contains(&start) => {
                entries.insert(*key, start);
            }
            _ => drop(entries.remove(key)),
        }
    }
    Ok(())
}

/// The member keys that a client with lazy-loaded members needs: those of the senders, in a whole state
/// also the user's own and the heroes'.
fn needed_members(room: &RoomReader<'_>, delta: &Delta<'_>) -> Result<Vec<StateKeyNumber>> {
    let mut senders: Vec<_> = delta
        .timeline
        .iter()
        .map(|shown| shown.meta.sender)
        .collect();
    senders.sort_unstable();
    senders.dedup();
    let mut keys = room.member_keys(&senders)?;
    keys.extend_from_slice(delta.heroes);
    // "Servers MUST include the syncing user's own membership event when they join a room, or when the
    // full state of rooms is requested."
    if delta.known.is_none() {
        keys.extend(room.own_key()?);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// The needed members that are not in the section yet and that the client does not have.
fn absent_members(
    room: &RoomReader<'_>,
    delta: &Delta<'_>,
    needed: &[StateKeyNumber],
    entries: &Entries,
) -> Result<Vec<(StateKeyNumber, EventNumber)>> {
    let absent: Vec<_> = needed
        .iter()
        .copied()
        .filter(|key| !entries.contains_key(key))
        .collect();
    let events = state::values(room.request.view, room.number, delta.end, &absent)?;
    let known = known_members(room, delta, &absent);
    Ok(absent
        .into_iter()
        .zip(events)
        .zip(known)
        .filter_map(|((key, event), known)| Some((key, event?)).filter(|_| event != known))
        .collect())
}

/// The membership events that a client with lazy-loaded members has.
fn known_members(
    room: &RoomReader<'_>,
    delta: &Delta<'_>,
    keys: &[StateKeyNumber],
) -> Vec<Option<EventNumber>> {
    match delta.known {
        Some(_) => room.known_members(keys),
        // Who comes back to a room, or asks for all of its state, may have dropped what they had.
        None => vec![None; keys.len()],
    }
}

/// The memberships that this answer tells.
fn sent_members(
    room: &RoomReader<'_>,
    delta: &Delta<'_>,
    entries: &Entries,
    (shown, needed): (
        &HashMap<StateKeyNumber, Vec<EventNumber>>,
        &[StateKeyNumber],
    ),
) -> Result<Vec<Sent>> {
    let mut members = Vec::new();
    if delta.known.is_none() {
        members.push(Sent::Anew(room.number));
    }
    for key in needed {
        let last = shown.get(key).and_then(|events| events.last());
        if let Some(event) = last.or_else(|| entries.get(key)) {
            members.push(Sent::Member((room.number, *key), *event));
        }
    }
    Ok(members)
}
