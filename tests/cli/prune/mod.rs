//! `basegen prune`: deletes the staging tags of images that the matrix no longer describes.

use insta::assert_snapshot;

use crate::harness::release_project::Project;
use crate::harness::variants::variants;

const REPOSITORY: &str = "acme/base";

/// Returns the staging tags in the registry, sorted.
fn staging_tags(project: &Project) -> Vec<String> {
    let tags = project.registry.tags(REPOSITORY).into_iter().map(|(tag, _)| tag);
    tags.filter(|tag| tag.starts_with("basegen-") && !tag.starts_with("basegen-release")).collect()
}

/// Returns the output of `basegen prune`, with the name of the `stale` tag replaced.
async fn prune(project: &Project, arguments: &str, stale: Option<&str>) -> String {
    let output = project.output(project.basegen(&format!("prune {arguments}"))).await;
    stale.map_or(output.clone(), |stale| output.replace(stale, "STALE"))
}

/// Returns the staging tags that the matrix needs.
fn needed_tags(project: &Project) -> Vec<String> {
    let variants = variants(&project.path("matrix.toml"), "v1.2.3");
    let tags = variants.into_iter().flat_map(|variant| variant.staging);
    tags.map(|tag| tag.to_string()).collect()
}

#[tokio::test]
async fn stale_staging_tags_are_listed_and_deleted_on_request() {
    let project = Project::new().await;
    project.stage();
    let before = staging_tags(&project);
    assert_eq!(before.len(), 2);
    assert_snapshot!("nothing_to_prune", prune(&project, "--yes", None).await);
    assert_eq!(staging_tags(&project), before);

    project.write("dockerfiles/3.11.txt", "changed\n");
    project.stage();
    let after = staging_tags(&project);
    assert_eq!(after.len(), 3, "{after:?}");
    let needed = needed_tags(&project);
    let stale = after.iter().find(|tag| !needed.contains(tag)).expect("a stale tag");
    assert_snapshot!("listed", prune(&project, "", Some(stale)).await);
    assert_eq!(staging_tags(&project), after);
    assert_snapshot!("deleted", prune(&project, "--yes", Some(stale)).await);
    let left: Vec<String> = after.iter().filter(|tag| needed.contains(tag)).cloned().collect();
    assert_eq!(staging_tags(&project), left);
    assert_snapshot!("nothing_to_prune", prune(&project, "--yes", None).await);
}

#[tokio::test]
async fn releases_are_not_pruned() {
    let project = Project::released().await;
    let released = |project: &Project| {
        let mut tags = project.registry.tags(REPOSITORY);
        tags.retain(|(tag, _)| !tag.starts_with("basegen-") || tag.starts_with("basegen-release"));
        tags
    };
    let before = released(&project);
    assert_eq!(before.len(), 6, "{before:?}");
    for python in ["3.11", "3.12"] {
        project.write(&format!("dockerfiles/{python}.txt"), "changed\n");
    }
    project.stdout("prune --yes").await;
    assert_eq!(staging_tags(&project), [""; 0]);
    assert_eq!(released(&project), before);
}

/// Images of a template that does not render are not stale.
#[tokio::test]
async fn nothing_is_pruned_while_the_matrix_has_errors() {
    let project = Project::new().await;
    project.stage();
    let before = staging_tags(&project);
    project.write("dockerfiles/Dockerfile.hbs", "FROM {{pyton}}\n");
    let output = project.basegen("prune --yes").output().await.expect("the command runs");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(staging_tags(&project), before);
}
