//! `list` and `explain`, printed from the doc comments of the checks and from the table of replies.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::{Context, bail};
use checks::{
    Check, Plan,
    replies::{Quote, Row, explanations},
};

use crate::{
    output::Output,
    render::{BOLD, DIM, Page, table::wrapped},
};

/// Every check, one line each.
pub(crate) fn list() -> anyhow::Result<ExitCode> {
    let width = checks::all().map(|check| check.id.len()).max().unwrap_or_default();
    print(|_, out| checks::all().try_for_each(|check| writeln!(out, "{:width$}  {}", check.id, check.title())))
}

/// What one check, each check of a family, or a reply means.
pub(crate) fn explain(id: &str) -> anyhow::Result<ExitCode> {
    if let Some(quote) = Quote::parse(id) {
        let meant = explanations(&quote);
        return print(|page, out| meanings(&quote, &meant, page, out));
    }
    let named: Vec<&Check> = checks::all().filter(|check| check.id == id || check.family() == id).collect();
    if let (true, Err(unknown)) = (named.is_empty(), Plan::new(&[id.to_owned()], &[])) {
        bail!(
            "no check or family {id:?}, and no SMTP reply as \"550 5.7.1 text\" is: did you mean {}?",
            unknown.nearest
        );
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

/// The reply, and all that it may mean.
fn meanings(quote: &Quote, rows: &[&Row], page: &Page, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{BOLD}{quote}{BOLD:#}")?;
    if rows.len() > 1 {
        let why = match quote.is_bare() {
            true => "This code has more than one meaning; the words beside it would tell which:",
            false => "This code has more than one meaning, and these words are not known to tell which:",
        };
        writeln!(out)?;
        writeln!(out, "{}", wrapped(why, 2, page.width))?;
    }
    for row in rows {
        writeln!(out)?;
        meaning(row, page, out)?;
    }
    Ok(())
}

fn meaning(row: &Row, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let said = match row.whose {
        Some(whose) => format!("{whose}: {}", row.meaning),
        None => capitalized(row.meaning),
    };
    writeln!(out, "{}", wrapped(&said, 2, page.width))?;
    writeln!(out, "{}", wrapped(&format!("Fix: {}", row.remedy), 2, page.width))?;
    for check in checks::all().filter(|check| row.checks.contains(&check.id)) {
        writeln!(
            out,
            "{}",
            wrapped(
                &format!("Found beforehand by {}: {}", check.id, check.title().trim_end_matches('.')),
                2,
                page.width
            )
        )?;
    }
    let checked = match row.checked {
        _ if row.source.starts_with("RFC ") => String::new(),
        Some(date) => format!(", read {date}"),
        None => ", not compared with it word by word".to_owned(),
    };
    writeln!(out, "  {DIM}{}{checked}{DIM:#}", row.source)
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
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
