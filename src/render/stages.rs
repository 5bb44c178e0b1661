use super::dockerfile::{Instruction, Misuse, parse, stage};
use super::here_document::list;

/// The stage of a Dockerfile that is its image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalStage {
    pub name: Option<String>,
    /// The offset of the end of its `FROM`, in bytes.
    pub end: usize,
}

impl FinalStage {
    /// Finds the stage `target` of `dockerfile`, or without a target, the last one. Returns `None` if there is none.
    #[must_use]
    pub fn find(dockerfile: &str, target: Option<&str>) -> Option<Self> {
        let instructions: Result<Vec<Instruction>, Misuse> = parse(dockerfile);
        let instructions = instructions.ok()?;
        let is_wanted = |from: &Instruction| {
            let target = target.map(str::to_ascii_lowercase);
            target.is_none_or(|target| stage(from) == Some(target))
        };
        let mut stages = instructions.iter().filter(|found| found.keyword == "FROM");
        let from = stages.rfind(|from| is_wanted(from))?;
        let words: Vec<&str> = from.arguments.split_whitespace().collect();
        let name = match words[..] {
            [.., keyword, name] if keyword.eq_ignore_ascii_case("as") => Some(name.to_owned()),
            _ => None,
        };
        let last = from.arguments.len().checked_sub(1)?;
        Some(Self { name, end: from.place(last) + 1 })
    }
}

/// Returns the program of each `SHELL` in `dockerfile`. An instruction without one is `None`.
#[must_use]
pub fn shells(dockerfile: &str) -> Vec<Option<String>> {
    let instructions = parse(dockerfile).unwrap_or_default();
    let shells = instructions.iter().filter(|instruction| instruction.keyword == "SHELL");
    shells.map(|shell| list(&shell.arguments)?.into_iter().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_from_is_found_with_its_name() {
        let cases = [
            ("FROM a AS b\nRUN x\n", Some("b"), "FROM a AS b"),
            ("FROM a AS b\nFROM --platform=$P b\nRUN x", None, "FROM a AS b\nFROM --platform=$P b"),
            ("FROM a \\\n  as c  \r\nRUN x", Some("c"), "FROM a \\\n  as c"),
            ("FROM a\nRUN <<E\nFROM no\nE\n", None, "FROM a"),
        ];
        for (text, name, until) in cases {
            let stage = FinalStage::find(text, None).expect(text);
            assert_eq!((stage.name.as_deref(), &text[..stage.end]), (name, until));
        }
        assert_eq!(FinalStage::find("ARG x\n", None), None);
    }

    #[test]
    fn a_target_is_a_stage_by_name() {
        let text = "FROM a AS Build\nRUN x\nFROM b AS test\nRUN y\n";
        let stage = FinalStage::find(text, Some("build")).expect("a stage");
        assert_eq!((stage.name.as_deref(), &text[..stage.end]), (Some("Build"), "FROM a AS Build"));
        assert_eq!(FinalStage::find(text, Some("other")), None);
    }

    #[test]
    fn shells_are_found_in_all_stages() {
        let text = "FROM a\nshell [\"/bin/bash\", \"-c\"]\nFROM b\nRUN SHELL x\nSHELL sh -c\n";
        assert_eq!(shells(text), [Some("/bin/bash".to_owned()), None]);
    }
}
