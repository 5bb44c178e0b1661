//! Limits of templates: a checkout may come from anyone, and its templates exhaust neither stack, memory nor time.
//!
//! Handlebars has no limits of its own. [`check_text`] and [`check_depth`] limit the brackets,
//! blocks and nesting of a template. [`fence`] and [`wrap`] insert calls into it, which charge
//! partials, iterations and bytes to the budget of one rendering, [`renders`].

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

use super::explain::offset;
use super::helpers::Refusal;
use crate::matrix::{Diagnostic, SourceFile};

/// The largest template, in bytes.
pub(super) const MAX_TEMPLATE: u64 = 256 << 10;

/// How deep blocks, calls and lists are nested within one template.
const MAX_DEPTH: usize = 50;

/// How deep they are nested in all partials that a rendering is in at once.
const MAX_NESTING: usize = 150;

/// The characters of a template that could open something: its parser needs stack for each of them at worst.
const MAX_OPENINGS: usize = 20_000;

/// The blocks and alternatives of a template: its parser's time grows with the square of their depth.
const MAX_BLOCKS: usize = 2000;

/// As many openings are parsed without another stack.
const FEW_OPENINGS: usize = 40;

/// The stack for as many as are allowed.
const STACK: usize = 256 << 20;

/// The partials and iterations of one rendering.
const MAX_STEPS: usize = 20_000;

/// What one rendering writes, in bytes; text of a partial counts again in what includes it.
const MAX_RENDERED: usize = 8 << 20;

/// How long one rendering takes; only a template that is made to be slow takes milliseconds.
const MAX_TIME: Duration = Duration::from_secs(5);

/// The call that begins an iteration. No template can write this name.
pub(super) const STEP: &str = " step";

/// The block around a text that is not rendered where it is written: a partial, or the body of a
/// partial block.
pub(super) const FENCE: &str = " fence";

/// Refuses a text that its parser could need too much stack for.
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

/// Parses `source` by `work`, on a stack that is large enough for what [`check_text`] lets pass.
pub(super) fn parsing<T: Send>(source: &SourceFile, work: impl FnOnce() -> T + Send) -> T {
    if source.text.matches(['(', '[', '{']).count() <= FEW_OPENINGS {
        work()
    } else {
        on_large_stack(work)
    }
}

/// Runs `work` on a large stack.
pub(super) fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let builder = thread::Builder::new().stack_size(STACK);
        let worker = builder.spawn_scoped(scope, work).expect("the system starts a thread");
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Refuses a template that is nested too deep to be walked through.
pub(super) fn check_depth(template: &Template, source: &SourceFile) -> Result<(), Diagnostic> {
    match place_below(template, MAX_DEPTH) {
        Some((line, column)) => {
            let at = offset(&source.text, line, column);
            let message = format!("blocks and calls are nested more than {MAX_DEPTH} deep");
            Err(Diagnostic::new(at..at + 1, message, "the limit is reached here"))
        }
        None => Ok(()),
    }
}

/// Where `template` is nested more than `levels` deep.
fn place_below(template: &Template, levels: usize) -> Option<(usize, usize)> {
    template.elements.iter().enumerate().find_map(|(index, element)| {
        // An `{{else if}}` has an element without a place.
        let place = template.mapping.get(index).map(|place| (place.0, place.1));
        let inner = bodies(element).find_map(|body| match levels.checked_sub(1) {
            Some(left) => place_below(body, left),
            None => Some((1, 1)),
        });
        let is_deep = parameters(element).any(|parameter| width(parameter) > levels);
        match inner {
            Some((1, 1)) => place.or(inner),
            None if is_deep => place.or(Some((1, 1))),
            found => found,
        }
    })
}

/// How deep a template is nested.
fn depth(template: &Template) -> usize {
    let deepest = template.elements.iter().flat_map(bodies).map(|body| depth(body) + 1).max();
    deepest.unwrap_or_default()
}

