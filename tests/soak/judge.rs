//! Whether what a reader was shown is what it may see, each event once; and whether its state and its numbers are
//! those of the rooms.

use std::{
    collections::{BTreeMap, HashMap},
    io::{Error, Result},
};

use serde_json::Value;

use crate::{
    crypto,
    history::History,
    ledger::{Ledger, fault, room_path},
    memory::{Memory, Shown, Status},
    reader::Reader,
    rules,
    session::{Session, encode, events, text},
};

type State = HashMap<(String, String), String>;

/// The histories of all rooms, with everything that was acknowledged in them.
pub async fn histories(ledger: &Ledger) -> Result<BTreeMap<String, History>> {
    let mut histories = BTreeMap::new();
    for room in ledger.rooms() {
        histories.insert(room.clone(), History::read(ledger, &room).await?);
    }
    for (event_id, room) in &ledger.book().acknowledged {
        match histories.get(room) {
            Some(history) => drop(history.place(event_id)?),
            None => return fault(format!("{room} is not known")),
        }
    }
    Ok(histories)
}

/// Judges a reader who has caught up.
pub async fn judge(
    ledger: &Ledger,
    reader: &Reader,
    histories: &BTreeMap<String, History>,
) -> Result<()> {
    let mut session = Session::new(&ledger.host);
    let user_id = reader.person.user_id.as_str();
    let rules = session.get(&reader.person.token, "/pushrules/").await?;
    if reader.push_rules != rules {
        let told = &reader.push_rules;
        return fault(format!(
            "{user_id} was told of the push rules {told}, which are {rules}"
        ));
    }
    let compared = rules::now(ledger, user_id).compare(&rules);
    compared.map_err(|error| Error::other(format!("{user_id}: {error}")))?;
    let judged = crypto::judge(ledger, reader, histories).await;
    judged.map_err(|error| Error::other(format!("the device of {user_id}: {error}")))?;
    for (room, history) in histories {
        let judged = match reader.rooms.get(room) {
            Some(memory) => judge_room(ledger, reader, memory, history)
                .map(|()| memory.status == Status::Joined),
            None => judge_unknown(reader, history),
        };
        let result = match judged {
            Ok(true) => match compare_served_state(&mut session, reader, history).await {
                Ok(()) => compare_threads(&mut session, reader, history).await,
                error => error,
            },
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            let habits = &reader.habits;
            return fault(format!("{user_id} {habits:?} in {room}: {error}"));
        }
    }
    Ok(())
}

/// A room that the reader was told nothing of.
fn judge_unknown(reader: &Reader, history: &History) -> Result<bool> {
    match history.membership_now(&reader.person.user_id) {
        membership @ ("join" | "invite") => fault(format!("never told, yet {membership}")),
        _ => Ok(false),
    }
}

fn judge_room(ledger: &Ledger, reader: &Reader, memory: &Memory, history: &History) -> Result<()> {
    let user_id = reader.person.user_id.as_str();
    let expected = match history.membership_now(user_id) {
        "join" => Status::Joined,
        "invite" => Status::Invited,
        _ => Status::Left,
    };
    if memory.status != expected {
        return fault(format!("{:?} instead of {expected:?}", memory.status));
    }
    judge_events(user_id, memory, history)?;
    for shown in &memory.shown {
        judge_order(user_id, shown, history)?;
    }
    judge_state(reader, memory, history)?;
    if memory.status != Status::Joined {
        return Ok(());
    }
    let (unread, how) = history.unread(ledger, user_id)?;
    if !unread.allows(memory.unread) {
        let rules = rules::now(ledger, user_id);
        return fault(format!(
            "unread {:?} instead of {unread:?}, {rules:?}: {how}",
            memory.unread
        ));
    }
    let counts = (history.count("join"), history.count("invite"));
    if memory.counts != (Some(counts.0), Some(counts.1)) {
        return fault(format!("members {:?} instead of {counts:?}", memory.counts));
    }
    Ok(())
}

