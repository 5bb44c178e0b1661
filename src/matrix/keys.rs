/// Splits a dotted key. Quoted parts can contain dots: `tool."a.b".version`.
pub(crate) fn key_parts(key: &str) -> Vec<String> {
    let (mut parts, mut quote) = (vec![String::new()], None);
    for character in key.chars() {
        let last = parts.last_mut().expect("there is always one");
        match (character, quote) {
            ('"' | '\'', None) if last.trim().is_empty() => {
                last.clear();
                quote = Some(character);
            }
            (_, Some(open)) if character == open => quote = None,
            ('.', None) => parts.push(String::new()),
            _ => last.push(character),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_quoted_parts() {
        assert_eq!(key_parts("project.version"), ["project", "version"]);
        assert_eq!(key_parts("tool.\"a.b\".version"), ["tool", "a.b", "version"]);
        assert_eq!(key_parts("packages.''.version"), ["packages", "", "version"]);
    }
}
