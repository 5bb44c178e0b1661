//! The order in which targets are pushed, so that shared layers are uploaded once.

use std::collections::HashMap;

use super::Plan;

/// The maximum number of axes for which every combination has a leader. With more axes, only single axes and
/// all but one have.
const MAX_AXES: usize = 6;

impl Plan<'_> {
    /// Returns for each target the targets to push before it.
    ///
    /// A layer depends on some of the axes, and variants with the same values on them share it. If they were pushed at
    /// the same time, each would upload it. So for every set of axes, the first target with some values is pushed
    /// before the others with these values, which then find the layer in the registry or mount it.
    #[must_use]
    pub fn leaders(&self) -> Vec<Vec<usize>> {
        let sets = axis_sets(self.matrix.axes.len());
        let mut leaders: HashMap<(usize, Vec<usize>), usize> = HashMap::new();
        let mut after = Vec::with_capacity(self.targets.len());
        for (index, target) in self.targets.iter().enumerate() {
            let mut before: Vec<usize> = Vec::new();
            for (number, axes) in sets.iter().enumerate() {
                let values = axes.iter().map(|axis| target.variant.values[*axis]).collect();
                let leader = *leaders.entry((number, values)).or_insert(index);
                before.push(leader);
            }
            before.sort_unstable();
            before.dedup();
            before.retain(|leader| *leader != index);
            after.push(before);
        }
        after
    }
}

/// Returns the sets of axes on which a layer can depend, including the empty set.
fn axis_sets(axes: usize) -> Vec<Vec<usize>> {
    if axes <= MAX_AXES {
        let members = |set: usize| (0..axes).filter(move |axis| set & (1 << axis) != 0).collect();
        return (0..1 << axes).map(members).collect();
    }
    let single = (0..axes).map(|axis| vec![axis]);
    let without = (0..axes).map(|left_out| (0..axes).filter(|axis| *axis != left_out).collect());
    std::iter::once(Vec::new()).chain(single).chain(without).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::matrix::{Selection, parse};
    use crate::plan::{Plan, PlanRequest};

    #[test]
    fn the_first_target_with_shared_values_leads_the_others() {
        let text = r#"
            [image]
            repository = "acme/{{job_type}}"
            tag = "x-{{variant}}"
            dockerfile = "Dockerfile.hbs"
            platforms = ["linux/amd64"]
            [axes]
            python = ["3.9", "3.11"]
            gpu = [false, true]
            job_type = [{ value = "server", tag = "" }, { value = "training", tag = "" }]
            [[extra]]
            axes = { python = "3.12", gpu = true, job_type = "server" }
        "#;
        let matrix = parse(Path::new("matrix.toml"), text).expect("a matrix");
        let selected = matrix.select(&Selection::default()).expect("all");
        let plan = Plan::new(&matrix, &selected, PlanRequest::default()).expect("a plan");
        let shown: Vec<String> = plan
            .targets
            .iter()
            .zip(plan.leaders())
            .map(|(target, after)| {
                let after: Vec<&str> = after.iter().map(|at| plan.targets[*at].id()).collect();
                format!("{} after [{}]", target.id(), after.join(", "))
            })
            .collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        3.9-server after []
        3.9-training after [3.9-server]
        3.9-gpu-server after [3.9-server]
        3.9-gpu-training after [3.9-server, 3.9-training, 3.9-gpu-server]
        3.11-server after [3.9-server]
        3.11-training after [3.9-server, 3.9-training, 3.11-server]
        3.11-gpu-server after [3.9-server, 3.9-gpu-server, 3.11-server]
        3.11-gpu-training after [3.9-server, 3.9-training, 3.9-gpu-server, 3.9-gpu-training, 3.11-server, 3.11-training, 3.11-gpu-server]
        3.12-gpu-server after [3.9-server, 3.9-gpu-server]
        ");
    }
}
