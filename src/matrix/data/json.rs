use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Content, Key, MAX_DEPTH, Node, refusal, too_deep};
use crate::matrix::diagnostic::{SourceError, SourceFile};
use crate::matrix::spanned::Span;

pub(super) fn read(source: &SourceFile) -> Result<Node, SourceError> {
    Reader { source }.node(parse(source, &source.text)?, 0)
}

struct Reader<'a> {
    source: &'a SourceFile,
}

impl Reader<'_> {
    fn node(&self, raw: &RawValue, depth: usize) -> Result<Node, SourceError> {
        let (text, span) = (raw.get(), span(self.source, raw.get()));
        if depth > MAX_DEPTH {
            return Err(refusal(self.source, span.start..span.start + 1, too_deep()));
        }
        let content = match text.as_bytes() {
            [b'{', ..] => {
                let JsonEntries::<&RawValue>(entries) = parse(self.source, text)?;
                let entries = entries.into_iter().map(|(key, value)| {
                    let name = parse(self.source, key.get())?;
                    let key = Key { name, span: self::span(self.source, key.get()) };
                    Ok((key, self.node(value, depth + 1)?))
                });
                Content::Table(entries.collect::<Result<_, _>>()?)
            }
            [b'[', ..] => {
                let items: Vec<&RawValue> = parse(self.source, text)?;
                let items = items.into_iter().map(|item| self.node(item, depth + 1));
                Content::List(items.collect::<Result<_, _>>()?)
            }
            [b'"', ..] => Content::Text(parse(self.source, text)?),
            b"null" => Content::Null,
            _ => Content::Plain(text.to_owned()),
        };
        Ok(Node { span, content })
    }
}

/// Parses `text`, which is a part of `source`.
fn parse<'a, T: Deserialize<'a>>(source: &SourceFile, text: &'a str) -> Result<T, SourceError> {
    serde_json::from_str(text).map_err(|error| {
        let before: usize =
            text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = span(source, text).start + before + error.column().saturating_sub(1);
        let message = error.to_string();
        let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(text, _)| text);
        refusal(source, at..at + 1, format!("invalid JSON: {message}"))
    })
}

/// Returns the place of `part`, which is a part of the text of `source`.
fn span(source: &SourceFile, part: &str) -> Span {
    let start = part.as_ptr() as usize - source.text.as_ptr() as usize;
    start..start + part.len()
}

/// The entries of a JSON object with keys of type `K`, including duplicate keys.
pub(crate) struct JsonEntries<'a, K>(pub(crate) Vec<(K, &'a RawValue)>);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for JsonEntries<'de, K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<K>(PhantomData<K>);
        impl<'de, K: Deserialize<'de>> Visitor<'de> for EntriesVisitor<K> {
            type Value = JsonEntries<'de, K>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(JsonEntries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}
