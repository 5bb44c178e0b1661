//! Which partials a rendering came by.
//!
//! Handlebars tells nobody; so every partial begins with a call that writes nothing, and whose
//! helper takes its name down.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, Template,
};
use serde_json::Value as Json;

/// The call's name, which no template can write.
pub(super) const USED: &str = " used";

/// Takes down the partials of one rendering.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorder(Arc<Mutex<BTreeSet<String>>>);

impl Recorder {
    /// Takes down what is rendered with `state`.
    pub(super) fn listen(&self, state: &mut RenderContext<'_, '_>) {
        state.register_local_helper(USED, Box::new(self.clone()));
    }

    /// The partials so far, sorted.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl HelperDef for Recorder {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let name = helper.param(0).and_then(|name| name.value().as_str());
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        names.extend(name.map(str::to_owned));
        Ok(())
    }
}

/// Makes `template` tell, whenever it is rendered, that it is the partial `name`.
pub(super) fn mark(template: &mut Template, name: &str) {
    let mut call = Template::compile("{{used}}").expect("a call is a template");
    let (Some(TemplateElement::Expression(mut helper)), Some(place)) =
        (call.elements.pop(), call.mapping.pop())
    else {
        return;
    };
    helper.name = Parameter::Name(USED.to_owned());
    helper.params.push(Parameter::Literal(Json::from(name)));
    template.elements.insert(0, TemplateElement::Expression(helper));
    template.mapping.insert(0, place);
}

#[cfg(test)]
mod tests {
    use handlebars::Renderable as _;
    use serde_json::json;

    use super::*;

    /// The text of a template, and the partials that it came by, with or without their calls.
    fn rendered(template: &str, partials: &[(&str, &str)], marked: bool) -> (String, String) {
        let mut handlebars = Handlebars::new();
        for (name, text) in partials {
            let mut partial = Template::compile(text).expect(text);
            if marked {
                mark(&mut partial, name);
            }
            handlebars.register_template(name, partial);
        }
        let template = Template::compile(template).expect("a template");
        let context = Context::wraps(json!({ "on": true, "list": [1, 2] })).expect("JSON");
        let mut state = RenderContext::new(None);
        let recorder = Recorder::default();
        recorder.listen(&mut state);
        let text = template.renders(&handlebars, &context, &mut state).expect("a text");
        (text, recorder.names().into_iter().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_call_writes_nothing_and_changes_no_indentation() {
        let partials = [
            ("one", "a\n{{#if on}}\n  {{> two}}\n{{/if}}\nb\n"),
            ("two", "\nc\n  d"),
            ("three", "{{#each list}}\n{{this}}\n{{> two}}{{/each}}\n"),
            ("empty", ""),
            ("around", "<{{> @partial-block}}>"),
        ];
        for (template, used) in [
            ("x\n  {{> one}}\ny", "one two"),
            ("  {{> three}}\n\n  {{> empty}}\nz {{> two}}", "empty three two"),
            ("{{> empty}}\n  {{#if on}}{{> one}}{{/if}}\n", "empty one two"),
            ("  {{#> around}}\n  {{> two}}\n{{/around}}\nx", "around two"),
            ("{{#unless on}}{{> one}}{{/unless}}", ""),
        ] {
            let (plain, _) = rendered(template, &partials, false);
            assert_eq!(rendered(template, &partials, true), (plain, used.to_owned()), "{template}");
        }
    }
}
