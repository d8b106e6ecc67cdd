//! The formats of a report, and which function writes each.

mod json;
pub(crate) mod table;

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use checks::{Report, Status};
use clap::ValueEnum;

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();

/// How a report is written: for people, or for programs.
#[derive(Clone, Copy, Default, ValueEnum)]
pub(crate) enum Format {
    #[default]
    Table,
    Json,
}

/// What a format has to know about where its words go.
pub(crate) struct Page {
    /// In columns.
    pub(crate) width: usize,
    /// Whether the evidence is wanted.
    pub(crate) is_verbose: bool,
}

impl Format {
    /// Writes the report in this format. Colours are always written: [`Output`](crate::output::Output) takes them off.
    pub(crate) fn write(self, report: &Report, page: &Page, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Table => table::write(report, page, out),
            Self::Json => json::write(report, out),
        }
    }
}

/// The colour of a verdict.
fn colour(status: Status) -> Style {
    match status {
        Status::Pass => AnsiColor::Green.on_default(),
        Status::Warn => AnsiColor::Yellow.on_default().bold(),
        Status::Fail => AnsiColor::Red.on_default().bold(),
        Status::Unknown => AnsiColor::Magenta.on_default().bold(),
        Status::Skip => DIM,
    }
}
