//! The graph against naive walks, and its costs on hostile shapes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*};
use storage::room::{EventNumber, StateKeyNumber};

use super::{AuthGraph, Disputed};

type Edges = BTreeMap<u32, Vec<u32>>;

/// Events 2, 4, 6, … (messages have the numbers between), each citing earlier ones.
fn graphs() -> impl Strategy<Value = Edges> {
    vec(vec(any::<prop::sample::Index>(), 0..4), 1..40).prop_map(|events| {
        let cite = |(index, cited): (usize, Vec<prop::sample::Index>)| {
            let cited: BTreeSet<u32> = match index {
                0 => BTreeSet::new(),
                _ => cited
                    .iter()
                    .map(|at| 2 * (at.index(index) as u32 + 1))
                    .collect(),
            };
            (2 * (index as u32 + 1), cited.into_iter().collect())
        };
        events.into_iter().enumerate().map(cite).collect()
    })
}

fn build(edges: &Edges) -> AuthGraph {
    let mut graph = AuthGraph::default();
    for (event, cited) in edges {
        let cited: Vec<_> = cited.iter().map(|event| EventNumber(*event)).collect();
        graph.push(EventNumber(*event), StateKeyNumber(event % 5), &cited);
    }
    graph
}

fn chain(edges: &Edges, events: impl IntoIterator<Item = u32>) -> BTreeSet<u32> {
    let mut chain = BTreeSet::new();
    let mut open: Vec<u32> = events.into_iter().collect();
    while let Some(event) = open.pop() {
        for cited in &edges[&event] {
            if chain.insert(*cited) {
                open.push(*cited);
            }
        }
    }
    chain
}

fn numbers(events: &BTreeSet<u32>) -> Vec<EventNumber> {
    events.iter().map(|event| EventNumber(*event)).collect()
}

proptest! {
    #[test]
    fn difference_equals_that_of_whole_states(
        edges in graphs(),
        states in vec(vec(any::<prop::sample::Index>(), 0..4), 2..5),
        shared in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let all: Vec<u32> = edges.keys().copied().collect();
        let pick = |picks: &[prop::sample::Index]| -> BTreeSet<u32> {
            picks.iter().map(|pick| all[pick.index(all.len())]).collect()
        };
        let shared = pick(&shared);
        let states: Vec<BTreeSet<u32>> = states.iter().map(|state| pick(state)).collect();
        let chains: Vec<_> = states
            .iter()
            .map(|state| chain(&edges, state.union(&shared).copied()))
            .collect();
        let mut expected = Vec::new();
        for event in &all {
            let in_chain: Vec<bool> = chains.iter().map(|chain| chain.contains(event)).collect();
            if in_chain.contains(&true) && in_chain.contains(&false) {
                expected.push(Disputed { event: EventNumber(*event), in_chain });
            }
        }
        let conflicted: Vec<_> = states.iter().map(numbers).collect();
        let found = build(&edges).difference(&conflicted, |event, key| {
            assert_eq!(key.0, event.0 % 5);
            Ok(shared.contains(&event.0))
        });
        prop_assert_eq!(found.unwrap(), expected);
    }

    #[test]
    fn subgraph_equals_all_paths(
        edges in graphs(),
        picks in vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let all: Vec<u32> = edges.keys().copied().collect();
        let ends: BTreeSet<u32> = picks.iter().map(|pick| all[pick.index(all.len())]).collect();
        let below = chain(&edges, ends.iter().copied());
        let expected: BTreeSet<u32> = all
            .iter()
            .copied()
            .filter(|event| {
                ends.contains(event)
                    || (below.contains(event)
                        && chain(&edges, [*event]).iter().any(|event| ends.contains(event)))
            })
            .collect();
        let found = build(&edges).subgraph(&numbers(&ends));
        prop_assert_eq!(found, numbers(&expected));
    }
}

/// A chain of 50,000 invites, each citing the one before; memory and steps are those of its edges.
#[test]
fn c6_a_long_chain_costs_its_length() {
    let length = 50_000;
    let mut graph = AuthGraph::default();
    for event in 1..=length {
        let cited = [EventNumber(1), EventNumber(event.max(2) - 1)];
        let cited = if event == 1 { &cited[..0] } else { &cited[..] };
        graph.push(EventNumber(event), StateKeyNumber(event), cited);
    }
    assert!(graph.memory() < 100 * length as usize);
    let mut asked = 0;
    let ends = [vec![EventNumber(length)], vec![EventNumber(length / 2)]];
    let disputed = graph.difference(&ends, |_, _| {
        asked += 1;
        Ok(false)
    });
    assert_eq!(disputed.unwrap().len(), length as usize / 2);
    // Each edge above a disputed event is looked at a bounded number of times.
    assert!(asked <= 2 * length, "{asked}");
    let ends = [EventNumber(length), EventNumber(1)];
    assert_eq!(graph.subgraph(&ends).len(), length as usize);
}
