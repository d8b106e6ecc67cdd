//! `list` and `explain`, printed from the doc comments of the checks.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use checks::{Check, Plan};

use crate::{
    output::Output,
    render::{BOLD, DIM, Page, table::wrapped},
};

/// Every check, one line each.
pub(crate) fn list() -> anyhow::Result<ExitCode> {
    let width = checks::all().map(|check| check.id.len()).max().unwrap_or_default();
    print(|_, out| checks::all().try_for_each(|check| writeln!(out, "{:width$}  {}", check.id, check.title())))
}

/// What one check, or each check of a family, means.
pub(crate) fn explain(id: &str) -> anyhow::Result<ExitCode> {
    let named: Vec<&Check> = checks::all().filter(|check| check.id == id || check.family() == id).collect();
    if let (true, Err(unknown)) = (named.is_empty(), Plan::new(&[id.to_owned()], &[])) {
        bail!("no check or family {id:?}: did you mean {}?", unknown.nearest);
    }
    print(|page, out| {
        for (position, check) in named.iter().enumerate() {
            if position > 0 {
                writeln!(out)?;
            }
            entry(check, page, out)?;
        }
        Ok(())
    })
}

fn print(render: impl FnOnce(&Page, &mut dyn Write) -> io::Result<()>) -> anyhow::Result<ExitCode> {
    Output::standard().write(render).context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}

fn entry(check: &Check, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{BOLD:#}  {}", check.id, check.title())?;
    writeln!(out)?;
    paragraphs(&check.explanation(), page, out)?;
    writeln!(out, "{BOLD}Fix{BOLD:#}")?;
    writeln!(out)?;
    paragraphs(&check.remedy(), page, out)?;
    writeln!(out, "{DIM}{}{DIM:#}", check.reference)
}

/// Paragraphs filled to the width; lists and code keep their lines.
fn paragraphs(text: &str, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    for paragraph in text.split("\n\n") {
        let keeps_lines =
            paragraph.lines().any(|line| ["- ", "* ", "| ", "    ", "```"].iter().any(|mark| line.starts_with(mark)));
        let filled = if keeps_lines { paragraph.to_owned() } else { paragraph.replace('\n', " ") };
        writeln!(out, "{}", wrapped(&filled, 2, page.width))?;
        writeln!(out)?;
    }
    Ok(())
}