/// The bodies within an element.
fn bodies(element: &TemplateElement) -> impl Iterator<Item = &Template> {
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

/// How many calls or lists a parameter consists of, one within the other.
fn width(parameter: &Parameter) -> usize {
    match parameter {
        Parameter::Subexpression(inner) => {
            1 + parameters(inner.as_element()).map(width).max().unwrap_or_default()
        }
        Parameter::Literal(value) => levels(value),
        _ => 0,
    }
}

fn levels(value: &Json) -> usize {
    match value {
        Json::Array(list) => 1 + list.iter().map(levels).max().unwrap_or_default(),
        Json::Object(table) => 1 + table.values().map(levels).max().unwrap_or_default(),
        _ => 0,
    }
}

/// Inserts the calls that count iterations, and wraps the bodies of partial blocks.
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

/// Puts a call before everything else of an iteration.
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

/// Makes `body` the body of a block, whose helper is given its depth.
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

/// What one rendering has used so far.
#[derive(Debug)]
struct Budget {
    begin: Instant,
    steps: AtomicUsize,
    bytes: AtomicUsize,
    depth: AtomicUsize,
}

impl Default for Budget {
    fn default() -> Self {
        let zero = || AtomicUsize::new(0);
        Self { begin: Instant::now(), steps: zero(), bytes: zero(), depth: zero() }
    }
}

impl Budget {
    /// Charges a partial or an iteration.
    fn step(&self) -> Result<(), Refusal> {
        if self.steps.fetch_add(1, Ordering::Relaxed) >= MAX_STEPS {
            return Err(Refusal::Limit(format!(
                "the template renders more than {MAX_STEPS} partials and iterations"
            )));
        }
        self.check_time()
    }

    fn write(&self, bytes: usize) -> Result<(), Refusal> {
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_RENDERED {
            return Err(Refusal::Limit(format!(
                "the template writes more than {} MiB",
                MAX_RENDERED >> 20
            )));
        }
        self.check_time()
    }

    fn check_time(&self) -> Result<(), Refusal> {
        if self.begin.elapsed() > MAX_TIME {
            return Err(Refusal::Limit(format!(
                "the template takes more than {} seconds",
                MAX_TIME.as_secs()
            )));
        }
        Ok(())
    }

    /// Renders the body of a block that [`wrap`] has made.
    fn render<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        self.step()?;
        let weight = helper.param(0).and_then(|weight| weight.value().as_u64());
        let weight = weight.and_then(|weight| usize::try_from(weight).ok()).unwrap_or(1);
        if self.depth.fetch_add(weight, Ordering::Relaxed) + weight > MAX_NESTING {
            return Err(Refusal::Limit(format!(
                "blocks and partials are nested more than {MAX_NESTING} deep"
            ))
            .into());
        }
        let rendered = match helper.template() {
            Some(body) => body.render(registry, context, state, out),
            None => Ok(()),
        };
        self.depth.fetch_sub(weight, Ordering::Relaxed);
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

/// Renders a template as `Template::renders` does, within the limits.
pub(super) fn renders<'reg: 'rc, 'rc>(
    template: &'rc Template,
    registry: &'reg Handlebars<'reg>,
    context: &'rc Context,
    state: &mut RenderContext<'reg, 'rc>,
) -> Result<String, RenderError> {
    let budget = Arc::new(Budget::default());
    state.register_local_helper(STEP, Box::new(Step(Arc::clone(&budget))));
    state.register_local_helper(FENCE, Box::new(Fence(Arc::clone(&budget))));
    let mut out = StringOutput::new();
    template.render(registry, context, state, &mut Metered { budget: &budget, out: &mut out })?;
    Ok(out.into_string()?)
}

/// Counts an iteration.
struct Step(Arc<Budget>);

impl HelperDef for Step {
    fn call<'reg: 'rc, 'rc>(
        &self,
        _: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        Ok(self.0.step()?)
    }
}

/// Renders the body of the block.
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
        let mut metered = Metered { budget: &self.0, out };
        self.0.render(helper, registry, context, state, &mut metered)
    }
}
