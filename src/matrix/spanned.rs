use std::borrow::Cow;
use std::ops::{Deref, Range};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A range of bytes in a source file.
pub(super) type Span = Range<usize>;

/// A value and its location in the source file. Its JSON schema is that of the value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Spanned<T>(serde_spanned::Spanned<T>);

impl<T> Spanned<T> {
    #[must_use]
    pub fn new(span: Range<usize>, value: T) -> Self {
        Self(serde_spanned::Spanned::new(span, value))
    }

    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.0.span()
    }

    #[must_use]
    pub fn get_ref(&self) -> &T {
        self.0.get_ref()
    }

    #[must_use]
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.get_ref()
    }
}

impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
