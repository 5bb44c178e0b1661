//! The validation of requests and responses against GitHub's published API description.

use http::Method;
use serde_json::{Value, json};

use crate::harness::github::contract::{Operation, graphql_problems};

#[test]
fn reports_violations_of_the_rest_description() {
    let create = Operation::find(&Method::POST, "/repos/acme/images/pulls").expect("an operation");
    let good = json!({ "title": "t", "head": "h", "base": "main", "body": "b", "draft": true });
    assert_eq!(create.request_problems(&[], Some(&good)), [""; 0]);
    for bad in [
        json!({ "head": "h" }),
        json!({ "head": "h", "base": 1 }),
        json!({ "head": "h", "base": "b", "drafts": true }),
    ] {
        assert!(!create.request_problems(&[], Some(&bad)).is_empty(), "{bad}");
    }
    assert!(!create.request_problems(&[], None).is_empty());
    assert!(!create.response_problems(201, &json!({ "number": 1 })).is_empty());
    assert!(!create.response_problems(299, &json!({})).is_empty());
    let list = Operation::find(&Method::GET, "/repos/acme/images/pulls").expect("an operation");
    let query = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    assert!(list.request_problems(&query("state", "open"), None).is_empty());
    assert!(!list.request_problems(&query("state", "opened"), None).is_empty());
    assert!(!list.request_problems(&query("page", "one"), None).is_empty());
    assert!(!list.request_problems(&query("since", "1"), None).is_empty());
    assert!(Operation::find(&Method::DELETE, "/repos/acme/images").is_none());
}

#[test]
fn reports_violations_of_the_graphql_schema() {
    let mutation = |input: Value| {
        let query = "mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }";
        graphql_problems(&json!({ "query": query, "variables": { "input": input } }))
    };
    let good = json!({
        "branch": { "branchName": "b" }, "message": { "headline": "h" }, "expectedHeadOid": "0".repeat(40),
        "fileChanges": { "additions": [{ "path": "p", "contents": "YQ==" }] },
    });
    assert_eq!(mutation(good.clone()), [""; 0]);
    for (key, value) in [
        ("expectedHeadOid", json!("main")),
        ("branch", json!({ "name": "b" })),
        ("message", json!(null)),
        ("force", json!("true")),
    ] {
        let mut bad = good.clone();
        bad[key] = value;
        assert!(!mutation(bad).is_empty(), "{key}");
    }
    let mut bad = good;
    bad["fileChanges"]["additions"][0]["contents"] = json!("é");
    assert_eq!(mutation(bad), ["`input.fileChanges.additions[0].contents` is not a Base64String"]);
}
