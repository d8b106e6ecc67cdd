//! The report for programs.

use std::io::{self, Write};

use checks::Report;

/// Writes the report as one indented JSON object.
pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
