//! Maps each line of a rendered text to a line of its template.
//!
//! Handlebars has no such map. So [`mark`] inserts a call before each text and value of a compiled template, whose
//! helper writes a mark to the output without changing anything else. [`super::values::Rendered`] removes the
//! marks, which also identify the partials in use, and [`lines`] computes the map.

use std::sync::Arc;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement, TemplateMapping};
use handlebars::{Context, Handlebars, Helper, HelperResult, Output, RenderContext, Template};
use serde_json::Value as Json;

use super::syntax::offset;
use crate::matrix::SourceFile;

/// The name of the inserted helper. No template can contain it.
pub(super) const AT: &str = " at";

/// The characters around a mark. Both are noncharacters.
pub(super) const BEGIN: char = '\u{fdd2}';
pub(super) const END: char = '\u{fdd3}';

/// The number of the matrix file, from which lines are generated.
pub(super) const MATRIX: usize = 0;

/// Returns the mark of a line that template `number` has at an offset.
pub(super) fn written(number: usize, at: usize) -> String {
    format!("{BEGIN}{number} {at} text{END}")
}

/// A line of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateLine {
    /// The path of the template, as messages show it.
    pub file: Arc<str>,
    /// The number of the line, from 1.
    pub line: usize,
    /// The column of its first character that is not whitespace, from 1.
    pub column: usize,
}

/// A position of a rendered text where a template begins or continues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    /// The offset in the rendered text.
    pub(super) begin: usize,
    /// The number of the template.
    pub(super) template: usize,
    /// The offset in the template.
    at: usize,
    /// Whether text of the template follows, rather than a value.
    is_text: bool,
}

impl Mark {
    /// Parses the text between [`BEGIN`] and [`END`].
    pub(super) fn parse(text: &str, begin: usize) -> Option<Self> {
        let mut parts = text.split(' ');
        let (template, at) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        Some(Self { begin, template, at, is_text: parts.next() == Some("text") })
    }
}

/// The inserted helper, which writes the mark in its parameter.
pub(super) fn write_mark(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    if let Some(mark) = helper.param(0).and_then(|mark| mark.value().as_str()) {
        out.write(mark)?;
    }
    Ok(())
}

/// Inserts calls that write marks into the template with this `number`, which was compiled from `source`.
pub(super) fn mark(template: &mut Template, source: &SourceFile, number: usize) {
    let mut call = Template::compile("{{at}}").expect("a call is a template");
    let (Some(TemplateElement::Expression(mut helper)), Some(first)) =
        (call.elements.pop(), call.mapping.pop())
    else {
        return;
    };
    helper.name = Parameter::Name(AT.to_owned());
    let mut marking = Marking { source, number, helper, end: 0 };
    marking.template(template);
    template.elements.insert(0, marking.call(0, "begin"));
    template.mapping.insert(0, first);
}

struct Marking<'a> {
    source: &'a SourceFile,
    number: usize,
    helper: Box<HelperTemplate>,
    /// The end of the last element in the source.
    end: usize,
}

impl Marking<'_> {
    fn template(&mut self, template: &mut Template) {
        // An `{{else if}}` has an element without a location.
        let has_places = template.elements.len() == template.mapping.len();
        let elements = std::mem::take(&mut template.elements);
        let mut places = std::mem::take(&mut template.mapping).into_iter();
        for mut element in elements {
            let place = places.next();
            let mark = self.element(&mut element, place.as_ref()).filter(|_| has_places);
            if let (Some(mark), Some(place)) = (mark, &place) {
                template.elements.push(mark);
                template.mapping.push(place.clone());
            }
            template.elements.push(element);
            template.mapping.extend(place);
        }
    }

    /// Advances past `element` and returns the call to insert before it, if any.
    fn element(
        &mut self,
        element: &mut TemplateElement,
        place: Option<&TemplateMapping>,
    ) -> Option<TemplateElement> {
        use TemplateElement as Element;
        let source = Arc::clone(&self.source.text);
        let begin = place.map_or(self.end, |place| offset(&source, place.0, place.1));
        if let Element::RawString(text) = element {
            // Handlebars reports the location of the next element, and may have removed whitespace. A text with an
            // escaped brace differs from the source.
            let found = source[self.end..].find(text.as_str()).map(|at| self.end + at);
            self.end = found.map_or(self.end, |at| at + text.len());
            let at = found.unwrap_or(begin);
            return (!text.is_empty()).then(|| self.call(at, "text"));
        }
        let begin = begin.max(self.end);
        let length = source[begin..].find("}}").map_or(0, |length| length + 2);
        self.end = begin + length;
        match element {
            Element::Expression(_) | Element::HtmlExpression(_) => {
                return Some(self.call(begin, "value"));
            }
            Element::HelperBlock(block) => {
                for inner in block.template.iter_mut().chain(&mut block.inverse) {
                    self.template(inner);
                }
            }
            Element::PartialBlock(block) | Element::DecoratorBlock(block) => {
                block.template.iter_mut().for_each(|inner| self.template(inner));
            }
            _ => {}
        }
        None
    }

    fn call(&self, at: usize, kind: &str) -> TemplateElement {
        let mut helper = self.helper.clone();
        let mark = format!("{BEGIN}{} {at} {kind}{END}", self.number);
        helper.params.push(Parameter::Literal(Json::from(mark)));
        TemplateElement::Expression(helper)
    }
}

