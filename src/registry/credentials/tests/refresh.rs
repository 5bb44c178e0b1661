//! Credentials that are looked up again: after a refusal, and some minutes after the helper has answered.

use std::path::Path;

use super::super::cache::HELPER_ANSWER;
use super::{Credentials, load, owned_pair, pair, write_helper};
use crate::registry::testing::advance_clock;

/// Returns the credentials of a helper that runs `script`, and a function that returns how often it ran. The variable
/// `$n` of the script is the number of this run.
fn counting_helper(folder: &Path, script: &str) -> (Credentials, impl Fn() -> usize) {
    let log = folder.join("log");
    let counter = format!("cat > /dev/null; echo x >> {0}; n=$(wc -l < {0})", log.display());
    write_helper(folder, "store", &format!("{counter}\n{script}"));
    let runs = move || fs_err::read_to_string(&log).expect("a log").lines().count();
    (load(folder, r#"{"credsStore": "store"}"#), runs)
}

#[tokio::test]
async fn a_refused_credential_is_looked_up_once_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" -gt 2 ] && n=2; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, runs) = counting_helper(folder.path(), script);
    let first = credentials.get("a.io").await.expect("credentials").expect("a credential");
    let second = credentials.replace("a.io", &first).await.expect("credentials");
    let second = second.expect("another credential");
    // Concurrent requests that were refused with the first credential get the second.
    let same = credentials.replace("a.io", &first).await.expect("credentials");
    assert!(same.expect("the second credential").is(&second));
    for _ in 0..3 {
        assert!(credentials.replace("a.io", &second).await.expect("credentials").is_none());
    }
    assert_eq!(runs(), 3, "one lookup, and one after the refusal of each credential");
}

#[tokio::test]
async fn the_credential_of_a_helper_expires_after_some_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, runs) = counting_helper(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s1")));
    advance_clock(HELPER_ANSWER * 9 / 10).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s1")));
    assert_eq!(runs(), 1);
    advance_clock(HELPER_ANSWER / 10).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s2")));
}

#[tokio::test]
async fn a_missing_credential_is_looked_up_again_after_some_minutes() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" = 1 ] && { echo 'credentials not found'; exit 1; }
        printf '{"Username":"u","Secret":"s"}'"#;
    let (credentials, _) = counting_helper(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, None);
    advance_clock(HELPER_ANSWER).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s")));
}

#[tokio::test]
async fn the_last_credential_is_used_while_its_helper_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" = 2 ] && exit 3; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, runs) = counting_helper(folder.path(), script);
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s1")));
    advance_clock(HELPER_ANSWER).await;
    for _ in 0..2 {
        assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s1")));
    }
    assert_eq!(runs(), 2, "requests do not repeat a failed lookup");
    advance_clock(HELPER_ANSWER).await;
    assert_eq!(pair(&credentials, "a.io").await, Some(owned_pair("u", "s3")));
}

#[tokio::test]
async fn a_refused_credential_can_be_replaced_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = r#"[ "$n" -lt 3 ] && n=1; printf '{"Username":"u","Secret":"s%s"}' "$n""#;
    let (credentials, runs) = counting_helper(folder.path(), script);
    let first = credentials.get("a.io").await.expect("credentials").expect("a credential");
    for _ in 0..2 {
        assert!(credentials.replace("a.io", &first).await.expect("credentials").is_none());
    }
    assert_eq!(runs(), 2);
    advance_clock(HELPER_ANSWER).await;
    let third = credentials.replace("a.io", &first).await.expect("credentials");
    assert!(third.is_some_and(|third| !third.is(&first)));
}
