//! The flags of instructions, such as `--from=` and `--mount=`.

/// Splits the flags from the arguments.
pub(crate) fn flags(arguments: &str) -> (Vec<&str>, &str) {
    let mut flags = Vec::new();
    let mut rest = arguments.trim_start();
    while rest.starts_with("--") {
        let (flag, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        flags.push(flag);
        rest = after.trim_start();
    }
    (flags, rest)
}

/// Returns the value of an option of `--mount` that can have any of `names`. The last one wins.
pub(super) fn mount_option<'a>(options: &'a str, names: &[&str]) -> Option<&'a str> {
    let pairs = options.split(',').filter_map(|option| option.split_once('='));
    pairs.filter(|(name, _)| names.contains(name)).map(|(_, value)| value).next_back()
}
