//! The auth graph of a room in memory: who cites whom, as numbers.
//!
//! Events are places in an array, in the order of their numbers; each cites earlier ones only. Nothing transitive is
//! stored, so a hostile graph costs what it has edges, and every search visits a place once.

use std::collections::HashMap;

use storage::{
    Result, View,
    room::{EventNumber, RoomNumber, StateKeyNumber},
};

const NONE: u32 = u32::MAX;

/// All state events of a room and what they cite.
#[derive(Default)]
pub(crate) struct AuthGraph {
    events: Vec<u32>,
    keys: Vec<u32>,
    /// Where the edges of each place begin; one entry more than places.
    first_edge: Vec<u32>,
    /// The place each edge leads to.
    cited: Vec<u32>,
    /// The newest edge that leads to each place.
    newest_citing: Vec<u32>,
    /// For each edge, the next older one that leads to the same place.
    older_citing: Vec<u32>,
}

/// A set of places.
struct Places(Vec<u64>);

impl Places {
    fn of(graph: &AuthGraph) -> Self {
        Self(vec![0; graph.events.len() / 64 + 1])
    }

    fn contains(&self, place: u32) -> bool {
        self.0
            .get(place as usize / 64)
            .is_some_and(|bits| bits & (1 << (place % 64)) != 0)
    }

    /// Whether it was not in the set before.
    fn insert(&mut self, place: u32) -> bool {
        let Some(bits) = self.0.get_mut(place as usize / 64) else {
            return false;
        };
        let bit = 1 << (place % 64);
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }

    fn iter(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.0).flat_map(|(index, bits)| {
            let bits = *bits;
            (0..64)
                .filter(move |bit| bits & (1 << bit) != 0)
                .map(move |bit| index * 64 + bit)
        })
    }
}

/// An event on which the auth chains of some states disagree, and in which of them it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disputed {
    pub(crate) event: EventNumber,
    /// One for each state.
    pub(crate) in_chain: Vec<bool>,
}

impl AuthGraph {
    /// Bytes in memory.
    pub(crate) fn memory(&self) -> usize {
        4 * (self.events.capacity()
            + self.keys.capacity()
            + self.first_edge.capacity()
            + self.cited.capacity()
            + self.newest_citing.capacity()
            + self.older_citing.capacity())
    }

    /// The greatest number in it, 0 when it is empty.
    pub(crate) fn last(&self) -> u32 {
        self.events.last().copied().unwrap_or(0)
    }

    /// Reads what was stored since.
    pub(crate) fn extend(&mut self, view: &dyn View, room: RoomNumber) -> Result<()> {
        let next = EventNumber(self.last() + 1);
        storage::event::auth::visit(view, room, next, |event, key, cited| {
            self.push(event, key, cited);
        })
    }

    fn push(&mut self, event: EventNumber, key: StateKeyNumber, cited: &[EventNumber]) {
        if self.first_edge.is_empty() {
            self.first_edge.push(0);
        }
        for number in cited {
            let Some(place) = self.place(*number) else {
                continue;
            };
            let edge = self.cited.len() as u32;
            self.cited.push(place);
            let newest = self.newest_citing.get_mut(place as usize);
            self.older_citing
                .push(newest.map_or(NONE, |newest| std::mem::replace(newest, edge)));
        }
        self.events.push(event.0);
        self.keys.push(key.0);
        self.newest_citing.push(NONE);
        self.first_edge.push(self.cited.len() as u32);
    }

    fn place(&self, event: EventNumber) -> Option<u32> {
        self.events
            .binary_search(&event.0)
            .ok()
            .map(|place| place as u32)
    }

    fn event(&self, place: u32) -> EventNumber {
        EventNumber(self.events.get(place as usize).copied().unwrap_or(0))
    }

    fn key(&self, place: u32) -> StateKeyNumber {
        StateKeyNumber(self.keys.get(place as usize).copied().unwrap_or(NONE))
    }

    fn cited_by(&self, place: u32) -> &[u32] {
        let edge = |index: usize| self.first_edge.get(index).map(|edge| *edge as usize);
        let place = place as usize;
        edge(place)
            .zip(edge(place + 1))
            .and_then(|(start, end)| self.cited.get(start..end))
            .unwrap_or_default()
    }

    /// The place whose edge this is.
    fn citing(&self, edge: u32) -> u32 {
        (self.first_edge.partition_point(|first| *first <= edge) - 1) as u32
    }

    fn older(&self, edge: u32) -> Option<u32> {
        self.older_citing
            .get(edge as usize)
            .copied()
            .filter(|edge| *edge != NONE)
    }

