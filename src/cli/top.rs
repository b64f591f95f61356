//! `narthex top`: routes and pods, live, in a terminal.

mod draw;
mod view;

use super::ask::{AdminArgs, escape};
use crate::admin::{Overview, Page, RouteInfo};
use anyhow::{Context, bail};
use clap::Args;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use std::io::IsTerminal;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};
use view::{Next, Question, View};

/// Routes that are shown: more than anybody looks through.
const MOST: usize = 200;
/// How often the keyboard is looked at.
const FRAME: Duration = Duration::from_millis(100);

/// Flags of `top`.
#[derive(Args, Debug)]
pub struct TopArgs {
    /// Show only routes that contain all of these words in host, path, Ingress, Service or pods
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,
    /// The narthex to ask.
    #[command(flatten)]
    pub admin: AdminArgs,
    /// Interval between updates
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = humantime::parse_duration)]
    pub interval: Duration,
}

/// What one round of questions has told.
#[derive(Debug)]
pub struct Snapshot {
    overview: Overview,
    routes: Page<RouteInfo>,
    at: Instant,
}

/// Shows until told to end.
///
/// # Errors
/// Without a terminal, or when nobody answers the first time.
pub fn run(args: &TopArgs) -> anyhow::Result<ExitCode> {
    if !std::io::stdout().is_terminal() {
        bail!("top needs a terminal: `narthex routes` prints the same once");
    }
    let mut view = View::new(args.words.join(" "));
    // What is wrong with --admin is better said on a plain screen.
    view.told(Ok(ask(&args.admin, &view.question())?));
    let (questions, asked) = mpsc::sync_channel(8);
    let (answers, told) = mpsc::sync_channel(1);
    let (admin, first) = (args.admin.clone(), view.question());
    let interval = args.interval.max(FRAME);
    std::thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || keep_asking(&admin, interval, first, &asked, &answers))?;
    let mut terminal = ratatui::try_init().context("cannot take over the terminal")?;
    let ended = show(&mut terminal, &mut view, &questions, &told);
    ratatui::restore();
    ended.map(|()| ExitCode::SUCCESS)
}

fn show(
    terminal: &mut ratatui::DefaultTerminal,
    view: &mut View,
    questions: &SyncSender<Question>,
    told: &Receiver<anyhow::Result<Snapshot>>,
) -> anyhow::Result<()> {
    loop {
        terminal.draw(|frame| draw::draw(frame, view))?;
        if event::poll(FRAME)?
            && let Event::Key(key) = event::read()?
            && key.kind != KeyEventKind::Release
        {
            match view.press(key) {
                Next::End => return Ok(()),
                // If the channel is full, another question is already on its way.
                Next::Ask => drop(questions.try_send(view.question())),
                Next::Nothing => {}
            }
        }
        while let Ok(answer) = told.try_recv() {
            view.told(answer);
        }
    }
}

/// Asks at each turn of the interval, and at once when there is another question.
fn keep_asking(
    admin: &AdminArgs,
    interval: Duration,
    mut question: Question,
    asked: &Receiver<Question>,
    answers: &SyncSender<anyhow::Result<Snapshot>>,
) {
    loop {
        match asked.recv_timeout(interval) {
            Ok(other) => question = other,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        // Of several questions the last one counts.
        question = asked.try_iter().last().unwrap_or(question);
        if answers.send(ask(admin, &question)).is_err() {
            return;
        }
    }
}

fn ask(admin: &AdminArgs, question: &Question) -> anyhow::Result<Snapshot> {
    let target = format!(
        "/api/v1/routes?per_page={MOST}&sort={}&q={}",
        question.sort,
        escape(&question.words)
    );
    Ok(Snapshot {
        overview: admin.ask("/api/v1/overview")?,
        routes: admin.ask(&target)?,
        at: Instant::now(),
    })
}

#[cfg(test)]
mod tests;