/// Everything that the reader should have been shown, nothing that they may not see, with the right content.
fn judge_events(user_id: &str, memory: &Memory, history: &History) -> Result<()> {
    for (event_id, essence) in &memory.known {
        let at = history.place(event_id)?;
        // Their own memberships "are always visible".
        if !history.is_visible(user_id, at) && !history.is_own_membership(user_id, at) {
            return fault(format!("was shown {event_id} at {at}, which is not theirs"));
        }
        let Some(event) = history.events.get(at) else {
            return fault("no such place");
        };
        if !event.redacted && event.essence != *essence {
            return fault(format!(
                "{event_id}: {essence} instead of {}",
                event.essence
            ));
        }
    }
    let end = known_end(user_id, memory, history).unwrap_or_default();
    for (at, event) in history.events.iter().enumerate().take(end) {
        if history.is_visible(user_id, at) && !memory.known.contains_key(&event.event_id) {
            let (event_id, kind, count) = (&event.event_id, &event.kind, history.events.len());
            let story = story(user_id, memory, history)?;
            return fault(format!(
                "never saw {event_id} ({kind}) at {at} of {count}: {story}"
            ));
        }
    }
    Ok(())
}

/// The end of what the reader must know of a room: of one that it left, the place behind the departure, if it was told
/// of that. It was not if it had not begun or had forgotten the room, and perhaps not if it was invited again meanwhile.
fn known_end(user_id: &str, memory: &Memory, history: &History) -> Option<usize> {
    match memory.status {
        Status::Joined => Some(history.events.len()),
        Status::Invited => None,
        Status::Left => {
            let departure = history.departures(user_id).last().copied()?;
            let event_id = &history.events.get(departure)?.event_id;
            let was_in = memory.shown.iter().any(|shown| !shown.left);
            let is_told = was_in || memory.known.contains_key(event_id);
            let invites = history.invites(user_id);
            let again = invites.iter().any(|invite| *invite > departure);
            (is_told && !again).then_some(departure + 1)
        }
    }
}

/// What the reader was shown of a room, by places, and when it was in it.
fn story(user_id: &str, memory: &Memory, history: &History) -> Result<String> {
    let (arrivals, departures) = (history.arrivals(user_id), history.departures(user_id));
    let mut story = format!("in at {arrivals:?}, out at {departures:?}");
    for shown in &memory.shown {
        let places = |ids: &[String]| -> Result<Vec<usize>> {
            ids.iter().map(|event_id| history.place(event_id)).collect()
        };
        let (gap, timeline) = (places(&shown.gap)?, places(&shown.timeline)?);
        let gap = (gap.len(), gap.first(), gap.last());
        let Shown {
            left,
            was_in,
            limited,
            ..
        } = shown;
        story.push_str(&format!(
            "; gap {gap:?} timeline {timeline:?} left {left} was in {was_in} limited {limited}"
        ));
    }
    Ok(story)
}

/// A timeline and the gap before it in their order, and nothing again without a reason.
fn judge_order(user_id: &str, shown: &Shown, history: &History) -> Result<()> {
    let all = shown.gap.iter().chain(&shown.timeline);
    let places: Vec<_> = all
        .map(|event_id| history.place(event_id))
        .collect::<Result<_>>()?;
    if !places.is_sorted_by(|earlier, later| earlier < later) {
        return fault(format!("shown in the order {places:?}: {shown:?}"));
    }
    if shown.left {
        let last = places.last().copied().unwrap_or_default();
        let departures = history.departures(user_id);
        let departure = departures.iter().rev().find(|at| **at <= last);
        for at in &places {
            if departure.is_some_and(|departure| at > departure)
                && !history.is_own_membership(user_id, *at)
            {
                return fault(format!("{at} was shown behind the leave at {departure:?}"));
            }
        }
    }
    if shown.again.is_empty() {
        return Ok(());
    }
    // Who left and came back between two syncs begins anew.
    if let (Some(before), Some(after)) = &shown.own {
        let between = history.place(before)?..history.place(after)?;
        let out = history.departures(user_id);
        if out.iter().any(|departure| between.contains(departure)) {
            return Ok(());
        }
    }
    fault(format!("shown again: {shown:?}"))
}

