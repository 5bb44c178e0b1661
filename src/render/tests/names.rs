//! Undefined names, missing entries and values of the wrong type.

use super::{Project, errors_of};

#[test]
fn misspelt_names_are_found_in_every_branch() {
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM a\n{{#if gqu}}\nRUN b\n{{else}}\nRUN {{pyton}}\n{{/if}}\n",
    )]);
    insta::assert_snapshot!(project.error(), @r"
    error: unknown name `gqu`
     --> dockerfiles/Dockerfile.hbs:2:7
      |
    2 | {{#if gqu}}
      |       ^^^ neither an axis nor a variable
      |
      = help: did you mean `gpu`?

    error: unknown name `pyton`
     --> dockerfiles/Dockerfile.hbs:5:7
      |
    5 | RUN {{pyton}}
      |       ^^^^^ neither an axis nor a variable
      |
      = help: did you mean `python`?
    ");
}

#[test]
fn a_variable_of_other_variants_has_no_value() {
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\n{{#if cuda}}RUN b{{/if}}\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: `cuda` has no value
     --> dockerfiles/Dockerfile.hbs:2:1
      |
    2 | {{#if cuda}}RUN b{{/if}}
      | ^^^^^^^^^^^^ only other variants have it
    ");
    let project = Project::new(&[("Dockerfile.hbs", "FROM a\nRUN b {{cuda}}\n")]);
    insta::assert_snapshot!(project.error(), @r"
    error: failed to render `3.9`: `cuda` has no value
     --> dockerfiles/Dockerfile.hbs:2:7
      |
    2 | RUN b {{cuda}}
      |       ^^^^^^^^ only other variants have it
    ");
}

#[test]
fn partials_helpers_and_entries_are_checked_in_every_branch() {
    insta::assert_snapshot!(errors_of(&[
        "{{#if gpu}}{{> give}}{{/if}}",
        "{{#if gpu}}{{#each packages}}{{> nope}}{{/each}}{{/if}}",
        "{{#if gpu}}{{#iff gpu}}{{/iff}}{{/if}}",
        "{{#if gpu}}RUN {{tables.on.yy}}{{/if}}",
        "{{#if gpu}}{{> ring}}{{/if}}",
        "{{#each packages}}{{@root.pyton}}{{/each}}",
    ]));
}

#[test]
fn partials_can_use_their_parameters() {
    let project = Project::new(&[
        (
            "Dockerfile.hbs",
            "FROM a\n{{> given ver=\"1\"}}\n{{> outer ver=python}}\n{{#*inline \"own\"}}RUN own\n{{/inline}}\n{{> own}}\n",
        ),
        ("partials/given.hbs", "RUN {{ver}} {{python}}\n"),
        ("partials/outer.hbs", "{{> given}}\n"),
        ("partials/unused.hbs", "{{ver}}\n"),
    ]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN 1 3.9\nRUN 3.9 3.9\nRUN own\n");
    insta::assert_snapshot!(errors_of(&["{{> given}}", "{{> given ver=cuda}}",]));
}

#[test]
fn arrays_and_tables_are_not_written() {
    insta::assert_snapshot!(errors_of(&[
        "RUN {{packages}}",
        "RUN {{tables.on}}",
        "RUN {{lookup tables \"on\"}}",
        "{{#each tables}}{{this}}{{/each}}",
    ]));
    let project = Project::new(&[(
        "Dockerfile.hbs",
        "FROM a\nRUN {{gpu}} {{lookup packages 1}} {{{tables.on.xx}}} {{len packages}} {{lookup (lookup tables \"on\") \"xx\"}} {{#each tables}}{{@key}}={{xx}}{{/each}}\n",
    )]);
    assert_eq!(project.contexts()[0].dockerfile, "FROM a\nRUN false git 1 2 1 on=1\n");
}

#[test]
fn errors_describe_the_type_of_a_value() {
    insta::assert_snapshot!(errors_of(&[
        "{{#each python}}{{/each}}",
        "{{#with gpu}}{{/with}}",
        "{{#each packages}}{{python}}{{/each}}",
        "RUN {{lookup tables \"no\"}}",
        "RUN {{lookup packages 2}}",
        "RUN {{lookup python 2}}",
        "RUN {{lookup tables cuda}}",
        "{{#if (eq cuda \"1\")}}{{/if}}",
        "{{#if (lookup tables)}}{{/if}}",
    ]));
}

#[test]
fn errors_next_to_non_ascii_text_are_shown() {
    insta::assert_snapshot!(errors_of(&["ääää {{tables/b}}", "FROM a {{s [é}}"]));
}
