//! Limits the stack, memory and time that templates can use, because a checkout may be untrusted.
//!
//! Handlebars has no limits of its own. [`check_text`] and [`check_depth`] limit the brackets,
//! blocks and nesting of a template. [`fence`] and [`wrap`] insert calls into it, which charge
//! partials, iterations and bytes to the budget of one rendering ([`render`]).

use std::fmt;
use std::io;
use std::mem::replace;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderError,
    Renderable as _, StringOutput, Template,
};
use serde_json::Value as Json;

use super::parameters::Refusal;
use super::syntax::offset;
use crate::matrix::{Diagnostic, SourceFile};

/// The maximum size of a template, in bytes.
pub(super) const MAX_TEMPLATE: u64 = 256 << 10;

/// The maximum nesting of blocks, calls and arrays in one template.
const MAX_DEPTH: usize = 50;

/// The maximum nesting of blocks and partials while rendering.
const MAX_NESTING: usize = 150;

/// The maximum number of opening brackets in a template. The parser may need stack for each of them.
const MAX_OPENINGS: usize = 20_000;

/// The maximum number of blocks and alternatives in a template. Parsing time grows with the square of their depth.
const MAX_BLOCKS: usize = 2000;

/// The stack for [`MAX_OPENINGS`], in bytes.
const STACK: usize = 256 << 20;

/// The maximum number of partials and iterations in one rendering.
const MAX_STEPS: usize = 20_000;

/// The maximum number of bytes written in one rendering. The text of a partial counts at each level.
const MAX_RENDERED: usize = 8 << 20;

/// The maximum time of one rendering. An ordinary template takes less than a millisecond.
const MAX_TIME: Duration = Duration::from_secs(5);

/// The helper called at the beginning of an iteration. No template can contain this name.
pub(super) const STEP: &str = " step";

/// The block helper around a partial or the body of a partial block.
pub(super) const FENCE: &str = " fence";

/// Refuses a template that could need too much stack or time to parse.
pub(super) fn check_text(source: &SourceFile) -> Result<(), Diagnostic> {
    let mut openings = source.text.match_indices(['(', '[', '{']);
    if let Some((at, _)) = openings.nth(MAX_OPENINGS) {
        let message = format!("the template has more than {MAX_OPENINGS} opening brackets");
        return Err(Diagnostic::new(at..at + 1, message, "the limit is reached here"));
    }
    let mut blocks = source.text.match_indices("{{").filter(|(at, braces)| {
        let tag = source.text[at + braces.len()..].trim_start_matches(['~', ' ', '\t', '\r', '\n']);
        ["#", "^", "else"].iter().any(|begin| tag.starts_with(begin))
    });
    if let Some((at, braces)) = blocks.nth(MAX_BLOCKS) {
        let message = format!("the template has more than {MAX_BLOCKS} blocks");
        return Err(Diagnostic::new(at..at + braces.len(), message, "the limit is reached here"));
    }
    Ok(())
}

/// Runs `work` on a stack that is large enough for everything that passes [`check_text`].
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK);
        let worker = builder.spawn_scoped(scope, work).expect("the system starts a thread");
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Refuses a template that is nested too deeply for recursion.
pub(super) fn check_depth(template: &Template, source: &SourceFile) -> Result<(), Diagnostic> {
    let Some((line, column)) = find_deeper(template, MAX_DEPTH) else { return Ok(()) };
    let at = offset(&source.text, line, column);
    let message = format!("blocks and calls are nested more than {MAX_DEPTH} deep");
    Err(Diagnostic::new(at..at + 1, message, "the limit is reached here"))
}

