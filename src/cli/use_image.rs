//! `basegen use`: prints the configuration of a platform for a published image.

use crate::error::{ExitCode, Report};
use crate::ops::use_image::{self, ServerRequest, UseRequest};

use super::Session;
use super::args::{ServerArgs, UseArgs};

pub(super) fn run(args: &UseArgs, session: &Session) -> Result<ExitCode, Report> {
    let Session { context, printer, .. } = session;
    let request = UseRequest {
        variant: args.variant.clone(),
        platform: args.platform.into(),
        naming: args.naming.naming()?,
        auth_method: args.auth_method.map(Into::into),
        server: args.server.request(),
    };
    let configuration = context.block_on(use_image::run(context, request))?;
    printer.result(&configuration.text);
    for warning in configuration.warnings {
        printer.message(&format!("warning: {warning}"));
    }
    Ok(ExitCode::Success)
}

impl ServerArgs {
    /// Returns the requested server, if any option describes one.
    fn request(&self) -> Option<ServerRequest> {
        let Self { server, start_command, port, predict_endpoint, health_endpoint, no_build } =
            self.clone();
        let has_option = start_command.is_some()
            || port.is_some()
            || predict_endpoint.is_some()
            || health_endpoint.is_some();
        (server || no_build || has_option).then(|| ServerRequest {
            start_command,
            port,
            predict_endpoint: predict_endpoint.unwrap_or_else(|| "/predict".to_owned()),
            health_endpoint: health_endpoint.unwrap_or_else(|| "/health".to_owned()),
            no_build,
        })
    }
}
