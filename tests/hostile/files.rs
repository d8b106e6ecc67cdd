//! Files, signals and devices.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt, symlink},
        process::ExitStatusExt,
    },
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use fixtures::World;
use pty_process::blocking::Pty;
use rustix::{
    fs::{CWD, FileType, Mode, mknodat},
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
    termios::{LocalModes, tcgetattr},
};
use tempfile::TempDir;

use super::villain::{Resolver, Run, finished, program, run};

/// Nobody listens here: whoever gets as far as asking has taken its input.
const NOBODY: [&str; 2] = ["--resolver", "127.0.0.1:1"];

const RELAY: [&str; 4] = ["check", "m.example.test", "--relay", "[127.0.0.1]:1"];

fn fifo(folder: &TempDir, name: &str) -> PathBuf {
    let path = folder.path().join(name);
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

/// The command lines that read `file`, by every option that names one.
fn readers(file: &Path) -> Vec<Vec<String>> {
    let file = file.display();
    [
        format!("--sasl-user a --sasl-password-file {file}"),
        format!("--sasl-user a --sasl-token-file {file}"),
        format!("--dkim-key s={file}"),
        format!("--message {file}"),
        format!("--ca-file {file}"),
        format!("--ca-path {file}"),
    ]
    .into_iter()
    .map(|options| RELAY.into_iter().chain(NOBODY).chain(options.split(' ')).map(str::to_owned).collect())
    .collect()
}

/// Exit code 2, and one line that names `culprit`.
fn assert_refused(seen: &Run, culprit: &str, line: &[String]) {
    assert_eq!((seen.code, seen.stdout.as_str()), (Some(2), ""), "{line:?}: {seen:?}");
    assert!(seen.stderr.lines().count() == 1 && seen.stderr.contains(culprit), "{line:?}: {seen:?}");
}

#[test]
fn a_file_without_an_end_is_not_read_to_it() {
    let folder = TempDir::new().unwrap();
    let (silent, drip) = (fifo(&folder, "silent"), fifo(&folder, "drip"));
    let end = drip.clone();
    thread::spawn(move || {
        loop {
            // Whoever has read enough closes the pipe; the next one comes.
            let mut pipe = OpenOptions::new().write(true).open(&end).unwrap();
            while pipe.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }
    });
    let runs = [silent.as_path(), &drip, Path::new("/dev/zero"), Path::new("/proc"), folder.path()]
        .into_iter()
        .flat_map(|file| readers(file).into_iter().map(move |line| (file.display().to_string(), line)));
    let runs: Vec<_> = runs
        .map(|(file, line)| {
            thread::spawn(move || {
                let seen = finished(program().args(&line).args(["--timeout", "1s"]));
                assert_refused(&seen, &file, &line);
                // A message may have 50 MiB.
                assert!(seen.peak < 200 << 20, "{line:?}: {} octets", seen.peak);
            })
        })
        .collect();
    runs.into_iter().for_each(|run| run.join().unwrap());
}

/// A world of `fixtures/`, audited by the program with an environment.
async fn audited(world: &str, environment: &[(&str, &str)]) -> Run {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(world);
    let now = UNIX_EPOCH + Duration::from_secs(1_795_186_800);
    let theatre = World::read(&folder).unwrap().open(now).await.unwrap();
    let mut program = program();
    program.args(theatre.args()).env("SOURCE_DATE_EPOCH", "1795186800").envs(environment.iter().copied());
    tokio::task::spawn_blocking(move || finished(&mut program)).await.unwrap()
}

#[tokio::test]
async fn what_the_environment_names_does_not_stop_the_audit() {
    let folder = TempDir::new().unwrap();
    let silent = fifo(&folder, "silent").display().to_string();
    for trusted in [("SSL_CERT_FILE", silent.as_str()), ("SSL_CERT_FILE", "/dev/zero"), ("SSL_CERT_DIR", "/proc")] {
        let seen = audited("mta-sts/all-is-well", &[trusted]).await;
        assert_eq!((seen.code, seen.stderr.as_str()), (Some(0), ""), "{trusted:?}: {seen:?}");
        assert!(seen.peak < 100 << 20, "{trusted:?}: {} octets", seen.peak);
    }
}

#[test]
fn a_pipe_that_somebody_writes_to_is_a_file() {
    let folder = TempDir::new().unwrap();
    let pem = anchor();
    for (number, text) in ["secret\n", "token\n", "", "From: a@example.test\n\nhello\n", &pem].into_iter().enumerate() {
        let pipe = fifo(&folder, &number.to_string());
        let line = readers(&pipe).remove(number);
        if text.is_empty() {
            continue;
        }
        let text = text.to_owned();
        let writer = thread::spawn(move || {
            let mut pipe = OpenOptions::new().write(true).open(pipe).unwrap();
            let (first, rest) = text.split_at(text.len() / 2);
            pipe.write_all(first.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(50));
            pipe.write_all(rest.as_bytes()).unwrap();
            // Of a password the first line is enough.
            thread::sleep(Duration::from_millis(if number < 2 { 500 } else { 0 }));
        });
        let seen = finished(program().args(&line).args(["--only", "relay.banner", "--timeout", "10s"]));
        assert_eq!(seen.code, Some(3), "{line:?}: {seen:?}");
        writer.join().unwrap();
    }
}

/// The anchor of a world, as good a certificate as any.
fn anchor() -> String {
    let world = World::embedded("healthy").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let theatre = runtime.block_on(world.open(SystemTime::now())).unwrap();
    fs::read_to_string(theatre.scratch().join("ca-file")).unwrap()
}

/// The program with limits that a shell sets.
fn limited(limits: &str, args: &[&str]) -> Run {
    let mut shell = Command::new("/bin/sh");
    let line = format!("{limits}; exec \"$0\" \"$@\"");
    shell.env_clear().stdin(Stdio::null()).args(["-c", &line, env!("CARGO_BIN_EXE_mail-preflight")]).args(args);
    finished(&mut shell)
}

fn entries(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

#[test]
fn a_report_replaces_the_old_one_whole_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let (report, link) = (folder.path().join("report.json"), folder.path().join("link.json"));
    fs::write(&report, "the old one").unwrap();
    fs::set_permissions(&report, Permissions::from_mode(0o640)).unwrap();
    symlink("report.json", &link).unwrap();
    let line = ["demo", "--format", "json", "--output", link.to_str().unwrap()];

    let seen = limited("ulimit -f 8", &line);
    assert_eq!(seen.code, Some(2), "{seen:?}");
    assert!(seen.stderr.lines().count() == 1 && seen.stderr.contains("cannot write the report"), "{seen:?}");
    assert_eq!(fs::read_to_string(&report).unwrap(), "the old one");
    assert_eq!(entries(folder.path()), 2, "a draft is left behind");

    let before = fs::metadata(&report).unwrap();
    let mut reader = File::open(&report).unwrap();
    let seen = run(&line);
    assert_eq!((seen.code, seen.stdout.as_str(), seen.stderr.as_str()), (Some(0), "", ""), "{seen:?}");
    let written: serde_json::Value = serde_json::from_slice(&fs::read(&report).unwrap()).unwrap();
    assert_eq!(written["status"], "pass");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let after = fs::metadata(&report).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(entries(folder.path()), 2, "a draft is left behind");
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "the old one", "whoever reads it reads half of it");
}

