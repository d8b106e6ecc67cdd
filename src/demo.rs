//! `demo`: a small world on loopback, audited as the real one is.

use std::{iter, process::ExitCode};

use anyhow::{Context, bail};
use fixtures::World;

use crate::{
    cli::{self, Choice, Command, Options},
    clock::Clock,
};

/// Opens a world and runs the command line that it brings, written the way the user wants it.
pub(crate) async fn audit(name: &str, choice: Choice, wanted: Options) -> anyhow::Result<ExitCode> {
    let Some(world) = World::embedded(name) else {
        bail!("no world {name:?}: there are {}", World::embedded_names().join(", "));
    };
    let theatre = world.open(Clock::from_environment()?.now).await.context("cannot serve the world on loopback")?;
    let args = iter::once("mail-preflight".to_owned()).chain(theatre.args());
    match cli::command(args)? {
        Command::Check { subject, options, .. } => {
            let resolver = if wanted.resolver.is_empty() { options.resolver } else { wanted.resolver };
            // Made-up credentials: no refusal of theirs is remembered.
            crate::audit(*subject, choice, Options { resolver, ..wanted }, None).await
        }
        _ => bail!("the world {name:?} is not made for an audit"),
    }
}
