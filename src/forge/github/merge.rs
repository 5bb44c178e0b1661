//! Recognises merges of the base into a release branch, as the button "Update branch" makes them.

use std::collections::BTreeSet;

use serde::Deserialize;
use similar::{Algorithm, DiffTag, capture_diff_slices};

use super::client::{ApiRequest, GitHub};
use super::commit::{Id, ListedCommit};
use super::error::GitHubError;
use super::tree::{TreeEntry, blob_id};

impl GitHub {
    /// Returns true if `commit` is exactly the merge of its two parents, without further edits.
    pub(super) async fn is_clean_merge(&self, commit: &ListedCommit) -> Result<bool, GitHubError> {
        let [own, other] = commit.parents.as_slice() else { return Ok(false) };
        let ancestor = self.merge_base(&own.sha, &other.sha).await?;
        let theirs = self.diff(&own.sha, &other.sha).await?;
        let before = self.diff(&own.sha, &ancestor).await?;
        let merged = self.diff(&own.sha, &commit.sha).await?;
        let paths: BTreeSet<&String> = theirs.keys().chain(merged.keys()).collect();
        for path in paths {
            let pairs = [&theirs, &before, &merged].map(|diff| diff.get(path));
            // A commit that is not in the diff has the entry of the first parent.
            let own = pairs.iter().flatten().next().and_then(|pair| pair.0.clone());
            let [theirs, before, merged] =
                pairs.map(|pair| pair.map_or_else(|| own.clone(), |pair| pair.1.clone()));
            let is_expected = if own == before {
                merged == theirs
            } else if theirs == before || theirs == own {
                merged == own
            } else {
                self.is_text_merge(path, [&before, &own, &theirs, &merged]).await?
            };
            if !is_expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn merge_base(&self, one: &str, other: &str) -> Result<String, GitHubError> {
        #[derive(Deserialize)]
        struct Comparison {
            merge_base_commit: Id,
        }
        let place = self.path(&format!("compare/{one}...{other}?per_page=1"));
        let comparison: Comparison =
            self.request(ApiRequest::get("compare two commits", place)).await?;
        Ok(comparison.merge_base_commit.sha)
    }

    /// Returns true if the last entry is the line-based merge of the two before it. The first entry
    /// is their common ancestor.
    async fn is_text_merge(
        &self,
        path: &str,
        entries: [&Option<TreeEntry>; 4],
    ) -> Result<bool, GitHubError> {
        let [Some(before), Some(own), Some(theirs), Some(merged)] = entries else {
            return Ok(false);
        };
        if !before.is_file() || [own, theirs, merged].iter().any(|one| one.mode != before.mode) {
            return Ok(false);
        }
        let mut texts = Vec::new();
        for entry in [before, own, theirs] {
            let Ok(text) = String::from_utf8(self.blob(path, &entry.id).await?) else {
                return Ok(false);
            };
            texts.push(text);
        }
        let text = merge_lines(&texts[0], &texts[1], &texts[2]);
        Ok(text.is_some_and(|text| blob_id(text.as_bytes()) == merged.id))
    }
}

/// Merges two edits of a text, if no lines that they change overlap or touch.
fn merge_lines(before: &str, one: &str, other: &str) -> Option<String> {
    let before: Vec<&str> = before.split_inclusive('\n').collect();
    let mut hunks = Vec::new();
    for text in [one, other] {
        let after: Vec<&str> = text.split_inclusive('\n').collect();
        for operation in capture_diff_slices(Algorithm::Myers, &before, &after) {
            if operation.tag() != DiffTag::Equal {
                let lines = after[operation.new_range()].concat();
                hunks.push((operation.old_range(), lines));
            }
        }
    }
    hunks.sort_by_key(|(range, _)| (range.start, range.end));
    hunks.dedup();
    let mut merged = String::new();
    let mut at = 0;
    for (index, (range, lines)) in hunks.iter().enumerate() {
        if index > 0 && range.start <= at {
            return None;
        }
        merged.push_str(&before[at..range.start].concat());
        merged.push_str(lines);
        at = range.end;
    }
    merged.push_str(&before[at..].concat());
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_edits_of_different_lines() {
        let before = "a\nb\nc\nd\ne\n";
        let merge = |one: &str, other: &str| merge_lines(before, one, other);
        assert_eq!(merge("A\nb\nc\nd\ne\n", "a\nb\nc\nE\n").as_deref(), Some("A\nb\nc\nE\n"));
        assert_eq!(merge("A\nb\nc\nd\ne\n", before).as_deref(), Some("A\nb\nc\nd\ne\n"));
        assert_eq!(merge("a\nB\nc\nd\ne\n", "a\nB\nc\nd\ne\n").as_deref(), Some("a\nB\nc\nd\ne\n"));
        assert_eq!(merge("A\nb\nc\nd\ne\n", "X\nb\nc\nd\ne\n"), None);
        assert_eq!(merge("A\nb\nc\nd\ne\n", "a\nB\nc\nd\ne\n"), None);
    }
}
