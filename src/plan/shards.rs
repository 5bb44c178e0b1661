//! Divides the targets of a plan among machines, so that shared steps are repeated as rarely as possible.
//!
//! The cost of a machine is the number of distinct steps of its targets, plus a check and an export for each target. A
//! group of targets for `n` machines is cut in two, for `n / 2` machines and for the rest, so that the busier half has
//! the lowest cost per machine. The halves are cut again until each belongs to one machine. Before each cut, the
//! targets are ordered by their values on one axis, and the axis with the cheapest cut is used. Targets that share
//! expensive steps therefore stay together.

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
    let mut shards = Vec::with_capacity(count);
    Divider::new(values, steps).divide((0..values.len()).collect(), count, &mut shards);
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

    /// Divides at least `count` rows into exactly `count` shards and adds them to `shards`.
    fn divide(&mut self, rows: Vec<usize>, count: usize, shards: &mut Vec<Vec<usize>>) {
        if count == 1 {
            shards.push(rows);
            return;
        }
        let (mut rows, at) = self.cut(&rows, count);
        let after = rows.split_off(at);
        self.divide(rows, count / 2, shards);
        self.divide(after, count - count / 2, shards);
    }

    /// Returns the cheapest order of `rows` for `count` machines, and the position to cut it at. The cost of a cut is that
    /// of the busier side per machine, then the total cost. Of several equal cuts, one between two values is used.
    fn cut(&mut self, rows: &[usize], count: usize) -> (Vec<usize>, usize) {
        let (left, right) = (count / 2, count - count / 2);
        let values = self.values;
        let axes = (0..values[rows[0]].len()).map(Some);
        let (mut lowest, mut best) = ((u64::MAX, u64::MAX, true), (Vec::new(), 0));
        for axis in std::iter::once(None).chain(axes) {
            let value = |row: usize| axis.map(|axis| values[row][axis]);
            let mut order = rows.to_vec();
            order.sort_by_key(|row| (value(*row), *row));
            let before = self.costs(order.iter());
            let after = self.costs(order.iter().rev());
            for at in left..=order.len() - right {
                let (before, after) = (before[at], after[order.len() - at]);
                let busier = (before * right as u64).max(after * left as u64);
                let is_within = value(order[at - 1]) == value(order[at]);
                let cost = (busier, before + after, is_within);
                if cost < lowest {
                    (lowest, best) = (cost, (order.clone(), at));
                }
            }
        }
        best
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