    fn newest(&self, place: u32) -> Option<u32> {
        self.newest_citing
            .get(place as usize)
            .copied()
            .filter(|edge| *edge != NONE)
    }

    /// Everything that `events` reach, without themselves unless one reaches another.
    fn chain(&self, events: &[EventNumber]) -> Places {
        let mut chain = Places::of(self);
        let mut open: Vec<u32> = events
            .iter()
            .filter_map(|event| self.place(*event))
            .collect();
        while let Some(place) = open.pop() {
            for cited in self.cited_by(place) {
                if chain.insert(*cited) {
                    open.push(*cited);
                }
            }
        }
        chain
    }

    /// The auth difference of whole states, given only where they conflict: `conflicted` holds, for each state, its
    /// events at the keys where the states differ. `is_shared` says whether an event stands in all of the states.
    ///
    /// An event is in the chain of a state if a conflicted event of it or a shared one reaches it. So the difference
    /// is what the conflicted events of some states reach, but not those of all, and no shared event does.
    pub(crate) fn difference(
        &self,
        conflicted: &[Vec<EventNumber>],
        is_shared: impl FnMut(EventNumber, StateKeyNumber) -> Result<bool>,
    ) -> Result<Vec<Disputed>> {
        let chains: Vec<_> = conflicted.iter().map(|events| self.chain(events)).collect();
        let mut any = Places::of(self);
        for (index, bits) in any.0.iter_mut().enumerate() {
            let of = |chain: &Places| chain.0.get(index).copied().unwrap_or(0);
            let some = chains.iter().map(of).fold(0, |a, b| a | b);
            let all = chains.iter().map(of).fold(u64::MAX, |a, b| a & b);
            *bits = some & !all;
        }
        let mut shared = Shared {
            graph: self,
            known: HashMap::new(),
            is_shared,
        };
        let mut disputed = Vec::new();
        for place in any.iter() {
            if !shared.reach(place)? {
                disputed.push(Disputed {
                    event: self.event(place),
                    in_chain: chains.iter().map(|chain| chain.contains(place)).collect(),
                });
            }
        }
        Ok(disputed)
    }

    /// "Starting from an event in the conflicted state set and following `auth_events` edges may lead to another
    /// event in the conflicted state set. The union of all such paths between any pair of events in the conflicted
    /// state set (including endpoints) forms the conflicted state subgraph."
    pub(crate) fn subgraph(&self, conflicted: &[EventNumber]) -> Vec<EventNumber> {
        let below = self.chain(conflicted);
        let ends: Vec<u32> = conflicted
            .iter()
            .filter_map(|event| self.place(*event))
            .collect();
        let mut subgraph = Places::of(self);
        for end in &ends {
            subgraph.insert(*end);
        }
        // Upwards from each end, over places that lie below an end.
        let mut open = ends;
        while let Some(place) = open.pop() {
            let mut edge = self.newest(place);
            while let Some(at) = edge {
                let citing = self.citing(at);
                if below.contains(citing) && subgraph.insert(citing) {
                    open.push(citing);
                }
                edge = self.older(at);
            }
        }
        subgraph.iter().map(|place| self.event(place)).collect()
    }
}

/// Which places shared events reach. Each place is decided once.
struct Shared<'a, F> {
    graph: &'a AuthGraph,
    known: HashMap<u32, bool>,
    is_shared: F,
}

impl<F: FnMut(EventNumber, StateKeyNumber) -> Result<bool>> Shared<'_, F> {
    /// Whether a shared event reaches `place`: whether one that cites it is shared or is reached itself.
    fn reach(&mut self, place: u32) -> Result<bool> {
        if let Some(known) = self.known.get(&place) {
            return Ok(*known);
        }
        // A path upwards, each place with the next edge to try. Citing events are later: there is no cycle.
        let mut path = vec![(place, self.graph.newest(place))];
        while let Some((at, edge)) = path.last_mut() {
            let Some(tried) = *edge else {
                self.known.insert(*at, false);
                path.pop();
                continue;
            };
            *edge = self.graph.older(tried);
            let citing = self.graph.citing(tried);
            let known = self.known.get(&citing).copied();
            let found = known == Some(true)
                || (self.is_shared)(self.graph.event(citing), self.graph.key(citing))?;
            if found {
                // Everything on the path is reached by what was found.
                self.known.extend(path.iter().map(|(at, _)| (*at, true)));
                return Ok(true);
            }
            if known.is_none() {
                path.push((citing, self.graph.newest(citing)));
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
