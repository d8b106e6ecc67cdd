//! What the words look like, and where they go: to a place that was found good before anything was asked.

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::Path,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_bytes};
use anyhow::Context;
use checks::net::Deadline;

use self::place::Place;
pub(crate) use self::place::endure_limits;
use crate::{
    cli::{Color, Options},
    render::Page,
};

mod place;

/// The width where there is no terminal and no `$COLUMNS`.
const DEFAULT_WIDTH: usize = 100;

/// Below this a table is no table; a terminal this narrow breaks the lines itself.
const LEAST_WIDTH: usize = 60;

/// Where the words go, and what they should look like there.
pub(crate) struct Output {
    place: Place,
    page: Page,
    is_coloured: bool,
}

impl Output {
    /// As the options say. The old contents of a file stay until there is a new report.
    pub(crate) fn open(options: &Options, deadline: Deadline) -> anyhow::Result<Self> {
        let unfit = |path: &Path| format!("--output {}: expected a file that can be written", path.display());
        let place = match &options.output {
            Some(path) => Place::open(path, deadline).with_context(|| unfit(path))?,
            None => Place::Standard,
        };
        Ok(Self::to(place, options.color, options.verbose))
    }

    /// Standard output, for what is no report.
    pub(crate) fn standard() -> Self {
        Self::to(Place::Standard, Color::Auto, false)
    }

    fn to(place: Place, color: Color, is_verbose: bool) -> Self {
        let is_standard = matches!(place, Place::Standard);
        let is_coloured = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => is_standard && AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        };
        let page = Page { width: width(is_standard), is_verbose };
        Self { place, page, is_coloured }
    }

    /// Writes what `render` writes, without its colours where they do not belong.
    pub(crate) fn write(self, render: impl FnOnce(&Page, &mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut styled = Vec::new();
        render(&self.page, &mut styled)?;
        let text = if self.is_coloured { styled } else { strip_bytes(&styled).into_vec() };
        match self.place.write(&text) {
            // Who closes the pipe (`| head`) has read enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            written => written,
        }
    }
}

fn width(is_standard: bool) -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0));
    let shown = terminal.filter(|_| is_standard && io::stdout().is_terminal());
    let told = || env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    shown.or_else(told).unwrap_or(DEFAULT_WIDTH).clamp(LEAST_WIDTH, usize::from(u16::MAX))
}
