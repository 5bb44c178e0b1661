//! Dividing the targets of a plan among machines, so that they are built in parallel and what
//! they share is built as seldom as possible.
//!
//! The rule: what a machine has to do is the steps of its targets, each distinct one once, and
//! a check and an export for each target. A group of targets that `n` machines are to build is
//! cut in two, for `n / 2` machines and for the rest, in such a way that the busier half has the
//! least to do for each of its machines; the halves are cut again until each is one machine's.
//! Before each cut the targets are ordered by their values on one of the axes, and the axis is
//! taken on which the cut is cheapest: a cut between two values of an axis that costly steps
//! depend on repeats fewest steps on both sides, and so targets that share them stay together.
//! Of a few machines, what comes of each of the cuts is tried out.

use std::collections::HashMap;

use super::Plan;
use crate::render::{BuildContext, Step};

/// The most jobs that GitHub Actions makes of one matrix, see [usage limits][limits].
///
/// [limits]: https://docs.github.com/actions/reference/limits
pub const MAX_SHARDS: usize = 256;

/// How many shards there are at most unless more are asked for: as many jobs as GitHub's free
/// plan runs at a time.
const USUAL_MAX: usize = 20;

/// How many targets a machine is given where nothing else is said: as many as `basegen` builds
/// at a time.
const USUAL_TARGETS: usize = 8;

/// What a step costs, where checking, exporting and pushing an image costs 1.
const STEP: u64 = 4;

/// For how many machines at most the cuts are tried out, and not only estimated.
const LOOK_AHEAD: usize = 4;

/// How many shards `targets` are divided into where nothing is said: one for every eight of
/// them, and at most 20.
#[must_use]
pub fn usual_shards(targets: usize) -> usize {
    targets.div_ceil(USUAL_TARGETS).clamp(1, USUAL_MAX)
}

impl Plan<'_> {
    /// Divides the targets at `chosen` into at most `count` shards, none of them empty; each has
    /// its targets in plan order, and the shards are in the order of their first ones.
    /// `contexts` are those of all targets. There are never more than [`MAX_SHARDS`].
    #[must_use]
    pub fn shards(
        &self,
        contexts: &[BuildContext],
        chosen: &[usize],
        count: usize,
    ) -> Vec<Vec<usize>> {
        let values: Vec<&[usize]> =
            chosen.iter().map(|at| self.targets[*at].variant.values.as_slice()).collect();
        let steps: Vec<Vec<Step>> = chosen.iter().map(|at| contexts[*at].steps()).collect();
        let shards = divide(&values, &steps, count);
        shards.into_iter().map(|rows| rows.into_iter().map(|row| chosen[row]).collect()).collect()
    }
}

/// Divides rows, of which each has a value on every axis and steps.
fn divide(values: &[&[usize]], steps: &[Vec<Step>], count: usize) -> Vec<Vec<usize>> {
    if values.is_empty() {
        return Vec::new();
    }
    let count = count.clamp(1, MAX_SHARDS.min(values.len()));
    let mut shards = Divider::new(values, steps).divide((0..values.len()).collect(), count).shards;
    for shard in &mut shards {
        shard.sort_unstable();
    }
    shards.sort_unstable();
    shards
}

struct Divider<'a> {
    values: &'a [&'a [usize]],
    /// The steps of each row, numbered.
    steps: Vec<Vec<usize>>,
    /// For each step, the count in which it was last seen.
    seen: Vec<usize>,
    counts: usize,
}

/// A way to cut a group in two.
struct Cut {
    order: Vec<usize>,
    at: usize,
    /// What the busier side costs for each of its machines, times the machines of both sides;
    /// then what both sides cost together. Less is better.
    estimate: (u64, u64),
}

/// A group that is divided.
struct Divided {
    shards: Vec<Vec<usize>>,
    /// What the busiest shard costs, then what all do together. Less is better.
    cost: (u64, u64),
}

