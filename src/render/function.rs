//! Helpers that compute a value.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy as _, Output, RenderContext,
    RenderError, Renderable as _, ScopedJson,
};
use serde_json::Value as Json;

/// Returns a helper that computes a value from its parameters and the variables. As a block, it renders its body if the
/// value is true, otherwise its `{{else}}`.
pub(super) fn function<F>(compute: F) -> Box<dyn HelperDef + Send + Sync>
where
    F: Fn(&Helper<'_>, &Json) -> Result<Json, RenderError> + Send + Sync + 'static,
{
    Box::new(Function(compute))
}

struct Function<F>(F);

impl<F: Fn(&Helper<'_>, &Json) -> Result<Json, RenderError>> HelperDef for Function<F> {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        if !helper.is_block() {
            return Value(&self.0).call(helper, registry, context, state, out);
        }
        let holds = (self.0)(helper, context.data())?.is_truthy(false);
        let body = if holds { helper.template() } else { helper.inverse() };
        body.map_or(Ok(()), |body| body.render(registry, context, state, out))
    }

    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Value(&self.0).call_inner(helper, registry, context, state)
    }
}

/// The value of a [`Function`]. The trait writes it, with the indentation of the partial.
struct Value<'f, F>(&'f F);

impl<F: Fn(&Helper<'_>, &Json) -> Result<Json, RenderError>> HelperDef for Value<'_, F> {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, RenderError> {
        Ok((self.0)(helper, context.data())?.into())
    }
}
