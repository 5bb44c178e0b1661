//! Limits of an image: the GPUs that it must support, and its size.

use super::checker::Checker;
use super::schema::{ImageTable, SetTable};
use super::spanned::Spanned;
use crate::image::Size;

/// The limits of a variant. A `[[set]]` overrides each key of `[image]` and of earlier ones.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limits {
    /// The GPU architectures that all CUDA libraries must support, such as 90 for compute capability 9.0.
    pub require_sm: Option<Vec<Spanned<u16>>>,
    /// The architectures that a release may lose, such as `50` or `90a`.
    pub drop_sm: Option<Vec<String>>,
    /// The largest compressed size of the image for one platform.
    pub max_size: Option<Size>,
}

/// The keys of a table with limits.
pub(super) struct LimitKeys<'a> {
    pub(super) require_sm: Option<&'a Vec<Spanned<String>>>,
    pub(super) drop_sm: Option<&'a Vec<Spanned<String>>>,
    pub(super) max_size: Option<&'a Spanned<String>>,
}

impl<'a> From<&'a ImageTable> for LimitKeys<'a> {
    fn from(table: &'a ImageTable) -> Self {
        let ImageTable { require_sm, drop_sm, max_size, .. } = table;
        Self {
            require_sm: require_sm.as_ref(),
            drop_sm: drop_sm.as_ref(),
            max_size: max_size.as_ref(),
        }
    }
}

impl<'a> From<&'a SetTable> for LimitKeys<'a> {
    fn from(table: &'a SetTable) -> Self {
        let SetTable { require_sm, drop_sm, max_size, .. } = table;
        Self {
            require_sm: require_sm.as_ref(),
            drop_sm: drop_sm.as_ref(),
            max_size: max_size.as_ref(),
        }
    }
}

impl LimitKeys<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.require_sm.is_none() && self.drop_sm.is_none() && self.max_size.is_none()
    }
}

impl Limits {
    pub(super) fn overridden_by(self, other: &Self) -> Self {
        let other = other.clone();
        Self {
            require_sm: other.require_sm.or(self.require_sm),
            drop_sm: other.drop_sm.or(self.drop_sm),
            max_size: other.max_size.or(self.max_size),
        }
    }
}

impl Checker<'_> {
    pub(super) fn limits(&mut self, keys: &LimitKeys<'_>) -> Limits {
        Limits {
            require_sm: keys.require_sm.map(|names| self.required(names)),
            drop_sm: keys.drop_sm.map(|names| self.dropped(names)),
            max_size: keys.max_size.and_then(|text| self.size(text)),
        }
    }

    fn required(&mut self, names: &[Spanned<String>]) -> Vec<Spanned<u16>> {
        let mut numbers = Vec::new();
        for name in names {
            match name.parse() {
                Ok(number) if is_architecture(name) => {
                    numbers.push(Spanned::new(name.span(), number));
                }
                _ => self.refuse_architecture(name, "such as \"90\" for compute capability 9.0"),
            }
        }
        numbers
    }

    fn dropped(&mut self, names: &[Spanned<String>]) -> Vec<String> {
        for name in names {
            if !is_architecture(name.strip_suffix(['a', 'f']).unwrap_or(name)) {
                self.refuse_architecture(name, "such as \"50\" or \"90a\"");
            }
        }
        names.iter().map(|name| name.get_ref().clone()).collect()
    }

    fn size(&mut self, text: &Spanned<String>) -> Option<Size> {
        let parsed = text.parse::<Size>();
        if let Err(error) = &parsed {
            self.report(text.span(), error.to_string(), "invalid size");
        }
        parsed.ok()
    }

    fn refuse_architecture(&mut self, name: &Spanned<String>, example: &str) {
        let message = format!("`{}` is not a GPU architecture", name.escape_debug());
        self.report(name.span(), message, format!("expected digits, {example}"));
    }
}

/// Returns true for two or three digits, without a zero at the beginning.
fn is_architecture(text: &str) -> bool {
    (2..=3).contains(&text.len())
        && !text.starts_with('0')
        && text.bytes().all(|byte| byte.is_ascii_digit())
}
