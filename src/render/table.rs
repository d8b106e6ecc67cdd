//! The report for people: a table by family, the fix under what needs one, the verdict last.

use std::io::{self, Write};

use checks::{Evidence, Finding, Fix, Report, Status};
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets::NOTHING};

use super::{BOLD, DIM, Page, colour};

/// The longest word of a verdict.
const STATUS_WIDTH: usize = "unknown".len();

/// Between columns, and before the first.
const GAP: usize = 2;

/// Where the lines under a finding begin.
const INDENT: usize = GAP + STATUS_WIDTH + GAP;

/// Writes the report as a table of the page's width.
pub(super) fn write(report: &Report, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let id_width = report.findings.iter().map(|finding| finding.check.len()).max().unwrap_or_default();
    writeln!(out, "{BOLD}{}{BOLD:#}", report.subject())?;
    for findings in report.findings.chunk_by(|a, b| family(a) == family(b)) {
        writeln!(out)?;
        heading(findings.first().map_or("", family), page, out)?;
        for (position, finding) in findings.iter().enumerate() {
            writeln!(out, "{}", row(finding, id_width, page))?;
            if page.is_verbose {
                evidence(finding, out)?;
            }
            let fix = shown_fix(finding);
            let is_repeated = fix.is_some() && findings.get(position + 1).and_then(shown_fix) == fix;
            if let Some(fix) = fix.filter(|_| !is_repeated) {
                remedy(fix, page, out)?;
            }
        }
    }
    writeln!(out)?;
    verdict(report, out)
}

fn family(finding: &Finding) -> &'static str {
    finding.check.split('.').next().unwrap_or_default()
}

fn heading(family: &str, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let rule = "─".repeat(page.width.saturating_sub(family.len() + 1));
    writeln!(out, "{BOLD}{family}{BOLD:#} {DIM}{rule}{DIM:#}")
}

/// The lines of one finding: its verdict, its check, and what there is to say.
fn row(finding: &Finding, id_width: usize, page: &Page) -> String {
    let tone = colour(finding.status);
    let verdict = format!("{tone}{}{tone:#}", finding.status.word());
    let said = match &finding.subject {
        Some(subject) if !finding.message.starts_with(subject.as_str()) => {
            format!("{BOLD}{subject}{BOLD:#}: {}", finding.message)
        }
        _ => finding.message.clone(),
    };
    let said_width = page.width.saturating_sub(INDENT + id_width + GAP);
    columns(&[("", GAP), (&verdict, STATUS_WIDTH + GAP), (finding.check, id_width + GAP), (&said, said_width)])
}

/// Text filled to `width`, every line indented.
pub(crate) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    columns(&[("", indent), (text, width.saturating_sub(indent))])
}

/// Texts side by side, each filled to its width.
fn columns(texts: &[(&str, usize)]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.add_row(texts.iter().map(|(text, _)| *text));
    for (column, (_, width)) in table.column_iter_mut().zip(texts) {
        let width = u16::try_from(*width).unwrap_or(u16::MAX);
        column.set_padding((0, 0)).set_constraint(ColumnConstraint::Absolute(Width::Fixed(width)));
    }
    table.trim_fmt()
}

fn evidence(finding: &Finding, out: &mut dyn Write) -> io::Result<()> {
    for Evidence { command, output } in &finding.evidence {
        writeln!(out, "{:INDENT$}{DIM}$ {command}{DIM:#}", "")?;
        for line in output.lines() {
            writeln!(out, "{:INDENT$}{DIM}  {line}{DIM:#}", "")?;
        }
    }
    writeln!(out, "{:INDENT$}{DIM}{}{DIM:#}", "", finding.reference)
}

/// The fix of what is not as it should be.
fn shown_fix(finding: &Finding) -> Option<&Fix> {
    finding.fix.as_ref().filter(|_| matches!(finding.status, Status::Warn | Status::Unknown | Status::Fail))
}

/// A sentence is filled like the rest; what is there to be pasted keeps its lines.
fn remedy(fix: &Fix, page: &Page, out: &mut dyn Write) -> io::Result<()> {
    let (label, text) = match fix {
        Fix::Advice(text) => return writeln!(out, "{}", wrapped(&format!("fix: {text}"), INDENT, page.width)),
        Fix::Zone(text) => ("fix, in the zone:", text),
        Fix::Shell(text) => ("fix, in a shell:", text),
    };
    writeln!(out, "{:INDENT$}{label}", "")?;
    text.lines().try_for_each(|line| writeln!(out, "{:INDENT$}{BOLD}{line}{BOLD:#}", ""))
}

/// `2 fail, 1 warn, 21 pass: not ready`.
fn verdict(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let judged =
        report.counts.gravest_first().into_iter().filter(|(count, status)| *count > 0 && *status != Status::Skip);
    let counts: Vec<String> = judged
        .map(|(count, status)| {
            let tone = colour(status);
            format!("{tone}{count} {}{tone:#}", status.word())
        })
        .collect();
    let conclusion = match report.status {
        Status::Fail => "not ready",
        Status::Unknown => "could not find out everything",
        Status::Warn => "ready, with warnings",
        Status::Pass => "ready",
        Status::Skip => "nothing to judge",
    };
    let tone = colour(report.status);
    let counts = if counts.is_empty() { String::new() } else { format!("{}: ", counts.join(", ")) };
    let skipped = match report.counts.skip {
        0 => String::new(),
        skipped => format!(" {DIM}({skipped} skipped){DIM:#}"),
    };
    writeln!(out, "{counts}{tone}{conclusion}{tone:#}{skipped}")
}
