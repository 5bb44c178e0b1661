use bollard_buildkit_proto::google::rpc;
use prost::Message;
use serde_json::Value;

/// The details of a gRPC error about a build.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Details {
    /// The digest of the failed vertex.
    pub(super) vertex: Option<String>,
    /// The line of the Dockerfile, from 1.
    pub(super) line: Option<usize>,
    pub(super) exit_code: Option<i32>,
}

impl Details {
    /// Decodes the details that `BuildKit` adds to an error: a `google.rpc.Status` with Go values as
    /// JSON, each under the name of its type. Unknown or malformed ones are ignored, since engines
    /// differ.
    pub(super) fn decode(bytes: &[u8]) -> Self {
        let mut details = Self::default();
        for any in rpc::Status::decode(bytes).unwrap_or_default().details {
            if let Ok(value) = serde_json::from_slice(&any.value) {
                details.read(&any.type_url, &value);
            }
        }
        details
    }

    fn read(&mut self, type_url: &str, value: &Value) {
        let name = type_url.rsplit(['/', '.']).next().unwrap_or_default();
        match name.trim_end_matches("+json") {
            "Vertex" => self.vertex = value["digest"].as_str().map(str::to_owned),
            "Source" => self.line = self.line.or_else(|| first_line(value)),
            "ExitMessage" | "ExitError" => {
                let code = value["Code"].as_i64().or_else(|| value["code"].as_i64());
                self.exit_code = code.and_then(|code| i32::try_from(code).ok());
            }
            _ => {}
        }
    }
}

fn first_line(source: &Value) -> Option<usize> {
    let line = source["ranges"][0]["start"]["line"].as_u64()?;
    usize::try_from(line).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use bollard_buildkit_proto::google::protobuf::Any;
    use serde_json::json;

    use super::*;

    pub(crate) fn encoded(details: &[(&str, Value)]) -> Vec<u8> {
        let details = details.iter().map(|(name, value)| Any {
            type_url: format!("github.com/moby/buildkit/{name}"),
            value: value.to_string().into_bytes(),
        });
        let status = rpc::Status { details: details.collect(), ..rpc::Status::default() };
        status.encode_to_vec()
    }

    #[test]
    fn the_details_of_a_failed_step_are_read() {
        let range = json!({"start": {"line": 4}, "end": {"line": 5}});
        let bytes = encoded(&[
            ("stack.Stack+json", json!({"frames": []})),
            ("errdefs.Source+json", json!({"info": {}, "ranges": [range]})),
            ("errdefs.Vertex+json", json!({"digest": "sha256:1"})),
            ("gatewayapi.ExitMessage+json", json!({"Code": 7})),
        ]);
        let expected =
            Details { vertex: Some("sha256:1".to_owned()), line: Some(4), exit_code: Some(7) };
        assert_eq!(Details::decode(&bytes), expected);
    }

    #[test]
    fn malformed_details_are_ignored() {
        for bytes in [
            vec![0xff; 9],
            encoded(&[("errdefs.Source+json", json!([]))]),
            encoded(&[("errdefs.Source+json", json!({"ranges": [{"start": {"line": -1}}]}))]),
        ] {
            assert_eq!(Details::decode(&bytes), Details::default());
        }
    }
}
