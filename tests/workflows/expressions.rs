//! The harness's evaluation of GitHub's expressions.

use crate::harness::workflows::expressions::Contexts;

#[test]
fn evaluates_expressions_like_github() {
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
    for (condition, expected) in [
        ("github.ref == 'refs/heads/main'", true),
        ("${{ !github.fork && needs.a-b.result == 'skipped' }}", true),
        ("!(github.fork || needs.a-b.outputs.x != '')", true),
        ("failure() || github.fork", false),
        ("${{ !cancelled() }}", true),
    ] {
        assert_eq!(contexts.is_met(Some(condition)), expected, "{condition}");
    }
    let failed = Contexts { succeeded: false, ..contexts.clone() };
    assert!(!failed.is_met(None) && !failed.is_met(Some("github.ref != ''")));
    assert!(failed.is_met(Some("${{ !cancelled() && github.ref != '' }}")));
    assert_eq!(contexts.evaluate("${{ fromJSON('[1]') }}"), serde_json::json!([1]));
    for unknown in ["github.actor", "secrets.X", "toJSON(github)", "needs.b.result"] {
        let evaluated = std::panic::catch_unwind(|| contexts.evaluate(unknown));
        assert!(evaluated.is_err(), "{unknown}");
    }
}
