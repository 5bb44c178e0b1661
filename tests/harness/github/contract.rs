//! Validation of requests and responses against GitHub's published description of its API.
//!
//! [`Operation`] is an operation of the REST API. [`graphql_problems`] validates a GraphQL request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use jsonschema::Validator;
use serde_json::{Value, json};

/// The description that `openapi/extract` writes.
fn description() -> &'static Value {
    static DESCRIPTION: OnceLock<Value> = OnceLock::new();
    DESCRIPTION.get_or_init(|| {
        serde_json::from_str(include_str!("openapi.json")).expect("the description is JSON")
    })
}

/// An operation of the REST API.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its position in the description.
    index: usize,
    /// Such as `pulls/create`.
    pub id: String,
    /// The parameters in the path.
    pub parameters: BTreeMap<String, String>,
}

impl Operation {
    /// Returns the operation of a request.
    pub fn find(method: &Method, path: &str) -> Option<Self> {
        let operations = description()["github"]["operations"].as_array().expect("operations");
        operations.iter().enumerate().find_map(|(index, operation)| {
            let parameters = match_path(operation["path"].as_str()?, path)?;
            let id = operation["id"].as_str()?.to_owned();
            (operation["method"] == method.as_str()).then_some(Self { index, id, parameters })
        })
    }

    fn definition(&self) -> &'static Value {
        &description()["github"]["operations"][self.index]
    }

    /// Returns the violations of a request, also those of the descriptions of Enterprise Server.
    pub fn request_problems(
        &self,
        query: &[(String, String)],
        body: Option<&Value>,
    ) -> Vec<String> {
        let mut problems = Vec::new();
        let github = &description()["github"];
        let servers = description()["enterprise"].as_object().expect("servers").values();
        for api in std::iter::once(github).chain(servers) {
            let operation = &api["operations"][self.index];
            problems.extend(self.parameter_problems(api, operation, query));
            problems.extend(body_problems(api, operation, body));
        }
        let known = self.definition()["parameters"].as_array().expect("parameters");
        let unknown = query.iter().filter(|(name, _)| {
            !known.iter().any(|known| known["name"] == **name && known["in"] == "query")
        });
        problems.extend(unknown.map(|(name, _)| format!("unknown parameter `{name}`")));
        problems.into_iter().map(|problem| format!("{}: {problem}", self.id)).collect()
    }

    fn parameter_problems(
        &self,
        api: &'static Value,
        operation: &'static Value,
        query: &[(String, String)],
    ) -> Vec<String> {
        let mut problems = Vec::new();
        for parameter in operation["parameters"].as_array().expect("parameters") {
            let name = parameter["name"].as_str().expect("a name");
            let text = match parameter["in"].as_str() {
                Some("path") => self.parameters.get(name),
                _ => query.iter().find_map(|(key, value)| (key == name).then_some(value)),
            };
            let Some(text) = text else {
                if parameter["required"] == true {
                    problems.push(format!("missing parameter `{name}`"));
                }
                continue;
            };
            let schema = &parameter["schema"];
            let value = match schema["type"].as_str() {
                Some("integer") => text.parse::<i64>().map_or(json!(text), |number| json!(number)),
                _ => json!(text),
            };
            problems
                .extend(violations(api, schema, &value).map(|what| format!("`{name}`: {what}")));
        }
        problems
    }

    /// Returns the violations of a response.
    pub fn response_problems(&self, status: u16, body: &Value) -> Vec<String> {
        // The status of errors that any operation may return, described or not.
        const ERRORS: [u16; 8] = [401, 403, 404, 409, 422, 429, 500, 503];
        let schema = self.definition()["responses"].get(status.to_string());
        let problems: Vec<String> = match schema {
            Some(Value::Null) => Vec::new(),
            Some(schema) => violations(&description()["github"], schema, body).collect(),
            None if ERRORS.contains(&status) => Vec::new(),
            None => vec!["the status is not described".to_owned()],
        };
        problems.into_iter().map(|problem| format!("{} {status}: {problem}", self.id)).collect()
    }

    /// Returns a response with `content` and samples of all other required fields.
    pub fn sample_response(&self, status: u16, content: &Value) -> Value {
        let schema = &self.definition()["responses"][status.to_string()];
        complete(schema, content)
    }
}