/// The state that the reader has built.
fn judge_state(reader: &Reader, memory: &Memory, history: &History) -> Result<()> {
    let user_id = reader.person.user_id.as_str();
    let Some(end) = known_end(user_id, memory, history) else {
        return Ok(());
    };
    let mut expected = history.state_before(end);
    let mut built = memory.state.clone();
    if memory.status == Status::Left {
        // A ban that followed the leave is told too.
        let own = ("m.room.member".to_owned(), user_id.to_owned());
        expected.remove(&own);
        built.remove(&own);
    }
    if reader.habits.lazy {
        let was_out = !history.departures(user_id).is_empty();
        let members = |key: &(String, String)| key.0 == "m.room.member";
        // What a lazy client kept from an earlier time in the room, nobody tells it to drop.
        built.retain(|key, _| !members(key) || !was_out);
        expected.retain(|key, _| !members(key) || built.contains_key(key));
    }
    let compared = compare("the state", &built, &expected);
    compared.or_else(|error| fault(format!("{error}: {}", story(user_id, memory, history)?)))
}

/// `/state` as the reader asks for it.
async fn compare_served_state(
    session: &mut Session,
    reader: &Reader,
    history: &History,
) -> Result<()> {
    let path = room_path(&history.room, "state");
    let served = session.get(&reader.person.token, &path).await?;
    let mut state = State::new();
    for event in served.as_array().into_iter().flatten() {
        let key = (text(event, "type")?, text(event, "state_key")?);
        state.insert(key, text(event, "event_id")?);
    }
    let expected = history.state_before(history.events.len());
    compare("/state", &state, &expected)
}

/// The threads of a room as the reader is told of them, page by page.
async fn compare_threads(session: &mut Session, reader: &Reader, history: &History) -> Result<()> {
    let (mut found, mut from) = (Vec::new(), String::new());
    loop {
        let path = room_path(&history.room, &format!("threads?limit=3{from}"));
        let page = session
            .get(&reader.person.token, &format!("/v1{path}"))
            .await?;
        for root in events(&page, "/chunk") {
            let thread = root.pointer("/unsigned/m.relations/m.thread");
            let thread = thread.cloned().unwrap_or_default();
            found.push((
                text(root, "event_id")?,
                text(&thread["latest_event"], "event_id")?,
                thread["count"].as_u64().unwrap_or_default(),
                thread["current_user_participated"] == true,
            ));
        }
        match page.get("next_batch").and_then(Value::as_str) {
            Some(next) => from = format!("&from={}", encode(next)),
            None => break,
        }
    }
    let expected = history.threads_of(&reader.person.user_id);
    if found != expected {
        return fault(format!("threads {found:?} instead of {expected:?}"));
    }
    Ok(())
}

fn compare(what: &str, state: &State, expected: &State) -> Result<()> {
    let keys = state.keys().chain(expected.keys());
    for key in keys {
        let (found, wanted) = (state.get(key), expected.get(key));
        if found != wanted {
            return fault(format!(
                "{what} at {key:?}: {found:?} instead of {wanted:?}"
            ));
        }
    }
    Ok(())
}

/// Whether the server's list of joined rooms is the one of the histories.
pub async fn judge_joined_rooms(
    ledger: &Ledger,
    reader: &Reader,
    histories: &BTreeMap<String, History>,
) -> Result<()> {
    let mut session = Session::new(&ledger.host);
    let answer = session.get(&reader.person.token, "/joined_rooms").await?;
    let joined = answer.get("joined_rooms").and_then(Value::as_array);
    let mut joined: Vec<_> = joined
        .into_iter()
        .flatten()
        .filter_map(|room| room.as_str())
        .collect();
    joined.sort_unstable();
    let user_id = &reader.person.user_id;
    let is_in = |(_, history): &(&String, &History)| history.membership_now(user_id) == "join";
    let expected: Vec<_> = histories
        .iter()
        .filter(is_in)
        .map(|(room, _)| room.as_str())
        .collect();
    if joined != expected {
        return fault(format!(
            "{user_id} is in {joined:?} instead of {expected:?}"
        ));
    }
    Ok(())
}
