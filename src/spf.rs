//! `spf`: one evaluation of RFC 7208, as receivers do it, and why it came out so.

use std::{
    io::{self, Write},
    net::IpAddr,
    process::ExitCode,
};

use anyhow::Context;
use checks::{Evaluation, Sender, Verdict, check_host, net::Deadline, text};
use syntax::text::line;

use crate::{
    cli::{Identity, Options},
    clock::Clock,
    output::Output,
    render::{BOLD, DIM, Format},
    target,
};

/// Evaluates one sender and writes what came of it.
pub(crate) async fn evaluate(ip: IpAddr, identity: &Identity, options: &Options) -> anyhow::Result<ExitCode> {
    let sender = Sender::new(ip, identity.helo()?, &identity.from, Clock::from_environment()?.now);
    let deadline = Deadline::after(options.timeout);
    let output = Output::open(options, deadline)?;
    let dns = target::dns(options, deadline)?;
    let evaluation = check_host(&dns, &sender).await;
    let written = output.write(|_, out| match options.format {
        Format::Table => table(&evaluation, out),
        Format::Json => json(&evaluation, out),
    });
    written.context("cannot write the evaluation")?;
    Ok(ExitCode::from(match evaluation.verdict {
        Verdict::Pass => 0,
        Verdict::Temperror => 3,
        _ => 1,
    }))
}

fn table(evaluation: &Evaluation, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{BOLD}{}{BOLD:#}", evaluation.verdict)?;
    writeln!(out, "{} at {}", line(&evaluation.because()), line(&evaluation.path.join(" → ")))?;
    if let Some(explanation) = &evaluation.explanation {
        writeln!(out, "{}", line(explanation))?;
    }
    writeln!(out)?;
    evaluation.transcript().lines().try_for_each(|step| writeln!(out, "{}", line(step)))?;
    writeln!(out, "{DIM}{} of 10 lookups, {} of 2 void{DIM:#}", evaluation.lookups, evaluation.void_lookups)
}

fn json(evaluation: &Evaluation, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &text::value(serde_json::to_value(evaluation)?))?;
    writeln!(out)
}