/// Adds samples of missing required fields to `content`.
fn complete(schema: &Value, content: &Value) -> Value {
    let schema = resolved(schema);
    match content {
        Value::Array(items) => items.iter().map(|item| complete(&schema["items"], item)).collect(),
        Value::Object(fields) if schema.get("additionalProperties").is_none() => {
            let mut instance = sample(schema, 0);
            if !instance.is_object() {
                // The schema has alternatives; `content` is complete.
                return content.clone();
            }
            for (name, value) in fields {
                let field_schema = &choose(schema)["properties"][name];
                instance[name] = if field_schema.is_null() {
                    value.clone()
                } else {
                    complete(field_schema, value)
                };
            }
            instance
        }
        other => other.clone(),
    }
}

fn resolved(schema: &Value) -> &Value {
    match schema["$ref"].as_str() {
        Some(reference) => {
            let name = reference.trim_start_matches("#/components/schemas/");
            resolved(&description()["github"]["schemas"][name])
        }
        None => schema,
    }
}

/// Returns the first alternative of a schema that is not `null`.
fn choose(schema: &Value) -> &Value {
    let alternatives = ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema[*key].as_array());
    match alternatives.and_then(|all| all.iter().find(|one| one["type"] != "null")) {
        Some(one) => choose(resolved(one)),
        None => schema,
    }
}

/// Returns a minimal instance of a schema.
fn sample(schema: &Value, depth: usize) -> Value {
    let schema = resolved(schema);
    let kind = match &schema["type"] {
        Value::Array(kinds) if kinds.iter().any(|kind| kind == "null") && depth > 0 => "null",
        Value::Array(kinds) => kinds[0].as_str().unwrap_or_default(),
        Value::String(kind) => kind,
        _ => "",
    };
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    match kind {
        "null" => Value::Null,
        "object" => {
            let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            let names = required.iter().filter_map(Value::as_str);
            let fields =
                names.map(|name| (name.to_owned(), sample(&schema["properties"][name], depth + 1)));
            Value::Object(fields.collect())
        }
        "array" => json!([]),
        "integer" | "number" => json!(1),
        "boolean" => json!(false),
        "string" => match schema["format"].as_str() {
            Some("date-time") => json!("2026-11-20T10:00:00Z"),
            Some("uri") => json!("https://github.example.org/x"),
            _ => json!("x"),
        },
        _ => {
            let alternatives =
                ["anyOf", "oneOf", "allOf"].iter().find_map(|key| schema[*key].as_array());
            let alternatives = alternatives.map(Vec::as_slice).unwrap_or_default();
            match alternatives.iter().find(|one| one["type"] == "null") {
                Some(_) if depth > 0 => Value::Null,
                _ => alternatives.first().map_or(Value::Null, |one| sample(one, depth)),
            }
        }
    }
}

fn body_problems(
    api: &'static Value,
    operation: &'static Value,
    body: Option<&Value>,
) -> Vec<String> {
    let described = &operation["body"];
    let Some(body) = body else {
        return if described["required"] == true {
            vec!["missing body".to_owned()]
        } else {
            Vec::new()
        };
    };
    if described.is_null() {
        return vec!["unexpected body".to_owned()];
    }
    let schema = &described["schema"];
    let mut problems: Vec<String> = violations(api, schema, body).collect();
    // GitHub ignores unknown fields.
    let first = ["oneOf", "anyOf"].iter().find_map(|key| schema[*key].get(0));
    let properties = first.unwrap_or(schema)["properties"].as_object();
    if let (Some(known), Some(fields)) = (properties, body.as_object()) {
        let unknown = fields.keys().filter(|name| !known.contains_key(*name));
        problems.extend(unknown.map(|name| format!("the body has no field `{name}`")));
    }
    problems
}

/// Returns the violations of a schema of `api`.
fn violations(
    api: &'static Value,
    schema: &'static Value,
    value: &Value,
) -> impl Iterator<Item = String> + use<> {
    // Each schema is compiled once, because that is slow. The description is never moved, so the address of a schema identifies it.
    static COMPILED: Mutex<BTreeMap<usize, Arc<Validator>>> = Mutex::new(BTreeMap::new());
    let key = std::ptr::from_ref(schema).addr();
    let compiled = COMPILED.lock().expect("no test panics here").get(&key).cloned();
    let validator = compiled.unwrap_or_else(|| {
        let document = json!({ "allOf": [schema], "components": { "schemas": api["schemas"] } });
        let compiled = jsonschema::validator_for(&document).expect("the description is a schema");
        let compiled = Arc::new(compiled);
        COMPILED.lock().expect("no test panics here").insert(key, Arc::clone(&compiled));
        compiled
    });
    let problems = validator.iter_errors(value);
    let problems: Vec<String> =
        problems.map(|error| format!("{error} at `{}`", error.instance_path())).collect();
    problems.into_iter()
}