#[test]
fn what_is_no_file_is_written_as_it_is() {
    let folder = TempDir::new().unwrap();
    let output = |path: &str| run(&["demo", "--format", "json", "--output", path]);
    let is_report = |text: &str| serde_json::from_str::<serde_json::Value>(text).is_ok();
    let seen = output("/dev/stdout");
    assert!(seen.code == Some(0) && is_report(&seen.stdout), "{seen:?}");
    assert_eq!(output("/dev/null").code, Some(0));
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
    let seen = output("/dev/full");
    assert!(seen.code == Some(2) && seen.stderr.contains("cannot write the report"), "{seen:?}");

    let pipe = fifo(&folder, "pipe");
    let read = thread::spawn({
        let pipe = pipe.clone();
        move || fs::read_to_string(pipe).unwrap()
    });
    assert_eq!(output(pipe.to_str().unwrap()).code, Some(0));
    assert!(is_report(&read.join().unwrap()));
    let seen = run(&["demo", "--timeout", "1s", "--output", pipe.to_str().unwrap()]);
    assert!(seen.code == Some(2) && seen.stderr.contains("pipe"), "nobody reads: {seen:?}");

    // What the shell has written there already stays, and what it writes next comes behind.
    let all = folder.path().join("all");
    let line = format!("exec > {}; echo before; \"$0\" \"$@\"; echo after", all.display());
    let shell = Command::new("/bin/sh")
        .args(["-c", &line, env!("CARGO_BIN_EXE_mail-preflight"), "demo", "--output", "/dev/stdout"])
        .status();
    assert!(shell.unwrap().success());
    let text = fs::read_to_string(&all).unwrap();
    assert!(text.starts_with("before\n") && text.contains("ready"), "{text}");
}

