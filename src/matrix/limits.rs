//! Validates the limits of images: the GPUs that they must support, and their size.

use super::checker::Checker;
use super::spanned::Spanned;
use crate::image::Size;

impl Checker<'_> {
    pub(super) fn required(&mut self, names: &[Spanned<String>]) -> Vec<Spanned<u16>> {
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

    pub(super) fn dropped(&mut self, names: &[Spanned<String>]) -> Vec<String> {
        for name in names {
            if !is_architecture(name.strip_suffix(['a', 'f']).unwrap_or(name)) {
                self.refuse_architecture(name, "such as \"50\" or \"90a\"");
            }
        }
        names.iter().map(|name| name.get_ref().clone()).collect()
    }

    pub(super) fn size(&mut self, text: &Spanned<String>) -> Option<Size> {
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
