//! The runner's own evaluation of GitHub's expressions.

use crate::harness::workflows::expressions::Contexts;

#[test]
fn expressions_mean_what_they_mean_to_github() {
    let contexts = Contexts { succeeded: true, ..Contexts::default() }
        .with("github", serde_json::json!({ "ref": "refs/heads/main", "fork": false }))
        .with(
            "needs",
            serde_json::json!({ "a-b": { "result": "Skipped", "outputs": { "x": "" } } }),
        );
    assert_eq!(
        contexts.expand("a-${{ github.ref }}-${{ needs.a-b.outputs.x || 'b' }}"),
        "a-refs/heads/main-b"
    );
    for (condition, holds) in [
        ("github.ref == 'refs/heads/main'", true),
        ("${{ !github.fork && needs.a-b.result == 'skipped' }}", true),
        ("!(github.fork || needs.a-b.outputs.x != '')", true),
        ("failure() || github.fork", false),
        ("${{ !cancelled() }}", true),
    ] {
        assert_eq!(contexts.holds(Some(condition)), holds, "{condition}");
    }
    let failed = Contexts { succeeded: false, ..contexts.clone() };
    assert!(!failed.holds(None) && !failed.holds(Some("github.ref != ''")));
    assert!(failed.holds(Some("${{ !cancelled() && github.ref != '' }}")));
    assert_eq!(contexts.value("${{ fromJSON('[1]') }}"), serde_json::json!([1]));
    for unknown in ["github.actor", "secrets.X", "toJSON(github)", "needs.b.result"] {
        let evaluated = std::panic::catch_unwind(|| contexts.value(unknown));
        assert!(evaluated.is_err(), "{unknown}");
    }
}
