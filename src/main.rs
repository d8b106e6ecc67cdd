//! Audits DNS and the SMTP relay before go-live: the whole flow.

mod cli;
mod clock;
mod demo;
mod evidence;
mod explain;
mod lockout;
mod output;
mod progress;
mod prompt;
mod render;
mod secret;
mod spf;
mod target;

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Instant,
};

use anyhow::{Context as _, ensure};
use checks::{
    Context, Plan, Report,
    net::{Deadline, Net},
};
use syntax::text::line;

use crate::{
    cli::{Command, Subject},
    clock::Clock,
    lockout::Lockout,
    output::Output,
};

/// How much of a complaint is shown, in octets.
const LONGEST_COMPLAINT: usize = 1000;

fn main() -> ExitCode {
    output::endure_limits();
    match cli::command(std::env::args_os()).and_then(run) {
        Ok(code) => code,
        Err(error) => {
            let complaint = readable(&line(&format!("{error:#}")));
            // Where stderr is closed there is nobody left to tell.
            let _ = writeln!(io::stderr(), "mail-preflight: {complaint}");
            ExitCode::from(2)
        }
    }
}

/// A complaint without its middle where that is longer than anybody reads: it begins with what is wrong, goes on with what was
/// typed, and ends with what was expected.
fn readable(complaint: &str) -> String {
    if complaint.len() <= LONGEST_COMPLAINT {
        return complaint.to_owned();
    }
    let (head, tail) = (
        complaint.floor_char_boundary(LONGEST_COMPLAINT / 2),
        complaint.ceil_char_boundary(complaint.len() - LONGEST_COMPLAINT / 2),
    );
    let part = |range: Option<&str>| range.unwrap_or_default().to_owned();
    format!("{} … {}", part(complaint.get(..head)), part(complaint.get(tail..)))
}

fn run(command: Command) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Check { subject, choice, options } => {
            runtime.block_on(audit(*subject, choice, options, Some(Lockout::of_user())))
        }
        Command::Spf { ip, identity, options } => runtime.block_on(spf::evaluate(ip, &identity, &options)),
        Command::Demo { world, choice, options } => runtime.block_on(demo::audit(&world, choice, options)),
        Command::List => explain::list(),
        Command::Explain { check } => explain::explain(&check),
    }
}

/// What was typed becomes a target, the target a plan, the plan a report, the report an exit code.
async fn audit(
    subject: Subject,
    choice: cli::Choice,
    options: cli::Options,
    lockout: Option<Lockout>,
) -> anyhow::Result<ExitCode> {
    let clock = Clock::from_environment()?;
    let plan = Plan::new(&choice.only, &choice.skip)
        .map_err(|unknown| anyhow::anyhow!("no check or family {:?}: did you mean {}?", unknown.id, unknown.nearest))?;
    ensure!(!plan.is_empty(), "--only and --skip leave nothing to check: see 'mail-preflight list'");
    let is_forced = subject.login.force;
    let mut deadline = Deadline::after(options.timeout);
    let mut target = target::target(subject, &mut deadline)?;
    let output = Output::open(&options, deadline)?;

    let started = Instant::now();
    if let Some(lockout) = lockout {
        let barred_until = lockout.barred_until(&target, clock.now).filter(|_| !is_forced);
        let guard = lockout.guard(&target, move || clock.now + clock.elapsed(started), is_forced);
        if let Some(credentials) = &mut target.sasl {
            (credentials.barred_until, credentials.guard) = (barred_until, guard);
        }
    }
    let dns = target::dns(&options, deadline)?.allowing(target.further_questions());
    let cx = Context { target, net: Net::new(dns, deadline), now: clock.now };
    let findings = progress::shown(&plan, &cx).await;
    let elapsed = clock.elapsed(started);
    let report = Report::new(&cx, elapsed, findings).await;

    output.write(|page, out| options.format.write(&report, page, out)).context("cannot write the report")?;
    Ok(ExitCode::from(exit_code(&report, choice.strict)))
}

/// A failure outweighs what could not be found out: the admin has something to do already.
fn exit_code(report: &Report, strict: bool) -> u8 {
    match report.counts {
        counts if counts.fail > 0 || (strict && counts.warn > 0) => 1,
        counts if counts.unknown > 0 => 3,
        _ => 0,
    }
}