/// Returns the template line of each line of `text`. `sources` are the templates by number.
pub(super) fn lines(text: &str, marks: &[Mark], sources: &[&SourceFile]) -> Vec<TemplateLine> {
    let files: Vec<Arc<str>> =
        sources.iter().map(|source| source.path.to_string_lossy().into()).collect();
    let lines = places(text, marks, sources).map(|(template, at)| {
        let source = sources[template];
        TemplateLine {
            file: Arc::clone(&files[template]),
            line: source.line(at),
            column: source.column(at),
        }
    });
    lines.collect()
}

/// Returns for each line of `text` the number of the template and the offset in it.
pub(super) fn places<'a>(
    text: &'a str,
    marks: &'a [Mark],
    sources: &'a [&SourceFile],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let mut begin = 0;
    // The number of the last line's mark, the begin of the line, and its offset in the template.
    let mut last: Option<(usize, usize, usize)> = None;
    text.split_inclusive('\n').map_while(move |line| {
        let blank = line.len() - line.trim_start_matches([' ', '\t']).len();
        let before = marks.partition_point(|mark| mark.begin <= begin + blank);
        let number = before.saturating_sub(1);
        let mark = *marks.get(number)?;
        let source = &sources[mark.template].text;
        // A partial may be indented, so lines are counted rather than characters.
        let (from, mut at) = match last {
            Some((same, from, at)) if same == number => (from, at),
            _ => (mark.begin, mark.at),
        };
        if mark.is_text {
            for _ in text.get(from..begin).unwrap_or_default().matches('\n') {
                at = source[at..].find('\n').map_or(at, |length| at + length + 1);
            }
        }
        last = Some((number, begin, at));
        if mark.is_text {
            at += source[at..].len() - source[at..].trim_start_matches([' ', '\t']).len();
        }
        begin += line.len();
        Some((mark.template, at))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::limits;
    use super::super::values::Rendered;
    use super::*;

    /// Renders `template`, and returns the text and the location of each line. The number of `template` is 0; the
    /// partials are numbered from 1.
    fn rendered(template: &str, partials: &[(&str, &str)], is_marked: bool) -> (String, String) {
        let mut handlebars = Handlebars::new();
        handlebars.register_helper(AT, Box::new(write_mark));
        handlebars.register_escape_fn(handlebars::no_escape);
        let mut sources = Vec::new();
        for (name, text) in [("main", template)].iter().chain(partials) {
            let mut compiled = Template::compile(text).expect(text);
            let source = SourceFile::new(Path::new(&sources.len().to_string()), text);
            if is_marked {
                mark(&mut compiled, &source, sources.len());
                limits::fence(&mut compiled);
                if *name != "main" {
                    limits::wrap(&mut compiled);
                }
            }
            sources.push(source);
            handlebars.register_template(name, compiled);
        }
        let main = handlebars.get_template("main").expect("it is registered");
        let context = Context::wraps(json!({ "on": true, "off": false, "list": [1, 2], "v": "V" }));
        let context = context.expect("JSON");
        let mut state = RenderContext::new(None);
        let text = limits::render(main, &handlebars, &context, &mut state).expect("a text");
        let rendered = Rendered::new(&text, |_, _| String::new());
        let lines = lines(&rendered.text, &rendered.marks, &sources.iter().collect::<Vec<_>>());
        let lines = lines.iter().map(|at| format!("{}:{}:{}", at.file, at.line, at.column));
        (rendered.text, lines.collect::<Vec<_>>().join(" "))
    }

    const PARTIALS: [(&str, &str); 5] = [
        ("one", "a\n{{#if on}}\n  {{> two}}\n{{/if}}\nb\n"),
        ("two", "\nc\n  d"),
        ("three", "{{#each list}}\n{{this}}\n{{> two}}{{/each}}\n"),
        ("empty", ""),
        ("around", "<{{> @partial-block}}>"),
    ];

    const TEMPLATES: [&str; 12] = [
        "x\n  {{> one}}\ny",
        "  {{> three}}\n\n  {{> empty}}\nz {{> two}}",
        "{{> empty}}\n  {{#if on}}{{> one}}{{/if}}\n",
        "  {{#> around}}\n  {{> two}}\n{{/around}}\nx",
        "{{#unless on}}{{> one}}{{/unless}}",
        "a {{~v~}} \n b\n\n  {{#if off}}\n1\n{{else if on}}\n2\n{{else}}\n3\n{{/if}}\nc\n",
        "{{#*inline \"i\"}}\n  in {{v}}\n{{/inline}}\n{{> i}}\n   {{> i}}\n",
        "RUN <<EOF\n{{#each list}}\n  {{this}} \\\n{{/each}}\nEOF\n{{!-- }} --}}\nCMD \\{{v}}\n",
        "{{{{raw}}}}\n{{v}}\n{{{{/raw}}}}\nend\n",
        "\r\na {{v}}\r\n\tb\r\n",
        "é {{v}} é\n é {{! é }}\n",
        "",
    ];

    #[test]
    fn marks_do_not_change_the_rendered_text() {
        for template in TEMPLATES {
            let (plain, _) = rendered(template, &PARTIALS, false);
            assert_eq!(rendered(template, &PARTIALS, true).0, plain, "{template}");
        }
    }

    #[test]
    fn every_line_has_a_location_in_a_template() {
        let places = TEMPLATES.map(|template| {
            let (text, places) = rendered(template, &PARTIALS, true);
            format!("{template:?}\n{text:?}\n{places}\n")
        });
        insta::assert_snapshot!(places.join("\n"));
    }
}
