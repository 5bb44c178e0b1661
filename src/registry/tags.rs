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

/// The most bytes of one page.
const MAX_PAGE: u64 = 8 * 1024 * 1024;

/// The most pages that are read; at a thousand tags each, more than any repository has.
const MAX_PAGES: usize = 1000;

#[derive(Deserialize)]
struct Page {
    // Some registries write `null` for none.
    tags: Option<Vec<String>>,
}

impl Host {
    /// Every tag of a repository, in the registry's order; `None` when there is no such
    /// repository.
    pub(super) async fn tags(&self, path: &str) -> Result<Option<Vec<String>>, RegistryErrorKind> {
        let mut url = self.url(&format!("{path}/tags/list"));
        url.query_pairs_mut().append_pair("n", "1000");
        let mut tags = Vec::new();
        for _ in 0..MAX_PAGES {
            let call = Call::new(Method::GET, url.clone(), Scopes::pull(path)).limit(MAX_PAGE);
            let reply = self.send(&call).await?;
            match reply.status.as_u16() {
                404 => return Ok(None),
                200..=299 => {}
                _ => return Err(self.refusal(&call.scopes, &reply)),
            }
            let page: Page = serde_json::from_slice(&reply.body).map_err(|_| {
                let said = super::problem::clean(reply.media_type().unwrap_or("nothing"), &[]);
                self.unexpected("list of tags", format!("it says that it is {said}"))
            })?;
            // What is no tag cannot be asked for, and may not be fit to print.
            let page = page.tags.unwrap_or_default().into_iter();
            tags.extend(page.filter(|tag| tag.parse::<Tag>().is_ok()));
            match self.next_page(&url, &reply)? {
                Some(next) => url = next,
                None => return Ok(Some(tags)),
            }
        }
        Err(self.unexpected("list of tags", "it does not end"))
    }

    /// The next page, at this registry alone.
    fn next_page(&self, asked: &Url, reply: &Reply) -> Result<Option<Url>, RegistryErrorKind> {
        let mut links = reply.headers.get_all(LINK).into_iter();
        let Some(target) = links.find_map(|link| next(link.to_str().ok()?)) else {
            return Ok(None);
        };
        let next = asked.join(target);
        let next = next.map_err(|_| self.unexpected("list of tags", "its next page has no URL"))?;
        if !self.is_home(&next) {
            return Err(self.elsewhere(&next, "for the rest of a list of tags"));
        }
        if next == *asked {
            return Err(self.unexpected("list of tags", "its next page is itself"));
        }
        Ok(Some(next))
    }
}

/// The target of `<target>; rel="next"` ([RFC 8288](https://www.rfc-editor.org/rfc/rfc8288)).
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