#[test]
fn where_nothing_can_be_written_nothing_is_asked() {
    let folder = TempDir::new().unwrap();
    let asked = Resolver::open(|_, _| Vec::new());
    let resolver = asked.address.to_string();
    let inside = folder.path().display();
    for output in
        [format!("{inside}"), format!("{inside}/none/report"), format!("{inside}/report/"), "/proc/report".into()]
    {
        let line = ["check", "m.example.test", "--timeout", "2s", "--resolver", &resolver, "--output", &output];
        let seen = run(&line);
        assert_refused(&seen, &output, &line.map(str::to_owned));
    }
    assert_eq!((asked.asked(), entries(folder.path())), (0, 0));
}

#[test]
fn a_full_device_is_an_error_and_a_closed_pipe_is_none() {
    for line in [
        &["--help"][..],
        &["--version"],
        &["check", "--help"],
        &["list"],
        &["explain", "hostname"],
        &["demo"],
        &["demo", "--format", "json"],
        &["spf", "192.0.2.1", "--helo", "x.test", "--resolver", "127.0.0.1:1"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let said = program().args(line).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let complaint = String::from_utf8(said.stderr).unwrap();
        assert_eq!(said.status.code(), Some(2), "{line:?}: {complaint}");
        assert_eq!(complaint.lines().count(), 1, "{line:?}: {complaint}");
        assert!(complaint.contains("cannot write"), "{line:?}: {complaint}");

        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = program().args(line).stdout(writer).stderr(Stdio::piped()).output().unwrap();
        assert!(matches!(said.status.code(), Some(0 | 3)), "{line:?}: {said:?}");
        assert_eq!(String::from_utf8(said.stderr).unwrap(), "", "{line:?}");
    }
}

/// With stacks that no machine has room for, every thread is refused.
#[tokio::test]
async fn an_audit_needs_no_threads() {
    let stack = (1_u64 << 46).to_string();
    for world in ["sasl/scram-sha-256", "mta-sts/all-is-well"] {
        let seen = audited(world, &[("RUST_MIN_STACK", &stack)]).await;
        assert_eq!((seen.code, seen.stderr.as_str()), (Some(0), ""), "{world}: {seen:?}");
    }
    // Long enough for the progress to be shown.
    let silent = Resolver::open(|_, _| Vec::new());
    let args = ["check", "m.example.test", "--timeout", "2s", "--resolver", &silent.address.to_string()];
    let seen = finished(program().args(args).env("RUST_MIN_STACK", &stack));
    assert_eq!((seen.code, seen.stderr.as_str()), (Some(3), ""), "{seen:?}");
}

fn echoes(terminal: &Pty) -> bool {
    tcgetattr(terminal).unwrap().local_modes.contains(LocalModes::ECHO)
}

/// Whatever this machine is short of, a healthy world is never found to be wrong.
#[tokio::test]
async fn a_machine_short_of_descriptors_proves_nothing() {
    let now = UNIX_EPOCH + Duration::from_secs(1_795_186_800);
    for descriptors in 5..25 {
        let theatre = World::embedded("healthy").unwrap().open(now).await.unwrap();
        let args = theatre.args();
        let run = move || {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            limited(&format!("export SOURCE_DATE_EPOCH=1795186800; ulimit -n {descriptors}"), &args)
        };
        let seen = tokio::task::spawn_blocking(run).await.unwrap();
        let is_said = seen.code != Some(2) || seen.stderr.lines().count() == 1;
        assert!(is_said && matches!(seen.code, Some(0 | 2 | 3)), "{descriptors}: {seen:?}");
    }
}

/// The program at its password prompt.
struct Prompt {
    terminal: Pty,
    child: std::process::Child,
    said: Vec<u8>,
}

impl Prompt {
    fn open() -> Self {
        let (terminal, child_side) = pty_process::blocking::open().unwrap();
        let program = pty_process::blocking::Command::new(env!("CARGO_BIN_EXE_mail-preflight"));
        let args = ["--sasl-user", "alice", "--only", "relay.banner", "--timeout", "5s"];
        assert!(echoes(&terminal));
        let child = program.args(RELAY).args(NOBODY).args(args).env_clear().spawn(child_side).unwrap();
        let mut prompt = Self { terminal, child, said: Vec::new() };
        prompt.read_to(": ");
        assert!(!prompt.echoes());
        prompt
    }

    fn echoes(&self) -> bool {
        echoes(&self.terminal)
    }

    fn read_to(&mut self, end: &str) {
        self.said.clear();
        let mut octet = [0];
        while !self.said.ends_with(end.as_bytes()) {
            self.terminal.read_exact(&mut octet).unwrap();
            self.said.extend(octet);
        }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn end(mut self) -> ExitStatus {
        let mut rest = Vec::new();
        let _ = self.terminal.read_to_end(&mut rest);
        self.child.wait().unwrap()
    }
}

#[test]
fn a_signal_at_the_prompt_leaves_a_terminal_that_echoes() {
    for (key, signal) in [(b"\x03", Signal::INT), (b"\x1c", Signal::QUIT)] {
        let mut prompt = Prompt::open();
        prompt.terminal.write_all(key).unwrap();
        prompt.read_to("\n");
        assert!(prompt.echoes(), "{signal:?}");
        assert_eq!(prompt.end().signal(), Some(signal.as_raw()));
    }
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut prompt = Prompt::open();
        kill_process(prompt.pid(), signal).unwrap();
        prompt.read_to("\n");
        assert!(prompt.echoes(), "{signal:?}");
        assert_eq!(prompt.end().signal(), Some(signal.as_raw()));
    }
}

#[test]
fn a_stop_at_the_prompt_is_no_end_of_it() {
    for stop in [Signal::TSTP, Signal::STOP] {
        let mut prompt = Prompt::open();
        kill_process(prompt.pid(), stop).unwrap();
        let stopped = waitpid(Some(prompt.pid()), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(stopped.1.stopped(), "{stop:?}");
        assert_eq!(prompt.echoes(), stop == Signal::TSTP);
        kill_process(prompt.pid(), Signal::CONT).unwrap();
        prompt.read_to("alice: ");
        assert!(!prompt.echoes(), "{stop:?}");
        prompt.terminal.write_all(b"secret\n").unwrap();
        assert_eq!(prompt.end().code(), Some(3), "{stop:?}");
    }
}

#[test]
fn a_signal_after_the_prompt_does_what_it_always_does() {
    let mut prompt = Prompt::open();
    prompt.terminal.write_all(b"secret\n").unwrap();
    prompt.read_to("\n");
    assert!(prompt.echoes());
    let _ = kill_process(prompt.pid(), Signal::TERM);
    let status = prompt.end();
    assert!(status.signal() == Some(Signal::TERM.as_raw()) || status.code() == Some(3), "{status:?}");
}