/// Returns the parameters of a path that matches `template`.
fn match_path(template: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (mut parts, mut parameters) = (path.trim_matches('/').split('/'), BTreeMap::new());
    for part in template.trim_matches('/').split('/') {
        let segment = parts.next().filter(|part| !part.is_empty())?;
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            // These parameters may contain slashes. They are the last of a path.
            Some(name @ ("ref" | "basehead")) => {
                let rest: Vec<&str> = std::iter::once(segment).chain(parts).collect();
                parameters.insert(name.to_owned(), decode(&rest.join("/")));
                return Some(parameters);
            }
            Some(name) => drop(parameters.insert(name.to_owned(), decode(segment))),
            None if part == segment => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(parameters)
}

/// Decodes the percent-encoding of a path segment.
fn decode(text: &str) -> String {
    let url = reqwest::Url::parse(&format!("http://fake/?x={}", text.replace('+', "%2B")));
    let url = url.expect("a URL");
    url.query_pairs().next().expect("a value").1.into_owned()
}

/// Returns the violations of GitHub's GraphQL schema in a request: of the mutation, its input, and the selected fields.
pub fn graphql_problems(body: &Value) -> Vec<String> {
    let schema = &description()["graphql"];
    let (mutation, argument) = (schema["mutation"].as_str().expect("a name"), "input");
    let kind = schema["arguments"][argument].as_str().expect("a type");
    let query = body["query"].as_str().unwrap_or_default();
    let tokens: Vec<&str> = tokens(query);
    let expected = [
        "mutation", "(", "$input", ":", kind, ")", "{", mutation, "(", argument, ":", "$input", ")",
    ];
    if tokens.get(..expected.len()) != Some(&expected[..]) {
        return vec![format!("unexpected query: `{query}`")];
    }
    let mut problems = selection_problems(&tokens[expected.len()..], schema);
    input_problems(schema, kind, &body["variables"][argument], argument, &mut problems);
    problems
}

fn tokens(query: &str) -> Vec<&str> {
    let spaced = query.char_indices().filter(|(_, c)| "(){}:".contains(*c) || c.is_whitespace());
    let (mut tokens, mut last) = (Vec::new(), 0);
    for (at, character) in spaced {
        tokens.push(&query[last..at]);
        last = at + character.len_utf8();
        tokens.push(&query[at..last]);
    }
    tokens.push(&query[last..]);
    tokens.retain(|token| !token.trim().is_empty());
    tokens
}

fn selection_problems(tokens: &[&str], schema: &Value) -> Vec<String> {
    let (mut kinds, mut next) = (Vec::new(), schema["type"].as_str().expect("a type").to_owned());
    let mut problems = Vec::new();
    for token in tokens {
        match *token {
            "{" => kinds.push(next.clone()),
            "}" => drop(kinds.pop()),
            name => {
                let kind = kinds.last().map(String::as_str).unwrap_or_default();
                match schema["payloads"][kind][name].as_str() {
                    Some(field_type) => {
                        field_type.trim_matches(['[', ']', '!']).clone_into(&mut next);
                    }
                    None => problems.push(format!("`{kind}` has no field `{name}`")),
                }
            }
        }
    }
    problems
}

fn input_problems(schema: &Value, kind: &str, value: &Value, at: &str, problems: &mut Vec<String>) {
    let (name, is_required) = match kind.strip_suffix('!') {
        Some(name) => (name, true),
        None => (kind, false),
    };
    if value.is_null() {
        if is_required {
            problems.push(format!("`{at}` is missing"));
        }
        return;
    }
    if let Some(item) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        match value.as_array() {
            Some(items) => {
                for (index, value) in items.iter().enumerate() {
                    input_problems(schema, item, value, &format!("{at}[{index}]"), problems);
                }
            }
            None => problems.push(format!("`{at}` is not a list")),
        }
        return;
    }
    let text = value.as_str();
    let is_valid = match (name, schema["inputs"][name].as_object()) {
        (_, Some(fields)) => {
            for (field, kind) in fields {
                let kind = kind.as_str().expect("a type");
                input_problems(schema, kind, &value[field], &format!("{at}.{field}"), problems);
            }
            let object = value.as_object();
            let unknown =
                object.into_iter().flatten().filter(|(key, _)| !fields.contains_key(*key));
            problems.extend(unknown.map(|(key, _)| format!("`{at}` has no field `{key}`")));
            object.is_some()
        }
        ("GitObjectID", _) => text.is_some_and(|text| {
            text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        }),
        ("Base64String", _) => text.is_some_and(|text| STANDARD.decode(text).is_ok()),
        _ => text.is_some(),
    };
    if !is_valid {
        problems.push(format!("`{at}` is not a {name}"));
    }
}
