//! What counts as unread: classes of events accumulated along timelines, how far each user has read, and the events
//! that highlight.
//!
//! Totals need no row for each member: what is unread is the cumulative count at the newest event minus the one at
//! the read position, per thread, the main timeline being one of them.

use minicbor::{Decode, Encode};

use crate::{
    Key, KeyReader, Order, Result, Txn, View,
    hash::{put_varint, take_varint},
    room::{EventNumber, RoomNumber, TimelinePosition},
    table::{CORRECTION, READ_POSITION, THREAD_COUNT},
    user::UserNumber,
};

pub mod mark;
pub mod mode;

pub use self::{mark::Mark, mode::Mode};

/// What the default push rules make of an event, whoever reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A message in a room of more than two.
    Message,
    /// A message in a room of two.
    OneToOne,
    /// An encrypted event in a room of more than two.
    Encrypted,
    /// An encrypted event in a room of two.
    OneToOneEncrypted,
    /// An event of any type that highlights for everybody.
    Everybody,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Message,
        Self::OneToOne,
        Self::Encrypted,
        Self::OneToOneEncrypted,
        Self::Everybody,
    ];
}

/// How many events of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Counts {
    /// [`Class::Message`].
    #[n(0)]
    pub message: u64,
    /// [`Class::OneToOne`].
    #[n(1)]
    pub one_to_one: u64,
    /// [`Class::Encrypted`].
    #[n(2)]
    pub encrypted: u64,
    /// [`Class::OneToOneEncrypted`].
    #[n(3)]
    pub one_to_one_encrypted: u64,
    /// [`Class::Everybody`].
    #[n(4)]
    pub everybody: u64,
}

impl Counts {
    /// Counts one event more.
    #[must_use]
    pub fn with(mut self, class: Option<Class>) -> Self {
        match class {
            None => {}
            Some(Class::Message) => self.message += 1,
            Some(Class::OneToOne) => self.one_to_one += 1,
            Some(Class::Encrypted) => self.encrypted += 1,
            Some(Class::OneToOneEncrypted) => self.one_to_one_encrypted += 1,
            Some(Class::Everybody) => self.everybody += 1,
        }
        self
    }

    /// Those of one class.
    pub fn of(self, class: Class) -> u64 {
        match class {
            Class::Message => self.message,
            Class::OneToOne => self.one_to_one,
            Class::Encrypted => self.encrypted,
            Class::OneToOneEncrypted => self.one_to_one_encrypted,
            Class::Everybody => self.everybody,
        }
    }

    /// The class of the one event that these are the counts of.
    pub fn class(self) -> Option<Class> {
        Class::ALL.into_iter().find(|class| self.of(*class) > 0)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            message: self.message + other.message,
            one_to_one: self.one_to_one + other.one_to_one,
            encrypted: self.encrypted + other.encrypted,
            one_to_one_encrypted: self.one_to_one_encrypted + other.one_to_one_encrypted,
            everybody: self.everybody + other.everybody,
        }
    }

    /// What came since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            message: self.message.saturating_sub(earlier.message),
            one_to_one: self.one_to_one.saturating_sub(earlier.one_to_one),
            encrypted: self.encrypted.saturating_sub(earlier.encrypted),
            one_to_one_encrypted: self
                .one_to_one_encrypted
                .saturating_sub(earlier.one_to_one_encrypted),
            everybody: self.everybody.saturating_sub(earlier.everybody),
        }
    }

    pub(crate) fn write(self, row: &mut Vec<u8>) {
        for count in [
            self.message,
            self.one_to_one,
            self.encrypted,
            self.one_to_one_encrypted,
            self.everybody,
        ] {
            put_varint(row, count);
        }
    }

    pub(crate) fn read(row: &mut &[u8]) -> Option<Self> {
        Some(Self {
            message: take_varint(row)?,
            one_to_one: take_varint(row)?,
            encrypted: take_varint(row)?,
            one_to_one_encrypted: take_varint(row)?,
            everybody: take_varint(row)?,
        })
    }
}

/// Which timeline of a room a read position is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Thread {
    /// All of them: an unthreaded receipt.
    Unthreaded,
    /// The main timeline.
    Main,
    /// The thread of this root.
    Root(EventNumber),
}

impl Thread {
    pub(crate) fn code(self) -> u64 {
        match self {
            Self::Unthreaded => 0,
            Self::Main => 1,
            Self::Root(event) => u64::from(event.0) + 2,
        }
    }

