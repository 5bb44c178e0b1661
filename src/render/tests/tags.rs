//! Mistakes in the syntax of templates, and where they are shown.

use super::{Project, errors_of};

/// Returns the errors for whole templates.
fn errors_of_files(texts: &[&str]) -> String {
    let errors = texts.iter().map(|text| Project::new(&[("Dockerfile.hbs", text)]).error());
    errors.collect::<Vec<_>>().join("\n\n----\n\n")
}

#[test]
fn a_block_that_is_not_closed_is_shown_at_its_opening() {
    insta::assert_snapshot!(errors_of_files(&[
        "FROM a\n{{#if gpu}}\nRUN b\n",
        "FROM a\n{{#if gpu}}\n{{#each packages}}\nRUN b\n{{/if}}\nRUN c\n",
        "FROM a\n{{#if gpu}}\n{{#each packages}}\nRUN b\n{{/each}}\nRUN c\n",
        "FROM a\n{{#if gpu}}{{#unless gpu}}\n",
        "FROM a\n{{#> part}}\nRUN b\n",
        "FROM a\n{{{{raw}}}}\nRUN b {{c}}\n",
    ]));
}

#[test]
fn misplaced_tags_have_a_location() {
    insta::assert_snapshot!(errors_of_files(&[
        "FROM a\nRUN b\n{{/if}}\n",
        "FROM a\n{{#if gpu}}\nRUN b\n{{/unless}}\n",
        "FROM a\n{{else}}\nRUN b\n",
        "FROM a\n{{#if gpu}}\nRUN b\n{{else}}\nRUN c\n{{else}}\nRUN d\n{{/if}}\n",
        "FROM a\n{{#> part}}\nRUN b\n{{else}}\nRUN c\n{{/part}}\n",
    ]));
}

#[test]
fn a_tag_without_an_end_is_shown_at_its_beginning() {
    insta::assert_snapshot!(errors_of_files(&[
        "FROM a\nRUN b {{python\n",
        "FROM a\nRUN b {{python && echo {{gpu}}\nRUN c\n",
        "FROM a\nRUN b {{{python}}\n",
        "FROM a\nRUN b\n{{!-- a comment\nRUN c\n",
        "FROM a\nRUN b {{#if gpu}c{{/if}}\n",
        "FROM a\nRUN b {{}} {{python}}\n",
        "FROM a\nRUN {{python}} {{a b=}}\n",
    ]));
}

#[test]
fn unknown_names_are_marked_in_their_tag() {
    insta::assert_snapshot!(errors_of(&[
        "COPY foo/{{foo}} /",
        "ääää foo {{#if (eq \"foo\" foo)}}foo{{/if}}",
        "RUN {{#if gpu}}a{{else if foo}}foo{{/if}}",
        "RUN given {{> given ver=vers}} ver",
        "RUN cuda {{python}}{{cuda}}",
        "{{#iff gpu}}iff{{/iff}}",
    ]));
}
