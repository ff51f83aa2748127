//! Unread counts: differences of what has accumulated along the timelines.

use std::collections::BTreeMap;

use storage::{
    Result, relation,
    room::{EventNumber, TimelinePosition},
    timeline,
    unread::{self, Counts, Mode, Reading, Thread, mark},
};

use crate::viewer::Viewer;

/// Threads that are looked at for one count.
const MAX_THREADS: usize = 1_000;

/// Marked events that are counted.
const MAX_MARKS: usize = 10_000;

/// Redacted events that are taken back for one count.
const MAX_REDACTED: usize = 10_000;

/// What is unread of one timeline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnreadCount {
    /// "The number of unread notifications for this room with the highlight flag set."
    pub highlight_count: u64,
    /// "The total number of unread notifications for this room."
    pub notification_count: u64,
}

impl UnreadCount {
    fn add(&mut self, other: Self) {
        self.highlight_count += other.highlight_count;
        self.notification_count += other.notification_count;
    }
}

impl From<Sum> for UnreadCount {
    fn from(sum: Sum) -> Self {
        Self {
            highlight_count: u64::try_from(sum.highlight).unwrap_or_default(),
            notification_count: u64::try_from(sum.notify).unwrap_or_default(),
        }
    }
}

/// A count in the making: single events may take back what their class has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    notify: i64,
    highlight: i64,
}

impl Sum {
    fn add(&mut self, mode: Mode, counts: Counts) {
        let (notify, highlight) = mode.count(counts);
        self.notify += i64::try_from(notify).unwrap_or(i64::MAX);
        self.highlight += i64::try_from(highlight).unwrap_or(i64::MAX);
    }
}

/// What is unread of a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnreadCounts {
    /// In the main timeline.
    pub main: UnreadCount,
    /// In each thread that has anything unread, by its root.
    pub threads: BTreeMap<EventNumber, UnreadCount>,
}

impl UnreadCounts {
    /// In all of them together.
    pub fn all(&self) -> UnreadCount {
        let mut all = self.main;
        for count in self.threads.values() {
            all.add(*count);
        }
        all
    }
}

/// How far a user has read the timelines of a room, and what counts for them since when.
pub(super) struct Read {
    unthreaded: TimelinePosition,
    pub(super) reading: Reading,
}

impl Read {
    pub(super) fn new(reading: Reading) -> Self {
        let mut positions = reading.positions.iter();
        let unthreaded = positions.find(|(thread, _)| *thread == Thread::Unthreaded);
        Self {
            unthreaded: unthreaded.map_or(TimelinePosition(0), |(_, at)| *at),
            reading,
        }
    }

    /// "Per thread: the further of the unthreaded receipt and the threaded receipt of that thread."
    pub(super) fn of(&self, thread: Thread) -> TimelinePosition {
        let mut positions = self.reading.positions.iter();
        let own = positions.find(|(of, _)| *of == thread);
        own.map_or(self.unthreaded, |(_, at)| self.unthreaded.max(*at))
    }
}

impl Viewer<'_> {
    /// What the reader, who is joined to the room, has not read.
    ///
    /// # Errors
    ///
    /// The store failed.
    pub fn unread_counts(&self) -> Result<UnreadCounts> {
        let (view, room, user) = (self.view, self.room, self.actor.user);
        let read = Read::new(unread::reading(view, room, user)?);
        let mut main = self.unread_in_main(&read)?;
        let mut threads = self.unread_in_threads(&read)?;
        let marks = match self.head.marked_up_to > read.unthreaded {
            true => mark::after(view, room, user, read.unthreaded, MAX_MARKS)?,
            false => Vec::new(),
        };
        for mark in marks {
            if mark.at > read.of(mark.thread) {
                let sum = match mark.thread {
                    Thread::Root(root) => threads.entry(root).or_default(),
                    Thread::Main | Thread::Unthreaded => &mut main,
                };
                sum.notify += mark.notify;
                sum.highlight += mark.highlight;
            }
        }
        let threads = threads.into_iter();
        let threads = threads.map(|(root, sum)| (root, UnreadCount::from(sum)));
        Ok(UnreadCounts {
            main: main.into(),
            threads: threads
                .filter(|(_, count)| *count != UnreadCount::default())
                .collect(),
        })
    }

    fn unread_in_main(&self, read: &Read) -> Result<Sum> {
        let (at, end) = (read.of(Thread::Main), self.head.last_timeline());
        if at >= end {
            return Ok(Sum::default());
        }
        self.between(read, Thread::Main, (at, end), |place| match place {
            place if place == end => Ok(self.head.unread),
            place => self.counted_up_to(place),
        })
    }

    /// What has accumulated in the main timeline up to a place: it never changes, and who reads on asks for it with
    /// every message.
    fn counted_up_to(&self, at: TimelinePosition) -> Result<Counts> {
        self.cache.counts(self.room, at, || {
            let entry = timeline::at_or_before(self.view, self.room, at)?;
            Ok(entry.map(|entry| entry.main).unwrap_or_default())
        })
    }

    fn unread_in_threads(&self, read: &Read) -> Result<BTreeMap<EventNumber, Sum>> {
        let (view, room, head) = (self.view, self.room, &self.head);
        let mut threads = BTreeMap::new();
        if !head.has_threads {
            return Ok(threads);
        }
        let end = TimelinePosition(head.next_timeline);
        for (root, latest) in relation::threads_before(view, room, end, MAX_THREADS)? {
            if latest <= read.unthreaded {
                break;
            }
            let thread = Thread::Root(root);
            let at = read.of(thread);
            if at < latest {
                let counted = |place| unread::thread_counts(view, room, root, place);
                let sum = self.between(read, thread, (at, head.last_timeline()), counted)?;
                threads.insert(root, sum);
            }
        }
        Ok(threads)
    }

    /// What of a timeline counts between two places, without what was redacted since: between the places where what the
    /// classes mean to the reader has changed, each time by what they meant there.
    fn between(
        &self,
        read: &Read,
        thread: Thread,
        (from, to): (TimelinePosition, TimelinePosition),
        counted: impl Fn(TimelinePosition) -> Result<Counts>,
    ) -> Result<Sum> {
        let mut sum = Sum::default();
        let (mut start, mut before) = (from, counted(from)?);
        let modes = &read.reading.modes;
        let passed = modes.partition_point(|(behind, _)| *behind <= from);
        let (passed, ahead) = modes.split_at(passed);
        let mut mode = passed.last().map_or_else(Mode::default, |(_, mode)| *mode);
        let ends = ahead.iter().copied().chain([(to, mode)]);
        for (end, next) in ends {
            let end = end.min(to);
            let now = counted(end)?;
            let counts = now.since(before);
            if counts != Counts::default() {
                let redacted = self.redacted(thread, (start, end))?;
                sum.add(mode, counts.since(redacted));
            }
            (start, before, mode) = (end, now, next);
        }
        Ok(sum)
    }

    /// What was redacted of a timeline behind a place and up to another.
    fn redacted(
        &self,
        thread: Thread,
        (after, up_to): (TimelinePosition, TimelinePosition),
    ) -> Result<Counts> {
        if self.head.corrected_up_to <= after {
            return Ok(Counts::default());
        }
        unread::corrections(self.view, self.room, thread, (after, up_to), MAX_REDACTED)
    }
}