impl<'a> Divider<'a> {
    fn new(values: &'a [&'a [usize]], steps: &[Vec<Step>]) -> Self {
        let mut numbers: HashMap<Step, usize> = HashMap::new();
        let mut number = |step: &Step| {
            let next = numbers.len();
            *numbers.entry(*step).or_insert(next)
        };
        let steps: Vec<Vec<usize>> =
            steps.iter().map(|steps| steps.iter().map(&mut number).collect()).collect();
        Self { values, steps, seen: vec![0; numbers.len()], counts: 0 }
    }

    /// Divides `rows` into exactly `count` shards; there are at least as many rows.
    fn divide(&mut self, rows: Vec<usize>, count: usize) -> Divided {
        if count == 1 {
            let cost = self.costs(rows.iter()).last().copied().unwrap_or_default();
            return Divided { shards: vec![rows], cost: (cost, cost) };
        }
        let mut cuts = self.cuts(&rows, count);
        // The first of several that are equal, so that the result is the same each time.
        cuts.sort_by_key(|cut| cut.estimate);
        if count > LOOK_AHEAD {
            cuts.truncate(1);
        }
        let tried = cuts.into_iter().map(|cut| self.carry_out(cut, count));
        tried.min_by_key(|divided| divided.cost).expect("there is always a place to cut")
    }

    fn carry_out(&mut self, mut cut: Cut, count: usize) -> Divided {
        let after = cut.order.split_off(cut.at);
        let mut divided = self.divide(cut.order, count / 2);
        let other = self.divide(after, count - count / 2);
        divided.shards.extend(other.shards);
        let (busiest, all) = divided.cost;
        divided.cost = (busiest.max(other.cost.0), all + other.cost.1);
        divided
    }

    /// The ways to cut `rows` for `count` machines: for each order of them, the best place of all
    /// and the best between two values.
    fn cuts(&mut self, rows: &[usize], count: usize) -> Vec<Cut> {
        let axes = self.values[rows[0]].len();
        let mut cuts = Vec::new();
        self.add_cuts(rows, None, count, &mut cuts);
        for axis in 0..axes {
            let mut order = rows.to_vec();
            order.sort_by_key(|row| (self.values[*row][axis], *row));
            self.add_cuts(&order, Some(axis), count, &mut cuts);
        }
        cuts
    }

    fn add_cuts(
        &mut self,
        order: &[usize],
        axis: Option<usize>,
        count: usize,
        cuts: &mut Vec<Cut>,
    ) {
        let (left, right) = (count / 2, count - count / 2);
        let before = self.costs(order.iter());
        let after = self.costs(order.iter().rev());
        let estimate = |at: &usize| {
            let (before, after) = (before[*at], after[order.len() - at]);
            let busier = (before * right as u64).max(after * left as u64);
            (busier, before + after)
        };
        let places = left..=order.len() - right;
        let is_between = |at: &usize| {
            let value = |at: usize| axis.map(|axis| self.values[order[at]][axis]);
            value(*at - 1) != value(*at)
        };
        let between = places.clone().filter(is_between).min_by_key(estimate);
        let best = places.min_by_key(estimate).expect("as many rows as machines");
        for at in between.into_iter().chain([best].into_iter().filter(|at| between != Some(*at))) {
            cuts.push(Cut { order: order.to_vec(), at, estimate: estimate(&at) });
        }
    }

    /// What the first rows of an order cost together: of none, of one, of two….
    fn costs<'r>(&mut self, order: impl Iterator<Item = &'r usize>) -> Vec<u64> {
        self.counts += 1;
        let mut costs = vec![0];
        let mut cost = 0;
        for row in order {
            cost += 1;
            for step in &self.steps[*row] {
                if self.seen[*step] != self.counts {
                    self.seen[*step] = self.counts;
                    cost += STEP;
                }
            }
            costs.push(cost);
        }
        costs
    }
}

#[cfg(test)]
mod tests;
