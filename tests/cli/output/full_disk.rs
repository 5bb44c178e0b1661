//! Output to a full disk.

use std::fs::File;

use crate::harness::project::Project;

#[test]
fn a_full_disk_is_reported_for_stdout_and_output_files() {
    let project = Project::new();
    let full = || File::options().write(true).open("/dev/full").expect("a device");
    let mut to_stdout = project.basegen("list");
    to_stdout.stdout(full());
    let mut to_outputs = project.basegen("plan --format github --offline");
    to_outputs.env("GITHUB_OUTPUT", "/dev/full");
    let errors = [to_stdout, to_outputs].map(|mut command| {
        let output = command.output().expect("the command runs");
        assert_eq!(output.status.code(), Some(1), "{command:?}");
        String::from_utf8(output.stderr).expect("UTF-8")
    });
    insta::assert_snapshot!(errors.join("----\n"));
}
