//! Names of base images, and the versions of Python in their tags.

use crate::image::refuse_scheme;

/// The base image of configurations that name none.
pub(super) const DEFAULT: &str = "python:{{python}}-slim-bookworm";

/// Parses the name of a base image. If its tag begins with a Python version, returns that too, and `{{python}}` replaces it in
/// the name.
pub(super) fn base(image: &str) -> Result<(String, Option<String>), String> {
    refuse_scheme(image).map_err(|error| error.to_string())?;
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "._/:@-".contains(c);
    if !image.starts_with(|c: char| c.is_ascii_alphanumeric()) || !image.chars().all(is_allowed) {
        return Err(format!("`{}` is not the name of an image", image.escape_debug()));
    }
    match python_of(image) {
        Some(python) => {
            let (name, tag) = image.rsplit_once(':').unwrap_or((image, ""));
            Ok((format!("{name}:{{{{python}}}}{}", &tag[python.len()..]), Some(python)))
        }
        None => Ok((image.to_owned(), None)),
    }
}

/// Returns the version in the tag of an image with the name `python`.
pub(super) fn python_of(image: &str) -> Option<String> {
    let (name, tag) = image.rsplit_once(':')?;
    if name.rsplit('/').next() != Some("python") || image.contains('@') {
        return None;
    }
    let end = tag.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(tag.len());
    let version = &tag[..end];
    let is_end = tag[end..].is_empty() || tag[end..].starts_with('-');
    (is_python(version) && is_end).then(|| version.to_owned())
}

/// Returns true for a version such as `3.11` or `3.11.4`.
pub(super) fn is_python(version: &str) -> bool {
    let parts: Vec<&str> = version.split('.').collect();
    // Leading zeros would be lost.
    let is_number = |part: &&str| part.parse::<u32>().is_ok_and(|n| n.to_string() == *part);
    (2..=3).contains(&parts.len()) && parts.iter().all(is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_a_python_image_follows_the_axis() {
        let base = |image: &str| {
            let (image, python) = base(image).expect(image);
            format!("{image} {}", python.unwrap_or_default())
        };
        assert_eq!(base("python:3.11-slim"), "python:{{python}}-slim 3.11");
        assert_eq!(
            base("public.ecr.aws/lambda/python:3.11"),
            "public.ecr.aws/lambda/python:{{python}} 3.11"
        );
        assert_eq!(base("localhost:5000/python:3.11.4"), "localhost:5000/python:{{python}} 3.11.4");
        for image in [
            "python:3-slim",
            "python:latest",
            "python",
            "pytorch/pytorch:2.1",
            "python:3.12rc1",
            "python:3.011",
            "python:03.11",
            "python:3.99999999999",
            "python:3.11@sha256:0",
        ] {
            assert_eq!(base(image), format!("{image} "));
        }
        for image in ["", "-a", "a b", "a\nRUN b", "a$b", "{{a}}", "https://ghcr.io/a/b:1"] {
            assert!(super::base(image).is_err(), "{image:?}");
        }
    }
}
