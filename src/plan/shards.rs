//! Divides the targets of a plan among machines, so that shared steps are repeated as rarely as possible.
//!
//! The cost of a machine is the number of distinct steps of its targets, plus a check and an export for each target. Two
//! kinds of divisions are compared, in the order of the plan and in that of the values on each axis, and the one whose
//! busiest machine has the lowest cost is used:
//!
//! - Equal parts. They are the best if each value of an axis has most in common.
//! - Repeated cuts: a group of targets for `n` machines is cut in two, for `n / 2` machines and for the rest, so that the
//!   busier half has the lowest cost per machine. Each cut uses the order in which it is cheapest.

use std::collections::{BTreeSet, HashMap};

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
    /// Divides `families` of targets, by their indices, into at most `count` shards and at most [`MAX_SHARDS`]. No family
    /// is divided, and no shard is empty. Shards and their targets are in plan order. `contexts` are those of all targets.
    #[must_use]
    pub fn shards(
        &self,
        contexts: &[BuildContext],
        families: &[Vec<usize>],
        count: usize,
    ) -> Vec<Vec<usize>> {
        let rows = families.iter().map(|family| {
            let steps: BTreeSet<Step> =
                family.iter().flat_map(|at| contexts[*at].steps()).collect();
            Row {
                values: self.targets[family[0]].variant.values.as_slice(),
                steps: steps.into_iter().collect(),
                targets: family.len() as u64,
            }
        });
        let shards = divide(&rows.collect::<Vec<_>>(), count).into_iter();
        let shards = shards.map(|rows| {
            let mut shard: Vec<usize> =
                rows.into_iter().flat_map(|row| &families[row]).copied().collect();
            shard.sort_unstable();
            shard
        });
        shards.collect()
    }
}

/// Targets that stay together.
struct Row<'a> {
    /// The axis values of the first target.
    values: &'a [usize],
    steps: Vec<Step>,
    /// The number of targets.
    targets: u64,
}

/// Divides rows into shards, by their indices.
fn divide(rows: &[Row<'_>], count: usize) -> Vec<Vec<usize>> {
    if rows.is_empty() {
        return Vec::new();
    }
    let count = count.clamp(1, MAX_SHARDS.min(rows.len()));
    let all: Vec<usize> = (0..rows.len()).collect();
    let mut divider = Divider::new(rows);
    let mut by_cuts = Vec::with_capacity(count);
    divider.divide(all.clone(), count, &mut by_cuts);
    let equal = divider.orders(&all).into_iter().map(|order| equal_parts(&order, count));
    let divisions = std::iter::once(by_cuts).chain(equal);
    let cheapest = divisions.min_by_key(|shards| divider.cost(shards));
    let mut shards = cheapest.expect("a division");
    for shard in &mut shards {
        shard.sort_unstable();
    }
    shards.sort_unstable();
    shards
}

fn equal_parts(order: &[usize], count: usize) -> Vec<Vec<usize>> {
    let start = |part: usize| order.len() * part / count;
    (0..count).map(|part| order[start(part)..start(part + 1)].to_vec()).collect()
}

struct Divider<'a> {
    rows: &'a [Row<'a>],
    /// The numbers of the steps of each row.
    steps: Vec<Vec<usize>>,
    /// For each step, the last count that included it.
    seen: Vec<usize>,
    counts: usize,
}

impl<'a> Divider<'a> {
    fn new(rows: &'a [Row<'a>]) -> Self {
        let mut numbers: HashMap<Step, usize> = HashMap::new();
        let mut number = |step: &Step| {
            let next = numbers.len();
            *numbers.entry(*step).or_insert(next)
        };
        let steps: Vec<Vec<usize>> =
            rows.iter().map(|row| row.steps.iter().map(&mut number).collect()).collect();
        Self { rows, steps, seen: vec![0; numbers.len()], counts: 0 }
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
        let all = self.rows;
        let (mut lowest, mut best) = ((u64::MAX, u64::MAX, true), (Vec::new(), 0));
        for (axis, order) in axes(all).zip(self.orders(rows)) {
            let value = |row: usize| axis.map(|axis| all[row].values[axis]);
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

    /// Returns rows in the order of the plan, and in that of their values on each axis.
    fn orders(&self, rows: &[usize]) -> Vec<Vec<usize>> {
        let ordered = |axis: Option<usize>| {
            let mut order = rows.to_vec();
            order.sort_by_key(|row| (axis.map(|axis| self.rows[*row].values[axis]), *row));
            order
        };
        axes(self.rows).map(ordered).collect()
    }

    /// Returns the cost of the busiest shard, and that of all shards.
    fn cost(&mut self, shards: &[Vec<usize>]) -> (u64, u64) {
        let costs = shards.iter().map(|shard| *self.costs(shard.iter()).last().expect("a cost"));
        costs.fold((0, 0), |(most, total), cost| (most.max(cost), total + cost))
    }

    /// Returns the cost of the first 0, 1, 2… rows of an order.
    fn costs<'r>(&mut self, order: impl Iterator<Item = &'r usize>) -> Vec<u64> {
        self.counts += 1;
        let mut costs = vec![0];
        let mut cost = 0;
        for row in order {
            cost += self.rows[*row].targets;
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

/// Returns the axes to order rows by; `None` is the order of the plan.
fn axes(rows: &[Row<'_>]) -> impl Iterator<Item = Option<usize>> + use<> {
    std::iter::once(None).chain((0..rows[0].values.len()).map(Some))
}

#[cfg(test)]
mod tests;