/// Returns the line and column where `template` is nested more than `levels` deep.
fn find_deeper(template: &Template, levels: usize) -> Option<(usize, usize)> {
    template.elements.iter().enumerate().find_map(|(index, element)| {
        // An `{{else if}}` has an element without a location.
        let place = template.mapping.get(index).map(|place| (place.0, place.1));
        let inner = bodies(element).find_map(|body| match levels.checked_sub(1) {
            Some(left) => find_deeper(body, left),
            None => Some((1, 1)),
        });
        let is_deep = parameters(element).any(|parameter| parameter_depth(parameter) > levels);
        match inner {
            Some((1, 1)) => place.or(inner),
            None if is_deep => place.or(Some((1, 1))),
            found => found,
        }
    })
}

/// Returns the nesting depth of the blocks in a template.
fn depth(template: &Template) -> usize {
    let deepest = template.elements.iter().flat_map(bodies).map(|body| depth(body) + 1).max();
    deepest.unwrap_or_default()
}

/// Returns the bodies of an element.
pub(super) fn bodies(element: &TemplateElement) -> impl Iterator<Item = &Template> {
    let (body, inverse) = match element {
        TemplateElement::HelperBlock(helper) => (helper.template.as_ref(), helper.inverse.as_ref()),
        TemplateElement::PartialBlock(block) | TemplateElement::DecoratorBlock(block) => {
            (block.template.as_ref(), None)
        }
        _ => (None, None),
    };
    body.into_iter().chain(inverse)
}

