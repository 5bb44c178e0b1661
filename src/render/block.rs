//! Helpers that render blocks, as functions of a [`Call`].

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, Renderable as _,
};

/// A call of a helper, with everything that it needs to render its block.
pub(super) struct Call<'a, 'reg: 'rc, 'rc> {
    pub(super) helper: &'a Helper<'rc>,
    pub(super) registry: &'reg Handlebars<'reg>,
    pub(super) context: &'rc Context,
    pub(super) state: &'a mut RenderContext<'reg, 'rc>,
    pub(super) out: &'a mut dyn Output,
}

impl Call<'_, '_, '_> {
    /// Renders the body of the block if the condition `holds`, otherwise its `{{else}}`.
    pub(super) fn branch(self, holds: bool) -> HelperResult {
        match if holds { self.helper.template() } else { self.helper.inverse() } {
            Some(template) => template.render(self.registry, self.context, self.state, self.out),
            None => Ok(()),
        }
    }
}

/// Returns a helper that calls `render`.
pub(super) fn block<F>(render: F) -> Box<dyn HelperDef + Send + Sync>
where
    F: for<'a, 'reg, 'rc> Fn(Call<'a, 'reg, 'rc>) -> HelperResult + Send + Sync + 'static,
{
    Box::new(Block(render))
}

struct Block<F>(F);

impl<F> HelperDef for Block<F>
where
    F: for<'a, 'reg, 'rc> Fn(Call<'a, 'reg, 'rc>) -> HelperResult,
{
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        state: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        (self.0)(Call { helper, registry, context, state, out })
    }
}