    pub(crate) fn from_code(code: u64) -> Option<Self> {
        Some(match code {
            0 => Self::Unthreaded,
            1 => Self::Main,
            _ => Self::Root(EventNumber(u32::try_from(code - 2).ok()?)),
        })
    }
}

fn read_key(room: RoomNumber, user: UserNumber) -> Key {
    READ_POSITION.key().u64(room.0).u64(user.0)
}

fn count_key(room: RoomNumber, root: EventNumber) -> Key {
    THREAD_COUNT.key().u64(room.0).u32(root.0)
}

/// How far a user has read, and which classes have counted for them since when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// How far, for each timeline with a position of its own.
    pub positions: Vec<(Thread, TimelinePosition)>,
    /// What counts behind each of these places, in their order; before the first, what does by default.
    pub modes: Vec<(TimelinePosition, Mode)>,
}

/// How far a user has read a room, and what counts for them there.
pub fn reading(view: &dyn View, room: RoomNumber, user: UserNumber) -> Result<Reading> {
    let rows = view.scan(
        &read_key(room, user).prefix_range(),
        Order::Forward,
        usize::MAX,
    )?;
    let mut reading = Reading::default();
    for (key, row) in &rows {
        let mut reader = KeyReader::new(key);
        let Some(code) = reader.skip(16).and_then(|()| reader.u64()) else {
            continue;
        };
        if let Some(thread) = Thread::from_code(code) {
            let at = row.as_slice().try_into().map(i64::from_be_bytes);
            reading
                .positions
                .extend(at.ok().map(|at| (thread, TimelinePosition(at))));
        } else {
            reading.modes.extend(mode::read(code, row));
        }
    }
    Ok(reading)
}

/// Moves how far a user has read; never backwards. Whether it moved.
pub fn put_read_position(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    user: UserNumber,
    thread: Thread,
    at: TimelinePosition,
) -> Result<bool> {
    let key = read_key(room, user).u64(thread.code());
    let old = txn.get_guarded(&key)?;
    let old = old
        .and_then(|row| row.try_into().ok())
        .map(i64::from_be_bytes);
    if old.is_some_and(|old| old >= at.0) {
        return Ok(false);
    }
    txn.put(key, at.0.to_be_bytes());
    Ok(true)
}

/// Forgets how far a user has read, what counted for them and what was marked.
pub fn delete(txn: &mut Txn<'_>, room: RoomNumber, user: UserNumber) {
    txn.delete_range(read_key(room, user).prefix_range());
    mark::delete_all(txn, room, user);
}

/// Writes the counts of a thread up to and with the event at a place.
pub fn put_thread_counts(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    root: EventNumber,
    at: TimelinePosition,
    counts: Counts,
) {
    let mut row = Vec::with_capacity(4);
    counts.write(&mut row);
    txn.put(count_key(room, root).i64(at.0), row);
}

/// The counts of a thread at its newest event at or before a place; zero before its first.
pub fn thread_counts(
    view: &dyn View,
    room: RoomNumber,
    root: EventNumber,
    at: TimelinePosition,
) -> Result<Counts> {
    let prefix = count_key(room, root);
    let end = prefix.clone().i64(at.0.saturating_add(1));
    let row = view.first(&prefix.until(&end), Order::Reverse)?;
    Ok(row
        .and_then(|(_, row)| Counts::read(&mut row.as_slice()))
        .unwrap_or_default())
}

fn correction_key(room: RoomNumber, thread: Thread) -> Key {
    CORRECTION.key().u64(room.0).u64(thread.code())
}

/// Takes an event back from the counts of its timeline: it was redacted.
pub fn put_correction(
    txn: &mut Txn<'_>,
    room: RoomNumber,
    thread: Thread,
    at: TimelinePosition,
    counts: Counts,
) {
    let mut row = Vec::with_capacity(5);
    counts.write(&mut row);
    txn.put(correction_key(room, thread).i64(at.0), row);
}

/// What was taken back of a timeline behind a place and up to another, of at most `limit` events.
pub fn corrections(
    view: &dyn View,
    room: RoomNumber,
    thread: Thread,
    (after, up_to): (TimelinePosition, TimelinePosition),
    limit: usize,
) -> Result<Counts> {
    let prefix = correction_key(room, thread);
    let first = prefix.clone().i64(after.0.saturating_add(1));
    let end = prefix.i64(up_to.0.saturating_add(1));
    let rows = view.scan(&first.until(&end), Order::Forward, limit)?;
    Ok(rows
        .iter()
        .filter_map(|(_, row)| Counts::read(&mut row.as_slice()))
        .fold(Counts::default(), Counts::plus))
}