/// Returns the name and the arguments of an element's call.
fn parameters(element: &TemplateElement) -> Box<dyn Iterator<Item = &Parameter> + '_> {
    use TemplateElement as Element;
    match element {
        Element::Expression(call) | Element::HtmlExpression(call) | Element::HelperBlock(call) => {
            Box::new([&call.name].into_iter().chain(&call.params).chain(call.hash.values()))
        }
        Element::PartialExpression(call)
        | Element::PartialBlock(call)
        | Element::DecoratorExpression(call)
        | Element::DecoratorBlock(call) => {
            Box::new([&call.name].into_iter().chain(&call.params).chain(call.hash.values()))
        }
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns the nesting depth of calls and arrays in a parameter.
fn parameter_depth(parameter: &Parameter) -> usize {
    match parameter {
        Parameter::Subexpression(inner) => {
            1 + parameters(inner.as_element()).map(parameter_depth).max().unwrap_or_default()
        }
        Parameter::Literal(value) => value_depth(value),
        _ => 0,
    }
}

fn value_depth(value: &Json) -> usize {
    match value {
        Json::Array(list) => 1 + list.iter().map(value_depth).max().unwrap_or_default(),
        Json::Object(table) => 1 + table.values().map(value_depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Inserts calls that count iterations, and wraps the bodies of partial blocks.
pub(super) fn fence(template: &mut Template) {
    for element in &mut template.elements {
        match element {
            TemplateElement::HelperBlock(helper) => {
                helper.template.iter_mut().chain(&mut helper.inverse).for_each(fence);
                if helper.name.as_name() == Some("each") {
                    helper.template.iter_mut().for_each(count);
                }
            }
            TemplateElement::PartialBlock(block) | TemplateElement::DecoratorBlock(block) => {
                if let Some(body) = &mut block.template {
                    fence(body);
                    wrap(body);
                }
            }
            _ => {}
        }
    }
}

/// Inserts a call at the beginning of the body of an iteration.
fn count(body: &mut Template) {
    let mut call = Template::compile("{{x}}").expect("a call is a template");
    if let (Some(TemplateElement::Expression(mut helper)), Some(place)) =
        (call.elements.pop(), call.mapping.pop())
    {
        helper.name = Parameter::Name(STEP.to_owned());
        helper.params.push(Parameter::Literal(Json::Null));
        body.elements.insert(0, TemplateElement::Expression(helper));
        body.mapping.insert(0, body.mapping.first().cloned().unwrap_or(place));
    }
}

/// Wraps `body` into a block whose helper gets its depth.
pub(super) fn wrap(body: &mut Template) {
    let mut call = Template::compile("{{#x}}{{/x}}").expect("a block is a template");
    if let Some(TemplateElement::HelperBlock(helper)) = call.elements.first_mut() {
        helper.name = Parameter::Name(FENCE.to_owned());
        helper.params = vec![Parameter::Literal(Json::from(depth(body) + 1))];
        call.name.clone_from(&body.name);
        call.mapping.splice(.., body.mapping.first().cloned().or(call.mapping.first().cloned()));
        helper.template = Some(replace(body, Template::new()));
        *body = call;
    }
}

/// The resources that one rendering has used so far.
#[derive(Debug)]
struct Budget {
    begin: Instant,
    steps: AtomicUsize,
    bytes: AtomicUsize,
    depth: AtomicUsize,
}

impl Budget {
    fn new() -> Self {
        let zero = AtomicUsize::default;
        Self { begin: Instant::now(), steps: zero(), bytes: zero(), depth: zero() }
    }

    /// Charges a partial or an iteration.
    fn step(&self) -> Result<(), Refusal> {
        let is_over = self.steps.fetch_add(1, Ordering::Relaxed) >= MAX_STEPS;
        self.check(is_over, format_args!("renders more than {MAX_STEPS} partials and iterations"))
    }

    fn write(&self, bytes: usize) -> Result<(), Refusal> {
        let is_over = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_RENDERED;
        self.check(is_over, format_args!("writes more than {} MiB", MAX_RENDERED >> 20))
    }

    /// Refuses to exceed a limit, or the time.
    fn check(&self, is_over: bool, what: fmt::Arguments<'_>) -> Result<(), Refusal> {
        if is_over {
            return Err(Refusal::new(format!("the template {what}"), None));
        }
        if self.begin.elapsed() > MAX_TIME {
            let reason = format!("the template takes more than {} seconds", MAX_TIME.as_secs());
            return Err(Refusal::new(reason, None));
        }
        Ok(())
    }
}

/// The helper of blocks from [`wrap`], which renders the body.
struct Fence(Arc<Budget>);

impl HelperDef for Fence {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let budget = &self.0;
        budget.step()?;
        let weight = helper.param(0).and_then(|weight| weight.value().as_u64());
        let weight = weight.and_then(|weight| usize::try_from(weight).ok()).unwrap_or(1);
        if budget.depth.fetch_add(weight, Ordering::Relaxed) + weight > MAX_NESTING {
            let reason = format!("blocks and partials are nested more than {MAX_NESTING} deep");
            return Err(Refusal::new(reason, None).into());
        }
        let out = &mut Metered { budget, out };
        let body = helper.template();
        let rendered = body.map_or(Ok(()), |body| body.render(registry, context, state, out));
        budget.depth.fetch_sub(weight, Ordering::Relaxed);
        rendered
    }
}

/// An output that charges written bytes to a budget.
struct Metered<'a> {
    budget: &'a Budget,
    out: &'a mut dyn Output,
}

impl Output for Metered<'_> {
    fn write(&mut self, text: &str) -> io::Result<()> {
        self.budget.write(text.len()).map_err(io::Error::other)?;
        self.out.write(text)
    }
}

/// Renders a template within the limits.
pub(super) fn render<'reg: 'rc, 'rc>(
    template: &'rc Template,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    state: &mut RenderContext<'reg, 'rc>,
) -> Result<String, RenderError> {
    let budget = Arc::new(Budget::new());
    let steps = Arc::clone(&budget);
    let step = move |_: &Helper<'_>,
                     _: &Handlebars<'_>,
                     _: &Context,
                     _: &mut RenderContext<'_, '_>,
                     _: &mut dyn Output|
          -> HelperResult { Ok(steps.step()?) };
    state.register_local_helper(STEP, Box::new(step));
    state.register_local_helper(FENCE, Box::new(Fence(Arc::clone(&budget))));
    let mut out = StringOutput::new();
    template.render(registry, context, state, &mut Metered { budget: &budget, out: &mut out })?;
    Ok(out.into_string()?)
}
