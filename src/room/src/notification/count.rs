//! Unread counts: differences of what has accumulated along the timelines.

use std::collections::BTreeMap;

use storage::{
    Result, View, relation,
    room::{EventNumber, RoomNumber, TimelinePosition},
    timeline,
    unread::{self, Counts, Thread},
};

use crate::viewer::Viewer;

/// Threads that are looked at for one count.
const MAX_THREADS: usize = 1_000;

/// Highlights that are counted.
const MAX_HIGHLIGHTS: usize = 10_000;

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

impl From<Counts> for UnreadCount {
    fn from(counts: Counts) -> Self {
        Self {
            highlight_count: counts.highlight,
            notification_count: counts.total(),
        }
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

/// How far a user has read the timelines of a room.
struct Read {
    unthreaded: TimelinePosition,
    threads: Vec<(Thread, TimelinePosition)>,
}

impl Read {
    /// "Per thread: the further of the unthreaded receipt and the threaded receipt of that thread."
    fn of(&self, thread: Thread) -> TimelinePosition {
        let own = self.threads.iter().find(|(of, _)| *of == thread);
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
        let mut threads = unread::read_positions(view, room, user)?;
        let unthreaded = threads
            .iter()
            .find(|(thread, _)| *thread == Thread::Unthreaded)
            .map_or(TimelinePosition(0), |(_, at)| *at);
        threads.retain(|(thread, _)| *thread != Thread::Unthreaded);
        let read = Read {
            unthreaded,
            threads,
        };
        let mut counts = UnreadCounts {
            main: self.unread_in_main(&read)?.into(),
            threads: self.unread_in_threads(&read)?,
        };
        let highlights =
            unread::highlights_after(view, room, user, read.unthreaded, MAX_HIGHLIGHTS)?;
        for highlight in highlights {
            if highlight.at > read.of(highlight.thread) {
                let count = match highlight.thread {
                    Thread::Root(root) => counts.threads.entry(root).or_default(),
                    Thread::Main | Thread::Unthreaded => &mut counts.main,
                };
                count.highlight_count += 1;
                count.notification_count += highlight.adds;
            }
        }
        Ok(counts)
    }

    fn unread_in_main(&self, read: &Read) -> Result<Counts> {
        let at = read.of(Thread::Main);
        if at >= self.head.last_timeline() {
            return Ok(Counts::default());
        }
        let counts = self.head.unread.since(self.counted_up_to(at)?);
        without_redacted(self.view, self.room, (Thread::Main, at), counts)
    }

    /// What has accumulated in the main timeline up to a place: it never changes, and who reads on asks for it with
    /// every message.
    fn counted_up_to(&self, at: TimelinePosition) -> Result<Counts> {
        self.cache.counts(self.room, at, || {
            let entry = timeline::at_or_before(self.view, self.room, at)?;
            Ok(entry.map(|entry| entry.main).unwrap_or_default())
        })
    }

    fn unread_in_threads(&self, read: &Read) -> Result<BTreeMap<EventNumber, UnreadCount>> {
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
            let at = read.of(Thread::Root(root));
            if at < latest {
                let now = unread::thread_counts(view, room, root, head.last_timeline())?;
                let before = unread::thread_counts(view, room, root, at)?;
                let thread = (Thread::Root(root), at);
                let counts = without_redacted(view, room, thread, now.since(before))?;
                if counts.total() > 0 {
                    threads.insert(root, counts.into());
                }
            }
        }
        Ok(threads)
    }
}

/// The counts of what a thread has behind a place, without what was redacted since.
fn without_redacted(
    view: &dyn View,
    room: RoomNumber,
    (thread, after): (Thread, TimelinePosition),
    counts: Counts,
) -> Result<Counts> {
    if counts == Counts::default() {
        return Ok(counts);
    }
    let redacted = unread::corrections_after(view, room, thread, after, MAX_REDACTED)?;
    Ok(counts.since(redacted))
}
