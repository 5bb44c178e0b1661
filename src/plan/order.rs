//! In which order targets reach a registry.

use std::collections::HashMap;

use super::{Plan, Target};

impl Plan<'_> {
    /// For each target, the targets that should be pushed before it.
    ///
    /// Variants that share an axis value share the blobs that it brings. Within a
    /// repository an engine uploads a blob once; several repositories that are pushed to at
    /// the same time would each be sent it. So the first target that has a value leads: one
    /// with that value in another repository waits for it, and then mounts what is there.
    #[must_use]
    pub fn leaders(&self) -> Vec<Vec<usize>> {
        let mut leaders: HashMap<(usize, usize), usize> = HashMap::new();
        let mut after = Vec::with_capacity(self.targets.len());
        for (index, target) in self.targets.iter().enumerate() {
            let mut before: Vec<usize> = Vec::new();
            for axis_value in target.variant.values.iter().copied().enumerate() {
                let leader = *leaders.entry(axis_value).or_insert(index);
                if !same_repository(target, &self.targets[leader]) && !before.contains(&leader) {
                    before.push(leader);
                }
            }
            before.sort_unstable();
            after.push(before);
        }
        after
    }
}

fn same_repository(one: &Target<'_>, other: &Target<'_>) -> bool {
    one.reference.repository == other.reference.repository
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::matrix::{Selection, parse};
    use crate::plan::{Plan, PlanRequest};

    #[test]
    fn the_first_of_each_value_leads_the_other_repositories() {
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
        3.9-gpu-server after []
        3.9-gpu-training after [3.9-server, 3.9-gpu-server]
        3.11-server after []
        3.11-training after [3.9-server, 3.11-server]
        3.11-gpu-server after []
        3.11-gpu-training after [3.9-gpu-server, 3.11-server]
        3.12-gpu-server after []
        ");
    }
}
