//! Where the words go: a file that was opened before anything was asked, or standard output.

use std::{
    env,
    fs::{File, OpenOptions},
    io::{self, IsTerminal, Write},
};

use anstream::{AutoStream, ColorChoice, adapter::strip_bytes};
use anyhow::Context;

use crate::{
    cli::{Color, Options},
    render::Page,
};

/// The width where there is no terminal and no `$COLUMNS`.
const DEFAULT_WIDTH: usize = 100;

/// Below this a table is no table; a terminal this narrow breaks the lines itself.
const LEAST_WIDTH: usize = 60;

/// Where the words go, and what they should look like there.
pub(crate) struct Output {
    file: Option<File>,
    page: Page,
    is_coloured: bool,
}

impl Output {
    /// As the options say. The old contents of a file stay until there is a new report.
    pub(crate) fn open(options: &Options) -> anyhow::Result<Self> {
        let open = |path| OpenOptions::new().write(true).create(true).truncate(false).open(path);
        let file = options.output.as_ref().map(|path| {
            open(path).with_context(|| format!("--output {}: expected a file that can be written", path.display()))
        });
        Ok(Self::to(file.transpose()?, options.color, options.verbose))
    }

    /// Standard output, for what is no report.
    pub(crate) fn standard() -> Self {
        Self::to(None, Color::Auto, false)
    }

    fn to(file: Option<File>, color: Color, is_verbose: bool) -> Self {
        let is_coloured = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => file.is_none() && AutoStream::choice(&io::stdout()) != ColorChoice::Never,
        };
        let page = Page { width: width(file.is_none()), is_verbose };
        Self { file, page, is_coloured }
    }

    /// Writes what `render` writes, without its colours where they do not belong.
    pub(crate) fn write(self, render: impl FnOnce(&Page, &mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut styled = Vec::new();
        render(&self.page, &mut styled)?;
        let text = if self.is_coloured { styled } else { strip_bytes(&styled).into_vec() };
        match self.file {
            Some(file) => replace(file, &text),
            None => tolerant(print(&text)),
        }
    }
}

fn replace(mut file: File, text: &[u8]) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text)
}

fn print(text: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text)?;
    stdout.flush()
}

/// Who closes the pipe (`| head`) has read enough.
fn tolerant(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn width(is_standard: bool) -> usize {
    let terminal = terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| usize::from(columns.0));
    let shown = terminal.filter(|_| is_standard && io::stdout().is_terminal());
    let told = || env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    shown.or_else(told).unwrap_or(DEFAULT_WIDTH).clamp(LEAST_WIDTH, usize::from(u16::MAX))
}
