//! `basegen merge`: makes one release of the images that several jobs have staged.

use crate::error::{ExitCode, Report};
use crate::ops::build::Ended;
use crate::ops::merge::{Merge, MergeRequest};

use super::args::MergeArgs;
use super::{Session, build, progress, selection};

pub(super) fn run(args: &MergeArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let plan = selection::plan(context, &args.selection, &args.naming)?;
    let request = MergeRequest {
        files: args.files.clone(),
        push: args.push,
        overwrite: args.overwrite,
        metadata_file: args.metadata_file.clone(),
    };
    let merge = Merge::new(context, &plan, request)?;
    let report = progress::report(&args.display, session, merge.mask()?)?;
    let ended = match context.block_on_cancellable(merge.run(&report))? {
        None | Some(Ended::Unfinished(_)) => return Ok(ExitCode::Interrupted),
        Some(ended) => ended,
    };
    let (record, is_tagged) = (report.record(), matches!(ended, Ended::Tagged(_)));
    build::show(&plan, &record, is_tagged, printer);
    report.conclude(is_tagged);
    merge.write_outcome(&ended, &record, &report.events())?;
    Ok(ExitCode::Success)
}
