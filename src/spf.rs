//! `spf`: one evaluation of RFC 7208, as receivers do it, and why it came out so.

use std::{
    io::{self, Write},
    net::IpAddr,
    process::ExitCode,
};

use anyhow::Context;
use checks::{Evaluation, Sender, Verdict, check_host, net::Deadline, second_opinion, text};
use serde::Serialize;
use syntax::text::line;

use crate::{
    cli::{Identity, Options},
    clock::Clock,
    output::Output,
    render::{BOLD, DIM, Format},
    target,
};

/// What is told: our evaluation, and what mail-auth makes of the same sender where it was asked.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    second_opinion: Option<Verdict>,
}

/// Evaluates one sender and writes what came of it.
pub(crate) async fn evaluate(ip: IpAddr, identity: &Identity, options: &Options) -> anyhow::Result<ExitCode> {
    let sender = Sender::new(ip, identity.helo()?, &identity.from, Clock::from_environment()?.now);
    let deadline = Deadline::after(options.timeout);
    let output = Output::open(options, deadline)?;
    let dns = target::dns(options, deadline)?;
    let evaluation = check_host(&dns, &sender).await;
    let second_opinion = if identity.second_opinion { second_opinion(&dns, &sender).await } else { None };
    let answer = Answer { evaluation: &evaluation, second_opinion };
    let written = output.write(|_, out| match options.format {
        Format::Table => table(&answer, out),
        Format::Json => json(&answer, out),
    });
    written.context("cannot write the evaluation")?;
    Ok(ExitCode::from(match evaluation.verdict {
        Verdict::Pass => 0,
        Verdict::Temperror => 3,
        _ => 1,
    }))
}

fn table(answer: &Answer<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Answer { evaluation, second_opinion } = answer;
    writeln!(out, "{BOLD}{}{BOLD:#}", evaluation.verdict)?;
    writeln!(out, "{} at {}", line(&evaluation.because()), line(&evaluation.path.join(" → ")))?;
    if let Some(explanation) = &evaluation.explanation {
        writeln!(out, "{}", line(explanation))?;
    }
    writeln!(out)?;
    evaluation.transcript().lines().try_for_each(|step| writeln!(out, "{}", line(step)))?;
    writeln!(out, "{DIM}{} of 10 lookups, {} of 2 void{DIM:#}", evaluation.lookups, evaluation.void_lookups)?;
    match second_opinion {
        Some(other) if *other == evaluation.verdict => writeln!(out, "{DIM}mail-auth agrees: {other}{DIM:#}"),
        Some(other) => writeln!(out, "mail-auth differs: {other}"),
        None => Ok(()),
    }
}

fn json(answer: &Answer<'_>, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &text::value(serde_json::to_value(answer)?))?;
    writeln!(out)
}
