//! Divides the targets of a plan among machines, so that shared steps are repeated as rarely as possible.
//!
//! The cost of a machine is the number of distinct steps of its targets, plus a check and an export for each target. A
//! group of targets for `n` machines is cut in two, for `n / 2` machines and for the rest, so that the busier half has
//! the lowest cost per machine. The halves are cut again until each belongs to one machine. Before each cut, the
//! targets are ordered by their values on one axis, and the axis with the cheapest cut is used. Targets that share
//! expensive steps therefore stay together. For few machines, all cuts are tried instead of estimated.

use std::collections::HashMap;

use super::Plan;
use crate::render::{BuildContext, Step};

/// The maximum number of jobs in a matrix of GitHub Actions, see [usage limits][limits].
///
/// [limits]: https://docs.github.com/actions/reference/limits
pub const MAX_SHARDS: usize = 256;

/// The default maximum of shards: the number of concurrent jobs in GitHub's free plan.
const DEFAULT_MAX: usize = 20;

/// The default number of targets for each machine.
const DEFAULT_TARGETS: usize = 8;

/// The cost of a step. Checking, exporting and pushing an image together cost 1.
const STEP: u64 = 4;

/// The maximum number of machines for which all cuts are tried.
const LOOK_AHEAD: usize = 4;

/// Returns the default number of shards: one for every 8 targets, at most 20.
#[must_use]
pub fn usual_shards(targets: usize) -> usize {
    targets.div_ceil(DEFAULT_TARGETS).clamp(1, DEFAULT_MAX)
}

impl Plan<'_> {
    /// Divides the targets with the indices `chosen` into at most `count` shards and at most [`MAX_SHARDS`]. No shard is
    /// empty. Shards and their targets are in plan order. `contexts` are those of all targets.
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

/// Divides rows with their axis values and steps.
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
    /// The numbers of the steps of each row.
    steps: Vec<Vec<usize>>,
    /// For each step, the last count that included it.
    seen: Vec<usize>,
    counts: usize,
}

/// A division of a group in two.
struct Cut {
    order: Vec<usize>,
    at: usize,
    /// The cost per machine of the busier side, times the machines of both sides; then the total cost. Lower is better.
    estimate: (u64, u64),
}

/// The result of dividing a group.
struct Divided {
    shards: Vec<Vec<usize>>,
    /// The cost of the busiest shard, then the total cost. Lower is better.
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

    /// Divides at least `count` rows into exactly `count` shards.
    fn divide(&mut self, rows: Vec<usize>, count: usize) -> Divided {
        if count == 1 {
            let cost = self.costs(rows.iter()).last().copied().unwrap_or_default();
            return Divided { shards: vec![rows], cost: (cost, cost) };
        }
        let mut cuts = self.cuts(&rows, count);
        // The sort is stable, so that the result is the same each time.
        cuts.sort_by_key(|cut| cut.estimate);
        if count > LOOK_AHEAD {
            cuts.truncate(1);
        }
        let tried = cuts.into_iter().map(|cut| self.carry_out(cut, count));
        tried.min_by_key(|divided| divided.cost).expect("there is always a cut")
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

    /// Returns possible cuts of `rows` for `count` machines: for each order, the best position, and the best position
    /// between two values.
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

    /// Returns the cost of the first 0, 1, 2… rows of an order.
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
