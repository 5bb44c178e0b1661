//! The tags of a repository.

use http::Method;
use http::header::LINK;
use reqwest::Url;
use serde::Deserialize;

use super::RegistryErrorKind;
use super::host::Host;
use super::request::{Call, Reply};
use super::scopes::Scopes;
use crate::image::Tag;

/// The maximum size of a page, in bytes.
const MAX_PAGE: u64 = 8 * 1024 * 1024;

/// The maximum number of pages, of a thousand tags each.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    // Some registries send `null` if there are none.
    tags: Option<Vec<String>>,
}

impl Host {
    /// Returns all tags of a repository in the registry's order, or `None` if it does not exist.
    pub(super) async fn tags(&self, path: &str) -> Result<Option<Vec<String>>, RegistryErrorKind> {
        let mut url = self.url(&format!("{path}/tags/list"));
        url.query_pairs_mut().append_pair("n", "1000");
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let call = Call::new(Method::GET, url.clone(), Scopes::pull(path)).limit(MAX_PAGE);
            let Some(reply) = self.find(&call).await? else { return Ok(None) };
            let page: Page = serde_json::from_slice(&reply.body).map_err(|_| {
                let media_type = super::problem::clean(reply.media_type().unwrap_or("none"), &[]);
                self.unexpected("list of tags", format!("its content type is {media_type}"))
            })?;
            // Invalid tags cannot be looked up, and may not be safe to print.
            let page = page.tags.unwrap_or_default().into_iter();
            tags.extend(page.filter(|tag| tag.parse::<Tag>().is_ok()));
            match self.next_page(&url, &reply)? {
                Some(next) => url = next,
                None => return Ok(Some(tags)),
            }
        }
        Err(self.unexpected("list of tags", "it has too many pages"))
    }

    /// Returns the URL of the next page, which must be at this registry.
    fn next_page(&self, requested: &Url, reply: &Reply) -> Result<Option<Url>, RegistryErrorKind> {
        let mut links = reply.headers.get_all(LINK).into_iter();
        let Some(target) = links.find_map(|link| next(link.to_str().ok()?)) else {
            return Ok(None);
        };
        let next = requested.join(target);
        let next = next.map_err(|_| {
            self.unexpected("list of tags", "the link to its next page is not a URL")
        })?;
        if !self.is_own_origin(&next) {
            return Err(self.forbidden_target(&next, "which is not the registry of the tags"));
        }
        if next == *requested {
            return Err(self.unexpected("list of tags", "its next page is the same page"));
        }
        Ok(Some(next))
    }
}

/// Returns the target of `<target>; rel="next"` ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
fn next(link: &str) -> Option<&str> {
    let mut rest = link;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, parameters) = after.split_once('>')?;
        let own = parameters.split('<').next().unwrap_or_default().to_ascii_lowercase();
        let own: String = own.chars().filter(|c| !c.is_whitespace() && *c != '"').collect();
        if own.split([';', ',']).any(|parameter| parameter == "rel=next") {
            return Some(target);
        }
        rest = parameters;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found_among_links() {
        assert_eq!(
            next(r#"</v2/a/tags/list?n=1&last=b>; rel="next""#),
            Some("/v2/a/tags/list?n=1&last=b")
        );
        assert_eq!(next(r#"<a>; rel="prev", <b>; title="x"; REL=next"#), Some("b"));
        assert_eq!(next(r#"<a>; rel="prev""#), None);
        assert_eq!(next("<a"), None);
        assert_eq!(next(""), None);
    }
}
